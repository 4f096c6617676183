//! Runs the health checks of the instances on this machine.
//!
//! One loop per check. It runs at once when its instance starts, at least once a second until it
//! passes for the first time, so that a new instance gets traffic soon, and at its interval from
//! then on.

mod docker;
mod http;
mod http2;
mod script;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use futures_util::future::{Either, select};
use http::HttpClients;
use jobs::model::{ServiceCheck, Span};
use mesh::{
    health::{Change, Monitor, Outcome, Thresholds},
    model::{CheckDefinition, HttpProbe, Probe, Status},
};
use registration::InstanceCheck;
use std::{future::Future, hash::Hasher, path::Path, time::Duration};
use sys::{clock, descriptors, seldom::Seldom};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

pub(super) use script::{ScriptContext, run_script};

/// Runs of all checks at a time.
const RUNS_MAX: usize = 64;
/// How long a run counts among them. One that only waits for an answer must not hold up the others.
const RUN_COUNTS: Duration = Duration::from_secs(1);
/// Longest pause between two runs until a check passes for the first time.
const FIRST_PASS_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a run that this process could not make.
const NO_VERDICT_PAUSE: Duration = Duration::from_secs(1);
/// Shortest interval.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// How long a run may take unless the job says so.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// As [`TIMEOUT_DEFAULT`], for programs.
const SCRIPT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Bytes of output that a run may hand on; the catalog cuts it further.
const OUTPUT_BYTES_MAX: usize = 4096;

/// What all checks of this machine share.
#[derive(Debug)]
pub(super) struct Checks {
    http: HttpClients,
    slots: Semaphore,
}

/// One result, after the thresholds.
#[derive(Clone, Debug)]
pub(super) struct CheckResult {
    /// What the run by itself says.
    pub(super) outcome: Status,
    /// What the check says from now on, when that is news.
    pub(super) change: Option<Change>,
}

impl Checks {
    pub(super) fn new() -> Self {
        Self {
            http: HttpClients::default(),
            slots: Semaphore::new(RUNS_MAX),
        }
    }

    /// Runs `check` until dropped and hands each result to `on_result`. `script` is none when there
    /// is no task that a script could run in.
    pub(super) async fn run(
        &self,
        check: &InstanceCheck,
        script: Option<&ScriptContext>,
        mut on_result: impl FnMut(CheckResult),
    ) {
        let spec = &check.spec;
        let interval = spec.interval.to_std().max(INTERVAL_MIN);
        let mut monitor = Monitor::new(thresholds(spec, check.check.status));
        let mut has_passed = false;
        let mut is_first = true;
        loop {
            let Some(outcome) = self.once(check, script).await else {
                // What the check said last goes on to hold.
                sleep(NO_VERDICT_PAUSE.min(interval)).await;
                continue;
            };
            let single = outcome.status;
            let change = monitor.on_result(clock::monotonic().since_start(), outcome);
            // The first result is always told: what the catalog says may come from before a restart
            // of this agent.
            let change = change.or_else(|| {
                (is_first && monitor.status() == single).then(|| Change {
                    status: single,
                    output: String::new(),
                })
            });
            is_first = false;
            on_result(CheckResult {
                outcome: single,
                change,
            });
            let pause = if monitor.status() == Status::Critical && !has_passed {
                interval.min(FIRST_PASS_PAUSE)
            } else if has_passed {
                interval
            } else {
                has_passed = true;
                // The first pause differs between checks, so that those that start together do not
                // stay together.
                interval.mul_f64(share(&check.check.id))
            };
            sleep(pause).await;
        }
    }

    /// Runs a check that was registered with the agent until dropped, and hands each change to
    /// `on_change`. `status` is how it stands; its first result counts at once.
    pub(super) async fn run_probe(
        &self,
        id: &str,
        definition: &CheckDefinition,
        status: Status,
        mut on_change: impl FnMut(Change),
    ) {
        let interval = definition.interval.max(INTERVAL_MIN);
        let thresholds = Thresholds {
            initial: status,
            success_before_passing: definition.success_before_passing,
            failures_before_critical: definition.failures_before_critical,
            failures_before_warning: definition.failures_before_warning,
        };
        let mut monitor = Monitor::resume(thresholds, status, String::new());
        let mut pause = interval.mul_f64(share(id)).min(FIRST_PASS_PAUSE);
        loop {
            let Some(outcome) = self.slotted(self.probe_once(definition)).await else {
                sleep(NO_VERDICT_PAUSE.min(interval)).await;
                continue;
            };
            if let Some(change) = monitor.on_result(clock::monotonic().since_start(), outcome) {
                on_change(change);
            }
            sleep(pause).await;
            pause = interval;
        }
    }

    async fn probe_once(&self, definition: &CheckDefinition) -> Option<Outcome> {
        let limit = match (definition.timeout, &definition.probe) {
            (Duration::ZERO, Probe::Script { .. } | Probe::Docker(_) | Probe::OsService { .. }) => {
                SCRIPT_TIMEOUT_DEFAULT
            }
            (Duration::ZERO, _) => TIMEOUT_DEFAULT,
            (limit, _) => limit,
        };
        let mut outcome = self.probed(&definition.probe, limit).await?;
        if let Some(bytes_max) = definition.output_bytes_max {
            let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
            let cut = outcome.output.floor_char_boundary(bytes_max);
            outcome.output.truncate(cut);
        }
        Some(outcome)
    }

