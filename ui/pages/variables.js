// Variables: items that jobs and people read, kept encrypted.

import { h } from '../core/dom.js';
import * as http from '../core/http.js';
import { dialog } from '../core/dialog.js';
import { refreshAll, removeAndLeave } from '../core/store.js';
import { go, link, segment, setQuery } from '../core/router.js';
import { command, counted } from '../core/format.js';
import { button, empty, facts, filterField, head, moment, pill, ready } from '../parts/frame.js';
import { Table, rowLink } from '../parts/table.js';
import { commandLine } from '../parts/command.js';

const encoded = (path) => path.split('/').map(segment).join('/');
const varPath = (row) => `/variables/var/${encoded(row.Path)}@${segment(row.Namespace)}`;
const HIDDEN = '••••••••';

export default function page(cx) {
  const [kind, ...rest] = cx.parameters.rest ?? [];
  const isOne = kind === 'var';
  const prefix = kind === 'path' ? rest.join('/') : '';
  const table = new Table(cx, {
    label: 'Variables',
    key: (row) => `${row.Namespace} ${row.Path}`,
    columns: [
      { label: 'Path', class: 'grow', sort: (row) => row.Path, cell: (row) => [rowLink(link(varPath(row)), row.Path), row.Lock ? pill('locked', 'busy') : null] },
      { label: 'Namespace', class: 'wide', sort: (row) => row.Namespace, cell: (row) => row.Namespace },
      { label: 'Changed', isDown: true, sort: (row) => row.ModifyTime, cell: (row) => moment(row.ModifyTime) },
    ],
  });
  const own = { shown: new Set(), draft: null };
  return {
    title: () => (isOne ? rest.join('/') : 'Variables'),
    view: () => (isOne ? one(cx, own, rest.join('/')) : list(cx, table, prefix)),
  };
}

function list(cx, table, prefix) {
  const rows = cx.use(`/v1/vars${http.query({ namespace: '*', prefix })}`, ['Variable']);
  const text = cx.query.get('text') ?? '';
  return [
    head({ title: prefix ? `Variables below ${prefix}` : 'Variables', actions: cx.isReadOnly ? [] : [button('New variable', () => create(prefix), { class: 'primary' })] }),
    h('div', { class: 'filters' }, filterField('Filter by path', text, (value) => setQuery({ text: value }))),
    ready(rows, (found) => {
      const shown = found.filter((row) => row.Path.toLowerCase().includes(text.toLowerCase()));
      return found.length === 0 ? empty('There are none.') : [h('p', { class: 'count' }, counted(shown.length, 'variable')), table.view(shown)];
    }),
    commandLine(command('var', 'list', ...(prefix ? [prefix] : []))),
  ];
}

function create(prefix) {
  dialog({
    title: 'New variable',
    state: { path: prefix, items: '' },
    body: (state, set) => [
      h('label', null, 'Path', h('input', { class: 'code', value: state.path, required: true, oninput: (event) => set({ path: event.target.value }) })),
      h('label', null, 'Items, one a line: name = value', h('textarea', { rows: '6', class: 'code', spellcheck: 'false', value: state.items, oninput: (event) => set({ items: event.target.value }) })),
    ],
    command: (state) => command('var', 'put', state.path, ...Object.keys(itemsOf(state.items)).map((name) => `${name}=…`)),
    action: { label: 'Put', run: async (state) => {
      await http.put(`/v1/var/${encoded(state.path)}?cas=0`, { Path: state.path, Items: itemsOf(state.items) });
      refreshAll();
      go(varPath({ Path: state.path, Namespace: 'default' }));
      return `${state.path} was made.`;
    } },
  });
}

function itemsOf(text) {
  const items = {};
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    if (at > 0) items[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return items;
}

function one(cx, own, text) {
  const at = text.lastIndexOf('@');
  const [path, namespace] = at > 0 ? [text.slice(0, at), text.slice(at + 1)] : [text, 'default'];
  const api = `/v1/var/${encoded(path)}?namespace=${encodeURIComponent(namespace)}`;
  const read = cx.use(api, [`Variable:${path}`]);
  return [
    head({ trail: [['Variables', '/variables']], title: path, pills: [namespace === 'default' ? null : pill(namespace)], actions: cx.isReadOnly || !read.data ? [] : [
      own.draft ? null : button('Edit', () => {
        own.draft = { items: Object.entries(read.data.Items), of: read.data.ModifyIndex };
        cx.update();
      }),
      button('Delete', () => remove(api, path, read.data), { class: 'danger' }),
    ] }),
    ready(read, (row) => [
      own.draft ? form(cx, own, api, path) : items(cx, own, row),
      facts([['Created', moment(row.CreateTime)], ['Changed', moment(row.ModifyTime)], ['Changed at index', String(row.ModifyIndex)]]),
    ]),
    commandLine(command('var', 'get', ...(namespace === 'default' ? [] : ['-namespace', namespace]), path)),
  ];
}

function items(cx, own, row) {
  const entries = Object.entries(row.Items ?? {}).sort(([one], [other]) => (one < other ? -1 : 1));
  return h('div', { class: 'table items' }, h('table', { 'aria-label': 'Items' }, h('tbody', null, entries.map(([name, value]) => h('tr', { key: name },
    h('th', { scope: 'row' }, h('bdi', null, name)),
    h('td', { class: 'grow wrap' }, own.shown.has(name) ? h('pre', null, value) : HIDDEN),
    h('td', null, button(own.shown.has(name) ? 'Hide' : 'Show', () => {
      if (!own.shown.delete(name)) own.shown.add(name);
      cx.update();
    })))))));
}

function form(cx, own, api, path) {
  const { draft } = own;
  const set = (at, part) => (event) => {
    draft.items[at][part] = event.target.value;
    cx.update();
  };
  return h('form', { onsubmit: async (event) => {
    event.preventDefault();
    dialog({
      title: `Put ${path}?`,
      body: () => h('p', null, `${counted(draft.items.length, 'item')} replace what is there, unless somebody else changes it before.`),
      command: () => command('var', 'put', '-check-index', draft.of, path, ...draft.items.map(([name]) => `${name}=…`)),
      action: { label: 'Put', run: async () => {
        await http.put(`${api}&cas=${draft.of}`, { Path: path, Items: Object.fromEntries(draft.items.filter(([name]) => name !== '')) });
        own.draft = null;
        refreshAll();
        cx.update();
        return `${path} was put.`;
      } },
    });
  } },
  draft.items.map(([name, value], at) => h('div', { key: at, class: 'filters' },
    h('input', { class: 'code', 'aria-label': 'Name', value: name, oninput: set(at, 0) }),
    h('textarea', { class: 'code grow', rows: '1', 'aria-label': `Value of ${name}`, value, oninput: set(at, 1) }),
    button('Remove', () => {
      draft.items.splice(at, 1);
      cx.update();
    }))),
  h('div', { class: 'actions' },
    button('Add an item', () => {
      draft.items.push(['', '']);
      cx.update();
    }),
    button('Discard', () => {
      own.draft = null;
      cx.update();
    }),
    h('button', { type: 'submit', class: 'primary' }, 'Save')));
}

function remove(api, path, row) {
  dialog({
    title: `Delete ${path}?`,
    body: () => h('p', null, 'Its items are removed for good, unless somebody changes them before.'),
    command: () => command('var', 'purge', '-check-index', row.ModifyIndex, path),
    action: { label: 'Delete', isDanger: true, run: async () => {
      await removeAndLeave(() => http.del(`${api}&cas=${row.ModifyIndex}`), () => go('/variables'));
      refreshAll();
      return `${path} is gone.`;
    } },
  });
}
