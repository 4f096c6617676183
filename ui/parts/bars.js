// Bars and lines: how many are in which state, how full something is, what went on lately.

import { h } from '../core/dom.js';
import { number } from '../core/format.js';

/** A bar of parts: `[count, tone, word]` each. */
export function statusBar(parts, label, grow) {
  const shown = parts.filter(([count]) => count > 0);
  const sum = shown.reduce((total, [count]) => total + count, 0);
  const text = shown.map(([count, , word]) => `${count} ${word}`).join(', ') || 'none';
  return h('div', { class: 'bar', role: 'img', 'aria-label': label ? `${label}: ${text}` : text, title: text, style: grow === undefined ? {} : { 'flex-grow': String(Math.max(1, grow)) } },
    shown.map(([count, tone, word]) => h('span', { key: word, class: tone, style: { width: `${(count / sum) * 100}%` } })));
}

const fullness = (part) => (part > 0.9 ? 'bad' : part > 0.75 ? 'busy' : 'good');

/** How much of something is taken, 0 to 1; `tone` says what color that has. */
export function meter(part, label, text, tone = fullness) {
  const full = Math.min(1, Math.max(0, part || 0));
  return h('div', { class: 'meter', role: 'meter', 'aria-label': label, 'aria-valuemin': '0', 'aria-valuemax': '100', 'aria-valuenow': String(Math.round(full * 100)), 'aria-valuetext': text, title: text },
    h('span', { class: tone(full), style: { width: full > 0 ? `max(2px, ${full * 100}%)` : '0' } }));
}

/** A line of the last values; the newest stands right. */
export function spark(values, { label, count = 90, top = 0, tone = 'good' } = {}) {
  const [width, height] = [240, 40];
  const most = Math.max(top, 1e-9, ...values);
  const step = width / Math.max(1, count - 1);
  const start = width - (values.length - 1) * step;
  const points = values.map((value, at) => `${(start + at * step).toFixed(1)},${(height - 2 - (value / most) * (height - 4)).toFixed(1)}`);
  const last = values.at(-1) ?? 0;
  return h('svg', { class: `spark ${tone}`, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `${label}: ${number(last)} now, ${number(Math.max(0, ...values))} at most` },
    points.length > 1 ? h('polyline', { points: points.join(' '), fill: 'none', 'vector-effect': 'non-scaling-stroke' }) : null);
}

const PARTS = [
  ['Running', 'good', 'running'],
  ['Starting', 'busy', 'starting'],
  ['Queued', 'wait', 'queued'],
  ['Unknown', 'busy', 'unknown'],
  ['Failed', 'bad', 'failed'],
  ['Lost', 'bad', 'lost'],
  ['Complete', 'done', 'complete'],
];

/** The parts of a status bar of counts by state. */
export const stateParts = (counts) => PARTS.map(([name, tone, word]) => [counts[name] ?? 0, tone, word]);
