-- The questions of a thread that a run answers. A question is answered once: the row goes when the run
-- ends before it begins, when it is removed, or when the question is asked again.
CREATE TABLE run_answers (
    thread_id    TEXT NOT NULL,
    interrupt_id TEXT NOT NULL,
    run_id       TEXT NOT NULL,
    PRIMARY KEY (thread_id, interrupt_id)
) WITHOUT ROWID;

CREATE TRIGGER run_answers_of_deleted_run AFTER DELETE ON runs
BEGIN
    DELETE FROM run_answers WHERE thread_id = old.thread_id AND run_id = old.run_id;
END;
