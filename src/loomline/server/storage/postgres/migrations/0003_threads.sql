-- A document that was stored as it came, as something the database can look into: it knows no NUL
-- characters there. The expression finds the escape that is not itself escaped.
CREATE FUNCTION loomline_jsonb(content json) RETURNS jsonb LANGUAGE sql IMMUTABLE COST 1000 AS $$
    SELECT (CASE WHEN strpos(content::text, '\u0000') = 0 THEN content::text
                 ELSE regexp_replace(content::text, '(?<!\\)((?:\\\\)*)\\u0000', '\1' || chr(65533), 'g')
            END)::jsonb
$$;

ALTER TABLE loomline_threads
    ADD COLUMN ttl_minutes double precision,
    ADD COLUMN ttl_strategy text,
    -- The updated_at that a thread had when it was cut down to its latest checkpoints.
    ADD COLUMN swept_at timestamptz;

-- One for each order that threads are searched in. All of them, and that of the metadata, are
-- written again whenever a thread changes: the list of what is to be sorted into the latter stays
-- short, as every search reads it.
CREATE INDEX loomline_threads_by_status ON loomline_threads (status, thread_id);
CREATE INDEX loomline_threads_by_created_at ON loomline_threads (created_at, thread_id);
CREATE INDEX loomline_threads_by_updated_at ON loomline_threads (updated_at, thread_id);
CREATE INDEX loomline_threads_by_state_updated_at ON loomline_threads (state_updated_at, thread_id);
CREATE INDEX loomline_threads_by_metadata ON loomline_threads USING gin (metadata jsonb_path_ops)
    WITH (gin_pending_list_limit = 256);

-- In seconds since 1970: sums of times depend on a time zone as far as the database knows.
CREATE FUNCTION loomline_expires(updated_at timestamptz, ttl_minutes double precision)
    RETURNS double precision LANGUAGE sql IMMUTABLE AS $$
    SELECT extract(epoch FROM updated_at AT TIME ZONE 'UTC')::double precision + ttl_minutes * 60
$$;
CREATE INDEX loomline_threads_expiring ON loomline_threads (loomline_expires(updated_at, ttl_minutes))
    WHERE ttl_minutes IS NOT NULL AND status <> 'busy' AND swept_at IS DISTINCT FROM updated_at;
