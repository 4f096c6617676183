// A job: a tab each for what there is to know of it.

import { h } from '../core/dom.js';
import { jobOf, jobPath, link } from '../core/router.js';
import { command } from '../core/format.js';
import { head, pill, ready, state, tabs, button } from '../parts/frame.js';
import { commandLine } from '../parts/command.js';
import { jobActions } from './job/actions.js';
import { overview } from './job/overview.js';
import { deployments } from './job/deployments.js';
import { versions } from './job/versions.js';
import { evaluations } from './job/evaluations.js';
import { definition } from './job/definition.js';
import { allocations } from './job/allocations.js';

const TABS = { '': overview, allocations, deployments, versions, evaluations, definition };

export default function page(cx) {
  const key = jobOf(cx.parameters.job);
  const namespace = encodeURIComponent(key.namespace);
  const base = `/v1/job/${encodeURIComponent(key.id)}`;
  const job = {
    ...key,
    cx,
    path: (tab) => jobPath(key.id, key.namespace, tab),
    api: (rest = '', query = '') => `${base}${rest}?namespace=${namespace}${query ? `&${query}` : ''}`,
    /** An answer about the job that changes with it. */
    use: (rest, query) => cx.use(job.api(rest, query), [`Job:${key.id}`, `Allocation:${key.id}`, `Deployment:${key.id}`, `Evaluation:${key.id}`]),
    flags: key.namespace === 'default' ? [] : ['-namespace', key.namespace],
    parts: {},
  };
  /** Something of the job's page that lives as long as the page. */
  job.part = (name, make) => (job.parts[name] ??= make());
  return {
    title: () => key.id,
    view() {
      const own = job.use('');
      const tab = TABS[cx.parameters.tab ?? ''] ? (cx.parameters.tab ?? '') : '';
      return [
        head({
          trail: [['Jobs', '/jobs']],
          title: own.data?.Name || key.id,
          pills: own.data ? [state(own.data.Stop ? 'stopped' : own.data.Status, own.data.Stop ? 'calm' : undefined), pill(own.data.Type), pill(`version ${own.data.Version}`), key.namespace === 'default' ? null : pill(key.namespace)] : [],
          actions: own.data ? [h('a', { class: 'button', href: link(job.path('logs')) }, 'Logs'), ...jobActions(job, own.data, button)] : [],
        }),
        tabs([['', 'Overview'], ['allocations', 'Allocations'], ['deployments', 'Deployment'], ['versions', 'Versions'], ['evaluations', 'Evaluations'], ['definition', 'Definition']], tab, job.path),
        ready(own, (data) => TABS[tab](job, data)),
        commandLine(command('job', ...lineOf(tab), ...job.flags, key.id)),
      ];
    },
  };
}

const lineOf = (tab) => ({
  '': ['status'],
  allocations: ['allocs'],
  deployments: ['deployments'],
  versions: ['history', '-p'],
  evaluations: ['status', '-evals'],
  definition: ['inspect'],
}[tab] ?? ['status']);
