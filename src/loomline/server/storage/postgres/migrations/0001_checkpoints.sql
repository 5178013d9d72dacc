-- The tables of langgraph's own PostgreSQL checkpointer, made here or found. It can go on using them:
-- what is added has defaults. The indexes it makes besides are left out; the primary keys serve.

CREATE TABLE IF NOT EXISTS checkpoint_migrations (
    v integer PRIMARY KEY
);

CREATE TABLE IF NOT EXISTS checkpoints (
    thread_id            text  NOT NULL,
    checkpoint_ns        text  NOT NULL DEFAULT '',
    checkpoint_id        text  NOT NULL,
    parent_checkpoint_id text,
    type                 text,
    checkpoint           jsonb NOT NULL,
    metadata             jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
);

CREATE TABLE IF NOT EXISTS checkpoint_blobs (
    thread_id     text NOT NULL,
    checkpoint_ns text NOT NULL DEFAULT '',
    channel       text NOT NULL,
    version       text NOT NULL,
    type          text NOT NULL,
    blob          bytea,
    PRIMARY KEY (thread_id, checkpoint_ns, channel, version)
);

CREATE TABLE IF NOT EXISTS checkpoint_writes (
    thread_id     text    NOT NULL,
    checkpoint_ns text    NOT NULL DEFAULT '',
    checkpoint_id text    NOT NULL,
    task_id       text    NOT NULL,
    idx           integer NOT NULL,
    channel       text    NOT NULL,
    type          text,
    blob          bytea   NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
);

ALTER TABLE checkpoint_blobs ALTER COLUMN blob DROP NOT NULL;
ALTER TABLE checkpoint_writes ADD COLUMN IF NOT EXISTS task_path text NOT NULL DEFAULT '';

INSERT INTO checkpoint_migrations (v) SELECT generate_series(0, 9) ON CONFLICT DO NOTHING;

ALTER TABLE checkpoints ADD COLUMN IF NOT EXISTS run_id text;
ALTER TABLE checkpoint_writes ADD COLUMN IF NOT EXISTS run_id text NOT NULL DEFAULT '';

CREATE INDEX IF NOT EXISTS loomline_checkpoints_of_run ON checkpoints (run_id) WHERE run_id IS NOT NULL;

-- A run that resumes writes to a checkpoint of the run before. What does not count because another
-- run has written to the same place is kept here, so that rolling back brings it to light.
CREATE TABLE loomline_displaced_writes (
    thread_id     text    NOT NULL,
    checkpoint_ns text    NOT NULL,
    checkpoint_id text    NOT NULL,
    task_id       text    NOT NULL,
    idx           integer NOT NULL,
    run_id        text    NOT NULL,
    task_path     text    NOT NULL,
    channel       text    NOT NULL,
    type          text,
    blob          bytea   NOT NULL,
    seq           bigint  GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id)
);
