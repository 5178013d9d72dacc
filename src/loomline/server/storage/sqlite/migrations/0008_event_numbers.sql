-- How many numbers the events of a thread have used up.
ALTER TABLE threads ADD COLUMN event_number INTEGER NOT NULL DEFAULT 0;
