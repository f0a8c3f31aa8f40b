// The state of the bot: verdict, commands, processes, services, shards, and its events as they come.

import { badge, button, el, empty, icon, ICONS, panel, prose, setText, show } from "../dom.js";
import { Chart } from "../chart.js";
import { describe } from "../events.js";
import { bytes, count, duration, millis, moment, percent, plural, rate } from "../format.js";
import { markLive, NOT_LOADED } from "../live.js";
import { Table } from "../table.js";

const SHOWN = 40; // events
const WARN = new Set(["degraded", "draining", "starting", "waiting"]);
const PRESENCE = { up: ["good", "up"], silent: ["warn", "silent"], gone: ["bad", "gone"], incompatible: ["warn", "other version"] };

export default {
  title: "State",
  icon: "M3 11h3l2.5-6 4 11 2.5-5h2",
  needs: "status:read",
  open(view, page) {
    const parts = [verdict(), commands(), processes(), services(), shards()];
    const events = eventList(page.feed);
    const values = {};
    const [first, ...others] = parts;
    const tables = el("div", { hidden: true }, others.map((part) => part.element));
    const columns = el("div", { class: "columns" }, tables, events.element);
    const update = (state) => (table, { stale, lost, error }) => {
      Object.assign(values, { [state]: table, stale, lost, error });
      for (const part of parts) part.update(values);
      tables.hidden = !values.counts && !values.processes;
      markLive(columns, !lost);
    };
    show(view, first.element, columns);
    if (!page.realtime) first.update({ ended: true });
    const stops = ["processes", "services", "shards", "counts"].map((state) => page.realtime?.watch(state, update(state)));
    return () => [...stops, events.close].forEach((stop) => stop?.());
  },
};

function verdict() {
  const element = el("section", { class: "verdict", "aria-label": "Verdict" }, el("p", { class: "muted" }, "Waiting for the first data…"));
  let shown = "";
  const update = ({ processes: table, services: all, shards: connected, counts, stale, lost, error, ended }) => {
    if (ended) return show(element, empty("The state is not live.", "No realtime server of this bot runs, so nothing was loaded. `botctl monitor` shows the state in a terminal."));
    const totals = counts?.get("bot");
    if (!totals?.health || !table) {
      shown = "";
      if (error || lost) show(element, error ? empty(error) : empty(NOT_LOADED, "It appears as soon as there is one. `botctl monitor` shows the state in a terminal."));
      return;
    }
    const runs = [...table.values()].filter((process) => process.presence !== "gone");
    const { health } = totals;
    const others = (totals.troubles ?? []).filter((sentence) => sentence !== health.why);
    const facts = [plural(runs.length, "process", "processes"), all && plural(all.size, "service"), connected && plural(connected.size, "shard"), versions(runs)].filter(Boolean).join("  ·  ");
    const now = JSON.stringify([health, others, facts, stale, lost]);
    if (now === shown) return;
    shown = now;
    if (lost) return showLost(element, lost.since);
    const kind = stale ? "warn" : kindOf(health.verdict);
    element.className = `verdict ${kind}`;
    show(element,
      el("div", { class: "sign" }, icon(kind === "good" ? ICONS.well : ICONS.warning)),
      el("div", {},
        el("p", { class: "words" }, stale ? "The state cannot be read" : capital(health.verdict)),
        el("p", { class: "why" }, stale ? ["What is shown is from ", moment(stale, "ago"), ": ", health.verdict, ", ", prose(health.why)] : prose(capital(health.why))),
        !stale && health.action && el("p", {}, el("strong", {}, "What to do: "), prose(health.action)),
        el("p", { class: "facts" }, facts),
        others.length > 0 && el("ul", {}, others.map((sentence) => el("li", {}, prose(sentence))))));
  };
  return { element, update };
}

/** Of a verdict: the colour. The word always stands beside it. */
function kindOf(word) {
  return word === "healthy" ? "good" : WARN.has(word) ? "warn" : "bad";
}

