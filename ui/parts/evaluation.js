// Why something is not placed: one sentence, then the table.

import { h } from '../core/dom.js';
import { counted, number } from '../core/format.js';

/** One sentence about what the scheduler found for a task group. */
export function sentence(group, metric) {
  const more = metric.CoalescedFailures > 0 ? ` (and ${counted(metric.CoalescedFailures, 'more allocation')} like it)` : '';
  if (metric.NodesEvaluated === 0 && sum(metric.NodesAvailable) === 0) {
    return `“${group}” is not placed: no node of its datacenters and node pool takes allocations${more}.`;
  }
  const reasons = [];
  for (const [name, count] of Object.entries(metric.ConstraintFiltered ?? {})) reasons.push([count, `do not satisfy “${name}”`, `does not satisfy “${name}”`]);
  for (const [name, count] of Object.entries(metric.ClassFiltered ?? {})) reasons.push([count, `of the class “${name}” are filtered out`, `of the class “${name}” is filtered out`]);
  for (const [name, count] of Object.entries(metric.DimensionExhausted ?? {})) reasons.push([count, `have too little ${name} left`, `has too little ${name} left`]);
  reasons.sort((one, other) => other[0] - one[0]);
  const text = reasons.map(([count, many, one]) => `${counted(count, 'node')} ${count === 1 ? one : many}`).join(', ');
  return `“${group}” is not placed: ${text || 'no node fits'}${more}.`;
}

const sum = (counts) => Object.values(counts ?? {}).reduce((total, count) => total + count, 0);

/** The sentence and the table of a failed placement. */
export function placement(group, metric) {
  const rows = [
    ['Nodes looked at', number(metric.NodesEvaluated)],
    ['Nodes filtered out', number(metric.NodesFiltered)],
    ['Nodes too full', number(metric.NodesExhausted)],
    ['Nodes in the pool', number(metric.NodesInPool)],
    ...Object.entries(metric.NodesAvailable ?? {}).map(([name, count]) => [`Available in ${name}`, number(count)]),
    ...Object.entries(metric.ConstraintFiltered ?? {}).map(([name, count]) => [`Constraint ${name}`, counted(count, 'node')]),
    ...Object.entries(metric.ClassFiltered ?? {}).map(([name, count]) => [`Class ${name}`, counted(count, 'node')]),
    ...Object.entries(metric.DimensionExhausted ?? {}).map(([name, count]) => [`Exhausted: ${name}`, counted(count, 'node')]),
  ];
  return h('div', { class: 'placement' },
    h('p', { class: 'why' }, sentence(group, metric)),
    h('details', null, h('summary', null, 'What was looked at'),
      h('table', { class: 'plain', 'aria-label': 'Why' }, h('tbody', null, rows.map(([name, value]) =>
        h('tr', { key: name }, h('th', { scope: 'row' }, name), h('td', { class: 'number' }, value)))))));
}

/** All failed placements of an evaluation or a plan. */
export const placements = (failed) => Object.entries(failed ?? {}).map(([group, metric]) => h('div', { key: group }, placement(group, metric)));
