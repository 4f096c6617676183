//! Calls of gRPC that have ended: by their status, and how long they took.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::Histogram;
use super::meter::{BOUNDS_MS, Spent};
use super::metrics::head;

/// So many threads have counts of their own; more share them.
const THREADS: usize = 16;

/// How many statuses there are.
const STATUSES: usize = 17;

/// Names of the statuses, by their numbers.
const NAMES: [&str; STATUSES] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The status of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallStatus(usize);

/// How a call ended as a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    /// Its answer is whole.
    Whole,
    /// The client left.
    Left,
    /// The target failed.
    Failed,
}

impl CallStatus {
    const CANCELED: CallStatus = CallStatus(1);
    const UNKNOWN: CallStatus = CallStatus(2);
    const INTERNAL: CallStatus = CallStatus(13);
    const UNAVAILABLE: CallStatus = CallStatus(14);

    /// What a header or a trailer says.
    pub(crate) fn told(value: &[u8]) -> CallStatus {
        let number = str::from_utf8(value).ok();
        let number = number.and_then(|number| number.trim().parse().ok());
        number
            .filter(|number| *number < STATUSES)
            .map_or(CallStatus::UNKNOWN, CallStatus)
    }

    /// What a client makes of a call that nobody told the status of, by the status of HTTP of its
    /// answer, if there was any.
    pub(crate) fn guessed(answer: Option<u16>, end: CallEnd) -> CallStatus {
        match (end, answer) {
            (CallEnd::Left, _) => CallStatus::CANCELED,
            (CallEnd::Failed, None | Some(200)) => CallStatus::UNAVAILABLE,
            (_, Some(400)) => CallStatus::INTERNAL,
            (_, Some(401)) => CallStatus(16),
            (_, Some(403)) => CallStatus(7),
            (_, Some(404)) => CallStatus(12),
            (_, Some(429 | 502..=504)) => CallStatus::UNAVAILABLE,
            (CallEnd::Whole | CallEnd::Failed, _) => CallStatus::UNKNOWN,
        }
    }
}

/// Counts calls, by each thread for itself.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    threads: [OnceLock<Box<Counts>>; THREADS],
}

#[derive(Debug, Default)]
struct Counts {
    times: Histogram,
    statuses: [Status; STATUSES],
}

#[derive(Debug, Default)]
struct Status {
    count: AtomicU64,
    total_us: AtomicU64,
}

/// Calls of gRPC that have ended since the start, or between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedCalls {
    /// How many took how long, by the longest time of a narrow bucket.
    pub times: BTreeMap<Duration, u64>,
    /// By the name of their status, as programs in Go have it: `OK`, `NotFound`.
    pub statuses: BTreeMap<&'static str, Spent>,
}

impl Calls {
    /// Counts a call that has ended.
    pub(crate) fn ended(&self, thread: usize, status: CallStatus, took: Duration) {
        let counts = self.threads[thread % THREADS].get_or_init(Box::default);
        counts.times.count(took);
        let own = &counts.statuses[status.0];
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        own.count.fetch_add(1, Ordering::Relaxed);
        own.total_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn read(&self) -> PublishedCalls {
        let mut calls = PublishedCalls::default();
        for counts in self.threads.iter().filter_map(OnceLock::get) {
            for (longest, count) in counts.times.counts() {
                *calls.times.entry(longest).or_default() += u64::from(count);
            }
            for (name, own) in NAMES.into_iter().zip(&counts.statuses) {
                let spent = Spent {
                    count: own.count.load(Ordering::Relaxed),
                    total_us: own.total_us.load(Ordering::Relaxed),
                };
                if spent.count > 0 {
                    calls.statuses.entry(name).or_default().add(spent);
                }
            }
        }
        calls
    }
}

impl PublishedCalls {
    /// What was counted since an earlier look.
    pub fn since(&self, earlier: &PublishedCalls) -> PublishedCalls {
        let times = self.times.iter().map(|(time, count)| {
            let before = earlier.times.get(time).copied().unwrap_or_default();
            (*time, count.saturating_sub(before))
        });
        let statuses = self.statuses.iter().map(|(name, spent)| {
            let before = earlier.statuses.get(name).copied().unwrap_or_default();
            (*name, spent.since(before))
        });
        PublishedCalls {
            times: times.filter(|(_, count)| *count > 0).collect(),
            statuses: statuses.filter(|(_, spent)| spent.count > 0).collect(),
        }
    }

    /// The counts in the text format of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let mut out = String::new();
        let bounds = BOUNDS_MS.map(Duration::from_millis);
        let help = "How long calls of gRPC took.";
        let name = "trivet_ingress_grpc_call_seconds";
        self.write_times(&mut out, (name, help), &bounds)
            .and_then(|()| self.write_counts(&mut out))
            .expect("a text takes any text");
        out
    }

