// Runs scenarios against a server. By hand:
//
//     node run.mjs http://127.0.0.1:2024 [file ...] [--only text] [--official]
//
// With --serve it takes orders as lines of JSON on its input, one at a time, and answers each with a line.
import { readdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { scenarios, watched, world } from "./harness.mjs";

const FOLDER = new URL("scenarios/", import.meta.url);
const SECONDS = 150;

let unhandled = () => {};
process.on("unhandledRejection", (reason) => unhandled(reason));

async function run(name, url, official) {
  let timer;
  const failing = new Promise((_, reject) => {
    unhandled = (reason) => reject(new Error("a promise was rejected and nobody looked", { cause: reason }));
    timer = setTimeout(() => {
      const seen = [...watched].map((tell) => `\n${tell()}`).join("");
      reject(new Error(`it took more than ${SECONDS} seconds${seen}`));
    }, SECONDS * 1000);
  });
  try {
    await Promise.race([scenarios.get(name)(world(url, official)), failing]);
    return null;
  } catch (error) {
    return describe(error);
  } finally {
    clearTimeout(timer);
    watched.clear();
  }
}

function describe(error) {
  const cause = error?.cause ? `\ncaused by: ${describe(error.cause)}` : "";
  return `${error?.stack ?? JSON.stringify(error)}${cause}`;
}

async function serve() {
  for await (const line of createInterface({ input: process.stdin })) {
    const { file, name, url } = JSON.parse(line);
    await import(new URL(file, FOLDER));
    process.stdout.write(`${JSON.stringify({ error: await run(name, url, false) })}\n`);
  }
}

async function byHand(url, files, { only, official }) {
  const fits = (file) => file.endsWith(".mjs") && (file !== "newest.mjs" || process.env.JS_PACKAGES);
  const all = (await readdir(FOLDER)).filter(fits).sort();
  for (const file of files.length ? files : all) await import(new URL(file, FOLDER));
  let failures = 0;
  for (const name of scenarios.keys()) {
    if (only && !name.includes(only)) continue;
    const began = performance.now();
    const error = await run(name, url, official);
    failures += error ? 1 : 0;
    console.log(`${error ? "FAILED" : "ok"}  ${name} (${Math.round(performance.now() - began)} ms)`);
    if (error) console.log(error);
  }
  process.exit(failures ? 1 : 0);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    serve: { type: "boolean" },
    only: { type: "string" },
    official: { type: "boolean" },
  },
});
if (values.serve) await serve();
else if (positionals.length) await byHand(positionals[0], positionals.slice(1), values);
else throw new Error("Give the address of a server, or --serve.");
