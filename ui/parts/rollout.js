// Rollouts: how far one is, and what can be done with it.

import { h } from '../core/dom.js';
import * as http from '../core/http.js';
import { dialog } from '../core/dialog.js';
import { refreshAll } from '../core/store.js';
import { command, short } from '../core/format.js';
import { jobPath, link } from '../core/router.js';
import { button, moment, pill, state } from './frame.js';
import { statusBar } from './bars.js';

/** A line about a job's deployment in a list. */
export function rolloutRow(job) {
  const own = job.Deployment;
  return h('div', { class: 'rollout' },
    h('a', { href: link(jobPath(job.ID, job.Namespace, 'deployments')), 'data-row': true }, h('bdi', null, job.ID)),
    pill(`version ${own.JobVersion}`),
    state(own.Status),
    statusBar([
      [own.Healthy, 'good', 'healthy'],
      [own.Unhealthy, 'bad', 'unhealthy'],
      [Math.max(0, own.Desired - own.Healthy - own.Unhealthy), 'wait', 'to come'],
    ], 'Deployment'),
    h('span', { class: 'note' }, own.NeedsPromotion ? 'waits for its promotion' : own.StatusDescription),
    moment(own.CreateTime));
}

/** The buttons of a deployment that is going on. */
export function rolloutActions(cx, deployment) {
  if (cx.isReadOnly) return [];
  const groups = Object.values(deployment.TaskGroups ?? {});
  const isGoing = ['running', 'paused', 'blocked', 'pending', 'initializing'].includes(deployment.Status);
  if (!isGoing) return [];
  const canPromote = groups.some((group) => group.DesiredCanaries > 0 && !group.Promoted);
  const act = (title, verb, path, body, { isDanger, flag, text }) => () => dialog({
    title,
    body: () => h('p', null, text),
    command: () => command('deployment', verb, ...(flag ? [flag] : []), short(deployment.ID)),
    action: {
      label: title,
      isDanger,
      async run() {
        await http.put(`/v1/deployment/${path}/${deployment.ID}`, { DeploymentID: deployment.ID, ...body });
        refreshAll();
        return `${title}: done for deployment ${short(deployment.ID)}.`;
      },
    },
  });
  const isPaused = deployment.Status === 'paused';
  return [
    canPromote ? button('Promote', act('Promote', 'promote', 'promote', { All: true }, { text: 'The canaries become the new version: the other allocations are replaced.' }), { class: 'primary' }) : null,
    button(isPaused ? 'Resume' : 'Pause', act(isPaused ? 'Resume' : 'Pause', isPaused ? 'resume' : 'pause', 'pause', { Pause: !isPaused }, { text: isPaused ? 'The deployment goes on.' : 'No more allocations are replaced until it is resumed.' })),
    button('Fail', act('Fail', 'fail', 'fail', {}, { isDanger: true, text: 'The deployment ends here. A job with auto_revert goes back to its last stable version.' }), { class: 'danger' }),
  ];
}
