import { deepEqual, equal, ok } from "node:assert/strict";

import { collect, eventually, names, newGate, scenario, until } from "../harness.mjs";

// A run that has been created and waits at its gate.
async function started(client, options = {}) {
  const { thread_id } = await client.threads.create();
  const gate = newGate(client);
  const { run_id } = await client.runs.create(thread_id, "gate", {
    input: { gate: gate.name },
    streamMode: ["updates", "custom"],
    ...options,
  });
  return { thread_id, run_id, gate };
}

const WHOLE = ["metadata", "updates", "custom", "updates", "updates"];

scenario("rejoin: everything, then what is still to come", async ({ client }) => {
  const { thread_id, run_id, gate } = await started(client, { streamResumable: true });
  const parts = client.runs.joinStream(thread_id, run_id, { lastEventId: "-1" });
  const seen = await until(parts, (part) => part.event === "custom");
  await gate.open();
  seen.push(...(await collect(parts)));
  deepEqual(names(seen), WHOLE);
  ok(seen.every((part) => part.id));
  const rest = await collect(client.runs.joinStream(thread_id, run_id, { lastEventId: seen[2].id }));
  deepEqual(rest, seen.slice(3));
});

scenario("rejoin: only some modes", async ({ client, official }) => {
  const { thread_id, run_id, gate } = await started(client, { streamResumable: true });
  await gate.open();
  await client.runs.join(thread_id, run_id);
  const join = (streamMode) => collect(client.runs.joinStream(thread_id, run_id, { lastEventId: "-1", streamMode }));
  deepEqual(names(await join("updates")), ["updates", "updates", "updates"]);
  if (official) return; // Of several modes it takes the last one.
  deepEqual(names(await join(["updates", "custom"])), ["updates", "custom", "updates", "updates"]);
});

scenario("rejoin: a run that keeps nothing", async ({ client }) => {
  const { thread_id, run_id, gate } = await started(client);
  const state = () => client.threads.getState(thread_id).catch(() => null);
  await eventually(state, (each) => each?.next?.includes("gate"));
  const parts = client.runs.joinStream(thread_id, run_id);
  const first = parts.next();
  await gate.open();
  const seen = [(await first).value, ...(await collect(parts))];
  deepEqual(names(seen).slice(-2), ["updates", "updates"]);
  deepEqual(await collect(client.runs.joinStream(thread_id, run_id)), []);
});

scenario("rejoin: two at once", async ({ client }) => {
  const { thread_id, run_id, gate } = await started(client, { streamResumable: true });
  const join = () => collect(client.runs.joinStream(thread_id, run_id, { lastEventId: "-1" }));
  const both = [join(), join()];
  await gate.open();
  const [first, second] = await Promise.all(both);
  deepEqual(names(first), WHOLE);
  deepEqual(second, first);
});

scenario("rejoin: leaving ends the run, if asked for", async ({ client }) => {
  const { thread_id, run_id } = await started(client, { streamResumable: true });
  const leaving = new AbortController();
  const parts = client.runs.joinStream(thread_id, run_id, {
    lastEventId: "-1",
    cancelOnDisconnect: true,
    signal: leaving.signal,
  });
  await until(parts, (part) => part.event === "custom");
  leaving.abort();
  await parts.return();
  const run = () => client.runs.get(thread_id, run_id);
  equal((await eventually(run, (each) => each.status !== "running")).status, "interrupted");
});

// A connection that breaks when it is told to, and notes what is requested.
function fragile() {
  const requests = [];
  let breakOff;
  const broken = new Promise((_, reject) => {
    breakOff = () => reject(new TypeError("terminated"));
  });
  broken.catch(() => {});
  const fragileFetch = async (input, init) => {
    const response = await fetch(input, init);
    requests.push([init.method, new URL(input).pathname, new Headers(init.headers).get("last-event-id")]);
    if (requests.length > 1) return response;
    const reader = response.body.getReader();
    const body = new ReadableStream({
      async pull(controller) {
        const { done, value } = await Promise.race([reader.read(), broken]);
        if (done) controller.close();
        else controller.enqueue(value);
      },
    });
    return new Response(body, { headers: response.headers });
  };
  return { requests, breakOff, callerOptions: { fetch: fragileFetch } };
}

scenario("rejoin: by itself, after the connection has broken", async ({ newClient, client }) => {
  const { requests, breakOff, callerOptions } = fragile();
  const breaking = newClient({ callerOptions });
  const { thread_id } = await client.threads.create();
  const gate = newGate(client);
  let created;
  const parts = breaking.runs.stream(thread_id, "gate", {
    input: { gate: gate.name },
    streamMode: ["updates", "custom"],
    streamResumable: true,
    onRunCreated: (told) => {
      created = told;
    },
  });
  const seen = await until(parts, (part) => part.event === "custom");
  breakOff();
  await gate.open();
  seen.push(...(await collect(parts)));
  deepEqual(names(seen), WHOLE);
  deepEqual(requests, [
    ["POST", `/threads/${thread_id}/runs/stream`, null],
    ["GET", `/threads/${thread_id}/runs/${created.run_id}/stream`, seen[2].id],
  ]);
});

scenario("rejoin: a run without a thread, by itself", async ({ newClient, client, official }) => {
  if (official) return; // It names a route in `Location` that it does not have.
  const { requests, breakOff, callerOptions } = fragile();
  const breaking = newClient({ callerOptions });
  const gate = newGate(client);
  const parts = breaking.runs.stream(null, "gate", {
    input: { gate: gate.name },
    streamMode: ["updates", "custom"],
    streamResumable: true,
  });
  const seen = await until(parts, (part) => part.event === "custom");
  breakOff();
  const rest = collect(parts);
  // Its thread goes with its end, and with them what could be read again.
  await eventually(() => requests.length > 1);
  await gate.open();
  seen.push(...(await rest));
  deepEqual(names(seen), WHOLE);
});

scenario("rejoin: a whole thread", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const leaving = new AbortController();
  const parts = client.threads.joinStream(thread_id, { lastEventId: "-", signal: leaving.signal });
  const done = (part) => part.data?.status === "run_done";
  const run = (graph) =>
    client.runs.wait(thread_id, graph, { input: { topic: "tea" }, streamMode: "updates", raiseError: false });
  // Whether the stream is there before the runs is nobody's business: the runs are repeated until it is.
  const first = until(parts, done);
  let over = false;
  first.then(() => {
    over = true;
  });
  while (!over) await run("joke");
  const seen = await first;
  deepEqual([seen[0].event, seen.at(-1).event], ["metadata", "metadata"]);
  ok(seen.every((part) => part.id));
  leaving.abort();
  await parts.return();
});

scenario("rejoin: only the beginnings and ends of a thread's runs", async ({ client, official }) => {
  if (official) return; // It knows the parameter by another name than its client.
  const { thread_id } = await client.threads.create();
  const leaving = new AbortController();
  const parts = client.threads.joinStream(thread_id, { streamMode: ["lifecycle"], signal: leaving.signal });
  const first = until(parts, (part) => part.data?.status === "run_done");
  let over = false;
  first.then(() => {
    over = true;
  });
  while (!over) await client.runs.wait(thread_id, "joke", { input: { topic: "tea" } });
  ok((await first).every((part) => part.event === "metadata"));
  leaving.abort();
  await parts.return();
});
