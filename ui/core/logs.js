// Output of tasks over one stream: of an allocation, or of all that a job has.

import * as http from './http.js';

const RETRY_MS = 2000;

/**
 * Follows output into `lines`. `parameters` go into the query; `sourceOf(frame)` says where a piece
 * comes from. Answers with a function that ends it; `onState` hears `open`, `ended` or an error.
 */
export function followLogs(parameters, lines, sourceOf, onState) {
  const controller = new AbortController();
  const decoders = new Map();
  let timer = 0;

  async function run() {
    try {
      const response = await http.open(`/v1/trivet/logs${http.query(parameters)}`, { signal: controller.signal });
      onState('open');
      for await (const frame of http.lines(response)) take(frame);
      for (const [key, own] of decoders) lines.end(key, own.source);
      decoders.clear();
      onState('ended');
    } catch (error) {
      if (error.name === 'AbortError' || controller.signal.aborted) return;
      onState(error);
      if (!parameters.follow || (error.status >= 400 && error.status < 500)) return;
      lines.note('The connection to the agent broke; trying again.');
      // The part that was read stands there already.
      Object.assign(parameters, { origin: 'end', offset: 0 });
      decoders.clear();
      timer = setTimeout(run, RETRY_MS);
    }
  }

  function take(frame) {
    if (frame.Note) {
      lines.note(frame.Note);
      return;
    }
    if (!frame.Data) return;
    const key = `${frame.AllocID} ${frame.Task} ${frame.Type}`;
    let own = decoders.get(key);
    if (!own) {
      own = { decoder: new TextDecoder(), source: sourceOf(frame) };
      decoders.set(key, own);
    }
    const bytes = Uint8Array.from(atob(frame.Data), (letter) => letter.charCodeAt(0));
    lines.push(key, own.source, own.decoder.decode(bytes, { stream: true }));
  }

  run();
  return () => {
    clearTimeout(timer);
    controller.abort();
  };
}
