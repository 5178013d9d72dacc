-- Whose runs they are, and whose runs a cron starts, as JSON; null on a server without users.
ALTER TABLE runs ADD COLUMN caller TEXT;
ALTER TABLE crons ADD COLUMN caller TEXT;
