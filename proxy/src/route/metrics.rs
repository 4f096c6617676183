//! What was counted, as text that Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::meter::{BOUNDS_MS, OUTCOME_NAMES, Reading};
use super::table::{Route, Table, Target};

/// So many targets have lines of their own; those of others are added up.
pub(super) const TARGETS_MAX: usize = 2000;

/// Who is counted: route, service, version and instance.
pub type Who = (String, String, String, String);

/// The counts of targets that have the same labels.
#[derive(Default)]
struct Sum {
    reading: Reading,
    in_flight: u64,
    resting: u64,
}

impl Table {
    /// All counts of the targets of this table in the text format of Prometheus. `now_ms` is a time
    /// of the clock by which targets rest.
    ///
    /// Shape: one line for each target and outcome, up to a bound; beyond it, targets of a service
    /// and version share the instance `other`. Times are by route, service and version.
    pub fn metrics(&self, now_ms: u64) -> String {
        let mut targets: BTreeMap<Who, Sum> = BTreeMap::new();
        let mut versions: BTreeMap<Who, Reading> = BTreeMap::new();
        let all = self.routes().flat_map(|route| {
            let targets = route.targets().iter();
            targets.map(move |target| (route, target.as_ref()))
        });
        for (route, target) in all {
            let reading = target.meter().read();
            let mut who = who(route, target);
            versions
                .entry((who.0.clone(), who.1.clone(), who.2.clone(), String::new()))
                .or_default()
                .add(&reading);
            if targets.len() >= TARGETS_MAX && !targets.contains_key(&who) {
                who.3 = "other".to_owned();
            }
            let sum = targets.entry(who).or_default();
            sum.reading.add(&reading);
            sum.in_flight += target.upstream().in_flight();
            sum.resting += u64::from(target.upstream().health().rests(now_ms));
        }
        text(&targets, &versions)
    }
}

/// A count without labels.
pub(crate) fn counter(name: &str, help: &str, count: u64) -> String {
    let mut out = String::new();
    head(&mut out, name, "counter", help)
        .and_then(|()| writeln!(out, "{name} {count}"))
        .expect("a text takes any text");
    out
}

fn text(targets: &BTreeMap<Who, Sum>, versions: &BTreeMap<Who, Reading>) -> String {
    let mut out = String::new();
    write_targets(&mut out, targets)
        .and_then(|()| write_times(&mut out, versions))
        .expect("a text takes any text");
    out
}

/// The labels of a target of a route: its instance is the address where it has no id.
pub fn who(route: &Route, target: &Target) -> Who {
    let instance = match target.instance() {
        "" => target.address().to_string(),
        id => id.to_owned(),
    };
    (
        format!("{}{}", route.host(), route.path()),
        target.service().to_owned(),
        target.version().to_owned(),
        instance,
    )
}

/// The value of a label, in quotes.
pub fn quoted(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", value.replace('\n', "\\n"))
}

/// The labels of somebody, without braces.
fn labels(who: &Who) -> String {
    let (route, service, version, instance) = who;
    let mut labels = String::new();
    for (name, value) in [
        ("route", route),
        ("service", service),
        ("version", version),
        ("instance", instance),
    ] {
        if name != "instance" || !value.is_empty() {
            let comma = if labels.is_empty() { "" } else { "," };
            write!(labels, "{comma}{name}={}", quoted(value)).expect("a text takes any text");
        }
    }
    labels
}

pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn write_targets(out: &mut String, targets: &BTreeMap<Who, Sum>) -> std::fmt::Result {
    let name = "trivet_ingress_attempts_total";
    head(
        out,
        name,
        "counter",
        "Requests sent to an instance, by how it ended them.",
    )?;
    for (who, sum) in targets {
        let counts = OUTCOME_NAMES.iter().zip(sum.reading.outcomes);
        for (outcome, count) in counts.filter(|(_, count)| *count > 0) {
            writeln!(
                out,
                "{name}{{{},outcome=\"{outcome}\"}} {count}",
                labels(who)
            )?;
        }
    }
    let name = "trivet_ingress_retries_total";
    head(
        out,
        name,
        "counter",
        "Requests that were taken from an instance and given to another.",
    )?;
    for (who, sum) in targets {
        writeln!(out, "{name}{{{}}} {}", labels(who), sum.reading.retries)?;
    }
    let name = "trivet_ingress_in_flight";
    head(
        out,
        name,
        "gauge",
        "Requests that an instance has now, on all routes.",
    )?;
    for (who, sum) in targets {
        writeln!(out, "{name}{{{}}} {}", labels(who), sum.in_flight)?;
    }
    let name = "trivet_ingress_resting";
    head(
        out,
        name,
        "gauge",
        "Whether an instance gets no requests because it failed or is silent.",
    )?;
    for (who, sum) in targets {
        writeln!(out, "{name}{{{}}} {}", labels(who), sum.resting)?;
    }
    Ok(())
}

