//! Live rates of the ingress, printed again and again.

use crate::{context::Context, http::decode, render::columns};
use anyhow::Context as _;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep_until};

/// How often rates are printed.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Rates {
    /// Seconds between two looks
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// How many times to show the rates; 0 to go on until interrupted
    #[arg(long, short = 'n', default_value_t = 0)]
    count: u64,
}

/// What came of the requests to one instance since it is there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Counts {
    route: String,
    service: String,
    version: String,
    instance: String,
    address: String,
    in_flight: u64,
    attempts: u64,
    failed: u64,
    retries: u64,
    timed: u64,
    total_us: u64,
}

impl Counts {
    fn key(&self) -> (&str, &str, &str, &str) {
        (&self.route, &self.service, &self.instance, &self.address)
    }
}

impl Rates {
    /// Whether they are printed a number of times, which a screen does not know.
    pub(super) fn is_counted(&self) -> bool {
        self.count > 0
    }
}

pub(super) async fn run(cx: &mut Context, arguments: &Rates) -> anyhow::Result<u8> {
    let mut before = look(cx).await?;
    let mut since = Instant::now();
    let mut shown = 0;
    loop {
        sleep_until(since + Duration::from_secs(arguments.interval)).await;
        let now = look(cx).await?;
        let passed = since.elapsed();
        since = Instant::now();
        cx.print(&render(&before, &now, passed))?;
        before = now;
        shown += 1;
        if shown == arguments.count {
            return Ok(0);
        }
        cx.print("")?;
    }
}

async fn look(cx: &Context) -> anyhow::Result<Vec<Counts>> {
    let path = "/v1/trivet/routes/counts";
    let value = cx.http.get_value(path, &[]).await;
    Ok(decode(path, value.context("Error querying counts")?)?)
}

/// What happened between two looks.
fn render(before: &[Counts], now: &[Counts], passed: Duration) -> String {
    let before: BTreeMap<_, &Counts> = before.iter().map(|own| (own.key(), own)).collect();
    let none = Counts::default();
    let seconds = passed.as_secs_f64().max(0.001);
    let rate = |count: u64| format!("{:.1}", count as f64 / seconds);
    let mut all: Vec<(u64, [String; 9])> = now
        .iter()
        .map(|own| {
            let then = before.get(&own.key()).copied().unwrap_or(&none);
            let attempts = own.attempts.saturating_sub(then.attempts);
            let timed = own.timed.saturating_sub(then.timed);
            let us = own.total_us.saturating_sub(then.total_us);
            let mean = match timed {
                0 => "-".to_owned(),
                timed => format!("{:.1}", us as f64 / timed as f64 / 1000.0),
            };
            let instance = match own.instance.as_str() {
                "" => own.address.clone(),
                id => id.to_owned(),
            };
            let row = [
                own.route.clone(),
                own.service.clone(),
                own.version.clone(),
                instance,
                rate(attempts),
                rate(own.failed.saturating_sub(then.failed)),
                rate(own.retries.saturating_sub(then.retries)),
                mean,
                own.in_flight.to_string(),
            ];
            (attempts, row)
        })
        .collect();
    if all.is_empty() {
        return "No routes".to_owned();
    }
    all.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    columns::table(
        [
            "Route",
            "Service",
            "Version",
            "Instance",
            "Req/s",
            "Failed/s",
            "Retried/s",
            "Mean ms",
            "In flight",
        ],
        all.into_iter().map(|(_, row)| row).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences() {
        let counts = |instance: &str, attempts, failed, timed, total_us| Counts {
            route: "/web".into(),
            service: "web".into(),
            version: "v1".into(),
            instance: instance.into(),
            attempts,
            failed,
            timed,
            total_us,
            ..Counts::default()
        };
        let before = [counts("a", 100, 1, 100, 1_000_000)];
        let now = [
            counts("a", 110, 2, 110, 1_050_000),
            counts("b", 40, 0, 0, 0),
        ];
        assert_eq!(
            render(&before, &now, Duration::from_secs(2)),
            "Route  Service  Version  Instance  Req/s  Failed/s  Retried/s  Mean ms  In flight
/web   web      v1       b         20.0   0.0       0.0        -        0
/web   web      v1       a         5.0    0.5       0.0        5.0      0"
        );
        assert_eq!(render(&before, &[], Duration::from_secs(1)), "No routes");
    }
}
