import { deepEqual, equal, match, rejects } from "node:assert/strict";

import { HumanMessage } from "@langchain/core/messages";
import { Annotation, Command, END, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { RemoteGraph } from "@langchain/langgraph/remote";

import { collect, scenario } from "../harness.mjs";

const TEA = { topic: "tea" };
const JOKE = "This is a joke about tea and cats";

const remote = (client, graphId) => new RemoteGraph({ graphId, client });
const onThread = async (client) => ({ configurable: { thread_id: (await client.threads.create()).thread_id } });

scenario("remote graph: called and streamed", async ({ client }) => {
  const graph = remote(client, "joke");
  equal((await graph.invoke(TEA)).joke, JOKE);
  deepEqual(await collect(await graph.stream(TEA)), [
    { refine_topic: { topic: "tea and cats" } },
    { generate_joke: { joke: JOKE } },
  ]);
  const parts = await collect(await graph.stream(TEA, { streamMode: ["values", "updates"] }));
  deepEqual(parts.map(([mode]) => mode), ["values", "updates", "values", "updates", "values"]);
});

scenario("remote graph: messages, as objects in and in pieces out", async ({ client }) => {
  const graph = remote(client, "chat");
  const input = { messages: [new HumanMessage("hi")] };
  const result = await graph.invoke(input);
  deepEqual(result.messages.map((each) => each.content), ["hi", "You said: hi"]);
  const parts = await collect(await graph.stream(input, { streamMode: "messages" }));
  equal(parts.map(([chunk]) => chunk.content).join(""), "You said: hi");
});

scenario("remote graph: subgraphs", async ({ client }) => {
  const parts = await collect(await remote(client, "parent").stream(TEA, { subgraphs: true }));
  const places = parts.map(([namespace, data]) => [namespace.map((each) => each.split(":")[0]), Object.keys(data)[0]]);
  deepEqual(places, [
    [[], "prepare"],
    [["child"], "refine_topic"],
    [["child"], "generate_joke"],
    [[], "child"],
  ]);
});

scenario("remote graph: states of the present and the past", async ({ client, official }) => {
  const graph = remote(client, "joke");
  const config = await onThread(client);
  await graph.invoke(TEA, config);
  const state = await graph.getState(config);
  deepEqual([state.values.joke, state.next, state.metadata.step], [JOKE, [], 2]);
  const history = await collect(graph.getStateHistory(config));
  deepEqual(history.map((each) => each.metadata.step), [2, 1, 0, -1]);
  if (!official) {
    // There `before` is another form than this client sends.
    const before = await collect(graph.getStateHistory(config, { before: history[1].config, limit: 1 }));
    deepEqual(before.map((each) => each.metadata.step), [0]);
  }
  const saved = await graph.updateState(history[1].config, { topic: "snow" }, "refine_topic");
  deepEqual((await graph.getState(config)).config, saved);
  equal((await graph.invoke(null, config)).joke, "This is a joke about snow");
  deepEqual((await graph.getState(history[1].config)).next, ["generate_joke"]);
});

scenario("remote graph: a question and its answer", async ({ client }) => {
  const graph = remote(client, "ask");
  const config = await onThread(client);
  await rejects(graph.invoke(TEA, config), { name: "GraphInterrupt" });
  const state = await graph.getState(config);
  deepEqual([state.next, state.tasks[0].interrupts[0].value], [["question"], { question: "Really?" }]);
  const result = await graph.invoke(new Command({ resume: "yes" }), config);
  deepEqual(result.log, ["before", "after yes"]);
});

scenario("remote graph: the state of a subgraph that asks", async ({ client }) => {
  const graph = remote(client, "asking_parent");
  const config = await onThread(client);
  await rejects(graph.invoke(TEA, config), { name: "GraphInterrupt" });
  const state = await graph.getState(config, { subgraphs: true });
  deepEqual([state.next, state.tasks[0].state.next], [["child"], ["question"]]);
});

scenario("remote graph: a failure", async ({ client }) => {
  const error = await remote(client, "boom").invoke(TEA).catch((reason) => reason);
  match(error.message, /ValueError.*boom: tea/);
});

scenario("remote graph: drawn", async ({ client }) => {
  const [assistant] = await client.assistants.search({ graphId: "parent" });
  const graph = remote(client, assistant.assistant_id);
  const drawn = await graph.getGraphAsync({ xray: true });
  match(drawn.drawMermaid(), /generate_joke/);
  const subgraphs = await collect(graph.getSubgraphsAsync());
  deepEqual(subgraphs.map(([name]) => name), ["child"]);
});

scenario("remote graph: settings and stops", async ({ client }) => {
  const { seen } = await remote(client, "look").invoke(TEA, {
    configurable: { color: "green" },
    tags: ["a"],
    metadata: { purpose: "test" },
  });
  deepEqual([seen.context, seen.configurable, seen.tags, seen.metadata], [{ color: "green" }, "green", ["a"], "test"]);
  const config = await onThread(client);
  const graph = remote(client, "joke");
  await rejects(graph.invoke(TEA, { ...config, interruptBefore: ["generate_joke"] }), { name: "GraphInterrupt" });
  deepEqual((await graph.getState(config)).next, ["generate_joke"]);
  equal((await graph.invoke(null, config)).joke, JOKE);
});

const State = Annotation.Root({
  topic: Annotation(),
  joke: Annotation(),
  answer: Annotation(),
  log: Annotation(),
});

scenario("remote graph: a node of a graph in JavaScript", async ({ client }) => {
  const graph = new StateGraph(State)
    .addNode("prepare", ({ topic }) => ({ topic: `${topic}!` }))
    .addNode("remote", remote(client, "joke"))
    .addEdge(START, "prepare")
    .addEdge("prepare", "remote")
    .addEdge("remote", END)
    .compile();
  equal((await graph.invoke(TEA)).joke, "This is a joke about tea! and cats");
  const parts = await collect(await graph.stream(TEA, { streamMode: "updates", subgraphs: true }));
  deepEqual(parts.map(([namespace, data]) => [namespace.length, Object.keys(data)[0]]), [
    [0, "prepare"],
    [1, "refine_topic"],
    [1, "generate_joke"],
    [0, "remote"],
  ]);
});

scenario("remote graph: messages of a node of a graph in JavaScript", async ({ client }) => {
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("remote", remote(client, "chat"))
    .addEdge(START, "remote")
    .addEdge("remote", END)
    .compile();
  const result = await graph.invoke({ messages: [new HumanMessage("hi")] });
  equal(result.messages.at(-1).content, "You said: hi");
});

scenario("remote graph: a question from inside a graph in JavaScript", async ({ client }) => {
  const graph = new StateGraph(State)
    .addNode("remote", remote(client, "ask"))
    .addEdge(START, "remote")
    .addEdge("remote", END)
    .compile({ checkpointer: new MemorySaver() });
  const config = { configurable: { thread_id: crypto.randomUUID() } };
  const asked = await graph.invoke(TEA, config);
  deepEqual(asked.__interrupt__.map((each) => each.value), [{ question: "Really?" }]);
});
