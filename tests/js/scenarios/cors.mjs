import { deepEqual, equal, ok, rejects } from "node:assert/strict";

import { ORIGIN, browserFetch, openSocket } from "../browser.mjs";
import { collect, newGate, refused, scenario } from "../harness.mjs";

const TEA = { topic: "tea" };

// A client in a page, with every header that clients, agents' front ends and proxies are known to send.
function inPage(newClient, asked) {
  return newClient({
    apiKey: "a key",
    defaultHeaders: {
      authorization: "Bearer token",
      "x-auth-scheme": "custom",
      "x-request-id": "1",
      "x-tenant": "us",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    },
    callerOptions: { fetch: browserFetch(undefined, asked) },
  });
}

scenario("cors: every method and header of the SDK may be sent", async ({ newClient }) => {
  const asked = [];
  const client = inPage(newClient, asked);
  const { thread_id } = await client.threads.create();
  await client.threads.update(thread_id, { metadata: { a: 1 }, returnMinimal: true });
  await client.store.putItem(["page"], "k", {});
  const run = await client.runs.create(thread_id, "joke", { input: TEA, streamResumable: true });
  await client.runs.join(thread_id, run.run_id);
  await collect(client.runs.joinStream(thread_id, run.run_id, { lastEventId: "-1" }));
  await client.threads.delete(thread_id);
  deepEqual([...new Set(asked.map(([method]) => method))].sort(), ["DELETE", "GET", "PATCH", "POST", "PUT"]);
  const headers = new Set(asked.flatMap(([, , ...names]) => names));
  for (const name of ["authorization", "content-type", "last-event-id", "prefer", "x-api-key"]) {
    ok(headers.has(name), name);
  }
});

scenario("cors: what the SDK reads may be read", async ({ newClient, official }) => {
  const client = inPage(newClient);
  const { thread_id } = await client.threads.create();
  let created;
  const onRunCreated = (told) => {
    created = told;
  };
  await collect(client.runs.stream(thread_id, "joke", { input: TEA, onRunCreated }));
  equal(created.thread_id, thread_id);
  const mark = crypto.randomUUID();
  for (const name of ["a", "b"]) await client.assistants.create({ graphId: "joke", name, metadata: { mark } });
  const page = await client.assistants.search({ metadata: { mark }, limit: 1, includePagination: true });
  equal(page.next, "1");
  if (official) return; // It hides `Location`, so that streams in pages cannot be resumed.
  const gate = newGate(client);
  await gate.open();
  const fragile = newClient({ callerOptions: { fetch: breaking(browserFetch()) } });
  const parts = await collect(
    fragile.runs.stream(thread_id, "gate", {
      input: { gate: gate.name },
      streamMode: "updates",
      streamResumable: true,
    }),
  );
  deepEqual(parts.slice(-3).map((part) => Object.keys(part.data)[0]), ["first", "gate", "last"]);
});

// The first answer ends in an error instead of bytes.
function breaking(fetchInPage) {
  let broken = false;
  return async (input, init) => {
    const response = await fetchInPage(input, init);
    if (broken || init.method === "GET") return response;
    broken = true;
    // Whoever reconnects without an id gets what is to come: the id comes from the part before the break.
    const reader = response.body.getReader();
    const { value } = await reader.read();
    const end = new TextDecoder().decode(value).indexOf("\r\n\r\n") + 4;
    const pieces = [value.slice(0, end)];
    const body = new ReadableStream(
      {
        async pull(controller) {
          if (pieces.length) return controller.enqueue(pieces.pop());
          // What has been handed on is read first.
          await new Promise((resolve) => setTimeout(resolve, 100));
          controller.error(new TypeError("network error"));
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers: response.headers });
  };
}

scenario("cors: errors may be read", async ({ newClient }) => {
  const client = inPage(newClient);
  const { detail } = await refused(client.threads.get("00000000-0000-4000-8000-000000000000"), 404);
  ok(detail.includes("not found"), detail);
  await refused(client.threads.get("x"), 422);
});

scenario("cors: a preflight may be kept", async ({ url }) => {
  const response = await fetch(`${url}/threads`, {
    method: "OPTIONS",
    headers: {
      origin: ORIGIN,
      "access-control-request-method": "POST",
      "access-control-request-private-network": "true",
    },
  });
  equal(response.status, 200);
  equal(response.headers.get("access-control-allow-private-network"), "true");
  ok(Number(response.headers.get("access-control-max-age")) >= 600);
});

scenario("cors: a page of another site is refused", async ({ url, newClient }) => {
  const foreign = browserFetch("https://evil.example");
  const { threads } = newClient({ callerOptions: { fetch: foreign, maxRetries: 0 } });
  await rejects(threads.create(), /preflight/);
  await rejects(foreign(`${url}/runs/wait`, { method: "POST", body: JSON.stringify({ assistant_id: "joke", input: TEA }) }), /evil/);
  const socket = openSocket(`${url.replace("http", "ws")}/threads/${crypto.randomUUID()}/stream/events`, "https://evil.example");
  equal(await new Promise((resolve) => { socket.onopen = () => resolve("open"); socket.onerror = () => resolve("refused"); }), "refused");
});
