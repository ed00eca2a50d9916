// What can be copied and downloaded. Every function takes {text, model, sentences, entities}:
// entities in order, with offsets in UTF-16 units (start, end) and in code points (from, to).

export const FORMATS = {
  brackets: { title: "Brackets", file: "entities.txt", write: toBrackets },
  json: { title: "JSON", file: "entities.json", write: toJson },
  conll: { title: "CoNLL", file: "entities.conll", write: toConll },
  html: { title: "HTML", file: "entities.html", write: toHtml },
  redacted: { title: "Redacted", file: "redacted.txt", write: toRedacted },
};

function replaced(text, entities, replacement) {
  const pieces = [];
  let position = 0;
  for (const entity of entities) {
    pieces.push(text.slice(position, entity.start), replacement(entity));
    position = entity.end;
  }
  return pieces.join("") + text.slice(position);
}

function toBrackets({ text, entities }) {
  return replaced(text, entities, (entity) => `[${entity.text} | ${entity.label}]`);
}

function toJson({ text, model, entities }) {
  const found = entities.map(({ from, to, text, label, score }) => ({ start: from, end: to, text, label, score }));
  return JSON.stringify({ text, model, entities: found }, null, 2) + "\n";
}

function toConll({ sentences, entities }) {
  const remaining = [...entities].reverse();
  return sentences
    .map(({ words }) => {
      let inside = null;
      const lines = words.map((word) => {
        const begins = remaining.at(-1)?.from === word.start;
        if (begins) inside = remaining.pop();
        const tag = inside ? `${begins ? "B" : "I"}-${inside.label}` : "O";
        if (inside?.to === word.end) inside = null;
        return `${word.text} ${tag}\n`;
      });
      return lines.join("") + "\n";
    })
    .join("");
}

/** The same name gets the same number: [PER_1]. Names are compared without regard to spaces. */
function toRedacted({ text, entities }) {
  const numbers = new Map();
  return replaced(text, entities, ({ text, label }) => {
    if (!numbers.has(label)) numbers.set(label, new Map());
    const known = numbers.get(label);
    const name = text.normalize("NFC").replace(/\s+/g, " ");
    if (!known.has(name)) known.set(name, known.size + 1);
    return `[${label}_${known.get(name)}]`;
  });
}

const STYLE = `
body { font: 1.1rem/1.7 Charter, Georgia, serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem; color-scheme: light dark; }
p { white-space: pre-wrap; }
mark { background: #8883; color: inherit; border-radius: .2em; padding: .05em .2em; }
small { font: 600 .6em system-ui, sans-serif; margin-left: .3em; }
`;

const escaped = (text) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** A page that needs no other file. */
function toHtml({ text, entities }) {
  const pieces = [];
  let position = 0;
  for (const { start, end, label, score } of entities) {
    const name = escaped(label);
    pieces.push(escaped(text.slice(position, start)));
    pieces.push(`<mark title="${name} ${score.toFixed(3)}">${escaped(text.slice(start, end))}`);
    pieces.push(`<small>${name}</small></mark>`);
    position = end;
  }
  pieces.push(escaped(text.slice(position)));
  const head = `<meta charset="utf-8"><title>Entities</title><style>${STYLE}</style>`;
  return `<!doctype html>\n<html><head>${head}</head><body><p dir="auto">${pieces.join("")}</p></body></html>\n`;
}
