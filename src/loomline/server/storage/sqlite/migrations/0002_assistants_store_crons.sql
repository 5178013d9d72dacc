-- Every version of an assistant; the table of assistants holds the one in use.
CREATE TABLE assistant_versions (
    assistant_id TEXT NOT NULL,
    version      INTEGER NOT NULL,
    graph_id     TEXT NOT NULL,
    name         TEXT NOT NULL,
    description  TEXT,
    config       TEXT NOT NULL,
    context      TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (assistant_id, version)
) WITHOUT ROWID;

INSERT INTO assistant_versions
SELECT assistant_id, version, graph_id, name, description, config, context, metadata, updated_at
FROM assistants;

-- A namespace is its labels, each ended by a period, which no label contains: what is below
-- 'a.b.' lies between 'a.b.' and 'a.b/'.
CREATE TABLE store_items (
    item_id     INTEGER PRIMARY KEY,
    namespace   TEXT NOT NULL,
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    ttl_minutes REAL,
    expires_at  INTEGER,
    UNIQUE (namespace, key)
);

CREATE INDEX store_items_expiring ON store_items (expires_at) WHERE expires_at IS NOT NULL;

-- Unit vectors of 4-byte floats, little-endian: one for each text that an item is found by.
CREATE TABLE store_vectors (
    item_id INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    vector  BLOB NOT NULL,
    UNIQUE (item_id, number)
);

CREATE TABLE crons (
    cron_id          TEXT PRIMARY KEY,
    assistant_id     TEXT NOT NULL,
    thread_id        TEXT,
    user_id          TEXT NOT NULL,
    schedule         TEXT NOT NULL,
    timezone         TEXT,
    end_time         TEXT, -- as the client wrote it
    ends_at          INTEGER,
    payload          TEXT NOT NULL,
    metadata         TEXT NOT NULL,
    on_run_completed TEXT,
    enabled          INTEGER NOT NULL,
    next_run_date    INTEGER,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX crons_due ON crons (next_run_date) WHERE enabled AND next_run_date IS NOT NULL;
CREATE INDEX crons_of_thread ON crons (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX crons_of_assistant ON crons (assistant_id);
