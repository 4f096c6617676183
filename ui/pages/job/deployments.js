// Deployments of a job: the newest as a panel, then the earlier ones.

import { h } from '../../core/dom.js';
import { short } from '../../core/format.js';
import * as traffic from '../../core/traffic.js';
import { empty, moment, ready, section, state } from '../../parts/frame.js';
import { panel } from './panel.js';

export function deployments(job, data) {
  job.part('traffic', () => job.cx.onEnd(traffic.watch(job.cx.update)) ?? true);
  const allocs = job.use('/allocations').data ?? [];
  return ready(job.use('/deployments'), (rows) => {
    if (rows.length === 0) return empty('There was no deployment: jobs of this type or with max_parallel = 0 have none.');
    const [newest, ...earlier] = rows;
    return [
      panel(job, data, newest, allocs),
      earlier.length === 0 ? null : section('Earlier', h('div', { class: 'table' }, h('table', { 'aria-label': 'Earlier deployments' },
        h('thead', null, h('tr', null, [['Deployment'], ['Version', 'number'], ['Status'], ['Description', 'wide'], ['When']].map(([text, kind]) => h('th', { key: text, scope: 'col', class: kind }, text)))),
        h('tbody', null, earlier.map((own) => h('tr', { key: own.ID },
          h('td', null, h('code', { title: own.ID }, short(own.ID))),
          h('td', { class: 'number' }, String(own.JobVersion)),
          h('td', null, state(own.Status)),
          h('td', { class: 'wide' }, own.StatusDescription),
          h('td', null, moment(own.CreateTime)))))))),
    ];
  });
}
