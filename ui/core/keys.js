// Keys: `/` search, `j` and `k` through the rows, `g` and a letter to a page, `?` what there is.

import { h } from './dom.js';
import { dialog } from './dialog.js';
import { go } from './router.js';

const PLACES = {
  h: ['/', 'Home'],
  j: ['/jobs', 'Jobs'],
  s: ['/services', 'Services'],
  r: ['/routes', 'Routes'],
  t: ['/topology', 'Topology'],
  e: ['/evaluations', 'Evaluations'],
  k: ['/kv', 'KV'],
  v: ['/variables', 'Variables'],
  n: ['/jobs/run', 'Run a job'],
};

let isGoing = false;

/** Listens to keys; `page` answers with the page that is shown. */
export function keys(page) {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector('dialog[open]')) return;
    const key = event.key;
    if (isGoing) {
      isGoing = false;
      if (PLACES[key]) {
        event.preventDefault();
        go(PLACES[key][0]);
      }
      return;
    }
    if (key === '/') {
      const field = document.querySelector('main input[type=search]') ?? document.getElementById('search');
      event.preventDefault();
      field?.focus();
      field?.select();
    } else if (key === 'j' || key === 'k') {
      event.preventDefault();
      move(key === 'j' ? 1 : -1);
    } else if (key === '?') {
      event.preventDefault();
      help();
    } else if (key === 'g') {
      isGoing = true;
    } else {
      page()?.key?.(key, event);
    }
  });
}

function isTyping(target) {
  return target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName) || target.closest?.('.terminal');
}

function move(step) {
  const rows = [...document.querySelectorAll('main [data-row]')];
  if (rows.length === 0) return;
  const at = rows.indexOf(document.activeElement);
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: 'nearest' });
}

/** Shows all keys. */
export function help() {
  const rows = [
    ['/', 'search'],
    ['j, k', 'next and previous row; Enter opens it'],
    ...Object.entries(PLACES).map(([key, [, label]]) => [`g ${key}`, label]),
    ['Esc', 'close'],
    ['?', 'this list'],
  ];
  dialog({
    title: 'Keys',
    body: () => h('table', { class: 'plain', 'aria-label': 'Keys' }, h('tbody', null, rows.map(([key, text]) =>
      h('tr', null, h('th', { scope: 'row' }, h('kbd', null, key)), h('td', null, text))))),
  });
}
