-- Times are microseconds since 1970, UTC. JSON is text where the database looks into it.

CREATE TABLE assistants (
    assistant_id TEXT PRIMARY KEY,
    graph_id     TEXT NOT NULL,
    name         TEXT NOT NULL,
    description  TEXT,
    config       TEXT NOT NULL,
    context      TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    version      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE threads (
    thread_id        TEXT PRIMARY KEY,
    status           TEXT NOT NULL,
    settled_status   TEXT NOT NULL, -- what the thread returns to when its queue empties
    metadata         TEXT NOT NULL,
    config           TEXT NOT NULL,
    interrupts       TEXT,
    error            TEXT,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    state_updated_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Apart from the threads, so that whoever does not ask for values does not read past them.
CREATE TABLE thread_values (
    thread_id TEXT PRIMARY KEY,
    content   BLOB NOT NULL
);

CREATE TABLE runs (
    run_id             TEXT PRIMARY KEY,
    thread_id          TEXT NOT NULL,
    assistant_id       TEXT NOT NULL,
    graph_id           TEXT NOT NULL,
    status             TEXT NOT NULL,
    metadata           TEXT NOT NULL,
    kwargs             BLOB NOT NULL,
    multitask_strategy TEXT NOT NULL,
    temporary          INTEGER NOT NULL,
    resumable          INTEGER NOT NULL,
    attempt            INTEGER NOT NULL DEFAULT 0,
    error              TEXT,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    worker             TEXT,
    token              TEXT,
    lease_until        INTEGER,
    stop_action        TEXT,
    stop_reason        TEXT
);

CREATE INDEX runs_of_thread ON runs (thread_id, created_at);
CREATE INDEX runs_active ON runs (thread_id, created_at)
    WHERE status IN ('pending', 'running');
CREATE INDEX runs_pending ON runs (created_at) WHERE status = 'pending';
CREATE UNIQUE INDEX one_running_run_per_thread ON runs (thread_id) WHERE status = 'running';

CREATE TABLE checkpoints (
    thread_id     TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    parent_id     TEXT,
    run_id        TEXT,
    content       TEXT NOT NULL,
    metadata      TEXT NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
) WITHOUT ROWID;

CREATE INDEX checkpoints_of_run ON checkpoints (run_id) WHERE run_id IS NOT NULL;

-- The value of a channel at a version. Small plain values are in the checkpoint itself; a channel
-- without a value has no row.
CREATE TABLE checkpoint_blobs (
    thread_id     TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    channel       TEXT NOT NULL,
    version       TEXT NOT NULL,
    type          TEXT NOT NULL,
    content       BLOB NOT NULL,
    UNIQUE (thread_id, checkpoint_ns, channel, version)
);

-- A run that resumes writes to a checkpoint of the run before. What each has written is apart, so
-- that rolling one back brings to light what was there.
CREATE TABLE checkpoint_writes (
    thread_id     TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    task_id       TEXT NOT NULL,
    idx           INTEGER NOT NULL,
    run_id        TEXT NOT NULL, -- empty outside of runs
    task_path     TEXT NOT NULL,
    channel       TEXT NOT NULL,
    type          TEXT NOT NULL,
    content       BLOB NOT NULL,
    UNIQUE (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id)
);
