// The page: what its controls do.

import { describe, differences } from "./compare.js";
import { models as askModels, tag, useKey, write } from "./tagging.js";
import { decodeFile, wellFormed } from "./text.js";
import { element, hue, showText } from "./view.js";

const FILES = {
  brackets: "entities.txt",
  jsonl: "entities.jsonl",
  conll: "entities.conll",
  html: "entities.html",
  redacted: "redacted.txt",
};
const get = (id) => document.getElementById(id);
const off = new Set(); // labels switched off
let models = [];
let readings = []; // what each model found
let differing = [];
let current = -1; // the difference that is looked at
let running = null; // aborts the requests under way

// Requests

async function withKey(request) {
  for (;;) {
    try {
      return await request();
    } catch (error) {
      if (!error.needsKey) throw error;
      useKey(await askKey());
    }
  }
}

function askKey() {
  const dialog = get("key");
  const field = get("key-value");
  field.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(field.value), { once: true });
  });
}

async function loadModels() {
  for (;;) {
    try {
      models = await withKey(askModels);
      break;
    } catch (error) {
      if (error.status !== 503) throw error;
      get("models").textContent = "Loading the model …";
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  get("models").textContent = models.map(({ name }) => name).join(" and ");
  get("source").hidden = models.length < 2;
  get("source").replaceChildren(...models.map(({ name }, i) => new Option(name, i)));
}

async function find() {
  running?.abort();
  const mine = (running = new AbortController());
  const text = wellFormed(get("text").value);
  get("error").textContent = "";
  if (!text.trim()) {
    get("status").textContent = "Enter some text first.";
    get("text").focus();
    return;
  }
  get("stop").hidden = false;
  try {
    if (!models.length) await loadModels();
    begin(text);
    await Promise.all(readings.map((reading, i) => read(reading, text, models[i].name, mine.signal)));
  } catch (error) {
    mine.abort(); // the other models too
    if (running === mine) fail(error);
  }
  if (running !== mine) return;
  running = null;
  get("stop").hidden = true;
  update();
}

async function read(reading, text, model, signal) {
  for await (const sentence of await withKey(() => tag(text, model, signal))) {
    if (signal.aborted) return;
    reading.add(sentence);
    updateSoon();
  }
  reading.end();
}

function fail(error) {
  if (error.name === "AbortError") return;
  const message = error.message.trim();
  get("error").textContent = message[0].toUpperCase() + message.slice(1).replace(/\.?$/, ".");
}

// Results

function begin(text) {
  const labels = [...new Set(models.flatMap((model) => Object.keys(model.labels)))];
  get("results").hidden = false;
  get("differences").hidden = models.length < 2;
  readings = showText(get("text-shown"), text, models, labels);
  current = -1;
  get("labels").replaceChildren(...labels.map((label) => labelSwitch(label, labels)));
  update();
}

function labelSwitch(label, labels) {
  const description = models.map((model) => model.labels[label]).find(Boolean);
  const count = element("span", { className: "count" });
  const button = element("button", { type: "button", title: description }, label, count);
  button.className = `switch ${hue(labels, label)}`;
  button.dataset.label = label;
  button.setAttribute("aria-pressed", String(!off.has(label)));
  button.addEventListener("click", () => {
    if (!off.delete(label)) off.add(label);
    button.setAttribute("aria-pressed", String(!off.has(label)));
    update();
  });
  return button;
}

let updateIsDue = false;
function updateSoon() {
  if (updateIsDue) return;
  updateIsDue = true;
  if (running) setTimeout(update, 200); // it looks at every entity so far
  else requestAnimationFrame(update);
}

/** Shows the entities that the slider and the labels leave, their counts and differences. */
function update() {
  updateIsDue = false;
  const least = get("least").valueAsNumber;
  get("least-shown").textContent = least.toFixed(2);
  const shown = readings.map(({ entities }) => entities.filter((e) => e.score >= least && !off.has(e.label)));
  unmarkDifference();
  differing = differences(shown);
  const kept = new Set(shown.flat());
  const marked = new Set(differing.flat().map(({ entity }) => entity));
  for (const entity of readings.flatMap(({ entities }) => entities)) {
    entity.mark.classList.toggle("off", !kept.has(entity));
    entity.mark.classList.toggle("differs", marked.has(entity));
  }
  for (const button of get("labels").children) {
    const { label } = button.dataset;
    const has = (entity) => entity.label === label && entity.score >= least;
    const counts = readings.map(({ entities }) => entities.filter(has).length);
    button.querySelector(".count").textContent = [...new Set(counts)].join(" / ");
  }
  current = Math.min(current, differing.length - 1);
  showDifference();
  const complete = readings.length > 0 && readings.every((reading) => reading.complete);
  get("copy").disabled = get("download").disabled = !complete;
  get("text-shown").setAttribute("aria-busy", String(running !== null));
  get("status").textContent = summary(shown, complete);
}

function summary(shown, complete) {
  if (!readings.length) return "";
  if (running) return "Tagging …";
  const found = shown.map(({ length }) => counted(length, "entity", "entities"));
  const named = found.map((count, i) => (found.length > 1 ? `${count} by ${models[i].name}` : count));
  const sentences = counted(readings[0].sentences, "sentence", "sentences");
  const stopped = complete ? "" : " Tagging stopped before the end of the text.";
  return `${named.join(", ")} in ${sentences}.${stopped}`;
}

const counted = (number, one, many) => `${number} ${number === 1 ? one : many}`;

// Differences

function showDifference() {
  const { length } = differing;
  get("difference").textContent =
    current < 0
      ? counted(length, "difference", "differences")
      : `${current + 1} of ${length}: ${describe(differing[current], models.length)}`;
  get("previous").disabled = get("next").disabled = !length;
  if (current >= 0) for (const { entity } of differing[current]) entity.mark.classList.add("current");
}

function unmarkDifference() {
  for (const { entity } of differing[current] ?? []) entity.mark.classList.remove("current");
}

function goToDifference(step, { focus }) {
  if (!differing.length) return;
  unmarkDifference();
  const from = current < 0 && step < 0 ? 0 : current;
  current = (from + step + differing.length) % differing.length;
  showDifference();
  const { mark } = differing[current][0].entity;
  if (focus) mark.focus({ preventScroll: true });
  mark.scrollIntoView({ block: "center" });
}

// Copy and download

/** The text with the entities that are shown, in the chosen format. */
function written() {
  const reading = readings[models.length > 1 ? Number(get("source").value) : 0];
  const kept = reading.entities.filter(({ mark }) => !mark.classList.contains("off"));
  const entities = kept.map(({ from, to, label, score }) => ({ start: from, end: to, label, score }));
  return withKey(() => write(reading.text, entities, get("format").value));
}

async function copy() {
  get("error").textContent = "";
  try {
    const text = await written();
    await navigator.clipboard.writeText(text);
    get("status").textContent = "Copied.";
  } catch (error) {
    if (error.status === undefined) error = new Error("the browser does not let this page copy text; use Download instead");
    fail(error);
  }
}

async function download() {
  get("error").textContent = "";
  try {
    const content = (await written()) + "\n";
    const url = URL.createObjectURL(new Blob([content], { type: "text/plain;charset=utf-8" }));
    element("a", { href: url, download: FILES[get("format").value] }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  } catch (error) {
    fail(error);
  }
}

// Files

async function readFile(file) {
  try {
    const text = decodeFile(file.name, new Uint8Array(await file.arrayBuffer()));
    get("text").value = text;
    await find();
  } catch (error) {
    fail(error);
  }
}

// Controls

get("form").addEventListener("submit", (event) => {
  event.preventDefault();
  find();
});
get("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find();
});
get("stop").addEventListener("click", () => running?.abort());
get("open").addEventListener("click", () => get("file").click());
get("file").addEventListener("change", ({ target }) => {
  if (target.files.length) readFile(target.files[0]);
  target.value = "";
});
get("least").addEventListener("input", updateSoon);
get("previous").addEventListener("click", () => goToDifference(-1, { focus: false }));
get("next").addEventListener("click", () => goToDifference(1, { focus: false }));
get("text-shown").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n") goToDifference(1, { focus: true });
  if (event.key === "p") goToDifference(-1, { focus: true });
});
get("format").addEventListener("change", ({ target }) => {
  get("caution").hidden = target.value !== "redacted";
});
get("copy").addEventListener("click", copy);
get("download").addEventListener("click", download);

const root = document.documentElement;
root.addEventListener("dragover", (event) => {
  event.preventDefault();
  root.classList.add("dropping");
});
root.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) root.classList.remove("dropping");
});
root.addEventListener("drop", (event) => {
  event.preventDefault();
  root.classList.remove("dropping");
  const [file, ...others] = event.dataTransfer.files;
  if (others.length) fail(new Error("drop one file at a time"));
  else if (file) readFile(file);
});

loadModels().catch(fail);
