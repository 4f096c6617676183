// From the text of a job to a running one: problems at their place while it is typed, then the plan,
// then the run.

import { h } from '../core/dom.js';
import * as http from '../core/http.js';
import { refreshAll } from '../core/store.js';
import { counted } from '../core/format.js';
import { go, jobOf, jobPath } from '../core/router.js';
import { say } from '../core/dialog.js';
import { button, empty, head, pill, problem, section } from '../parts/frame.js';
import { commandLine } from '../parts/command.js';
import { diff } from '../parts/diff.js';
import { editor, goToLine } from '../parts/editor.js';
import { placements } from '../parts/evaluation.js';
import { parsed, validated } from '../parts/problems.js';

const PAUSE_MS = 400;
const SHOWN_MAX = 50;
const DRAFT = 'trivet draft';

const EXAMPLE = `job "hello" {
  group "web" {
    count = 2

    network {
      port "http" {}
    }

    service {
      name = "hello"
      port = "http"
      tags = ["urlprefix-/hello"]

      check {
        type     = "http"
        path     = "/health"
        interval = "5s"
        timeout  = "1s"
      }
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "trivet"
        args    = ["echo", "-listen", ":\${NOMAD_PORT_http}", "-text", "hello"]
      }
    }
  }
}
`;

export default function page(cx) {
  const own = {
    text: sessionStorage.getItem(DRAFT) ?? '',
    variables: '',
    revision: 0,
    problems: [],
    warnings: '',
    checked: null,
    plan: null,
    isBusy: '',
    error: null,
    showsVariables: false,
  };
  let timer = 0;
  let asked = 0;
  let running = null;
  cx.onEnd(() => {
    clearTimeout(timer);
    running?.abort();
  });
  const of = cx.query.get('job');
  if (of) fill(jobOf(of));
  else if (own.text) check();

  async function fill({ id, namespace }) {
    const base = `/v1/job/${encodeURIComponent(id)}`;
    try {
      const { data } = await http.get(`${base}?namespace=${encodeURIComponent(namespace)}`);
      const source = await http.get(`${base}/submission?namespace=${encodeURIComponent(namespace)}&version=${data.Version}&optional=true`).catch(() => null);
      own.text = source?.data?.Source || JSON.stringify({ Job: { ...data, Stop: false } }, null, 2);
      own.variables = source?.data?.Variables ?? '';
      for (const [name, value] of Object.entries(source?.data?.VariableFlags ?? {})) own.variables += `${own.variables ? '\n' : ''}${name} = ${JSON.stringify(value)}`;
      own.showsVariables = own.variables !== '';
    } catch (error) {
      own.error = error;
    }
    own.revision += 1;
    check();
  }

  function typed(text) {
    own.text = text;
    own.plan = null;
    own.error = null;
    if (text.length < 500_000) sessionStorage.setItem(DRAFT, text);
    clearTimeout(timer);
    timer = setTimeout(check, PAUSE_MS);
    cx.update();
  }

  /** Reads and checks the text; answers with the job, or none with the problems told. */
  async function check() {
    clearTimeout(timer);
    const at = (asked += 1);
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    if (own.text.trim() === '') {
      Object.assign(own, { problems: [], warnings: '', checked: null });
      cx.update();
      return null;
    }
    try {
      const job = await read(signal);
      const validation = await http.put('/v1/validate/job', { Job: job }, { signal });
      if (at !== asked) return null;
      own.problems = validated(validation.ValidationErrors ?? [], own.text);
      own.warnings = validation.Warnings ?? '';
      own.checked = own.problems.length === 0 ? job : null;
    } catch (error) {
      if (error.name === 'AbortError' || at !== asked) return null;
      own.checked = null;
      own.warnings = '';
      if (error.status === 400) own.problems = parsed(error.message);
      else own.error = error;
    }
    cx.update();
    return own.checked;
  }

  async function read(signal) {
    const trimmed = own.text.trim();
    if (!trimmed.startsWith('{')) return http.put('/v1/jobs/parse', { JobHCL: own.text, Variables: own.variables }, { signal });
    let value;
    try {
      value = JSON.parse(trimmed);
    } catch (error) {
      throw new http.Refused(400, `input.hcl:${jsonPlace(error.message, trimmed)}: ${error.message}`);
    }
    return value.Job ?? value;
  }

  async function plan() {
    await during('Planning', async () => {
      const job = await check();
      if (!job) return;
      const answer = await http.put(`/v1/job/${encodeURIComponent(job.ID)}/plan${http.query({ namespace: job.Namespace })}`, { Job: job, Diff: true });
      own.plan = { answer, job };
    });
    // It stands below the text, which may fill the window.
    if (own.plan) requestAnimationFrame(() => document.querySelector('.plan')?.scrollIntoView({ block: 'nearest' }));
  }

  async function run() {
    await during('Running', async () => {
      const job = await check();
      if (!job) return;
      const isSame = own.plan && own.plan.job.ID === job.ID;
      const body = { Job: job };
      // What was looked at is what is run, or nothing.
      if (isSame) Object.assign(body, { EnforceIndex: true, JobModifyIndex: own.plan.answer.JobModifyIndex });
      if (!own.text.trim().startsWith('{')) body.Submission = { Source: own.text, Format: 'hcl2', Variables: own.variables };
      const answer = await http.put(`/v1/jobs${http.query({ namespace: job.Namespace })}`, body);
      sessionStorage.removeItem(DRAFT);
      refreshAll();
      say(answer.Warnings ? `${job.ID} is registered. ${answer.Warnings}` : `${job.ID} is registered.`);
      go(jobPath(job.ID, job.Namespace ?? 'default'));
    });
  }

  async function during(what, work) {
    if (own.isBusy) return;
    own.isBusy = what;
    own.error = null;
    cx.update();
    try {
      await work();
    } catch (error) {
      own.error = error;
    }
    own.isBusy = '';
    cx.update();
  }

  const jump = (line, column) => goToLine(document.querySelector('#text'), line, column || 1);

  return {
    title: () => 'Run a job',
    view() {
      if (cx.isReadOnly) return [head({ trail: [['Jobs', '/jobs']], title: 'Run a job' }), empty('This agent\'s web UI is read-only.')];
      const isReady = own.text.trim() !== '' && own.problems.length === 0;
      return [
        head({
          trail: [['Jobs', '/jobs']],
          title: 'Run a job',
          actions: [
            own.text === '' ? button('Start from an example', () => {
              own.revision += 1;
              typed(EXAMPLE);
            }) : null,
            button('Variables', () => {
              own.showsVariables = !own.showsVariables;
              cx.update();
            }),
            button(own.isBusy === 'Planning' ? 'Planning…' : 'Plan', plan, { disabled: !isReady || own.isBusy !== '', class: own.plan ? '' : 'primary' }),
            button(own.isBusy === 'Running' ? 'Running…' : 'Run', run, { disabled: !isReady || own.isBusy !== '', class: own.plan ? 'primary' : '' }),
          ],
        }),
        h('div', { id: 'text', class: 'editor', key: 'text', island: editor, args: { text: own.text, problems: own.problems.filter((row) => row.file !== 'vars'), label: 'Job file', placeholder: 'Paste a job file, HCL or JSON', revision: own.revision, onInput: typed, onRun: plan } }),
        own.showsVariables
          ? h('label', { key: 'variables', class: 'stacked' }, 'Values of input variables, one a line: name = value',
            h('textarea', { rows: '4', class: 'code', spellcheck: 'false', value: own.variables, oninput: (event) => {
              own.variables = event.target.value;
              typed(own.text);
            } }))
          : null,
        h('div', { key: 'problems', class: 'told', 'aria-live': 'polite' },
          own.error ? problem(own.error) : null,
          own.problems.length > 0
            ? h('section', { class: 'problems', 'aria-label': 'Problems' },
              h('h2', null, counted(own.problems.length, 'problem')),
              h('ul', null, own.problems.slice(0, SHOWN_MAX).map((row) => h('li', null,
                h('button', { type: 'button', class: 'link', onclick: () => jump(row.line, row.column) }, `${row.file === 'vars' ? 'variables, ' : ''}line ${row.line}`), ': ', h('bdi', null, row.text)))))
            : own.checked ? h('p', { class: 'fine' }, `No problems: job “${own.checked.ID}”.`) : null,
          own.warnings ? h('pre', { class: 'warning' }, own.warnings) : null),
        own.plan ? planned(own.plan, own.warnings, button(own.isBusy === 'Running' ? 'Running…' : 'Run', run, { disabled: !isReady || own.isBusy !== '', class: 'primary' })) : null,
        h('div', { key: 'lines' }, commandLine(own.plan ? `trivet job run -check-index ${own.plan.answer.JobModifyIndex} FILE` : 'trivet job plan FILE')),
      ];
    },
  };
}

