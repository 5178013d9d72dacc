// `useStream` of `@langchain/react`, which follows threads.
import { deepEqual, equal, ok } from "node:assert/strict";

import { openSocket } from "../browser.mjs";
import { eventually, newGate, scenario } from "../harness.mjs";
import { openThreadPage, quietly } from "../page.mjs";

const human = (content) => ({ messages: [{ type: "human", content }] });
const quiet = (now) => !now.loading && !now.threadLoading;

const ASK = human("What is 2 + 3?");
const TEXTS = ["human: What is 2 + 3?", "ai: Let me add.", "tool: 5", "ai: It is five."];
// Of messages that are not in the state; the hook shows those of subgraphs, too.
const STREAMED = ["ai: Deep thoughts.", "ai: One side.", "ai: Other side."];
const ANSWERS = ["Inside? yes", "Sure? very"];
const CALL = { name: "add", status: "finished", output: "5" };

const isEnd = ({ method, params }) =>
  method === "lifecycle" && params.namespace.length === 0 && params.data.event !== "running";

function openConversation(url, options) {
  return openThreadPage(url, {
    assistantId: "assistant",
    read: (stream, { useMessageMetadata }) => ({
      asked: useMessageMetadata(stream, stream.messages[0]?.id)?.optimisticStatus,
    }),
    ...options,
  });
}

const waits = (now) => quiet(now) && now.questions.length === 2;
const done = (now) => quiet(now) && ANSWERS.every((line) => now.values.log?.includes(line));
const question = (page, name) => page.stream.interrupts.find((each) => each.value.question === name);

// Everything that streams, and two questions.
function conversation(transport, answer) {
  return async ({ url, client }) => {
    const told = [];
    const page = openConversation(url, {
      transport,
      onThreadId: (id) => told.push(id),
      onCreated: () => told.push("created"),
      onCompleted: ({ reason }) => told.push(reason),
    });
    await page.until(quiet);
    page.stream.submit(ASK);
    await page.until((now) => now.loading && now.messages[0] === TEXTS[0]);
    // The parts of what a page shows come one after the other.
    const whole = (now) => STREAMED.every((text) => now.messages.includes(text)) && now.calls[0]?.status === "finished";
    const { calls, questions, messages } = await page.until((now) => waits(now) && whole(now));
    deepEqual([questions, calls], [["Inside?", "Sure?"], [CALL]]);
    deepEqual(messages.slice(0, 4), TEXTS);
    deepEqual(messages.slice(4).sort(), STREAMED);
    deepEqual(page.text(), messages);
    deepEqual([question(page, "Sure?").namespace, page.now.asked], [[], "sent"]);
    deepEqual(question(page, "Inside?").namespace, page.stream.subgraphsByNode.get("child")[0].namespace);
    // What the part about the subgraph shows is not looked at: for it the package asks for everything again, takes old
    // values for new ones, and stops at the first question.
    await page.until(() => page.inside.child);
    await answer(page);
    const { values, subgraphs } = await page.until(done);
    deepEqual(values.log, (await client.threads.getState(page.stream.threadId)).values.log);
    deepEqual([subgraphs, page.now.questions, page.now.error], [[["child", "complete"]], [], undefined]);
    await eventually(() => told.length >= 3);
    deepEqual(told.slice(0, 3), [page.stream.threadId, "created", "interrupt"]);
    page.close();
  };
}

async function oneByOne(page) {
  const ends = [];
  page.stream.getThread().onEvent((event) => isEnd(event) && ends.push(event));
  await page.stream.respond("yes", { interruptId: question(page, "Inside?").id });
  await eventually(() => ends.length);
  await page.until(quiet);
  deepEqual(page.now.questions, ["Sure?"]);
  await page.stream.respond("very", { interruptId: question(page, "Sure?").id });
}

const both = (page) =>
  page.stream.respondAll({ [question(page, "Inside?").id]: "yes", [question(page, "Sure?").id]: "very" });

scenario("thread react: a conversation over server-sent events", conversation("sse", oneByOne));
scenario("thread react: a conversation over a WebSocket", conversation("websocket", oneByOne));
scenario("thread react: both answers at once over server-sent events", conversation("sse", both));
scenario("thread react: both answers at once over a WebSocket", conversation("websocket", both));

// A message stops in the middle; meanwhile the page is opened a second time, as after a reload.
function growth(transport) {
  return async ({ url, client }) => {
    const gate = newGate(client);
    const first = openThreadPage(url, { assistantId: "hesitant", transport });
    await first.until(quiet);
    first.stream.submit(human(`hi there gate ${gate.name}`));
    await first.until((now) => now.messages[1] === "ai: You said: hi");
    const second = openThreadPage(url, { assistantId: "hesitant", transport, threadId: first.stream.threadId });
    await second.until((now) => now.loading && now.messages[1] === "ai: You said: hi");
    equal(first.now.loading, true);
    await gate.open();
    for (const page of [first, second]) {
      await page.until((now) => quiet(now) && now.messages[1] === "ai: You said: hi there");
      deepEqual(page.text(), [`human: hi there gate ${gate.name}`, "ai: You said: hi there"]);
      page.close();
    }
    equal((await client.runs.list(first.stream.threadId)).length, 1);
  };
}

