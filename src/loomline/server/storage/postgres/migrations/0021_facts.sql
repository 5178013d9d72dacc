-- The metadata that the checkpoints of a run share, stored once. Checkpoints from before, and those of
-- langgraph's own saver, have all of their metadata in their own rows, and no facts.
CREATE TABLE loomline_checkpoint_facts (
    thread_id text   NOT NULL,
    facts_id  bigint NOT NULL,
    run_id    text, -- null outside of runs
    content   json   NOT NULL,
    PRIMARY KEY (thread_id, facts_id)
);

-- Of the hash, which is a third as long.
CREATE INDEX loomline_checkpoint_facts_of_run ON loomline_checkpoint_facts (hashtext(run_id))
    WHERE run_id IS NOT NULL;

-- Of checkpoints with facts, run_id is null: the facts have it.
ALTER TABLE checkpoints ADD COLUMN facts_id bigint;
