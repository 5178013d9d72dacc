import { deepEqual, equal, ok } from "node:assert/strict";

import { collect, eventually, names, newGate, scenario, until } from "../harness.mjs";

const TEA = { topic: "tea" };
const JOKE = "This is a joke about tea and cats";
const HI = { messages: [{ role: "user", content: "hi" }] };

const stream = (client, graph, input, options) => collect(client.runs.stream(null, graph, { input, ...options }));
const onThread = async (client, graph, input, options) =>
  collect(client.runs.stream(crypto.randomUUID(), graph, { input, ifNotExists: "create", ...options }));
const data = (parts, event) => parts.filter((part) => part.event === event).map((part) => part.data);

scenario("streams: values, unless something else is asked for", async ({ client }) => {
  const parts = await stream(client, "joke", TEA);
  deepEqual(names(parts), ["metadata", "values", "values", "values"]);
  deepEqual(Object.keys(parts[0].data), ["run_id", "attempt"]);
  deepEqual(parts.at(-1).data, { topic: "tea and cats", joke: JOKE, log: [] });
  deepEqual(parts.map((part) => part.id), parts.map(() => undefined));
});

scenario("streams: updates", async ({ client }) => {
  const parts = await stream(client, "joke", TEA, { streamMode: "updates" });
  deepEqual(data(parts, "updates"), [{ refine_topic: { topic: "tea and cats" } }, { generate_joke: { joke: JOKE } }]);
});

scenario("streams: messages as tuples", async ({ client }) => {
  const parts = await stream(client, "chat", HI, { streamMode: "messages-tuple" });
  const tuples = data(parts, "messages");
  equal(tuples.map(([chunk]) => chunk.content).join(""), "You said: hi");
  ok(tuples.length > 3);
  equal(tuples[0][0].type, "AIMessageChunk");
  equal(tuples[0][1].langgraph_node, "talk");
});

scenario("streams: messages that grow", async ({ client }) => {
  const parts = await stream(client, "chat", HI, { streamMode: "messages" });
  equal(names(parts)[1], "messages/metadata");
  const grown = data(parts, "messages/partial").map(([message]) => message);
  deepEqual([grown[0].content, grown.at(-1).content, grown[0].type], ["You", "You said: hi", "ai"]);
});

scenario("streams: what a node writes", async ({ client }) => {
  const gate = newGate(client);
  await gate.open();
  deepEqual(data(await stream(client, "gate", { gate: gate.name }, { streamMode: "custom" }), "custom"), [{ at: "gate" }]);
});

scenario("streams: tasks", async ({ client }) => {
  const tasks = data(await stream(client, "joke", TEA, { streamMode: "tasks" }), "tasks");
  deepEqual(tasks.map((task) => task.name), ["refine_topic", "refine_topic", "generate_joke", "generate_joke"]);
  deepEqual(tasks[3].result, { joke: JOKE });
});

scenario("streams: checkpoints", async ({ client }) => {
  const found = data(await onThread(client, "joke", TEA, { streamMode: "checkpoints" }), "checkpoints");
  deepEqual(found.map((each) => each.next), [["__start__"], ["refine_topic"], ["generate_joke"], []]);
  ok(found.every((each) => each.config.configurable.checkpoint_id));
});

scenario("streams: debug", async ({ client }) => {
  const types = data(await onThread(client, "joke", TEA, { streamMode: "debug" }), "debug").map((each) => each.type);
  deepEqual(types, [
    "checkpoint", "checkpoint", "task", "task_result", "checkpoint", "task", "task_result", "checkpoint",
  ]);
});

scenario("streams: events of langchain", async ({ client }) => {
  const events = data(await stream(client, "chat", HI, { streamMode: "events" }), "events");
  deepEqual([events[0].event, events.at(-1).event], ["on_chain_start", "on_chain_end"]);
  const words = events.filter((each) => each.event === "on_chat_model_stream").map((each) => each.data.chunk.content);
  equal(words.join(""), "You said: hi");
});

scenario("streams: several modes at once", async ({ client }) => {
  const parts = await stream(client, "joke", TEA, { streamMode: ["updates", "values", "tasks"] });
  deepEqual(names(parts).slice(0, 6), ["metadata", "values", "tasks", "updates", "tasks", "values"]);
  deepEqual([...new Set(names(parts))].sort(), ["metadata", "tasks", "updates", "values"]);
});

scenario("streams: subgraphs", async ({ client }) => {
  const parts = await stream(client, "parent", TEA, { streamMode: "updates", streamSubgraphs: true });
  const nodes = parts.slice(1).map((part) => [part.event.replace(/:[0-9a-f-]{36}$/, ""), Object.keys(part.data)[0]]);
  deepEqual(nodes, [
    ["updates", "prepare"],
    ["updates|child", "refine_topic"],
    ["updates|child", "generate_joke"],
    ["updates", "child"],
  ]);
  deepEqual(names(await stream(client, "parent", TEA, { streamMode: "updates" })), ["metadata", "updates", "updates"]);
});

