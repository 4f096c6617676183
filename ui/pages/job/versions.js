// Versions of a job: what changed from one to the next, and the way back.

import { h } from '../../core/dom.js';
import * as http from '../../core/http.js';
import { dialog } from '../../core/dialog.js';
import { refreshAll } from '../../core/store.js';
import { command } from '../../core/format.js';
import { button, moment, pill, ready } from '../../parts/frame.js';
import { diff } from '../../parts/diff.js';

export function versions(job, data) {
  return ready(job.use('/versions', 'diffs=true'), (answer) =>
    h('ol', { class: 'versions-list' }, answer.Versions.map((own, at) => h('li', { key: own.Version },
      h('div', { class: 'version-head' },
        h('h3', null, `Version ${own.Version}`),
        own.Version === data.Version ? pill('current') : null,
        own.Stable ? pill('stable', 'good') : null,
        own.VersionTag ? pill(own.VersionTag.Name) : null,
        moment(own.SubmitTime),
        h('div', { class: 'actions' }, own.Version === data.Version || job.cx.isReadOnly ? null : button('Revert to it', () => revert(job, data, own)))),
      answer.Diffs?.[at]
        ? h('details', { open: at === 0 }, h('summary', null, `What changed since version ${answer.Versions[at + 1]?.Version ?? ''}`), diff(answer.Diffs[at]))
        : h('p', { class: 'note' }, 'The first that is kept.')))));
}

function revert(job, data, version) {
  dialog({
    title: `Revert ${job.id} to version ${version.Version}?`,
    body: () => h('p', null, `Version ${version.Version} is run again as version ${data.Version + 1}; its allocations replace those of now by the rules of its update block.`),
    command: () => command('job', 'revert', ...job.flags, job.id, version.Version),
    action: { label: 'Revert', run: async () => {
      await http.put(job.api('/revert'), { JobID: job.id, JobVersion: version.Version, EnforcePriorVersion: data.Version });
      refreshAll();
      return `${job.id} goes back to version ${version.Version}.`;
    } },
  });
}
