// Questions before something is done, and short notices after it.

import { button, el, prose, show } from "./dom.js";

const NOTICE_S = 8;
let timer = 0;

/** Show a sentence for some seconds; a screen reader reads it. */
export function notify(sentence) {
  clearTimeout(timer);
  const place = document.getElementById("notices");
  show(place, el("p", {}, el("span", {}, prose(sentence)), button("Dismiss", () => show(place), { class: "quiet" })));
  timer = setTimeout(() => show(place), NOTICE_S * 1000);
}

/** A field of a form: a label, the control, and a hint that belongs to it. */
export function field(label, control, hint = "") {
  const id = `field-${control.getAttribute("name")}`;
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return el("div", { class: "field" }, el("label", { for: id }, label), control, hint && el("p", { class: "hint", id: `${id}-hint` }, hint));
}

export function reasonField() {
  const control = el("input", { name: "reason", required: true, maxlength: 200, autocomplete: "off", spellcheck: "true" });
  return field("Reason", control, "It is kept in the audit log, with your name.");
}

/**
 * Ask in a dialog. `run(values)` does it and returns the sentence for the notice, or nothing; if it fails, the dialog stays open and says why.
 */
export function ask({ title, text, fields = [], confirm, danger = false, run }) {
  const error = el("p", { class: "error", role: "alert" });
  const submit = el("button", { type: "submit", class: danger ? "danger" : "primary" }, confirm);
  const form = el("form", { method: "dialog", novalidate: true },
    el("h2", { id: "dialog-title" }, title),
    text && el("p", {}, text),
    fields,
    error,
    el("div", { class: "actions" }, button("Cancel", () => dialog.close()), submit));
  const dialog = el("dialog", { "aria-labelledby": "dialog-title", on: { close: () => dialog.remove() } }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.textContent = "";
    const missing = [...form.querySelectorAll(":required")].find((control) => !control.value.trim());
    if (missing) {
      show(error, `${missing.labels[0].textContent} is missing.`);
      missing.focus();
      return;
    }
    submit.disabled = true;
    try {
      const sentence = await run(Object.fromEntries(new FormData(form)));
      dialog.close();
      if (sentence) notify(sentence);
    } catch (failure) {
      show(error, prose(failure.message));
    } finally {
      submit.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  (form.querySelector("input, select, textarea") ?? submit).focus();
}
