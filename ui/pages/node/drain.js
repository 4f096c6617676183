// Emptying a node: the question, how far it is, and what it still waits for.

import { h } from '../../core/dom.js';
import * as http from '../../core/http.js';
import { dialog } from '../../core/dialog.js';
import { refreshAll } from '../../core/store.js';
import { allocPath, jobPath, link } from '../../core/router.js';
import { command, counted, duration, nanosecondsOf, short, spanOf, time } from '../../core/format.js';
import { button, moment, section, state } from '../../parts/frame.js';
import { meter } from '../../parts/bars.js';

const DEADLINE = '1h';
// How a drain without patience is asked for, in nanoseconds.
const AT_ONCE = -1e9;
const PATIENCE = [['deadline', 'Up to a deadline'], ['none', 'However long it takes'], ['force', 'Not at all: stop everything at once']];
// Allocations that are named one by one.
const SHOWN_MAX = 50;

/** The buttons that begin, change and end a drain. */
export function drainActions(node) {
  const isDraining = Boolean(node.DrainStrategy);
  return [
    button(isDraining ? 'Change the drain' : 'Drain', () => begin(node)),
    isDraining ? button('Stop the drain', () => end(node)) : null,
  ];
}

/** What the question asks for, as flags of the command line. */
function flags({ patience, deadline, isSystemLeft, message }) {
  return [
    ...(patience === 'deadline' ? ['-deadline', deadline] : [patience === 'none' ? '-no-deadline' : '-force']),
    ...(isSystemLeft ? ['-ignore-system'] : []),
    ...(message === '' ? [] : ['-m', message]),
  ];
}

function begin(node) {
  const before = node.DrainStrategy;
  dialog({
    title: before ? `Change the drain of ${node.Name}` : `Drain ${node.Name}?`,
    state: {
      patience: !before || before.Deadline > 0 ? 'deadline' : before.Deadline === 0 ? 'none' : 'force',
      deadline: before?.Deadline > 0 ? spanOf(before.Deadline) : DEADLINE,
      isSystemLeft: Boolean(before?.IgnoreSystemJobs),
      message: node.DrainStrategy ? node.LastDrain?.Meta?.message ?? '' : '',
    },
    body: (own, set) => [
      h('p', null, 'It takes nothing new. Services move as many at a time as their jobs allow, batch jobs may end, system jobs leave last.'),
      h('label', null, 'How long to wait', h('select', { name: 'patience', value: own.patience, onchange: (event) => set({ patience: event.target.value }) },
        PATIENCE.map(([name, label]) => h('option', { key: name, value: name }, label)))),
      own.patience === 'deadline'
        ? h('label', null, 'Deadline, such as 30m or 1h30m', h('input', { name: 'deadline', class: 'code', required: true, value: own.deadline, oninput: (event) => set({ deadline: event.target.value.trim() }) }))
        : null,
      h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'system', checked: own.isSystemLeft, onchange: (event) => set({ isSystemLeft: event.target.checked }) }), 'leave system jobs where they are'),
      h('label', null, 'Why (optional)', h('input', { name: 'message', value: own.message, oninput: (event) => set({ message: event.target.value }) })),
    ],
    command: (own) => command('node', 'drain', '-enable', '-yes', ...flags(own), short(node.ID)),
    action: { label: before ? 'Change' : 'Drain', isDanger: !before, run: async (own) => {
      const deadline = own.patience === 'deadline' ? nanosecondsOf(own.deadline) : own.patience === 'none' ? 0 : AT_ONCE;
      if (deadline === null || (own.patience === 'deadline' && deadline === 0)) throw new Error('The deadline is a time such as 90s, 30m or 1h30m.');
      await put(node, {
        DrainSpec: { Deadline: deadline, IgnoreSystemJobs: own.isSystemLeft },
        Meta: own.message === '' ? {} : { message: own.message },
      });
      return before ? `The drain of ${node.Name} is changed.` : `${node.Name} drains.`;
    } },
  });
}

function end(node) {
  dialog({
    title: `Stop the drain of ${node.Name}?`,
    state: { isEligible: true },
    body: (own, set) => [
      h('p', null, 'What has left does not come back by itself; what is there stays.'),
      h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'eligible', checked: own.isEligible, onchange: (event) => set({ isEligible: event.target.checked }) }), 'new allocations may be placed on it again'),
    ],
    command: (own) => command('node', 'drain', '-disable', '-yes', ...(own.isEligible ? [] : ['-keep-ineligible']), short(node.ID)),
    action: { label: 'Stop the drain', run: async (own) => {
      await put(node, { DrainSpec: null, MarkEligible: own.isEligible, Meta: node.LastDrain?.Meta ?? {} });
      return `${node.Name} drains no more.`;
    } },
  });
}

