// What a room shows of the realtime server: whether it is live, and if not, since when and why.

import { el, empty, show } from "./dom.js";
import { moment } from "./format.js";

export const NOT_LOADED = "Nothing was loaded yet, because there is no connection to the realtime server.";
const WAITS = "This waits until the connection is back.";

/**
 * `note` stands above `element`, which shows the values of a state. While they are not live, `element` is grey, and its
 * buttons with `data-live` wait. `title`: of the room; `command`: what shows the same in a terminal.
 */
export class LiveArea {
  constructor({ title, command, element, realtime }) {
    Object.assign(this, { title, command, element });
    this.note = el("div", { role: "status" });
    this.element.hidden = true;
    show(this.note, realtime ? el("p", { class: "muted" }, "Loading…") : empty(`${title} are not live.`, `No realtime server of this bot runs, so nothing was loaded. \`${command}\` shows them in a terminal.`));
  }

  /** As a handler of `Realtime.watch`; after the values were drawn. */
  update(values, { error, stale, lost }) {
    this.element.hidden = !values;
    markLive(this.element, !lost);
    show(this.note, this.#sentence(values, error, stale, lost));
  }

  #sentence(values, error, stale, lost) {
    if (error) return empty(error);
    if (!values) return lost ? empty(NOT_LOADED, `They appear as soon as there is one. \`${this.command}\` shows them in a terminal.`) : el("p", { class: "muted" }, "Loading…");
    if (lost) return el("p", { class: "stale" }, "As of ", moment(lost.since), ": there is no connection at the moment. Changes wait until it is back.");
    return stale && el("p", { class: "stale" }, `${this.title} cannot be read at the moment; what is shown is from `, moment(stale, "ago"), ".");
  }
}

/** Show that `element` is not live: grey, and its buttons with `data-live` cannot be used. */
export function markLive(element, isLive) {
  element.classList.toggle("past", !isLive);
  for (const button of element.querySelectorAll("button[data-live]")) {
    if (!isLive && !button.disabled) {
      button.dataset.live = "waits";
      button.disabled = true;
      button.title = WAITS;
    } else if (isLive && button.dataset.live === "waits") {
      button.dataset.live = "";
      button.disabled = false;
      button.removeAttribute("title");
    }
  }
}
