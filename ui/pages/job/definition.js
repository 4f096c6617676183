// The text of a job as it was submitted, and as the API has it.

import { h } from '../../core/dom.js';
import { link, setQuery } from '../../core/router.js';
import { button, choice } from '../../parts/frame.js';
import { copy } from '../../parts/command.js';
import { editor } from '../../parts/editor.js';

export function definition(job, data) {
  const source = job.use('/submission', `version=${data.Version}&optional=true`);
  const hasSource = Boolean(source.data?.Source);
  const form = job.cx.query.get('form') ?? (hasSource || source.isLoading ? 'source' : 'json');
  const text = form === 'source' ? source.data?.Source ?? '' : JSON.stringify(data, null, 2);
  const variables = source.data?.Variables || Object.entries(source.data?.VariableFlags ?? {}).map(([name, value]) => `${name} = ${value}`).join('\n');
  return [
    h('div', { class: 'filters' },
      hasSource ? choice('Form', [['source', 'As it was submitted'], ['json', 'As the API has it (JSON)']], form, (value) => setQuery({ form: value })) : null,
      button('Copy', () => copy(text)),
      job.cx.isReadOnly ? null : h('a', { class: 'button', href: link(`/jobs/run?job=${encodeURIComponent(`${job.id}@${job.namespace}`)}`) }, 'Edit')),
    h('div', { key: form, class: 'editor tall', island: editor, args: { text, label: `Definition of ${job.id}`, isReadOnly: true, revision: `${form} ${data.Version} ${text.length}` } }),
    form === 'source' && variables ? [h('h3', null, 'Variables'), h('pre', null, variables)] : null,
  ];
}
