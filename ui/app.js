// The frame around every page: which page an address means, the menu, search, keys, and what the
// agent says of itself.

import { h, render } from './core/dom.js';
import * as router from './core/router.js';
import * as stream from './core/stream.js';
import { resource } from './core/store.js';
import { keys, help } from './core/keys.js';
import { Search } from './core/search.js';

// The first that matches counts. A page's module is fetched when it is looked at first.
const PAGES = [
  { at: [], name: 'home', load: () => import('./pages/home.js') },
  { at: ['jobs'], name: 'jobs', load: () => import('./pages/jobs.js') },
  { at: ['jobs', 'run'], name: 'run', load: () => import('./pages/run.js') },
  { at: ['jobs', ':job', 'logs'], name: 'logs', load: () => import('./pages/logs.js') },
  { at: ['jobs', ':job', ':tab?'], name: 'job', load: () => import('./pages/job.js') },
  { at: ['allocations', ':id', ':tab?'], name: 'allocation', load: () => import('./pages/allocation.js') },
  { at: ['services'], name: 'services', load: () => import('./pages/services.js') },
  { at: ['services', ':name'], name: 'service', load: () => import('./pages/service.js') },
  { at: ['routes'], name: 'routes', load: () => import('./pages/routes.js') },
  { at: ['topology'], name: 'topology', load: () => import('./pages/topology.js') },
  { at: ['clients'], name: 'topology', load: () => import('./pages/topology.js') },
  { at: ['clients', ':id'], name: 'node', load: () => import('./pages/node.js') },
  { at: ['nodes', ':id'], name: 'node', load: () => import('./pages/node.js') },
  { at: ['servers', ':name?'], name: 'servers', load: () => import('./pages/servers.js') },
  { at: ['evaluations'], name: 'evaluations', load: () => import('./pages/evaluations.js') },
  { at: ['kv', '*'], name: 'kv', load: () => import('./pages/kv.js') },
  { at: ['variables', '*'], name: 'variables', load: () => import('./pages/variables.js') },
  { at: ['events'], name: 'events', load: () => import('./pages/events.js') },
];

const MENU = [
  { name: 'home', path: '/', label: 'Home' },
  { name: 'jobs', path: '/jobs', label: 'Jobs', also: ['job', 'run', 'logs', 'allocation'] },
  { name: 'services', path: '/services', label: 'Services', also: ['service'], needs: 'Catalog' },
  { name: 'routes', path: '/routes', label: 'Routes', needs: 'Ingress' },
  { name: 'topology', path: '/topology', label: 'Topology', also: ['node'] },
  { name: 'servers', path: '/servers', label: 'Servers' },
  { name: 'evaluations', path: '/evaluations', label: 'Evaluations' },
  { name: 'kv', path: '/kv', label: 'KV', needs: 'Catalog' },
  { name: 'variables', path: '/variables', label: 'Variables' },
  { name: 'events', path: '/events', label: 'Events' },
];

const host = document.getElementById('app');
const agent = resource('/v1/agent/self');
const search = new Search(() => update());

let page = null;
let pageKey = '';
let isMenuOpen = false;
let failure = null;
let frame = 0;
// Counts the pages that were left, so that whoever waits for one sees that it is not wanted any more.
let left = 0;
// Between two tries to load a page, in milliseconds: the first pause, and the longest.
const PAUSES = [500, 8000];
// Texts such as “3s ago” go on where nothing else changes.
const CLOCK_MS = 5000;

function match(parts) {
  for (const entry of PAGES) {
    const found = {};
    let at = 0;
    const fits = entry.at.every((pattern) => {
      if (pattern === '*') {
        found.rest = parts.slice(at);
        at = parts.length;
        return true;
      }
      const part = parts[at];
      at += 1;
      if (pattern.startsWith(':')) {
        const isOptional = pattern.endsWith('?');
        if (part === undefined) return isOptional;
        found[pattern.slice(1).replace('?', '')] = part;
        return true;
      }
      return part === pattern;
    });
    if (fits && at >= parts.length) return { entry, found };
  }
  return null;
}

/** What a page is given: its address, answers of the agent, and a way to be drawn again. */
class Context {
  constructor(name, parameters, query) {
    this.name = name;
    this.parameters = parameters;
    this.query = query;
    this.used = new Map();
    this.fresh = new Set();
    this.ends = [];
    this.isOver = false;
    this.update = () => {
      if (!this.isOver) update();
    };
  }

  /** The answer at `path`, which draws the page again when it changes. */
  use(path, topics, format) {
    const own = resource(path, topics, format);
    this.fresh.add(own);
    if (!this.used.has(own)) {
      this.used.set(own, this.update);
      own.look(this.update);
    }
    return own;
  }

  /** Leaves what the last drawing did not use. */
  settle() {
    for (const own of this.used.keys()) {
      if (this.fresh.has(own)) continue;
      own.leave(this.update);
      this.used.delete(own);
    }
    this.fresh.clear();
  }

  /** Calls `end` when the page is left. */
  onEnd(end) {
    this.ends.push(end);
  }

  over() {
    this.isOver = true;
    for (const own of this.used.keys()) own.leave(this.update);
    this.used.clear();
    for (const end of this.ends) end();
  }

  /** What the agent says of its user interface. */
  get ui() {
    return agent.data?.config?.UI ?? {};
  }

  get isReadOnly() {
    return Boolean(this.ui.ReadOnly);
  }

