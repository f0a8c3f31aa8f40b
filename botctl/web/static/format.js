// Numbers, durations and times as people read them.

import { el } from "./dom.js";

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });
const NONE = "–";

const known = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (known(value) ? WHOLE.format(value) : NONE);
export const rate = (value) => (known(value) ? SHORT.format(value) : NONE);
export const percent = (value) => (known(value) ? `${SHORT.format(value)} %` : NONE);

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function millis(value) {
  if (!known(value)) return NONE;
  if (value >= 10000) return duration(value / 1000);
  if (value >= 1000) return `${SHORT.format(value / 1000)} s`;
  return value >= 10 ? `${Math.round(value)} ms` : `${SHORT.format(value)} ms`;
}

export function bytes(value) {
  if (!known(value)) return NONE;
  const mega = value / 1e6;
  return mega >= 1000 ? `${SHORT.format(mega / 1000)} GB` : `${Math.round(mega)} MB`;
}

/** Seconds in their two largest units: `3 d 4 h`. */
export function duration(seconds) {
  if (!known(seconds)) return NONE;
  const whole = Math.max(0, Math.round(seconds));
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = units.findIndex(([size]) => whole >= size);
  if (at < 0) return "0 s";
  const [size, name] = units[at];
  const parts = [`${Math.floor(whole / size)} ${name}`];
  if (at + 1 < units.length && size > 60) {
    const rest = Math.floor((whole % size) / units[at + 1][0]);
    if (rest) parts.push(`${rest} ${units[at + 1][1]}`);
  }
  return parts.join(" ");
}

export function ago(date) {
  const seconds = (Date.now() - date.getTime()) / 1000;
  if (Math.abs(seconds) < 3) return "now";
  return seconds < 0 ? `in ${duration(-seconds)}` : `${duration(seconds)} ago`;
}

function clock(date) {
  const today = new Date().toDateString() === date.toDateString();
  return today ? CLOCK.format(date) : `${DAY.format(date)}, ${CLOCK.format(date)}`;
}

/** A moment: `clock` (15:04:05, with the day if it is not today) or `ago`. `refreshTimes` keeps both current. */
export function moment(iso, style = "clock") {
  const date = iso ? new Date(iso) : null;
  if (!date || Number.isNaN(date.getTime())) return NONE;
  const attributes = { datetime: date.toISOString(), title: FULL.format(date), "data-style": style };
  return el("time", attributes, style === "ago" ? ago(date) : clock(date));
}

export function refreshTimes() {
  for (const element of document.querySelectorAll("time[data-style]")) {
    const date = new Date(element.dateTime);
    const text = element.dataset.style === "ago" ? ago(date) : clock(date);
    if (element.textContent !== text) element.textContent = text;
  }
}

/** A browser from its User-Agent, as far as it can be told. */
export function browserName(agent) {
  const browser = [["Edg/", "Edge"], ["OPR/", "Opera"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]]
    .find(([mark]) => agent.includes(mark));
  const system = [["Android", "Android"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["Windows", "Windows"], ["Mac OS", "macOS"], ["Linux", "Linux"]]
    .find(([mark]) => agent.includes(mark));
  if (!browser) return agent ? agent.slice(0, 40) : NONE;
  return system ? `${browser[1]} on ${system[1]}` : browser[1];
}
