-- The number of the last batch of checkpoint rows that was written under a claim: batch n is accepted
-- only after batch n - 1. Apart from the runs, whose rows hold the input: counting a batch there would
-- write a large input again each time.
CREATE TABLE run_batches (
    run_id TEXT PRIMARY KEY,
    token  TEXT NOT NULL,
    number INTEGER NOT NULL
) WITHOUT ROWID;

-- Numbers belong to a token, so they go with it.
CREATE TRIGGER run_batches_of_ended_claim AFTER UPDATE OF token ON runs
WHEN old.token IS NOT NULL AND old.token IS NOT new.token
BEGIN
    DELETE FROM run_batches WHERE run_id = old.run_id;
END;

CREATE TRIGGER run_batches_of_deleted_run AFTER DELETE ON runs
BEGIN
    DELETE FROM run_batches WHERE run_id = old.run_id;
END;
