-- Where the events of a run stand among those of its thread: after which number they begin, and the
-- number of the last one. A run that was ended in the queue behind a run that has begun has no
-- numbers until that one has ended, because they come after those of that one.
ALTER TABLE runs ADD COLUMN number_before INTEGER;
ALTER TABLE runs ADD COLUMN last_number INTEGER;
UPDATE runs SET number_before = 0 WHERE status <> 'pending' OR attempt > 0;
UPDATE runs SET last_number = 0 WHERE status NOT IN ('pending', 'running');
CREATE INDEX runs_without_number ON runs (thread_id)
    WHERE status = 'interrupted' AND last_number IS NULL;
