// How the canaries of a group get their share of the requests: the steps, what is missing to pass
// this one, what the judge says and why, and what an operator can do about it.

import { h } from '../../core/dom.js';
import * as http from '../../core/http.js';
import { dialog } from '../../core/dialog.js';
import { refreshAll } from '../../core/store.js';
import { command, counted, duration, percent, short } from '../../core/format.js';
import { button, moment, state } from '../../parts/frame.js';

const WHOLE = 10000;
const WORDS = {
  warming: 'busy', judging: 'good', held: 'busy', frozen: 'busy', baking: 'good', passed: 'good', aborted: 'bad',
};
const CLOCKED = ['judging', 'held', 'frozen', 'baking'];

export const shareText = (parts) => percent(parts / WHOLE);

/** The judge of one group; none where canaries take their turn with everybody else. */
export function judge(job, deployment, shown, isGoing) {
  const own = shown.Rollout;
  if (!own) return null;
  const now = shown.Standing;
  const acts = isGoing && !job.cx.isReadOnly && own.Phase !== 'aborted' ? actions(deployment, shown) : [];
  return h('div', { class: 'judge' },
    h('div', { class: 'judge-head' },
      state(own.Phase, WORDS[own.Phase] ?? 'calm'),
      h('span', { class: 'verdict' }, h('bdi', null, own.Reason)),
      h('div', { class: 'actions' }, acts)),
    own.Steps.length > 0 ? steps(own, now) : null,
    isGoing ? missing(own, now) : null,
    evidence(now?.Evidence ?? []),
    own.Transitions.length > 0 ? history(own) : null);
}

function steps(own, now) {
  const part = now && now.HoldMs > 0 ? Math.min(1, now.ElapsedMs / now.HoldMs) : 0;
  const isOver = own.Phase === 'aborted';
  return h('ol', { class: 'steps', 'aria-label': 'Steps' }, own.Steps.map((share, at) => {
    const place = own.Step > at ? 'done' : own.Step === at && !isOver ? 'current' : 'to-come';
    return h('li', { key: at, class: place, 'aria-current': place === 'current' ? 'step' : undefined },
      h('span', { class: 'fill', style: { width: place === 'done' ? '100%' : place === 'current' ? `${part * 100}%` : '0' } }),
      h('span', null, shareText(share)));
  }));
}

/** What is missing to pass the step, and how long it takes at least. */
function missing(own, now) {
  const place = own.Steps.length === 0 ? null
    : own.Step >= own.Steps.length ? `All ${own.Steps.length} steps passed`
      : `Step ${own.Step + 1} of ${own.Steps.length}`;
  const parts = [place, own.IsManual ? 'the share was set by hand' : null];
  if (now && CLOCKED.includes(own.Phase)) {
    const left = now.HoldMs - now.ElapsedMs;
    if (left > 0) parts.push(`${duration(left)} left`);
    if (now.AttemptsMissing > 0 && own.Phase !== 'baking') parts.push(`${counted(now.AttemptsMissing, 'more good attempt')} needed`);
    if (now.Awaited?.length > 0 && own.Phase !== 'baking') parts.push(`a good ${now.Awaited.join(', ')} needed`);
  }
  const shown = parts.filter(Boolean);
  return shown.length === 0 ? null : h('p', { class: 'note' }, `${shown.join(', ')}.`);
}

function evidence(all) {
  if (all.length === 0) return null;
  const isMeasured = (row) => typeof row.Value === 'number';
  const rows = all.filter((row) => !isMeasured(row));
  return [rows.length > 0 ? compared(rows) : null, all.length > rows.length ? measured(all.filter(isMeasured)) : null];
}

function measured(rows) {
  const heads = ['Measured', 'Value', 'Limit'];
  return h('div', { class: 'table' }, h('table', { 'aria-label': 'Metrics beyond their limits' },
    h('thead', null, h('tr', null, heads.map((text) => h('th', { key: text, scope: 'col' }, text)))),
    h('tbody', null, rows.map((row, at) => h('tr', { key: at },
      h('td', null, row.Metric), h('td', { class: 'number' }, String(row.Value)), h('td', { class: 'number' }, String(row.Limit)))))));
}

