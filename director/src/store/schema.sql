-- Everything the director must not forget. Times are milliseconds since the Unix epoch; bodies are canonical JSON.
CREATE TABLE IF NOT EXISTS alerts (
    key         TEXT PRIMARY KEY,
    incident    TEXT,
    resolved    INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    deliveries  INTEGER NOT NULL,
    body        TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS alerts_by_incident ON alerts (incident, received_at);

-- What senders say that is no alert: verification codes, tests, bundles without ids. The newest thousand are kept.
CREATE TABLE IF NOT EXISTS notices (
    key    TEXT PRIMARY KEY,
    at     INTEGER NOT NULL,
    source TEXT NOT NULL,
    text   TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS incidents (
    uid         TEXT PRIMARY KEY,
    service     TEXT NOT NULL,
    target      TEXT,
    source      TEXT NOT NULL,
    symptom     TEXT NOT NULL,
    summary     TEXT NOT NULL,
    over        INTEGER NOT NULL,
    deadline    INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    published   INTEGER NOT NULL,
    state       TEXT NOT NULL,
    outcome     TEXT,
    remediation TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS incidents_by_service ON incidents (service, changed_at);
CREATE INDEX IF NOT EXISTS incidents_by_target ON incidents (target, changed_at);
CREATE INDEX IF NOT EXISTS incidents_open ON incidents (over, deadline);

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
PRAGMA user_version = 2;
