// Texts: offsets, paragraphs and files.

/**
 * Returns a function from offsets in code points, which the server counts, to offsets in UTF-16
 * units, which JavaScript counts.
 */
export function unitOffsets(text) {
  if (!/[\ud800-\udbff]/.test(text)) return (offset) => offset;
  const units = new Uint32Array(text.length + 1);
  let points = 0;
  let unit = 0;
  for (const character of text) {
    units[points++] = unit;
    unit += character.length;
  }
  units[points] = unit;
  return (offset) => units[offset];
}

/** Splits a text at blank lines, which no sentence crosses: [[start, end], …] in UTF-16 units. */
export function paragraphs(text) {
  const found = [];
  let start = 0;
  for (const gap of text.matchAll(/\n\s*\n/g)) {
    if (gap.index > start) found.push([start, gap.index]);
    start = gap.index + gap[0].length;
  }
  if (start < text.length) found.push([start, text.length]);
  return found;
}

/** Decodes a text file: UTF-8, or UTF-16 with a byte order mark. Throws an Error for any other. */
export function decodeFile(name, bytes) {
  const [first, second] = bytes;
  const utf16 = { "255,254": "utf-16le", "254,255": "utf-16be" }[`${first},${second}`];
  try {
    return new TextDecoder(utf16 ?? "utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`${name} is not a text in UTF-8`);
  }
}

/** Replaces what JSON cannot carry to the server (NUL, halves of surrogate pairs), lengths kept. */
export function wellFormed(text) {
  return text.replace(/\0|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}
