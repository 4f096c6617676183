// Servers: who leads, who follows, and how far.

import { h } from '../core/dom.js';
import { number } from '../core/format.js';
import { facts, head, pill, ready, section, state } from '../parts/frame.js';
import { commandLine } from '../parts/command.js';

export default function page(cx) {
  return {
    title: () => 'Servers',
    view() {
      const health = cx.use('/v1/operator/autopilot/health', ['Node']);
      const peers = cx.use('/v1/operator/raft/configuration', ['Node']);
      const members = cx.use('/v1/agent/members', ['Node']).data?.Members ?? [];
      return [
        head({ title: 'Servers', pills: health.data ? [health.data.Healthy ? state('healthy') : state('unhealthy')] : [] }),
        ready(peers, ({ Servers: servers }) => h('div', { class: 'table' }, h('table', { 'aria-label': 'Servers' },
          h('thead', null, h('tr', null, [['Server'], ['Role'], ['State'], ['Address', 'wide'], ['Version', 'wide'], ['Last index', 'number'], ['Behind', 'number'], ['Last contact', 'wide']].map(([text, kind]) => h('th', { key: text, scope: 'col', class: kind }, text)))),
          h('tbody', null, servers.map((server) => row(server, health.data, members)))))),
        health.data ? h('p', { class: 'note' }, health.data.FailureTolerance > 0 ? `${number(health.data.FailureTolerance)} of them may fail and the rest goes on.` : servers1(peers.data)) : null,
        log(cx.self.stats),
        commandLine('trivet operator raft list-peers'),
      ];
    },
  };
}

const servers1 = (peers) => ((peers?.Servers ?? []).length > 1 ? 'None of them may fail: a majority would be lost.' : 'One server: when it fails, nothing new is decided; what runs goes on.');

function row(server, health, members) {
  const own = health?.Servers?.find((candidate) => candidate.ID === server.ID);
  const leader = health?.Servers?.find((candidate) => candidate.Leader);
  const member = members.find((candidate) => candidate.Name === server.Node);
  const behind = own && leader ? Math.max(0, leader.LastIndex - own.LastIndex) : null;
  return h('tr', { key: server.ID },
    h('th', { scope: 'row' }, h('span', { 'data-row': true, tabindex: '-1' }, h('bdi', null, server.Node))),
    h('td', null, server.Leader ? pill('leader', 'good') : pill(server.Voter ? 'follower' : 'learner')),
    h('td', null, state(member?.Status ?? own?.SerfStatus ?? 'unknown')),
    h('td', { class: 'wide' }, h('code', null, server.Address)),
    h('td', { class: 'wide' }, member?.Tags?.trivet_version ?? own?.Version ?? ''),
    h('td', { class: 'number' }, own ? number(own.LastIndex) : '–'),
    h('td', { class: 'number' }, behind === null ? '–' : number(behind)),
    h('td', { class: 'wide' }, server.Leader ? '' : own?.LastContact ?? '–'));
}

function log(stats) {
  const raft = stats?.raft;
  if (!raft) return null;
  return section('Log of this server', facts([
    ['State', raft.state],
    ['Term', raft.term],
    ['Last index', raft.last_log_index],
    ['Applied', raft.applied_index],
    ['Snapshot up to', raft.last_snapshot_index],
  ]));
}
