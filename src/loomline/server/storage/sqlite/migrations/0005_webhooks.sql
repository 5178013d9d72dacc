ALTER TABLE runs ADD COLUMN webhook TEXT;

-- What is to be told to others: written by the transaction that ends a run.
CREATE TABLE webhooks (
    webhook_id TEXT PRIMARY KEY,
    run_id     TEXT NOT NULL,
    url        TEXT NOT NULL,
    host       TEXT NOT NULL,
    payload    BLOB NOT NULL,
    content    BLOB, -- the values of the thread, if it has any
    created_at INTEGER NOT NULL,
    due_at     INTEGER NOT NULL, -- of one that is taken: when its lease ends
    attempts   INTEGER NOT NULL DEFAULT 0,
    token      TEXT,
    error      TEXT,
    dead_at    INTEGER
);

CREATE INDEX webhooks_due ON webhooks (due_at) WHERE dead_at IS NULL;
CREATE INDEX webhooks_dead ON webhooks (dead_at) WHERE dead_at IS NOT NULL;