async function put(node, wish) {
  await http.put(`/v1/node/${node.ID}/drain`, { NodeID: node.ID, ...wish });
  refreshAll();
}

const isLive = (alloc) => ['running', 'pending', 'unknown'].includes(alloc.ClientStatus);
const isMarked = (alloc) => alloc.DesiredTransition?.Migrate === true;

/** How far the drain of a node is; none where none is under way. */
export function drainProgress(node, allocs) {
  const own = node.DrainStrategy;
  if (!own) return null;
  const counts = (alloc) => !(own.IgnoreSystemJobs && alloc.Job?.Type === 'system');
  const waited = allocs.filter((alloc) => isLive(alloc) && counts(alloc));
  const left = allocs.filter((alloc) => !isLive(alloc) && isMarked(alloc) && time(alloc.ModifyTime) >= time(own.StartedAt)).length;
  const total = waited.length + left;
  const text = total === 0 ? 'Nothing is left on it.' : `${left} of ${counted(total, 'allocation')} ${left === 1 ? 'has' : 'have'} left.`;
  const message = node.LastDrain?.Meta?.message;
  return h('section', { class: 'warning', 'aria-label': 'Drain' },
    h('h2', null, 'Drain'),
    h('p', null, text, ' ', patience(own), own.IgnoreSystemJobs ? ' Allocations of system jobs stay.' : ''),
    meter(total === 0 ? 1 : left / total, 'Drained', `${left} of ${total}`, () => 'good'),
    message ? h('p', { class: 'note' }, 'Why: ', h('bdi', null, message)) : null,
    waited.length === 0 ? null : waiting(waited, own.Deadline > 0));
}

function patience(own) {
  if (own.Deadline < 0) return 'Everything is stopped at once.';
  if (own.Deadline === 0) return 'It waits as long as that takes.';
  const until = time(own.ForceDeadline);
  return until > Date.now() ? `In ${duration(until - Date.now())} what is left is stopped at once.` : 'The deadline has passed: what is left is stopped at once.';
}

function waiting(allocs, hasDeadline) {
  const isLast = allocs.every((alloc) => alloc.Job?.Type === 'system');
  return [
    h('div', { class: 'table stack' }, h('table', { 'aria-label': 'What the drain waits for' },
      h('thead', null, h('tr', null, ['Allocation', 'Job', 'Status', 'Waits for'].map((text) => h('th', { key: text, scope: 'col' }, text)))),
      h('tbody', null, allocs.slice(0, SHOWN_MAX).map((alloc) => h('tr', { key: alloc.ID },
        h('td', null, h('a', { href: link(allocPath(alloc.ID)), 'data-row': true }, h('code', null, short(alloc.ID)))),
        h('td', null, h('a', { href: link(jobPath(alloc.JobID, alloc.Namespace)) }, h('bdi', null, alloc.Name))),
        h('td', null, state(alloc.DesiredStatus === 'run' ? alloc.ClientStatus : 'stopping', alloc.DesiredStatus === 'run' ? undefined : 'busy')),
        h('td', { class: 'grow wrap' }, h('bdi', null, reason(alloc, isLast, hasDeadline)))))))),
    allocs.length > SHOWN_MAX ? h('p', { class: 'note' }, `and ${counted(allocs.length - SHOWN_MAX, 'more')}`) : null,
  ];
}

/** Why an allocation is still there, in plain words. */
function reason(alloc, isLast, hasDeadline) {
  if (alloc.DesiredStatus !== 'run') return 'its tasks to stop: they leave the routes first and get their time to end';
  if (isMarked(alloc)) return 'its replacement to be placed';
  const type = alloc.Job?.Type;
  if (type === 'system') return isLast ? 'its turn: it is told to stop' : 'everything else to leave: system jobs are the last';
  if (type !== 'service') return `its tasks to end by themselves${hasDeadline ? ', or the deadline' : ''}`;
  const group = alloc.Job?.TaskGroups?.find((own) => own.Name === alloc.TaskGroup);
  const most = group?.Migrate?.MaxParallel ?? 1;
  return `its turn: “${alloc.TaskGroup}” moves ${most} at a time, each when the one before is healthy elsewhere`;
}

/** The end of the latest drain, as a fact of the node. */
export function lastDrain(node) {
  const own = node.LastDrain;
  if (!own || node.DrainStrategy) return null;
  return [own.Status, ' ', moment(own.UpdatedAt), own.Meta?.message ? [': ', h('bdi', null, own.Meta.message)] : null];
}
