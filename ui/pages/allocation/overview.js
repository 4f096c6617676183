// An allocation at a glance: tasks with what happened to them, what it uses, where it answers.

import { h } from '../../core/dom.js';
import { allocPath, evalPath } from '../../core/router.js';
import { bytes, clock, milliseconds, number, percent, rate } from '../../core/format.js';
import * as traffic from '../../core/traffic.js';
import { facts, figure, id, moment, pill, section, state } from '../../parts/frame.js';
import { spark } from '../../parts/bars.js';
import { Usage } from './usage.js';

export function overview(own, alloc) {
  own.part('traffic', () => own.cx.onEnd(traffic.watch(own.cx.update)) ?? true);
  const isRunning = alloc.ClientStatus === 'running';
  if (!isRunning) own.parts.usage?.stop();
  const usage = isRunning ? own.part('usage', () => new Usage(own.cx, own.id)) : null;
  return [
    alloc.DesiredDescription || alloc.ClientDescription ? h('p', { class: 'note' }, [alloc.ClientDescription, alloc.DesiredDescription].filter(Boolean).join('; ')) : null,
    usage ? used(usage, alloc) : null,
    requests(alloc),
    checks(own, alloc),
    Object.entries(alloc.TaskStates ?? {}).map(([name, task]) => taskSection(name, task)),
    section('Allocation', facts([
      ['Id', h('code', null, alloc.ID)],
      ['Task group', h('bdi', null, alloc.TaskGroup)],
      ['Addresses', addresses(alloc)],
      ['Evaluation', id(alloc.EvalID, evalPath(alloc.EvalID))],
      ['Replaces', alloc.PreviousAllocation ? id(alloc.PreviousAllocation, allocPath(alloc.PreviousAllocation)) : null],
      ['Replaced by', alloc.NextAllocation ? id(alloc.NextAllocation, allocPath(alloc.NextAllocation)) : null],
      ['Preempted by', alloc.PreemptedByAllocation ? id(alloc.PreemptedByAllocation, allocPath(alloc.PreemptedByAllocation)) : null],
      ['Created', moment(alloc.CreateTime)],
      ['Changed', moment(alloc.ModifyTime)],
      ['Rescheduled', (alloc.RescheduleTracker?.Events ?? []).length > 0 ? `${alloc.RescheduleTracker.Events.length} times` : null],
    ])),
  ];
}

function addresses(alloc) {
  const ports = alloc.AllocatedResources?.Shared?.Ports ?? [];
  return ports.map((port) => `${port.Label}: ${port.HostIP.includes(':') ? `[${port.HostIP}]` : port.HostIP}:${port.Value}`).join(', ');
}

function used(usage, alloc) {
  const asked = Object.values(alloc.AllocatedResources?.Tasks ?? {});
  const cpu = asked.reduce((sum, task) => sum + (task.Cpu?.CpuShares ?? 0), 0);
  const memory = asked.reduce((sum, task) => sum + Math.max(task.Memory?.MemoryMB ?? 0, task.Memory?.MemoryMaxMB ?? 0), 0) * 1024 * 1024;
  const last = usage.last;
  return section('Usage', h('div', { class: 'columns' },
    h('div', null, h('p', null, 'CPU ', h('b', null, last ? `${number(last.cpu)} MHz` : '–'), ` of ${number(cpu)} MHz`), spark(usage.cpu, { label: 'CPU in MHz', count: usage.count, top: cpu })),
    h('div', null, h('p', null, 'Memory ', h('b', null, last ? bytes(last.memory) : '–'), ` of ${bytes(memory)}`), spark(usage.memory, { label: 'Memory in bytes', count: usage.count, top: memory }))));
}

function requests(alloc) {
  if (!traffic.has('alloc', alloc.ID)) return null;
  const own = traffic.of('alloc', alloc.ID);
  return section('Requests', h('div', { class: 'figures' },
    figure(rate(own.rate), 'requests/s'),
    figure(own.success === null ? '–' : percent(own.success), 'success'),
    figure(milliseconds(own.p50), 'p50'),
    figure(milliseconds(own.p99), 'p99'),
    figure(String(own.inFlight), 'in flight')));
}

function checks(own, alloc) {
  if (!own.cx.ui.Catalog || alloc.ClientStatus !== 'running') return null;
  const path = `/v1/trivet/catalog/v1/health/node/${encodeURIComponent(alloc.NodeName)}?filter=${encodeURIComponent(`ServiceID contains "${alloc.ID}"`)}`;
  const rows = own.cx.use(path, ['CatalogService', `Allocation:${alloc.ID}`]).data ?? [];
  if (rows.length === 0) return null;
  return section('Checks', h('div', { class: 'table stack' }, h('table', { 'aria-label': 'Checks' },
    h('thead', null, h('tr', null, ['Service', 'Check', 'Status', 'Output'].map((text) => h('th', { key: text, scope: 'col' }, text)))),
    h('tbody', null, rows.map((row) => h('tr', { key: row.CheckID },
      h('td', null, h('bdi', null, row.ServiceName)), h('td', null, h('bdi', null, row.Name)), h('td', null, state(row.Status)), h('td', { class: 'grow cut note' }, h('bdi', { title: row.Output }, row.Output))))))));
}

function taskSection(name, task) {
  const events = [...(task.Events ?? [])].reverse();
  return section(h('span', null, 'Task ', h('bdi', null, name), ' ', state(task.State, task.Failed ? 'bad' : task.State === 'dead' ? 'calm' : undefined), task.Restarts > 0 ? pill(`${task.Restarts} restarts`, 'busy') : null),
    h('div', { class: 'table stack' }, h('table', { 'aria-label': `Events of ${name}` },
      h('tbody', null, events.map((event, at) => h('tr', { key: `${event.Time} ${event.Type} ${events.length - at}` },
        h('td', { class: 'when' }, h('time', { title: clock(event.Time) }, clock(event.Time))),
        h('td', null, h('b', null, event.Type)),
        h('td', { class: 'grow wrap' }, h('bdi', null, event.DisplayMessage || event.Message))))))),
    h('p', { class: 'note' }, task.StartedAt ? ['Started ', moment(task.StartedAt), task.FinishedAt ? [', ended ', moment(task.FinishedAt)] : null] : 'Not started.'));
}

