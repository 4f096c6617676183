use super::{HOUR, MINUTE, SECOND, show};
use crate::model::{self, JobType};
use crate::spec::canonical::refuse::{Owner, refuse};
use crate::spec::canonical::{Findings, count};
use crate::wire;

/// `attempts` and times of the block over those of `base`, or over the defaults of the job type.
pub(in crate::spec::canonical) fn restart(
    findings: &mut Findings,
    given: Option<wire::RestartPolicy>,
    base: Option<&model::RestartPolicy>,
    job_type: JobType,
) -> model::RestartPolicy {
    let group = base;
    let base = base.cloned().unwrap_or_else(|| {
        let (attempts, interval) = match job_type {
            JobType::Service | JobType::System => (2, 30 * MINUTE),
            JobType::Batch | JobType::Sysbatch => (3, 24 * HOUR),
        };
        model::RestartPolicy {
            attempts,
            interval,
            delay: 15 * SECOND,
            mode: "fail".into(),
        }
    });
    let given = given.unwrap_or_default();
    refuse(findings, Owner::Restart, &given.rest);
    let policy = model::RestartPolicy {
        attempts: count(findings, "Restart attempts", given.attempts, base.attempts),
        interval: given.interval.map_or(base.interval, |d| d.0),
        delay: given.delay.map_or(base.delay, |d| d.0),
        mode: given.mode.unwrap_or(base.mode),
    };
    // What a task inherits has been checked on its group.
    if group == Some(&policy) {
        return policy;
    }
    let (attempts, interval, delay, mode) =
        (policy.attempts, policy.interval, policy.delay, &policy.mode);
    findings.require(mode == "fail" || mode == "delay", || {
        format!("Unsupported restart mode: {mode:?}")
    });
    findings.require(attempts > 0 || mode == "fail", || {
        format!("Restart policy {mode:?} with {attempts} attempts is ambiguous")
    });
    findings.require(interval >= 5 * SECOND, || {
        format!(
            "Interval can not be less than {} (got {})",
            show(5 * SECOND),
            show(interval)
        )
    });
    findings.require(i64::from(attempts).saturating_mul(delay) <= interval, || {
        format!(
            "Nomad can't restart the TaskGroup {attempts} times in an interval of {} with a delay of {}",
            show(interval),
            show(delay)
        )
    });
    policy
}
