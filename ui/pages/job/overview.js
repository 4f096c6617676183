// A job at a glance.

import { h } from '../../core/dom.js';
import { link, servicePath, jobPath } from '../../core/router.js';
import { mib, number } from '../../core/format.js';
import * as traffic from '../../core/traffic.js';
import { facts, moment, section } from '../../parts/frame.js';
import { stateParts, statusBar } from '../../parts/bars.js';
import { allocTable, ordered } from '../../parts/allocations.js';
import { placements } from '../../parts/evaluation.js';
import { requests } from '../../parts/requests.js';
import { panel } from './panel.js';

const SHOWN_MAX = 10;

export function overview(job, data) {
  job.part('traffic', () => job.cx.onEnd(traffic.watch(job.cx.update)) ?? true);
  const summary = job.use('/summary').data;
  const allocs = job.use('/allocations').data ?? [];
  const evals = job.use('/evaluations').data ?? [];
  const deployment = job.use('/deployment').data;
  const table = job.part('short table', () => allocTable(job.cx));
  const isGoing = deployment && ['running', 'paused', 'blocked', 'pending'].includes(deployment.Status);
  return [
    data.StatusDescription ? h('p', { class: 'note' }, data.StatusDescription) : null,
    isGoing ? panel(job, data, deployment, allocs) : null,
    failing(evals),
    section('Task groups', groups(data, summary)),
    requests('job', traffic.jobKey(job.namespace, job.id)),
    section('Allocations', allocs.length === 0 ? h('p', { class: 'empty' }, 'There are none.') : table.view(ordered(allocs).slice(0, SHOWN_MAX)),
      allocs.length > SHOWN_MAX ? h('p', null, h('a', { href: link(job.path('allocations')) }, `All ${allocs.length}`)) : null),
    section('Job', facts([
      ['Id', h('bdi', null, data.ID)],
      ['Namespace', data.Namespace],
      ['Priority', String(data.Priority)],
      ['Datacenters', (data.Datacenters ?? []).join(', ')],
      ['Node pool', data.NodePool],
      ['Submitted', moment(data.SubmitTime)],
      ['Schedule', [data.Periodic?.Spec, ...(data.Periodic?.Specs ?? [])].filter(Boolean).join(', ')],
      ['Parent', data.ParentID ? h('a', { href: link(jobPath(data.ParentID, data.Namespace)) }, data.ParentID) : null],
      ['Services', services(data)],
      ...Object.entries(data.Meta ?? {}).map(([name, value]) => [`Meta ${name}`, h('bdi', null, value)]),
      ...(data.UI?.Links ?? []).map((own) => ['Link', h('a', { href: own.URL, rel: 'noopener noreferrer', target: '_blank' }, own.Label || own.URL)]),
    ])),
  ];
}

/** Why something of the job is not placed, by its newest evaluation that failed to. */
function failing(evals) {
  const blocked = evals.find((own) => own.Status === 'blocked' && own.FailedTGAllocs);
  const newest = blocked ?? (evals[0]?.FailedTGAllocs ? evals[0] : null);
  if (!newest) return null;
  return h('section', { class: 'warning', 'aria-label': 'Not placed' }, placements(newest.FailedTGAllocs));
}

function groups(data, summary) {
  return h('div', { class: 'table' }, h('table', { 'aria-label': 'Task groups' },
    h('thead', null, h('tr', null, [['Group'], ['Count', 'number'], ['Allocations'], ['Tasks', 'wide'], ['Asks for', 'wide']].map(([text, kind]) => h('th', { key: text, scope: 'col', class: kind }, text)))),
    h('tbody', null, data.TaskGroups.map((group) => h('tr', { key: group.Name },
      h('th', { scope: 'row' }, h('bdi', null, group.Name)),
      h('td', { class: 'number' }, String(group.Count)),
      h('td', { class: 'grow' }, statusBar(stateParts(summary?.Summary?.[group.Name] ?? {}), group.Name)),
      h('td', { class: 'wide' }, (group.Tasks ?? []).map((task) => `${task.Name} (${task.Driver})`).join(', ')),
      h('td', { class: 'wide' }, asks(group)))))));
}

function asks(group) {
  const sum = (pick) => (group.Tasks ?? []).reduce((total, task) => total + (pick(task.Resources ?? {}) ?? 0), 0);
  return `${number(sum((own) => own.CPU))} MHz, ${mib(sum((own) => own.MemoryMB))}`;
}

export function serviceNames(data) {
  const names = new Set();
  for (const group of data.TaskGroups ?? []) {
    for (const own of [...(group.Services ?? []), ...(group.Tasks ?? []).flatMap((task) => task.Services ?? [])]) names.add(own.Name);
  }
  return [...names];
}

function services(data) {
  const names = serviceNames(data);
  if (names.length === 0) return null;
  return names.map((name, at) => [at > 0 ? ', ' : '', h('a', { href: link(servicePath(name)) }, h('bdi', null, name))]);
}
