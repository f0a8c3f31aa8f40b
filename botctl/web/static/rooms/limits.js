// Rate limits: each policy with its checks and denials, and the reset of a subject.

import { may } from "../access.js";
import { ask, field, reasonField } from "../dialogs.js";
import { button, el, empty, panel, show } from "../dom.js";
import { count, plural } from "../format.js";
import { LiveArea } from "../live.js";
import { Table } from "../table.js";

export default {
  title: "Limits",
  icon: "M4 15a7 7 0 1 1 12 0M10 11l3-4",
  needs: "ratelimit:read",
  open(view, page) {
    let rows = [];
    const mayReset = may(page.me, "ratelimit:write");
    const search = el("input", { type: "search", name: "find", placeholder: "Find a policy", "aria-label": "Find a policy", autocomplete: "off", on: { input: () => draw() } });
    const table = new Table({
      label: "Policies",
      key: (row) => row.policy,
      empty: empty("No policy matches.", "Clear the search to see all policies."),
      columns: [
        { title: "Policy", value: (row) => row.policy, render: (row) => el("strong", {}, row.policy) },
        { title: "Limits", wide: true, value: (row) => row.limits || "–", render: (row) => (row.limits || "–").split(", ").map((limit) => el("span", { class: "line" }, limit)) },
        { title: "Subjects", numeric: true, value: (row) => count(row.subjects) },
        { title: "Checks, 24 h", numeric: true, value: (row) => count(row.checks) },
        { title: "Denied, 24 h", numeric: true, value: (row) => count(row.denied), render: (row) => el("span", { class: row.denied ? "strong" : null }, count(row.denied)) },
        ...(mayReset ? [{ title: "Actions", hidden: true, value: () => "", render: (row) => el("div", { class: "actions" }, button("Reset…", () => reset(page, rows, row.policy), { "data-live": "", "aria-label": `Reset ${row.policy}` })) }] : []),
      ],
    });
    const draw = () => {
      const wanted = search.value.trim().toLowerCase();
      table.update(rows.filter((row) => `${row.policy} ${row.limits}`.toLowerCase().includes(wanted)));
    };
    const section = panel("Policies", table.element);
    section.querySelector("header").append(el("div", { class: "actions" }, search, mayReset && button("Reset a subject…", () => reset(page, rows, ""), { "data-live": "" })));
    const area = new LiveArea({ title: "Limits", command: "botctl ratelimit list", element: section, realtime: page.realtime });
    show(view, area.note, section);
    return page.realtime?.watch("limits", (limits, watched) => {
      rows = [...(limits?.values() ?? [])].sort((one, other) => one.owner.localeCompare(other.owner) || one.policy.localeCompare(other.policy));
      draw();
      area.update(limits, watched);
    });
  },
};

function reset(page, rows, policy) {
  const subject = el("input", { name: "subject", required: true, autocomplete: "off", spellcheck: "false", placeholder: "user:123456789012345678" });
  const policies = el("select", { name: "policy" }, el("option", { value: "" }, "All policies"), rows.map((row) => el("option", { value: row.policy, selected: row.policy === policy }, row.policy)));
  ask({
    title: "Reset limits",
    text: "The subject gets its whole allowance back, at once and in every process.",
    fields: [field("Subject", subject, "user:ID (an ID alone is a user), member:GUILD-USER, channel:ID, guild:ID, key:ID, address:IP or global"), field("Policy", policies), reasonField()],
    confirm: "Reset",
    run: async ({ subject: typed, policy: what, reason }) => {
      const who = typed.trim().replace(/^(?=\d{15,20}$)/, "user:");
      const result = await page.realtime.act("limits.reset", what ? { subject: who, policy: what } : { subject: who }, reason);
      return result.reset ? `${who}: ${plural(result.reset, "limit")} reset (${result.policies.join(", ")}).` : `${who}: there was nothing to reset.`;
    },
  });
}
