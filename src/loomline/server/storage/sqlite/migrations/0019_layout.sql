-- Only where this finds nothing: SELECT 1 FROM checkpoints UNION ALL SELECT 1 FROM checkpoint_writes
-- Tables with rows, which may be large, stay as they are: the statements are the same for both layouts.
DROP TABLE checkpoints;

-- With a rowid: a large row of a table without one is divided, and most of its second page stays empty.
CREATE TABLE checkpoints (
    thread_id     TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    parent_id     TEXT,
    run_id        TEXT,
    content       TEXT NOT NULL,
    metadata      TEXT NOT NULL,
    facts_id      INTEGER,
    UNIQUE (thread_id, checkpoint_ns, checkpoint_id)
);

CREATE INDEX checkpoints_of_facts ON checkpoints (facts_id) WHERE facts_id IS NOT NULL;

DROP INDEX leaves_of_thread;
