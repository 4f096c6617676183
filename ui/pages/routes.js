// Routes: where requests go, how much of them, and why; and the operator's text over them.

import { h } from '../core/dom.js';
import * as http from '../core/http.js';
import { dialog, say } from '../core/dialog.js';
import { refreshAll } from '../core/store.js';
import { allocPath, link, servicePath, setQuery } from '../core/router.js';
import { command, counted, milliseconds, percent, rate } from '../core/format.js';
import * as traffic from '../core/traffic.js';
import { button, empty, filterField, head, pill, problem, ready, section } from '../parts/frame.js';
import { statusBar } from '../parts/bars.js';
import { commandLine } from '../parts/command.js';

export default function page(cx) {
  cx.onEnd(traffic.watch(cx.update));
  const own = { test: { url: cx.query.get('url') ?? '', method: 'GET', headers: '', answer: null, error: null, isBusy: false }, open: new Set() };
  if (own.test.url) test(cx, own.test);
  return {
    title: () => 'Routes',
    view() {
      const rows = cx.use('/v1/trivet/routes/counts', ['CatalogService', 'RouteOverrides']);
      const text = cx.query.get('text') ?? '';
      return [
        head({ title: 'Routes', actions: [cx.isReadOnly ? null : button('Edit the overrides', () => edit())] }),
        tester(cx, own.test),
        h('div', { class: 'filters' }, filterField('Filter by route or service', text, (value) => setQuery({ text: value }))),
        ready(rows, (targets) => {
          const routes = grouped(targets).filter((route) => !text || route.name.toLowerCase().includes(text.toLowerCase()) || route.targets.some((target) => target.Service.toLowerCase().includes(text.toLowerCase())));
          if (targets.length === 0) return empty('There are no routes. A service gets one by a tag such as urlprefix-/path.');
          return [h('p', { class: 'count' }, counted(routes.length, 'route')), h('ul', { class: 'routes' }, routes.map((route) => routeRow(cx, own, route)))];
        }),
        overrides(cx),
        commandLine('trivet route list'),
      ];
    },
  };
}

function grouped(targets) {
  const routes = new Map();
  for (const target of targets) {
    if (!routes.has(target.Route)) routes.set(target.Route, { name: target.Route, targets: [] });
    routes.get(target.Route).targets.push(target);
  }
  return [...routes.values()];
}

const TONES = { '1xx': 'calm', '2xx': 'good', '3xx': 'done', '4xx': 'busy', '5xx': 'bad', failed: 'bad', left: 'wait' };

function routeRow(cx, own, route) {
  const sum = traffic.of('route', route.name);
  const versions = new Map();
  for (const target of route.targets) {
    const key = `${target.Service}\n${target.Version}`;
    if (!versions.has(key)) versions.set(key, { service: target.Service, version: target.Version, share: 0, targets: [] });
    const version = versions.get(key);
    version.share += target.Share;
    version.targets.push(target);
  }
  const isOpen = own.open.has(route.name);
  const outcomes = Object.entries(sum.outcomes).map(([name, count]) => [count, TONES[name] ?? 'calm', `${name}: ${rate(count)}/s`]);
  return h('li', { key: route.name, class: 'route' },
    h('div', { class: 'route-head' },
      h('button', { type: 'button', class: 'link', 'data-row': true, 'aria-expanded': String(isOpen), onclick: () => {
        if (isOpen) own.open.delete(route.name);
        else own.open.add(route.name);
        cx.update();
      } }, h('span', { 'aria-hidden': 'true' }, isOpen ? '▾ ' : '▸ '), h('code', null, h('bdi', null, route.name))),
      h('span', { class: 'figures-inline' }, h('b', null, rate(sum.rate)), ' requests/s, p50 ', milliseconds(sum.p50), ', p99 ', milliseconds(sum.p99)),
      outcomes.length > 0 && sum.attempts > 0 ? statusBar(outcomes, 'Answers') : null),
    [...versions.values()].map((version) => {
      const of = traffic.of('version', traffic.versionKey(route.name, version.service, version.version));
      return h('div', { key: `${version.service} ${version.version}`, class: 'route-version' },
        h('a', { href: link(servicePath(version.service)) }, h('bdi', null, version.service)),
        version.version ? pill(version.version) : null,
        h('b', null, percent(version.share)),
        h('span', { class: 'note' }, counted(version.targets.length, 'instance'), of.attempts > 0 ? `, ${rate(of.rate)} requests/s, ${percent(of.success)} success` : ''),
        isOpen ? h('ul', { class: 'targets' }, version.targets.map((target) => targetRow(route, target))) : null);
    }));
}

