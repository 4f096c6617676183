use crate::model::{self, JobType, Span};
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
            JobType::Service | JobType::System => (2, 30 * Span::MINUTE),
            JobType::Batch | JobType::Sysbatch => (3, 24 * Span::HOUR),
        };
        model::RestartPolicy {
            attempts,
            interval,
            delay: Span::from_secs(15),
            mode: "fail".into(),
            render_templates: false,
        }
    });
    let given = given.unwrap_or_default();
    let policy = model::RestartPolicy {
        attempts: count(findings, "Restart attempts", given.attempts, base.attempts),
        interval: given.interval.unwrap_or(base.interval),
        delay: given.delay.unwrap_or(base.delay),
        mode: given.mode.unwrap_or(base.mode),
        render_templates: given.render_templates.unwrap_or(base.render_templates),
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
    findings.require(interval >= Span::from_secs(5), || {
        format!(
            "Interval can not be less than {} (got {})",
            Span::from_secs(5),
            interval
        )
    });
    findings.require(i64::from(attempts) * delay <= interval, || {
        format!(
            "Nomad can't restart the TaskGroup {attempts} times in an interval of {interval} with a delay of {delay}"
        )
    });
    policy
}
