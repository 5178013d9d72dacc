-- The priority of the runs of a thread, from -5 (first) to 5 (last); null until it is assigned.
ALTER TABLE threads ADD COLUMN priority INTEGER;
ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_by_priority ON runs (priority, created_at) WHERE status = 'pending';
