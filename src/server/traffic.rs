//! What the ingresses of all agents count, for those who judge versions by it and for those who
//! look on. Nothing of it is in the log: a server that starts has what agents say from then on.
//!
//! What was heard is kept twice: as sums since the server is there, and as the intervals of the
//! last minute in the order in which they came ([`Feed`]). An ingress that says nothing has not
//! counted zero: it is [silent](Ingress::is_silent) as long as its lease lasts, and intervals that
//! it left out are told with the next one that it tells ([`Interval::missing`]). A server that
//! begins to lead awaits the agents of all nodes that are ready: one that stands still just then
//! may go on carrying traffic, and never said that it is there.

use jobs::model::NodeId;
use parking_lot::Mutex;
use rpc::traffic::{Counts, INTERVAL, INTERVAL_MIN, Traffic, Who};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// The most rows that are taken of one interval of an agent.
const INTERVAL_ROWS_MAX: usize = 4096;
/// The most rows of sums; those of whom nothing was heard for longest go first.
const SUMS_MAX: usize = 50_000;
/// How long intervals are kept.
pub const RECENT_TIME: Duration = Duration::from_secs(60);
/// The most rows of kept intervals.
const RECENT_ROWS_MAX: usize = 50_000;
/// An ingress is silent when it says nothing for so much longer than its interval lasts.
const SILENT_AFTER: Duration = Duration::from_millis(750);

/// One who is counted, with what was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who.
    pub who: Arc<Who>,
    /// What.
    pub counts: Counts,
}

/// What one ingress counted in one interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Its place in the order in which intervals were heard, from 1.
    pub place: u64,
    /// Whose ingress: an id that is new with each start of an agent.
    pub agent_id: Arc<str>,
    /// When it was heard; it ended a moment before.
    pub heard: Instant,
    /// How long it was.
    pub length: Duration,
    /// How many intervals of this agent before it were not told: what happened in them is unknown.
    pub missing: u64,
    /// Whoever was asked something or has something in flight; ordered by who.
    pub rows: Vec<Row>,
}

/// What was heard after a place.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// In the order in which they were heard.
    pub intervals: Vec<Arc<Interval>>,
    /// Where to go on.
    pub place: u64,
    /// Intervals between the place asked for and the first one here are not kept any more.
    pub is_cut: bool,
}

/// An agent that carries traffic and counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Id of the agent's process.
    pub agent_id: String,
    /// Its node, if it runs tasks.
    pub node_id: Option<NodeId>,
    /// How long ago it told something last, or came.
    pub told: Duration,
    /// It should have told something since: what its requests come to is unknown.
    pub is_silent: bool,
    /// How many intervals it left out so far.
    pub missing: u64,
}

/// Agents that may carry traffic and did not come to this server since it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Awaited {
    /// Their nodes; may be empty.
    pub(crate) nodes: Vec<NodeId>,
    /// They should have come since: what their requests come to is unknown.
    pub(crate) is_silent: bool,
}

/// What is known, and how often it is to be told.
#[derive(Debug)]
pub(crate) struct Counted {
    kept: Mutex<Kept>,
    interval: watch::Sender<Duration>,
    heard: watch::Sender<u64>,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            interval: watch::Sender::new(INTERVAL),
            heard: watch::Sender::new(0),
        }
    }
}

/// The decider. Time is an argument.
#[derive(Debug, Default)]
struct Kept {
    ingresses: BTreeMap<Arc<str>, Told>,
    /// Nodes that were ready when this server began to lead, and when that was; without those whose
    /// agents came.
    awaited: BTreeSet<NodeId>,
    began: Option<Instant>,
    sums: BTreeMap<Arc<Who>, Sum>,
    recent: VecDeque<Arc<Interval>>,
    recent_rows: usize,
    place: u64,
}

/// What is known of an agent.
#[derive(Debug)]
struct Told {
    node_id: Option<NodeId>,
    /// The last interval; none yet.
    number: Option<u64>,
    /// When it told something, or came.
    at: Instant,
    lease_until: Instant,
    /// How long its last interval was.
    length: Duration,
    missing: u64,
    /// What came of an interval that is not whole yet.
    open: Vec<Row>,
    open_number: u64,
    /// What each has in flight there.
    levels: Vec<(Arc<Who>, u64)>,
}

