// The deployment panel: the stable version beside the new one, by what they do.

import { h } from '../../core/dom.js';
import * as http from '../../core/http.js';
import { dialog } from '../../core/dialog.js';
import { refreshAll } from '../../core/store.js';
import { command, duration, milliseconds, percent, rate, time } from '../../core/format.js';
import * as traffic from '../../core/traffic.js';
import { button, pill, state } from '../../parts/frame.js';
import { statusBar } from '../../parts/bars.js';
import { restartsOf } from '../../parts/allocations.js';
import { rolloutActions } from '../../parts/rollout.js';
import { judge, shareText } from './judge.js';

export function panel(job, data, deployment, allocs) {
  const groups = Object.entries(deployment.TaskGroups ?? {});
  const canaries = groups.reduce((sum, [, group]) => sum + (group.DesiredCanaries ?? 0), 0);
  const desired = groups.reduce((sum, [, group]) => sum + (group.DesiredTotal ?? 0), 0);
  const placed = groups.reduce((sum, [, group]) => sum + (group.PlacedCanaries?.length ?? 0), 0);
  const isPromoted = isPromotedNow(deployment);
  const running = allocs.filter((alloc) => alloc.ClientStatus === 'running' && alloc.DesiredStatus === 'run');
  const fresh = running.filter((alloc) => alloc.JobVersion === deployment.JobVersion);
  const stable = running.filter((alloc) => alloc.JobVersion !== deployment.JobVersion);
  const isGoing = ['running', 'paused', 'blocked', 'pending'].includes(deployment.Status);
  const judged = canaries > 0 ? judges(job, deployment, isGoing) : [];
  const isJudged = judged.some((own) => own.Rollout);
  return h('section', { class: 'panel', 'aria-label': 'Deployment' },
    h('div', { class: 'panel-head' },
      h('h2', null, `Version ${deployment.JobVersion}`),
      state(deployment.Status),
      h('span', { class: 'note' }, deployment.StatusDescription),
      h('div', { class: 'actions' }, rolloutActions(job.cx, deployment), isGoing && !isPromoted && !isJudged ? shareButton(job, data) : null)),
    isGoing && canaries > 0 && !isPromoted
      ? h('p', { class: 'canaries' }, `${placed} of ${desired + placed} instances run the new version as ${placed === 1 ? 'a canary' : 'canaries'}.`)
      : null,
    h('div', { class: 'sides' },
      stable.length > 0 || (isGoing && deployment.JobVersion > 0) ? side(job, 'Stable', stable, versionsOf(stable), deployment, false, judged) : null,
      side(job, canaries > 0 && !isPromoted ? 'Canary' : 'New', fresh, [deployment.JobVersion], deployment, true, judged)),
    groups.map(([name, group]) => h('div', { key: name, class: 'group' },
      h('h3', null, h('bdi', null, name)),
      statusBar([[group.HealthyAllocs, 'good', 'healthy'], [group.UnhealthyAllocs, 'bad', 'unhealthy'], [Math.max(0, group.PlacedAllocs - group.HealthyAllocs - group.UnhealthyAllocs), 'busy', 'placed'], [Math.max(0, wanted(group) - group.PlacedAllocs), 'wait', 'to come']], name),
      h('span', { class: 'note' }, `${group.HealthyAllocs} of ${wanted(group)} healthy${group.UnhealthyAllocs > 0 ? `, ${group.UnhealthyAllocs} unhealthy` : ''}`),
      group.AutoPromote ? pill('promotes itself') : null,
      group.AutoRevert ? pill('reverts itself') : null,
      isGoing ? timeLeft(group) : null,
      judged.filter((own) => own.Group === name).map((own) => judge(job, deployment, own, isGoing)))));
}

/** The groups with canaries as their judge sees them; what it counts changes with the traffic. */
function judges(job, deployment, isGoing) {
  const topics = [`Deployment:${job.id}`, ...(isGoing ? ['Traffic'] : [])];
  return job.cx.use(`/v1/trivet/rollout/${deployment.ID}?namespace=${encodeURIComponent(job.namespace)}`, topics).data?.Groups ?? [];
}

const wanted = (group) => (group.DesiredCanaries > 0 && !group.Promoted ? group.DesiredCanaries : group.DesiredTotal);

function timeLeft(group) {
  const until = time(group.RequireProgressBy);
  if (until === 0 || wanted(group) === group.HealthyAllocs) return null;
  return h('span', { class: 'note' }, until > Date.now() ? `${duration(until - Date.now())} left to get healthy` : 'out of time');
}

const versionsOf = (allocs) => [...new Set(allocs.map((alloc) => alloc.JobVersion))].sort((one, other) => other - one);

