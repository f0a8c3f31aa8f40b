// How the connection to the realtime server is, in words that are always in view.

import { button, el, prose, setText, show } from "./dom.js";
import { plural } from "./format.js";

const RECOVERED_S = 10; // for how long it says what was caught up

export class Connection {
  #timer = 0;
  #clock = 0;

  /** `retry` connects now. */
  constructor(retry) {
    this.word = el("span", { class: "word" });
    this.detail = el("span", { class: "detail" });
    this.retry = button("Connect now", retry, { class: "quiet", hidden: true });
    this.spoken = el("span", { class: "unseen", role: "status" });
    this.element = el("div", { class: "connection" }, el("p", {}, el("span", { class: "dot", "aria-hidden": "true" }), this.word, this.detail), this.retry, this.spoken);
  }

  /** Show a status of `Realtime`. */
  update(status) {
    clearTimeout(this.#timer);
    clearInterval(this.#clock);
    const [state, word, detail] = words(status);
    this.element.dataset.state = state;
    setText(this.word, word);
    show(this.detail, prose(detail));
    this.retry.hidden = !["waiting", "ended"].includes(status.phase);
    this.#speak(state, `${word} ${detail}`);
    if (status.phase === "waiting") this.#clock = setInterval(() => setText(this.detail, words(status)[2]), 250);
    if (state === "recovered") this.#timer = setTimeout(() => this.update({ phase: "live" }), RECOVERED_S * 1000);
  }

  /** The countdown is not read out; only that the state is another one. */
  #speak(state, text) {
    if (this.state !== undefined && this.state !== state && state !== "connecting") show(this.spoken, state === "waiting" ? "Connection lost, reconnecting" : text);
    if (state !== "connecting") this.state = state;
  }
}

function words(status) {
  switch (status.phase) {
    case "connecting":
      return ["connecting", status.again ? "Reconnecting" : "Connecting", "…"];
    case "waiting": {
      const left = Math.ceil((status.at - Date.now()) / 1000);
      return ["waiting", "Reconnecting", left > 0 ? `in ${left} s` : "…"];
    }
    case "live":
      if (status.lost) return ["recovered", status.back ? "Live again" : "Live", "some events are lost"];
      if (!status.back) return ["live", "Live", ""];
      return ["recovered", "Recovered", status.missed ? `${plural(status.missed, "event")} caught up` : "nothing missed"];
    default:
      return ["ended", "Not live", status.sentence];
  }
}