function targetRow(route, target) {
  const of = traffic.of('target', traffic.targetKey(route.name, target.Instance || target.Address));
  const alloc = /^_nomad-task-([0-9a-f]{8}-[0-9a-f-]{27})-/.exec(target.Instance)?.[1];
  return h('li', { key: `${target.Instance} ${target.Address}` },
    alloc ? h('a', { href: link(allocPath(alloc)) }, h('code', null, target.Address)) : h('code', null, target.Address),
    ` ${percent(target.Share)}`,
    of.attempts > 0 ? `, ${rate(of.rate)} requests/s, p99 ${milliseconds(of.p99)}` : '');
}

async function test(cx, own) {
  own.isBusy = true;
  own.error = null;
  cx.update();
  const headers = own.headers.split('\n').map((line) => line.trim()).filter(Boolean);
  try {
    const { data } = await http.get(`/v1/trivet/route/test${http.query({ url: own.url, method: own.method, header: headers })}`);
    own.answer = data;
  } catch (error) {
    own.answer = null;
    own.error = error;
  }
  own.isBusy = false;
  cx.update();
}

function tester(cx, own) {
  const headers = own.headers.split('\n').map((line) => line.trim()).filter(Boolean);
  const set = (name) => (event) => {
    own[name] = event.target.value;
    cx.update();
  };
  return section('Test a URL',
    h('form', { class: 'filters', onsubmit: (event) => {
      event.preventDefault();
      setQuery({ url: own.url });
      test(cx, own);
    } },
    h('select', { 'aria-label': 'Method', value: own.method, onchange: set('method') }, ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH'].map((name) => h('option', { key: name, value: name }, name))),
    h('input', { class: 'code grow', 'aria-label': 'URL', placeholder: 'shop.example.com/cart or /path', required: true, value: own.url, oninput: set('url') }),
    h('input', { class: 'code', 'aria-label': 'Header', placeholder: 'Header: value', value: own.headers, oninput: set('headers') }),
    h('button', { type: 'submit', disabled: own.isBusy }, 'Test')),
    own.error ? problem(own.error) : null,
    own.answer ? explained(own.answer) : null,
    own.url ? commandLine(command('route', 'test', ...(own.method === 'GET' ? [] : ['-method', own.method]), ...headers.flatMap((line) => ['-H', line]), own.url)) : null);
}

function explained(answer) {
  return h('div', { class: 'explained', role: 'status' },
    h('p', { class: answer.Candidates.length > 0 ? 'fine' : 'why' }, answer.Route ? ['Route ', h('code', null, answer.Route), ': '] : null, h('bdi', null, answer.Why.join('; ')), '.'),
    answer.Path ? h('p', { class: 'note' }, 'It is asked for ', h('code', null, answer.Path), '.') : null,
    answer.Candidates.length === 0 ? null : h('div', { class: 'table' }, h('table', { 'aria-label': 'Instances that may get it' },
      h('thead', null, h('tr', null, [['Service'], ['Version'], ['Address'], ['Likely', 'number'], ['In flight', 'number wide']].map(([text, kind]) => h('th', { key: text, scope: 'col', class: kind }, text)))),
      h('tbody', null, answer.Candidates.map((own) => h('tr', { key: `${own.Instance} ${own.Address}` },
        h('td', null, h('bdi', null, own.Service)), h('td', null, own.Version || own.Part), h('td', null, h('code', null, own.Address)), h('td', { class: 'number' }, percent(own.Share)), h('td', { class: 'number wide' }, String(own.InFlight))))))));
}

function overrides(cx) {
  const own = cx.use('/v1/trivet/routes/overrides', ['RouteOverrides'], 'text');
  if (!own.data) return null;
  return section('Overrides', h('pre', { class: 'code' }, own.data));
}

async function edit() {
  let before;
  try {
    const response = await http.open('/v1/trivet/routes/overrides');
    before = { text: await response.text(), version: Number(response.headers.get('x-nomad-index')) };
  } catch (error) {
    say(error.message, true);
    return;
  }
  // An index of 1 stands for a text that was never written.
  const version = before.text === '' && before.version <= 1 ? undefined : before.version;
  dialog({
    title: 'Overrides of the routes',
    state: { text: before.text },
    body: (state, set) => [
      h('p', { class: 'note' }, 'Lines as ', h('code', null, 'route weight SERVICE /path weight 0.05 tags "canary"'), ', ', h('code', null, 'route add …'), ' or ', h('code', null, 'route del …'), '.'),
      h('label', null, 'Text', h('textarea', { rows: '10', class: 'code', spellcheck: 'false', value: state.text, oninput: (event) => set({ text: event.target.value }) })),
    ],
    command: () => `curl -X PUT --data-binary @FILE '${location.origin}/v1/trivet/routes/overrides${http.query({ version })}'`,
    action: { label: 'Save', run: async (state) => {
      await http.put(`/v1/trivet/routes/overrides${http.query({ version })}`, state.text);
      refreshAll();
      return 'The overrides are in force.';
    } },
  });
}
