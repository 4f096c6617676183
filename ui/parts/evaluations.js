// Evaluations as rows, each with why something is not placed.

import { h } from '../core/dom.js';
import { evalPath, jobPath, link } from '../core/router.js';
import { short } from '../core/format.js';
import { Table, rowLink } from './table.js';
import { moment, state } from './frame.js';
import { sentence } from './evaluation.js';

/** One sentence about an evaluation. */
export function outcome(own) {
  const failed = Object.entries(own.FailedTGAllocs ?? {});
  if (failed.length > 0) return failed.map(([group, metric]) => sentence(group, metric)).join(' ');
  if (own.StatusDescription) return own.StatusDescription;
  const updates = Object.values(own.PlanAnnotations?.DesiredTGUpdates ?? {});
  const sum = (name) => updates.reduce((total, update) => total + (update[name] ?? 0), 0);
  const said = [['Place', 'placed'], ['Stop', 'stopped'], ['Migrate', 'moved'], ['DestructiveUpdate', 'replaced'], ['InPlaceUpdate', 'updated in place'], ['Canary', sum('Canary') === 1 ? 'placed as canary' : 'placed as canaries'], ['Preemptions', 'preempted']]
    .map(([name, word]) => [sum(name), word]).filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`);
  return said.join(', ') || (own.Status === 'complete' ? 'nothing to do' : '');
}

export function evaluationTable(cx, { withJob = true } = {}) {
  const table = new Table(cx, {
    label: 'Evaluations',
    key: (own) => own.ID,
    columns: [
      { label: 'Evaluation', width: '7rem', cell: (own) => rowLink(link(evalPath(own.ID)), short(own.ID)) },
      ...(withJob ? [{ label: 'Job', class: 'cut', width: '13rem', sort: (own) => own.JobID, cell: (own) => (own.JobID ? h('a', { href: link(jobPath(own.JobID, own.Namespace)) }, h('bdi', null, own.JobID)) : '') }] : []),
      { label: 'Status', class: 'status', width: '7.5rem', sort: (own) => own.Status, cell: (own) => state(own.Status) },
      { label: 'Because of', class: 'wide cut', width: '12rem', sort: (own) => own.TriggeredBy, cell: (own) => own.TriggeredBy },
      { label: 'Result', class: 'grow cut', cell: (own) => h('span', { title: outcome(own) }, outcome(own)) },
      { label: 'When', class: 'wide ago', width: '9rem', isDown: true, sort: (own) => own.CreateTime, cell: (own) => moment(own.CreateTime) },
    ],
  });
  return (rows) => table.view(rows);
}
