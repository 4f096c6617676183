// Live rates: the agent tells once a second what the ingresses counted since they started; what lies
// between two such moments is a rate.

import { follow } from './stream.js';

/** Upper bounds of the classes of answer times, milliseconds. */
export const BOUNDS_MS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 60000];
const HISTORY = 90;
// A rate is taken over so many seconds, so that a slow service shows one at all.
const WINDOW_S = 5;

const users = new Set();
const rows = new Map();
let moments = [];
// What was added up since the last moment, by what it was added up for.
let sums = new Map();
let end = null;

/** Totals of the last minute and a half, one a second: `{rate, failed}`. */
export let history = [];

/** Draws with every moment until the answer is called. */
export function watch(user) {
  users.add(user);
  if (end === null) {
    rows.clear();
    moments = [];
    sums.clear();
    history = [];
    end = follow(['Traffic'], counted, () => {
      rows.clear();
      moments = [];
      sums.clear();
    });
  }
  return () => {
    users.delete(user);
    if (users.size === 0) {
      end?.();
      end = null;
    }
  };
}

const keyOf = (row) => [row.Route, row.Service, row.Version, row.Instance].join('\n');

function counted(event) {
  const { Traffic: traffic } = event.Payload;
  if (traffic.Whole) rows.clear();
  for (const row of traffic.Rows) rows.set(keyOf(row), row);
  moments.push({ at: traffic.Time / 1e9, rows: new Map(rows) });
  while (moments.length > 2 && moments.at(-1).at - moments[1].at >= WINDOW_S) moments.shift();
  sums = new Map();
  const sum = of('all', '');
  history.push({ rate: sum.rate, failed: sum.failedRate });
  if (history.length > HISTORY) history.shift();
  for (const user of users) user();
}

/** True as soon as there are two moments to compare. */
export const isKnown = () => moments.length > 1;

/** All rows as they were told last. */
export const all = () => [...rows.values()];

// How rows are told apart for each kind of sum.
const KINDS = {
  all: () => '',
  job: (row) => (row.JobID ? jobKey(row.Namespace, row.JobID) : null),
  jobVersion: (row) => (row.JobID ? jobKey(row.Namespace, row.JobID, row.JobVersion) : null),
  alloc: (row) => row.AllocID || null,
  service: (row) => row.Service,
  route: (row) => row.Route,
  version: (row) => versionKey(row.Route, row.Service, row.Version),
  instance: (row) => row.Instance,
  target: (row) => targetKey(row.Route, row.Instance),
};

/** Keys of the kinds that are made of several words. */
export const jobKey = (namespace, id, version = '') => `${namespace}\n${id}\n${version}`;
export const versionKey = (route, service, version) => `${route}\n${service}\n${version}`;
export const targetKey = (route, instance) => `${route}\n${instance}`;

const NONE = shown(nothing(), 0);

/**
 * What came of the requests of one `kind` (`job`, `service`, `route` …) in the last seconds. All of a
 * kind are added up together, once a moment: a list of a thousand costs what one costs.
 */
export function of(kind, key) {
  return byKind(kind).get(key) ?? NONE;
}

/** Whether anybody of this kind and key is counted at all. */
export const has = (kind, key) => byKind(kind).has(key);

/** The routes at which somebody of this kind and key is. */
export const routesOf = (kind, key) => [...new Set(all().filter((row) => KINDS[kind](row) === key).map((row) => row.Route))];

function byKind(kind) {
  let found = sums.get(kind);
  if (!found) {
    found = added(KINDS[kind]);
    sums.set(kind, found);
  }
  return found;
}

function added(keyOf) {
  const out = new Map();
  const last = moments.at(-1);
  const first = moments[0];
  if (!last) return out;
  for (const [name, row] of last.rows) {
    const key = keyOf(row);
    if (key === null) continue;
    let sum = out.get(key);
    if (!sum) {
      sum = nothing();
      out.set(key, sum);
    }
    sum.inFlight += row.InFlight;
    const before = first.rows.get(name);
    // A row that was not told again is the same object, and nothing happened to it.
    if (before === row) continue;
    // Without an earlier count it is not known since when it counts.
    if (before || (first !== last && row.Attempts > 0 && moments.length > 2)) add(sum, row, before ?? null);
  }
  for (const [key, sum] of out) out.set(key, shown(sum, last.at - first.at));
  return out;
}

/** What came of the requests of several of a kind together. */
export function together(kind, keys) {
  const sum = nothing();
  for (const key of keys) {
    const own = byKind(kind).get(key);
    if (!own) continue;
    for (const name of ['attempts', 'failed', 'inFlight', 'timed']) sum[name] += own.sum[name];
    own.sum.within.forEach((count, at) => { sum.within[at] += count; });
    for (const [name, count] of Object.entries(own.sum.outcomes)) sum.outcomes[name] = (sum.outcomes[name] ?? 0) + count;
  }
  const seconds = moments.length > 1 ? moments.at(-1).at - moments[0].at : 0;
  return shown(sum, seconds);
}

function nothing() {
  return { attempts: 0, failed: 0, inFlight: 0, within: new Array(BOUNDS_MS.length).fill(0), timed: 0, outcomes: {} };
}

function add(sum, row, before) {
  const since = (name) => Math.max(0, row[name] - (before?.[name] ?? 0));
  sum.attempts += since('Attempts');
  sum.failed += since('Failed');
  sum.timed += since('Timed');
  row.Within.forEach((count, at) => {
    sum.within[at] += Math.max(0, count - (before?.Within[at] ?? 0));
  });
  for (const [name, count] of Object.entries(row.Outcomes)) {
    sum.outcomes[name] = (sum.outcomes[name] ?? 0) + Math.max(0, count - (before?.Outcomes[name] ?? 0));
  }
}

function shown(sum, seconds) {
  const per = seconds > 0 ? 1 / seconds : 0;
  const outcomes = {};
  for (const [name, count] of Object.entries(sum.outcomes)) outcomes[name] = count * per;
  return {
    sum,
    rate: sum.attempts * per,
    failedRate: sum.failed * per,
    success: sum.attempts === 0 ? null : 1 - sum.failed / sum.attempts,
    attempts: sum.attempts,
    inFlight: sum.inFlight,
    p50: quantile(sum, 0.5),
    p99: quantile(sum, 0.99),
    outcomes,
  };
}

/** The time that this part of the answers did not pass; null without answers. */
function quantile(sum, part) {
  const count = sum.within.at(-1);
  if (count === 0) return null;
  const wanted = count * part;
  let before = 0;
  for (let at = 0; at < BOUNDS_MS.length; at += 1) {
    const here = sum.within[at];
    if (here >= wanted) {
      const lower = at === 0 ? 0 : BOUNDS_MS[at - 1];
      return lower + ((wanted - before) / Math.max(1, here - before)) * (BOUNDS_MS[at] - lower);
    }
    before = here;
  }
  return BOUNDS_MS.at(-1);
}
