-- How often a run has been claimed. Unlike the attempts it never goes back, so it tells which of two
-- workers that both believe to have the run is the later one.
ALTER TABLE runs ADD COLUMN claims INTEGER NOT NULL DEFAULT 0;
