-- Everything the director must not forget. Times are milliseconds since the Unix epoch; bodies are canonical JSON; flags are 0 or 1.
-- `sqlite.sql` says the same, and why.
CREATE TABLE IF NOT EXISTS alerts (
    key         TEXT COLLATE "C" PRIMARY KEY,
    incident    TEXT COLLATE "C",
    service     TEXT COLLATE "C" NOT NULL,
    symptom     TEXT COLLATE "C" NOT NULL,
    by_seat     BIGINT NOT NULL,
    novel       BIGINT NOT NULL,
    resolved    BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    deliveries  BIGINT NOT NULL,
    body        TEXT COLLATE "C" NOT NULL
);
CREATE INDEX IF NOT EXISTS alerts_by_incident ON alerts (incident, novel, received_at);

CREATE TABLE IF NOT EXISTS notices (
    key    TEXT COLLATE "C" PRIMARY KEY,
    at     BIGINT NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    text   TEXT COLLATE "C" NOT NULL
);

CREATE TABLE IF NOT EXISTS incidents (
    uid         TEXT COLLATE "C" PRIMARY KEY,
    namespace   TEXT COLLATE "C" NOT NULL,
    service     TEXT COLLATE "C" NOT NULL,
    target      TEXT COLLATE "C",
    cause       TEXT COLLATE "C",
    source      TEXT COLLATE "C" NOT NULL,
    symptom     TEXT COLLATE "C" NOT NULL,
    summary     TEXT COLLATE "C" NOT NULL,
    phase       TEXT COLLATE "C" NOT NULL,
    over        BIGINT NOT NULL,
    hears       BIGINT NOT NULL,
    covered_by  TEXT COLLATE "C",
    deadline    BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL,
    revision    BIGINT NOT NULL,
    published   BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,
    outcome     TEXT COLLATE "C",
    remediation TEXT COLLATE "C"
);
CREATE INDEX IF NOT EXISTS incidents_by_namespace ON incidents (namespace, over, changed_at);
CREATE INDEX IF NOT EXISTS incidents_by_service ON incidents (service, over, changed_at);
CREATE INDEX IF NOT EXISTS incidents_by_target ON incidents (target, over, changed_at);
CREATE INDEX IF NOT EXISTS incidents_by_cause ON incidents (cause, over, changed_at);
CREATE INDEX IF NOT EXISTS incidents_covered ON incidents (covered_by);
CREATE INDEX IF NOT EXISTS incidents_open ON incidents (over, deadline);
CREATE INDEX IF NOT EXISTS incidents_changed ON incidents (changed_at);

CREATE TABLE IF NOT EXISTS calls (
    caller  TEXT COLLATE "C" NOT NULL,
    callee  TEXT COLLATE "C" NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (caller, callee)
);
CREATE INDEX IF NOT EXISTS calls_by_age ON calls (seen_at);

CREATE TABLE IF NOT EXISTS outbox (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key      TEXT COLLATE "C" NOT NULL UNIQUE,
    incident TEXT COLLATE "C" NOT NULL,
    effect   TEXT COLLATE "C" NOT NULL,
    done     BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS outbox_pending ON outbox (done, incident, position);

CREATE TABLE IF NOT EXISTS ledger (
    sequence BIGINT PRIMARY KEY,
    incident TEXT COLLATE "C" NOT NULL,
    key      TEXT COLLATE "C" NOT NULL UNIQUE,
    entry    TEXT COLLATE "C" NOT NULL
);
CREATE INDEX IF NOT EXISTS ledger_by_incident ON ledger (incident, sequence);

CREATE TABLE IF NOT EXISTS ledger_subtrees (
    position BIGINT PRIMARY KEY,
    hash     TEXT COLLATE "C" NOT NULL
);

-- See `FORMAT`.
CREATE TABLE IF NOT EXISTS format (
    id      BIGINT PRIMARY KEY,
    version BIGINT NOT NULL
);
