// Lines of output, of one task or of many: a bounded number of them, of which only those in view
// exist. Follows the end until somebody scrolls up.

import { ansi } from './ansi.js';

const LINE_PX = 19;
const AROUND = 30;
// Lines that are kept; the oldest go first.
const LINES_MAX = 20000;
// Characters of a line that are shown; the rest is counted.
const SHOWN_MAX = 4000;

/** Lines with where they come from. */
export class Lines {
  constructor() {
    this.all = [];
    this.dropped = 0;
    this.rests = new Map();
    this.changed = () => {};
  }

  clear() {
    this.all = [];
    this.dropped = 0;
    this.rests.clear();
    this.changed();
  }

  /** Takes a piece of output of `source` (`{name, tone, isError}`), of which lines may be cut. */
  push(key, source, text, at = Date.now()) {
    const rest = this.rests.get(key) ?? '';
    const parts = (rest + text).split('\n');
    let last = parts.pop();
    for (const part of parts) this.add(source, part, at);
    // A line without an end is not kept for ever.
    if (last.length > 2_000_000) {
      this.add(source, last, at);
      last = '';
    }
    this.rests.set(key, last);
    this.changed();
  }

  /** The end of `key`: what is left is a line. */
  end(key, source) {
    const rest = this.rests.get(key);
    this.rests.delete(key);
    if (rest) this.add(source, rest, Date.now());
    this.changed();
  }

  /** Says something that no task wrote. */
  note(text) {
    this.all.push({ source: null, text, at: Date.now() });
    this.changed();
  }

  add(source, text, at) {
    this.all.push({ source, text: text.endsWith('\r') ? text.slice(0, -1) : text, at });
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
  let isOwnScroll = false;

  const draw = () => {
    frame = 0;
    shown = args.filter ? args.lines.all.filter(args.filter) : args.lines.all;
    space.style.height = `${shown.length * LINE_PX}px`;
    if (args.isFollowing) {
      const bottom = host.scrollHeight - host.clientHeight;
      if (Math.abs(host.scrollTop - bottom) > 1) {
        isOwnScroll = true;
        host.scrollTop = bottom;
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
    if (isOwnScroll) {
      isOwnScroll = false;
    } else {
      const isAtEnd = host.scrollHeight - host.clientHeight - host.scrollTop < LINE_PX;
      if (isAtEnd !== args.isFollowing) args.onFollow?.(isAtEnd);
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
