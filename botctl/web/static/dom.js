// Elements. All text goes in as text: names on this page come from Discord users.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children (text, elements, lists of them; null and false are left out). */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [type, handler] of Object.entries(value)) element.addEventListener(type, handler);
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Replace the children of `element`. */
export function show(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set the text, unless it is the same: selections and screen readers are not disturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** An icon from the data of one path, on a grid of 20. Decoration: the words beside it say the same. */
export function icon(path, name = "icon") {
  return svg("svg", { class: name, viewBox: "0 0 20 20", "aria-hidden": "true", focusable: "false" }, svg("path", { d: path }));
}

export const ICONS = {
  well: "M4 10.5l4 4 8-9",
  warning: "M10 5v6.5M10 14.6v.4",
  bad: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  unknown: "M7.2 7.4a2.9 2.9 0 1 1 4.2 2.6c-.9.5-1.4 1-1.4 2v.5M10 15.3v.3",
  run: "M6 4l10 6-10 6z",
};

/** A state in words, with a sign that does not need colour. `kind`: good, warn, bad, busy or idle. */
export function badge(kind, text) {
  return el("span", { class: `badge ${kind}` }, el("span", { class: "dot", "aria-hidden": "true" }), text);
}

export function button(text, handler, attributes = {}) {
  return el("button", { type: "button", ...attributes, on: { click: handler } }, text);
}

/** A section of a room that needs no heading of its own. */
export function plainPanel(label, ...children) {
  return el("section", { class: "panel", "aria-label": label }, children);
}

/** A section with a heading. */
export function panel(title, ...children) {
  const id = `panel-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return el("section", { class: "panel", "aria-labelledby": id }, el("header", {}, el("h2", { id }, title)), children);
}

/** A sentence in which commands stand between backticks, as the terminal prints them. */
export function prose(sentence) {
  return sentence.split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));
}

/** What stands where there is nothing to show. */
export function empty(sentence, hint = "") {
  return el("p", { class: "empty" }, prose(sentence), hint && el("span", {}, prose(hint)));
}

/** A problem: what happened, and what to do. */
export function problem(sentence, ...actions) {
  return el("div", { class: "problem", role: "alert" }, el("p", {}, prose(sentence)), actions.length ? el("div", { class: "actions" }, actions) : null);
}