function compared(rows) {
  const heads = ['Compared', 'Route', 'Canary', 'Bad of canaries', 'Bad of stable', 'Limit'];
  return h('div', { class: 'table' }, h('table', { 'aria-label': 'What speaks against the canaries' },
    h('thead', null, h('tr', null, heads.map((text) => h('th', { key: text, scope: 'col' }, text)))),
    h('tbody', null, rows.map((row, at) => h('tr', { key: at },
      h('td', null, row.Metric), h('td', null, row.Route ? h('code', null, h('bdi', null, row.Route)) : 'all'), h('td', null, row.Instance ? h('code', null, short(row.Instance)) : 'all'),
      h('td', { class: 'number' }, `${row.CanaryBad} of ${row.CanaryAttempts}`), h('td', { class: 'number' }, `${row.StableBad} of ${row.StableAttempts}`), h('td', { class: 'number' }, percent(row.Limit)))))));
}

function history(own) {
  return h('details', null, h('summary', null, `How it came here (${own.Transitions.length})`),
    h('ul', { class: 'transitions' }, [...own.Transitions].reverse().map((change) => h('li', { key: change.Revision },
      moment(change.At), ' ', state(change.Phase, WORDS[change.Phase] ?? 'calm'), ` ${shareText(change.Share)} by `, h('bdi', null, change.Actor), ': ', h('bdi', null, change.Reason), evidence(change.Evidence ?? [])))));
}

function actions(deployment, shown) {
  const own = shown.Rollout;
  const isStepped = own.Steps.length > 0;
  const act = (title, verb, text) => button(title, () => dialog({
    title: `${title}: ${shown.Group}`,
    body: () => h('p', null, text),
    command: () => line(deployment, shown, verb),
    action: { label: title, run: () => move(deployment, shown, { Act: verb }) },
  }));
  return [
    button('Set the share', () => setShare(deployment, shown)),
    isStepped && own.Step < own.Steps.length ? act('Next step', 'next', 'The canaries get the share of the next step, whatever was counted.') : null,
    isStepped && own.Step > 0 ? act('Step back', 'back', 'The canaries get the share of the step before.') : null,
    own.IsManual ? act('Go on', 'resume', 'The rollout goes on by its steps after a share was set by hand.') : null,
  ];
}

function setShare(deployment, shown) {
  dialog({
    title: `Share of the canaries of ${shown.Group}`,
    state: { share: String(shown.Rollout.Share / 100) },
    body: (own, set) => [
      h('label', null, 'Percent of the requests', h('input', { type: 'number', name: 'share', min: '0', max: '100', step: '0.01', required: true, value: own.share, oninput: (event) => set({ share: event.target.value }) })),
      h('p', { class: 'note' }, 'It stays until somebody goes on with the steps; canaries are judged all the same.'),
    ],
    command: (own) => line(deployment, shown, 'set-share', own.share),
    action: { label: 'Set', run: (own) => {
      const share = Number(own.share);
      if (!(share >= 0 && share <= 100) || own.share === '') throw new Error('The share is a number from 0 to 100.');
      return move(deployment, shown, { Act: 'set-share', Share: String(own.share) });
    } },
  });
}

const line = (deployment, shown, verb, ...more) => command('rollout', verb, '-group', shown.Group, short(deployment.ID), ...more);

async function move(deployment, shown, request) {
  const changed = await http.put(`/v1/trivet/rollout/${deployment.ID}`, { Group: shown.Group, Actor: 'web UI', Reason: '', ...request });
  refreshAll();
  const own = changed?.TaskGroups?.[shown.Group]?.Rollout;
  return own ? `${shown.Group}: ${own.Phase}, ${shareText(own.Share)}.` : `${shown.Group} is asked for it.`;
}
