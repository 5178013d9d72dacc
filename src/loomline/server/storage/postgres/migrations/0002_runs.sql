-- "json" where text passes through as it came, "jsonb" where the database looks into it.

CREATE TABLE loomline_assistants (
    assistant_id uuid        PRIMARY KEY,
    graph_id     text        NOT NULL,
    name         text        NOT NULL,
    description  text,
    config       jsonb       NOT NULL,
    context      jsonb       NOT NULL,
    metadata     jsonb       NOT NULL,
    version      integer     NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);

CREATE TABLE loomline_threads (
    thread_id        uuid        PRIMARY KEY,
    status           text        NOT NULL,
    settled_status   text        NOT NULL, -- what the thread returns to when its queue empties
    metadata         jsonb       NOT NULL,
    config           jsonb       NOT NULL,
    interrupts       json,
    error            json,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    state_updated_at timestamptz NOT NULL
);

-- Apart from the threads, which change much more often.
CREATE TABLE loomline_thread_values (
    thread_id uuid PRIMARY KEY,
    content   json NOT NULL
);

CREATE TABLE loomline_runs (
    run_id             uuid        PRIMARY KEY,
    seq                bigint      GENERATED ALWAYS AS IDENTITY, -- of runs due at the same time
    thread_id          uuid        NOT NULL,
    assistant_id       uuid        NOT NULL,
    graph_id           text        NOT NULL,
    status             text        NOT NULL,
    metadata           jsonb       NOT NULL,
    kwargs             json        NOT NULL,
    multitask_strategy text        NOT NULL,
    temporary          boolean     NOT NULL,
    resumable          boolean     NOT NULL,
    attempt            integer     NOT NULL DEFAULT 0,
    error              json,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    worker             text,
    token              uuid,
    lease_until        timestamptz,
    stop_action        text,
    stop_reason        text
);

CREATE INDEX loomline_runs_of_thread ON loomline_runs (thread_id, created_at, seq);
CREATE INDEX loomline_runs_active ON loomline_runs (thread_id, created_at, seq)
    WHERE status IN ('pending', 'running');
CREATE INDEX loomline_runs_pending ON loomline_runs (created_at, seq) WHERE status = 'pending';
CREATE UNIQUE INDEX loomline_one_running_run_per_thread ON loomline_runs (thread_id)
    WHERE status = 'running';

-- The fence of a claim, in the same round trip as what it guards: it fails the transaction.
CREATE FUNCTION loomline_hold(run uuid, claim uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM loomline_runs WHERE run_id = run AND token = claim FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the claim is no longer valid' USING ERRCODE = 'LL001';
    END IF;
END $$;
