//! What was counted since the last look, for those who are told again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::meter::{Meter, OUTCOMES, Spent, Totals};
use super::metrics::{TARGETS_MAX, Who, who};
use super::table::{Route, Table, Target};
use super::upstream::Upstream;

/// What the targets with the same labels did between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Host and path of the route.
    pub route: String,
    /// The service.
    pub service: String,
    /// The version that it runs; empty if nobody says.
    pub version: String,
    /// Its id, or its address without one; `other` for those beyond a bound.
    pub instance: String,
    /// Attempts that have ended, by outcome, in the order of [`super::OUTCOME_NAMES`].
    pub outcomes: [u64; OUTCOMES],
    /// Attempts that were followed by one at another target.
    pub retries: u64,
    /// Requests that it has now, on all routes: no count, but a level.
    pub in_flight: u64,
    /// How long all whole answers took together, in microseconds.
    pub total_us: u64,
    /// How many whole answers took how long: counts by the longest time of their bucket, which is
    /// nowhere wider than a thirty-second of that time.
    pub times: BTreeMap<Duration, u64>,
    /// Whole answers by status.
    pub statuses: BTreeMap<u16, Spent>,
    /// Bytes of connections that came from it.
    pub received: u64,
    /// Bytes of connections that went to it.
    pub sent: u64,
}

/// Looks at the counts of tables again and again.
///
/// A target that came and went between two looks is not seen; one that a look has met is followed
/// to its last request.
#[derive(Debug)]
pub struct Tally {
    /// What targets are told apart by.
    labels: fn(&Route, &Target) -> Who,
    /// The table of the last look.
    table: Arc<Table>,
    /// Targets that were ever asked for anything, by the place of their meter, which is theirs as
    /// long as it is held here.
    seen: BTreeMap<usize, Seen>,
    looks: u64,
}

#[derive(Debug)]
struct Seen {
    who: Who,
    meter: Arc<Meter>,
    upstream: Arc<Upstream>,
    last: Totals,
    in_flight: u64,
    /// The look at which a table had it last.
    met: u64,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally::by(who)
    }
}

impl Tally {
    /// One that tells targets apart by these labels.
    pub(super) fn by(labels: fn(&Route, &Target) -> Who) -> Tally {
        Tally {
            labels,
            table: Arc::default(),
            seen: BTreeMap::new(),
            looks: 0,
        }
    }

    /// What happened since the last look, in the order of the labels; those to whom nothing
    /// happened and who have nothing in flight are left out.
    ///
    /// Shape: at most two thousand, and one more for each service and version; beyond that, targets
    /// of a service and version share the instance `other`.
    pub fn look(&mut self, table: &Arc<Table>) -> Vec<Count> {
        let named = |((route, service, version, instance), count)| Count {
            route,
            service,
            version,
            instance,
            ..count
        };
        self.counts(table).into_iter().map(named).collect()
    }

    /// The same, by labels.
    pub(super) fn counts(&mut self, table: &Arc<Table>) -> BTreeMap<Who, Count> {
        self.looks += 1;
        let before = std::mem::replace(&mut self.table, table.clone());
        self.meet(&before);
        self.meet(table);
        let mut counts: BTreeMap<Who, Count> = BTreeMap::new();
        for seen in self.seen.values_mut() {
            let in_flight = seen.upstream.in_flight();
            let is_moved = seen.meter.moved(&seen.last);
            if !is_moved && in_flight == 0 && seen.in_flight == 0 {
                continue;
            }
            seen.in_flight = in_flight;
            let mut who = seen.who.clone();
            if counts.len() >= TARGETS_MAX && !counts.contains_key(&who) {
                "other".clone_into(&mut who.3);
            }
            let count = counts.entry(who).or_default();
            count.in_flight += in_flight;
            if is_moved {
                let now = seen.meter.totals();
                count.add(&now, &seen.last);
                seen.last = now;
            }
        }
        let looks = self.looks;
        self.seen
            .retain(|_, seen| seen.met == looks || seen.in_flight > 0);
        counts
    }

    /// Takes in the targets of a table that were ever asked for anything.
    fn meet(&mut self, table: &Table) {
        let labels = self.labels;
        let all = table.routes().flat_map(|route| {
            let targets = route.targets().iter();
            targets.map(move |target| (route, target))
        });
        for (route, target) in all.filter(|(_, target)| is_used(target)) {
            let place = Arc::as_ptr(target.meter()).addr();
            let seen = self.seen.entry(place).or_insert_with(|| Seen {
                who: labels(route, target),
                meter: target.meter().clone(),
                upstream: target.upstream().clone(),
                last: Totals::default(),
                in_flight: 0,
                met: 0,
            });
            seen.met = self.looks;
        }
    }
}

fn is_used(target: &Target) -> bool {
    target.meter().is_used() || target.upstream().in_flight() > 0
}