fn write_times(out: &mut String, versions: &BTreeMap<Who, Reading>) -> std::fmt::Result {
    let name = "trivet_ingress_answer_seconds";
    head(
        out,
        name,
        "histogram",
        "From the first byte sent to the last one received.",
    )?;
    for (who, reading) in versions {
        write_histogram(out, name, &labels(who), reading)?;
    }
    Ok(())
}

fn write_histogram(
    out: &mut String,
    name: &str,
    labels: &str,
    reading: &Reading,
) -> std::fmt::Result {
    for (bound, count) in BOUNDS_MS.iter().zip(reading.within) {
        let bound = *bound as f64 / 1000.0;
        writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
    }
    writeln!(
        out,
        "{name}_bucket{{{labels},le=\"+Inf\"}} {}",
        reading.timed
    )?;
    writeln!(
        out,
        "{name}_sum{{{labels}}} {}",
        reading.total_us as f64 / 1e6
    )?;
    writeln!(out, "{name}_count{{{labels}}} {}", reading.timed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::route::{Outcome, Table, parse};

    #[test]
    fn counts_are_lines_with_labels() {
        let text = "route add web shop.io/\\\"a http://10.0.0.1:80/\nroute add web shop.io/\\\"a http://10.0.0.2:80/";
        let text = text.replace("\\\"", "\\");
        let (definitions, problems) = parse::parse(&text);
        assert!(problems.is_empty(), "{problems:?}");
        let (table, _) = Table::build(definitions, None);
        let targets = table.routes().next().unwrap().targets();
        targets[0]
            .meter()
            .ended(0, Outcome::Status(200), Duration::from_millis(30));
        targets[1].meter().ended(1, Outcome::Failed, Duration::ZERO);
        targets[1].meter().retried(1);
        targets[1].upstream().health().suspected(100);
        let (rebuilt, _) = Table::build(parse::parse(&text).0, Some(&table));
        let metrics = rebuilt.metrics(200);
        let route = "route=\"shop.io/\\\\a\",service=\"web\",version=\"\"";
        for line in [
            format!(
                "trivet_ingress_attempts_total{{{route},instance=\"10.0.0.1:80\",outcome=\"2xx\"}} 1"
            ),
            format!(
                "trivet_ingress_attempts_total{{{route},instance=\"10.0.0.2:80\",outcome=\"failed\"}} 1"
            ),
            format!("trivet_ingress_retries_total{{{route},instance=\"10.0.0.2:80\"}} 1"),
            format!("trivet_ingress_in_flight{{{route},instance=\"10.0.0.2:80\"}} 0"),
            format!("trivet_ingress_resting{{{route},instance=\"10.0.0.2:80\"}} 1"),
            format!("trivet_ingress_answer_seconds_bucket{{{route},le=\"0.025\"}} 0"),
            format!("trivet_ingress_answer_seconds_bucket{{{route},le=\"0.05\"}} 1"),
            format!("trivet_ingress_answer_seconds_sum{{{route}}} 0.03"),
            format!("trivet_ingress_answer_seconds_count{{{route}}} 1"),
        ] {
            assert!(metrics.lines().any(|own| own == line), "{line}\n{metrics}");
        }
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
        let (table, _) = Table::build(parse::parse(&text).0, None);
        let metrics = table.metrics(0);
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with("trivet_ingress_in_flight{"));
        assert_eq!(lines.count(), 2001);
        assert!(metrics.contains("instance=\"other\""));
    }
}
