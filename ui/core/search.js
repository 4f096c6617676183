// The field in the head of the page: jobs, services and nodes by parts of their names, everything
// else by the start of its id.

import { h } from './dom.js';
import * as http from './http.js';
import { resource } from './store.js';
import { allocPath, evalPath, go, jobPath, link, nodePath, servicePath } from './router.js';

const PAUSE_MS = 120;
const SHOWN_MAX = 12;

export class Search {
  constructor(update) {
    this.update = update;
    this.text = '';
    this.found = [];
    this.at = 0;
    this.isOpen = false;
    this.timer = 0;
    this.asked = 0;
  }

  close() {
    this.isOpen = false;
    this.text = '';
    this.found = [];
  }

  typed(text) {
    this.text = text;
    this.isOpen = text.trim() !== '';
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), PAUSE_MS);
    this.update();
  }

  async look() {
    const text = this.text.trim();
    const asked = (this.asked += 1);
    if (text === '') return;
    const small = text.toLowerCase();
    const read = async (path) => (await resource(path).once()) ?? [];
    const self = resource('/v1/agent/self');
    if (self.isLoading) await self.read();
    const hasCatalog = self.data?.config?.UI?.Catalog;
    const [jobs, services, nodes, byId] = await Promise.all([
      read('/v1/trivet/jobs?namespace=*'),
      hasCatalog ? read('/v1/trivet/services') : [],
      read('/v1/nodes'),
      http.put('/v1/search?namespace=*', { Prefix: text, Context: 'all' }).catch(() => null),
    ]);
    if (asked !== this.asked) return;
    const has = (name) => name.toLowerCase().includes(small);
    const found = [
      ...jobs.filter((job) => has(job.ID)).map((job) => ({ kind: 'job', name: job.ID, path: jobPath(job.ID, job.Namespace) })),
      ...services.filter((service) => has(service.Name)).map((service) => ({ kind: 'service', name: service.Name, path: servicePath(service.Name) })),
      ...nodes.filter((node) => has(node.Name) || node.ID.startsWith(small)).map((node) => ({ kind: 'node', name: node.Name, path: nodePath(node.ID) })),
    ];
    const matches = byId?.Matches ?? {};
    for (const id of matches.allocs ?? []) found.push({ kind: 'allocation', name: id, path: allocPath(id) });
    for (const id of matches.evals ?? []) found.push({ kind: 'evaluation', name: id, path: evalPath(id) });
    this.found = found.slice(0, SHOWN_MAX);
    this.at = 0;
    this.update();
  }

  key(event) {
    if (event.key === 'Escape') {
      this.close();
      event.target.blur();
    } else if (event.key === 'ArrowDown') {
      this.at = Math.min(this.at + 1, this.found.length - 1);
      event.preventDefault();
    } else if (event.key === 'ArrowUp') {
      this.at = Math.max(this.at - 1, 0);
      event.preventDefault();
    } else if (event.key === 'Enter' && this.found[this.at]) {
      const { path } = this.found[this.at];
      this.close();
      event.target.blur();
      go(path);
    }
    this.update();
  }

  view() {
    const isShown = this.isOpen && this.text.trim() !== '';
    return h('div', { class: 'search', role: 'search' },
      h('input', {
        id: 'search',
        type: 'text',
        placeholder: 'Search',
        autocomplete: 'off',
        spellcheck: 'false',
        role: 'combobox',
        'aria-label': 'Search jobs, services, nodes and ids',
        'aria-expanded': String(isShown),
        'aria-controls': 'found',
        'aria-activedescendant': isShown && this.found[this.at] ? `found-${this.at}` : undefined,
        value: this.text,
        oninput: (event) => this.typed(event.target.value),
        onkeydown: (event) => this.key(event),
        onblur: (event) => setTimeout(() => {
          // Who is back already goes on typing.
          if (document.activeElement === event.target) return;
          this.isOpen = false;
          this.update();
        }, 150),
      }),
      isShown
        ? h('ul', { id: 'found', role: 'listbox', 'aria-label': 'Found' }, this.found.length === 0
          ? h('li', { class: 'empty' }, 'Nothing has this name.')
          : this.found.map((own, at) => h('li', { id: `found-${at}`, role: 'option', 'aria-selected': String(at === this.at) },
            h('a', { href: link(own.path), tabindex: '-1' }, h('span', { class: 'kind' }, own.kind), h('bdi', null, own.name)))))
        : null);
  }
}
