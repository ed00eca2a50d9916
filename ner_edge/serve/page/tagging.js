// Requests to the server. The key, if it needs one, stays in this module's memory.

let key = "";

/** An answer that is not the wanted one; `needsKey` if the server wants a (different) key. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
    this.needsKey = status === 401;
  }
}

export function useKey(value) {
  key = value;
}

/** The models that the server offers: [{name, labels}, …]. */
export async function models() {
  const answer = await request("/models", {});
  return (await answer.json()).models;
}

/** Sends a text; returns its sentences, which arrive as they are tagged. */
export async function tag(text, model, signal) {
  const answer = await post("/tag/stream", { text, model }, signal);
  return sentences(answer.body);
}

/** Returns a text with its entities in a format of the server. */
export async function write(text, entities, format) {
  const answer = await post("/format", { text, entities, format });
  return (await answer.json()).output;
}

function post(path, value, signal) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(value), signal });
}

async function* sentences(stream) {
  for await (const line of lines(stream)) {
    const value = JSON.parse(line);
    if (value.error) throw new Refused(value.error, 0);
    if (value.done) return;
    yield value;
  }
  throw new Refused("the server ended its answer too early", 0);
}

async function request(path, options) {
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("the server does not answer; is it still running?", 0);
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw new Refused(error ?? `the server answered with status ${answer.status}`, answer.status);
}

async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}