function capital(sentence) {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

/** What was known may not be true any more: the verdict says so, and nothing else. */
function showLost(element, since) {
  element.className = "verdict idle";
  show(element,
    el("div", { class: "sign" }, icon(ICONS.unknown)),
    el("div", {}, el("p", { class: "words" }, "Not known since ", moment(since)), el("p", { class: "facts" }, "There is no connection at the moment. What is shown below is as of ", moment(since), ".")));
}

function versions(processes) {
  const all = [...new Set(processes.map((process) => process.version).filter(Boolean))];
  return all.length ? `version ${all.join(", ")}` : "";
}

function commands() {
  const chart = new Chart();
  const top = el("span");
  const per = el("span", { class: "big" }, "–");
  const rows = [
    ["Median", (totals) => millis(totals.p50_ms)],
    ["99th percentile", (totals) => millis(totals.p99_ms)],
    ["Running", (totals) => count(totals.in_flight)],
    ["Finished", (totals) => count(totals.total)],
    ["Failed", (totals) => count(totals.failed), (totals) => totals.failed > 0],
    ["Throttled", (totals) => count(totals.throttled)],
    ["Denied", (totals) => count(totals.denied)],
    ["Redis", (totals) => millis(totals.redis_ms)],
    ["MongoDB", (totals) => millis(totals.mongo_ms)],
    ["Clients", (totals) => count(totals.connections)],
  ].map(([name, text, marked]) => ({ text, marked, value: el("dd", {}, "–"), name }));
  const element = panel("Commands",
    el("div", { class: "pace" },
      el("p", {}, per, el("span", { class: "unit" }, "per second")),
      el("div", { class: "plot" }, el("div", { class: "scale", "aria-hidden": "true" }, top, el("span", {}, "0")), chart.element, el("div", { class: "axis", "aria-hidden": "true" }, el("span", {}, "60 s ago"), el("span", {}, "now")))),
    el("dl", { class: "facts-grid" }, rows.map(({ name, value }) => el("div", {}, el("dt", {}, name), value))));
  const update = ({ counts }) => {
    const totals = counts?.get("bot");
    if (!totals) return;
    setText(per, rate(totals.rate_per_s));
    setText(top, String(chart.update(totals.per_second ?? [])));
    for (const { text, marked, value } of rows) {
      setText(value, text(totals));
      value.classList.toggle("marked", Boolean(marked?.(totals)));
    }
  };
  return { element, update };
}

function processes() {
  const number = (title, value, format) => ({ title, numeric: true, value: (row) => format(row[value]) });
  const table = new Table({
    label: "Processes",
    key: (row) => row.proc,
    empty: empty("No process of the bot runs."),
    columns: [
      { title: "Process", value: (row) => row.proc, render: (row) => el("code", {}, row.proc) },
      { title: "Roles", value: (row) => (row.roles ?? []).join(", ") || "–" },
      { title: "State", value: (row) => `${row.presence} ${row.draining}`, render: (row) => (row.draining ? badge("warn", "draining") : badge(...(PRESENCE[row.presence] ?? ["idle", row.presence]))) },
      { title: "Verdict", value: (row) => row.verdict ?? "–", render: (row) => (row.verdict ? badge(kindOf(row.verdict), row.verdict) : "–") },
      number("Up", "uptime_s", duration),
      number("CPU", "cpu_percent", percent),
      number("Memory", "rss_bytes", bytes),
      number("Lag", "lag_ms", millis),
    ],
  });
  return { element: panel("Processes", table.element), update: ({ processes: rows }) => rows && table.update(sorted(rows, (row) => row.proc)) };
}

/** The services of each process, folded while all are well. */
function services() {
  const place = el("div");
  const element = panel("Services", place);
  const groups = new Map();
  const update = ({ services: rows, processes: table }) => {
    if (!rows) return;
    const all = sorted(rows, (row) => `${row.well ? 1 : 0} ${row.name}`);
    const names = [...new Set(all.map((row) => row.proc))].sort();
    for (const proc of groups.keys()) if (!names.includes(proc)) groups.delete(proc);
    for (const proc of names) {
      if (!groups.has(proc)) groups.set(proc, serviceGroup(proc));
      groups.get(proc).update(all.filter((row) => row.proc === proc), table?.get(proc)?.roles ?? []);
    }
    const shown = names.map((proc) => groups.get(proc).element);
    if (shown.length !== place.children.length || shown.some((one, at) => place.children[at] !== one)) show(place, shown.length ? shown : empty("No service runs."));
  };
  return { element, update };
}

function serviceGroup(proc) {
  const name = el("span", {}, el("code", {}, proc));
  const roles = el("span");
  const sum = el("span", { class: "end" });
  const list = el("ul", { class: "tiles" });
  const element = el("details", { class: "group" }, el("summary", {}, name, roles, sum), list);
  let shown = "";
  let wasWell = true;
  const update = (rows, names) => {
    const now = JSON.stringify([rows, names]);
    if (now === shown) return;
    shown = now;
    const well = rows.filter((row) => row.well).length;
    setText(roles, names.join(", "));
    setText(sum, well === rows.length ? `all ${well} well` : `${well} of ${rows.length} well`);
    if (wasWell && well < rows.length) element.open = true;
    wasWell = well === rows.length;
    show(list, rows.map(serviceTile));
  };
  return { element, update };
}

function serviceTile(row) {
  return el("li", { class: row.well ? null : "unwell" },
    badge(row.well ? "good" : row.state === "starting" ? "busy" : "warn", row.name),
    el("span", { class: "value" }, row.well && row.took_ms >= 0.1 ? millis(row.took_ms) : row.state),
    row.detail && el("span", { class: "note" }, row.detail));
}

function shards() {
  const list = el("ul", { class: "tiles" });
  const element = panel("Shards", list);
  const update = ({ shards: rows }) => {
    if (!rows) return;
    const all = sorted(rows, (row) => String(row.id).padStart(6, "0"));
    const up = (row) => ["ready", "resumed", "connected"].includes(row.state);
    const well = (row) => !row.verdict || row.verdict === "healthy";
    const kind = (row) => (!well(row) ? kindOf(row.verdict) : row.state === "disconnected" ? "bad" : up(row) ? "good" : "busy");
    const words = (row) => (!well(row) ? `${row.verdict}${up(row) ? "" : ` (${row.state})`}` : row.state === "ready" || row.state === "resumed" ? millis(row.latency_ms) : row.state);
    show(list, all.length
      ? all.map((row) => el("li", {}, badge(kind(row), `Shard ${row.id}`), el("span", { class: "value" }, words(row))))
      : empty("No shard is connected.", "A process with the role `bot` connects to Discord."));
  };
  return { element, update };
}

function eventList(feed) {
  const list = el("ol", { class: "events" });
  const none = empty("No events yet.", feed.topics.length ? "They appear here as they happen." : "You need a permission such as events:commands to see them.");
  let paused = false;
  const pause = button("Pause", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    setText(pause, paused ? "Go on" : "Pause");
    if (!paused) draw();
  }, { class: "quiet", "aria-pressed": "false" });
  const draw = () => show(list, feed.events.slice(0, SHOWN).map(eventItem));
  const element = panel("Events", none, list);
  element.classList.add("feed");
  element.querySelector("header").append(pause);
  const swap = () => {
    none.hidden = feed.events.length > 0;
    pause.hidden = !none.hidden;
  };
  draw();
  swap();
  const close = feed.listen((event) => {
    swap();
    const at = feed.events.indexOf(event);
    if (paused || at < 0 || at >= SHOWN) return;
    list.insertBefore(eventItem(event), list.children[at] ?? null);
    if (list.children.length > SHOWN) list.lastChild.remove();
  });
  return { element, close };
}

function eventItem(event) {
  const { what, detail, word, kind, took } = describe(event);
  return el("li", {}, moment(event.at), el("span", { class: "what" }, el("strong", {}, what), detail), el("span", { class: "end" }, word && badge(kind, word), took && el("span", { class: "took" }, took)));
}

function sorted(table, key) {
  return [...table.values()].sort((one, other) => key(one).localeCompare(key(other), "en", { numeric: true }));
}
