-- The channels that the output schema of the run's graph shows, as JSON: an array of names, or one
-- name. Null: the whole state.
ALTER TABLE loomline_runs ADD COLUMN output text;
