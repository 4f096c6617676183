// What pages are put together from: heads, tabs, lists of facts, states, empty places.

import { h } from '../core/dom.js';
import { link } from '../core/router.js';
import { ago, clock, short, time } from '../core/format.js';

/** The head of a page: where it is, its name, what can be done. */
export function head({ trail = [], title, pills = [], actions = [] }) {
  return h('div', { class: 'head' },
    trail.length > 0
      ? h('p', { class: 'trail' }, trail.map(([label, path]) => [h('a', { href: link(path) }, h('bdi', null, label)), h('span', { 'aria-hidden': 'true' }, ' / ')]))
      : null,
    h('div', { class: 'title' },
      h('h1', null, h('bdi', null, title)),
      h('span', { class: 'pills' }, pills),
      h('div', { class: 'actions' }, actions)));
}

/** Tabs: `[name, label]` each; the first stands at the address without a name. */
export function tabs(entries, current, pathOf) {
  return h('div', { class: 'tabs' }, entries.map(([name, label, count]) =>
    h('a', { key: name, href: link(pathOf(name)), 'aria-current': name === current ? 'page' : undefined },
      label, count === undefined ? null : h('span', { class: 'count' }, String(count)))));
}

/** Pairs of a word and what it is. */
export function facts(pairs) {
  const shown = pairs.filter((pair) => pair && pair[1] !== undefined && pair[1] !== null && pair[1] !== '');
  return h('dl', { class: 'facts' }, shown.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));
}

export function button(label, run, options = {}) {
  return h('button', { type: 'button', class: options.class, disabled: options.disabled ?? false, onclick: run, title: options.title }, label);
}

const GOOD = new Set(['running', 'ready', 'alive', 'passing', 'successful', 'healthy', 'complete', 'success', 'eligible']);
const BAD = new Set(['failed', 'lost', 'down', 'critical', 'dead', 'failure', 'unhealthy', 'disconnected']);
const BUSY = new Set(['pending', 'starting', 'paused', 'warning', 'blocked', 'draining', 'initializing', 'unknown', 'canary', 'ineligible']);

/** The class of a state's color. */
export function tone(state) {
  const own = String(state ?? '').toLowerCase();
  if (GOOD.has(own)) return 'good';
  if (BAD.has(own)) return 'bad';
  if (BUSY.has(own)) return 'busy';
  return 'calm';
}

/** A state with its color, and the word for those who do not see it. */
export const state = (text, toned = tone(text)) => h('span', { class: `state ${toned}` }, text);
export const pill = (text, toned = 'calm') => h('span', { class: `pill ${toned}` }, text);

/** A moment: how long ago, with the time as its title. */
export function moment(value) {
  const at = time(value);
  if (at === 0) return '–';
  return h('time', { datetime: new Date(at).toISOString(), title: clock(value) }, ago(value));
}

/** An id: its start, with all of it as the title. */
export const id = (whole, path) =>
  path ? h('a', { href: link(path), title: whole, class: 'id' }, short(whole)) : h('code', { title: whole, class: 'id' }, short(whole));

/** What stands where there is nothing. */
export const empty = (...text) => h('p', { class: 'empty' }, text);

/** An error of the agent. */
export const problem = (error) => h('p', { class: 'problem', role: 'alert' }, error.message ?? String(error));

/** The answer of a resource when it is there, and otherwise why not. */
export function ready(own, show) {
  if (own.data !== undefined && own.data !== null) return show(own.data);
  if (own.error) return own.error.status === 404 ? empty(own.error.message || 'There is nothing here.') : problem(own.error);
  if (own.isLoading) return h('p', { key: 'loading', class: 'empty', 'aria-busy': 'true' }, 'Loading…');
  return empty('There is nothing here.');
}

/** A field that filters a list, kept in the address. */
export function filterField(label, value, onInput) {
  return h('input', {
    type: 'search',
    class: 'filter',
    placeholder: label,
    'aria-label': label,
    value,
    oninput: (event) => onInput(event.target.value),
  });
}

/** A choice of one of some words; the first means all. */
export function choice(label, options, value, onChange) {
  return h('select', { 'aria-label': label, value, onchange: (event) => onChange(event.target.value) },
    options.map(([own, text]) => h('option', { key: own, value: own }, text)));
}

export const section = (title, ...content) =>
  h('section', { 'aria-label': typeof title === 'string' ? title : undefined }, h('h2', null, title), content);

/** A number with what it is. */
export const figure = (value, label) => h('div', { class: 'figure' }, h('b', null, value), h('span', null, label));
