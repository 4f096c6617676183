// Evaluations: what the scheduler was asked, and why something is not placed.

import { h } from '../core/dom.js';
import { setQuery, evalPath, jobPath, link, nodePath } from '../core/router.js';
import { command, counted, short } from '../core/format.js';
import { button, choice, empty, facts, filterField, head, id, moment, ready, section, state } from '../parts/frame.js';
import { evaluationTable, outcome } from '../parts/evaluations.js';
import { placements } from '../parts/evaluation.js';
import { commandLine } from '../parts/command.js';

const STATES = [['', 'Every status'], ...['blocked', 'pending', 'complete', 'failed', 'canceled'].map((own) => [own, own])];

export default function page(cx) {
  const table = evaluationTable(cx);
  return {
    title: () => 'Evaluations',
    view() {
      const current = cx.query.get('currentEval');
      if (current) return one(cx, current);
      const own = cx.use('/v1/evaluations?namespace=*', ['Evaluation']);
      const [text, status] = ['text', 'status'].map((name) => cx.query.get(name) ?? '');
      return [
        head({ title: 'Evaluations' }),
        h('div', { class: 'filters' },
          filterField('Filter by job, id or cause', text, (value) => setQuery({ text: value })),
          choice('Status', STATES, status, (value) => setQuery({ status: value }))),
        ready(own, (rows) => {
          const small = text.toLowerCase();
          const shown = rows.filter((row) => (!status || row.Status === status) && (!small || (row.JobID ?? '').toLowerCase().includes(small) || row.ID.startsWith(small) || row.TriggeredBy.includes(small)));
          // What waits comes first.
          shown.sort((a, b) => (a.Status === 'blocked' ? 0 : 1) - (b.Status === 'blocked' ? 0 : 1) || b.CreateIndex - a.CreateIndex);
          if (rows.length === 0) return empty('There are none.');
          return [h('p', { class: 'count' }, shown.length === rows.length ? counted(rows.length, 'evaluation') : `${shown.length} of ${counted(rows.length, 'evaluation')}`), table(shown)];
        }),
        commandLine(command('eval', 'list', ...(status ? ['-status', status] : []))),
      ];
    },
  };
}

function one(cx, wanted) {
  const own = cx.use(`/v1/evaluation/${encodeURIComponent(wanted)}?related=true`, [`Evaluation:${wanted}`]);
  return [
    head({ trail: [['Evaluations', '/evaluations']], title: `Evaluation ${short(wanted)}`, pills: own.data ? [state(own.data.Status)] : [], actions: [button('All', () => setQuery({ currentEval: '' }))] }),
    ready(own, (row) => [
      h('p', { class: row.FailedTGAllocs ? 'why' : 'fine' }, outcome(row)),
      placements(row.FailedTGAllocs),
      section('Evaluation', facts([
        ['Job', row.JobID ? h('a', { href: link(jobPath(row.JobID, row.Namespace)) }, h('bdi', null, row.JobID)) : null],
        ['Because of', row.TriggeredBy],
        ['Type', row.Type],
        ['Priority', String(row.Priority)],
        ['Node', row.NodeID ? id(row.NodeID, nodePath(row.NodeID)) : null],
        ['Waits until', row.WaitUntil && !row.WaitUntil.startsWith('0001') ? moment(row.WaitUntil) : null],
        ['Before it', row.PreviousEval ? id(row.PreviousEval, evalPath(row.PreviousEval)) : null],
        ['After it', row.NextEval ? id(row.NextEval, evalPath(row.NextEval)) : null],
        ['Waits in', row.BlockedEval ? id(row.BlockedEval, evalPath(row.BlockedEval)) : null],
        ['Created', moment(row.CreateTime)],
        ['Changed', moment(row.ModifyTime)],
      ])),
      (row.RelatedEvals ?? []).length > 0
        ? section('Related', h('ul', null, row.RelatedEvals.map((other) => h('li', { key: other.ID }, id(other.ID, evalPath(other.ID)), ' ', state(other.Status), ' ', other.TriggeredBy))))
        : null,
    ]),
    commandLine(command('eval', 'status', short(wanted))),
  ];
}
