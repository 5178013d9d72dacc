CREATE TABLE loomline_idempotency_keys (
    scope       text        NOT NULL,
    name        text        NOT NULL,
    fingerprint text        NOT NULL,
    thread_id   uuid        NOT NULL,
    run_id      uuid        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (scope, name)
);

CREATE INDEX loomline_idempotency_keys_by_age ON loomline_idempotency_keys (created_at);
