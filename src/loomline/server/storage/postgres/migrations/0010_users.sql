-- Whose runs they are, and whose runs a cron starts, as JSON; null on a server without users.
ALTER TABLE loomline_runs ADD COLUMN caller json;
ALTER TABLE loomline_crons ADD COLUMN caller json;

-- Conditions on metadata as the server encodes them: ["equal", key, value], ["has", key, members],
-- ["all", conditions], ["any", conditions].
CREATE FUNCTION loomline_meets(metadata jsonb, condition jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE COST 1000 AS $$
DECLARE
    found jsonb;
    part jsonb;
BEGIN
    IF condition ->> 0 IN ('all', 'any') THEN
        FOR part IN SELECT jsonb_array_elements(condition -> 1) LOOP
            IF loomline_meets(metadata, part) <> (condition ->> 0 = 'all') THEN
                RETURN condition ->> 0 = 'any';
            END IF;
        END LOOP;
        RETURN condition ->> 0 = 'all';
    END IF;
    found := metadata -> (condition ->> 1);
    IF found IS NULL THEN
        RETURN false;
    ELSIF condition ->> 0 = 'equal' THEN
        RETURN found = condition -> 2;
    ELSIF condition ->> 0 = 'has' THEN
        RETURN jsonb_typeof(found) = 'array' AND found @> (condition -> 2);
    END IF;
    RAISE EXCEPTION 'unknown condition %', condition ->> 0;
END $$;
