// Services of the catalog.

import { h } from '../core/dom.js';
import { link, servicePath, setQuery } from '../core/router.js';
import { counted, percent, rate } from '../core/format.js';
import * as traffic from '../core/traffic.js';
import { choice, empty, filterField, head, ready } from '../parts/frame.js';
import { Table, rowLink } from '../parts/table.js';
import { statusBar } from '../parts/bars.js';
import { commandLine } from '../parts/command.js';

const STATES = [['', 'Every state'], ['critical', 'critical'], ['warning', 'warning'], ['passing', 'passing']];
const TAGS_MAX = 4;

const stateOf = (row) => (row.Critical > 0 ? 'critical' : row.Warning > 0 ? 'warning' : 'passing');

export default function page(cx) {
  cx.onEnd(traffic.watch(cx.update));
  const rateOf = (row) => traffic.of('service', row.Name);
  const table = new Table(cx, {
    label: 'Services',
    key: (row) => row.Name,
    columns: [
      { label: 'Service', sort: (row) => row.Name, cell: (row) => rowLink(link(servicePath(row.Name)), row.Name) },
      { label: 'Instances', class: 'number', isDown: true, sort: (row) => row.Instances, cell: (row) => String(row.Instances) },
      {
        label: 'Checks', class: 'grow', sort: (row) => -row.Critical,
        cell: (row) => statusBar([[row.Passing, 'good', 'passing'], [row.Warning, 'busy', 'warning'], [row.Critical, 'bad', 'critical']], row.Name),
      },
      { label: 'Requests/s', class: 'number', isDown: true, sort: (row) => rateOf(row).rate, cell: (row) => {
        const own = rateOf(row);
        return own.attempts > 0 || own.inFlight > 0 ? [rate(own.rate), own.success < 0.999 ? h('span', { class: 'bad-text' }, ` ${percent(1 - own.success)}`) : null] : '';
      } },
      { label: 'Tags', class: 'wide cut', cell: (row) => [row.Tags.slice(0, TAGS_MAX).map((tag) => h('span', { key: tag, class: 'tag' }, h('bdi', null, tag))), row.Tags.length > TAGS_MAX ? ` and ${row.Tags.length - TAGS_MAX} more` : ''] },
    ],
  });
  return {
    title: () => 'Services',
    view() {
      const own = cx.use('/v1/trivet/services', ['CatalogService']);
      const [text, status] = ['text', 'status'].map((name) => cx.query.get(name) ?? '');
      return [
        head({ title: 'Services' }),
        h('div', { class: 'filters' },
          filterField('Filter by name or tag', text, (value) => setQuery({ text: value })),
          choice('State', STATES, status, (value) => setQuery({ status: value }))),
        ready(own, (rows) => {
          const small = text.toLowerCase();
          const shown = rows.filter((row) => (!small || row.Name.toLowerCase().includes(small) || row.Tags.some((tag) => tag.toLowerCase().includes(small))) && (!status || stateOf(row) === status));
          if (rows.length === 0) return empty('There are no services.');
          return [h('p', { class: 'count' }, shown.length === rows.length ? counted(rows.length, 'service') : `${shown.length} of ${counted(rows.length, 'service')}`), table.view(shown)];
        }),
        commandLine('trivet catalog services -tags'),
      ];
    },
  };
}

