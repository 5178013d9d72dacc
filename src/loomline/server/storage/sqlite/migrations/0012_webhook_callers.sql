-- The user of the run, as JSON: a webhook into the server itself acts as this user. Null on a server
-- without users.
ALTER TABLE webhooks ADD COLUMN caller TEXT;