scenario("thread react: words, and a reload between them, over server-sent events", growth("sse"));
scenario("thread react: words, and a reload between them, over a WebSocket", growth("websocket"));

scenario("thread react: questions that wait since an earlier visit", async ({ url }) => {
  const earlier = openConversation(url);
  await earlier.until(quiet);
  earlier.stream.submit(ASK);
  await earlier.until(waits);
  const { threadId } = earlier.stream;
  earlier.close();
  const page = openConversation(url, { threadId });
  const { messages } = await page.until((now) => waits(now) && now.subgraphs.length && now.calls[0]?.status === "finished");
  deepEqual([messages.slice(0, 4), page.now.calls], [TEXTS, [CALL]]);
  await both(page);
  await page.until(done);
  page.close();
});

scenario("thread react: other threads, and back", async ({ url }) => {
  const page = openConversation(url);
  await page.until(quiet);
  page.stream.submit(ASK);
  await page.until(waits);
  await both(page);
  await page.until(done);
  const { threadId } = page.stream;
  page.give({ threadId });
  page.give({ threadId: null });
  await page.until((now) => quiet(now) && now.messages.length === 0);
  deepEqual([page.now.values, page.now.subgraphs, page.now.calls], [{}, [], []]);
  page.stream.submit(ASK);
  await page.until(waits);
  const other = page.stream.threadId;
  page.give({ threadId: other });
  page.give({ threadId });
  const { messages, questions } = await page.until((now) => done(now) && now.subgraphs.length);
  deepEqual([messages, questions, page.now.subgraphs], [TEXTS, [], [["child", "complete"]]]);
  page.give({ threadId: other });
  await page.until((now) => waits(now) && now.messages.length >= 4);
  page.close();
});

scenario("thread react: the next question on a thread of an earlier visit", async ({ url, client }) => {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "chat", { input: human("one") });
  const page = openThreadPage(url, { assistantId: "chat", threadId: thread_id });
  await page.until((now) => quiet(now) && now.messages.length === 2);
  await page.stream.submit(human("two"));
  await page.until((now) => quiet(now) && now.messages.at(-1) === "ai: You said: two");
  deepEqual(page.text(), ["human: one", "ai: You said: one", "human: two", "ai: You said: two"]);
  page.close();
});

scenario("thread react: another answer, and a question that is edited", async ({ url, client }) => {
  const page = openThreadPage(url, {
    assistantId: "chat",
    read: (stream, { useMessageMetadata }) => ({
      parent: useMessageMetadata(stream, stream.messages.at(-1)?.id)?.parentCheckpointId,
      last: stream.messages.at(-1)?.id,
    }),
  });
  await page.until(quiet);
  for (const word of ["one", "two"]) {
    await page.stream.submit(human(word));
    await page.until((now) => quiet(now) && now.messages.at(-1) === `ai: You said: ${word}`);
  }
  const stored = async () => {
    const { values } = await client.threads.getState(page.stream.threadId);
    return values.messages.map(({ type, content }) => `${type}: ${content[0].text ?? content}`);
  };
  const { parent, last } = await page.until((now) => now.parent);
  await page.stream.submit(undefined, { forkFrom: parent });
  await page.until((now) => quiet(now) && now.last !== last && now.messages.at(-1) === "ai: You said: two");
  deepEqual(await stored(), ["human: one", "ai: You said: one", "human: two", "ai: You said: two"]);
  const history = await client.threads.getHistory(page.stream.threadId);
  const { checkpoint_id } = history.find((each) => each.values.messages.length === 2).checkpoint;
  await page.stream.submit(human("three"), { forkFrom: checkpoint_id });
  const texts = ["human: one", "ai: You said: one", "human: three", "ai: You said: three"];
  await page.until((now) => quiet(now) && now.messages.join() === texts.join());
  deepEqual([page.text(), await stored()], [texts, texts]);
  page.close();
});

function failure(transport) {
  return async ({ url }) => {
    const reasons = [];
    const errors = [];
    const page = openThreadPage(url, {
      assistantId: "chat",
      transport,
      onCompleted: ({ reason }) => reasons.push(reason),
    });
    await page.until(quiet);
    await page.stream.submit(human("fail"), { onError: (error) => errors.push(error.message) });
    await page.until((now) => now.error && quiet(now));
    equal(page.now.error.message, "I cannot talk about that.");
    await eventually(() => reasons.length);
    deepEqual([errors, reasons], [["I cannot talk about that."], ["error"]]);
    await page.stream.submit(human("better"));
    await page.until((now) => quiet(now) && now.messages.includes("ai: You said: better"));
    equal(page.now.error, undefined);
    page.close();
  };
}

