// A terminal in a task, over the web socket that `alloc exec` uses.

import { h } from '../../core/dom.js';
import { command, quoted, short } from '../../core/format.js';
import { button, empty } from '../../parts/frame.js';
import { commandLine } from '../../parts/command.js';
import { Screen } from '../../parts/screen.js';

const ALIVE_MS = 10000;
const SHELL = '/bin/sh';

export function terminal(own, alloc) {
  if (own.cx.isReadOnly) return empty('This agent\'s web UI is read-only.');
  if (alloc.ClientStatus !== 'running') return empty('It does not run.');
  const tasks = own.tasksOf(alloc).filter((name) => alloc.TaskStates?.[name]?.State === 'running');
  const form = own.part('terminal', () => ({ task: tasks[0] ?? '', line: SHELL, session: null, count: 0 }));
  const start = () => {
    form.session = new Session(alloc.ID, form.task, words(form.line), own.cx.update);
    own.cx.onEnd(() => form.session?.close());
    form.count += 1;
    own.cx.update();
  };
  return [
    h('form', { class: 'filters', onsubmit: (event) => {
      event.preventDefault();
      if (form.session?.isOpen) form.session.close();
      else start();
    } },
    tasks.length > 1 ? h('select', { 'aria-label': 'Task', value: form.task, onchange: (event) => {
      form.task = event.target.value;
      own.cx.update();
    } }, tasks.map((name) => h('option', { key: name, value: name }, name))) : null,
    h('input', { 'aria-label': 'Command', class: 'code', value: form.line, oninput: (event) => {
      form.line = event.target.value;
      own.cx.update();
    } }),
    h('button', { type: 'submit', class: form.session?.isOpen ? 'danger' : 'primary' }, form.session?.isOpen ? 'End' : 'Start'),
    form.session ? h('span', { class: 'note', role: 'status' }, form.session.state) : null,
    form.session?.isOpen ? button('Focus', () => document.querySelector('.terminal textarea')?.focus()) : null),
    form.session ? h('div', { key: `terminal ${form.count}`, class: 'terminal', island: screenView, args: form.session }) : empty('Start a command; keys go to it until Ctrl+Shift+Esc.'),
    commandLine(`${command('alloc', 'exec', '-i', '-t', '-task', form.task, short(alloc.ID))} ${words(form.line).map(quoted).join(' ')}`),
  ];
}

/** Words of a line, with quotes as in a shell. */
export function words(line) {
  const out = [];
  const pattern = /"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+)/g;
  for (const [, double, single, plain] of line.matchAll(pattern)) out.push(double !== undefined ? double.replace(/\\(.)/g, '$1') : single ?? plain);
  return out.length > 0 ? out : [SHELL];
}

class Session {
  constructor(id, task, line, update) {
    this.update = update;
    this.state = 'connecting';
    this.isOpen = true;
    this.screen = new Screen(80, 24);
    this.screen.answer = (text) => this.send(text);
    this.changed = () => {};
    this.decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
    const query = new URLSearchParams({ task, tty: 'true', ws_handshake: 'true', command: JSON.stringify(line) });
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.socket = new WebSocket(`${scheme}://${location.host}/v1/client/allocation/${encodeURIComponent(id)}/exec?${query}`);
    this.socket.onopen = () => {
      this.state = 'connected';
      this.post({ version: 1, auth_token: '' });
      this.size(this.screen.width, this.screen.height);
      this.alive = setInterval(() => this.post({}), ALIVE_MS);
      this.update();
    };
    this.socket.onmessage = (event) => this.take(JSON.parse(event.data));
    this.socket.onclose = (event) => {
      clearInterval(this.alive);
      this.isOpen = false;
      if (!this.state.startsWith('ended')) this.state = event.reason || (this.state === 'connecting' ? 'the agent refused the connection' : 'the connection ended');
      this.update();
    };
  }

  take(message) {
    for (const name of ['stdout', 'stderr']) {
      const data = message[name]?.data;
      if (!data) continue;
      const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
      this.screen.write(this.decoders[name].decode(bytes, { stream: true }));
      this.changed();
    }
    if (message.exited) {
      this.state = `ended with ${message.result?.exit_code ?? 0}`;
      this.update();
    }
  }

