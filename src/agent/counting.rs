//! What the ingress counts, told to the servers.

use proxy::route::{Count, Tally};
use rpc::{
    session::Handle,
    traffic::{Counts, MESSAGE_ROWS_MAX, Traffic, TrafficRow, Who},
};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Tells the servers for ever what was counted, as often as they want it.
pub(super) async fn run(proxy: proxy::Handle, session: Handle) {
    let mut asked = session.traffic_interval();
    let mut tally = Tally::default();
    let mut number = 0;
    let mut since = Instant::now();
    loop {
        let interval = *asked.borrow_and_update();
        tokio::select! {
            () = sleep_until(since + interval) => {}
            Ok(()) = asked.changed() => continue,
        }
        let length = since.elapsed();
        since = Instant::now();
        number += 1;
        for message in messages(number, length, tally.look(&proxy.table())) {
            session.count(message);
        }
    }
}

/// An interval in parts of a bounded size; at least one, so that nothing is told as such.
fn messages(number: u64, length: Duration, counts: Vec<Count>) -> Vec<Traffic> {
    let mut rows: Vec<TrafficRow> = counts.into_iter().map(row).collect();
    let mut messages = Vec::new();
    loop {
        let rest = rows.split_off(rows.len().min(MESSAGE_ROWS_MAX));
        messages.push(Traffic {
            number,
            millis: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            more: !rest.is_empty(),
            rows,
        });
        if rest.is_empty() {
            return messages;
        }
        rows = rest;
    }
}

fn row(count: Count) -> TrafficRow {
    let [a, b, c, d, e, refused, failed, left, passed] = count.outcomes;
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let times = count.times.into_iter();
    TrafficRow {
        who: Who {
            route: count.route,
            service: count.service,
            version: count.version,
            instance: count.instance,
        },
        counts: Counts {
            answers: [a, b, c, d, e],
            refused,
            failed,
            left,
            passed,
            retries: count.retries,
            in_flight: count.in_flight,
            total_us: count.total_us,
            times: times.map(|(longest, count)| (us(longest), count)).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_told_in_parts() {
        let second = Duration::from_secs(1);
        for (rows, expected) in [
            (0, vec![(0, false)]),
            (1, vec![(1, false)]),
            (256, vec![(256, false)]),
            (600, vec![(256, true), (256, true), (88, false)]),
        ] {
            let counts = vec![Count::default(); rows];
            let told = messages(7, second, counts);
            assert!(told.iter().all(|own| (own.number, own.millis) == (7, 1000)));
            let parts: Vec<_> = told.iter().map(|own| (own.rows.len(), own.more)).collect();
            assert_eq!(parts, expected);
        }
    }

    #[test]
    fn counts_keep_their_places() {
        let told = row(Count {
            outcomes: [1, 2, 3, 4, 5, 6, 7, 8, 9],
            times: [(Duration::from_millis(2), 3)].into(),
            ..Count::default()
        });
        let counts = told.counts;
        assert_eq!(counts.answers, [1, 2, 3, 4, 5]);
        assert_eq!(
            (counts.refused, counts.failed, counts.left, counts.passed),
            (6, 7, 8, 9)
        );
        assert_eq!(counts.times, [(2000, 3)]);
    }
}
