// The one event stream of a tab: what changed, as it changes. Pages say which topics they look at;
// the stream is opened anew when that set grows, and goes on after the last index. A tab that
// nobody looks at has none, so that many of them leave the browser its connections.

import * as http from './http.js';

const RETRY_MS = 1000;
const RETRY_MS_MAX = 15000;
// The agent says every 10 seconds that it is there.
const SILENCE_MS = 35000;
const HIDDEN_MS = 20000;

const listeners = new Set();
const watchers = new Set();
let wanted = new Map();
let open = null;
let index = 0;
let retry = RETRY_MS;
let hiddenTimer = 0;

/** `connected`, `connecting` or `lost`. */
export let state = 'connecting';

function setState(next) {
  if (state === next) return;
  state = next;
  for (const watcher of watchers) watcher(state);
}

/** Calls `watcher` when the state of the stream changes. */
export function onState(watcher) {
  watchers.add(watcher);
}

/**
 * Calls `onEvent` with every event of these topics (`Job`, or `Job:web` for one key), and `onGap`
 * when some may have been missed. Answers with a function that ends it.
 */
export function follow(topics, onEvent, onGap) {
  const listener = { topics, onEvent, onGap };
  listeners.add(listener);
  let isNew = false;
  for (const topic of topics) {
    const name = topic.split(':')[0];
    isNew ||= !wanted.has(name);
    wanted.set(name, (wanted.get(name) ?? 0) + 1);
  }
  if (isNew) reopen();
  return () => {
    if (!listeners.delete(listener)) return;
    for (const topic of topics) {
      const name = topic.split(':')[0];
      const left = wanted.get(name) - 1;
      // A name stays in the open stream; it is left out when the stream is opened anew.
      wanted.set(name, left);
    }
  };
}

let reopening = 0;

function reopen() {
  clearTimeout(reopening);
  // Several parts of a page say at once what they look at.
  reopening = setTimeout(() => {
    open?.abort();
    open = null;
    if (!document.hidden) run();
  }, 0);
}

async function run() {
  const own = new AbortController();
  open = own;
  const topics = [...wanted].filter(([, count]) => count > 0).map(([name]) => name);
  wanted = new Map([...wanted].filter(([, count]) => count > 0));
  if (topics.length === 0) {
    open = null;
    return;
  }
  let alarm = 0;
  const alive = () => {
    clearTimeout(alarm);
    alarm = setTimeout(() => own.abort(), SILENCE_MS);
  };
  try {
    alive();
    const path = `/v1/event/stream${http.query({ topic: topics, namespace: '*', index: index || '', replay: 'false', payload: 'false' })}`;
    const response = await http.open(path, { signal: own.signal });
    setState('connected');
    retry = RETRY_MS;
    // What changed before the stream was open may be in no event.
    for (const listener of [...listeners]) listener.onGap?.();
    for await (const batch of http.lines(response)) {
      alive();
      if (batch.Index) index = Math.max(index, batch.Index + 1);
      for (const event of batch.Events ?? []) tell(event);
    }
  } catch {
    // Told by the state below.
  }
  clearTimeout(alarm);
  if (open !== own) return;
  open = null;
  if (document.hidden) return;
  setState('lost');
  setTimeout(() => {
    if (open === null && !document.hidden) run();
  }, retry);
  retry = Math.min(retry * 2, RETRY_MS_MAX);
}

function tell(event) {
  for (const listener of listeners) {
    if (listener.topics.some((topic) => isOf(topic, event))) listener.onEvent(event);
  }
}

function isOf(topic, event) {
  const at = topic.indexOf(':');
  if (at < 0) return topic === event.Topic;
  if (topic.slice(0, at) !== event.Topic) return false;
  const key = topic.slice(at + 1);
  return event.Key === key || (event.FilterKeys ?? []).includes(key);
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    hiddenTimer = setTimeout(() => {
      open?.abort();
      open = null;
    }, HIDDEN_MS);
  } else if (open === null) {
    // The agent may have a new log by now.
    index = 0;
    run();
  }
});
