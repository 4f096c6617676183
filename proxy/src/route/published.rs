//! Counts under the names and labels of another ingress, for those who draw them already.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::meter::{Spent, Totals};
use super::metrics::{TARGETS_MAX, Who, head, quoted};
use super::table::{Route, Table, Target};
use super::tally::Tally;

/// Times that answers are sorted by, in milliseconds, unless somebody wants others.
pub const PUBLISHED_BOUNDS: [Duration; 11] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
    Duration::from_millis(2_500),
    Duration::from_millis(5_000),
    Duration::from_millis(10_000),
];

/// What a target of a route did between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedCount {
    /// Its service.
    pub service: String,
    /// Host of the route; empty for any.
    pub host: String,
    /// Path of the route.
    pub path: String,
    /// URL of the target; `other` for those beyond a bound.
    pub target: String,
    /// How many whole answers took how long, by the longest time of a narrow bucket.
    pub times: BTreeMap<Duration, u64>,
    /// Whole answers by status.
    pub statuses: BTreeMap<u16, Spent>,
    /// Bytes of connections that came from it.
    pub received: u64,
    /// Bytes of connections that went to it.
    pub sent: u64,
}

/// Looks at the counts of tables again and again, as a [`Tally`] does.
#[derive(Debug)]
pub struct PublishedTally(Tally);

impl Default for PublishedTally {
    fn default() -> PublishedTally {
        PublishedTally(Tally::by(labels))
    }
}

impl PublishedTally {
    /// What happened since the last look, in the order of the labels.
    ///
    /// Shape: at most two thousand, and one more for each path of a service; beyond that, targets
    /// of a path share the target `other`.
    pub fn look(&mut self, table: &Arc<Table>) -> Vec<PublishedCount> {
        let named = |((service, host, path, target), count): (Who, super::Count)| PublishedCount {
            service,
            host,
            path,
            target,
            times: count.times,
            statuses: count.statuses,
            received: count.received,
            sent: count.sent,
        };
        self.0.counts(table).into_iter().map(named).collect()
    }
}

fn labels(route: &Route, target: &Target) -> Who {
    (
        target.service().to_owned(),
        route.host().to_owned(),
        route.path().to_owned(),
        target.destination().url.clone(),
    )
}

/// Counts of those who have the same labels, with answers by time.
struct Sum {
    within: Vec<u64>,
    timed: u64,
    total_us: u64,
    received: u64,
    sent: u64,
}

impl Sum {
    fn new(bounds: &[Duration]) -> Sum {
        Sum {
            within: vec![0; bounds.len()],
            timed: 0,
            total_us: 0,
            received: 0,
            sent: 0,
        }
    }

    fn add(&mut self, totals: &Totals, bounds: &[Duration]) {
        for (longest, count) in totals.times() {
            self.timed += count;
            for (within, bound) in self.within.iter_mut().zip(bounds) {
                if longest <= *bound {
                    *within += count;
                }
            }
        }
        self.total_us += totals.total_us;
        self.received += totals.received;
        self.sent += totals.sent;
    }
}

impl Table {
    /// The counts of the targets of this table under names and labels that are published elsewhere,
    /// each after `prefix`: how long answers took by service, by status, and by each target of a
    /// route, and bytes of connections.
    pub fn published_metrics(&self, prefix: &str, bounds: &[Duration]) -> String {
        let mut services: BTreeMap<String, Sum> = BTreeMap::new();
        let mut targets: BTreeMap<String, Sum> = BTreeMap::new();
        let mut statuses: BTreeMap<String, Spent> = BTreeMap::new();
        let all = self.routes().flat_map(|route| {
            let targets = route.targets().iter();
            targets.map(move |target| (route, target.as_ref()))
        });
        for (route, target) in all {
            let totals = target.meter().totals();
            let service = format!("service={}", quoted(target.service()));
            let (host, path) = (quoted(route.host()), quoted(route.path()));
            let of_target =
                |url: &str| format!("{service},host={host},path={path},target={}", quoted(url));
            let mut labels = of_target(&target.destination().url);
            if targets.len() >= TARGETS_MAX && !targets.contains_key(&labels) {
                labels = of_target("other");
            }
            for (status, spent) in &totals.statuses {
                let labels = format!("code=\"{status}\",{service}");
                statuses.entry(labels).or_default().add(*spent);
            }
            for (sums, labels) in [(&mut targets, labels), (&mut services, service)] {
                let sum = sums.entry(labels).or_insert_with(|| Sum::new(bounds));
                sum.add(&totals, bounds);
            }
        }
        text(prefix, bounds, &[&services, &targets], &statuses)
    }
}

fn text(
    prefix: &str,
    bounds: &[Duration],
    sums: &[&BTreeMap<String, Sum>; 2],
    statuses: &BTreeMap<String, Spent>,
) -> String {
    let mut out = String::new();
    write(&mut out, prefix, bounds, sums, statuses).expect("a text takes any text");
    out
}

