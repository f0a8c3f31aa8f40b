// Commands in each second of the last minute, as bars.

import { svg } from "./dom.js";
import { plural } from "./format.js";

const SECONDS = 60;
const HEIGHT = 100;

export class Chart {
  #bars;

  constructor() {
    this.#bars = Array.from({ length: SECONDS }, (_, at) => svg("rect", { x: at * 10 + 1, y: HEIGHT - 1, width: 8, height: 1, rx: 1 }));
    const lines = [0.5, HEIGHT / 2, HEIGHT - 0.5].map((y) => svg("line", { x1: 0, x2: SECONDS * 10, y1: y, y2: y }));
    this.element = svg("svg", { class: "chart", viewBox: `0 0 ${SECONDS * 10} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, lines, this.#bars);
  }

  /** `numbers`: one a second, the newest last. Returns the number at the top of the chart. */
  update(numbers) {
    const last = [...Array(SECONDS).fill(0), ...numbers].slice(-SECONDS);
    const top = niceTop(Math.max(...last));
    last.forEach((number, at) => {
      const height = number ? Math.max(3, (number / top) * HEIGHT) : 1;
      this.#bars[at].setAttribute("y", HEIGHT - height);
      this.#bars[at].setAttribute("height", height);
      this.#bars[at].classList.toggle("some", number > 0);
    });
    this.element.setAttribute("aria-label", `${plural(last.reduce((sum, number) => sum + number, 0), "command")} in the last minute, at most ${Math.max(...last)} in a second`);
    return top;
  }
}

/** The smallest of 2, 4, 6, 8, 10, 20, 40, … that is not below `value`. */
function niceTop(value) {
  for (let size = 1; ; size *= 10) {
    for (const step of [2, 4, 6, 8, 10]) if (step * size >= value) return step * size;
  }
}
