// A page with `useStream`, drawn by React.
import { browserFetch, openDocument } from "./browser.mjs";

openDocument();
const { createElement, useEffect } = await import("react");
const { createRoot } = await import("react-dom/client");
const { useStream } = await import("@langchain/langgraph-sdk/react");

// Opens a page; what it shows at the moment is in `page.now`, the hook's answer in `page.stream`.
// `read` picks further parts of it while it is drawn, as it asks the server for just what is read.
export function openPage(url, { read = () => ({}), ...options }) {
  const page = { stream: null, now: null, seen: [] };
  const waiting = new Set();
  const place = document.body.appendChild(document.createElement("main"));
  const root = createRoot(place);

  function Chat() {
    const stream = useStream({ apiUrl: url, apiKey: null, callerOptions: CALLER, ...options });
    page.stream = stream;
    page.now = {
      loading: stream.isLoading,
      threadLoading: stream.isThreadLoading,
      messages: stream.messages.map((message) => `${message.type}: ${message.content}`),
      values: stream.values,
      interrupt: stream.interrupt,
      error: stream.error,
      ...read(stream),
    };
    useEffect(() => {
      page.seen.push(page.now);
      for (const check of [...waiting]) check();
    });
    return createElement("ol", null, page.now.messages.map((text, index) => createElement("li", { key: index }, text)));
  }

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
  page.close = () => {
    root.unmount();
    place.remove();
  };
  root.render(createElement(Chat));
  return page;
}

// One for all, as the hook makes a new client whenever an option is another object.
const CALLER = { fetch: browserFetch(), maxRetries: 0 };

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
