// Jobs: when each is due, how it went, and run, pause and resume.

import { may } from "../access.js";
import { ask, reasonField } from "../dialogs.js";
import { badge, button, el, empty, plainPanel, show } from "../dom.js";
import { count, millis, moment } from "../format.js";
import { LiveArea } from "../live.js";
import { Table } from "../table.js";

const OUTCOMES = { ok: "good", failed: "bad", timeout: "bad", lost: "bad", cancelled: "warn" };

export default {
  title: "Jobs",
  icon: "M10 5v5l3.5 2M17 10a7 7 0 1 1-14 0 7 7 0 0 1 14 0z",
  needs: "jobs:read",
  open(view, page) {
    const table = new Table({
      label: "Jobs",
      key: (job) => job.name,
      empty: empty("There are no jobs.", "A function with @job in a file of commands/ is one."),
      columns: [
        { title: "Job", wide: true, value: (job) => JSON.stringify([job.name, job.about, job.detail]), render: jobName },
        { title: "When", value: (job) => job.schedule, render: (job) => el("code", {}, job.schedule) },
        { title: "Next", value: (job) => JSON.stringify([job.next_due, job.paused, job.run]), render: nextRun },
        { title: "Last", value: (job) => JSON.stringify([job.last_run, job.outcome, job.took_ms]), render: lastRun },
        { title: "Runs", numeric: true, value: (job) => count(job.runs) },
        ...(may(page.me, "jobs:run") || may(page.me, "jobs:write")
          ? [{ title: "Actions", hidden: true, value: (job) => `${job.paused} ${Boolean(job.run)}`, render: (job) => actions(job, page) }]
          : []),
      ],
    });
    const section = plainPanel("Scheduled jobs", table.element);
    const area = new LiveArea({ title: "Jobs", command: "botctl jobs list", element: section, realtime: page.realtime });
    show(view, area.note, section);
    return page.realtime?.watch("jobs", (jobs, watched) => {
      if (jobs) table.update([...jobs.values()].sort((one, other) => one.name.localeCompare(other.name)));
      area.update(jobs, watched);
    });
  },
};

function jobName(job) {
  return [el("strong", {}, job.name), job.about && el("span", { class: "note" }, job.about), job.detail && el("span", { class: "note bad" }, job.detail)];
}

function nextRun(job) {
  if (job.run) return badge("busy", job.stubborn ? "does not stop" : "runs now");
  if (job.paused) return badge("warn", "paused");
  return job.next_due ? moment(job.next_due, "ago") : "–";
}

function lastRun(job) {
  if (!job.last_run) return el("span", { class: "muted" }, "never");
  return [job.outcome ? badge(OUTCOMES[job.outcome] ?? "idle", job.outcome) : null, el("span", { class: "note keep" }, moment(job.last_run, "ago"), job.took_ms === null || job.took_ms === undefined ? "" : ` · ${millis(job.took_ms)}`)];
}

function actions(job, page) {
  return el("div", { class: "actions" },
    may(page.me, "jobs:run") && button("Run…", () => run(job, page), { "data-live": "", disabled: Boolean(job.run), "aria-label": `Run ${job.name}` }),
    may(page.me, "jobs:write") && (job.paused
      ? button("Resume…", () => change(job, page, "resume"), { "data-live": "", "aria-label": `Resume ${job.name}` })
      : button("Pause…", () => change(job, page, "pause"), { "data-live": "", "aria-label": `Pause ${job.name}` })));
}

function run(job, page) {
  ask({
    title: `Run ${job.name}`,
    text: job.paused ? "It runs once, now. It stays paused." : "It runs once, now, and uses up no due time.",
    fields: [reasonField()],
    confirm: "Run",
    run: async ({ reason }) => {
      await page.realtime.act("jobs.run", { job: job.name }, reason);
      return `${job.name} was asked to run.`;
    },
  });
}

function change(job, page, verb) {
  const word = verb === "pause" ? "Pause" : "Resume";
  ask({
    title: `${word} ${job.name}`,
    text: verb === "pause" ? "Its due times pass until it is resumed." : "It goes on with its next due time and makes up nothing.",
    fields: [reasonField()],
    confirm: word,
    run: async ({ reason }) => {
      await page.realtime.act(`jobs.${verb}`, { job: job.name }, reason);
      return `${job.name} is ${verb === "pause" ? "paused" : "scheduled again"}.`;
    },
  });
}
