// What scenarios are made of.
import { equal, ok } from "node:assert/strict";

import { Client } from "@langchain/langgraph-sdk";

export const scenarios = new Map();

// What tells about a scenario that does not come to an end: functions that return text.
export const watched = new Set();

// A scenario is a name and a function that gets `{ url, client, newClient, official }`.
export function scenario(name, run) {
  if (scenarios.has(name)) throw new Error(`There are two scenarios named "${name}".`);
  scenarios.set(name, run);
}

export function world(url, official) {
  const newClient = (options = {}) => new Client({ apiUrl: url, apiKey: null, ...options });
  return { url, official, newClient, client: newClient() };
}

// The parts of a stream but for the event that ends it, which not every server sends.
export async function collect(stream) {
  return (await collectAll(stream)).filter((part) => part.event !== "end");
}

export async function collectAll(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

export const names = (parts) => parts.map((part) => part.event);

// Reads a stream up to the first part that fits; the stream goes on.
export async function until(stream, fits) {
  const parts = [];
  for (;;) {
    const { done, value } = await stream.next();
    ok(!done, `the stream ended before that, after ${JSON.stringify(parts)}`);
    parts.push(value);
    if (fits(value)) return parts;
  }
}

// A gate that a node of the graphs waits at, until it is opened.
export function newGate(client) {
  const name = crypto.randomUUID();
  return { name, open: () => client.store.putItem(["gates"], name, { open: true }) };
}

// Asks again and again, for what no stream tells about.
export async function eventually(ask, fits = Boolean) {
  for (;;) {
    const answer = await ask();
    if (fits(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Expects the error that a status becomes in the SDK; returns its body.
export async function refused(promise, status) {
  const error = await promise.then(
    (value) => {
      throw new Error(`it was not refused: ${JSON.stringify(value)}`);
    },
    (reason) => reason,
  );
  equal(error.status, status, String(error));
  return JSON.parse(error.text);
}
