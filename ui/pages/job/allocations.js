// All allocations of a job.

import { h } from '../../core/dom.js';
import { setQuery } from '../../core/router.js';
import { counted } from '../../core/format.js';
import { choice, empty, filterField, ready } from '../../parts/frame.js';
import { allocTable, ordered } from '../../parts/allocations.js';

const STATES = [['', 'Every status'], ...['running', 'pending', 'complete', 'failed', 'lost', 'unknown'].map((own) => [own, own])];

export function allocations(job) {
  const { cx } = job;
  const table = job.part('table', () => allocTable(cx));
  const [text, status, group] = ['text', 'status', 'group'].map((name) => cx.query.get(name) ?? '');
  return ready(job.use('/allocations', 'all=true'), (rows) => {
    const groups = [...new Set(rows.map((row) => row.TaskGroup))].sort();
    const shown = ordered(rows).filter((row) => (!text || row.ID.startsWith(text.toLowerCase()) || row.Name.toLowerCase().includes(text.toLowerCase()) || row.NodeName.toLowerCase().includes(text.toLowerCase()))
      && (!status || row.ClientStatus === status) && (!group || row.TaskGroup === group));
    return [
      h('div', { class: 'filters' },
        filterField('Filter by id, name or node', text, (value) => setQuery({ text: value })),
        choice('Status', STATES, status, (value) => setQuery({ status: value })),
        groups.length > 1 ? choice('Task group', [['', 'Every group'], ...groups.map((own) => [own, own])], group, (value) => setQuery({ group: value })) : null),
      rows.length === 0 ? empty('There are none.') : [h('p', { class: 'count' }, shown.length === rows.length ? counted(rows.length, 'allocation') : `${shown.length} of ${counted(rows.length, 'allocation')}`), table.view(shown)],
    ];
  });
}
