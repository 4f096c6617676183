use super::Findings;
use crate::model::ScalingPolicy;
use std::collections::BTreeMap;

/// The policy of a group with its defaults, and the rules about its count.
pub(super) fn policy(
    findings: &mut Findings,
    given: ScalingPolicy,
    count: i64,
    target: &[(&str, &str)],
) -> Box<ScalingPolicy> {
    let mut part = Findings::default();
    let policy = ScalingPolicy {
        min: Some(given.min.unwrap_or(count)),
        max: Some(given.max.unwrap_or(0)),
        policy: given.policy.filter(|map| !map.is_empty()),
        enabled: Some(given.enabled.unwrap_or(true)),
        policy_type: if given.policy_type.is_empty() {
            "horizontal".into()
        } else {
            given.policy_type
        },
        target: Some(
            target
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        ),
        ..ScalingPolicy::default()
    };
    part.require(policy.policy_type == "horizontal", || {
        format!("scaling policy type {:?} is not valid", policy.policy_type)
    });
    bounds(&mut part, &policy);
    let (min, max) = (policy.min.unwrap_or(0), policy.max.unwrap_or(0));
    part.require(count <= max, || {
        "task group count must not be greater than maximum count in scaling policy".into()
    });
    part.require(count >= min, || {
        "task group count must not be less than minimum count in scaling policy".into()
    });
    for error in part.errors {
        findings.error(format!("Scaling policy invalid: {error}"));
    }
    Box::new(policy)
}

fn bounds(findings: &mut Findings, policy: &ScalingPolicy) {
    let (min, max) = (policy.min.unwrap_or(0), policy.max.unwrap_or(0));
    findings.require(min >= 0, || {
        "minimum count must be specified and non-negative".into()
    });
    if max < 0 {
        findings.error("maximum count must be specified and non-negative");
    } else {
        findings.require(max >= min, || {
            "maximum count must not be less than minimum count".into()
        });
    }
}

/// Policies about the resources of a task: nothing here follows them.
pub(super) fn of_task(
    given: Option<Vec<ScalingPolicy>>,
    target: &[(&str, &str)],
    task: &str,
) -> Box<[ScalingPolicy]> {
    let task = [("Task", task)];
    let target = target.iter().chain(&task);
    let target: BTreeMap<String, String> = target
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let given = given.unwrap_or_default().into_iter();
    let policies = given.map(|given| ScalingPolicy {
        min: Some(given.min.unwrap_or(0)),
        max: Some(given.max.unwrap_or(0)),
        policy: given.policy.filter(|map| !map.is_empty()),
        enabled: Some(given.enabled.unwrap_or(true)),
        policy_type: given.policy_type,
        target: Some(target.clone()),
        ..ScalingPolicy::default()
    });
    policies.collect()
}
