-- The priority of the runs of a thread, from -5 (first) to 5 (last); null until it is assigned.
ALTER TABLE loomline_threads ADD COLUMN priority smallint;
ALTER TABLE loomline_runs ADD COLUMN priority smallint NOT NULL DEFAULT 0;
-- With an index without the priority beside it the planner may choose that one, and go through all
-- runs that are due for each priority that no run has.
DROP INDEX loomline_runs_pending;
CREATE INDEX loomline_runs_by_priority ON loomline_runs (priority, created_at, seq)
    WHERE status = 'pending';
