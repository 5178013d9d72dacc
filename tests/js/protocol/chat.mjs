// The official JavaScript client has the whole conversation: node chat.mjs <url> <transport>

import { deepEqual, equal, ok } from "node:assert/strict";
import { Client } from "@langchain/langgraph-sdk";

const [url, transport] = process.argv.slice(2);
const give_up = setTimeout(() => fail(new Error(`it takes too long: ${JSON.stringify(seen.slice(-3))}`)), 20_000);
process.on("unhandledRejection", fail);

function fail(error) {
  console.error(error);
  process.exit(1);
}

async function until(condition) {
  while (!condition()) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const client = new Client({ apiUrl: url, apiKey: null });
const thread = client.threads.stream({ assistantId: "assistant", transport });

const seen = [];
thread.onEvent((event) => seen.push(event));
const all = ["values", "updates", "messages", "tools", "custom", "lifecycle", "input", "checkpoints", "tasks"];
await thread.subscribe(all);

const of = (method) => seen.filter((event) => event.method === method);
const roots = () =>
  of("lifecycle")
    .filter((event) => event.params.namespace.length === 0)
    .map((event) => event.params.data.event);

await thread.submitRun({ input: { messages: [{ type: "human", content: "What is 2 + 3?" }] } });
await until(() => thread.interrupts.length === 2);
deepEqual(thread.interrupts.map((each) => each.payload.question).sort(), ["Inside?", "Sure?"]);
for (const { namespace, interruptId } of [...thread.interrupts]) {
  await thread.respondInput({ namespace, interrupt_id: interruptId, response: "yes" });
}
await until(() => roots().at(-1) === "completed");
const { values: state } = await client.threads.getState(thread.threadId);
ok(state.log.includes("Inside? yes") && state.log.includes("Sure? yes"), state.log);

const texts = {};
for (const { params } of of("messages")) {
  texts[params.data.id] = (texts[params.data.id] ?? "") + (params.data.delta?.text ?? "");
}
const said = ["Deep thoughts.", "It is five.", "Let me add.", "One side.", "Other side."];
deepEqual(Object.values(texts).filter(Boolean).sort(), said);
deepEqual(of("tools").map((event) => event.params.data.event), ["tool-started", "tool-finished"]);
equal(new Set(seen.map((event) => event.event_id)).size, seen.length);
deepEqual(roots().slice(0, 2), ["running", "interrupted"]);
ok(all.every((name) => of(name === "input" ? "input.requested" : name).length > 0));
await thread.close();

// Somebody else, who reads a message while it is written.
const other = client.threads.stream({ assistantId: "talker", transport });
const words = (async () => {
  for await (const message of other.messages) return await message.text;
})();
await other.submitRun({ input: { messages: [{ type: "human", content: "hi" }], tokens: 300 } });
equal((await words).split(" ").length, 301);
clearTimeout(give_up);
process.exit(0);