#[derive(Debug)]
struct Sum {
    counts: Counts,
    /// The last interval that changed it.
    place: u64,
}

impl Counted {
    /// This server begins to lead while those nodes are ready.
    pub(crate) fn begin(&self, ready: BTreeSet<NodeId>) {
        self.kept.lock().begin(Instant::now(), ready);
    }

    /// An agent without an ingress has opened a stream.
    pub(crate) fn on_no_ingress(&self, node_id: NodeId) {
        self.kept.lock().awaited.remove(&node_id);
    }

    /// Who did not come since this server leads, of nodes that are still there.
    pub(crate) fn awaited(&self, is_there: impl Fn(NodeId) -> bool) -> Awaited {
        self.kept.lock().awaited(Instant::now(), is_there)
    }

    /// An agent with an ingress has opened a stream.
    pub(crate) fn on_hello(&self, agent_id: &str, node_id: Option<NodeId>, lease: Duration) {
        let mut kept = self.kept.lock();
        kept.on_hello(Instant::now(), agent_id, node_id, lease);
    }

    /// Something was heard of an agent: its lease is renewed.
    pub(crate) fn on_heard(&self, agent_id: &str, lease: Duration) {
        self.kept.lock().on_heard(Instant::now(), agent_id, lease);
    }

    /// Takes what an agent counted.
    pub(crate) fn on_traffic(&self, agent_id: &str, traffic: Traffic) {
        let place = {
            let mut kept = self.kept.lock();
            kept.on_traffic(Instant::now(), agent_id, traffic)
        };
        if let Some(place) = place {
            self.heard.send_replace(place);
        }
    }

    /// The sums since the server is there; of one service only, if it is given.
    pub(crate) fn total(&self, service: Option<&str>) -> Vec<Row> {
        self.kept.lock().total(service)
    }

    /// The sums of what was heard in the last `time`.
    pub(crate) fn recent(&self, time: Duration, service: Option<&str>) -> Vec<Row> {
        self.kept.lock().recent(Instant::now(), time, service)
    }

    /// What was heard after a place; 0 for all that is kept.
    pub(crate) fn after(&self, place: u64) -> Feed {
        self.kept.lock().after(place)
    }

    /// The place of the last interval that was heard, and every change of it.
    pub(crate) fn heard(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// All ingresses with a lease.
    pub(crate) fn ingresses(&self) -> Vec<Ingress> {
        let interval = *self.interval.borrow();
        self.kept.lock().ingresses(Instant::now(), interval)
    }

    /// Asks all agents to cut time into such intervals.
    pub(crate) fn set_interval(&self, interval: Duration) {
        let interval = interval.clamp(INTERVAL_MIN, INTERVAL);
        self.interval
            .send_if_modified(|known| std::mem::replace(known, interval) != interval);
    }

    /// How long intervals should be, and every change of it.
    pub(crate) fn interval(&self) -> watch::Receiver<Duration> {
        self.interval.subscribe()
    }
}

impl Kept {
    fn begin(&mut self, now: Instant, ready: BTreeSet<NodeId>) {
        self.awaited = ready;
        self.began = Some(now);
    }

    fn awaited(&mut self, now: Instant, is_there: impl Fn(NodeId) -> bool) -> Awaited {
        self.awaited.retain(|id| is_there(*id));
        let since = self.began.map(|began| now.saturating_duration_since(began));
        let is_silent = since.is_some_and(|since| since > INTERVAL + SILENT_AFTER);
        Awaited {
            nodes: self.awaited.iter().copied().collect(),
            is_silent: is_silent && !self.awaited.is_empty(),
        }
    }

