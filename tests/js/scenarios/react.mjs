import { deepEqual, equal, notEqual, ok } from "node:assert/strict";

import { eventually, newGate, scenario } from "../harness.mjs";
import { openPage, quietly } from "../page.mjs";

const human = (content) => ({ messages: [{ type: "human", content }] });
const quiet = (now) => !now.loading && !now.threadLoading;

scenario("react: a thread is made and the answer grows", async ({ url, client }) => {
  const told = {};
  const page = openPage(url, {
    assistantId: "chat",
    onThreadId: (id) => {
      told.thread = id;
    },
    onCreated: (run) => {
      told.run = run;
    },
    onFinish: (state) => {
      told.state = state;
    },
  });
  await page.until(quiet);
  const gate = newGate(client);
  page.stream.submit(human(`hi there gate ${gate.name}`), {
    optimisticValues: (before) => ({ messages: [...(before.messages ?? []), human("at once").messages[0]] }),
  });
  await page.until((now) => now.messages[0] === "human: at once");
  await page.until((now) => now.messages[1] === "ai: You said: hi there");
  deepEqual([page.now.loading, page.text()[1]], [true, "ai: You said: hi there"]);
  await gate.open();
  await page.until(quiet);
  deepEqual(page.text(), [`human: hi there gate ${gate.name}`, "ai: You said: hi there"]);
  const grown = [...new Set(page.seen.map((now) => now.messages[1]).filter(Boolean))];
  ok(grown.length > 1 && grown.every((text, index) => grown[index + 1]?.startsWith(text) ?? true), grown);
  deepEqual([told.run.thread_id, told.state.values.messages.length], [told.thread, 2]);
  equal((await client.runs.get(told.thread, told.run.run_id)).status, "success");
  page.close();
});

scenario("react: a second question on the thread", async ({ url }) => {
  const page = openPage(url, { assistantId: "chat" });
  await page.until(quiet);
  for (const word of ["one", "two"]) {
    page.stream.submit(human(word));
    await page.until((now) => quiet(now) && now.messages.at(-1) === `ai: You said: ${word}`);
  }
  deepEqual(page.text(), ["human: one", "ai: You said: one", "human: two", "ai: You said: two"]);
  page.close();
});

scenario("react: a question of the graph, and its answer", async ({ url }) => {
  const page = openPage(url, { assistantId: "ask" });
  await page.until(quiet);
  page.stream.submit({ topic: "tea" });
  const { interrupt } = await page.until((now) => now.interrupt && quiet(now));
  deepEqual(interrupt.value, { question: "Really?" });
  page.stream.submit(undefined, { command: { resume: "yes" } });
  const { values } = await page.until((now) => now.values.answer && quiet(now));
  deepEqual(values, { topic: "tea", answer: "yes", log: ["before", "after yes"] });
  equal(page.now.interrupt, undefined);
  page.close();
});

scenario("react: a question that waits since an earlier visit", async ({ url, client }) => {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "ask", { input: { topic: "tea" } });
  const page = openPage(url, { assistantId: "ask", threadId: thread_id, fetchStateHistory: true });
  const { interrupt } = await page.until((now) => now.interrupt);
  deepEqual(interrupt.value, { question: "Really?" });
  page.stream.submit(undefined, { command: { resume: "yes" } });
  await page.until((now) => now.values.answer === "yes" && quiet(now));
  page.close();
});

scenario("react: a question is edited, and both answers stay", async ({ url }) => {
  const page = openPage(url, { assistantId: "chat", fetchStateHistory: true });
  await page.until(quiet);
  await page.stream.submit(human("one"));
  await page.until((now) => quiet(now) && now.messages.length === 2);
  const meta = (index) => page.stream.getMessagesMetadata(page.stream.messages[index], index);
  const checkpoint = meta(0).firstSeenState.parent_checkpoint;
  await page.stream.submit(human("two"), { checkpoint });
  await page.until((now) => quiet(now) && now.messages[1] === "ai: You said: two");
  deepEqual(page.text(), ["human: two", "ai: You said: two"]);
  const { branch, branchOptions } = meta(0);
  equal(branchOptions.length, 2);
  page.stream.setBranch(branchOptions.find((each) => each !== branch));
  await page.until((now) => now.messages[1] === "ai: You said: one");
  const again = meta(1).firstSeenState.parent_checkpoint;
  await page.stream.submit(undefined, { checkpoint: again });
  await page.until((now) => quiet(now) && meta(1)?.branchOptions?.length === 2);
  deepEqual(page.text(), ["human: one", "ai: You said: one"]);
  ok(page.stream.history.length >= 2);
  page.close();
});

