// The events of the bot: which topics a person may read, the last ones, and a sentence for each kind.

import { may } from "./access.js";
import { millis } from "./format.js";

const TOPICS = ["commands", "services", "gateway", "settings", "migrations", "jobs", "system", "health", "access"];
const KEPT = 100;

const SENTENCES = {
  "command.finished": (data) => [`/${data.name}`, ` by ${data.user_name || data.user}`, RESULTS[data.result] ?? data.result, millis(data.took_ms)],
  "autocomplete.answered": (data) => [`/${data.name}`, " suggestions", data.ok ? "ok" : "failed", millis(data.took_ms)],
  "service.changed": (data) => [data.service, data.detail ? `: ${data.detail}` : ` was ${data.old}`, data.new],
  "store.restarted": (data) => [data.store, " ended and was started again", "restarted"],
  "gateway.changed": (data) => [`Shard ${data.shard}`, "", data.state, data.latency_ms ? millis(data.latency_ms) : ""],
  "guild.settings.changed": (data) => ["Guild settings", `: ${Object.keys(data.changes).join(", ")} by ${data.actor}`, "changed"],
  "migration.applied": (data) => [data.name, ` (${data.direction})`, "applied", millis(data.took_ms)],
  "migration.failed": (data) => [data.name, ": a person must decide what to do", "failed"],
  "job.started": (data) => [data.job, data.requested ? " by request" : "", "started"],
  "job.finished": (data) => [data.job, "", data.result, millis(data.took_ms)],
  "run.started": () => ["botctl run", "", "started"],
  "run.ending": (data) => ["botctl run", ` ends with exit code ${data.exit_code}`, "stopping"],
  "drain.started": (data) => ["botctl run", ` waits for ${data.in_flight} in flight`, "draining"],
  "events.lost": (data) => ["Events", `: ${data.count} were dropped`, "lost"],
  "health.changed": (data) => ["The bot", `: ${data.why}`, data.new],
  "key.created": (data) => [`Key ${data.name ?? data.key ?? ""}`, "", "created"],
  "key.revoked": (data) => [`Key ${data.name ?? data.key ?? ""}`, "", "revoked"],
  "key.rotated": (data) => [`Key ${data.name ?? data.key ?? ""}`, "", "rotated"],
  "role.granted": (data) => [data.role, ` to ${data.holder}`, "granted"],
  "role.revoked": (data) => [data.role, ` from ${data.holder}`, "revoked"],
  "session.ended": (data) => ["Session", ` of ${data.user || "a link"}: ${data.reason}`, "ended"],
  "session.changed": (data) => ["Session", ` of ${data.user || "a link"}`, "changed"],
  "member.roles.changed": (data) => ["Discord roles", ` of ${data.user}`, "changed"],
};
const RESULTS = { denied: "denied", throttled: "throttled", invalid: "invalid", failed: "failed", cancelled: "cancelled", ok: "ok" };
const GOOD = new Set(["ok", "ready", "resumed", "connected", "applied", "started", "granted", "created", "healthy"]);
const BAD = new Set(["failed", "lost", "timeout", "disconnected", "error", "limited", "banned", "deaf", "blocked", "absent"]);
const WARN = new Set(["denied", "throttled", "invalid", "cancelled", "degraded", "restarted", "draining", "stopping", "revoked", "starting", "waiting"]);

/** An event for people: {what, detail, word, kind, took}. An unknown type is shown by its name. */
export function describe(event) {
  const parts = SENTENCES[event.type]?.(event.data ?? {}) ?? [event.type, "", "", ""];
  const [what, detail, word, took = ""] = parts.map((part) => String(part ?? ""));
  const kind = GOOD.has(word) ? "good" : BAD.has(word) ? "bad" : WARN.has(word) ? "warn" : "idle";
  return { what, detail, word, kind, took };
}

/** The last events, the newest first, for as long as the page is open. */
export class Feed {
  #stop = () => {};
  #listeners = new Set();
  events = [];
  topics = [];

  connect(realtime, me) {
    const stopBefore = this.#stop; // afterwards, so that the positions of topics that stay are kept
    this.topics = TOPICS.filter((topic) => may(me, `events:${topic}`) || me.guilds.some((guild) => may(guild, `events:${topic}`)));
    this.#stop = this.topics.length && realtime ? realtime.subscribe(this.topics, (event) => this.#add(event)) : () => {};
    stopBefore();
  }

  /** Call `listener(event)` for each new event. Returns a function that ends it. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  clear() {
    this.#stop();
    this.#stop = () => {};
    this.events = [];
  }

  #add(event) {
    if (this.events.some((known) => known.id === event.id)) return;
    const at = this.events.findIndex((known) => known.at <= event.at); // the last ones come topic by topic
    this.events.splice(at < 0 ? this.events.length : at, 0, event);
    this.events.length = Math.min(this.events.length, KEPT);
    for (const listener of this.#listeners) listener(event);
  }
}