  post(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  send(text) {
    const bytes = new TextEncoder().encode(text);
    let letters = '';
    for (const byte of bytes) letters += String.fromCharCode(byte);
    this.post({ stdin: { data: btoa(letters) } });
  }

  size(width, height) {
    this.screen.resize(width, height);
    this.post({ tty_size: { width, height } });
  }

  close() {
    this.socket.close();
  }
}

const KEYS = {
  Enter: '\r', Backspace: '\x7f', Tab: '\t', Escape: '\x1b', Delete: '\x1b[3~', PageUp: '\x1b[5~', PageDown: '\x1b[6~', Insert: '\x1b[2~',
  F1: '\x1bOP', F2: '\x1bOQ', F3: '\x1bOR', F4: '\x1bOS', F5: '\x1b[15~', F6: '\x1b[17~', F7: '\x1b[18~', F8: '\x1b[19~', F9: '\x1b[20~', F10: '\x1b[21~',
};
const ARROWS = { ArrowUp: 'A', ArrowDown: 'B', ArrowRight: 'C', ArrowLeft: 'D', Home: 'H', End: 'F' };

/** The element of a session's screen. */
function screenView(host) {
  const rows = document.createElement('div');
  rows.className = 'screen';
  rows.setAttribute('role', 'log');
  rows.setAttribute('aria-label', 'Output of the command');
  const field = document.createElement('textarea');
  field.setAttribute('aria-label', 'Input of the command');
  field.autocapitalize = 'off';
  field.spellcheck = false;
  host.append(rows, field);
  let session = null;
  let frame = 0;
  let letter = { width: 8, height: 18 };
  let isFocused = false;

  const measure = () => {
    const probe = document.createElement('span');
    probe.textContent = 'M'.repeat(40);
    rows.append(probe);
    const box = probe.getBoundingClientRect();
    probe.remove();
    if (box.width > 0) letter = { width: box.width / 40, height: box.height };
  };
  const fit = () => {
    if (!session) return;
    measure();
    const style = getComputedStyle(rows);
    const width = Math.max(20, Math.min(300, Math.floor((rows.clientWidth - parseFloat(style.paddingLeft) * 2) / letter.width)));
    const height = Math.max(5, Math.min(100, Math.floor((rows.clientHeight - parseFloat(style.paddingTop) * 2) / letter.height)));
    if (width !== session.screen.width || height !== session.screen.height) session.size(width, height);
    later();
  };
  const later = () => {
    if (!frame) frame = requestAnimationFrame(draw);
  };
  const draw = () => {
    frame = 0;
    const { screen } = session;
    const isAtEnd = rows.scrollHeight - rows.scrollTop - rows.clientHeight < letter.height;
    const shown = screen.main === null ? [...screen.history, ...screen.rows] : screen.rows;
    const offset = shown.length - screen.rows.length;
    rows.replaceChildren(...shown.map((row, at) => line(row, at - offset === screen.y && screen.isCursorShown && session.isOpen ? screen.x : -1)));
    if (isAtEnd) rows.scrollTop = rows.scrollHeight;
  };
  const line = (row, cursor) => {
    const element = document.createElement('div');
    let at = 0;
    let last = row.length;
    while (last > 0 && row[last - 1].letter === ' ' && row[last - 1].style === '' && last - 1 > cursor) last -= 1;
    while (at < last) {
      const { style } = row[at];
      const isCursor = at === cursor;
      let end = at + 1;
      while (!isCursor && end < last && end !== cursor && row[end].style === style) end += 1;
      const span = document.createElement('span');
      span.className = isCursor ? `${style} cursor` : style;
      span.textContent = row.slice(at, end).map((cell) => cell.letter).join('');
      element.append(span);
      at = end;
    }
    if (last === 0) element.textContent = '\u00a0';
    return element;
  };
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && event.ctrlKey && event.shiftKey) {
      field.blur();
      return;
    }
    let text = KEYS[event.key];
    if (ARROWS[event.key]) text = `\x1b${session.screen.keysOfApplication ? 'O' : '['}${ARROWS[event.key]}`;
    if (event.ctrlKey && !event.altKey && !event.metaKey && event.key.length === 1) {
      if (event.shiftKey && 'cv'.includes(event.key.toLowerCase())) return;
      const code = event.key.toUpperCase().charCodeAt(0) & 31;
      text = String.fromCharCode(code);
    } else if (event.altKey && event.key.length === 1) {
      text = `\x1b${event.key}`;
    }
    if (text === undefined || event.metaKey) return;
    event.preventDefault();
    session.send(text);
  });
  field.addEventListener('input', () => {
    if (field.value) session.send(field.value.replaceAll('\n', '\r'));
    field.value = '';
  });
  rows.addEventListener('click', () => {
    if (getSelection().isCollapsed) field.focus({ preventScroll: true });
  });
  const observer = new ResizeObserver(fit);
  observer.observe(host);
  return {
    update(next) {
      session = next;
      session.changed = later;
      if (!isFocused) {
        isFocused = true;
        requestAnimationFrame(() => {
          fit();
          field.focus({ preventScroll: true });
        });
      }
      later();
    },
    destroy() {
      observer.disconnect();
      cancelAnimationFrame(frame);
      session?.close();
    },
  };
}
