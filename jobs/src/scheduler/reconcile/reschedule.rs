use super::Input;
use crate::model::{
    Allocation, ClientStatus, DeploymentId, ReschedulePolicy, RescheduleTracker, Span, Timestamp,
};
use std::time::Duration;

/// Due within this is due now.
const DUE_SLACK: Duration = Duration::from_secs(1);

/// What to do about a failed allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Replace it now.
    Now,
    /// Replace it at that instant.
    Later(Timestamp),
    /// Leave it: its policy is exhausted, or its deployment decides.
    Leave,
}

pub(super) fn judge(
    input: &Input<'_>,
    alloc: &Allocation,
    deployment_id: Option<DeploymentId>,
) -> Verdict {
    let transition = &alloc.desired_transition;
    if transition.force_reschedule == Some(true) {
        return Verdict::Now;
    }
    let deployment_decides = deployment_id.is_some()
        && alloc.deployment_id == deployment_id
        && transition.reschedule != Some(true);
    if deployment_decides || alloc.client_status != ClientStatus::Failed {
        return Verdict::Leave;
    }
    let Some(policy) = alloc.group().and_then(|g| g.reschedule_policy.as_ref()) else {
        return Verdict::Leave;
    };
    let failed_at = alloc.failed_at();
    if !allowed(policy, alloc.reschedule_tracker.as_deref(), failed_at) {
        return Verdict::Leave;
    }
    if alloc.followup_eval_id == Some(input.eval.id) {
        return Verdict::Now;
    }
    let due = failed_at + next_delay(policy, alloc, failed_at);
    if due <= input.now + DUE_SLACK {
        Verdict::Now
    } else {
        Verdict::Later(due)
    }
}

/// Whether the policy permits one more replacement.
pub(crate) fn allowed(
    policy: &ReschedulePolicy,
    tracker: Option<&RescheduleTracker>,
    failed_at: Timestamp,
) -> bool {
    if policy.unlimited {
        return true;
    }
    let since = failed_at - policy.interval;
    let used = tracker.map_or(0, |tracker| {
        tracker
            .events
            .iter()
            .filter(|event| event.reschedule_time > since)
            .count()
    });
    used < policy.attempts as usize
}

/// The pause before the next replacement.
pub(crate) fn next_delay(
    policy: &ReschedulePolicy,
    alloc: &Allocation,
    failed_at: Timestamp,
) -> Span {
    let events = alloc
        .reschedule_tracker
        .as_ref()
        .map_or(&[][..], |tracker| &tracker.events);
    let last = events.last().map(|event| event.delay);
    let before_last = events.iter().rev().nth(1).map(|event| event.delay);
    let delay = match (policy.delay_function.as_str(), last, before_last) {
        ("exponential", Some(last), _) => 2 * last,
        ("fibonacci", Some(last), Some(before)) => last + before,
        _ => policy.delay,
    };
    if policy.max_delay <= Span::ZERO || policy.delay_function == "constant" {
        return delay.max(Span::ZERO);
    }
    let ran = failed_at - alloc.create_time;
    if delay >= policy.max_delay && ran > policy.max_delay {
        return policy.delay.max(Span::ZERO);
    }
    delay.min(policy.max_delay).max(Span::ZERO)
}
