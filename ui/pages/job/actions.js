// What can be done with a job.

import { h } from '../../core/dom.js';
import * as http from '../../core/http.js';
import { dialog } from '../../core/dialog.js';
import { refreshAll, removeAndLeave } from '../../core/store.js';
import { command, counted, short } from '../../core/format.js';
import { go, jobPath, link } from '../../core/router.js';

// What makes `job allocs` print the ids of those that run.
const RUNNING = '{{range .}}{{if eq .ClientStatus "running"}}{{.ID}} {{end}}{{end}}';

export function jobActions(job, data, button) {
  const { cx } = job;
  if (cx.isReadOnly) return [];
  const isChild = Boolean(data.ParentID);
  const scalable = data.Stop || data.Type.startsWith('sys') || isChild ? [] : data.TaskGroups;
  return [
    scalable.length > 0 ? button('Scale', () => scale(job, scalable)) : null,
    data.ParameterizedJob && !data.Dispatched && !data.Stop ? button('Dispatch', () => dispatch(job, data)) : null,
    data.Periodic && !data.Stop ? button('Launch now', () => force(job)) : null,
    data.Status === 'running' && !data.Stop ? button('Restart', () => restart(job)) : null,
    data.Stop ? h('a', { class: 'button', href: link(`/jobs/run?job=${encodeURIComponent(`${job.id}@${job.namespace}`)}`) }, 'Run again') : button('Stop', () => stop(job), { class: 'danger' }),
    data.Stop ? button('Purge', () => purge(job), { class: 'danger' }) : null,
  ];
}

async function done(text) {
  refreshAll();
  return text;
}

function scale(job, groups) {
  dialog({
    title: `Scale ${job.id}`,
    state: { group: groups[0].Name, count: groups[0].Count },
    body: (state, set) => [
      groups.length > 1
        ? h('label', null, 'Task group', h('select', { value: state.group, onchange: (event) => set({ group: event.target.value, count: groups.find((group) => group.Name === event.target.value).Count }) },
          groups.map((group) => h('option', { key: group.Name, value: group.Name }, group.Name))))
        : null,
      h('label', null, 'Count', h('input', { type: 'number', name: 'count', min: '0', step: '1', required: true, value: String(state.count), oninput: (event) => set({ count: event.target.value }) })),
    ],
    command: (state) => command('job', 'scale', ...job.flags, job.id, state.group, state.count),
    action: {
      label: 'Scale',
      async run(state) {
        const count = Number(state.count);
        if (!Number.isInteger(count) || count < 0 || state.count === '') throw new Error('The count is a whole number from 0 on.');
        await http.put(job.api('/scale'), { Count: count, Target: { Job: job.id, Group: state.group }, Message: 'submitted in the web UI' });
        return done(`“${state.group}” of ${job.id} is asked to have ${counted(count, 'allocation')}.`);
      },
    },
  });
}

function stop(job) {
  dialog({
    title: `Stop ${job.id}?`,
    body: () => h('p', null, 'All its allocations are stopped, its instances leave the routes first. The job and its versions stay until they are collected.'),
    command: () => command('job', 'stop', ...job.flags, job.id),
    action: { label: 'Stop', isDanger: true, run: async () => {
      await http.del(job.api());
      return done(`${job.id} stops.`);
    } },
  });
}

function purge(job) {
  dialog({
    title: `Purge ${job.id}?`,
    body: () => h('p', null, 'The job, its versions and what is known of its allocations are removed for good.'),
    command: () => command('job', 'stop', '-purge', ...job.flags, job.id),
    action: { label: 'Purge', isDanger: true, run: async () => {
      await removeAndLeave(() => http.del(job.api('', 'purge=true')), () => go('/jobs'));
      return done(`${job.id} is gone.`);
    } },
  });
}

function restart(job) {
  dialog({
    title: `Restart ${job.id}?`,
    body: () => h('p', null, 'The tasks of its running allocations are restarted in place, one allocation after the other.'),
    command: () => `for id in $(${command('job', 'allocs', ...job.flags, '-t', RUNNING, job.id)}); do trivet alloc restart $id; done`,
    action: { label: 'Restart', isDanger: true, run: async () => {
      const { data } = await http.get(job.api('/allocations'));
      const running = data.filter((alloc) => alloc.ClientStatus === 'running' && alloc.DesiredStatus === 'run');
      const failed = [];
      for (const alloc of running) {
        try {
          await http.put(`/v1/client/allocation/${alloc.ID}/restart`, {});
        } catch (error) {
          failed.push(`${short(alloc.ID)}: ${error.message}`);
        }
      }
      if (failed.length > 0) throw new Error(`${running.length - failed.length} of ${running.length} restarted. ${failed.join('; ')}`);
      return done(`${counted(running.length, 'allocation')} of ${job.id} restarted.`);
    } },
  });
}

function dispatch(job, data) {
  const own = data.ParameterizedJob;
  const names = [...(own.MetaRequired ?? []).map((name) => [name, true]), ...(own.MetaOptional ?? []).map((name) => [name, false])];
  dialog({
    title: `Dispatch ${job.id}`,
    state: { meta: {}, payload: '' },
    body: (state, set) => [
      names.map(([name, isRequired]) => h('label', { key: name }, isRequired ? name : `${name} (optional)`,
        h('input', { value: state.meta[name] ?? '', required: isRequired, oninput: (event) => set({ meta: { ...state.meta, [name]: event.target.value } }) }))),
      own.Payload === 'forbidden' ? null : h('label', null, own.Payload === 'required' ? 'Payload' : 'Payload (optional)',
        h('textarea', { rows: '5', value: state.payload, required: own.Payload === 'required', oninput: (event) => set({ payload: event.target.value }) })),
    ],
    command: (state) => command('job', 'dispatch', ...Object.entries(state.meta).filter(([, value]) => value !== '').flatMap(([name, value]) => ['-meta', `${name}=${value}`]), ...job.flags, job.id, ...(state.payload ? ['-'] : [])),
    action: { label: 'Dispatch', run: async (state) => {
      const payload = new TextEncoder().encode(state.payload);
      const meta = Object.fromEntries(Object.entries(state.meta).filter(([, value]) => value !== ''));
      const answer = await http.put(job.api('/dispatch'), { Meta: meta, Payload: state.payload === '' ? null : btoa(String.fromCharCode(...payload)) });
      go(jobPath(answer.DispatchedJobID, job.namespace));
      return `Dispatched ${answer.DispatchedJobID}.`;
    } },
  });
}

function force(job) {
  dialog({
    title: `Launch ${job.id} now?`,
    body: () => h('p', null, 'A run is started at once; the next one comes at its time.'),
    command: () => command('job', 'periodic', 'force', ...job.flags, job.id),
    action: { label: 'Launch', run: async () => {
      await http.put(job.api('/periodic/force'), {});
      return done(`${job.id} is launched.`);
    } },
  });
}
