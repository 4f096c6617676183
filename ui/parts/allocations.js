// Allocations as rows.

import { h } from '../core/dom.js';
import { allocPath, jobPath, link, nodePath } from '../core/router.js';
import { short } from '../core/format.js';
import { Table, rowLink } from './table.js';
import { moment, pill, state } from './frame.js';

export const restartsOf = (alloc) => Object.values(alloc.TaskStates ?? {}).reduce((total, task) => total + (task.Restarts ?? 0), 0);

/** Allocations, those that are wanted first, the newest first. */
export const ordered = (rows) => [...rows].sort((one, other) =>
  (one.DesiredStatus === 'run' ? 0 : 1) - (other.DesiredStatus === 'run' ? 0 : 1) || other.CreateIndex - one.CreateIndex || (one.Name < other.Name ? -1 : 1));

export function allocState(alloc) {
  const own = alloc.ClientStatus;
  if (own === 'running' && alloc.DesiredStatus !== 'run') return state('stopping', 'busy');
  return state(own, own === 'complete' ? 'calm' : undefined);
}

export function healthPill(alloc) {
  const own = alloc.DeploymentStatus;
  return [
    own?.Canary ? pill('canary', 'busy') : null,
    own?.Healthy === true ? pill('healthy', 'good') : own?.Healthy === false ? pill('unhealthy', 'bad') : null,
  ];
}

/** A table of allocations; `withJob` and `withNode` say what a row tells. */
export function allocTable(cx, { withJob = false, withNode = true } = {}) {
  return new Table(cx, {
    label: 'Allocations',
    columns: [
      { label: 'Allocation', cell: (alloc) => rowLink(link(allocPath(alloc.ID)), short(alloc.ID)) },
      ...(withJob ? [{ label: 'Job', cell: (alloc) => h('a', { href: link(jobPath(alloc.JobID, alloc.Namespace)) }, h('bdi', null, alloc.JobID)) }] : []),
      { label: 'Name', class: 'wide', sort: (alloc) => alloc.Name, cell: (alloc) => h('bdi', null, alloc.Name) },
      { label: 'Status', sort: (alloc) => alloc.ClientStatus, cell: (alloc) => [allocState(alloc), healthPill(alloc)] },
      { label: 'Version', class: withJob ? 'number wide' : 'number', sort: (alloc) => alloc.JobVersion, cell: (alloc) => String(alloc.JobVersion) },
      ...(withNode ? [{ label: 'Node', class: 'wide', sort: (alloc) => alloc.NodeName, cell: (alloc) => h('a', { href: link(nodePath(alloc.NodeID)) }, h('bdi', null, alloc.NodeName)) }] : []),
      { label: 'Restarts', class: 'number wide', cell: (alloc) => String(restartsOf(alloc) || '') },
      { label: 'Created', class: 'wide', isDown: true, sort: (alloc) => alloc.CreateTime, cell: (alloc) => moment(alloc.CreateTime) },
      { label: 'Changed', class: 'wide', isDown: true, sort: (alloc) => alloc.ModifyTime, cell: (alloc) => moment(alloc.ModifyTime) },
    ],
  });
}
