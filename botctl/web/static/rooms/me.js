// The person: roles and why, what a permission would take, sessions, and sign-out.

import { covers, may } from "../access.js";
import { ask, field, notify, reasonField } from "../dialogs.js";
import { badge, button, el, empty, panel, problem, prose, show } from "../dom.js";
import { browserName, moment, plural } from "../format.js";
import { LiveArea } from "../live.js";
import { Table } from "../table.js";

export default {
  title: "Me",
  icon: "M10 10a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4zM3.8 17a6.2 6.2 0 0 1 12.4 0",
  open(view, page) {
    const life = { open: true, stop: () => {} };
    show(view, identity(page), el("div", { class: "columns even" }, roles(page.me), explanation(page)), sessions(page, life));
    return () => {
      life.open = false;
      life.stop();
    };
  },
};

function identity({ me, signOut }) {
  const leave = (everywhere) => signOut(everywhere).catch((failure) => notify(failure.message));
  const everywhere = () => ask({
    title: "Sign out everywhere",
    text: "Every session of yours ends, in every browser, within a second. This one too.",
    confirm: "Sign out everywhere",
    danger: true,
    run: () => signOut(true), // the page of the sign-in says that it is done
  });
  return el("section", { class: "panel identity", "aria-label": "Who I am" },
    el("div", {},
      el("p", { class: "words" }, me.user?.name || "Operator"),
      el("p", { class: "facts" }, me.source === "link" ? "Signed in with a link of this machine" : ["Discord user ", el("code", {}, me.user?.id ?? "")],
        "  ·  ", me.checked_at ? ["roles were read from Discord ", moment(me.checked_at, "ago")] : "no roles of Discord are known")),
    el("div", { class: "actions" }, button("Sign out", () => leave(false)), button("Sign out everywhere…", everywhere, { class: "danger" })));
}

function roles(me) {
  const list = me.roles.map((role) => el("li", {},
    el("p", {}, el("strong", {}, role.role), el("span", { class: "muted" }, role.guild ? ` in guild ${role.guild}` : " for the whole bot")),
    el("ul", { class: "steps" }, role.steps.map(step))));
  const held = me.permissions.filter((name) => !me.permissions.some((other) => other !== name && covers(other, name)));
  const permissions = held.includes("*") ? el("p", { class: "muted" }, "You have every permission.") : held.length
    ? el("details", {}, el("summary", {}, plural(held.length, "permission"), " for the whole bot"), el("p", { class: "codes" }, held.sort().map((name) => el("code", {}, name))))
    : null;
  return panel("Roles, and why", list.length ? el("ul", { class: "roles" }, list) : empty("You have no role in this bot.", "Someone who may grant roles can give you one: `botctl auth grant`."), permissions);
}

/** A sentence of an explanation: `yes: …` and `no: …` get a sign. */
function step(sentence) {
  const [, answer, rest] = /^(yes|no): (.*)$/s.exec(sentence) ?? [null, "", sentence];
  return el("li", {}, answer && badge(answer === "yes" ? "good" : "idle", answer), el("span", {}, prose(rest)));
}

function explanation({ api, me, query }) {
  const need = el("input", { name: "need", required: true, list: "permissions", value: query.get("need") ?? "", placeholder: "jobs:run or /ops status", autocomplete: "off", spellcheck: "false" });
  const guild = me.guilds.length
    ? el("select", { name: "guild" }, el("option", { value: "" }, "for the whole bot"), me.guilds.map(({ id }) => el("option", { value: id }, `in guild ${id}`)))
    : null;
  const answer = el("div", { "aria-live": "polite" });
  const known = el("datalist", { id: "permissions" });
  api.get("/api/permissions").then((all) => show(known, Object.entries(all).map(([value, about]) => el("option", { value, label: about.replaceAll("`", "") })))).catch(() => {});
  const submit = async (event) => {
    event?.preventDefault();
    const values = new URLSearchParams({ need: need.value.trim(), ...(guild?.value ? { guild: guild.value } : {}) });
    try {
      const { allowed, lines } = await api.get(`/api/explain?${values}`);
      const [first, ...others] = lines;
      show(answer, el("p", { class: "answer" }, badge(allowed ? "good" : "bad", allowed ? "yes" : "no"), el("span", {}, prose(first))), el("ul", { class: "steps" }, others.map(step)));
    } catch (failure) {
      show(answer, problem(failure.message));
    }
  };
  if (query.get("need")) submit();
  return panel("May I?", el("form", { class: "inline", on: { submit } },
    field("Permission or command", need), guild && field("Where", guild),
    known,
    el("button", { type: "submit", class: "primary" }, "Explain")), answer);
}