    fn on_hello(&mut self, now: Instant, agent_id: &str, node_id: Option<NodeId>, lease: Duration) {
        if let Some(node_id) = node_id {
            self.awaited.remove(&node_id);
        }
        // A process that the same node had before is over. Those whose lease ended may be, too.
        self.ingresses.retain(|id, told| {
            **id == *agent_id
                || !(told.lease_until < now || node_id.is_some() && told.node_id == node_id)
        });
        if !self.ingresses.contains_key(agent_id) {
            let told = Told {
                node_id,
                number: None,
                at: now,
                lease_until: now,
                length: INTERVAL,
                missing: 0,
                open: Vec::new(),
                open_number: 0,
                levels: Vec::new(),
            };
            self.ingresses.insert(agent_id.into(), told);
        }
        self.on_heard(now, agent_id, lease);
    }

    fn on_heard(&mut self, now: Instant, agent_id: &str, lease: Duration) {
        if let Some(told) = self.ingresses.get_mut(agent_id) {
            told.lease_until = now + lease;
        }
    }

    /// Takes an interval, or a part of it; returns its place as soon as it is whole.
    fn on_traffic(&mut self, now: Instant, agent_id: &str, traffic: Traffic) -> Option<u64> {
        let (agent_id, told) = {
            let (id, _) = self.ingresses.get_key_value(agent_id)?;
            let id = Arc::clone(id);
            let told = self.ingresses.get_mut(&id)?;
            (id, told)
        };
        if told.number.is_some_and(|known| traffic.number <= known) {
            // Of a stream that is over.
            return None;
        }
        if told.open_number != traffic.number {
            told.open.clear();
            told.open_number = traffic.number;
        }
        for row in traffic.rows {
            if told.open.len() >= INTERVAL_ROWS_MAX {
                break;
            }
            let known = self.sums.get_key_value(&row.who);
            let who = known.map_or_else(|| Arc::new(row.who), |(who, _)| Arc::clone(who));
            told.open.push(Row {
                who,
                counts: row.counts,
            });
        }
        if traffic.more {
            return None;
        }
        self.place += 1;
        let rows = std::mem::take(&mut told.open);
        let expected = told.number.map_or(traffic.number, |known| known + 1);
        let missing = traffic.number - expected;
        told.missing = told.missing.saturating_add(missing);
        told.number = Some(traffic.number);
        told.at = now;
        told.length = Duration::from_millis(traffic.millis);
        told.levels = rows
            .iter()
            .filter(|row| row.counts.in_flight > 0)
            .map(|row| (Arc::clone(&row.who), row.counts.in_flight))
            .collect();
        let interval = Interval {
            place: self.place,
            agent_id,
            heard: now,
            length: told.length,
            missing,
            rows,
        };
        self.add(&interval);
        self.keep(now, interval);
        Some(self.place)
    }

    fn add(&mut self, interval: &Interval) {
        for row in &interval.rows {
            let sum = self
                .sums
                .entry(Arc::clone(&row.who))
                .or_insert_with(|| Sum {
                    counts: Counts::default(),
                    place: 0,
                });
            sum.counts.add(&row.counts);
            // A level is no sum.
            sum.counts.in_flight = 0;
            sum.place = self.place;
        }
        if self.sums.len() > SUMS_MAX {
            // A part at a time, so that this is seldom.
            let mut places: Vec<u64> = self.sums.values().map(|sum| sum.place).collect();
            let (_, limit, _) = places.select_nth_unstable(SUMS_MAX / 4);
            let limit = *limit;
            self.sums.retain(|_, sum| sum.place > limit);
        }
    }

    fn keep(&mut self, now: Instant, interval: Interval) {
        // One without rows takes room as well.
        let rows = |interval: &Interval| interval.rows.len() + 1;
        self.recent_rows += rows(&interval);
        self.recent.push_back(Arc::new(interval));
        while let Some(oldest) = self.recent.front() {
            let is_old = now.saturating_duration_since(oldest.heard) > RECENT_TIME;
            if !is_old && self.recent_rows <= RECENT_ROWS_MAX {
                break;
            }
            self.recent_rows -= rows(oldest);
            self.recent.pop_front();
        }
    }

    fn total(&self, service: Option<&str>) -> Vec<Row> {
        let sums = self.sums.iter();
        let sums = sums.map(|(who, sum)| (Arc::clone(who), sum.counts.clone()));
        self.with_levels(sums.collect(), service)
    }

