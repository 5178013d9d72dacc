ALTER TABLE loomline_runs ADD COLUMN webhook text;

-- What is to be told to others: written by the transaction that ends a run.
CREATE TABLE loomline_webhooks (
    webhook_id uuid        PRIMARY KEY,
    run_id     uuid        NOT NULL,
    url        text        NOT NULL,
    host       text        NOT NULL,
    payload    json        NOT NULL,
    content    json, -- the values of the thread, if it has any
    created_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL, -- of one that is taken: when its lease ends
    attempts   integer     NOT NULL DEFAULT 0,
    token      uuid,
    error      text,
    dead_at    timestamptz
);

CREATE INDEX loomline_webhooks_due ON loomline_webhooks (due_at) WHERE dead_at IS NULL;
CREATE INDEX loomline_webhooks_dead ON loomline_webhooks (dead_at) WHERE dead_at IS NOT NULL;