fn write(
    out: &mut String,
    prefix: &str,
    bounds: &[Duration],
    [services, targets]: &[&BTreeMap<String, Sum>; 2],
    statuses: &BTreeMap<String, Spent>,
) -> std::fmt::Result {
    for (name, help, sums) in [
        ("requests", "Answers of a service.", services),
        ("route", "Answers of a target of a route.", targets),
    ] {
        let name = format!("{prefix}_{name}");
        head(out, &name, "histogram", help)?;
        for (labels, sum) in *sums {
            for (bound, count) in bounds.iter().zip(&sum.within) {
                let bound = bound.as_secs_f64();
                writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
            }
            let timed = sum.timed;
            writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {timed}")?;
            let seconds = sum.total_us as f64 / 1e6;
            writeln!(out, "{name}_sum{{{labels}}} {seconds}")?;
            writeln!(out, "{name}_count{{{labels}}} {timed}")?;
        }
    }
    let name = format!("{prefix}_http_status");
    head(out, &name, "summary", "Answers of a service by status.")?;
    for (labels, spent) in statuses {
        let seconds = spent.total_us as f64 / 1e6;
        writeln!(out, "{name}_sum{{{labels}}} {seconds}")?;
        writeln!(out, "{name}_count{{{labels}}} {}", spent.count)?;
    }
    for (way, help) in [
        ("rx", "Bytes from a target of TCP."),
        ("tx", "Bytes to a target of TCP."),
    ] {
        let name = format!("{prefix}_route_{way}");
        head(out, &name, "counter", help)?;
        let used = targets
            .iter()
            .filter(|(_, sum)| sum.received + sum.sent > 0);
        for (labels, sum) in used {
            let bytes = if way == "rx" { sum.received } else { sum.sent };
            writeln!(out, "{name}{{{labels}}} {bytes}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{PUBLISHED_BOUNDS, PublishedTally};
    use crate::route::{Outcome, Table, parse};

    fn table(text: &str) -> Table {
        let (definitions, problems) = parse::parse(text);
        assert!(problems.is_empty(), "{problems:?}");
        Table::build(definitions, None).0
    }

    const TEXT: &str =
        "route add web shop.io/a http://10.0.0.1:80/\nroute add web /b http://10.0.0.2:80/";

    #[test]
    fn published_names_have_the_labels_that_are_published_with_them() {
        let table = table(TEXT);
        for (route, status) in table.routes().zip([200, 503]) {
            let meter = route.targets()[0].meter();
            meter.ended(0, Outcome::Status(status), Duration::from_millis(30));
        }
        let first = table.routes().next().unwrap().targets()[0].meter();
        first.received(0, 5);
        let metrics = table.published_metrics("fabio", &PUBLISHED_BOUNDS);
        let own = table.routes().next().unwrap();
        let target = format!(
            "service=\"web\",host=\"{}\",path=\"{}\",target=\"{}\"",
            own.host(),
            own.path(),
            own.targets()[0].destination().url
        );
        for line in [
            "# TYPE fabio_requests histogram".to_owned(),
            "# TYPE fabio_route histogram".to_owned(),
            "fabio_requests_bucket{service=\"web\",le=\"0.025\"} 0".to_owned(),
            "fabio_requests_count{service=\"web\"} 2".to_owned(),
            "fabio_requests_sum{service=\"web\"} 0.06".to_owned(),
            "fabio_http_status_count{code=\"503\",service=\"web\"} 1".to_owned(),
            "fabio_http_status_sum{code=\"200\",service=\"web\"} 0.03".to_owned(),
            format!("fabio_route_bucket{{{target},le=\"0.05\"}} 1"),
            format!("fabio_route_bucket{{{target},le=\"+Inf\"}} 1"),
            format!("fabio_route_count{{{target}}} 1"),
            format!("fabio_route_sum{{{target}}} 0.03"),
            format!("fabio_route_rx{{{target}}} 5"),
            format!("fabio_route_tx{{{target}}} 0"),
        ] {
            assert!(metrics.lines().any(|own| own == line), "{line}\n{metrics}");
        }
        let bounds = [Duration::from_millis(40)];
        let metrics = table.published_metrics("x", &bounds);
        let line = "x_requests_bucket{service=\"web\",le=\"0.04\"} 2";
        assert!(metrics.lines().any(|own| own == line), "{metrics}");
        assert_eq!(metrics.matches("x_requests_bucket").count(), 2);
    }

    #[test]
    fn looks_tell_what_happened_between_them() {
        let table = Arc::new(table(TEXT));
        let mut tally = PublishedTally::default();
        assert_eq!(tally.look(&table), []);
        let meter = table.routes().next().unwrap().targets()[0].meter();
        meter.ended(0, Outcome::Status(200), Duration::from_millis(30));
        meter.sent(0, 9);
        let seen = tally.look(&table);
        let [one] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        assert_eq!(
            (one.service.as_str(), one.sent, one.received),
            ("web", 9, 0)
        );
        assert!(one.target.starts_with("http://10.0.0."), "{one:?}");
        assert_eq!(one.times.values().sum::<u64>(), 1);
        assert_eq!(one.statuses[&200].count, 1);
        assert_eq!(tally.look(&table), []);
        meter.ended(0, Outcome::Status(404), Duration::from_millis(3));
        let seen = tally.look(&table);
        let statuses: Vec<u16> = seen[0].statuses.keys().copied().collect();
        assert_eq!((statuses, seen[0].sent), (vec![404], 0));
    }

    #[test]
    fn many_targets_share_their_lines() {
        let text: String = (0..2100)
            .map(|at| {
                format!(
                    "route add web / http://10.0.{}.{}:80/\n",
                    at / 250,
                    at % 250
                )
            })
            .collect();
        let metrics = table(&text).published_metrics("fabio", &PUBLISHED_BOUNDS);
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with("fabio_route_count{"));
        assert_eq!(lines.count(), 2001);
    }
}
