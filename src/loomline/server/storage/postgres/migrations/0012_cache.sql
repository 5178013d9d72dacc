-- What hosted code caches, for all servers on this database. Losing it in a crash loses nothing, so
-- it is not logged. Keys are hashed: they may be longer than an index takes.
CREATE UNLOGGED TABLE loomline_cache (
    key        bytea       PRIMARY KEY,
    value      bytea       NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX loomline_cache_expiring ON loomline_cache (expires_at);
