// The audit log, newest first, with filters that are part of the address.

import { guildsWith, may } from "../access.js";
import { field } from "../dialogs.js";
import { badge, button, el, empty, plainPanel, problem, show } from "../dom.js";
import { millis, moment, plural } from "../format.js";
import { Table } from "../table.js";

const PAGE = 50;
const MAX_PAGES = 5; // read at once, if runs of jobs are hidden and few other entries are left
const FEW = 10;
const OUTCOMES = { success: ["good", "success"], denied: ["warn", "denied"], error: ["bad", "error"], unknown: ["idle", "unknown"] };
const LOCAL_TIME = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?$/;
const FILTERS = ["action", "actor", "outcome", "guild", "since", "until"];
const HIDES_RUNS = "botctl-hides-runs";
const NAMELESS = new Set(["user"]);

export default {
  title: "Audit log",
  icon: "M6 3h8a1 1 0 0 1 1 1v13l-5-2.5L5 17V4a1 1 0 0 1 1-1zM8 7h4M8 10h4",
  needs: "audit:read",
  inGuild: true,
  open(view, page) {
    const guilds = may(page.me, "audit:read") ? null : guildsWith(page.me, "audit:read");
    const filters = Object.fromEntries(FILTERS.map((name) => [name, page.query.get(name) ?? ""]));
    if (guilds && !guilds.includes(filters.guild)) filters.guild = guilds[0];
    const state = { cursor: null, entries: [], open: true, runs: !hidesRuns() };
    const more = button("Load older entries", () => load(), { hidden: true });
    const foot = el("p", { role: "status" });
    const trouble = el("div");
    const table = new Table({ label: "Entries", key: (entry) => entry.id, empty: empty("No entry matches.", "Make the filters wider, or clear them."), columns: COLUMNS });
    const holder = el("div", {}, el("p", { class: "muted" }, "Loading…"));

    const draw = () => {
      const shown = shownOf(state);
      const hidden = state.entries.length - shown.length;
      table.update(shown);
      show(holder, table.element);
      more.hidden = !state.cursor;
      foot.textContent = [shown.length && plural(shown.length, "entry", "entries"), hidden && `${plural(hidden, "run")} of jobs hidden`, state.entries.length && !state.cursor && "no older ones"].filter(Boolean).join(", ");
    };
    const load = async () => {
      more.disabled = true;
      show(trouble);
      try {
        const before = shownOf(state).length;
        for (let pages = 0; pages < MAX_PAGES && (pages === 0 || (!state.runs && state.cursor && shownOf(state).length < before + FEW)); pages += 1) {
          const answer = await page.api.get(`/api/audit?${query({ ...asked(filters), limit: PAGE, before: state.cursor })}`);
          if (!state.open) return;
          state.entries.push(...answer.entries);
          state.cursor = answer.next;
        }
        draw();
      } catch (failure) {
        if (!state.open) return;
        if (!state.entries.length) show(holder);
        show(trouble, problem(failure.message, button("Try again", load)));
      } finally {
        more.disabled = false;
      }
    };
    const section = plainPanel("Entries", trouble, holder, el("div", { class: "more" }, foot, more));
    const runs = el("input", { type: "checkbox", name: "runs", checked: !state.runs, on: { change: () => {
      state.runs = !runs.checked;
      sessionStorage.setItem(HIDES_RUNS, runs.checked ? "1" : "");
      draw();
      if (!state.runs && state.cursor && shownOf(state).length < FEW) load();
    } } });
    section.prepend(el("label", { class: "check" }, runs, "Hide the runs of jobs"));
    show(view, filterForm(filters, guilds), section);
    load();
    return () => { state.open = false; };
  },
};

const COLUMNS = [
  { title: "When", render: (entry) => moment(entry.at) },
  { title: "Who", render: (entry) => actorName(entry.actor ?? {}) },
  { title: "What", render: action },
  { title: "Outcome", render: outcome },
  { title: "Why and where", wide: true, render: details },
].map((column) => ({ ...column, value: (entry) => entry.id })); // an entry never changes

const hidesRuns = () => sessionStorage.getItem(HIDES_RUNS) === "1";

