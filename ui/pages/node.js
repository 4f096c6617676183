// A node: what it can do, what runs on it, and whether more may be placed on it.

import { h } from '../core/dom.js';
import * as http from '../core/http.js';
import { dialog } from '../core/dialog.js';
import { refreshAll, removeAndLeave } from '../core/store.js';
import { go } from '../core/router.js';
import { command, mib, number, short } from '../core/format.js';
import { button, empty, facts, head, moment, pill, ready, section, state } from '../parts/frame.js';
import { allocTable, ordered } from '../parts/allocations.js';
import { meter } from '../parts/bars.js';
import { commandLine } from '../parts/command.js';
import { drainActions, drainProgress, lastDrain } from './node/drain.js';

export default function page(cx) {
  const id = encodeURIComponent(cx.parameters.id);
  const table = allocTable(cx, { withJob: true, withNode: false });
  return {
    title: () => 'Node',
    view() {
      const own = cx.use(`/v1/node/${id}`, [`Node:${cx.parameters.id}`]);
      const allocs = cx.use(`/v1/node/${id}/allocations`, ['Allocation']);
      return [
        head({
          trail: [['Topology', '/topology']],
          title: own.data?.Name ?? short(cx.parameters.id),
          pills: own.data ? [state(own.data.Status), own.data.Drain ? pill('draining', 'busy') : state(own.data.SchedulingEligibility), pill(own.data.NodePool)] : [],
          actions: own.data && !cx.isReadOnly ? actions(own.data) : [],
        }),
        ready(own, (node) => [
          node.DrainStrategy ? ready(allocs, (rows) => drainProgress(node, rows)) : null,
          capacity(node, allocs.data ?? []),
          section('Allocations', ready(allocs, (rows) => (rows.length === 0 ? empty('Nothing runs here.') : table.view(ordered(rows))))),
          drivers(node),
          events(node),
          section('Node', facts([['Id', h('code', null, node.ID)], ['Address', node.HTTPAddr], ['Datacenter', node.Datacenter], ['Class', node.NodeClass], ['Last drain', lastDrain(node)], ...Object.entries(node.Meta ?? {}).map(([name, value]) => [`Meta ${name}`, h('bdi', null, value)])])),
          attributes(node),
        ]),
        commandLine(command('node', 'status', short(cx.parameters.id))),
      ];
    },
  };
}

function actions(node) {
  const isEligible = node.SchedulingEligibility === 'eligible';
  const isGone = node.Status === 'down' || node.Status === 'disconnected';
  return [
    // Who drains is ineligible until the drain ends.
    node.DrainStrategy ? null : button(isEligible ? 'Make ineligible' : 'Make eligible', () => dialog({
      title: isEligible ? `Make ${node.Name} ineligible?` : `Make ${node.Name} eligible?`,
      body: () => h('p', null, isEligible ? 'Nothing new is placed on it; what runs there stays.' : 'Allocations may be placed on it again.'),
      command: () => command('node', 'eligibility', isEligible ? '-disable' : '-enable', short(node.ID)),
      action: { label: isEligible ? 'Make ineligible' : 'Make eligible', run: async () => {
        await http.put(`/v1/node/${node.ID}/eligibility`, { NodeID: node.ID, Eligibility: isEligible ? 'ineligible' : 'eligible' });
        refreshAll();
        return `${node.Name} is ${isEligible ? 'ineligible' : 'eligible'}.`;
      } },
    })),
    drainActions(node),
    isGone ? button('Purge', () => purge(node), { class: 'danger' }) : null,
  ];
}

function purge(node) {
  dialog({
    title: `Purge ${node.Name}?`,
    body: () => h('p', null, 'The node is forgotten, and what ran there counts as lost. If it comes back it is known again.'),
    command: () => `curl -X PUT '${location.origin}/v1/node/${node.ID}/purge'`,
    action: { label: 'Purge', isDanger: true, run: async () => {
      await removeAndLeave(() => http.put(`/v1/node/${node.ID}/purge`), () => go('/topology'));
      refreshAll();
      return `${node.Name} is forgotten.`;
    } },
  });
}

function capacity(node, allocs) {
  const live = allocs.filter((alloc) => alloc.ClientStatus === 'running' || alloc.ClientStatus === 'pending');
  const sum = (pick) => live.reduce((total, alloc) => total + pick(alloc.AllocatedResources ?? {}), 0);
  const tasks = (own) => Object.values(own.Tasks ?? {});
  const cpu = sum((own) => tasks(own).reduce((total, task) => total + (task.Cpu?.CpuShares ?? 0), 0));
  const memory = sum((own) => tasks(own).reduce((total, task) => total + (task.Memory?.MemoryMB ?? 0), 0));
  const disk = sum((own) => own.Shared?.DiskMB ?? 0);
  const all = { cpu: node.NodeResources.Cpu.CpuShares - (node.ReservedResources?.Cpu?.CpuShares ?? 0), memory: node.NodeResources.Memory.MemoryMB - (node.ReservedResources?.Memory?.MemoryMB ?? 0), disk: node.NodeResources.Disk.DiskMB - (node.ReservedResources?.Disk?.DiskMB ?? 0) };
  const row = (label, used, most, show) => h('tr', { key: label }, h('th', { scope: 'row' }, label), h('td', { class: 'grow' }, meter(used / Math.max(1, most), label, `${show(used)} of ${show(most)}`)), h('td', { class: 'number' }, `${show(used)} of ${show(most)}`));
  return section('Capacity', h('table', { class: 'plain', 'aria-label': 'Capacity' }, h('tbody', null, row('CPU', cpu, all.cpu, (mhz) => `${number(mhz)} MHz`), row('Memory', memory, all.memory, mib), row('Disk', disk, all.disk, mib))));
}

function drivers(node) {
  const rows = Object.entries(node.Drivers ?? {}).sort(([one], [other]) => (one < other ? -1 : 1));
  return section('Drivers', h('div', { class: 'table stack' }, h('table', { 'aria-label': 'Drivers' }, h('tbody', null, rows.map(([name, own]) => h('tr', { key: name },
    h('th', { scope: 'row' }, name), h('td', null, own.Detected ? state(own.Healthy ? 'healthy' : 'unhealthy') : state('not detected')), h('td', { class: 'grow wrap note' }, own.Healthy && own.HealthDescription === 'Healthy' ? '' : own.HealthDescription)))))));
}

function events(node) {
  const rows = [...(node.Events ?? [])].reverse();
  if (rows.length === 0) return null;
  return section('Events', h('div', { class: 'table stack' }, h('table', { 'aria-label': 'Events of the node' }, h('tbody', null, rows.map((own, at) => h('tr', { key: rows.length - at }, h('td', null, moment(own.Timestamp)), h('td', null, own.Subsystem), h('td', { class: 'grow wrap' }, h('bdi', null, own.Message))))))));
}

function attributes(node) {
  const rows = Object.entries(node.Attributes ?? {}).sort(([one], [other]) => (one < other ? -1 : 1));
  return h('details', null, h('summary', null, `Attributes (${rows.length})`), h('table', { class: 'plain', 'aria-label': 'Attributes' }, h('tbody', null, rows.map(([name, value]) => h('tr', { key: name }, h('th', { scope: 'row' }, h('code', null, name)), h('td', { class: 'wrap' }, h('bdi', null, value)))))));
}