/** `line,column` of a problem that the browser's reader of JSON tells. */
function jsonPlace(message, text) {
  const place = /line (\d+) column (\d+)/.exec(message);
  if (place) return `${place[1]},${place[2]}`;
  const at = Number(/position (\d+)/.exec(message)?.[1] ?? 0);
  const before = text.slice(0, at).split('\n');
  return `${before.length},${before.at(-1).length + 1}`;
}

function planned({ answer, job }, known, runs) {
  const updates = Object.entries(answer.Annotations?.DesiredTGUpdates ?? {});
  const words = {
    Place: (count) => `place ${count}`,
    Stop: (count) => `stop ${count}`,
    Migrate: (count) => `move ${count}`,
    InPlaceUpdate: (count) => `update ${count} in place`,
    DestructiveUpdate: (count) => `replace ${count}`,
    Canary: (count) => `place ${count} as ${count === 1 ? 'canary' : 'canaries'}`,
    Ignore: (count) => `leave ${count} as ${count === 1 ? 'it is' : 'they are'}`,
    Preemptions: (count) => `preempt ${count}`,
  };
  const failed = Object.keys(answer.FailedTGAllocs ?? {});
  return h('section', { key: 'plan', class: 'plan', 'aria-label': 'Plan' },
    h('div', { class: 'plan-head' }, h('h2', null, `Plan of ${job.ID}`), h('div', { class: 'actions' }, runs)),
    // What stands above already is not said again.
    answer.Warnings && answer.Warnings !== known ? h('pre', { class: 'warning' }, answer.Warnings) : null,
    updates.length > 0
      ? h('ul', { class: 'updates' }, updates.map(([group, update]) => h('li', { key: group }, h('b', null, h('bdi', null, group)), ': ',
        Object.entries(words).filter(([name]) => update[name] > 0).map(([name, text]) => pill(text(update[name]), name === 'Ignore' ? 'calm' : name === 'Stop' || name === 'Preemptions' ? 'bad' : 'good')))))
      : null,
    failed.length > 0 ? h('div', { class: 'warning' }, placements(answer.FailedTGAllocs)) : h('p', { class: 'fine' }, 'All of it can be placed.'),
    answer.NextPeriodicLaunch && !answer.NextPeriodicLaunch.startsWith('0001') ? h('p', null, `It would be launched next at ${answer.NextPeriodicLaunch}.`) : null,
    (answer.Annotations?.PreemptedAllocs ?? []).length > 0 ? section('Preempted', h('ul', null, answer.Annotations.PreemptedAllocs.map((alloc) => h('li', { key: alloc.ID }, `${alloc.Name} of ${alloc.JobID}`)))) : null,
    diff(answer.Diff));
}
