import { deepEqual, equal, notEqual, ok } from "node:assert/strict";

import { refused, scenario } from "../harness.mjs";

scenario("threads: created, read, changed and deleted", async ({ client }) => {
  const thread = await client.threads.create({ metadata: { a: 1, text: "ä€😀" }, graphId: "joke" });
  deepEqual([thread.status, thread.metadata], ["idle", { a: 1, text: "ä€😀", graph_id: "joke" }]);
  equal((await client.threads.get(thread.thread_id)).thread_id, thread.thread_id);
  const changed = await client.threads.update(thread.thread_id, { metadata: { b: 2 } });
  deepEqual(changed.metadata, { a: 1, b: 2, text: "ä€😀", graph_id: "joke" });
  await client.threads.delete(thread.thread_id);
  const { detail } = await refused(client.threads.get(thread.thread_id), 404);
  equal(detail, `Thread with ID ${thread.thread_id} not found`);
});

scenario("threads: a minimal answer to a change", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  equal(await client.threads.update(thread_id, { metadata: { b: 2 }, returnMinimal: true }), undefined);
  deepEqual((await client.threads.get(thread_id)).metadata.b, 2);
});

scenario("threads: an id that is taken", async ({ client }) => {
  const threadId = crypto.randomUUID();
  await client.threads.create({ threadId, metadata: { first: true } });
  const { detail } = await refused(client.threads.create({ threadId, ifExists: "raise" }), 409);
  ok(detail.includes(threadId), detail);
  const again = await client.threads.create({ threadId, ifExists: "do_nothing" });
  equal(again.metadata.first, true);
});

scenario("threads: searched, sorted, selected and counted", async ({ client, official }) => {
  const mark = crypto.randomUUID();
  for (const n of [1, 2, 3]) {
    const { thread_id } = await client.threads.create({ metadata: { mark, n } });
    if (n < 3) await client.runs.wait(thread_id, n === 1 ? "joke" : "ask", { input: { topic: "tea" } });
  }
  const metadata = { mark };
  equal(await client.threads.count({ metadata }), 3);
  equal(await client.threads.count({ metadata, status: "interrupted" }), 1);
  const search = async (query) =>
    (await client.threads.search({ metadata, sortBy: "created_at", sortOrder: "asc", ...query })).map(
      (each) => each.metadata?.n ?? each,
    );
  deepEqual(await search({}), [1, 2, 3]);
  deepEqual(await search({ limit: 1, offset: 1 }), [2]);
  deepEqual(await search({ status: "interrupted" }), [2]);
  // There it fails if any thread has no values yet.
  if (!official) deepEqual(await search({ values: { topic: "tea and cats" } }), [1]);
  deepEqual(await search({ sortOrder: "desc" }), [3, 2, 1]);
  const selected = await search({ select: ["status", "values"], limit: 1 });
  deepEqual(selected, [
    { status: "idle", values: { topic: "tea and cats", joke: "This is a joke about tea and cats", log: [] } },
  ]);
});

scenario("threads: copied", async ({ client }) => {
  const { thread_id } = await client.threads.create({ metadata: { kept: 1 } });
  await client.runs.wait(thread_id, "joke", { input: { topic: "tea" } });
  const copy = await client.threads.copy(thread_id);
  notEqual(copy.thread_id, thread_id);
  equal(copy.metadata.kept, 1);
  const state = await client.threads.getState(copy.thread_id);
  equal(state.values.joke, "This is a joke about tea and cats");
});

scenario("threads: states, history and changes of the past", async ({ client }) => {
  const { thread_id } = await client.threads.create({ graphId: "joke" });
  await client.runs.wait(thread_id, "joke", { input: { topic: "tea" } });
  const state = await client.threads.getState(thread_id);
  deepEqual([state.next, state.values.topic, state.metadata.step], [[], "tea and cats", 2]);
  equal(state.checkpoint.thread_id, thread_id);
  const history = await client.threads.getHistory(thread_id);
  deepEqual(history.map((each) => each.metadata.step), [2, 1, 0, -1]);
  deepEqual(history[1].next, ["generate_joke"]);
  deepEqual(history[1].tasks.map((task) => task.name), ["generate_joke"]);
  const older = await client.threads.getHistory(thread_id, {
    limit: 1,
    before: { configurable: { checkpoint_id: history[1].checkpoint.checkpoint_id } },
  });
  deepEqual(older.map((each) => each.metadata.step), [0]);
  deepEqual((await client.threads.getHistory(thread_id, { metadata: { step: 1 } })).length, 1);
  const byId = await client.threads.getState(thread_id, history[1].checkpoint.checkpoint_id);
  deepEqual(byId.next, ["generate_joke"]);
  const byCheckpoint = await client.threads.getState(thread_id, history[1].checkpoint, { subgraphs: true });
  deepEqual(byCheckpoint.next, ["generate_joke"]);
  const { checkpoint } = await client.threads.updateState(thread_id, {
    values: { topic: "snow" },
    checkpoint: history[1].checkpoint,
    asNode: "refine_topic",
  });
  const forked = await client.threads.getState(thread_id);
  deepEqual([forked.checkpoint.checkpoint_id, forked.next], [checkpoint.checkpoint_id, ["generate_joke"]]);
  equal(forked.parent_checkpoint.checkpoint_id, history[1].checkpoint.checkpoint_id);
  const result = await client.runs.wait(thread_id, "joke", { input: null });
  equal(result.joke, "This is a joke about snow");
});

scenario("threads: the state of a subgraph", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "asking_parent", { input: { topic: "x" } });
  const plain = await client.threads.getState(thread_id);
  equal(plain.tasks[0].state, null);
  const { checkpoint } = plain.tasks[0];
  const whole = await client.threads.getState(thread_id, null, { subgraphs: true });
  deepEqual(whole.tasks[0].state.next, ["question"]);
  const inner = await client.threads.getState(thread_id, checkpoint, { subgraphs: true });
  deepEqual(inner.next, ["question"]);
  const history = await client.threads.getHistory(thread_id, { checkpoint: { checkpoint_ns: checkpoint.checkpoint_ns } });
  deepEqual(history.map((each) => each.next), [["question"], ["before"], ["__start__"]]);
});

scenario("threads: made from supersteps", async ({ client }) => {
  const { thread_id } = await client.threads.create({
    graphId: "joke",
    supersteps: [
      { updates: [{ values: { topic: "snow" }, asNode: "__input__" }] },
      { updates: [{ values: { topic: "snow!" }, asNode: "refine_topic" }] },
    ],
  });
  const state = await client.threads.getState(thread_id);
  deepEqual([state.values.topic, state.next], ["snow!", ["generate_joke"]]);
});

scenario("threads: metadata by way of the state", async ({ client, official }) => {
  if (official) return; // It does not know this method of its own client: 405.
  const { thread_id } = await client.threads.create({ metadata: { a: 1 } });
  await client.threads.patchState(thread_id, { b: 2 });
  deepEqual((await client.threads.get(thread_id)).metadata, { a: 1, b: 2 });
});

scenario("threads: with an end, and pruned", async ({ client, official }) => {
  const { thread_id } = await client.threads.create({ ttl: 5 });
  if (!official) {
    const { ttl } = await client.threads.get(thread_id, { include: ["ttl"] });
    deepEqual([ttl.strategy, ttl.ttl_minutes], ["delete", 5]);
  }
  const other = await client.threads.create();
  deepEqual(await client.threads.prune([thread_id, other.thread_id]), { pruned_count: 2 });
  await refused(client.threads.get(thread_id), 404);
});
