import { deepEqual, equal, notEqual, ok } from "node:assert/strict";

import { refused, scenario } from "../harness.mjs";

const made = (client, options = {}) =>
  client.assistants.create({ graphId: "look", metadata: { test: crypto.randomUUID() }, ...options });

scenario("assistants: created, found, changed and deleted", async ({ client, official }) => {
  const mark = crypto.randomUUID();
  const assistant = await client.assistants.create({
    graphId: "look",
    name: "Späher 🔭",
    description: "looks around",
    context: { color: "green" },
    metadata: { mark },
  });
  deepEqual(
    [assistant.graph_id, assistant.name, assistant.description, assistant.version, assistant.metadata.mark],
    ["look", "Späher 🔭", "looks around", 1, mark],
  );
  deepEqual(assistant.context, { color: "green" });
  deepEqual(await client.assistants.get(assistant.assistant_id), assistant);
  const changed = await client.assistants.update(assistant.assistant_id, {
    name: "Other",
    context: { color: "blue" },
    metadata: { more: 1 },
  });
  deepEqual(
    [changed.version, changed.name, changed.context, changed.metadata],
    [2, "Other", { color: "blue" }, { mark, more: 1 }],
  );
  const versions = await client.assistants.getVersions(assistant.assistant_id);
  deepEqual(versions.map((each) => each.version), [2, 1]);
  const back = await client.assistants.setLatest(assistant.assistant_id, 1);
  equal(back.version, 1);
  if (!official) deepEqual(back.context, { color: "green" }); // There it keeps the newest one.
  await client.assistants.delete(assistant.assistant_id);
  await refused(client.assistants.get(assistant.assistant_id), 404);
});

scenario("assistants: an id that is taken", async ({ client }) => {
  const assistantId = crypto.randomUUID();
  const first = await made(client, { assistantId, ifExists: "raise" });
  const { detail } = await refused(made(client, { assistantId, ifExists: "raise" }), 409);
  ok(detail.includes(assistantId), detail);
  const second = await made(client, { assistantId, ifExists: "do_nothing" });
  deepEqual(second.metadata, first.metadata);
});

scenario("assistants: searched in pages and counted", async ({ client }) => {
  const mark = crypto.randomUUID();
  for (const name of ["a", "b", "c"]) await made(client, { name: `${name} ${mark}`, metadata: { mark } });
  const query = { metadata: { mark }, sortBy: "name", sortOrder: "asc", limit: 2, includePagination: true };
  const first = await client.assistants.search(query);
  deepEqual(first.assistants.map((each) => each.name[0]), ["a", "b"]);
  equal(first.next, "2");
  const second = await client.assistants.search({ ...query, offset: Number(first.next) });
  deepEqual(second.assistants.map((each) => each.name[0]), ["c"]);
  equal(second.next, null);
  equal(await client.assistants.count({ metadata: { mark } }), 3);
  const found = await client.assistants.search({ name: `B ${mark}`, select: ["assistant_id", "name"] });
  deepEqual(found.map(Object.keys), [["assistant_id", "name"]]);
});

scenario("assistants: drawings, schemas and subgraphs of graphs", async ({ client }) => {
  const graph = await client.assistants.getGraph("parent");
  deepEqual(graph.nodes.map((node) => node.id), ["__start__", "prepare", "child", "__end__"]);
  deepEqual(graph.edges[0], { source: "__start__", target: "prepare" });
  const inside = await client.assistants.getGraph("parent", { xray: true });
  ok(inside.nodes.some((node) => node.id === "child:generate_joke"));
  const id = async (graphId) => (await client.assistants.search({ graphId }))[0].assistant_id;
  const schemas = await client.assistants.getSchemas(await id("look"));
  equal(schemas.graph_id, "look");
  deepEqual(Object.keys(schemas.context_schema.properties), ["color"]);
  const subgraphs = await client.assistants.getSubgraphs(await id("parent"), { recurse: true });
  deepEqual(Object.keys(subgraphs), ["child"]);
  const child = await client.assistants.getSubgraphs(await id("parent"), { namespace: "child" });
  deepEqual(Object.keys(child), ["child"]);
});

scenario("assistants: the context of an assistant reaches its runs", async ({ client }) => {
  const { assistant_id: id } = await made(client, { context: { color: "green" } });
  const { seen } = await client.runs.wait(null, id, { input: { topic: "x" } });
  deepEqual([seen.context, seen.configurable], [{ color: "green" }, "green"]);
  const other = await client.runs.wait(null, id, {
    input: { topic: "x" },
    context: { color: "red" },
    config: { tags: ["a"] },
    metadata: { purpose: "test" },
  });
  deepEqual([other.seen.context, other.seen.tags, other.seen.metadata], [{ color: "red" }, ["a"], "test"]);
  notEqual(other.seen.thread, seen.thread);
});