  get self() {
    return agent.data ?? {};
  }
}

async function changed() {
  const { parts, query } = router.read(location);
  const matched = match(parts);
  isMenuOpen = false;
  search.close();
  if (!matched) {
    leave();
    pageKey = '';
    failure = `There is no page at ${location.pathname}.`;
    document.title = 'Trivet';
    update();
    return;
  }
  const { entry, found } = matched;
  const { tab, ...identity } = found;
  const key = `${entry.name} ${JSON.stringify(identity)}`;
  if (page && key === pageKey) {
    page.cx.parameters = found;
    page.cx.query = query;
    page.changed?.();
    update();
    return;
  }
  leave();
  pageKey = key;
  failure = null;
  // What is left is not shown any longer than the next one needs.
  update();
  const make = await loaded(entry);
  if (!make) return;
  const cx = new Context(entry.name, found, query);
  try {
    page = Object.assign(make(cx), { cx });
  } catch (error) {
    cx.over();
    console.error(error);
    failure = `This page cannot be shown: ${error.message}`;
  }
  update();
}

/** What makes a page, asked for until it is there; null when the page is left meanwhile. */
async function loaded(entry) {
  const own = left;
  for (let pause = PAUSES[0]; own === left; pause = Math.min(pause * 2, PAUSES[1])) {
    try {
      const { default: make } = await entry.load();
      if (own !== left) break;
      failure = null;
      return make;
    } catch (error) {
      console.error(error);
    }
    if (own !== left) break;
    failure = 'This page could not be loaded: does the agent answer? It is asked again.';
    update();
    await new Promise((over) => setTimeout(over, pause));
  }
  return null;
}

function leave() {
  left += 1;
  page?.cx.over();
  page = null;
}

function update() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    draw();
  });
}

function draw() {
  let content;
  if (failure) {
    content = h('p', { class: 'empty' }, failure, ' ', h('a', { href: router.link('/') }, 'Home'));
  } else if (page) {
    try {
      content = page.view();
      page.cx.settle();
      document.title = `${page.title()} – Trivet`;
    } catch (error) {
      console.error(error);
      content = h('p', { class: 'problem', role: 'alert' }, `This page cannot be shown: ${error.message}`);
    }
  } else {
    content = h('p', { class: 'empty', 'aria-busy': 'true' }, 'Loading…');
  }
  render(host, shell(content));
}

function shell(content) {
  const self = agent.data;
  const ui = self?.config?.UI ?? {};
  const entries = MENU.filter((entry) => !entry.needs || ui[entry.needs]);
  const current = page?.cx.name;
  const isCurrent = (entry) => entry.name === current || entry.also?.includes(current);
  return h('div', { class: isMenuOpen ? 'frame menu-open' : 'frame' }, [
    h('header', { key: 'header' }, [
      h('button', {
        class: 'menu-button',
        'aria-label': 'Menu',
        'aria-expanded': String(isMenuOpen),
        'aria-controls': 'menu',
        onclick: () => {
          isMenuOpen = !isMenuOpen;
          update();
        },
      }, '☰'),
      h('a', { class: 'brand', href: router.link('/'), 'aria-label': 'Trivet, home' }, mark(), h('span', null, 'Trivet')),
      search.view(),
      h('span', { class: 'region' }, ui.Label?.Text ? h('b', { class: 'label' }, ui.Label.Text) : null, self ? self.config.Region : ''),
      ui.ReadOnly ? h('span', { class: 'pill' }, 'read-only') : null,
      light(),
      h('button', { class: 'quiet', 'aria-label': 'Keys and help', title: 'Keys (?)', onclick: () => help() }, '?'),
    ]),
    h('nav', { key: 'nav', id: 'menu', 'aria-label': 'Pages' },
      h('ul', null, entries.map((entry) => h('li', { key: entry.name },
        h('a', { href: router.link(entry.path), 'aria-current': isCurrent(entry) ? 'page' : undefined }, entry.label)))),
      h('p', { class: 'version' }, self ? `trivet ${self.member?.Tags?.trivet_version ?? ''}` : '')),
    h('main', { key: `main ${pageKey}`, id: 'main', tabindex: '-1' }, content),
  ]);
}

function light() {
  const texts = {
    connected: 'Up to date',
    connecting: 'Connecting to the agent',
    lost: 'The agent does not answer; what you see may be old',
  };
  return h('span', { class: `light ${stream.state}`, role: 'img', 'aria-label': texts[stream.state], title: texts[stream.state] });
}

function mark() {
  return h('svg', { viewBox: '0 0 32 32', width: '22', height: '22', 'aria-hidden': 'true' },
    h('path', { d: 'M16 5 4 25h24z', fill: 'none', stroke: 'currentColor', 'stroke-width': '3', 'stroke-linejoin': 'round' }),
    h('circle', { cx: '16', cy: '5', r: '3.5', class: 'm1' }),
    h('circle', { cx: '4.5', cy: '25', r: '3.5', class: 'm2' }),
    h('circle', { cx: '27.5', cy: '25', r: '3.5', class: 'm3' }));
}

stream.onState((state) => {
  if (state === 'connected') agent.refresh();
  update();
});
// Nodes come and go seldom: this keeps the stream open on pages that follow nothing.
stream.follow(['Node'], () => {}, () => {});
agent.look(update);
setInterval(() => {
  if (!document.hidden) update();
}, CLOCK_MS);
keys(() => page);
router.start(changed);
