// The output of a whole job: all its allocations, merged by time.

import { jobOf, jobPath } from '../core/router.js';
import { command } from '../core/format.js';
import { choice, head } from '../parts/frame.js';
import { Logs } from '../parts/logs.js';

export default function page(cx) {
  const { id, namespace } = jobOf(cx.parameters.job);
  let task = '';
  const flags = namespace === 'default' ? [] : ['-namespace', namespace];
  const logs = new Logs(cx, {
    withSource: true,
    parameters: () => ({ job: id, namespace, task }),
    nameOf: (frame) => `${/\[(\d+)\]$/.exec(frame.Name)?.[1] ?? ''} ${frame.AllocID.slice(0, 4)} ${frame.Task}`,
    command: (type) => command('alloc', 'logs', ...(type === 'stderr' ? ['-stderr'] : []), ...flags, '-f', '-job', id),
    tools(restart) {
      const own = cx.use(`/v1/job/${encodeURIComponent(id)}?namespace=${encodeURIComponent(namespace)}`, [`Job:${id}`]).data;
      const names = [...new Set((own?.TaskGroups ?? []).flatMap((group) => group.Tasks.map((one) => one.Name)))];
      if (names.length < 2) return null;
      return choice('Task', [['', 'Every task'], ...names.map((name) => [name, name])], task, (value) => {
        task = value;
        restart();
        cx.update();
      });
    },
  });
  return {
    title: () => `Logs of ${id}`,
    view: () => [head({ trail: [['Jobs', '/jobs'], [id, jobPath(id, namespace)]], title: 'Logs' }), logs.view()],
  };
}