scenario("react: words from inside a subgraph", async ({ url, client }) => {
  const places = [];
  const page = openPage(url, {
    assistantId: "team",
    onUpdateEvent: (data, { namespace }) => places.push([namespace?.[0].split(":")[0], Object.keys(data)[0]]),
  });
  await page.until(quiet);
  const gate = newGate(client);
  page.stream.submit(human(`hi there gate ${gate.name}`), { streamSubgraphs: true });
  await page.until((now) => now.messages.includes("ai: You said: hi there"));
  equal(page.now.loading, true);
  await gate.open();
  await page.until(quiet);
  deepEqual(page.text(), [`human: hi there gate ${gate.name}`, "ai: You said: hi there"]);
  deepEqual(places, [["member", "talk"], [undefined, "member"]]);
  page.close();
});

scenario("react: stopped", async ({ url, client }) => {
  let created;
  const stopped = [];
  const page = openPage(url, {
    assistantId: "chat",
    onCreated: (run) => {
      created = run;
    },
    onStop: () => stopped.push(true),
  });
  await page.until(quiet);
  page.stream.submit(human(`hi gate ${crypto.randomUUID()}`));
  await page.until((now) => now.messages[1]?.includes("hi"));
  await page.stream.stop();
  await page.until(quiet);
  const run = () => client.runs.get(created.thread_id, created.run_id);
  equal((await eventually(run, (each) => each.status !== "running")).status, "interrupted");
  deepEqual([stopped, page.now.error], [[true], undefined]);
  page.close();
});

scenario("react: a page that comes back while the run goes on", async ({ url, client }) => {
  const { thread_id } = await client.threads.create();
  const options = { assistantId: "chat", threadId: thread_id, reconnectOnMount: true };
  const gate = newGate(client);
  const first = openPage(url, options);
  await first.until(quiet);
  first.stream.submit(human(`hi again gate ${gate.name}`));
  await first.until((now) => now.messages[1] === "ai: You said: hi again");
  first.close();
  const second = openPage(url, options);
  await second.until((now) => now.loading && now.messages[1] === "ai: You said: hi again");
  await gate.open();
  await second.until(quiet);
  deepEqual(second.now.messages, [`human: hi again gate ${gate.name}`, "ai: You said: hi again"]);
  equal((await client.runs.list(thread_id)).length, 1);
  await eventually(() => window.sessionStorage.length === 0);
  second.close();
});

scenario("react: stopped by a page that could come back", async ({ url, client }) => {
  const { thread_id } = await client.threads.create();
  const page = openPage(url, { assistantId: "chat", threadId: thread_id, reconnectOnMount: true });
  await page.until(quiet);
  page.stream.submit(human(`hi gate ${crypto.randomUUID()}`));
  await page.until((now) => now.messages[1] === "ai: You said: hi");
  await page.stream.stop();
  const [run] = await eventually(() => client.runs.list(thread_id), ([each]) => each.status !== "running");
  equal(run.status, "interrupted");
  page.close();
});

scenario("react: a run that was started elsewhere", async ({ url, client }) => {
  const { thread_id } = await client.threads.create();
  const gate = newGate(client);
  const { run_id } = await client.runs.create(thread_id, "chat", {
    input: human(`hi gate ${gate.name}`),
    streamMode: ["values", "messages-tuple"],
    streamResumable: true,
  });
  const page = openPage(url, { assistantId: "chat", threadId: thread_id });
  await page.until(quiet);
  page.stream.joinStream(run_id);
  await page.until((now) => now.messages[1] === "ai: You said: hi");
  await gate.open();
  await page.until(quiet);
  equal(page.text().length, 2);
  page.close();
});

