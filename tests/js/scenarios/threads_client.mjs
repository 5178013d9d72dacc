// A thread is followed with the client alone.
import { deepEqual, equal, ok } from "node:assert/strict";

import { openSocket } from "../browser.mjs";
import { eventually, scenario } from "../harness.mjs";

const human = (content) => ({ messages: [{ type: "human", content }] });
const ALL = ["values", "updates", "messages", "tools", "custom", "lifecycle", "input", "checkpoints", "tasks"];

const follow = (client, assistantId, transport) =>
  client.threads.stream({ assistantId, transport, webSocketFactory: openSocket });

function conversation(transport) {
  return async ({ client }) => {
    const thread = follow(client, "assistant", transport);
    const seen = [];
    thread.onEvent((event) => seen.push(event));
    await thread.subscribe(ALL);
    const of = (method) => seen.filter((event) => event.method === method);
    const roots = () =>
      of("lifecycle")
        .filter((event) => event.params.namespace.length === 0)
        .map((event) => event.params.data.event);

    await thread.submitRun({ input: human("What is 2 + 3?") });
    await eventually(() => thread.interrupts.length === 2);
    deepEqual(thread.interrupts.map((each) => each.payload.question).sort(), ["Inside?", "Sure?"]);
    for (const { namespace, interruptId } of [...thread.interrupts]) {
      await thread.respondInput({ namespace, interrupt_id: interruptId, response: "yes" });
    }
    await eventually(() => roots().at(-1) === "completed");
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
    ok(ALL.every((name) => of(name === "input" ? "input.requested" : name).length > 0));
    await thread.close();
  };
}

scenario("thread client: a conversation over server-sent events", conversation("sse"));
scenario("thread client: a conversation over a WebSocket", conversation("websocket"));

function growth(transport) {
  return async ({ client }) => {
    const thread = follow(client, "talker", transport);
    const words = (async () => {
      for await (const message of thread.messages) return await message.text;
    })();
    await thread.submitRun({ input: { ...human("hi"), tokens: 300 } });
    equal((await words).split(" ").length, 301);
    await thread.close();
  };
}

scenario("thread client: a message that is read while it is written, over server-sent events", growth("sse"));
scenario("thread client: a message that is read while it is written, over a WebSocket", growth("websocket"));
