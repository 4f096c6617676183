// A service: its instances with their checks, its name in DNS, and what came of its requests.

import { h } from '../core/dom.js';
import { allocPath, link, segment } from '../core/router.js';
import { command, milliseconds, rate } from '../core/format.js';
import * as traffic from '../core/traffic.js';
import { empty, facts, head, pill, ready, section, state } from '../parts/frame.js';
import { commandLine } from '../parts/command.js';
import { requests } from '../parts/requests.js';

const WORST = ['passing', 'warning', 'critical'];
const worst = (checks) => checks.reduce((found, check) => (WORST.indexOf(check.Status) > WORST.indexOf(found) ? check.Status : found), 'passing');

export default function page(cx) {
  const { name } = cx.parameters;
  cx.onEnd(traffic.watch(cx.update));
  return {
    title: () => name,
    view() {
      const own = cx.use(`/v1/trivet/catalog/v1/health/service/${segment(name)}`, [`CatalogService:${name}`]);
      return [
        head({ trail: [['Services', '/services']], title: name }),
        requests('service', name),
        ready(own, (rows) => (rows.length === 0 ? empty('It has no instances.') : [instances(rows), answer(cx, name)])),
        commandLine(command('catalog', 'nodes', '-service', name)),
      ];
    },
  };
}

/** The allocation that an instance belongs to, if a job runs it. */
const allocOf = (id) => /^_nomad-task-([0-9a-f]{8}-[0-9a-f-]{27})-/.exec(id)?.[1];

function instances(rows) {
  return section('Instances', h('ul', { class: 'instances' }, rows.map(({ Node: node, Service: service, Checks: checks }) => {
    const alloc = allocOf(service.ID);
    const own = traffic.of('instance', service.ID);
    const address = service.Address || node.Address;
    return h('li', { key: `${node.Node} ${service.ID}` },
      h('div', { class: 'instance-head' },
        alloc ? h('a', { href: link(allocPath(alloc)), 'data-row': true }, h('code', null, address.includes(':') ? `[${address}]` : address, `:${service.Port}`)) : h('code', { 'data-row': true, tabindex: '-1' }, `${address}:${service.Port}`),
        state(worst(checks)),
        h('span', { class: 'note' }, h('bdi', null, node.Node)),
        service.Meta?.job_version ? pill(`version ${service.Meta.job_version}`) : null,
        pill(`weight ${service.Weights?.Passing ?? 1}`),
        own.attempts > 0 ? h('span', { class: 'note' }, `${rate(own.rate)} requests/s, p99 ${milliseconds(own.p99)}`) : null),
      h('p', { class: 'tags' }, (service.Tags ?? []).map((tag) => h('span', { key: tag, class: 'tag' }, h('bdi', null, tag)))),
      checks.map((check) => h('div', { key: check.CheckID, class: 'check-row' },
        state(check.Status), h('span', null, h('bdi', null, check.Name)), h('pre', null, check.Output))));
  })));
}

/** The name in DNS, and what the agent answers to it now. */
function answer(cx, name) {
  const dns = cx.ui.DNS;
  if (!dns) return null;
  const host = `${name}.service.${dns.Domain}`;
  const own = cx.use(`/v1/trivet/dns?type=SRV&name=${segment(host)}`, [`CatalogService:${name}`]);
  return section('DNS', facts([
    ['Name', h('code', null, host)],
    ['Ask', h('code', null, `dig @${dns.Host} -p ${dns.Port} ${host} SRV`)],
  ]), h('h3', null, 'Answer'), ready(own, told));
}

function told(answer) {
  const lines = [...answer.Answers, ...answer.Additionals];
  return [
    answer.Code === 'NOERROR' ? null : h('p', { class: 'why' }, answer.Code === 'NXDOMAIN' ? 'NXDOMAIN: no instance may be answered.' : answer.Code),
    h('div', { class: 'dns' }, lines.map((line) => h('div', { key: line }, h('code', null, h('bdi', null, line))))),
  ];
}
