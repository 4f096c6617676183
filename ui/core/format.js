// Numbers, times and names as people read them.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(count) {
  let value = Number(count) || 0;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? value.toFixed(0) : value.toFixed(1)} ${UNITS[unit]}`;
}

export const mib = (count) => bytes((Number(count) || 0) * 1024 * 1024);

// Made once: to make one takes longer than to use it a hundred times.
const DIGITS = new Intl.NumberFormat('en-US', { maximumFractionDigits: 1 });

export const number = (value) => DIGITS.format(Number(value) || 0);

/** A rate: three digits that matter. */
export function rate(value) {
  const own = Number(value) || 0;
  if (own === 0) return '0';
  if (own < 10) return own.toFixed(1);
  return number(Math.round(own));
}

export function percent(part) {
  const own = (Number(part) || 0) * 100;
  if (own === 0 || own === 100) return `${own} %`;
  if (own < 0.1) return '< 0.1 %';
  if (own > 99.9) return '> 99.9 %';
  return `${own.toFixed(own < 10 ? 1 : 0)} %`;
}

export function milliseconds(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return '–';
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
}

/** Milliseconds since 1970 of a time of the API: nanoseconds, or text. 0 for none. */
export function time(value) {
  if (!value) return 0;
  if (typeof value === 'number') return value / 1e6;
  const ms = Date.parse(value);
  return Number.isNaN(ms) || ms < 0 ? 0 : ms;
}

export function duration(ms) {
  let seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  const days = Math.floor(seconds / 86400);
  seconds -= days * 86400;
  const hours = Math.floor(seconds / 3600);
  seconds -= hours * 3600;
  const minutes = Math.floor(seconds / 60);
  seconds -= minutes * 60;
  if (days > 0) return `${days}d${hours}h`;
  if (hours > 0) return `${hours}h${minutes}m`;
  return `${minutes}m${seconds}s`;
}

const UNIT_NS = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 6e10, h: 3.6e12 };

/** Nanoseconds of a time such as `1h30m`; null for anything else. */
export function nanosecondsOf(text) {
  if (!/^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/.test(text)) return null;
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g);
  return Math.round([...parts].reduce((sum, [, count, unit]) => sum + Number(count) * UNIT_NS[unit], 0));
}

/** The same the other way, exactly: `90m`, `1h`. */
export function spanOf(nanoseconds) {
  const [unit, size] = [['h', 3.6e12], ['m', 6e10], ['s', 1e9]].find(([, own]) => nanoseconds % own === 0) ?? ['ns', 1];
  return `${nanoseconds / size}${unit}`;
}

export function ago(value, now = Date.now()) {
  const at = time(value);
  return at === 0 ? '–' : `${duration(now - at)} ago`;
}

export function clock(value) {
  const at = time(value);
  if (at === 0) return '–';
  const date = new Date(at);
  const two = (part) => String(part).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export const short = (id) => (id ?? '').slice(0, 8);

/** `3 allocations`, `1 allocation`. */
export const counted = (count, noun, nouns = `${noun}s`) => `${number(count)} ${count === 1 ? noun : nouns}`;

/** A word as a shell takes it. */
export function quoted(word) {
  const text = String(word);
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The line that does the same in a terminal. */
export const command = (...words) => ['trivet', ...words.filter((word) => word !== '').map(quoted)].join(' ');
