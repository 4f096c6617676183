// The key-value store, as folders.

import { h } from '../core/dom.js';
import * as http from '../core/http.js';
import { dialog } from '../core/dialog.js';
import { refreshAll, removeAndLeave } from '../core/store.js';
import { go, link, segment, setQuery } from '../core/router.js';
import { command, counted } from '../core/format.js';
import { button, empty, facts, filterField, head, pill, ready } from '../parts/frame.js';
import { Table, rowLink } from '../parts/table.js';
import { commandLine } from '../parts/command.js';

const BASE = '/v1/trivet/catalog/v1/kv/';
const encoded = (key) => key.split('/').map(segment).join('/');
const path = (key, isKey) => `/kv/${encoded(key)}${isKey ? '?key=true' : ''}`;

/** Bytes of base64; text if they are some. */
export function decoded(value) {
  const bytes = Uint8Array.from(atob(value ?? ''), (letter) => letter.charCodeAt(0));
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes), bytes };
  } catch {
    return { text: null, bytes };
  }
}

export default function page(cx) {
  const rest = cx.parameters.rest ?? [];
  const isKey = cx.query.get('key') === 'true';
  const own = { draft: null, of: null };
  const table = new Table(cx, {
    label: 'Keys',
    key: (name) => name,
    columns: [{ label: 'Key', class: 'grow', sort: (name) => name, cell: (name) => rowLink(link(name.endsWith('/') ? path(name) : path(name, true)), name.slice(prefixOf(rest).length)) }],
  });
  return {
    title: () => (rest.length > 0 ? rest.join('/') : 'KV'),
    view() {
      const name = rest.join('/');
      return cx.query.get('key') === 'true' || isKey ? one(cx, own, name) : folder(cx, table, rest);
    },
  };
}

const prefixOf = (rest) => (rest.length > 0 ? `${rest.join('/')}/` : '');

function trail(parts) {
  return [['KV', '/kv'], ...parts.map((part, at) => [part, path(`${parts.slice(0, at + 1).join('/')}/`)])];
}

function folder(cx, table, rest) {
  const prefix = prefixOf(rest);
  const keys = cx.use(`${BASE}${encoded(prefix)}?keys&separator=/&optional`, ['Key']);
  const text = cx.query.get('text') ?? '';
  const none = () => empty(prefix ? 'There are no keys below it.' : 'There are no keys.');
  return [
    head({ trail: rest.length > 0 ? trail(rest.slice(0, -1)) : [], title: rest.length > 0 ? `${rest.at(-1)}/` : 'KV', actions: cx.isReadOnly ? [] : [button('New key', () => create(prefix), { class: 'primary' })] }),
    h('div', { class: 'filters' }, filterField('Filter by name', text, (value) => setQuery({ text: value }))),
    ready(keys, (found) => {
      const shown = found.filter((key) => key.toLowerCase().includes(text.toLowerCase()));
      return found.length === 0 ? none() : [h('p', { class: 'count' }, counted(shown.length, 'entry', 'entries')), table.view(shown)];
    }),
    commandLine(command('kv', 'get', '-keys', '-separator', '/', prefix || '')),
  ];
}

function create(prefix) {
  dialog({
    title: 'New key',
    state: { key: prefix, value: '' },
    body: (state, set) => [
      h('label', null, 'Key', h('input', { class: 'code', value: state.key, required: true, oninput: (event) => set({ key: event.target.value }) })),
      h('label', null, 'Value', h('textarea', { rows: '8', class: 'code', spellcheck: 'false', value: state.value, oninput: (event) => set({ value: event.target.value }) })),
    ],
    command: (state) => command('kv', 'put', '-cas', '-modify-index', '0', state.key, state.value.length > 200 ? '-' : state.value),
    action: { label: 'Put', run: async (state) => {
      const isDone = await http.put(`${BASE}${encoded(state.key)}?cas=0`, state.value);
      if (isDone !== true) throw new Error('There is such a key already.');
      refreshAll();
      go(path(state.key, true));
      return `${state.key} was made.`;
    } },
  });
}

function one(cx, own, name) {
  const read = cx.use(`${BASE}${encoded(name)}`, [`Key:${name}`]);
  const parts = name.split('/');
  return [
    head({ trail: trail(parts.slice(0, -1)), title: parts.at(-1), actions: cx.isReadOnly || !read.data ? [] : [button('Delete', () => remove(name, read.data[0]), { class: 'danger' })] }),
    ready(read, ([row]) => {
      const value = decoded(row.Value);
      const isEdited = own.draft !== null;
      const isBehind = isEdited && own.of !== row.ModifyIndex;
      return [
        row.Session ? h('p', null, pill('locked', 'busy'), ' by session ', h('code', null, row.Session)) : null,
        value.text === null
          ? h('p', { class: 'empty' }, `The value is no text: ${counted(value.bytes.length, 'byte')}.`)
          : h('label', { class: 'stacked' }, 'Value', h('textarea', { rows: '14', class: 'code', spellcheck: 'false', readOnly: cx.isReadOnly, value: own.draft ?? value.text, oninput: (event) => {
            own.of ??= row.ModifyIndex;
            own.draft = event.target.value;
            cx.update();
          } })),
        isBehind ? h('p', { class: 'warning' }, 'Somebody else changed it meanwhile. Discard yours to see it.') : null,
        isEdited ? h('div', { class: 'actions' },
          button('Discard', () => {
            own.draft = own.of = null;
            cx.update();
          }),
          button('Save', () => save(cx, own, name), { class: 'primary', disabled: isBehind })) : null,
        facts([['Created at index', String(row.CreateIndex)], ['Changed at index', String(row.ModifyIndex)], ['Lock index', String(row.LockIndex)], ['Flags', String(row.Flags)]]),
      ];
    }),
    commandLine(command('kv', 'get', name)),
  ];
}

function save(cx, own, name) {
  dialog({
    title: `Put ${name}?`,
    body: () => h('p', null, 'The value is replaced, unless somebody else changes it before.'),
    command: () => command('kv', 'put', '-cas', '-modify-index', own.of, name, own.draft.length > 200 ? '-' : own.draft),
    action: { label: 'Put', run: async () => {
      const isDone = await http.put(`${BASE}${encoded(name)}?cas=${own.of}`, own.draft);
      if (isDone !== true) throw new Error('Somebody else changed it meanwhile.');
      own.draft = own.of = null;
      refreshAll();
      cx.update();
      return `${name} was put.`;
    } },
  });
}

function remove(name, row) {
  dialog({
    title: `Delete ${name}?`,
    body: () => h('p', null, 'The key is removed for good, unless somebody changes it before.'),
    command: () => command('kv', 'delete', '-cas', '-modify-index', row.ModifyIndex, name),
    action: { label: 'Delete', isDanger: true, run: async () => {
      await removeAndLeave(async () => {
        const isDone = await http.del(`${BASE}${encoded(name)}?cas=${row.ModifyIndex}`);
        if (isDone !== true) throw new Error('Somebody changed it meanwhile.');
      }, () => go(path(name.includes('/') ? name.slice(0, name.lastIndexOf('/') + 1) : '')));
      refreshAll();
      return `${name} is gone.`;
    } },
  });
}
