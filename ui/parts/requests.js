// What came of the requests of some who are counted, with the routes on which they came.

import { h } from '../core/dom.js';
import { milliseconds, number, percent, rate } from '../core/format.js';
import { link } from '../core/router.js';
import * as traffic from '../core/traffic.js';
import { figure, section } from './frame.js';

/** A section about one of a kind, such as a service; none where nobody counts it. */
export function requests(kind, key) {
  if (!traffic.has(kind, key)) return null;
  const own = traffic.of(kind, key);
  const routes = traffic.routesOf(kind, key);
  return section('Requests', h('div', { class: 'figures' },
    figure(rate(own.rate), 'requests/s'),
    figure(own.success === null ? '–' : percent(own.success), 'success'),
    figure(milliseconds(own.p50), 'p50'),
    figure(milliseconds(own.p99), 'p99'),
    figure(number(own.inFlight), 'in flight')),
  h('p', null, 'At ', routes.map((route, at) => [at > 0 ? ', ' : '', h('a', { href: link(`/routes?text=${encodeURIComponent(route)}`) }, h('code', null, route))])));
}