/** Whose session it is; that of a link has no user. */
function whose(session) {
  return session.name || session.user || `a link of ${session.made_by}`;
}

/** One's own sessions, as they were when asked for; those of everyone are live. `life`: of the room. */
function sessions(page, life) {
  const all = { on: false };
  let isLive = false;
  const trouble = el("div");
  const section = panel("Sessions", trouble);
  const table = (mine) => new Table({
    label: "Sessions",
    key: (session) => session.id,
    empty: empty("No session is known."),
    columns: [
      ...(mine ? [] : [{ title: "Who", value: whose }]),
      { title: "Browser", value: (session) => session.user_agent, render: (session) => [el("span", { class: "browser", title: session.user_agent }, browserName(session.user_agent ?? "")), session.current && badge("good", "this one")] },
      { title: "Address", value: (session) => session.address || "–", render: (session) => el("code", {}, session.address || "–") },
      { title: "By", value: (session) => session.source },
      { title: "Signed in", value: (session) => session.created_at, render: (session) => moment(session.created_at) },
      { title: "Last seen", value: (session) => session.seen_at, render: (session) => moment(session.seen_at, "ago") },
      { title: "Ends", value: (session) => session.expires_at, render: (session) => moment(session.expires_at, "ago") },
      { title: "Actions", hidden: true, value: (session) => session.current, render: (session) => (session.current ? [] : el("div", { class: "actions" }, button("End…", () => end(session), { "aria-label": `End the session of ${[all.on && whose(session), browserName(session.user_agent ?? "")].filter(Boolean).join(", ")}` }))) },
    ],
  });
  const place = el("div");
  section.append(place);
  let rows = table(true);
  show(place, rows.element);
  const load = async () => {
    show(trouble);
    const asked = rows; // the person may choose the other list before the answer comes
    try {
      const list = await page.api.get(`/api/sessions${all.on ? "?all=1" : ""}`);
      if (life.open) asked.update(list);
    } catch (failure) {
      if (life.open && asked === rows) show(trouble, problem(failure.message, button("Try again", load)));
    }
  };
  const follow = () => {
    const area = new LiveArea({ title: "Sessions", command: "botctl auth sessions list", element: place, realtime: page.realtime });
    show(trouble, area.note);
    life.stop = page.realtime.watch("sessions", (values, watched) => {
      const known = [...(values?.values() ?? [])].sort((one, other) => other.created_at.localeCompare(one.created_at));
      rows.update(known.map((session) => ({ ...session, current: session.id === page.me.session.id })));
      area.update(values, watched);
    });
  };
  const choose = (everyone) => {
    life.stop();
    life.stop = () => {};
    all.on = everyone;
    isLive = everyone && Boolean(page.realtime?.isLive);
    rows = table(!everyone);
    place.hidden = false;
    place.classList.remove("past");
    show(place, rows.element);
    if (isLive) follow();
    else load();
  };
  const end = (session) => ask({
    title: session.user && session.user === page.me.user?.id ? "End a session of yours" : `End a session of ${whose(session)}`,
    text: `${browserName(session.user_agent ?? "")}, from ${session.address || "an unknown address"}. It is signed out within a second.`,
    fields: [reasonField()],
    confirm: "End it",
    danger: true,
    run: async ({ reason }) => {
      await page.api.post(`/api/sessions/${encodeURIComponent(session.id)}/end`, { reason });
      if (!isLive) load();
      return `The session of ${whose(session)} has ended.`;
    },
  });
  if (may(page.me, "sessions:admin")) {
    const everyone = el("input", { type: "checkbox", name: "everyone", on: { change: (event) => choose(event.target.checked) } });
    section.querySelector("header").append(el("label", { class: "check" }, everyone, "of everyone"));
  }
  load();
  return section;
}
