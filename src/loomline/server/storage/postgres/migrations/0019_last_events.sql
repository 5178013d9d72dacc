-- The last events of a run with events of the thread protocol, as JSON: its questions, then its end, each
-- with its number. Readers get them from here when the log of the run has no end. Null: the run has
-- ended without a worker, or has not ended.
ALTER TABLE loomline_runs ADD COLUMN last_events json;
