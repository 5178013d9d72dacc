-- Where the events of a run stand among those of its thread: after which number they begin, and the
-- number of the last one. A run that was ended in the queue behind a run that has begun has no
-- numbers until that one has ended, because they come after those of that one.
ALTER TABLE loomline_runs ADD COLUMN number_before bigint, ADD COLUMN last_number bigint;
UPDATE loomline_runs SET number_before = 0 WHERE status <> 'pending' OR attempt > 0;
UPDATE loomline_runs SET last_number = 0 WHERE status NOT IN ('pending', 'running');
CREATE INDEX loomline_runs_without_number ON loomline_runs (thread_id)
    WHERE status = 'interrupted' AND last_number IS NULL;

-- A claim does not lock the thread. This reads the number as it is once the run is locked; a
-- subquery would read it as it was when the statement began.
CREATE FUNCTION loomline_event_number(thread uuid) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT event_number FROM loomline_threads WHERE thread_id = thread);
END $$;