    /// The same under the names that are published elsewhere, each after `prefix`. One of them has
    /// a slip of the pen there, and both spellings are here.
    pub(crate) fn published_metrics(&self, prefix: &str, bounds: &[Duration]) -> String {
        let mut out = String::new();
        let name = format!("{prefix}_grpc_requests");
        let mut write = || -> std::fmt::Result {
            self.write_times(&mut out, (&name, "Calls of gRPC."), bounds)?;
            for name in PUBLISHED_STATUS {
                let name = format!("{prefix}_{}", name.replace('.', "_"));
                head(&mut out, &name, "summary", "Calls of gRPC by status.")?;
                for (status, spent) in &self.statuses {
                    let seconds = spent.total_us as f64 / 1e6;
                    writeln!(out, "{name}_sum{{code=\"{status}\"}} {seconds}")?;
                    writeln!(out, "{name}_count{{code=\"{status}\"}} {}", spent.count)?;
                }
            }
            Ok(())
        };
        write().expect("a text takes any text");
        out
    }

    fn write_times(
        &self,
        out: &mut String,
        (name, help): (&str, &str),
        bounds: &[Duration],
    ) -> std::fmt::Result {
        head(out, name, "histogram", help)?;
        for bound in bounds {
            let within: u64 = self.times.range(..=bound).map(|(_, count)| count).sum();
            let bound = bound.as_secs_f64();
            writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {within}")?;
        }
        let all: u64 = self.times.values().sum();
        let total_us: u64 = self.statuses.values().map(|spent| spent.total_us).sum();
        let seconds = total_us as f64 / 1e6;
        writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {all}")?;
        writeln!(out, "{name}_sum {seconds}\n{name}_count {all}")
    }

    fn write_counts(&self, out: &mut String) -> std::fmt::Result {
        let name = "trivet_ingress_grpc_calls_total";
        head(out, name, "counter", "Calls of gRPC by their status.")?;
        for (status, spent) in &self.statuses {
            writeln!(out, "{name}{{status=\"{status}\"}} {}", spent.count)?;
        }
        Ok(())
    }
}

/// Names under which calls by status are published elsewhere.
pub const PUBLISHED_STATUS: [&str; 2] = ["grpc.status", "grep.status"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CallEnd, CallStatus, Calls, NAMES, PublishedCalls};

    #[test]
    fn a_status_is_what_is_told_or_what_clients_make_of_it() {
        for (told, expected) in [
            ("0", "OK"),
            (" 16 ", "Unauthenticated"),
            ("17", "Unknown"),
            ("-1", "Unknown"),
            ("", "Unknown"),
            ("ok", "Unknown"),
        ] {
            let status = CallStatus::told(told.as_bytes());
            assert_eq!(NAMES[status.0], expected, "{told}");
        }
        assert_eq!(CallStatus::told(b"\xff"), CallStatus::UNKNOWN);
        for (answer, end, expected) in [
            (None, CallEnd::Left, "Canceled"),
            (Some(200), CallEnd::Left, "Canceled"),
            (None, CallEnd::Failed, "Unavailable"),
            (Some(200), CallEnd::Failed, "Unavailable"),
            (Some(200), CallEnd::Whole, "Unknown"),
            (Some(400), CallEnd::Whole, "Internal"),
            (Some(401), CallEnd::Whole, "Unauthenticated"),
            (Some(403), CallEnd::Whole, "PermissionDenied"),
            (Some(404), CallEnd::Whole, "Unimplemented"),
            (Some(429), CallEnd::Whole, "Unavailable"),
            (Some(503), CallEnd::Failed, "Unavailable"),
            (Some(500), CallEnd::Whole, "Unknown"),
            (None, CallEnd::Whole, "Unknown"),
        ] {
            let status = CallStatus::guessed(answer, end);
            assert_eq!(NAMES[status.0], expected, "{answer:?} {end:?}");
        }
    }

    #[test]
    fn calls_are_told_under_both_names() {
        let calls = Calls::default();
        let before = calls.read();
        assert_eq!(before, PublishedCalls::default());
        let count = |thread, status: &str, ms| {
            let status = CallStatus::told(status.as_bytes());
            calls.ended(thread, status, Duration::from_millis(ms));
        };
        count(0, "0", 3);
        count(1, "0", 30);
        count(1, "5", 20_000);
        let all = calls.read();
        assert_eq!((all.since(&before), all.since(&all)), (all.clone(), before));
        let own = all.metrics();
        let published = all.published_metrics("edge", &[Duration::from_millis(5)]);
        for (text, line) in [
            (&own, "# TYPE trivet_ingress_grpc_call_seconds histogram\n"),
            (
                &own,
                "trivet_ingress_grpc_call_seconds_bucket{le=\"0.05\"} 2\n",
            ),
            (&own, "trivet_ingress_grpc_call_seconds_count 3\n"),
            (
                &own,
                "trivet_ingress_grpc_calls_total{status=\"NotFound\"} 1\n",
            ),
            (&published, "edge_grpc_requests_bucket{le=\"0.005\"} 1\n"),
            (&published, "edge_grpc_requests_sum 20.033\n"),
            (&published, "edge_grpc_status_count{code=\"OK\"} 2\n"),
            (&published, "edge_grpc_status_sum{code=\"NotFound\"} 20\n"),
            (&published, "edge_grep_status_count{code=\"NotFound\"} 1\n"),
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        count(0, "14", 1);
        let since = calls.read().since(&all);
        assert_eq!(since.times.values().sum::<u64>(), 1);
        let statuses: Vec<&str> = since.statuses.into_keys().collect();
        assert_eq!(statuses, ["Unavailable"]);
    }
}