scenario("react: a failure is shown", async ({ url }) => {
  const errors = [];
  const page = openPage(url, { assistantId: "chat", onError: (error) => errors.push(error) });
  await page.until(quiet);
  await quietly(() => page.stream.submit(human("fail")));
  const { error } = await page.until((now) => now.error && quiet(now));
  deepEqual([error.name, error.message, errors.length], ["ValueError", "I cannot talk about that.", 1]);
  await page.stream.submit(human("better"));
  await page.until((now) => !now.error && now.messages.at(-1) === "ai: You said: better");
  page.close();
});

scenario("react: a graph that does not exist", async ({ url }) => {
  const page = openPage(url, { assistantId: "nope" });
  await page.until(quiet);
  await quietly(() => page.stream.submit(human("hi")));
  const { error } = await page.until((now) => now.error);
  deepEqual([error.status, JSON.parse(error.text).detail.split(".")[0]], [422, "Invalid assistant: 'nope'"]);
  page.close();
});

scenario("react: what nodes write, and what they change", async ({ url, client }) => {
  const events = [];
  const gate = newGate(client);
  await gate.open();
  const page = openPage(url, {
    assistantId: "gate",
    onCustomEvent: (data, { mutate }) => {
      events.push(data);
      mutate((before) => ({ ...before, noted: true }));
    },
    onUpdateEvent: (data) => events.push(Object.keys(data)[0]),
    onMetadataEvent: (data) => events.push(Object.keys(data)),
  });
  await page.until(quiet);
  await page.stream.submit({ gate: gate.name });
  await page.until((now) => quiet(now) && now.values.log?.length === 3);
  deepEqual(events, [["run_id", "attempt"], "first", { at: "gate" }, "gate", "last"]);
  ok(page.seen.some((now) => now.values.noted));
  page.close();
});

scenario("react: tools that are called", async ({ url }) => {
  const page = openPage(url, { assistantId: "tools" });
  await page.until(quiet);
  await page.stream.submit(human("Ulm"));
  await page.until((now) => quiet(now) && now.messages.length === 4);
  equal(page.text().at(-1), "ai: Sunny in Ulm");
  const [call] = page.stream.toolCalls;
  deepEqual([call.call.name, call.result.content, call.state], ["weather", "Sunny in Ulm", "completed"]);
  page.close();
});

scenario("react: what tools do at the moment", async ({ url, official }) => {
  if (official) return; // It does not know the mode.
  const page = openPage(url, {
    assistantId: "tools",
    read: (stream) => ({ progress: stream.toolProgress.map(({ toolCallId, ...rest }) => rest) }),
  });
  await page.until(quiet);
  await page.stream.submit(human("Ulm"));
  await page.until((now) => quiet(now) && now.messages.length === 4);
  const [{ result, ...progress }] = page.now.progress;
  deepEqual(progress, {
    name: "weather",
    state: "completed",
    input: { city: "Ulm" },
    data: { looking: "Ulm" },
  });
  equal(result.content, "Sunny in Ulm");
  await quietly(() => page.stream.submit(human("Atlantis")));
  await page.until((now) => now.error && quiet(now));
  deepEqual([page.now.progress[0].state, page.now.progress[0].error], ["error", "There is no Atlantis."]);
  page.close();
});

scenario("react: another thread", async ({ url, client }) => {
  const page = openPage(url, { assistantId: "chat", fetchStateHistory: true });
  await page.until(quiet);
  const threadId = crypto.randomUUID();
  await page.stream.submit(human("one"), { threadId, metadata: { purpose: "test" } });
  await page.until((now) => quiet(now) && now.messages.length === 2);
  equal((await client.threads.get(threadId)).metadata.purpose, "test");
  page.stream.switchThread(null);
  await page.until((now) => quiet(now) && now.messages.length === 0);
  await page.stream.submit(human("two"));
  await page.until((now) => quiet(now) && now.messages[1] === "ai: You said: two");
  page.stream.switchThread(threadId);
  await page.until((now) => quiet(now) && now.messages[1] === "ai: You said: one");
  notEqual(page.stream.history[0].checkpoint.thread_id, undefined);
  page.close();
});
