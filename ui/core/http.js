// Requests to the agent that the page came from, and nobody else.

/** A refusal of the agent, or its silence (status 0). */
export class Refused extends Error {
  constructor(status, text) {
    super(text || `the agent answered with status ${status}`);
    this.status = status;
  }
}

// What is under way when the page is left is given up. A browser that keeps the page for the way back
// would keep its streams open too, and it has only a few connections for all pages of an agent.
const left = new AbortController();
addEventListener('pagehide', () => left.abort());
addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload();
});

async function send(method, path, body, options = {}) {
  const headers = {};
  let sent;
  if (body !== undefined) {
    headers['content-type'] = typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json';
    sent = typeof body === 'string' ? body : JSON.stringify(body);
  }
  const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
  let response;
  try {
    response = await fetch(path, { method, headers, body: sent, signal, cache: 'no-store' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refused(0, 'the agent does not answer');
  }
  if (!response.ok) {
    const text = await response.text().catch(() => '');
    throw new Refused(response.status, text.trim());
  }
  return response;
}

async function value(response) {
  const text = await response.text();
  if (text === '') return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new Refused(response.status, 'the agent answered with something that is not JSON');
  }
}

/** Reads JSON: `{data, index}`. */
export async function get(path, options) {
  const response = await send('GET', path, undefined, options);
  const index = Number(response.headers.get('x-nomad-index') ?? response.headers.get('x-consul-index') ?? 0);
  return { data: await value(response), index };
}

/** Reads text. */
export const text = async (path, options) => (await send('GET', path, undefined, options)).text();

/** The answer itself, for those who read it piece by piece. */
export const open = (path, options) => send('GET', path, undefined, options);

/** Writes, and answers with what came back. */
export const put = async (path, body, options) => value(await send('PUT', path, body, options));

/** Removes. */
export const del = async (path, options) => value(await send('DELETE', path, undefined, options));

/** A query string of what is not empty. */
export function query(parameters) {
  const out = new URLSearchParams();
  for (const [name, given] of Object.entries(parameters)) {
    for (const one of [given].flat()) {
      if (one !== undefined && one !== null && one !== '' && one !== false) out.append(name, one);
    }
  }
  const written = out.toString();
  return written ? `?${written}` : '';
}

/** Lines of JSON as they come; ends with the answer. */
export async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value: piece } = await reader.read();
      if (done) return;
      const parts = (rest + piece).split('\n');
      rest = parts.pop();
      for (const line of parts) if (line !== '') yield JSON.parse(line);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
