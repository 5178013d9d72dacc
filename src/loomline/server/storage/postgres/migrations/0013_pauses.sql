-- Until when a run is not to be claimed: what could not be decrypted is left alone for a while, so
-- that it is not in the way of the others.
ALTER TABLE loomline_runs ADD COLUMN paused_until timestamptz;
