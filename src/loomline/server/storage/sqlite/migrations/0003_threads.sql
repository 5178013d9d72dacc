ALTER TABLE threads ADD COLUMN ttl_minutes REAL;
ALTER TABLE threads ADD COLUMN ttl_strategy TEXT;
-- The updated_at that a thread had when it was cut down to its latest checkpoints.
ALTER TABLE threads ADD COLUMN swept_at INTEGER;

-- One for each order that threads are searched in; the primary key is a part of every index.
CREATE INDEX threads_by_status ON threads (status);
CREATE INDEX threads_by_created_at ON threads (created_at);
CREATE INDEX threads_by_updated_at ON threads (updated_at);
CREATE INDEX threads_by_state_updated_at ON threads (state_updated_at);
CREATE INDEX threads_expiring ON threads (updated_at + CAST(ttl_minutes * 60000000 AS INTEGER))
    WHERE ttl_minutes IS NOT NULL AND status <> 'busy' AND swept_at IS NOT updated_at;

-- The scalars in the metadata of threads, each with its path. '*' stands for more of them than are
-- worth keeping.
CREATE TABLE thread_leaves (
    leaf      TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    PRIMARY KEY (leaf, thread_id)
) WITHOUT ROWID;

CREATE INDEX leaves_of_thread ON thread_leaves (thread_id);

INSERT INTO thread_leaves
SELECT value, thread_id FROM threads, json_each(json_leaves(metadata));

CREATE TRIGGER leaves_of_new_thread AFTER INSERT ON threads
BEGIN
    INSERT INTO thread_leaves SELECT value, new.thread_id FROM json_each(json_leaves(new.metadata));
END;

CREATE TRIGGER leaves_of_changed_thread AFTER UPDATE OF metadata ON threads
WHEN new.metadata IS NOT old.metadata
BEGIN
    DELETE FROM thread_leaves WHERE thread_id = old.thread_id;
    INSERT INTO thread_leaves SELECT value, new.thread_id FROM json_each(json_leaves(new.metadata));
END;

CREATE TRIGGER leaves_of_deleted_thread AFTER DELETE ON threads
BEGIN
    DELETE FROM thread_leaves WHERE thread_id = old.thread_id;
END;
