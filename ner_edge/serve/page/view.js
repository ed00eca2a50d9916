// The text with its entities, one column per model and one row per paragraph.

import { paragraphs, unitOffsets } from "./text.js";

const HUES = 8; // as many as style.css has

/** Makes an element; its children are nodes, or strings that become text. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** The class that gives a label its colour. */
export function hue(labels, label) {
  return `hue-${labels.indexOf(label) % HUES}`;
}

/** What one model found in a text, and where it is shown. */
export class Reading {
  constructor(labels, text, cells) {
    this.labels = labels;
    this.text = text;
    this.sentences = 0;
    this.entities = [];
    this.complete = false;
    this.cells = cells; // [{start, end, position, pending, node}, …], those not yet tagged first
    this.units = unitOffsets(text);
  }

  /** Shows a sentence that was tagged; they come in order. */
  add(sentence) {
    this.sentences += 1;
    const end = this.units(sentence.end);
    while (this.cells[0].end < end) this.finish(this.cells.shift());
    const cell = this.cells[0];
    for (const { start, end, ...rest } of sentence.entities) {
      const entity = { from: start, to: end, start: this.units(start), end: this.units(end), ...rest };
      entity.mark = this.mark(entity);
      this.advance(cell, entity.start);
      cell.pending.before(entity.mark);
      cell.position = entity.end;
      this.entities.push(entity);
    }
    this.advance(cell, end);
    cell.pending.textContent = this.text.slice(cell.position, cell.end);
  }

  /** Shows the rest as text without entities. */
  end() {
    this.complete = true;
    while (this.cells.length) this.finish(this.cells.shift());
  }

  finish(cell) {
    this.advance(cell, cell.end);
    cell.pending.remove();
  }

  advance(cell, position) {
    cell.pending.before(this.text.slice(cell.position, position));
    cell.position = position;
  }

  mark({ text, label, score }) {
    const shown = score.toFixed(2);
    const mark = element("mark", { className: hue(this.labels, label), tabIndex: -1 });
    mark.dataset.score = `${label} ${shown}`;
    mark.append(
      text,
      element("span", { className: "label" }, label),
      element("span", { className: "spoken" }, ` (${label}, score ${shown})`),
    );
    mark.children[0].setAttribute("aria-hidden", "true");
    return mark;
  }
}

/** Shows an untagged text for each model, and returns their readings. */
export function showText(container, text, models, labels) {
  container.replaceChildren();
  container.style.setProperty("--columns", models.length);
  const cells = models.map(() => []);
  if (models.length > 1) {
    const names = models.map((model) => element("h2", {}, model.name));
    container.append(element("div", { className: "row names" }, ...names));
  }
  for (const [start, end] of paragraphs(text)) {
    const row = element("div", { className: "row" });
    models.forEach((model, column) => {
      const pending = element("span", { className: "pending" }, text.slice(start, end));
      const node = element("p", { dir: "auto" }, pending);
      if (models.length > 1) node.dataset.model = model.name;
      cells[column].push({ start, end, position: start, pending, node });
      row.append(node);
    });
    container.append(row);
  }
  return models.map((model, column) => new Reading(labels, text, cells[column]));
}
