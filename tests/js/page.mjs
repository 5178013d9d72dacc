// Pages with `useStream`, drawn by React: that of the SDK, and that of `@langchain/react`, which follows threads.
import { browserFetch, openDocument, openSocket } from "./browser.mjs";
import { watched } from "./harness.mjs";

openDocument();
const { createElement, useEffect } = await import("react");
const { createRoot } = await import("react-dom/client");
const { flushSync } = await import("react-dom");
const { useStream } = await import("@langchain/langgraph-sdk/react");
const threads = await import("@langchain/react");

// Opens a page; what it shows at the moment is in `page.now`, the hook's answer in `page.stream`.
// `read` picks further parts of it while it is drawn, as it asks the server for just what is read.
export function openPage(url, { read = () => ({}), ...options }) {
  return draw(
    () => useStream({ apiUrl: url, apiKey: null, callerOptions: CALLER, ...options }),
    (stream) => ({
      messages: stream.messages.map((message) => `${message.type}: ${message.content}`),
      interrupt: stream.interrupt,
      ...read(stream),
    }),
  );
}

// The same with the hook of `@langchain/react`. `read` may use its other hooks. For each subgraph it draws a part
// that reads what is inside; what it found is in `page.inside`, by the name of the node.
export function openThreadPage(url, { read = () => ({}), threadId = null, ...options }) {
  const inside = {};
  const page = draw(
    (given) => threads.useStream({ ...connection(url), ...options, threadId: given.threadId }),
    (stream) => ({
      messages: stream.messages.map((message) => `${message.type}: ${message.text}`),
      calls: stream.toolCalls.map((call) => ({ name: call.name, status: call.status, output: call.output })),
      questions: stream.interrupts.map((each) => each.value.question).sort(),
      subgraphs: [...stream.subgraphs.values()].map((each) => [each.nodeName, each.status]),
      ...read(stream, threads),
    }),
    { threadId },
    (stream) => [...stream.subgraphs.values()].map((subgraph) => createElement(Inside, { key: subgraph.id, stream, subgraph })),
  );

  function Inside({ stream, subgraph }) {
    const messages = threads.useMessages(stream, subgraph);
    const values = threads.useValues(stream, subgraph) ?? {};
    useEffect(() => {
      inside[subgraph.nodeName] = { messages: messages.map((message) => message.text), values };
      page.check();
    });
  }

  page.inside = inside;
  return page;
}

// One for all, as the hook makes a new client whenever an option is another object.
const CALLER = { fetch: browserFetch(), maxRetries: 0 };

function connection(url) {
  return {
    apiUrl: url,
    apiKey: null,
    callerOptions: CALLER,
    fetch: CALLER.fetch,
    webSocketFactory: openSocket,
  };
}

// Draws what `read` finds in the answer of a hook, and `parts` below. The hook gets `given`, which `page.give` changes.
function draw(hook, read, given = {}, parts = () => []) {
  const page = { stream: null, now: null, seen: [] };
  const waiting = new Set();
  const place = document.body.appendChild(document.createElement("main"));
  const root = createRoot(place);

  function Chat(properties) {
    const stream = hook(properties);
    page.stream = stream;
    page.now = {
      loading: stream.isLoading,
      threadLoading: stream.isThreadLoading,
      values: stream.values,
      error: stream.error,
      ...read(stream),
    };
    useEffect(() => {
      page.seen.push(page.now);
      page.check();
    });
    const items = page.now.messages.map((text, index) => createElement("li", { key: index }, text));
    return [createElement("ol", { key: "messages" }, items), ...parts(stream)];
  }

  page.check = () => {
    for (const check of [...waiting]) check();
  };
  page.until = (fits) =>
    new Promise((resolve) => {
      const check = () => {
        if (!page.now || !fits(page.now)) return;
        waiting.delete(check);
        resolve(page.now);
      };
      waiting.add(check);
      check();
    });
  page.text = () => [...place.querySelectorAll("li")].map((item) => item.textContent);
  page.give = (properties) => flushSync(() => root.render(createElement(Chat, properties)));
  page.close = () => {
    watched.delete(tell);
    root.unmount();
    place.remove();
  };
  const tell = () => `the page shows ${JSON.stringify({ ...page.now, inside: page.inside })}`;
  watched.add(tell);
  page.give(given);
  return page;
}

// The hook prints the errors that it hands over.
export async function quietly(act) {
  const { error } = console;
  console.error = () => {};
  try {
    return await act();
  } finally {
    console.error = error;
  }
}
