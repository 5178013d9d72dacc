-- For searching and sorting without regard to case: databases fold letters in their own ways, so
-- the server does it.
ALTER TABLE loomline_assistants
    ADD COLUMN folded_name  text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN folded_graph text COLLATE "C" NOT NULL DEFAULT '';
UPDATE loomline_assistants SET folded_name = lower(name), folded_graph = lower(graph_id);

-- Every version of an assistant; the table of assistants holds the one in use.
CREATE TABLE loomline_assistant_versions (
    assistant_id uuid        NOT NULL,
    version      integer     NOT NULL,
    graph_id     text        NOT NULL,
    name         text        NOT NULL,
    description  text,
    config       jsonb       NOT NULL,
    context      jsonb       NOT NULL,
    metadata     jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (assistant_id, version)
);

INSERT INTO loomline_assistant_versions
SELECT assistant_id, version, graph_id, name, description, config, context, metadata, updated_at
FROM loomline_assistants;