impl Count {
    fn add(&mut self, now: &Totals, then: &Totals) {
        let pairs = now.outcomes.iter().zip(then.outcomes);
        for (sum, (now, then)) in self.outcomes.iter_mut().zip(pairs) {
            *sum += now.saturating_sub(then);
        }
        self.retries += now.retries.saturating_sub(then.retries);
        self.total_us += now.total_us.saturating_sub(then.total_us);
        now.times_since(then, &mut self.times);
        for (status, spent) in &now.statuses {
            let earlier = then.statuses.get(status).copied().unwrap_or_default();
            let spent = spent.since(earlier);
            if spent.count > 0 {
                self.statuses.entry(*status).or_default().add(spent);
            }
        }
        self.received += now.received.saturating_sub(then.received);
        self.sent += now.sent.saturating_sub(then.sent);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Count, Tally};
    use crate::route::{Entered, Outcome, Table, parse};

    fn table(text: &str, previous: Option<&Table>) -> Arc<Table> {
        let (definitions, problems) = parse::parse(text);
        assert!(problems.is_empty(), "{problems:?}");
        Arc::new(Table::build(definitions, previous).0)
    }

    /// Instance, answers of 200, refused, retries, in flight, times.
    fn short(counts: &[Count]) -> Vec<(&str, u64, u64, u64, u64, u64)> {
        let of = |own: &Count| {
            let (ok, refused) = (own.outcomes[1], own.outcomes[5]);
            (ok, refused, own.retries, own.in_flight)
        };
        counts
            .iter()
            .map(|own| {
                let (ok, refused, retries, in_flight) = of(own);
                let timed = own.times.values().sum();
                (
                    own.instance.as_str(),
                    ok,
                    refused,
                    retries,
                    in_flight,
                    timed,
                )
            })
            .collect()
    }

    #[test]
    fn looks_say_what_happened_between_them() {
        let text = "route add web / http://10.0.0.1:80/\nroute add web / http://10.0.0.2:80/";
        let first = table(text, None);
        let mut tally = Tally::default();
        assert_eq!(tally.look(&first), []);
        let targets = first.routes().next().unwrap().targets().to_vec();
        let answer = |at: usize| {
            let meter = targets[at].meter();
            meter.ended(at, Outcome::Status(200), Duration::from_millis(7));
        };
        answer(0);
        answer(0);
        targets[1]
            .meter()
            .ended(1, Outcome::Refused, Duration::ZERO);
        targets[1].meter().retried(1);
        let counts = tally.look(&first);
        assert_eq!(
            short(&counts),
            [
                ("10.0.0.1:80", 2, 0, 0, 0, 2),
                ("10.0.0.2:80", 0, 1, 1, 0, 0)
            ]
        );
        assert_eq!(
            (counts[0].route.as_str(), counts[0].total_us),
            ("/", 14_000)
        );
        let (longest, count) = counts[0].times.first_key_value().unwrap();
        let near = Duration::from_millis(7)..=Duration::from_micros(7_220);
        assert!(near.contains(longest) && *count == 2, "{counts:?}");
        assert_eq!(tally.look(&first), []);
        // Counts go on in the table after it, and of one that left until nothing is in flight.
        assert_eq!(targets[1].upstream().enter(), Entered::Open);
        let second = table("route add web / http://10.0.0.1:80/", Some(&first));
        answer(0);
        answer(1);
        let counts = tally.look(&second);
        let expected = [
            ("10.0.0.1:80", 1, 0, 0, 0, 1),
            ("10.0.0.2:80", 1, 0, 0, 1, 1),
        ];
        assert_eq!(short(&counts), expected);
        targets[1].upstream().leave();
        answer(1);
        let counts = tally.look(&second);
        assert_eq!(short(&counts), [("10.0.0.2:80", 1, 0, 0, 0, 1)]);
        answer(1);
        assert_eq!(tally.look(&second), [], "it is gone");
        assert_eq!(tally.seen.len(), 1);
    }

    #[test]
    fn a_target_that_served_first_and_left_between_two_looks_is_counted() {
        let first = table("route add web / http://10.0.0.1:80/", None);
        let mut tally = Tally::default();
        tally.look(&first);
        let target = first.routes().next().unwrap().targets()[0].clone();
        target
            .meter()
            .ended(0, Outcome::Status(500), Duration::from_millis(1));
        let second = table("route add web / http://10.0.0.2:80/", Some(&first));
        let counts = tally.look(&second);
        assert_eq!((counts.len(), counts[0].outcomes[4]), (1, 1));
    }

    #[test]
    fn many_targets_are_bounded() {
        let text: String = (0..2100)
            .map(|at| {
                format!(
                    "route add web / http://10.0.{}.{}:80/\n",
                    at / 250,
                    at % 250
                )
            })
            .collect();
        let table = table(&text, None);
        for target in table.routes().next().unwrap().targets() {
            let meter = target.meter();
            meter.ended(0, Outcome::Status(200), Duration::from_millis(1));
        }
        let counts = Tally::default().look(&table);
        assert_eq!(counts.len(), 2001);
        let all: u64 = counts.iter().map(|count| count.outcomes[1]).sum();
        assert_eq!(all, 2100);
        assert!(counts.iter().any(|count| count.instance == "other"));
    }
}
