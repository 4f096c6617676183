use super::refuse::{Owner, refuse};
use super::{Findings, count, is_system};
use crate::model::{self, JobType, Nanos};
use crate::wire::{self, Duration};

const SECOND: Nanos = 1_000_000_000;
const MINUTE: Nanos = 60 * SECOND;
const HOUR: Nanos = 60 * MINUTE;

fn show(nanos: Nanos) -> Duration {
    Duration(nanos)
}

/// `attempts` and times of the block over those of `base`, or over the defaults of the job type.
pub(super) fn restart(
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

/// The group's block over the job's over the defaults; none for system jobs.
pub(super) fn reschedule(
    findings: &mut Findings,
    group: Option<wire::ReschedulePolicy>,
    job: Option<&wire::ReschedulePolicy>,
    job_type: JobType,
) -> Option<model::ReschedulePolicy> {
    if is_system(job_type) {
        if group.is_some() || job.is_some() {
            findings.error("System or sysbatch jobs should not have a reschedule policy");
        }
        return None;
    }
    let base = if job_type == JobType::Service {
        model::ReschedulePolicy {
            attempts: 0,
            interval: 0,
            delay: 30 * SECOND,
            delay_function: "exponential".into(),
            max_delay: HOUR,
            unlimited: true,
        }
    } else {
        model::ReschedulePolicy {
            attempts: 1,
            interval: 24 * HOUR,
            delay: 5 * SECOND,
            delay_function: "constant".into(),
            max_delay: 0,
            unlimited: false,
        }
    };
    let group = group.unwrap_or_default();
    let job = job.cloned().unwrap_or_default();
    let policy = model::ReschedulePolicy {
        attempts: count(
            findings,
            "Reschedule attempts",
            group.attempts.or(job.attempts),
            base.attempts,
        ),
        interval: group
            .interval
            .or(job.interval)
            .map_or(base.interval, |d| d.0),
        delay: group.delay.or(job.delay).map_or(base.delay, |d| d.0),
        delay_function: group
            .delay_function
            .or(job.delay_function)
            .unwrap_or(base.delay_function),
        max_delay: group
            .max_delay
            .or(job.max_delay)
            .map_or(base.max_delay, |d| d.0),
        unlimited: group.unlimited.or(job.unlimited).unwrap_or(base.unlimited),
    };
    check_reschedule(findings, &policy);
    Some(policy)
}

fn check_reschedule(findings: &mut Findings, policy: &model::ReschedulePolicy) {
    let (attempts, interval, delay) = (policy.attempts, policy.interval, policy.delay);
    // Nothing to check when rescheduling is off.
    if attempts == 0 && !policy.unlimited {
        return;
    }
    if attempts > 0 {
        findings.require(interval > 0, || {
            "Interval must be a non zero value if Attempts > 0".into()
        });
        if policy.unlimited {
            findings.error(format!(
                "Reschedule Policy with Attempts = {attempts}, Interval = {}, and Unlimited = true is ambiguous",
                show(interval)
            ));
            findings.error("If Attempts >0, Unlimited cannot also be set to true");
        }
    }
    let before = findings.errors.len();
    findings.require(delay >= 5 * SECOND, || {
        format!(
            "Delay cannot be less than {} (got {})",
            show(5 * SECOND),
            show(delay)
        )
    });
    let function = policy.delay_function.as_str();
    let functions = ["constant", "exponential", "fibonacci"];
    findings.require(functions.contains(&function), || {
        format!("Invalid delay function {function:?}, must be one of [\"constant\" \"exponential\" \"fibonacci\"]")
    });
    if function != "constant" {
        findings.require(policy.max_delay >= 5 * SECOND, || {
            format!(
                "Max Delay cannot be less than {} (got {})",
                show(5 * SECOND),
                show(policy.max_delay)
            )
        });
        findings.require(policy.max_delay >= delay, || {
            format!(
                "Max Delay cannot be less than Delay {} (got {})",
                show(delay),
                show(policy.max_delay)
            )
        });
    }
    if !policy.unlimited {
        findings.require(interval >= 15 * SECOND, || {
            format!(
                "Interval cannot be less than {} (got {})",
                show(15 * SECOND),
                show(interval)
            )
        });
        if findings.errors.len() == before {
            check_attempts(findings, policy);
        }
    }
}

/// All attempts with their pauses must fit into the interval.
fn check_attempts(findings: &mut Findings, policy: &model::ReschedulePolicy) {
    // More attempts than this never fit into an interval that anybody means.
    const MOST: u32 = 10_000;
    let constant = policy.delay_function == "constant";
    let (mut previous, mut pause, mut total, mut possible): (Nanos, Nanos, Nanos, u32) =
        (0, policy.delay, 0, 0);
    for _ in 0..policy.attempts.min(MOST) {
        total = total.saturating_add(pause);
        if total <= policy.interval {
            possible += 1;
        }
        let next = match policy.delay_function.as_str() {
            "exponential" => pause.saturating_mul(2),
            "fibonacci" => pause.saturating_add(previous),
            _ => pause,
        };
        previous = pause;
        pause = if constant {
            next
        } else {
            next.min(policy.max_delay)
        };
    }
    if possible >= policy.attempts {
        return;
    }
    let (interval, delay, function) = (
        show(policy.interval),
        show(policy.delay),
        &policy.delay_function,
    );
    findings.error(if constant {
        format!("Nomad can only make {possible} attempts in {interval} with initial delay {delay} and delay function {function:?}")
    } else {
        format!(
            "Nomad can only make {possible} attempts in {interval} with initial delay {delay}, delay function {function:?}, and delay ceiling {}",
            show(policy.max_delay)
        )
    });
    let seconds = total / SECOND * SECOND;
    findings.error(format!(
        "Set the interval to at least {} to accommodate {} attempts",
        show(seconds),
        policy.attempts
    ));
}

/// The block over the one below it: what the first leaves out, the second says.
pub(super) fn merge_update(
    group: Option<wire::UpdateStrategy>,
    job: Option<&wire::UpdateStrategy>,
) -> Option<wire::UpdateStrategy> {
    let (group, job) = match (group, job) {
        (None, job) => return job.cloned(),
        (group, None) => return group,
        (Some(group), Some(job)) => (group, job.clone()),
    };
    Some(wire::UpdateStrategy {
        stagger: group.stagger.or(job.stagger),
        max_parallel: group.max_parallel.or(job.max_parallel),
        health_check: group.health_check.or(job.health_check),
        min_healthy_time: group.min_healthy_time.or(job.min_healthy_time),
        healthy_deadline: group.healthy_deadline.or(job.healthy_deadline),
        progress_deadline: group.progress_deadline.or(job.progress_deadline),
        auto_revert: group.auto_revert.or(job.auto_revert),
        auto_promote: group.auto_promote.or(job.auto_promote),
        canary: group.canary.or(job.canary),
    })
}

/// An update block with its defaults, unchecked.
pub(super) fn fill_update(
    findings: &mut Findings,
    given: wire::UpdateStrategy,
) -> model::UpdateStrategy {
    let base = model::UpdateStrategy::default();
    if let Some(parallel) = given.max_parallel.filter(|number| *number < 0) {
        findings.error(format!(
            "Max parallel can not be less than zero: {parallel} < 0"
        ));
    }
    if let Some(canary) = given.canary.filter(|number| *number < 0) {
        findings.error(format!(
            "Canary count can not be less than zero: {canary} < 0"
        ));
    }
    model::UpdateStrategy {
        stagger: given.stagger.map_or(base.stagger, |d| d.0),
        max_parallel: given
            .max_parallel
            .map_or(base.max_parallel, super::unsigned),
        health_check: given
            .health_check
            .filter(|text| !text.is_empty())
            .unwrap_or(base.health_check),
        min_healthy_time: given
            .min_healthy_time
            .map_or(base.min_healthy_time, |d| d.0),
        healthy_deadline: given
            .healthy_deadline
            .map_or(base.healthy_deadline, |d| d.0),
        progress_deadline: given
            .progress_deadline
            .map_or(base.progress_deadline, |d| d.0),
        auto_revert: given.auto_revert.unwrap_or(base.auto_revert),
        auto_promote: given.auto_promote.unwrap_or(base.auto_promote),
        canary: given.canary.map_or(base.canary, super::unsigned),
    }
}

/// The update strategy of a group: the merged block over the defaults; none for batch jobs.
pub(super) fn update(
    findings: &mut Findings,
    group: Option<wire::UpdateStrategy>,
    job: Option<&wire::UpdateStrategy>,
    job_type: JobType,
) -> Option<model::UpdateStrategy> {
    let merged = merge_update(group, job);
    if matches!(job_type, JobType::Batch | JobType::Sysbatch) {
        merged.as_ref()?;
        findings.error(format!(
            "Job type {:?} does not allow update block",
            job_type.as_str()
        ));
    }
    let update = fill_update(findings, merged.unwrap_or_default());
    let (minimum, healthy, progress) = (
        update.min_healthy_time,
        update.healthy_deadline,
        update.progress_deadline,
    );
    let check = &update.health_check;
    findings.require(
        ["checks", "task_states", "manual"].contains(&check.as_str()),
        || format!("Invalid health check given: {check:?}"),
    );
    findings.require(update.canary > 0 || !update.auto_promote, || {
        "Auto Promote requires a Canary count greater than zero".into()
    });
    findings.require(minimum >= 0, || {
        format!(
            "Minimum healthy time may not be less than zero: {}",
            show(minimum)
        )
    });
    findings.require(healthy > 0, || {
        format!(
            "Healthy deadline must be greater than zero: {}",
            show(healthy)
        )
    });
    findings.require(progress >= 0, || {
        format!(
            "Progress deadline must be zero or greater: {}",
            show(progress)
        )
    });
    findings.require(minimum < healthy, || {
        format!(
            "Minimum healthy time must be less than healthy deadline: {} > {}",
            show(minimum),
            show(healthy)
        )
    });
    findings.require(progress == 0 || healthy < progress, || {
        format!(
            "Healthy deadline must be less than progress deadline: {} > {}",
            show(healthy),
            show(progress)
        )
    });
    findings.require(update.stagger > 0, || {
        format!(
            "Stagger must be greater than zero: {}",
            show(update.stagger)
        )
    });
    Some(update)
}

/// How allocations of a service job leave a draining node.
pub(super) fn migrate(
    findings: &mut Findings,
    group: Option<wire::MigrateStrategy>,
    job: Option<&wire::MigrateStrategy>,
    job_type: JobType,
) -> Option<model::MigrateStrategy> {
    if job_type != JobType::Service {
        if group.is_some() || job.is_some() {
            findings.error(format!(
                "Job type {:?} does not allow migrate block",
                job_type.as_str()
            ));
        }
        return None;
    }
    let base = model::MigrateStrategy::default();
    let group = group.unwrap_or_default();
    let job = job.cloned().unwrap_or_default();
    let parallel = group.max_parallel.or(job.max_parallel);
    if let Some(parallel) = parallel.filter(|number| *number < 0) {
        findings.error(format!("MaxParallel must be >= 0 but found {parallel}"));
    }
    let migrate = model::MigrateStrategy {
        max_parallel: parallel.map_or(base.max_parallel, super::unsigned),
        health_check: group
            .health_check
            .or(job.health_check)
            .unwrap_or(base.health_check),
        min_healthy_time: group
            .min_healthy_time
            .or(job.min_healthy_time)
            .map_or(base.min_healthy_time, |d| d.0),
        healthy_deadline: group
            .healthy_deadline
            .or(job.healthy_deadline)
            .map_or(base.healthy_deadline, |d| d.0),
    };
    match migrate.health_check.as_str() {
        "checks" | "task_states" => {}
        "" if migrate.max_parallel == 0 => {}
        "" => findings.error("Missing HealthCheck"),
        other => findings.error(format!("Invalid HealthCheck: {other:?}")),
    }
    let (minimum, deadline) = (migrate.min_healthy_time, migrate.healthy_deadline);
    findings.require(minimum >= 0, || {
        format!("MinHealthyTime is {} and must be >= 0", show(minimum))
    });
    findings.require(deadline >= 0, || {
        format!("HealthyDeadline is {} and must be >= 0", show(deadline))
    });
    findings.require(minimum <= deadline, || {
        "MinHealthyTime must be less than HealthyDeadline".into()
    });
    Some(migrate)
}
