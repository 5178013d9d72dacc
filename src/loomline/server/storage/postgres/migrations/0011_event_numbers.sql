-- How many numbers the events of a thread have used up.
ALTER TABLE loomline_threads ADD COLUMN event_number bigint NOT NULL DEFAULT 0;
