// Nodes with what runs on them and what is free.

import { h } from '../core/dom.js';
import { allocPath, link, nodePath, setQuery } from '../core/router.js';
import { counted, mib, number, percent } from '../core/format.js';
import { choice, empty, filterField, head, pill, ready, state, tone } from '../parts/frame.js';
import { Table, rowLink } from '../parts/table.js';
import { meter, statusBar } from '../parts/bars.js';
import { commandLine } from '../parts/command.js';

const STATES = [['', 'Every status'], ['ready', 'ready'], ['down', 'down'], ['disconnected', 'disconnected'], ['initializing', 'initializing'], ['ineligible', 'ineligible'], ['draining', 'draining']];
// Allocations of a node that are drawn one by one, and nodes of the map.
const BLOCKS_MAX = 200;
const NODES_MAX = 200;

export default function page(cx) {
  const table = new Table(cx, {
    label: 'Nodes',
    key: (node) => node.ID,
    columns: [
      { label: 'Node', sort: (node) => node.Name, cell: (node) => rowLink(link(nodePath(node.ID)), node.Name) },
      { label: 'Status', sort: (node) => node.Status, cell: (node) => [state(node.Status), node.Drain ? pill('draining', 'busy') : node.SchedulingEligibility === 'ineligible' ? pill('ineligible', 'busy') : null] },
      { label: 'Pool', class: 'wide', sort: (node) => node.NodePool, cell: (node) => [node.NodePool, node.NodeClass ? pill(node.NodeClass) : null] },
      { label: 'Datacenter', class: 'wide', sort: (node) => node.Datacenter, cell: (node) => node.Datacenter },
      { label: 'Allocations', class: 'number wide', isDown: true, sort: (node) => node.Running, cell: (node) => String(node.Running) },
      { label: 'CPU', class: 'grow', isDown: true, sort: (node) => part(node, 'CpuShares'), cell: (node) => meter(part(node, 'CpuShares'), 'CPU', `${number(node.Used.CpuShares)} of ${number(node.Capacity.CpuShares)} MHz`) },
      { label: 'Memory', class: 'grow', isDown: true, sort: (node) => part(node, 'MemoryMB'), cell: (node) => meter(part(node, 'MemoryMB'), 'Memory', `${mib(node.Used.MemoryMB)} of ${mib(node.Capacity.MemoryMB)}`) },
    ],
  });
  return {
    title: () => 'Topology',
    view() {
      const isMap = cx.query.get('view') !== 'table';
      const own = cx.use(`/v1/trivet/nodes${isMap ? '?allocs=true' : ''}`, ['Node', 'Allocation']);
      const [text, status] = ['text', 'status'].map((name) => cx.query.get(name) ?? '');
      return [
        head({ title: 'Topology' }),
        h('div', { class: 'filters' },
          filterField('Filter by name, pool, class or datacenter', text, (value) => setQuery({ text: value })),
          choice('Status', STATES, status, (value) => setQuery({ status: value })),
          choice('View', [['', 'Map'], ['table', 'Table']], isMap ? '' : 'table', (value) => setQuery({ view: value }))),
        ready(own, (rows) => {
          const shown = rows.filter((node) => matches(node, text.toLowerCase(), status));
          if (shown.length === 0) return empty(rows.length === 0 ? 'There are no nodes.' : 'No node is like that.');
          return [
            h('p', { class: 'count' }, summary(shown)),
            isMap ? h('ul', { class: 'map' }, shown.slice(0, NODES_MAX).map((node) => block(node))) : table.view(shown),
            isMap && shown.length > NODES_MAX ? h('p', { class: 'note' }, `and ${counted(shown.length - NODES_MAX, 'more node')}: the table has them all`) : null,
          ];
        }),
        commandLine('trivet node status -allocs'),
      ];
    },
  };
}

const part = (node, name) => node.Used[name] / Math.max(1, node.Capacity[name]);

function matches(node, text, status) {
  if (text && ![node.Name, node.NodePool, node.NodeClass, node.Datacenter].some((own) => own.toLowerCase().includes(text))) return false;
  if (!status) return true;
  if (status === 'draining') return node.Drain;
  if (status === 'ineligible') return node.SchedulingEligibility === 'ineligible';
  return node.Status === status;
}

function summary(nodes) {
  const sum = (pick) => nodes.reduce((total, node) => total + pick(node), 0);
  const share = (name) => percent(sum((node) => node.Used[name]) / Math.max(1, sum((node) => node.Capacity[name])));
  return `${counted(nodes.length, 'node')}, ${counted(sum((node) => node.Running), 'allocation')} running; ${share('CpuShares')} of CPU and ${share('MemoryMB')} of memory are taken`;
}

function block(node) {
  const allocs = node.Allocs ?? [];
  return h('li', { key: node.ID, class: node.Status === 'ready' ? 'node' : 'node down' },
    h('div', { class: 'node-head' }, h('a', { href: link(nodePath(node.ID)), 'data-row': true }, h('bdi', null, node.Name)), state(node.Status), node.Drain ? pill('draining', 'busy') : node.SchedulingEligibility === 'ineligible' ? pill('ineligible', 'busy') : null),
    // Of very many the agent tells only how many are in which state.
    node.Allocs ? null : h('div', { class: 'blocks' }, statusBar(Object.entries(node.Live).map(([status, count]) => [count, tone(status), status]), 'Allocations'), h('span', { class: 'note' }, counted(node.Running, 'allocation'))),
    h('div', { class: 'blocks', hidden: !node.Allocs }, allocs.slice(0, BLOCKS_MAX).map((alloc) => h('a', {
      key: alloc.ID,
      href: link(allocPath(alloc.ID)),
      class: `block ${tone(alloc.ClientStatus)}`,
      title: `${alloc.Name}: ${alloc.ClientStatus}, ${alloc.CpuShares} MHz, ${alloc.MemoryMB} MiB`,
      'aria-label': `${alloc.Name}: ${alloc.ClientStatus}`,
      style: { 'flex-grow': String(Math.max(1, alloc.MemoryMB)) },
    })), allocs.length > BLOCKS_MAX ? h('span', { class: 'note' }, `and ${allocs.length - BLOCKS_MAX} more`) : null),
    h('dl', { class: 'meters' },
      h('dt', null, 'CPU'), h('dd', null, meter(part(node, 'CpuShares'), 'CPU', `${number(node.Used.CpuShares)} of ${number(node.Capacity.CpuShares)} MHz`), h('span', null, `${number(Math.max(0, node.Capacity.CpuShares - node.Used.CpuShares))} MHz free`)),
      h('dt', null, 'Memory'), h('dd', null, meter(part(node, 'MemoryMB'), 'Memory', `${mib(node.Used.MemoryMB)} of ${mib(node.Capacity.MemoryMB)}`), h('span', null, `${mib(Math.max(0, node.Capacity.MemoryMB - node.Used.MemoryMB))} free`))));
}
