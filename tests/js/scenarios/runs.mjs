import { deepEqual, equal, ok, rejects } from "node:assert/strict";

import { eventually, newGate, refused, scenario } from "../harness.mjs";

const TEA = { topic: "tea" };
const JOKE = "This is a joke about tea and cats";

scenario("runs: in the background, read, listed and joined", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  let created;
  const run = await client.runs.create(thread_id, "joke", {
    input: TEA,
    metadata: { purpose: "test" },
    onRunCreated: (told) => {
      created = told;
    },
  });
  deepEqual(created, { run_id: run.run_id, thread_id });
  deepEqual([run.thread_id, run.metadata.purpose, run.multitask_strategy], [thread_id, "test", "enqueue"]);
  equal((await client.runs.join(thread_id, run.run_id)).joke, JOKE);
  equal((await client.runs.get(thread_id, run.run_id)).status, "success");
  const second = await client.runs.create(thread_id, "joke", { input: TEA });
  await client.runs.join(thread_id, second.run_id);
  const list = (options) => client.runs.list(thread_id, options).then((runs) => runs.map((each) => each.run_id));
  deepEqual(await list(), [second.run_id, run.run_id]);
  deepEqual(await list({ limit: 1, offset: 1 }), [run.run_id]);
  deepEqual(await list({ status: "error" }), []);
  deepEqual(await client.runs.list(thread_id, { select: ["run_id", "status"], limit: 1 }), [
    { run_id: second.run_id, status: "success" },
  ]);
  await client.runs.delete(thread_id, run.run_id);
  await refused(client.runs.get(thread_id, run.run_id), 404);
});

scenario("runs: waited for", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  let created;
  const values = await client.runs.wait(thread_id, "joke", {
    input: TEA,
    onRunCreated: (told) => {
      created = told;
    },
  });
  equal(values.joke, JOKE);
  equal(created.thread_id, thread_id);
  equal((await client.runs.get(thread_id, created.run_id)).status, "success");
});

scenario("runs: a failure, thrown or returned", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  await rejects(client.runs.wait(thread_id, "boom", { input: TEA }), { message: "ValueError: boom: tea" });
  deepEqual(await client.runs.wait(thread_id, "boom", { input: TEA, raiseError: false }), {
    __error__: { error: "ValueError", message: "boom: tea" },
  });
  const thread = await client.threads.get(thread_id);
  equal(thread.status, "error");
  const state = await client.threads.getState(thread_id);
  deepEqual([state.next, state.tasks[0].error], [["boom"], "ValueError('boom: tea')"]);
});

scenario("runs: cancelled, one and many", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const start = () => client.runs.create(thread_id, "gate", { input: { gate: crypto.randomUUID() } });
  const status = async (run) => (await client.runs.get(thread_id, run.run_id)).status;
  const running = await start();
  await eventually(() => status(running), (each) => each === "running");
  await client.runs.cancel(thread_id, running.run_id, true);
  equal(await status(running), "interrupted");
  const [first, second] = [await start(), await start()];
  await client.runs.cancelMany({ threadId: thread_id, runIds: [first.run_id, second.run_id] });
  await eventually(() => status(first), (each) => each === "interrupted");
  equal(await status(second), "interrupted");
  const rolled = await start();
  await eventually(() => status(rolled), (each) => each === "running");
  await client.runs.cancel(thread_id, rolled.run_id, true, "rollback");
  await refused(client.runs.get(thread_id, rolled.run_id), 404);
  await refused(client.runs.cancel(thread_id, running.run_id), 404);
});

scenario("runs: later", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "joke", { input: TEA, afterSeconds: 1 });
  equal(run.status, "pending");
  ok(Date.parse(run.created_at) > Date.now() - 100, run.created_at);
  equal((await client.runs.join(thread_id, run.run_id)).joke, JOKE);
});

scenario("runs: on a thread that is made for them", async ({ client }) => {
  const threadId = crypto.randomUUID();
  const values = await client.runs.wait(threadId, "joke", { input: TEA, ifNotExists: "create" });
  equal(values.joke, JOKE);
  equal((await client.threads.get(threadId)).metadata.graph_id, "joke");
});

scenario("runs: one after the other on a thread", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const gate = newGate(client);
  const first = await client.runs.create(thread_id, "gate", { input: { gate: gate.name } });
  const second = await client.runs.create(thread_id, "gate", {
    input: { gate: gate.name },
    multitaskStrategy: "enqueue",
  });
  const { detail } = await refused(
    client.runs.create(thread_id, "gate", { input: {}, multitaskStrategy: "reject" }),
    409,
  );
  equal(
    detail,
    "Thread is already running a task. Wait for it to finish or choose a different multitask strategy.",
  );
  await gate.open();
  const values = await client.runs.join(thread_id, second.run_id);
  deepEqual(values.log, ["first", "passed", "last", "first", "passed", "last"]);
  equal((await client.runs.get(thread_id, first.run_id)).status, "success");
});

async function replaced(client, strategy) {
  const { thread_id } = await client.threads.create();
  const [closed, gate] = [newGate(client), newGate(client)];
  await gate.open();
  const { run_id } = await client.runs.create(thread_id, "gate", { input: { gate: closed.name } });
  await eventually(
    () => client.threads.getState(thread_id).catch(() => null),
    (state) => state?.next?.includes("gate"),
  );
  const { log } = await client.runs.wait(thread_id, "gate", {
    input: { gate: gate.name },
    multitaskStrategy: strategy,
  });
  return { log, first: () => client.runs.get(thread_id, run_id) };
}

scenario("runs: one that interrupts another", async ({ client }) => {
  const { log, first } = await replaced(client, "interrupt");
  deepEqual(log, ["first", "first", "passed", "last"]);
  equal((await first()).status, "interrupted");
});

scenario("runs: one that undoes another", async ({ client }) => {
  const { log, first } = await replaced(client, "rollback");
  deepEqual(log, ["first", "passed", "last"]);
  await refused(first(), 404);
});

scenario("runs: without a thread", async ({ client }) => {
  let created;
  const values = await client.runs.wait(null, "joke", {
    input: TEA,
    onRunCreated: (told) => {
      created = told;
    },
  });
  equal(values.joke, JOKE);
  ok(created.run_id);
  const run = await client.runs.create(null, "joke", { input: TEA, onCompletion: "keep" });
  equal((await client.runs.join(run.thread_id, run.run_id)).joke, JOKE);
  equal((await client.threads.get(run.thread_id)).status, "idle");
});

scenario("runs: many at once", async ({ client }) => {
  const runs = await client.runs.createBatch([
    { assistantId: "joke", input: TEA, onCompletion: "keep", on_completion: "keep" },
    { assistantId: "joke", input: { topic: "snow" }, on_completion: "keep" },
  ]);
  const jokes = await Promise.all(runs.map((run) => client.runs.join(run.thread_id, run.run_id)));
  deepEqual(jokes.map((each) => each.joke), [JOKE, "This is a joke about snow and cats"]);
});

scenario("runs: two megabytes in and out", async ({ client }) => {
  const text = "ä€😀\u2028\\\"\n".repeat(150_000);
  const { thread_id } = await client.threads.create();
  const values = await client.runs.wait(thread_id, "joke", { input: { topic: text } });
  equal(values.topic, `${text} and cats`);
  const parts = [];
  for await (const part of client.runs.stream(null, "big", { input: { size: 2_000_000 }, streamMode: "updates" })) {
    parts.push(part);
  }
  equal(parts[1].data.grow.text, "ä€😀\u2028".repeat(400_000));
  equal((await client.threads.getState(thread_id)).values.topic.length, text.length + 9);
});
