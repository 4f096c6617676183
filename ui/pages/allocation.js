// An allocation: what happens with it, its output, its files, and a terminal in it.

import { h } from '../core/dom.js';
import * as http from '../core/http.js';
import { dialog } from '../core/dialog.js';
import { refreshAll } from '../core/store.js';
import { allocPath, jobPath, nodePath, link } from '../core/router.js';
import { command, short } from '../core/format.js';
import { button, choice, head, pill, ready, tabs } from '../parts/frame.js';
import { allocState, healthPill } from '../parts/allocations.js';
import { commandLine } from '../parts/command.js';
import { Logs } from '../parts/logs.js';
import { overview } from './allocation/overview.js';
import { files } from './allocation/files.js';
import { terminal } from './allocation/terminal.js';

export default function page(cx) {
  const { id } = cx.parameters;
  const own = { cx, id, parts: {}, part: (name, make) => (own.parts[name] ??= make()) };
  const tasksOf = (alloc) => Object.keys(alloc.TaskStates ?? {}).length > 0
    ? Object.keys(alloc.TaskStates)
    : (alloc.Job?.TaskGroups?.find((group) => group.Name === alloc.TaskGroup)?.Tasks ?? []).map((task) => task.Name);
  own.tasksOf = tasksOf;
  const TABS = {
    '': overview,
    logs: (of, alloc) => logsOf(of, tasksOf(alloc)).view(),
    files,
    exec: terminal,
  };
  return {
    title: () => `Allocation ${short(id)}`,
    view() {
      const row = cx.use(`/v1/allocation/${encodeURIComponent(id)}`, [`Allocation:${id}`]);
      const { data } = row;
      const tab = TABS[cx.parameters.tab ?? ''] ? (cx.parameters.tab ?? '') : '';
      return [
        head({
          trail: [['Jobs', '/jobs'], ...(data ? [[data.JobID, jobPath(data.JobID, data.Namespace)]] : [])],
          title: data?.Name ?? short(id),
          pills: data ? [allocState(data), healthPill(data), pill(`version ${data.JobVersion}`), h('a', { class: 'pill', href: link(nodePath(data.NodeID)) }, h('bdi', null, data.NodeName))] : [],
          actions: data ? actions(own, data, tasksOf(data)) : [],
        }),
        tabs([['', 'Overview'], ['logs', 'Logs'], ['files', 'Files'], ...(cx.isReadOnly ? [] : [['exec', 'Terminal']])], tab, (name) => allocPath(id, name)),
        ready(row, (alloc) => TABS[tab](own, alloc)),
        tab === '' ? commandLine(command('alloc', 'status', short(id))) : null,
      ];
    },
  };
}

function logsOf(own, tasks) {
  return own.part('logs', () => {
    let task = own.cx.query.get('task') ?? '';
    return new Logs(own.cx, {
      withSource: tasks.length > 1,
      parameters: () => ({ alloc: own.id, task }),
      nameOf: (frame) => frame.Task,
      command: (type) => command('alloc', 'logs', '-f', ...(type === 'stderr' ? ['-stderr'] : []), short(own.id), ...(task ? [task] : [])),
      tools: (restart) => (tasks.length < 2 ? null : choice('Task', [['', 'Every task'], ...tasks.map((name) => [name, name])], task, (value) => {
        task = value;
        restart();
        own.cx.update();
      })),
    });
  });
}

function actions(own, data, tasks) {
  if (own.cx.isReadOnly) return [];
  const isRunning = data.ClientStatus === 'running' && data.DesiredStatus === 'run';
  if (!isRunning) return [];
  const taskField = (state, set) => (tasks.length < 2 ? null : h('label', null, 'Task', h('select', { value: state.task, onchange: (event) => set({ task: event.target.value }) },
    h('option', { key: '', value: '' }, 'Every task'), tasks.map((name) => h('option', { key: name, value: name }, name)))));
  return [
    button('Restart', () => dialog({
      title: `Restart ${data.Name}?`,
      state: { task: '' },
      body: (state, set) => [h('p', null, 'Its running tasks are stopped and started in place.'), taskField(state, set)],
      command: (state) => command('alloc', 'restart', short(own.id), state.task),
      action: { label: 'Restart', isDanger: true, run: async (state) => {
        await http.put(`/v1/client/allocation/${own.id}/restart`, state.task ? { TaskName: state.task } : {});
        refreshAll();
        return `${data.Name} is restarted.`;
      } },
    })),
    button('Signal', () => dialog({
      title: `Send a signal to ${data.Name}`,
      state: { task: '', signal: 'SIGHUP' },
      body: (state, set) => [
        h('label', null, 'Signal', h('input', { value: state.signal, required: true, oninput: (event) => set({ signal: event.target.value }) })),
        taskField(state, set),
      ],
      command: (state) => command('alloc', 'signal', '-s', state.signal, short(own.id), state.task),
      action: { label: 'Send', run: async (state) => {
        await http.put(`/v1/client/allocation/${own.id}/signal`, { Signal: state.signal, Task: state.task });
        return `${state.signal} was sent.`;
      } },
    })),
    button('Stop', () => dialog({
      title: `Stop ${data.Name}?`,
      body: () => h('p', null, 'It is stopped, and another one is placed for it.'),
      command: () => command('alloc', 'stop', short(own.id)),
      action: { label: 'Stop', isDanger: true, run: async () => {
        await http.put(`/v1/allocation/${own.id}/stop`, {});
        refreshAll();
        return `${data.Name} stops.`;
      } },
    }), { class: 'danger' }),
  ];
}
