// A table whose rows stay the same elements while their values change: focus, selection and hover survive an update.

import { el, show } from "./dom.js";

/**
 * `columns`: {title, value(row), render?(row), numeric?, wide?}. A cell is drawn again when its `value` changes. `key(row)` names a row.
 * On a phone each row becomes a card, in which the titles stand before the values; the roles keep it a table for screen readers.
 */
export class Table {
  #rows = new Map();

  constructor({ label, columns, key, empty }) {
    this.columns = columns;
    this.key = key;
    this.body = el("tbody", { role: "rowgroup" });
    this.placeholder = empty;
    const head = el("tr", { role: "row" }, columns.map((column) => el("th", { scope: "col", role: "columnheader", class: classOf(column) }, column.hidden ? el("span", { class: "unseen" }, column.title) : column.title)));
    this.table = el("table", { role: "table", "aria-label": label }, el("thead", { role: "rowgroup" }, head), this.body);
    this.element = el("div", { class: "table" }, empty);
  }

  update(rows) {
    const keys = new Set(rows.map(this.key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    rows.forEach((row, at) => {
      const element = this.#row(row);
      if (this.body.children[at] !== element) this.body.insertBefore(element, this.body.children[at] ?? null);
    });
    const shown = rows.length ? this.table : this.placeholder;
    if (this.element.firstChild !== shown) show(this.element, shown);
  }

  #row(row) {
    const key = this.key(row);
    let known = this.#rows.get(key);
    if (!known) {
      const cells = this.columns.map((column, at) =>
        at === 0
          ? el("th", { scope: "row", role: "rowheader", class: classOf(column) })
          : el("td", { role: "cell", class: classOf(column), "data-label": column.hidden ? null : column.title }));
      known = { element: el("tr", { role: "row" }, cells), cells, values: [] };
      this.#rows.set(key, known);
    }
    this.columns.forEach((column, at) => {
      const value = column.value(row);
      if (known.values[at] === value && at in known.values) return;
      known.values[at] = value;
      show(known.cells[at], column.render ? column.render(row) : String(value));
    });
    return known.element;
  }
}

function classOf(column) {
  return [column.numeric && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
}