    async fn probed(&self, probe: &Probe, limit: Duration) -> Option<Outcome> {
        match probe {
            Probe::Http(probe) => within(limit, self.http.check(probe)).await,
            Probe::Tcp { address, tls: None } => within(limit, tcp::check(address)).await,
            Probe::Tcp {
                address,
                tls: Some(tls),
            } => within(limit, Box::pin(tcp::check_tls(address, tls))).await,
            Probe::Udp { address } => udp::check(address, limit).await,
            Probe::H2Ping(probe) => within(limit, Box::pin(http2::ping(probe))).await,
            Probe::Grpc(probe) => within(limit, Box::pin(http2::grpc(probe))).await,
            Probe::Script { args } => script::check_local(args, limit).await,
            Probe::Docker(probe) => {
                Box::pin(docker::check(Path::new(docker::SOCKET), probe, limit)).await
            }
            Probe::OsService { name } => {
                script::check_os_service(script::SERVICE_MANAGER, name, limit).await
            }
            Probe::Fixed | Probe::Ttl { .. } | Probe::Alias { .. } => None,
        }
    }

    async fn once(&self, check: &InstanceCheck, script: Option<&ScriptContext>) -> Option<Outcome> {
        self.slotted(self.run_once(check, script)).await
    }

    /// Carries out a run when there are not too many.
    async fn slotted(&self, run: impl Future<Output = Option<Outcome>>) -> Option<Outcome> {
        // It is never closed.
        let slot = self.slots.acquire().await.ok()?;
        let run = Box::pin(run);
        match select(run, Box::pin(sleep(RUN_COUNTS))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(((), run)) => {
                drop(slot);
                run.await
            }
        }
    }

    async fn run_once(
        &self,
        check: &InstanceCheck,
        script: Option<&ScriptContext>,
    ) -> Option<Outcome> {
        let limit = match check.spec.timeout.to_std() {
            Duration::ZERO => TIMEOUT_DEFAULT,
            limit => limit,
        };
        match check.spec.check_type.as_str() {
            "http" => within(limit, self.http.check(&http_probe(check))).await,
            "tcp" => within(limit, tcp::check(&authority(check))).await,
            "script" => match script {
                Some(task) => script::check(&check.spec, task, limit).await,
                None => Some(critical("the check names no task to run in")),
            },
            other => Some(critical(&format!(
                "checks of type `{other}` are not supported"
            ))),
        }
    }
}

async fn within(limit: Duration, run: impl Future<Output = Option<Outcome>>) -> Option<Outcome> {
    timeout(limit, run)
        .await
        .unwrap_or_else(|_| Some(critical(&format!("no answer within {}", Span::from(limit)))))
}

/// Whether a run failed for want of a descriptor: that says something about this process, and
/// nothing about what is checked.
fn is_no_verdict(error: &(dyn std::error::Error + 'static)) -> bool {
    static WARNINGS: Seldom = Seldom::new();
    let is_ours = descriptors::is_exhausted(error);
    if is_ours && WARNINGS.is_due() {
        tracing::warn!(%error, "a check cannot run: the process holds as many files as it may");
    }
    is_ours
}

fn critical(output: &str) -> Outcome {
    Outcome {
        status: Status::Critical,
        output: output.to_owned(),
    }
}

fn thresholds(spec: &ServiceCheck, initial: Status) -> Thresholds {
    Thresholds {
        initial,
        success_before_passing: spec.success_before_passing,
        failures_before_critical: spec.failures_before_critical,
        failures_before_warning: (spec.failures_before_warning > 0)
            .then_some(spec.failures_before_warning),
    }
}

/// A share between a half and one that depends on the id alone.
fn share(id: &str) -> f64 {
    let mut hash = std::hash::DefaultHasher::new();
    hash.write(id.as_bytes());
    let thousandths = u16::try_from(hash.finish() % 1000).unwrap_or(0);
    0.5 + f64::from(thousandths) / 2000.0
}

/// The request that a job's check asks for.
fn http_probe(check: &InstanceCheck) -> HttpProbe {
    let spec = &check.spec;
    let protocol = match spec.protocol.as_str() {
        "" => "http",
        protocol => protocol,
    };
    let slash = if spec.path.starts_with('/') { "" } else { "/" };
    HttpProbe {
        url: format!("{protocol}://{}{slash}{}", authority(check), spec.path),
        method: spec.method.clone(),
        header: spec.header.clone(),
        body: spec.body.clone(),
        tls_skip_verify: spec.tls_skip_verify,
        ..HttpProbe::default()
    }
}

/// `host:port`, with brackets around IPv6; this machine when no host is given.
fn authority(check: &InstanceCheck) -> String {
    let host = match check.address.as_str() {
        "" => "127.0.0.1",
        host => host,
    };
    if host.contains(':') {
        format!("[{host}]:{}", check.port)
    } else {
        format!("{host}:{}", check.port)
    }
}
