-- The numbers of the threads with checkpoints: the rows of a thread begin with a key that is made of its
-- number (checkpoint_keys.py). Threads from before have no number, and rows that begin with their id.
-- A number is never given twice, so a row that a deletion has missed can appear in no other thread.
CREATE TABLE checkpoint_threads (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    thread_id TEXT NOT NULL UNIQUE
);

-- The metadata that the checkpoints of a run share. Checkpoints from before have all of their metadata
-- in their own rows, and no facts.
CREATE TABLE checkpoint_facts (
    thread_id TEXT NOT NULL,
    facts_id  INTEGER NOT NULL,
    run_id    TEXT, -- null outside of runs
    content   TEXT NOT NULL,
    UNIQUE (thread_id, facts_id)
);

CREATE INDEX checkpoint_facts_of_run ON checkpoint_facts (run_id) WHERE run_id IS NOT NULL;

-- Of checkpoints with facts, run_id is null: the facts have it.
ALTER TABLE checkpoints ADD COLUMN facts_id INTEGER;

-- The leaves of a thread follow from its metadata, so they need no index by thread.
DROP TRIGGER leaves_of_changed_thread;
DROP TRIGGER leaves_of_deleted_thread;

CREATE TRIGGER leaves_of_changed_thread AFTER UPDATE OF metadata ON threads
WHEN new.metadata IS NOT old.metadata
BEGIN
    DELETE FROM thread_leaves WHERE thread_id = old.thread_id
        AND leaf IN (SELECT value FROM json_each(json_leaves(old.metadata)));
    INSERT INTO thread_leaves SELECT value, new.thread_id FROM json_each(json_leaves(new.metadata));
END;

CREATE TRIGGER leaves_of_deleted_thread AFTER DELETE ON threads
BEGIN
    DELETE FROM thread_leaves WHERE thread_id = old.thread_id
        AND leaf IN (SELECT value FROM json_each(json_leaves(old.metadata)));
END;
