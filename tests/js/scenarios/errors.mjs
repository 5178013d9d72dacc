import { deepEqual, equal, match } from "node:assert/strict";

import { collect, newGate, refused, scenario, until } from "../harness.mjs";

const NOWHERE = "00000000-0000-4000-8000-000000000000";

scenario("errors: what is not there", async ({ client }) => {
  for (const ask of [
    () => client.threads.get(NOWHERE),
    () => client.threads.update(NOWHERE, { metadata: {} }),
    () => client.assistants.get(NOWHERE),
    () => client.runs.get(NOWHERE, NOWHERE),
    () => client.runs.create(NOWHERE, "joke", { input: {} }),
    () => client.runs.wait(NOWHERE, "joke", { input: {} }),
    () => collect(client.runs.stream(NOWHERE, "joke", { input: {} })),
    () => client.runs.list(NOWHERE),
    () => client.crons.delete(NOWHERE),
  ]) {
    const { detail } = await refused(ask(), 404);
    equal(typeof detail, "string");
  }
});

scenario("errors: what does not fit", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  for (const [ask, text] of [
    [() => client.threads.get("x"), /must be a UUID/],
    [() => client.runs.create(thread_id, "nope", { input: {} }), /Invalid assistant: 'nope'/],
    [() => client.runs.create(thread_id, "joke", { input: {}, streamMode: "nope" }), /nope/],
    [() => client.runs.create(thread_id, "joke", { input: {}, multitaskStrategy: "nope" }), /nope/],
    [() => client.threads.search({ status: "nope" }), /nope/],
    [() => client.assistants.create({ graphId: 7 }), /7|string/],
  ]) {
    match((await refused(ask(), 422)).detail, text);
  }
});

scenario("errors: the message that is shown", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const error = await client.runs.wait(thread_id, "nope", { input: {} }).catch((reason) => reason);
  equal(error.status, 422);
  match(error.message, /^HTTP 422: \{"detail":"Invalid assistant: 'nope'/);
});

scenario("errors: a command that needs a thread", async ({ client }) => {
  const { detail } = await refused(client.runs.wait(null, "ask", { command: { resume: "yes" } }), 400);
  equal(detail, "You must provide a thread_id when resuming.");
});

scenario("errors: two kinds of settings at once", async ({ client }) => {
  const options = { input: {}, context: { color: "red" }, config: { configurable: { color: "blue" } } };
  match((await refused(client.runs.wait(null, "look", options), 400)).detail, /Cannot specify both/);
});

scenario("quiet: signs of life while nothing happens", async ({ url, client, official }) => {
  if (official) return; // Every five seconds, which is too long for a test.
  const gate = newGate(client);
  const response = await fetch(`${url}/runs/stream`, {
    method: "POST",
    body: JSON.stringify({ assistant_id: "gate", input: { gate: gate.name }, stream_mode: "custom" }),
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (text.split(": heartbeat\r\n").length < 4) text += (await reader.read()).value;
  await gate.open();
  for (let part; !(part = await reader.read()).done; ) text += part.value;
  match(text, /^event: metadata\r\ndata: \{"run_id":.*\}\r\n\r\nevent: custom\r\n/);
});

scenario("quiet: the SDK's own watch does not give up a stream", async ({ newClient, client, official }) => {
  if (official) return; // As above.
  let requests = 0;
  const counting = (...given) => {
    requests += 1;
    return fetch(...given);
  };
  const gate = newGate(client);
  const parts = newClient({ callerOptions: { fetch: counting } }).runs.stream(null, "gate", {
    input: { gate: gate.name },
    streamMode: "custom",
    streamIdleReconnect: 800,
  });
  await until(parts, (part) => part.event === "custom");
  const rest = collect(parts);
  await new Promise((resolve) => setTimeout(resolve, 1200));
  await gate.open();
  deepEqual([await rest, requests], [[], 1]);
});

scenario("quiet: neither waiting nor streaming minds them", async ({ client }) => {
  const gate = newGate(client);
  const input = { gate: gate.name };
  const waiting = client.runs.wait(null, "gate", { input });
  const parts = client.runs.stream(null, "gate", { input, streamMode: ["custom", "updates"] });
  await until(parts, (part) => part.event === "custom");
  // Two signs of life of the test's server.
  await new Promise((resolve) => setTimeout(resolve, 500));
  await gate.open();
  deepEqual((await collect(parts)).length, 2);
  deepEqual((await waiting).log, ["first", "passed", "last"]);
});
