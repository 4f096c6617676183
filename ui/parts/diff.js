// How two versions of a job differ, as the API tells it.

import { h } from '../core/dom.js';

const SIGNS = { Added: '+', Deleted: '-', Edited: '~', None: ' ' };

export function diff(own) {
  if (!own || own.Type === 'None') return h('p', { class: 'empty' }, 'Nothing changes.');
  const lines = [];
  line(lines, 0, own.Type, `Job: "${own.ID}"`);
  content(lines, 1, own);
  for (const group of own.TaskGroups ?? []) {
    if (group.Type === 'None' && !group.Updates) continue;
    const updates = Object.entries(group.Updates ?? {}).map(([label, count]) => `${count} ${label}`).join(', ');
    line(lines, 1, group.Type, `Task Group: "${group.Name}"${updates ? ` (${updates})` : ''}`);
    content(lines, 2, group);
    for (const task of group.Tasks ?? []) {
      if (task.Type === 'None') continue;
      line(lines, 2, task.Type, `Task: "${task.Name}"`, task.Annotations);
      content(lines, 3, task);
    }
  }
  return h('div', { class: 'diff', role: 'region', 'aria-label': 'Differences', tabindex: '0' }, lines);
}

function content(lines, depth, own) {
  for (const field of own.Fields ?? []) {
    if (field.Type === 'None' && depth < 3) continue;
    const text = {
      Added: () => `${field.Name}: "${field.New}"`,
      Deleted: () => `${field.Name}: "${field.Old}"`,
      Edited: () => `${field.Name}: "${field.Old}" => "${field.New}"`,
      None: () => `${field.Name}: "${field.Old}"`,
    }[field.Type];
    line(lines, depth, field.Type, text?.() ?? field.Name, field.Annotations);
  }
  for (const object of own.Objects ?? []) {
    if (object.Type === 'None') continue;
    line(lines, depth, object.Type, `${object.Name} {`);
    content(lines, depth + 1, object);
    line(lines, depth, object.Type, '}');
  }
}

function line(lines, depth, type, text, annotations) {
  const note = annotations?.length ? ` (${annotations.join(', ')})` : '';
  lines.push(h('div', { class: `line ${type.toLowerCase()}` },
    h('span', { class: 'sign', 'aria-label': type === 'None' ? undefined : type }, SIGNS[type] ?? ' '),
    h('span', { class: 'text', style: { 'padding-left': `${depth * 1.2}em` } }, text, note ? h('em', null, note) : null)));
}
