// All jobs.

import { h } from '../core/dom.js';
import { jobPath, link, setQuery } from '../core/router.js';
import { counted, percent, rate } from '../core/format.js';
import * as traffic from '../core/traffic.js';
import { choice, empty, filterField, head, moment, pill, ready, state } from '../parts/frame.js';
import { Table, rowLink } from '../parts/table.js';
import { stateParts, statusBar } from '../parts/bars.js';
import { commandLine } from '../parts/command.js';
import { troublesOf } from './home.js';

const TYPES = [['', 'Every type'], ['service', 'service'], ['batch', 'batch'], ['system', 'system'], ['sysbatch', 'sysbatch']];
const STATES = [['', 'Every status'], ['running', 'running'], ['pending', 'pending'], ['dead', 'dead'], ['failing', 'needs attention'], ['deploying', 'being rolled out']];

export default function page(cx) {
  cx.onEnd(traffic.watch(cx.update));
  const rateOf = (job) => {
    const key = traffic.jobKey(job.Namespace, job.ID);
    return traffic.has('job', key) ? traffic.of('job', key) : undefined;
  };
  const table = new Table(cx, {
    label: 'Jobs',
    key: (job) => `${job.Namespace}\n${job.ID}`,
    columns: [
      { label: 'Job', sort: (job) => job.ID, cell: (job) => [rowLink(link(jobPath(job.ID, job.Namespace)), job.ID), job.Namespace === 'default' ? null : pill(job.Namespace)] },
      { label: 'Status', class: 'status', sort: (job) => job.Status, cell: (job) => state(job.Stop ? 'stopped' : job.Status, job.Stop || (job.Status === 'dead' && job.Type.includes('batch')) ? 'calm' : undefined) },
      { label: 'Type', class: 'wide', sort: (job) => job.Type, cell: (job) => job.Type },
      { label: 'Allocations', class: 'grow', cell: versions },
      {
        label: 'Requests/s', class: 'number rate', isDown: true, sort: (job) => rateOf(job)?.rate ?? -1,
        cell: (job) => {
          const own = rateOf(job);
          if (!own) return '';
          return [rate(own.rate), own.success !== null && own.success < 0.999 ? h('span', { class: 'bad-text' }, ` ${percent(1 - own.success)}`) : null];
        },
      },
      { label: 'Last deploy', class: 'wide deploy', isDown: true, sort: (job) => job.SubmitTime, cell: (job) => [moment(job.SubmitTime), ' ', deployed(job)] },
    ],
  });
  return {
    title: () => 'Jobs',
    view() {
      const own = cx.use('/v1/trivet/jobs?namespace=*', ['Job', 'Allocation', 'Deployment', 'Evaluation']);
      const [text, type, status] = ['text', 'type', 'status'].map((name) => cx.query.get(name) ?? '');
      return [
        head({ title: 'Jobs', actions: cx.isReadOnly ? [] : [h('a', { class: 'button primary', href: link('/jobs/run') }, 'Run a job')] }),
        h('div', { class: 'filters' },
          filterField('Filter by name', text, (value) => setQuery({ text: value })),
          choice('Type', TYPES, type, (value) => setQuery({ type: value })),
          choice('Status', STATES, status || (cx.query.get('show') ?? ''), (value) => setQuery({ status: value, show: '' }))),
        ready(own, (rows) => {
          const shown = filtered(rows, text, type, status || (cx.query.get('show') ?? ''));
          if (rows.length === 0) return empty('There are no jobs.');
          if (shown.length === 0) return empty('No job is like that.');
          return [h('p', { class: 'count' }, shown.length === rows.length ? counted(rows.length, 'job') : `${shown.length} of ${counted(rows.length, 'job')}`), table.view(shown)];
        }),
        commandLine('trivet job status'),
      ];
    },
  };
}

function filtered(rows, text, type, status) {
  const small = text.toLowerCase();
  return rows.filter((job) => {
    if (small && !job.ID.toLowerCase().includes(small) && !job.Name.toLowerCase().includes(small)) return false;
    if (type && job.Type !== type) return false;
    if (status === 'failing') return troublesOf([job], []).length > 0;
    if (status === 'deploying') return ['running', 'paused', 'blocked'].includes(job.Deployment?.Status);
    return !status || job.Status === status;
  });
}

/** A bar for each version that has allocations, the newest first. */
function versions(job) {
  const own = job.Versions.filter((version) => version.Version === job.Version || version.Running + version.Starting > 0);
  if (own.length < 2) return h('div', { class: 'versions' }, statusBar(stateParts(job.Counts)), h('span', { class: 'note' }, ofWanted(job)));
  return h('div', { class: 'versions' }, own.map((version) => [
    h('span', { class: 'note' }, `v${version.Version}`),
    statusBar(stateParts(version), `Version ${version.Version}`, version.Running + version.Starting),
  ]), h('span', { class: 'note' }, ofWanted(job)));
}

const ofWanted = (job) => (job.Wanted > 0 ? `${job.Counts.Running}/${job.Wanted}` : '');

function deployed(job) {
  const own = job.Deployment;
  if (!own || own.Status === 'successful' || own.Status === 'cancelled') return null;
  return own.NeedsPromotion ? pill('promote?', 'busy') : state(own.Status);
}
