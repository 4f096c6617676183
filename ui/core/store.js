// What the pages know of the agent: answers by path, read when they are looked at first and again
// when an event says that they changed. Two parts of a page that look at the same path share it.

import * as http from './http.js';
import { follow } from './stream.js';

// Changes that come close together lead to one reading.
const PAUSE_MS = 150;
// A reading that takes long is not repeated at once.
const REST_FACTOR = 3;
// Answers that are kept after the last part looked at them, for the way back.
const KEPT_MAX = 60;
// Until an agent that did not answer is asked again.
const LOST_MS = 2000;
// How old an answer may be that nobody follows.
const KEPT_MS = 3000;

const resources = new Map();

class Resource {
  constructor(path, topics, format) {
    this.path = path;
    this.topics = topics;
    this.format = format;
    this.data = undefined;
    this.error = null;
    this.index = 0;
    this.users = new Set();
    this.reading = null;
    this.isStale = true;
    this.timer = 0;
    this.lostTimer = 0;
    this.took = 0;
    this.at = 0;
    this.unfollow = null;
    this.isHeld = false;
  }

  /** True until the first answer came. */
  get isLoading() {
    return this.data === undefined && this.error === null;
  }

  look(user) {
    this.users.add(user);
    if (this.users.size > 1) return;
    this.follow();
    this.read();
  }

  follow() {
    const stale = () => this.refresh();
    if (this.topics.length > 0) this.unfollow = follow(this.topics, stale, stale);
  }

  /** Changes with these topics too: who looked first may have asked for one answer only. */
  add(topics) {
    const more = topics.filter((topic) => !this.topics.includes(topic));
    if (more.length === 0) return;
    this.topics = [...this.topics, ...more];
    if (this.users.size === 0) return;
    this.unfollow?.();
    this.follow();
  }

  /** The answer for somebody who does not go on looking; it may be as old as `KEPT_MS`. */
  async once() {
    const isFollowed = this.users.size > 0 && this.topics.length > 0;
    if (this.isStale || this.isLoading || (!isFollowed && performance.now() - this.at > KEPT_MS)) await this.read();
    return this.data;
  }

  leave(user) {
    this.users.delete(user);
    if (this.users.size > 0) return;
    this.unfollow?.();
    this.unfollow = null;
    clearTimeout(this.timer);
    clearTimeout(this.lostTimer);
    this.timer = 0;
    this.isStale = true;
  }

  /** Reads again, soon. */
  refresh() {
    this.isStale = true;
    if (this.timer || this.isReading || this.isHeld || this.users.size === 0) return;
    const pause = Math.max(PAUSE_MS, this.took * REST_FACTOR);
    this.timer = setTimeout(() => this.read(), pause);
  }

  /** Reads nothing again until it is released. */
  hold() {
    this.isHeld = true;
    clearTimeout(this.timer);
    this.timer = 0;
  }

  release() {
    this.isHeld = false;
    if (this.isStale) this.refresh();
  }

  /** Reads now; who asks meanwhile waits for the same answer. */
  read() {
    this.reading ??= this.take();
    return this.reading;
  }

  get isReading() {
    return this.reading !== null;
  }

  async take() {
    clearTimeout(this.timer);
    clearTimeout(this.lostTimer);
    this.timer = 0;
    this.isStale = false;
    const start = performance.now();
    try {
      if (this.format === 'text') this.data = await http.text(this.path);
      else ({ data: this.data, index: this.index } = await http.get(this.path));
      this.error = null;
    } catch (error) {
      // What was there before stays to be seen.
      this.error = error;
      if (error.status === 404) this.data = undefined;
      if (!error.status && this.users.size > 0) this.lostTimer = setTimeout(() => this.refresh(), LOST_MS);
    }
    this.at = performance.now();
    this.took = this.at - start;
    this.reading = null;
    for (const user of this.users) user();
    if (this.isStale) this.refresh();
  }
}

/** The answer at `path`, which changes with events of `topics`; not yet looked at. */
export function resource(path, topics = [], format = 'json') {
  const known = resources.get(path);
  if (known) {
    known.add(topics);
    resources.delete(path);
    resources.set(path, known);
    return known;
  }
  const made = new Resource(path, topics, format);
  resources.set(path, made);
  for (const [name, old] of resources) {
    if (resources.size <= KEPT_MAX) break;
    if (old.users.size === 0 && old !== made) resources.delete(name);
  }
  return made;
}

/** Removes what the page shows and leaves it. Nothing is read again meanwhile: what is gone is not found, and browsers note that as an error. */
export async function removeAndLeave(remove, leave) {
  const held = [...resources.values()].filter((own) => own.users.size > 0);
  for (const own of held) own.hold();
  try {
    await remove();
    leave();
  } finally {
    for (const own of held) own.release();
  }
}

/** Reads everything again that somebody looks at: for changes that no event tells of. */
export function refreshAll() {
  for (const own of resources.values()) if (own.users.size > 0) own.refresh();
}