scenario("streams: messages from inside a subgraph", async ({ client }) => {
  const parts = await stream(client, "team", HI, { streamMode: "messages-tuple", streamSubgraphs: true });
  const found = parts.filter((part) => part.event.startsWith("messages"));
  equal(found.map((part) => part.data[0].content).join(""), "You said: hi");
  const places = new Set(found.map((part) => part.event.replace(/:[0-9a-f-]{36}$/, "")));
  deepEqual([...places], ["messages|member"]);
});

scenario("streams: what only LangSmith has an answer to", async ({ client, official }) => {
  if (official) return; // The run fails.
  const parts = await stream(client, "joke", TEA, { streamMode: "updates", feedbackKeys: ["liked"] });
  deepEqual(names(parts), ["metadata", "updates", "updates"]);
});

scenario("streams: a failure", async ({ client }) => {
  const parts = await stream(client, "boom", TEA, { streamMode: "updates" });
  deepEqual(names(parts), ["metadata", "updates", "error"]);
  deepEqual(parts.at(-1).data, { error: "ValueError", message: "boom: tea" });
});

scenario("streams: an interrupt, and going on after it", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const run = (options) => collect(client.runs.stream(thread_id, "ask", { streamMode: ["updates", "values"], ...options }));
  const parts = await run({ input: TEA });
  const [{ value, id }] = parts.at(-1).data.__interrupt__;
  deepEqual(value, { question: "Really?" });
  const thread = await client.threads.get(thread_id);
  equal(thread.status, "interrupted");
  deepEqual(Object.values(thread.interrupts).map(([each]) => each.id), [id]);
  const state = await client.threads.getState(thread_id);
  deepEqual([state.next, state.tasks[0].interrupts[0].value], [["question"], value]);
  const rest = await run({ command: { resume: "yes" } });
  deepEqual(rest.at(-1).data, { topic: "tea", answer: "yes", log: ["before", "after yes"] });
  equal((await client.threads.get(thread_id)).status, "idle");
});

scenario("streams: several interrupts, answered by their ids", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "asks", { input: TEA });
  const { interrupts } = await client.threads.get(thread_id);
  const asked = Object.values(interrupts).flat();
  deepEqual(asked.map((each) => each.value).sort(), ["left", "right"]);
  const resume = Object.fromEntries(asked.map((each) => [each.id, `${each.value}!`]));
  const values = await client.runs.wait(thread_id, "asks", { command: { resume } });
  deepEqual(values.log.sort(), ["left: left!", "right: right!"]);
});

scenario("streams: commands that go elsewhere and change the state", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "joke", { input: TEA });
  const values = await client.runs.wait(thread_id, "joke", {
    command: { update: { topic: "snow" }, goto: "generate_joke" },
  });
  equal(values.joke, "This is a joke about snow");
});

scenario("streams: stops before and after nodes", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const next = async () => (await client.threads.getState(thread_id)).next;
  await client.runs.wait(thread_id, "joke", { input: TEA, interruptBefore: ["refine_topic"] });
  deepEqual(await next(), ["refine_topic"]);
  await client.runs.wait(thread_id, "joke", { input: null, interruptAfter: "*" });
  deepEqual(await next(), ["generate_joke"]);
  equal((await client.threads.get(thread_id)).status, "interrupted");
});

scenario("streams: from a checkpoint of the past", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "chat", { input: { messages: [{ role: "user", content: "one" }] } });
  const history = await client.threads.getHistory(thread_id);
  const before = history.at(-1).checkpoint;
  const values = await client.runs.wait(thread_id, "chat", {
    input: { messages: [{ role: "user", content: "two" }] },
    checkpoint: { checkpoint_id: before.checkpoint_id, checkpoint_ns: "" },
  });
  deepEqual(values.messages.map((each) => each.content), ["two", "You said: two"]);
  const again = await client.runs.wait(thread_id, "chat", { input: null, checkpointId: history[1].checkpoint.checkpoint_id });
  deepEqual(again.messages.map((each) => each.content), ["one", "You said: one"]);
});

scenario("streams: left in the middle, the run goes on", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const gate = newGate(client);
  const input = { gate: gate.name };
  let created;
  const leaving = new AbortController();
  const parts = client.runs.stream(thread_id, "gate", {
    input,
    streamMode: "custom",
    signal: leaving.signal,
    onRunCreated: (told) => {
      created = told;
    },
  });
  await until(parts, (part) => part.event === "custom");
  leaving.abort();
  await parts.return();
  await gate.open();
  deepEqual((await client.runs.join(thread_id, created.run_id)).log, ["first", "passed", "last"]);
});

scenario("streams: left in the middle, the run ends", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const leaving = new AbortController();
  let created;
  const parts = client.runs.stream(thread_id, "gate", {
    input: { gate: crypto.randomUUID() },
    streamMode: "custom",
    signal: leaving.signal,
    onDisconnect: "cancel",
    onRunCreated: (told) => {
      created = told;
    },
  });
  await until(parts, (part) => part.event === "custom");
  leaving.abort();
  await parts.return();
  const run = () => client.runs.get(thread_id, created.run_id);
  equal((await eventually(run, (each) => each.status !== "running")).status, "interrupted");
});
