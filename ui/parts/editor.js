// A text field with line numbers, colors and problems at their place. The field itself is the
// browser's, so that selecting, undoing, input methods and screen readers work as everywhere; the
// colored lines lie under it and only those in view exist.

import { START, pieces } from './highlight.js';

const LINE_PX = 20;
const AROUND = 12;
// Longer lines are shown without colors.
const COLORED_MAX = 2000;

/** For the island of an element: `args` is `{text, problems, label, placeholder, isReadOnly, onInput, onRun}`. */
export function editor(host) {
  const pane = document.createElement('div');
  pane.className = 'editor-pane';
  const lines = document.createElement('div');
  lines.className = 'editor-lines';
  lines.setAttribute('aria-hidden', 'true');
  const field = document.createElement('textarea');
  field.spellcheck = false;
  field.autocapitalize = 'off';
  field.autocomplete = 'off';
  field.wrap = 'off';
  pane.append(lines, field);
  host.append(pane);
  let args = {};
  let text = [];
  let states = [START];
  let frame = 0;

  const draw = () => {
    frame = 0;
    const from = Math.max(0, Math.floor(field.scrollTop / LINE_PX) - AROUND);
    const to = Math.min(text.length, Math.ceil((field.scrollTop + field.clientHeight) / LINE_PX) + AROUND);
    for (let at = states.length; at <= to; at += 1) {
      const own = text[at - 1] ?? '';
      states[at] = own.length > COLORED_MAX ? states[at - 1] : pieces(own, states[at - 1])[1];
    }
    const problems = new Map();
    for (const own of args.problems ?? []) {
      const at = Math.max(0, (own.line ?? 1) - 1);
      problems.set(at, [...(problems.get(at) ?? []), own]);
    }
    const shown = [];
    for (let at = from; at < to; at += 1) shown.push(line(at, problems.get(at)));
    lines.replaceChildren(...shown);
    lines.style.transform = `translate(0, ${from * LINE_PX - field.scrollTop}px)`;
    lines.style.setProperty('--left', `${-field.scrollLeft}px`);
  };
  const line = (at, problems) => {
    const row = document.createElement('div');
    row.className = problems ? 'editor-line bad' : 'editor-line';
    const count = document.createElement('span');
    count.className = 'number';
    count.textContent = at + 1;
    const content = document.createElement('span');
    content.className = 'content';
    const own = text[at];
    const parts = own.length > COLORED_MAX ? [['plain', own]] : pieces(own, states[at])[0];
    let column = 0;
    for (const [kind, piece] of parts) {
      const span = document.createElement('span');
      span.className = `t-${kind}`;
      span.textContent = piece;
      if (problems?.some((problem) => problem.column && column < problem.endColumn - 1 && column + piece.length > problem.column - 1)) span.classList.add('wrong');
      column += piece.length;
      content.append(span);
    }
    row.append(count, content);
    return row;
  };
  const later = () => {
    if (!frame) frame = requestAnimationFrame(draw);
  };
  const read = () => {
    text = field.value.split('\n');
    states = [START];
    later();
  };
  const typed = () => {
    read();
    args.onInput?.(field.value);
  };
  field.addEventListener('input', typed);
  field.addEventListener('scroll', later);
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      args.onRun?.();
    } else if (event.key === 'Tab' && !event.ctrlKey && !event.altKey && !event.metaKey && !event.shiftKey && !field.readOnly && !host.leaves) {
      event.preventDefault();
      field.setRangeText('  ', field.selectionStart, field.selectionEnd, 'end');
      typed();
    } else if (event.key === 'Enter' && !field.readOnly) {
      const start = field.value.lastIndexOf('\n', field.selectionStart - 1) + 1;
      const [indent] = /^[ \t]*/.exec(field.value.slice(start, field.selectionStart));
      if (indent === '') return;
      event.preventDefault();
      field.setRangeText(`\n${indent}`, field.selectionStart, field.selectionEnd, 'end');
      typed();
    }
    // Escape and then Tab leaves the field by keys.
    host.leaves = event.key === 'Escape';
  });
  const observer = new ResizeObserver(later);
  observer.observe(field);
  return {
    update(next) {
      const isFirst = args.label === undefined;
      args = next;
      field.setAttribute('aria-label', next.label);
      field.setAttribute('aria-invalid', String((next.problems ?? []).length > 0));
      field.placeholder = next.placeholder ?? '';
      field.readOnly = Boolean(next.isReadOnly);
      if (isFirst || (next.text !== field.value && document.activeElement !== field) || next.revision !== host.revision) {
        host.revision = next.revision;
        if (field.value !== next.text) {
          field.value = next.text;
          field.scrollTop = 0;
        }
        read();
      }
      later();
    },
    destroy() {
      observer.disconnect();
      cancelAnimationFrame(frame);
    },
  };
}

/** Brings a line of the editor in `host` into view. */
export function goToLine(host, line, column = 1) {
  const field = host.querySelector('textarea');
  const lines = field.value.split('\n');
  let at = 0;
  for (let own = 0; own < line - 1 && own < lines.length; own += 1) at += lines[own].length + 1;
  at += column - 1;
  field.focus();
  field.setSelectionRange(at, at);
  field.scrollTop = Math.max(0, (line - 6) * LINE_PX);
}
