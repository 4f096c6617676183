// Lines of output, of one task or of many: a bounded number of them, of which only those in view
// exist. Follows the end until somebody scrolls up.

import { ansi } from './ansi.js';

const LINE_PX = 19;
const AROUND = 30;
// Lines that are kept; the oldest go first.
const LINES_MAX = 20000;
// Characters of a line that are shown; the rest is counted.
const SHOWN_MAX = 4000;

// A time with its zone near the start of a line, as most programs write it.
const STAMP = /(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)/;
const STAMP_AT_MAX = 80;

/** Milliseconds of the time that a line says; null without one. */
function stampOf(text) {
  const found = STAMP.exec(text.slice(0, STAMP_AT_MAX));
  if (!found) return null;
  const [, date, time, part = '0', zone] = found;
  const at = Date.parse(`${date}T${time}.${part.slice(0, 3).padEnd(3, '0')}${zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone}`);
  return Number.isNaN(at) ? null : at;
}

/**
 * Lines with where they come from, in the order of their times. What a task writes has none of its own:
 * a line that says one stands there, and what follows it in the same piece stands behind it; any other
 * stands at the time at which it came.
 */
export class Lines {
  constructor() {
    this.all = [];
    this.dropped = 0;
    this.rests = new Map();
    // The time of the last line of each output: its lines stay in their order.
    this.newest = new Map();
    this.changed = () => {};
  }

  clear() {
    this.all = [];
    this.dropped = 0;
    this.rests.clear();
    this.newest.clear();
    this.changed();
  }

  /** Takes a piece of output of `source` (`{name, tone, isError}`), of which lines may be cut. */
  push(key, source, text, at = Date.now()) {
    const rest = this.rests.get(key) ?? '';
    const parts = (rest + text).split('\n');
    let last = parts.pop();
    const taken = [];
    for (const part of parts) taken.push(this.line(key, source, part, at, taken.at(-1)));
    // A line without an end is not kept for ever.
    if (last.length > 2_000_000) {
      taken.push(this.line(key, source, last, at, taken.at(-1)));
      last = '';
    }
    this.rests.set(key, last);
    this.merge(taken);
    this.changed();
  }

  /** The end of `key`: what is left is a line. */
  end(key, source) {
    const rest = this.rests.get(key);
    this.rests.delete(key);
    if (rest) this.merge([this.line(key, source, rest, Date.now())]);
    this.newest.delete(key);
    this.changed();
  }

  /** Says something that no task wrote. */
  note(text) {
    this.merge([{ source: null, text, at: Date.now() }]);
    this.changed();
  }

  line(key, source, text, now, before) {
    const stamp = stampOf(text) ?? (before?.isStamped ? before.at : null);
    // Nothing was written after it came.
    const at = Math.max(this.newest.get(key) ?? 0, Math.min(stamp ?? now, now));
    this.newest.set(key, at);
    return { source, text: text.endsWith('\r') ? text.slice(0, -1) : text, at, isStamped: stamp !== null };
  }

  /** Takes in lines that are in the order of their times. */
  merge(taken) {
    if (taken.length === 0) return;
    let from = this.all.length;
    while (from > 0 && this.all[from - 1].at > taken[0].at) from -= 1;
    const after = this.all.splice(from);
    let at = 0;
    for (const own of taken) {
      while (at < after.length && after[at].at <= own.at) this.all.push(after[at++]);
      this.all.push(own);
    }
    while (at < after.length) this.all.push(after[at++]);
    if (this.all.length > LINES_MAX * 1.1) {
      const over = this.all.length - LINES_MAX;
      this.all.splice(0, over);
      this.dropped += over;
    }
  }
}

/** For the island of an element: `args` is `{lines, filter(line) or null, withSource, isFollowing, onFollow}`. */
export function logView(host) {
  const space = document.createElement('div');
  const view = document.createElement('div');
  host.append(space);
  space.append(view);
  host.tabIndex = 0;
  host.setAttribute('role', 'log');
  host.setAttribute('aria-live', 'off');
  let args = {};
  let frame = 0;
  let shown = [];
  // Where it was scrolled last to follow the end.
  let ownTop = null;

  const draw = () => {
    frame = 0;
    shown = args.filter ? args.lines.all.filter(args.filter) : args.lines.all;
    space.style.height = `${shown.length * LINE_PX}px`;
    if (args.isFollowing) {
      const bottom = host.scrollHeight - host.clientHeight;
      if (Math.abs(host.scrollTop - bottom) > 1) {
        host.scrollTop = bottom;
        ownTop = host.scrollTop;
      }
    }
    const from = Math.max(0, Math.floor(host.scrollTop / LINE_PX) - AROUND);
    const to = Math.min(shown.length, Math.ceil((host.scrollTop + host.clientHeight) / LINE_PX) + AROUND);
    view.style.transform = `translateY(${from * LINE_PX}px)`;
    view.replaceChildren(...shown.slice(from, to).map(row));
  };
  const row = (line) => {
    if (line.element && line.withSource === args.withSource) return line.element;
    const element = document.createElement('div');
    element.className = line.source === null ? 'log-line note' : line.source.isError ? 'log-line error' : 'log-line';
    if (args.withSource && line.source) {
      const name = document.createElement('span');
      name.className = `source s${line.source.tone}`;
      name.textContent = line.source.name;
      element.append(name);
    }
    const text = document.createElement('bdi');
    for (const piece of ansi(line.text.slice(0, SHOWN_MAX))) {
      const span = document.createElement('span');
      if (piece.class) span.className = piece.class;
      span.textContent = piece.text;
      text.append(span);
    }
    element.append(text);
    if (line.text.length > SHOWN_MAX) {
      const more = document.createElement('em');
      more.textContent = ` … ${line.text.length - SHOWN_MAX} more characters`;
      element.append(more);
    }
    line.element = element;
    line.withSource = args.withSource;
    return element;
  };
  const later = () => {
    if (!frame) frame = requestAnimationFrame(draw);
  };
  host.addEventListener('scroll', () => {
    // One event tells of all that happened since the last frame: somebody may have scrolled after we did.
    const isOwn = host.scrollTop === ownTop;
    ownTop = null;
    if (!isOwn) {
      const isAtEnd = host.scrollHeight - host.clientHeight - host.scrollTop < LINE_PX;
      if (isAtEnd !== args.isFollowing) {
        // At once: what is drawn before the page tells of it must not scroll back.
        args = { ...args, isFollowing: isAtEnd };
        args.onFollow?.(isAtEnd);
      }
    }
    later();
  });
  const observer = new ResizeObserver(later);
  observer.observe(host);
  return {
    update(next) {
      args = next;
      args.lines.changed = later;
      host.setAttribute('aria-label', next.label ?? 'Output');
      later();
    },
    destroy() {
      observer.disconnect();
      cancelAnimationFrame(frame);
      args.lines.changed = () => {};
    },
  };
}
