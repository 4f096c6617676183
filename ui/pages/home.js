// What needs somebody first, what is being rolled out, how much traffic there is, and how full it is.

import { h } from '../core/dom.js';
import { jobPath, link, nodePath } from '../core/router.js';
import { counted, mib, milliseconds, number, percent, rate } from '../core/format.js';
import * as traffic from '../core/traffic.js';
import { empty, figure, head, ready, section } from '../parts/frame.js';
import { meter, spark } from '../parts/bars.js';
import { commandLine } from '../parts/command.js';
import { rolloutRow } from '../parts/rollout.js';

const SHOWN_MAX = 12;

export default function page(cx) {
  if (cx.ui.Ingress !== false) cx.onEnd(traffic.watch(cx.update));
  return {
    title: () => 'Home',
    view() {
      const jobs = cx.use('/v1/trivet/jobs?namespace=*', ['Job', 'Allocation', 'Deployment', 'Evaluation']);
      const nodes = cx.use('/v1/trivet/nodes', ['Node', 'Allocation']);
      return [
        head({ title: 'Home', actions: cx.isReadOnly ? [] : [h('a', { class: 'button primary', href: link('/jobs/run') }, 'Run a job')] }),
        ready(jobs, (rows) => (rows.length === 0 ? first(cx) : [troubles(rows, nodes.data ?? []), rollouts(rows)])),
        h('div', { class: 'columns' }, cx.ui.Ingress ? requests() : null, ready(nodes, (rows) => capacity(rows))),
      ];
    },
  };
}

function first(cx) {
  return section('Nothing runs yet',
    cx.isReadOnly ? empty('Jobs that run will be seen here.') : [
      h('p', null, 'Paste a job file, look at its plan, and run it: ', h('a', { href: link('/jobs/run') }, 'run a job'), '.'),
      commandLine('trivet job run FILE'),
    ]);
}

/** What fails or waits, worst first: `{rank, text, path, what}`. */
export function troublesOf(jobs, nodes) {
  const found = [];
  for (const node of nodes) {
    if (node.Status !== 'ready') found.push({ rank: 0, tone: 'bad', what: 'node', name: node.Name, path: nodePath(node.ID), text: `is ${node.Status}` });
    else if (node.Drain) found.push({ rank: 3, tone: 'busy', what: 'node', name: node.Name, path: nodePath(node.ID), text: 'is draining' });
  }
  for (const job of jobs) {
    if (job.Stop) continue;
    const path = jobPath(job.ID, job.Namespace);
    if (job.Failing > 0) found.push({ rank: 1, tone: 'bad', what: 'job', name: job.ID, path, text: `${counted(job.Failing, 'allocation')} failed and ${job.Failing === 1 ? 'was' : 'were'} not replaced` });
    if (job.Counts.Queued > 0) found.push({ rank: 1, tone: 'bad', what: 'job', name: job.ID, path: `${path}/evaluations`, text: `${counted(job.Counts.Queued, 'allocation')} cannot be placed` });
    if (job.Deployment?.Status === 'failed') found.push({ rank: 2, tone: 'bad', what: 'job', name: job.ID, path: `${path}/deployments`, text: `last deployment failed: ${job.Deployment.StatusDescription}` });
    if (job.Restarts > 0) found.push({ rank: 4, tone: 'busy', what: 'job', name: job.ID, path, text: `${counted(job.Restarts, 'restart')} of running tasks` });
  }
  return found.sort((one, other) => one.rank - other.rank || (one.name < other.name ? -1 : 1));
}

function troubles(jobs, nodes) {
  const found = troublesOf(jobs, nodes);
  if (found.length === 0) {
    const running = jobs.filter((job) => job.Status === 'running').length;
    return section('Needs attention', h('p', { class: 'fine' }, `Nothing: ${counted(running, 'job')} running, ${counted(nodes.length, 'node')} ready.`));
  }
  return section('Needs attention',
    h('ul', { class: 'troubles' }, found.slice(0, SHOWN_MAX).map((own) => h('li', { key: `${own.what} ${own.name} ${own.text}`, class: own.tone },
      h('span', { class: 'kind' }, own.what), ' ', h('a', { href: link(own.path), 'data-row': true }, h('bdi', null, own.name)), ' ', own.text))),
    found.length > SHOWN_MAX ? h('p', null, h('a', { href: link('/jobs?show=failing') }, `and ${found.length - SHOWN_MAX} more`)) : null);
}

function rollouts(jobs) {
  const going = jobs.filter((job) => ['running', 'paused', 'blocked', 'pending'].includes(job.Deployment?.Status));
  if (going.length === 0) return null;
  return section('Rollouts in progress', h('ul', { class: 'rollouts' }, going.slice(0, SHOWN_MAX).map((job) => h('li', { key: `${job.Namespace} ${job.ID}` }, rolloutRow(job)))));
}

function requests() {
  const sum = traffic.of('all', '');
  const { history } = traffic;
  const rates = history.map((own) => own.rate);
  return section('Requests',
    h('div', { class: 'figures' },
      figure(rate(sum.rate), 'requests/s'),
      figure(sum.success === null ? '–' : percent(1 - sum.success), 'errors'),
      figure(milliseconds(sum.p50), 'p50'),
      figure(milliseconds(sum.p99), 'p99'),
      figure(number(sum.inFlight), 'in flight')),
    h('div', null, h('span', { class: 'spark-name' }, 'Requests a second, the last minute and a half'), spark(rates, { label: 'Requests a second', count: 90 })),
    h('div', null, h('span', { class: 'spark-name' }, 'Errors a second'), spark(history.map((own) => own.failed), { label: 'Errors a second', count: 90, top: Math.max(0, ...rates), tone: 'bad' })));
}

function capacity(nodes) {
  const sum = (pick) => nodes.reduce((total, node) => total + pick(node), 0);
  const up = nodes.filter((node) => node.Status === 'ready');
  const all = (name) => sum((node) => node.Capacity[name]);
  const used = (name) => sum((node) => node.Used[name]);
  const row = (label, name, show) => h('tr', null,
    h('th', { scope: 'row' }, label),
    h('td', { class: 'grow' }, meter(used(name) / Math.max(1, all(name)), label, `${show(used(name))} of ${show(all(name))}`)),
    h('td', { class: 'number' }, `${show(used(name))} of ${show(all(name))}`));
  return section('Capacity',
    h('table', { class: 'plain', 'aria-label': 'Capacity' }, h('tbody', null,
      row('CPU', 'CpuShares', (mhz) => `${number(mhz)} MHz`),
      row('Memory', 'MemoryMB', mib),
      row('Disk', 'DiskMB', mib))),
    h('p', null, h('a', { href: link('/topology') }, counted(nodes.length, 'node')), `, ${up.length} ready, ${counted(sum((node) => node.Running), 'allocation')} running`));
}