scenario("thread react: a failure over server-sent events", failure("sse"));
scenario("thread react: a failure over a WebSocket", failure("websocket"));

scenario("thread react: a graph that does not exist", async ({ url }) => {
  const page = openThreadPage(url, { assistantId: "nope" });
  await page.until(quiet);
  await quietly(() => page.stream.submit(human("hi")));
  await page.until((now) => now.error && quiet(now));
  ok(page.now.error.message.includes("Invalid assistant: 'nope'"), page.now.error.message);
  page.close();
});

scenario("thread react: tools while they work, and one that fails", async ({ url, client }) => {
  const gate = newGate(client);
  const page = openThreadPage(url, { assistantId: "tools" });
  await page.until(quiet);
  page.stream.submit(human(`Ulm gate ${gate.name}`));
  const { calls } = await page.until((now) => now.calls[0]?.status === "running");
  deepEqual([calls.length, calls[0].name, calls[0].output], [1, "weather", null]);
  await gate.open();
  await page.until((now) => quiet(now) && now.messages.length === 4 && now.calls[0].status === "finished");
  deepEqual(page.now.calls, [{ name: "weather", status: "finished", output: "Sunny in Ulm" }]);
  page.close();
  const other = openThreadPage(url, { assistantId: "tools" });
  await other.until(quiet);
  await other.stream.submit(human("Atlantis"));
  await other.until((now) => now.error && quiet(now) && now.calls[0]?.status === "error");
  other.close();
});

scenario("thread react: stopped", async ({ url, client }) => {
  const page = openThreadPage(url, { assistantId: "chat" });
  await page.until(quiet);
  page.stream.submit(human(`hi gate ${crypto.randomUUID()}`));
  await page.until((now) => now.messages[1] === "ai: You said: hi");
  await page.stream.stop();
  await page.until(quiet);
  const [run] = await eventually(() => client.runs.list(page.stream.threadId), ([each]) => each.status !== "running");
  deepEqual([run.status, page.now.error], ["interrupted", undefined]);
  page.close();
});

scenario("thread react: a second question while the first is answered", async ({ url, client }) => {
  const page = openThreadPage(url, {
    assistantId: "chat",
    read: (stream, { useSubmissionQueue }) => ({ queued: useSubmissionQueue(stream).size }),
  });
  await page.until(quiet);
  const gate = newGate(client);
  page.stream.submit(human(`one gate ${gate.name}`));
  await page.until((now) => now.messages[1] === "ai: You said: one");
  await page.stream.submit(human("two"), { multitaskStrategy: "enqueue" });
  await page.until((now) => now.queued === 1);
  await gate.open();
  await page.until((now) => quiet(now) && now.messages.at(-1) === "ai: You said: two");
  equal(page.text().length, 4);
  page.close();
});

// A connection breaks in the middle of an answer, and is made again by the package.
function breaking(transport, connect) {
  return async ({ url, client }) => {
    const kinds = [];
    const { options, cut } = connect();
    const page = openThreadPage(url, {
      assistantId: "hesitant",
      transport,
      reconnectDelayMs: () => 1,
      onConnected: ({ kind }) => kinds.push(kind),
      ...options,
    });
    await page.until(quiet);
    const gate = newGate(client);
    page.stream.submit(human(`hi there gate ${gate.name}`));
    await page.until((now) => now.messages[1] === "ai: You said: hi");
    cut();
    await eventually(() => kinds.includes("reconnected"));
    await gate.open();
    await page.until((now) => quiet(now) && now.messages[1] === "ai: You said: hi there");
    deepEqual([page.text()[1], page.text().length, page.now.error], ["ai: You said: hi there", 2, undefined]);
    page.close();
  };
}

function sockets() {
  const made = [];
  const webSocketFactory = (address) => {
    made.push(openSocket(address));
    return made.at(-1);
  };
  return { options: { webSocketFactory }, cut: () => made.forEach((each) => each.close()) };
}

function requests() {
  const leaving = [];
  const cuttable = async (input, init) => {
    const response = await fetch(input, init);
    if (!String(input).endsWith("/stream/events")) return response;
    const { readable, writable } = new TransformStream();
    const breaking = new AbortController();
    response.body.pipeTo(writable, { signal: breaking.signal }).catch(() => {});
    leaving.push(() => breaking.abort(new TypeError("terminated")));
    return new Response(readable, response);
  };
  return { options: { fetch: cuttable }, cut: () => leaving.forEach((cut) => cut()) };
}

scenario("thread react: a broken stream of events", breaking("sse", requests));
scenario("thread react: a broken WebSocket", breaking("websocket", sockets));
