-- Work on the rows of a thread that is too much for one transaction, and is done in pieces:
-- 'remove': the thread is deleted, and its rows go;
-- 'copy': the rows of a copy arrive, and the thread appears with the last one;
-- 'prune': older checkpoints go, and no run begins meanwhile;
-- 'tidy': values and writes that no checkpoint refers to go.
CREATE TABLE upkeep (
    thread_id TEXT PRIMARY KEY,
    work      TEXT NOT NULL
) WITHOUT ROWID;
