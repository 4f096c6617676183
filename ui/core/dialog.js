// Questions before something changes, and what came of it.

import { h, render } from './dom.js';
import { commandLine } from '../parts/command.js';

const element = document.getElementById('dialog');
const said = document.getElementById('said');
const SAID_MS = 8000;
let current = null;
let hide = 0;

element.addEventListener('close', () => {
  current = null;
  render(element, null);
});
element.addEventListener('click', (event) => {
  if (event.target === element && !current?.isBusy) element.close();
});
element.addEventListener('cancel', (event) => {
  if (current?.isBusy) event.preventDefault();
});

/**
 * Asks. `title`; `body(state, set)` describes the content; `action` `{label, isDanger, run(state)}`
 * does it and answers with what to say; `command(state)` is the line that does the same.
 */
export function dialog({ title, body, action, command, state = {} }) {
  current = { title, body, action, command, state, isBusy: false, problem: '' };
  draw();
  if (!element.open) element.showModal();
  const field = element.querySelector('input:not([type=checkbox]), textarea, select') ?? element.querySelector('.actions button');
  field?.focus();
}

function set(changes) {
  if (!current) return;
  Object.assign(current.state, changes);
  draw();
}

async function run(event) {
  event.preventDefault();
  const own = current;
  if (!own || own.isBusy || !own.action) return;
  own.isBusy = true;
  own.problem = '';
  draw();
  try {
    const text = await own.action.run(own.state);
    own.isBusy = false;
    if (current === own) element.close();
    if (text) say(text);
  } catch (error) {
    own.isBusy = false;
    own.problem = error.message;
    if (current === own) draw();
  }
}

function draw() {
  const own = current;
  const line = own.command?.(own.state);
  render(element, h('form', { onsubmit: run },
    h('h2', { id: 'dialog-title' }, own.title),
    h('div', { class: 'dialog-body' }, own.body?.(own.state, set)),
    line ? commandLine(line) : null,
    own.problem ? h('p', { class: 'problem', role: 'alert' }, own.problem) : null,
    h('div', { class: 'actions' },
      h('button', { type: 'button', onclick: () => element.close(), disabled: own.isBusy }, own.action ? 'Cancel' : 'Close'),
      own.action
        ? h('button', { type: 'submit', class: own.action.isDanger ? 'danger' : 'primary', disabled: own.isBusy }, own.isBusy ? 'Working…' : own.action.label)
        : null)));
}

/** Says in a corner what happened. */
export function say(text, isProblem = false) {
  render(said, h('p', { class: isProblem ? 'toast bad' : 'toast' }, text));
  clearTimeout(hide);
  hide = setTimeout(() => render(said, null), SAID_MS);
}
