// Servers: who leads, who follows, and how far.

import { h } from '../core/dom.js';
import { Followed } from '../core/follow.js';
import { number } from '../core/format.js';
import { facts, head, pill, ready, section, state } from '../parts/frame.js';
import { commandLine } from '../parts/command.js';

const HEADS = [['Server'], ['Role'], ['State'], ['Address', 'wide'], ['Version', 'wide'], ['Behind', 'number'], ['Last contact', 'wide']];

export default function page(cx) {
  const own = { data: undefined, error: null, isLoading: true };
  const told = (change) => {
    Object.assign(own, change, { isLoading: false });
    cx.update();
  };
  own.followed = new Followed(cx, '/v1/trivet/servers?follow=true', (data) => told({ data, error: null }), (error) => told({ error }));
  return {
    title: () => 'Servers',
    view() {
      const { data, error } = own;
      return [
        head({ title: 'Servers', pills: data ? [data.Healthy ? state('healthy') : state('unhealthy')] : [] }),
        // What was told last stays to be seen.
        data && error ? h('p', { class: 'problem', role: 'alert' }, `What follows may be old: ${error.message}`) : null,
        ready(own, ({ Servers: servers, FailureTolerance: tolerance, Log: log }) => [
          h('div', { class: 'table' }, h('table', { 'aria-label': 'Servers' },
            h('thead', null, h('tr', null, HEADS.map(([text, kind]) => h('th', { key: text, scope: 'col', class: kind }, text)))),
            h('tbody', null, servers.map(row)))),
          h('p', { class: 'note' }, tolerated(servers, tolerance)),
          section(log.Leads ? 'Log of the leader' : 'Log of this server', facts([
            ['Term', number(log.Term)],
            ['Last index', number(log.LastIndex)],
            ['Applied', number(log.Applied)],
            ['Snapshot up to', number(log.Snapshot)],
          ])),
        ]),
        commandLine('trivet operator raft list-peers'),
      ];
    },
  };
}

function tolerated(servers, count) {
  if (servers.length < 2) return 'One server: when it fails, nothing new is decided; what runs goes on.';
  if (count > 0) return `${number(count)} of them may fail and the rest goes on.`;
  return 'None of them may fail any more: a majority would be lost.';
}

function row(server) {
  return h('tr', { key: server.Address },
    h('th', { scope: 'row', class: 'cut' }, h('span', { 'data-row': true, tabindex: '-1' }, h('bdi', null, server.Name || server.Address))),
    h('td', null, server.Leader ? pill('leader', 'good') : pill(server.Voter ? 'follower' : 'learner')),
    h('td', null, state(server.Status)),
    h('td', { class: 'wide' }, h('code', null, server.Address)),
    h('td', { class: 'wide' }, server.Version),
    h('td', { class: 'number' }, server.Behind === null ? '–' : number(server.Behind)),
    h('td', { class: 'wide' }, server.Leader ? '' : server.LastContact));
}
