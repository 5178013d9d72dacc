-- The questions of a thread that a run answers. A question is answered once: the row goes when the run
-- ends before it begins, when it is removed, or when the question is asked again.
CREATE TABLE loomline_run_answers (
    thread_id    uuid NOT NULL,
    interrupt_id text NOT NULL,
    run_id       uuid NOT NULL,
    PRIMARY KEY (thread_id, interrupt_id)
);