/** The entries to show: the runs of jobs are many, and seldom what one looks for. */
function shownOf({ entries, runs }) {
  return runs ? entries : entries.filter((entry) => !(entry.action === "job.run" && entry.actor?.type === "job"));
}

function query(values) {
  return new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));
}

/** The filters as the server wants them: what is typed is a time of the browser, and a person may stand as `@ann` or `user:ID`. */
function asked(filters) {
  return { ...filters, actor: filters.actor.replace(/^@|^user:(?=\d+$)/, ""), since: zoned(filters.since), until: zoned(filters.until) };
}

/** A local date or time in UTC, so that an address means the same everywhere; anything else as it is. */
function zoned(text) {
  if (!LOCAL_TIME.test(text)) return text;
  const at = new Date(text.length === 10 ? `${text}T00:00` : text.replace(" ", "T")); // without an offset: local time
  return Number.isNaN(at.getTime()) ? text : at.toISOString();
}

/** The other way round, for the form. */
function local(text) {
  const at = /^\d{4}-.*Z$/.test(text) ? new Date(text) : null;
  if (!at || Number.isNaN(at.getTime())) return text;
  const two = (number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function filterForm(filters, guilds) {
  const text = (name, placeholder) => el("input", { name, value: local(filters[name]), placeholder, autocomplete: "off", spellcheck: "false" });
  const outcomes = ["", "success", "denied", "error", "unknown"].map((value) => el("option", { value, selected: value === filters.outcome }, value || "any"));
  const guild = guilds
    ? el("select", { name: "guild" }, guilds.map((id) => el("option", { value: id, selected: id === filters.guild }, id)))
    : text("guild", "id");
  const form = el("form", { class: "filters", "aria-label": "Filters", on: { submit: (event) => {
    event.preventDefault();
    const wanted = `#/audit?${query(Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, name === "since" || name === "until" ? zoned(value.trim()) : value.trim()])))}`;
    if (location.hash === wanted) window.dispatchEvent(new Event("hashchange")); // the same filters again: read again
    else location.hash = wanted;
  } } },
    field("Action", text("action", "command.*")),
    field("Who", text("actor", "@ann or an id")),
    field("Outcome", el("select", { name: "outcome" }, outcomes)),
    field("Guild", guild),
    field("Since (your time)", text("since", "7d")),
    field("Until (your time)", text("until", "2026-01-31")),
    el("div", { class: "actions" }, el("button", { type: "submit", class: "primary" }, "Filter"), el("a", { class: "button quiet", href: "#/audit" }, "Clear")));
  return form;
}

function outcome(entry) {
  return badge(...(entry.stage === "begin" ? ["busy", "started"] : OUTCOMES[entry.outcome] ?? ["idle", entry.outcome]));
}

function action(entry) {
  return [el("code", {}, entry.action), entry.target?.id && el("span", { class: "note" }, typed(entry.target.type, entry.target.name || entry.target.id))];
}

/** A user as `@name`, everything else with its type: a user who is called `system` is `@system`. */
function actorName(actor) {
  const name = actor.name || actor.id || "unknown";
  return NAMELESS.has(actor.type) ? `@${name}` : typed(actor.type, name);
}

/** A name with its type, which ids such as `session:…` and `link:…` have in them already. */
function typed(type, name) {
  const rest = name === type ? "" : name.startsWith(`${type}:`) ? name.slice(type.length + 1) : name;
  return [type, rest].filter(Boolean).join(" ");
}

function details(entry) {
  const changes = (entry.changes ?? []).map(({ k, old, new: value }) => `${k}: ${shown(old)} → ${shown(value)}`);
  const facts = [["Guild", entry.guild], ["Took", entry.ms === undefined ? "" : millis(entry.ms)], ["From", [entry.via?.iface, entry.via?.host, entry.via?.pid].filter(Boolean).join(" ")],
    ["Actor id", entry.actor?.id], ["Changes", changes.join("; ")], ["Error", entry.error && shown(entry.error)], ["Entry", entry.id]].filter(([, value]) => value);
  return [
    entry.reason && el("span", { class: "line" }, entry.reason),
    el("details", {}, el("summary", {}, "Details"), el("dl", { class: "small" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))))),
  ];
}

function shown(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
