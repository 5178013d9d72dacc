-- The number of the last batch of checkpoint rows that was written under the present claim: batch n is
-- accepted only after batch n - 1.
ALTER TABLE loomline_runs ADD COLUMN batches integer NOT NULL DEFAULT 0;

DROP FUNCTION loomline_hold(uuid, uuid);

-- The fence of a claim, in the same round trip as the writes that it guards: it fails the transaction
-- where the claim is no longer valid, or where a batch before these writes is missing.
CREATE FUNCTION loomline_hold(run uuid, claim uuid, written integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    stored integer;
BEGIN
    SELECT batches INTO stored FROM loomline_runs WHERE run_id = run AND token = claim FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the claim is no longer valid' USING ERRCODE = 'LL001';
    END IF;
    IF stored <> written THEN
        RAISE EXCEPTION 'batches % to % of the claim are missing', stored + 1, written
            USING ERRCODE = 'LL002';
    END IF;
END $$;
