// A browser as far as clients notice: a page of another local server, whose requests are under the rules of CORS.
import { JSDOM } from "jsdom";

export const ORIGIN = "http://localhost:3000";

const SIMPLE_METHODS = ["GET", "HEAD", "POST"];
const SIMPLE_HEADERS = ["accept", "accept-language", "content-language"];
const SIMPLE_TYPES = ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"];
const READABLE = [
  "cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma",
];

// Like `fetch` in a page of that origin: asks first where it must, and hides what was not exposed.
// Notes in `asked` what it had to ask for.
export function browserFetch(origin = ORIGIN, asked = []) {
  return async (input, init = {}) => {
    const method = init.method ?? "GET";
    const headers = new Headers(init.headers);
    const special = [...headers].filter(([name, value]) => !simple(name, value)).map(([name]) => name);
    if (special.length || !SIMPLE_METHODS.includes(method)) {
      asked.push([method, new URL(input).pathname, ...special]);
      await preflight(input, origin, method, special);
    }
    headers.set("origin", origin);
    const response = await fetch(input, { ...init, headers });
    allowed(response, origin);
    return visible(response);
  };
}

function simple(name, value) {
  return SIMPLE_HEADERS.includes(name) || (name === "content-type" && SIMPLE_TYPES.includes(value));
}

async function preflight(input, origin, method, special) {
  const headers = { origin, "access-control-request-method": method };
  if (special.length) headers["access-control-request-headers"] = special.sort().join(",");
  const response = await fetch(input, { method: "OPTIONS", headers });
  if (!response.ok) throw new TypeError(`the preflight was answered with ${response.status}`);
  allowed(response, origin);
  const methods = list(response, "access-control-allow-methods");
  if (![...SIMPLE_METHODS, ...methods].includes(method) && !methods.includes("*")) {
    throw new TypeError(`the method ${method} is not allowed`);
  }
  const names = list(response, "access-control-allow-headers").map((name) => name.toLowerCase());
  const missing = special.filter((name) => !names.includes(name) && (!names.includes("*") || name === "authorization"));
  if (missing.length) throw new TypeError(`these headers are not allowed: ${missing}`);
}

function allowed(response, origin) {
  const given = response.headers.get("access-control-allow-origin");
  if (given !== "*" && given !== origin) throw new TypeError(`the origin ${origin} is not allowed`);
}

function visible(response) {
  const exposed = list(response, "access-control-expose-headers").map((name) => name.toLowerCase());
  const seen = [...response.headers].filter(
    ([name]) => READABLE.includes(name) || exposed.includes(name) || exposed.includes("*"),
  );
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers: seen });
}

function list(response, name) {
  return (response.headers.get(name) ?? "").split(",").map((each) => each.trim()).filter(Boolean);
}

// The document that React draws into. It is there before React is loaded, which looks for it.
export function openDocument() {
  if (globalThis.document) return;
  const { window } = new JSDOM("<!doctype html>", { url: `${ORIGIN}/chat`, pretendToBeVisual: true });
  globalThis.window = window;
  globalThis.document = window.document;
  globalThis.navigator ??= window.navigator; // from Node.js 21 on there is one
}

// The WebSocket of a page, which sends its origin. Node.js has one of its own from 22 on.
export function openSocket(address, origin = null) {
  openDocument();
  const page = origin === null ? window : new JSDOM("", { url: `${origin}/` }).window;
  return new page.WebSocket(address);
}
