-- Everything the director must not forget. Times are milliseconds since the Unix epoch; bodies are canonical JSON; flags are 0 or 1.
-- `postgres.sql` says the same.
CREATE TABLE IF NOT EXISTS alerts (
    key         TEXT PRIMARY KEY,
    incident    TEXT,
    service     TEXT NOT NULL,
    symptom     TEXT NOT NULL,
    by_seat     INTEGER NOT NULL,
    novel       INTEGER NOT NULL,
    resolved    INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    deliveries  INTEGER NOT NULL,
    body        TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS alerts_by_incident ON alerts (incident, novel, received_at);

-- What senders say that is no alert: verification codes, tests, bundles without ids. The newest thousand are kept.
CREATE TABLE IF NOT EXISTS notices (
    key    TEXT PRIMARY KEY,
    at     INTEGER NOT NULL,
    source TEXT NOT NULL,
    text   TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS incidents (
    uid         TEXT PRIMARY KEY,
    namespace   TEXT NOT NULL,
    service     TEXT NOT NULL,
    target      TEXT,
    cause       TEXT,
    source      TEXT NOT NULL,
    symptom     TEXT NOT NULL,
    summary     TEXT NOT NULL,
    phase       TEXT NOT NULL,
    over        INTEGER NOT NULL,
    hears       INTEGER NOT NULL,
    covered_by  TEXT,
    deadline    INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    published   INTEGER NOT NULL,
    state       TEXT NOT NULL,
    outcome     TEXT,
    remediation TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS incidents_by_namespace ON incidents (namespace, over, changed_at);
CREATE INDEX IF NOT EXISTS incidents_by_service ON incidents (service, over, changed_at);
CREATE INDEX IF NOT EXISTS incidents_by_target ON incidents (target, over, changed_at);
CREATE INDEX IF NOT EXISTS incidents_by_cause ON incidents (cause, over, changed_at);
CREATE INDEX IF NOT EXISTS incidents_covered ON incidents (covered_by);
CREATE INDEX IF NOT EXISTS incidents_open ON incidents (over, deadline);
CREATE INDEX IF NOT EXISTS incidents_changed ON incidents (changed_at);

-- Who calls whom, as seats said. The newest four thousand are kept.
CREATE TABLE IF NOT EXISTS calls (
    caller  TEXT NOT NULL,
    callee  TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (caller, callee)
) STRICT;
CREATE INDEX IF NOT EXISTS calls_by_age ON calls (seen_at);

-- Effects in the order in which they were decided, written with the state that decided them.
CREATE TABLE IF NOT EXISTS outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    key      TEXT NOT NULL UNIQUE,
    incident TEXT NOT NULL,
    effect   TEXT NOT NULL,
    done     INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_pending ON outbox (done, incident, position);

CREATE TABLE IF NOT EXISTS ledger (
    sequence INTEGER PRIMARY KEY,
    incident TEXT NOT NULL,
    key      TEXT NOT NULL UNIQUE,
    entry    TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS ledger_by_incident ON ledger (incident, sequence);

-- Hashes of the perfect subtrees over the entries, in the order in which appending completes them. None ever changes, so a head
-- of any length and a proof between any two are a few of these.
CREATE TABLE IF NOT EXISTS ledger_subtrees (
    position INTEGER PRIMARY KEY,
    hash     TEXT NOT NULL
) STRICT;

-- Of the whole file: see `FORMAT`.
PRAGMA user_version = 3;
