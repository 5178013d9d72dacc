import { deepEqual, equal } from "node:assert/strict";

import { eventually, refused, scenario } from "../harness.mjs";

scenario("crons: made, found, changed and deleted", async ({ client }) => {
  const mark = crypto.randomUUID();
  const cron = await client.crons.create("joke", {
    schedule: "0 4 1 1 *",
    timezone: "Europe/Berlin",
    input: { topic: "tea" },
    metadata: { mark },
    onRunCompleted: "keep",
  });
  deepEqual([cron.schedule, cron.enabled, cron.timezone], ["0 4 1 1 *", true, "Europe/Berlin"]);
  const find = (query) => client.crons.search({ metadata: { mark }, ...query });
  deepEqual((await find()).map((each) => each.cron_id), [cron.cron_id]);
  equal(await client.crons.count({ metadata: { mark } }), 1);
  const changed = await client.crons.update(cron.cron_id, { enabled: false, schedule: "0 5 1 1 *" });
  deepEqual([changed.enabled, changed.schedule], [false, "0 5 1 1 *"]);
  equal((await find({ enabled: true })).length, 0);
  deepEqual(await find({ select: ["cron_id"] }), [{ cron_id: cron.cron_id }]);
  await client.crons.delete(cron.cron_id);
  equal(await client.crons.count({ metadata: { mark } }), 0);
});

scenario("crons: on a thread", async ({ client }) => {
  const { thread_id } = await client.threads.create();
  const cron = await client.crons.createForThread(thread_id, "joke", { schedule: "0 4 1 1 *", input: { topic: "x" } });
  equal(cron.thread_id, thread_id);
  deepEqual((await client.crons.search({ threadId: thread_id })).map((each) => each.cron_id), [cron.cron_id]);
  await client.crons.delete(cron.cron_id);
});

scenario("crons: that start runs", async ({ client, official }) => {
  if (official) return; // It looks every five seconds, and knows minutes only.
  const { thread_id } = await client.threads.create();
  const cron = await client.crons.createForThread(thread_id, "joke", {
    schedule: "* * * * * *",
    input: { topic: "tea" },
  });
  const [run] = await eventually(() => client.runs.list(thread_id), (runs) => runs.length);
  await client.crons.delete(cron.cron_id);
  equal((await client.runs.join(thread_id, run.run_id)).topic, "tea and cats");
});

scenario("crons: schedules that are none", async ({ client }) => {
  await refused(client.crons.create("joke", { schedule: "now and then", input: {} }), 422);
});
