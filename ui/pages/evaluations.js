// Evaluations: what the scheduler was asked, and why something is not placed.

import { h } from '../core/dom.js';
import { query } from '../core/http.js';
import { setQuery, evalPath, jobPath, link, nodePath } from '../core/router.js';
import { command, counted, short } from '../core/format.js';
import { button, choice, empty, facts, filterField, head, id, moment, ready, section, state } from '../parts/frame.js';
import { evaluationTable, outcome } from '../parts/evaluations.js';
import { placements } from '../parts/evaluation.js';
import { commandLine } from '../parts/command.js';

const STATES = [['', 'Every status'], ...['blocked', 'pending', 'complete', 'failed', 'canceled'].map((own) => [own, own])];

// The newest that are shown; there may be very many.
const SHOWN_MAX = 300;

export default function page(cx) {
  const table = evaluationTable(cx);
  // What was found before, until the next is there.
  let before = null;
  // New ones wait until somebody asks for them, and others stay where they are, also when they wait no longer: what is
  // read is not pushed away.
  let held = { filter: null, places: new Map() };
  const hold = (filter, rows) => {
    if (held.filter !== filter || held.places.size === 0) held = { filter, places: new Map(rows.map((row, at) => [row.ID, at])) };
    const place = (row) => held.places.get(row.ID);
    return rows.filter((row) => place(row) !== undefined).sort((one, other) => place(one) - place(other));
  };
  return {
    title: () => 'Evaluations',
    view() {
      const current = cx.query.get('currentEval');
      if (current) return one(cx, current);
      const [text, status] = ['text', 'status'].map((name) => cx.query.get(name) ?? '');
      const filter = wanted(text, status);
      const list = (more) => cx.use(`/v1/evaluations${query({ namespace: '*', ...more })}`, ['Evaluation']);
      const own = list({ filter, per_page: SHOWN_MAX, reverse: 'true' });
      // What waits comes first, however old it is.
      const waiting = status ? null : list({ filter: wanted(text, 'blocked'), per_page: SHOWN_MAX, reverse: 'true' });
      const count = cx.use(`/v1/evaluations/count${query({ namespace: '*', filter })}`, ['Evaluation']).data?.Count;
      if (own.data) before = own.data;
      const shownFirst = own.data || own.error || !before ? own : { data: before };
      return [
        head({ title: 'Evaluations' }),
        h('div', { class: 'filters' },
          filterField('Filter by job, id or cause', text, (value) => setQuery({ text: value })),
          choice('Status', STATES, status, (value) => setQuery({ status: value }))),
        ready(shownFirst, (rows) => {
          const blocked = waiting?.data ?? [];
          const known = new Set(blocked.map((row) => row.ID));
          const all = [...blocked, ...rows.filter((row) => !known.has(row.ID))];
          if (all.length === 0) return empty(filter ? 'No evaluation is like that.' : 'There are none.');
          // What is kept from an earlier look is not what is held.
          const isRead = (one) => !one || (one.data && !one.isReading);
          const shown = held.filter === filter || (isRead(own) && isRead(waiting)) ? hold(filter, all) : all;
          const fresh = all.length - shown.length;
          return [
            h('p', { class: 'count' },
              count > all.length ? `the newest ${all.length} of ${counted(count, 'evaluation')}` : counted(all.length, 'evaluation'),
              fresh > 0 ? [', ', h('button', { type: 'button', class: 'link', onclick: () => {
                held.places.clear();
                cx.update();
              } }, `show ${fresh} new`)] : null),
            table(shown),
          ];
        }),
        commandLine(command('eval', 'list', ...(status ? ['-status', status] : []))),
      ];
    },
  };
}

/** The agent's filter for a text and a status; empty for all. */
function wanted(text, status) {
  const quoted = JSON.stringify(text);
  const parts = [
    status ? `Status == "${status}"` : '',
    text ? `(JobID contains ${quoted} or ID contains ${quoted} or TriggeredBy contains ${quoted})` : '',
  ];
  return parts.filter(Boolean).join(' and ');
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
