-- An item is found by the hash of its place: namespaces and keys may be longer than an index takes.
-- A namespace is its labels, each ended by a period, which no label contains: what is below 'a.b.'
-- lies between 'a.b.' and 'a.b/'.
CREATE TABLE loomline_store_items (
    item_id     uuid             PRIMARY KEY,
    namespace   text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    value       jsonb            NOT NULL,
    created_at  timestamptz      NOT NULL,
    updated_at  timestamptz      NOT NULL,
    ttl_minutes double precision,
    expires_at  timestamptz
);

CREATE INDEX loomline_store_items_of_namespace ON loomline_store_items (left(namespace, 500), updated_at);
CREATE INDEX loomline_store_items_expiring ON loomline_store_items (expires_at)
    WHERE expires_at IS NOT NULL;
