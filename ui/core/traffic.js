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
let end = null;

/** Totals of the last minute and a half, one a second: `{rate, failed}`. */
export let history = [];

/** Draws with every moment until the answer is called. */
export function watch(user) {
  users.add(user);
  if (end === null) {
    rows.clear();
    moments = [];
    history = [];
    end = follow(['Traffic'], counted, () => {
      rows.clear();
      moments = [];
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
  const sum = total(() => true);
  history.push({ rate: sum.rate, failed: sum.failedRate });
  if (history.length > HISTORY) history.shift();
  for (const user of users) user();
}

/** True as soon as there are two moments to compare. */
export const isKnown = () => moments.length > 1;

/** All rows as they were told last. */
export const all = () => [...rows.values()];

/** What came of the requests of the rows that `isWanted` takes, in the last seconds. */
export function total(isWanted) {
  const last = moments.at(-1);
  const first = moments[0];
  const sum = { attempts: 0, failed: 0, inFlight: 0, within: new Array(BOUNDS_MS.length).fill(0), timed: 0, outcomes: {} };
  if (!last) return shown(sum, 0);
  for (const [key, row] of last.rows) {
    if (!isWanted(row)) continue;
    sum.inFlight += row.InFlight;
    const before = first.rows.get(key);
    // Without an earlier count it is not known since when it counts.
    if (!before && first !== last && row.Attempts > 0 && moments.length > 2) add(sum, row, null);
    else if (before) add(sum, row, before);
  }
  return shown(sum, last.at - first.at);
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
