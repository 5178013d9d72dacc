// Makes scenarios use the packages of another folder: `node --import ./packages.mjs`, with the folder in JS_PACKAGES.
import { register } from "node:module";
import { pathToFileURL } from "node:url";

const folder = process.env.JS_PACKAGES;
if (folder) {
  const parent = pathToFileURL(`${folder}/package.json`).href;
  const hooks = `export async function resolve(name, context, next) {
    const ours = !context.parentURL?.includes("/node_modules/") && !/^([./]|[a-z]+:)/.test(name);
    return next(name, ours ? { ...context, parentURL: ${JSON.stringify(parent)} } : context);
  }`;
  register(`data:text/javascript,${encodeURIComponent(hooks)}`);
}
