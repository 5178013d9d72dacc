// Requests and answers that the newest clients know beyond the older ones.
import { deepEqual, equal, match, notDeepEqual, ok } from "node:assert/strict";

import { collectAll, eventually, names, newGate, scenario, until } from "../harness.mjs";
import { openThreadPage } from "../page.mjs";

scenario("newest: the server names its flags", async ({ url }) => {
  const { flags } = await (await fetch(`${url}/info`)).json();
  deepEqual([flags.strict_resume, flags.stream_namespaces], [true, true]);
});

scenario("newest: the last event of a run tells its status", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  for (const [graph, status] of [["joke", "success"], ["boom", "error"], ["ask", "success"]]) {
    const parts = await collectAll(client.runs.stream(thread_id, graph, { input: { topic: "tea" } }));
    const { event, data } = parts.at(-1);
    deepEqual([event, data], ["end", { run_id: parts[0].data.run_id, status }]);
  }
});

scenario("newest: only the events of some namespaces", async ({ client }) => {
  const run = async (streamNamespaces) => {
    const options = { input: { topic: "tea" }, streamMode: "updates", streamSubgraphs: true, streamResumable: true };
    const { thread_id } = await client.threads.create();
    const parts = await collectAll(client.runs.stream(thread_id, "parent", { ...options, streamNamespaces }));
    return { thread_id, run_id: parts[0].data.run_id, names: names(parts) };
  };
  const { thread_id, run_id, names: all } = await run();
  const inside = all.find((name) => name.includes("|"));
  const [, namespace] = inside.split("|");
  ok(all.includes("updates"));
  deepEqual((await run([""])).names, ["metadata", "updates", "updates", "end"]);
  const joined = await collectAll(
    client.runs.joinStream(thread_id, run_id, { lastEventId: "-1", streamNamespaces: [namespace] }),
  );
  deepEqual(names(joined), ["metadata", inside, inside, "end"]);
});

scenario("newest: joined after the checkpoint that is shown", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const gate = newGate(client);
  const options = { input: { gate: gate.name }, streamMode: ["updates", "custom"], streamResumable: true };
  const run = await client.runs.create(thread_id, "gate", options);
  const join = (more) => client.runs.joinStream(thread_id, run.run_id, { lastEventId: "-1", ...more });
  await until(join(), (part) => part.event === "custom");
  // It is stored behind the run.
  const { checkpoint } = await eventually(() => client.threads.getState(thread_id), ({ next }) => next[0] === "gate");
  const checkpointId = checkpoint.checkpoint_id;
  const shown = await until(join({ checkpointId }), (part) => part.event === "custom");
  deepEqual(names(shown), ["custom"]);
  await gate.open();
  const whole = ["metadata", "updates", "custom", "updates", "updates", "end"];
  const unknown = await collectAll(join({ checkpointId: crypto.randomUUID() }));
  deepEqual(names(unknown), whole);
  deepEqual(names(await collectAll(join({ checkpointId }))), whole.slice(2));
  const last = unknown.at(-2).id;
  deepEqual(names(await collectAll(join({ checkpointId, lastEventId: last }))), ["end"]);
});

scenario("newest: the reason of a cancel", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "gate", { input: { gate: newGate(client).name } });
  await eventually(() => client.runs.get(thread_id, run.run_id), (each) => each.status === "running");
  await client.runs.cancel(thread_id, run.run_id, true, "interrupt", { reason: "taken" });
  const [found] = await client.runs.list(thread_id, { select: ["status", "cancel_reason"] });
  equal(found.status, "interrupted");
  match(found.cancel_reason, /^taken: /);
});

scenario("newest: beginnings and ends of subgraphs", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const options = { input: { topic: "tea" }, streamMode: "lifecycle", streamSubgraphs: true };
  const parts = await collectAll(client.runs.stream(thread_id, "parent", options));
  const told = parts.slice(1, -1);
  const [namespace] = told[0].data.namespace;
  match(namespace, /^child:/);
  deepEqual(told.map(({ event, data }) => [event, data]), [
    [`lifecycle|${namespace}`, { event: "started", namespace: [namespace] }],
    [`lifecycle|${namespace}`, { event: "completed", namespace: [namespace] }],
  ]);
});

scenario("newest: a question is there when its run has ended", async ({ client, url }) => {
  const page = openThreadPage(url, { assistantId: "ask" });
  await page.stream.submit({});
  deepEqual(page.stream.interrupts.map((each) => each.value.question), ["Really?"]);
  page.close();
});

scenario("newest: a question that another page has answered is gone", async ({ client, url }) => {
  const { thread_id: threadId } = await client.threads.create();
  const one = openThreadPage(url, { assistantId: "ask", threadId });
  await one.stream.submit({});
  const other = openThreadPage(url, { assistantId: "ask", threadId });
  for (const page of [one, other]) await page.until((now) => now.questions.length === 1);
  await one.stream.respond("yes");
  for (const page of [one, other]) await page.until((now) => !now.questions.length && !now.loading);
  notDeepEqual(other.stream.values.log, ["before"]);
  one.close();
  other.close();
});

scenario("newest: input after a cancelled run is new input", async ({ client, url }) => {
  const { thread_id: threadId } = await client.threads.create();
  const page = openThreadPage(url, { assistantId: "gate", threadId });
  page.stream.submit({ gate: newGate(client).name });
  await eventually(() => client.runs.list(threadId), ([run]) => run?.status === "running");
  await page.stream.stop();
  await eventually(() => client.threads.get(threadId), (thread) => thread.status === "interrupted");
  const gate = newGate(client);
  await gate.open();
  await page.stream.submit({ gate: gate.name });
  const { values } = await client.threads.getState(threadId);
  equal(values.gate, gate.name);
  equal(values.log.at(-1), "last");
  page.close();
});
