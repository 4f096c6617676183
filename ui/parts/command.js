// The line of the command line that does or shows the same.

import { h } from '../core/dom.js';
import { say } from '../core/dialog.js';

export function commandLine(line) {
  return h('div', { class: 'command' },
    h('code', null, line),
    h('button', {
      type: 'button',
      class: 'quiet',
      'aria-label': `Copy the command ${line}`,
      title: 'Copy',
      onclick: () => copy(line),
    }, 'Copy'));
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say('Copied.');
  } catch {
    say('The browser does not let this page copy; select the text instead.', true);
  }
}
