// What happens in the cluster, as it happens.

import { h } from '../core/dom.js';
import { allocPath, evalPath, jobPath, link, nodePath, setQuery } from '../core/router.js';
import { follow } from '../core/stream.js';
import { short } from '../core/format.js';
import { button, choice, empty, filterField, head } from '../parts/frame.js';
import { Table, rowLink } from '../parts/table.js';
import { commandLine } from '../parts/command.js';

const TOPICS = ['Job', 'Allocation', 'Deployment', 'Rollout', 'Evaluation', 'Node', 'Variable', 'Service', 'CatalogService', 'Key', 'RouteOverrides'];
const KEPT_MAX = 2000;

function pathOf(event) {
  switch (event.Topic) {
    case 'Job': return jobPath(event.Key, event.Namespace);
    case 'Allocation': return allocPath(event.Key);
    case 'Evaluation': return evalPath(event.Key);
    case 'Deployment':
    case 'Rollout': return event.FilterKeys?.[0] ? jobPath(event.FilterKeys[0], event.Namespace, 'deployments') : '/jobs';
    case 'Node': return nodePath(event.Key);
    case 'CatalogService': return `/services/${encodeURIComponent(event.Key)}`;
    case 'Key': return `/kv/${event.Key.split('/').map(encodeURIComponent).join('/')}?key=true`;
    case 'RouteOverrides': return '/routes';
    default: return '/events';
  }
}

const CLOCK = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });

export default function page(cx) {
  const own = { rows: [], isPaused: false };
  cx.onEnd(follow(TOPICS, (event) => {
    if (own.isPaused) return;
    own.rows.unshift({ ...event, at: new Date() });
    if (own.rows.length > KEPT_MAX) own.rows.length = KEPT_MAX;
    cx.update();
  }));
  const table = new Table(cx, {
    label: 'Events',
    columns: [
      { label: 'Seen', width: '5.5rem', cell: (row) => CLOCK.format(row.at) },
      { label: 'Index', class: 'number wide', width: '5.5rem', cell: (row) => String(row.Index) },
      { label: 'Topic', width: '8rem', cell: (row) => row.Topic },
      { label: 'Type', class: 'wide cut', width: '15rem', cell: (row) => row.Type },
      { label: 'Key', class: 'grow cut', cell: (row) => rowLink(link(pathOf(row)), /^[0-9a-f]{8}-/.test(row.Key) ? short(row.Key) : row.Key) },
      { label: 'Of', class: 'wide cut', cell: (row) => h('bdi', null, (row.FilterKeys ?? []).map((key) => (/^[0-9a-f]{8}-/.test(key) ? short(key) : key)).join(', ')) },
    ],
  });
  return {
    title: () => 'Events',
    view() {
      const [text, topic] = ['text', 'topic'].map((name) => cx.query.get(name) ?? '');
      const shown = own.rows.filter((row) => (!topic || row.Topic === topic) && (!text || `${row.Key} ${row.Type} ${(row.FilterKeys ?? []).join(' ')}`.toLowerCase().includes(text.toLowerCase())));
      return [
        head({ title: 'Events', actions: [
          button(own.isPaused ? 'Go on' : 'Hold', () => {
            own.isPaused = !own.isPaused;
            cx.update();
          }),
          button('Clear', () => {
            own.rows = [];
            cx.update();
          }),
        ] }),
        h('div', { class: 'filters' },
          filterField('Filter by key or type', text, (value) => setQuery({ text: value })),
          choice('Topic', [['', 'Every topic'], ...TOPICS.map((name) => [name, name])], topic, (value) => setQuery({ topic: value }))),
        shown.length === 0 ? empty('Nothing happened since this page was opened.') : table.view(shown),
        commandLine(`curl -N 'http://${location.host}/v1/event/stream${topic ? `?topic=${topic}` : ''}'`),
      ];
    },
  };
}
