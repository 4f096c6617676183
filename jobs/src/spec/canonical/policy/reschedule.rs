use crate::model::{self, JobType, Span};
use crate::spec::canonical::{Findings, count, is_system};
use crate::wire;

/// The group's block over the job's over the defaults; none for system jobs.
pub(in crate::spec::canonical) fn reschedule(
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
            interval: Span::ZERO,
            delay: Span::from_secs(30),
            delay_function: "exponential".into(),
            max_delay: Span::HOUR,
            unlimited: true,
        }
    } else {
        model::ReschedulePolicy {
            attempts: 1,
            interval: 24 * Span::HOUR,
            delay: Span::from_secs(5),
            delay_function: "constant".into(),
            max_delay: Span::ZERO,
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
        interval: group.interval.or(job.interval).unwrap_or(base.interval),
        delay: group.delay.or(job.delay).unwrap_or(base.delay),
        delay_function: group
            .delay_function
            .or(job.delay_function)
            .unwrap_or(base.delay_function),
        max_delay: group.max_delay.or(job.max_delay).unwrap_or(base.max_delay),
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
        findings.require(interval > Span::ZERO, || {
            "Interval must be a non zero value if Attempts > 0".into()
        });
        if policy.unlimited {
            findings.error(format!(
                "Reschedule Policy with Attempts = {attempts}, Interval = {interval}, and Unlimited = true is ambiguous"
            ));
            findings.error("If Attempts >0, Unlimited cannot also be set to true");
        }
    }
    let before = findings.errors.len();
    findings.require(delay >= Span::from_secs(5), || {
        format!(
            "Delay cannot be less than {} (got {})",
            Span::from_secs(5),
            delay
        )
    });
    let function = policy.delay_function.as_str();
    let functions = ["constant", "exponential", "fibonacci"];
    findings.require(functions.contains(&function), || {
        format!("Invalid delay function {function:?}, must be one of [\"constant\" \"exponential\" \"fibonacci\"]")
    });
    if function != "constant" {
        findings.require(policy.max_delay >= Span::from_secs(5), || {
            format!(
                "Max Delay cannot be less than {} (got {})",
                Span::from_secs(5),
                policy.max_delay
            )
        });
        findings.require(policy.max_delay >= delay, || {
            format!(
                "Max Delay cannot be less than Delay {} (got {})",
                delay, policy.max_delay
            )
        });
    }
    let pauses_are_fine = findings.errors.len() == before;
    if !policy.unlimited {
        findings.require(interval >= Span::from_secs(15), || {
            format!(
                "Interval cannot be less than {} (got {})",
                Span::from_secs(15),
                interval
            )
        });
        if pauses_are_fine {
            check_attempts(findings, policy);
        }
    }
}

/// The attempts must fit into the interval, counted as the original counts them: of growing pauses
/// the longest one counts, and those at the ceiling one by one.
fn check_attempts(findings: &mut Findings, policy: &model::ReschedulePolicy) {
    let (attempts, interval) = (policy.attempts, policy.interval);
    let (fits, possible, needed) = match policy.delay_function.as_str() {
        "constant" => constant(policy),
        "exponential" => exponential(policy),
        _ => fibonacci(policy),
    };
    if fits {
        return;
    }
    let (delay, function) = (policy.delay, &policy.delay_function);
    findings.error(if function == "constant" {
        format!("Nomad can only make {possible} attempts in {interval} with initial delay {delay} and delay function {function:?}")
    } else {
        format!(
            "Nomad can only make {possible} attempts in {interval} with initial delay {delay}, delay function {function:?}, and delay ceiling {}",
            policy.max_delay
        )
    });
    let half = Span::from_nanos(Span::SECOND.as_nanos() / 2);
    let needed = Span::from_secs((needed + half).as_secs());
    findings.error(format!(
        "Set the interval to at least {needed} to accommodate {attempts} attempts"
    ));
}

/// More attempts than this never fit into an interval that anybody means.
const MOST: u32 = 10_000;

/// True when all fit, how many do, and the interval that would do.
type Fit = (bool, i64, Span);

fn constant(policy: &model::ReschedulePolicy) -> Fit {
    let needed = i64::from(policy.attempts) * policy.delay;
    let possible = policy.interval.as_nanos() / policy.delay.as_nanos().max(1);
    (policy.interval >= needed, possible, needed)
}

fn exponential(policy: &model::ReschedulePolicy) -> Fit {
    let (mut pause, mut needed, mut possible) = (policy.delay, Span::ZERO, 0);
    for _ in 0..policy.attempts.min(MOST) {
        needed = if pause > policy.max_delay {
            needed + policy.max_delay
        } else {
            pause
        };
        possible += i64::from(needed < policy.interval);
        pause = 2 * pause;
    }
    (possible >= i64::from(policy.attempts), possible, needed)
}

fn fibonacci(policy: &model::ReschedulePolicy) -> Fit {
    let mut pauses = vec![policy.delay, policy.delay];
    let (mut before, mut needed, mut at_ceiling) = (policy.delay, policy.delay, false);
    for _ in 2..policy.attempts.min(MOST) {
        let mut next = needed + if at_ceiling { policy.max_delay } else { before };
        if !at_ceiling && next > policy.max_delay {
            next = policy.max_delay;
            at_ceiling = true;
        }
        (before, needed) = (needed, next);
        pauses.push(needed);
    }
    let possible = pauses.iter().position(|pause| *pause > policy.interval);
    let possible = possible.and_then(|count| i64::try_from(count).ok());
    (policy.interval >= needed, possible.unwrap_or(0), needed)
}