    fn recent(&self, now: Instant, time: Duration, service: Option<&str>) -> Vec<Row> {
        let mut sums: BTreeMap<Arc<Who>, Counts> = BTreeMap::new();
        let mut intervals = self.recent.iter();
        let first = intervals.position(|own| now.saturating_duration_since(own.heard) <= time);
        let intervals = self.recent.iter().skip(first.unwrap_or(self.recent.len()));
        for row in intervals.flat_map(|interval| &interval.rows) {
            let sum = sums.entry(Arc::clone(&row.who)).or_default();
            sum.add(&row.counts);
            sum.in_flight = 0;
        }
        self.with_levels(sums, service)
    }

    /// Rows of counts with what everybody has in flight at all ingresses.
    fn with_levels(
        &self,
        mut counts: BTreeMap<Arc<Who>, Counts>,
        service: Option<&str>,
    ) -> Vec<Row> {
        for (who, level) in self.ingresses.values().flat_map(|told| &told.levels) {
            counts.entry(Arc::clone(who)).or_default().in_flight += level;
        }
        let rows = counts.into_iter().map(|(who, counts)| Row { who, counts });
        rows.filter(|row| service.is_none_or(|name| row.who.service == name))
            .collect()
    }

    fn after(&self, place: u64) -> Feed {
        let first = self.recent.front().map_or(self.place + 1, |own| own.place);
        let skipped = (place + 1).saturating_sub(first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        Feed {
            intervals: self.recent.iter().skip(skipped).cloned().collect(),
            place: self.place,
            is_cut: place + 1 < first,
        }
    }

    fn ingresses(&mut self, now: Instant, interval: Duration) -> Vec<Ingress> {
        self.ingresses.retain(|_, told| told.lease_until >= now);
        let ingresses = self.ingresses.iter().map(|(id, told)| {
            let ago = now.saturating_duration_since(told.at);
            Ingress {
                agent_id: id.to_string(),
                node_id: told.node_id,
                told: ago,
                is_silent: ago > interval.max(told.length.min(INTERVAL)) + SILENT_AFTER,
                missing: told.missing,
            }
        });
        ingresses.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpc::traffic::TrafficRow;

    const LEASE: Duration = Duration::from_secs(10);

    fn row(instance: &str, ok: u64, in_flight: u64) -> TrafficRow {
        TrafficRow {
            who: Who {
                route: "/".into(),
                service: "web".into(),
                version: "v1".into(),
                instance: instance.into(),
            },
            counts: Counts {
                answers: [0, ok, 0, 0, 0],
                in_flight,
                times: vec![(1000, ok)],
                ..Counts::default()
            },
        }
    }

    fn traffic(number: u64, rows: &[(&str, u64, u64)]) -> Traffic {
        let rows = rows
            .iter()
            .map(|(instance, ok, level)| row(instance, *ok, *level));
        Traffic {
            number,
            millis: 1000,
            more: false,
            rows: rows.collect(),
        }
    }

    fn short(rows: &[Row]) -> Vec<(&str, u64, u64)> {
        rows.iter()
            .map(|row| {
                (
                    &*row.who.instance,
                    row.counts.answers[1],
                    row.counts.in_flight,
                )
            })
            .collect()
    }

    /// Two agents at a moment, and a way to later ones.
    fn two() -> (Kept, impl Fn(u64) -> Instant) {
        let begin = Instant::now();
        let mut kept = Kept::default();
        kept.on_hello(begin, "one", Some(NodeId::named("1")), LEASE);
        kept.on_hello(begin, "two", None, LEASE);
        (kept, move |ms| begin + Duration::from_millis(ms))
    }

    #[test]
    fn counts_of_agents_are_added_and_levels_are_those_of_now() {
        let (mut kept, at) = two();
        assert_eq!(
            kept.on_traffic(at(0), "nobody", traffic(1, &[("x", 1, 1)])),
            None
        );
        kept.on_traffic(at(1000), "one", traffic(1, &[("a", 3, 2), ("b", 5, 0)]));
        kept.on_traffic(at(1000), "two", traffic(1, &[("a", 10, 1)]));
        assert_eq!(short(&kept.total(Some("web"))), [("a", 13, 3), ("b", 5, 0)]);
        kept.on_traffic(at(2000), "one", traffic(2, &[("b", 1, 4)]));
        assert_eq!(short(&kept.total(None)), [("a", 13, 1), ("b", 6, 4)]);
        assert_eq!(kept.total(None)[0].counts.times, [(1000, 13)]);
        assert_eq!(kept.total(Some("other")), []);
        let second = kept.recent(at(2500), Duration::from_millis(900), None);
        assert_eq!(short(&second), [("a", 0, 1), ("b", 1, 4)]);
        // A process of the same node that takes its place.
        kept.on_hello(at(2600), "three", Some(NodeId::named("1")), LEASE);
        assert_eq!(short(&kept.total(None)), [("a", 13, 1), ("b", 6, 0)]);
    }

    #[test]
    fn what_was_not_told_is_missing_and_not_nothing() {
        let (mut kept, at) = two();
        for number in 1..=3 {
            let now = at(number * 1000);
            kept.on_heard(now, "one", LEASE);
            kept.on_traffic(now, "one", traffic(number, &[]));
            kept.on_traffic(now, "two", traffic(number, &[("a", 1, 0)]));
        }
        let silent = |kept: &mut Kept, ms| -> Vec<(String, bool, u64)> {
            let all = kept.ingresses(at(ms), INTERVAL);
            let all = all.into_iter();
            all.map(|own| (own.agent_id, own.is_silent, own.missing))
                .collect()
        };
        let expect = |of: &[(&str, bool, u64)]| -> Vec<(String, bool, u64)> {
            let own = of.iter();
            own.map(|(id, silent, missing)| ((*id).to_owned(), *silent, *missing))
                .collect()
        };
        assert_eq!(
            silent(&mut kept, 4200),
            expect(&[("one", false, 0), ("two", false, 0)])
        );
        // One goes on without a word of traffic; two has stopped.
        kept.on_traffic(at(4900), "one", traffic(4, &[]));
        assert_eq!(
            silent(&mut kept, 5000),
            expect(&[("one", false, 0), ("two", true, 0)])
        );
        kept.on_traffic(at(8000), "two", traffic(7, &[("a", 1, 0)]));
        let feed = kept.after(0);
        let missing: Vec<(&str, u64)> = feed
            .intervals
            .iter()
            .filter(|own| own.missing > 0)
            .map(|own| (&*own.agent_id, own.missing))
            .collect();
        assert_eq!(missing, [("two", 3)]);
        assert_eq!(kept.total(None)[0].counts.answers[1], 4);
        // When its lease is over, nothing is expected of it any more.
        assert_eq!(silent(&mut kept, 12_000), expect(&[("one", true, 0)]));
    }

    /// What happens after which time since this server leads, and which nodes are awaited then;
    /// with `!` when they should have come. All of them are ready at first.
    const AWAITED: &str = "
        0     begin 1 2 3   -> 1 2 3
        100   hello 1       -> 2 3
        200   plain 2       -> 3
        1700  nothing       -> 3
        1800  nothing       -> 3!
        9000  hello 1       -> 3!
        9500  down 3        ->
        9600  begin 1 2     -> 1 2
        11500 nothing       -> 1 2!
        11600 hello 2       -> 1!
        11700 hello 1       ->
    ";

    #[test]
    fn who_carried_traffic_under_another_leader_is_missing_until_it_comes_or_is_lost() {
        let begin = Instant::now();
        let mut kept = Kept::default();
        assert_eq!(kept.awaited(begin, |_| true), Awaited::default());
        let mut down = BTreeSet::new();
        let rows = AWAITED.lines().map(str::trim).filter(|row| !row.is_empty());
        for row in rows {
            let (told, expected) = row.split_once("->").unwrap();
            let mut words = told.split_whitespace();
            let ms = words.next().unwrap().parse().unwrap();
            let now = begin + Duration::from_millis(ms);
            let verb = words.next().unwrap();
            let names: Vec<&str> = words.collect();
            let nodes: BTreeSet<NodeId> = names.iter().map(|name| NodeId::named(name)).collect();
            match verb {
                "begin" => kept.begin(now, nodes),
                "hello" => kept.on_hello(now, names[0], nodes.first().copied(), LEASE),
                "plain" => kept.awaited.retain(|id| !nodes.contains(id)),
                "down" => down.extend(nodes),
                _ => {}
            }
            let awaited = kept.awaited(now, |id| !down.contains(&id));
            let is_due = expected.contains('!');
            let expected: BTreeSet<NodeId> = expected
                .split_whitespace()
                .map(|name| NodeId::named(name.trim_end_matches('!')))
                .collect();
            let nodes: BTreeSet<NodeId> = awaited.nodes.into_iter().collect();
            assert_eq!((nodes, awaited.is_silent), (expected, is_due), "{row}");
        }
    }

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let (mut kept, at) = two();
        assert_eq!((kept.after(0).place, kept.after(0).is_cut), (0, false));
        for number in 1..=5 {
            kept.on_traffic(
                at(number * 1000),
                "one",
                traffic(number, &[("a", number, 0)]),
            );
        }
        let feed = kept.after(3);
        let places: Vec<u64> = feed.intervals.iter().map(|own| own.place).collect();
        assert_eq!((places, feed.place, feed.is_cut), (vec![4, 5], 5, false));
        assert!(kept.after(5).intervals.is_empty());
        kept.on_traffic(at(63_500), "one", traffic(6, &[]));
        assert!(kept.after(1).is_cut && !kept.after(3).is_cut);
        assert_eq!(kept.after(1).intervals.len(), 3);
    }

    #[test]
    fn an_interval_counts_when_all_of_it_is_there() {
        let (mut kept, at) = two();
        let part = |number, more, rows: &[(&str, u64, u64)]| Traffic {
            more,
            ..traffic(number, rows)
        };
        assert_eq!(
            kept.on_traffic(at(1), "one", part(1, true, &[("a", 1, 0)])),
            None
        );
        assert_eq!(kept.total(None), []);
        assert_eq!(
            kept.on_traffic(at(2), "one", part(1, false, &[("b", 1, 0)])),
            Some(1)
        );
        assert_eq!(kept.total(None).len(), 2);
        // The end of the second is lost, and the third is whole.
        kept.on_traffic(at(3), "one", part(2, true, &[("a", 9, 0)]));
        assert_eq!(
            kept.on_traffic(at(4), "one", part(3, false, &[("b", 1, 0)])),
            Some(2)
        );
        assert_eq!(short(&kept.total(None)), [("a", 1, 0), ("b", 2, 0)]);
        assert_eq!(kept.after(1).intervals[0].missing, 1);
        assert_eq!(
            kept.on_traffic(at(5), "one", part(3, false, &[("b", 1, 0)])),
            None
        );
    }

    #[test]
    fn everything_is_bounded() {
        let (mut kept, at) = two();
        let names: Vec<String> = (0..SUMS_MAX + 2000).map(|name| name.to_string()).collect();
        for (number, names) in (1..).zip(names.chunks(1000)) {
            let rows: Vec<_> = names.iter().map(|name| (&**name, 1, 0)).collect();
            kept.on_traffic(at(number), "one", traffic(number, &rows));
            assert!(kept.sums.len() <= SUMS_MAX && kept.recent_rows <= RECENT_ROWS_MAX);
        }
        assert!(kept.sums.len() > SUMS_MAX / 2 && kept.recent_rows > RECENT_ROWS_MAX / 2);
        let last = kept
            .total(None)
            .iter()
            .any(|row| row.who.instance == *names[names.len() - 1]);
        assert!(last, "what was heard last stays");
        let rows: Vec<_> = names
            .iter()
            .take(5000)
            .map(|name| (&**name, 1, 0))
            .collect();
        kept.on_traffic(at(900), "two", traffic(1, &rows));
        let newest = &kept.after(0).intervals;
        assert_eq!(newest[newest.len() - 1].rows.len(), INTERVAL_ROWS_MAX);
    }
}