/** One side: its instances and what came of their requests. */
function side(job, title, allocs, versions, deployment, isNew, judged) {
  const rows = traffic.all().filter((row) => row.JobID === job.id && row.Namespace === job.namespace);
  const isOwn = (row) => (row.JobVersion === deployment.JobVersion) === isNew;
  const seen = [...new Set(rows.filter(isOwn).map((row) => row.JobVersion))];
  const own = traffic.together('jobVersion', seen.map((version) => traffic.jobKey(job.namespace, job.id, version)));
  const both = traffic.of('job', traffic.jobKey(job.namespace, job.id));
  const routes = Math.max(1, new Set(rows.map((row) => row.Route)).size);
  const effective = rows.filter(isOwn).reduce((sum, row) => sum + row.Share, 0) / routes;
  // What the judge was told to give; several groups may be told differently.
  const told = judged.filter((group) => group.Rollout?.Steps.length > 0).map((group) => group.Rollout.Share);
  const configured = [...new Set(told)].map((share) => shareText(isNew ? share : 10000 - share)).join(', ');
  const healthy = allocs.filter((alloc) => alloc.DeploymentStatus?.Healthy !== false).length;
  const figures = [
    ['Instances', String(allocs.length)],
    configured && !isPromotedNow(deployment) ? ['Share configured', configured] : null,
    ['Share effective', rows.length === 0 ? '–' : percent(effective)],
    ['Share seen', both.attempts > 0 ? percent(own.attempts / both.attempts) : '–'],
    ['Requests/s', rows.length === 0 ? '–' : rate(own.rate)],
    ['Success', own.success === null ? '–' : percent(own.success)],
    ['p50', milliseconds(own.p50)],
    ['p99', milliseconds(own.p99)],
    ['Restarts', String(allocs.reduce((sum, alloc) => sum + restartsOf(alloc), 0))],
    ['Healthy', `${healthy} of ${allocs.length}`],
  ].filter(Boolean);
  return h('div', { class: isNew ? 'side new' : 'side' },
    h('h3', null, title, ' ', versions.map((version) => pill(`version ${version}`))),
    h('dl', null, figures.map(([name, value]) => h('div', { key: name }, h('dt', null, name), h('dd', null, value)))));
}

const isPromotedNow = (deployment) => Object.values(deployment.TaskGroups ?? {}).every((group) => group.DesiredCanaries === 0 || group.Promoted);

/** Services whose canaries can be told apart by a tag: name, tag, and the routes at which they are. */
function splittable(data) {
  const found = [];
  for (const group of data.TaskGroups ?? []) {
    for (const own of [...(group.Services ?? []), ...(group.Tasks ?? []).flatMap((task) => task.Services ?? [])]) {
      const tag = (own.CanaryTags ?? []).find((candidate) => !(own.Tags ?? []).includes(candidate) && !candidate.startsWith('urlprefix-'));
      if (tag) found.push({ service: own.Name, tag });
    }
  }
  return found;
}

function shareButton(job, data) {
  if (job.cx.isReadOnly) return null;
  return button('Set the share', () => setShare(job, data));
}

function setShare(job, data) {
  const services = splittable(data);
  const routes = (service) => [...new Set(traffic.all().filter((row) => row.Service === service).map((row) => row.Route))];
  const choices = services.flatMap((own) => routes(own.service).map((route) => ({ ...own, route })));
  if (choices.length === 0) {
    dialog({
      title: 'Set the share',
      body: () => h('p', null, 'The share is set for instances with a tag that only canaries have. Give the service ', h('code', null, 'canary_tags'), ' with one tag more than its ', h('code', null, 'tags'), ', or say the steps in ', h('code', null, 'update { traffic { steps = [5, 25] } }'), '.'),
    });
    return;
  }
  dialog({
    title: 'Share of the canaries',
    state: { at: 0, share: '5' },
    body: (own, set) => [
      choices.length > 1 ? h('label', null, 'Route', h('select', { value: String(own.at), onchange: (event) => set({ at: Number(event.target.value) }) }, choices.map((choice, at) => h('option', { key: at, value: String(at) }, `${choice.route} → ${choice.service}`)))) : null,
      h('label', null, 'Percent of the requests', h('input', { type: 'number', min: '0', max: '100', step: 'any', required: true, value: own.share, oninput: (event) => set({ share: event.target.value }) })),
      h('p', { class: 'note' }, '0 goes back to the job\'s own shares.'),
    ],
    command: (own) => command('route', 'weight', '-tags', choices[own.at].tag, choices[own.at].service, choices[own.at].route, Number(own.share) / 100),
    action: { label: 'Set', run: async (own) => {
      const share = Number(own.share);
      if (!(share >= 0 && share <= 100) || own.share === '') throw new Error('The share is a number from 0 to 100.');
      const { service, route, tag } = choices[own.at];
      await http.put('/v1/trivet/route/weight', { Service: service, Src: route, Tags: [tag], Weight: share === 0 ? null : share / 100 });
      refreshAll();
      return share === 0 ? `The share at ${route} is no longer set by hand.` : `${percent(share / 100)} of the requests at ${route} go to the canaries.`;
    } },
  });
}
