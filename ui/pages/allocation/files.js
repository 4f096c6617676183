// Files of an allocation.

import { h } from '../../core/dom.js';
import * as http from '../../core/http.js';
import { setQuery } from '../../core/router.js';
import { bytes, clock, command, short } from '../../core/format.js';
import { button, empty, problem, ready } from '../../parts/frame.js';
import { commandLine } from '../../parts/command.js';
import { Lines, logView } from '../../parts/logview.js';

// Bytes of a file that are shown at a time.
const PART_BYTES = 200_000;

export function files(own, alloc) {
  const path = own.cx.query.get('path') ?? '/';
  const isFile = own.cx.query.get('file') === 'true';
  return [
    h('p', { class: 'trail' }, crumbs(path, isFile)),
    isFile ? file(own, alloc, path) : directory(own, alloc, path),
    commandLine(command('alloc', 'fs', short(alloc.ID), path)),
  ];
}

function crumbs(path, isFile) {
  const parts = path.split('/').filter(Boolean);
  const links = [['/', '/'], ...parts.map((name, at) => [name, `/${parts.slice(0, at + 1).join('/')}`])];
  return links.map(([name, target], at) => [
    at > 1 ? ' / ' : ' ',
    at === links.length - 1 && isFile
      ? h('b', null, h('bdi', null, name))
      : h('button', { type: 'button', class: 'link', onclick: () => setQuery({ path: target, file: '' }) }, h('bdi', null, name)),
  ]);
}

function directory(own, alloc, path) {
  const rows = own.cx.use(`/v1/client/fs/ls/${alloc.ID}${http.query({ path })}`, [`Allocation:${alloc.ID}`]);
  return ready(rows, (found) => (found.length === 0 ? empty('The directory is empty.') : h('div', { class: 'table' }, h('table', { 'aria-label': `Files in ${path}` },
    h('thead', null, h('tr', null, [['Name', 'grow'], ['Size', 'number'], ['Mode', 'wide'], ['Changed']].map(([text, kind]) => h('th', { key: text, scope: 'col', class: kind }, text)))),
    h('tbody', null, [...found].sort((one, other) => Number(other.IsDir) - Number(one.IsDir) || (one.Name < other.Name ? -1 : 1)).map((row) => h('tr', { key: row.Name },
      h('td', null, h('button', { type: 'button', class: 'link', 'data-row': true, onclick: () => setQuery({ path: `${path === '/' ? '' : path}/${row.Name}`, file: row.IsDir ? '' : 'true' }) }, h('bdi', null, row.Name), row.IsDir ? '/' : '')),
      h('td', { class: 'number' }, row.IsDir ? '' : bytes(row.Size)),
      h('td', { class: 'wide' }, h('code', null, row.FileMode)),
      h('td', null, clock(row.ModTime)))))))));
}

/** A part of a file, as the page keeps it. */
class Part {
  constructor(own, alloc, path) {
    this.own = own;
    this.alloc = alloc;
    this.path = path;
    this.lines = new Lines();
    this.offset = 0;
    this.size = 0;
    this.error = null;
    this.read(0);
  }

  async read(offset) {
    this.error = null;
    try {
      const { data } = await http.get(`/v1/client/fs/stat/${this.alloc.ID}${http.query({ path: this.path })}`);
      this.size = data.Size;
      const start = offset < 0 ? Math.max(0, this.size - PART_BYTES) : offset;
      const text = await http.text(`/v1/client/fs/readat/${this.alloc.ID}${http.query({ path: this.path, offset: start === 0 ? '0' : start, limit: PART_BYTES })}`);
      this.offset = start;
      this.lines.clear();
      this.lines.push('file', { name: '', tone: 0, isError: false }, text);
      this.lines.end('file', { name: '', tone: 0, isError: false });
    } catch (error) {
      this.error = error;
    }
    this.own.cx.update();
  }
}

function file(own, alloc, path) {
  if (own.file?.path !== path) own.file = new Part(own, alloc, path);
  const part = own.file;
  if (part.error) return problem(part.error);
  const end = Math.min(part.size, part.offset + PART_BYTES);
  return [
    h('div', { class: 'filters' },
      h('span', { class: 'note' }, part.size === 0 ? 'empty' : `bytes ${part.offset} to ${end} of ${part.size}`),
      button('Start', () => part.read(0), { disabled: part.offset === 0 }),
      button('Back', () => part.read(Math.max(0, part.offset - PART_BYTES)), { disabled: part.offset === 0 }),
      button('On', () => part.read(part.offset + PART_BYTES), { disabled: end >= part.size }),
      button('End', () => part.read(-1), { disabled: end >= part.size }),
      h('a', { class: 'button', href: `/v1/client/fs/cat/${alloc.ID}${http.query({ path })}`, download: path.split('/').at(-1) }, 'Download')),
    h('div', { key: path, class: 'log', island: logView, args: { lines: part.lines, filter: null, withSource: false, isFollowing: false, label: path } }),
  ];
}
