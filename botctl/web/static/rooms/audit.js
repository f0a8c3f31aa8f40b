// The audit log, newest first, with filters that are part of the address.

import { guildsWith, may } from "../access.js";
import { field } from "../dialogs.js";
import { badge, button, el, empty, plainPanel, problem, show } from "../dom.js";
import { millis, moment, plural } from "../format.js";
import { Table } from "../table.js";

const PAGE = 50;
const OUTCOMES = { success: ["good", "success"], denied: ["warn", "denied"], error: ["bad", "error"], unknown: ["idle", "unknown"] };
const FILTERS = ["action", "actor", "outcome", "guild", "since", "until"];
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
    const state = { cursor: null, entries: [], open: true };
    const more = button("Load older entries", () => load(), { hidden: true });
    const foot = el("p", { role: "status" });
    const trouble = el("div");
    const table = new Table({ label: "Entries", key: (entry) => entry.id, empty: empty("No entry matches.", "Make the filters wider, or clear them."), columns: COLUMNS });
    const holder = el("div", {}, el("p", { class: "muted" }, "Loading…"));

    const load = async () => {
      more.disabled = true;
      show(trouble);
      try {
        const answer = await page.api.get(`/api/audit?${query({ ...filters, limit: PAGE, before: state.cursor })}`);
        if (!state.open) return;
        state.entries.push(...answer.entries);
        state.cursor = answer.next;
        table.update(state.entries);
        show(holder, table.element);
        more.hidden = !answer.next;
        const number = state.entries.length;
        foot.textContent = number ? `${plural(number, "entry", "entries")}${answer.next ? "" : ", no older ones"}` : "";
      } catch (failure) {
        if (!state.open) return;
        if (!state.entries.length) show(holder);
        show(trouble, problem(failure.message, button("Try again", load)));
      } finally {
        more.disabled = false;
      }
    };
    const section = plainPanel("Entries", trouble, holder, el("div", { class: "more" }, foot, more));
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

function query(values) {
  return new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));
}

function filterForm(filters, guilds) {
  const text = (name, placeholder) => el("input", { name, value: filters[name], placeholder, autocomplete: "off", spellcheck: "false" });
  const outcomes = ["", "success", "denied", "error", "unknown"].map((value) => el("option", { value, selected: value === filters.outcome }, value || "any"));
  const guild = guilds
    ? el("select", { name: "guild" }, guilds.map((id) => el("option", { value: id, selected: id === filters.guild }, id)))
    : text("guild", "id");
  const form = el("form", { class: "filters", "aria-label": "Filters", on: { submit: (event) => {
    event.preventDefault();
    const wanted = `#/audit?${query(Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()])))}`;
    if (location.hash === wanted) window.dispatchEvent(new Event("hashchange")); // the same filters again: read again
    else location.hash = wanted;
  } } },
    field("Action", text("action", "command.*")),
    field("Who", text("actor", "name or id")),
    field("Outcome", el("select", { name: "outcome" }, outcomes)),
    field("Guild", guild),
    field("Since", text("since", "7d")),
    field("Until", text("until", "2026-01-31")),
    el("div", { class: "actions" }, el("button", { type: "submit", class: "primary" }, "Filter"), el("a", { class: "button quiet", href: "#/audit" }, "Clear")));
  return form;
}

function outcome(entry) {
  return badge(...(entry.stage === "begin" ? ["busy", "started"] : OUTCOMES[entry.outcome] ?? ["idle", entry.outcome]));
}

function action(entry) {
  return [el("code", {}, entry.action), entry.target?.id && el("span", { class: "note" }, [entry.target.type, entry.target.name || entry.target.id].filter(Boolean).join(" "))];
}

/** A user as `@name`, everything else with its type: a user who is called `system` is `@system`. */
function actorName(actor) {
  const name = actor.name || actor.id || "unknown";
  return NAMELESS.has(actor.type) ? `@${name}` : [actor.type, name === actor.type ? "" : name].filter(Boolean).join(" ");
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
