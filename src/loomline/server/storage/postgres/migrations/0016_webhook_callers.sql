-- The user of the run, as JSON: a webhook into the server itself acts as this user. Null on a server
-- without users.
ALTER TABLE loomline_webhooks ADD COLUMN caller json;
