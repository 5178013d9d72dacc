-- Until when a run is not to be claimed, in microseconds: what could not be decrypted is left alone
-- for a while, so that it is not in the way of the others.
ALTER TABLE runs ADD COLUMN paused_until INTEGER NOT NULL DEFAULT 0;
