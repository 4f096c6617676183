//! Rollouts: the step, the share, both versions side by side, and why it is where it is.

use super::columns;
use crate::view::View;
use jobs::model::{Deployment, Evidence, Rollout, RolloutPhase, RolloutTransition, Share};
use serde::Deserialize;
use std::fmt::Write;

/// A rollout as the API shows it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Shown {
    pub(crate) deployment: Deployment,
    pub(crate) groups: Vec<Group>,
}

/// The canaries of a group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Group {
    group: String,
    rollout: Option<Rollout>,
    standing: Option<Now>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Now {
    effective_millionths: u64,
    canary: Side,
    stable: Side,
    elapsed_ms: u64,
    hold_ms: u64,
    attempts_missing: u64,
    awaited: Vec<String>,
    evidence: Vec<Evidence>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Side {
    attempts: u64,
    failed: u64,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    restarts: u64,
}

/// A line for each group with a rollout.
pub(crate) fn lines(deployment: &Deployment) -> String {
    let groups = deployment.task_groups.iter();
    let lines = groups.filter_map(|(name, group)| {
        let rollout = group.rollout.as_deref()?;
        Some(format!(
            "{name}: {}, {}: {}",
            rollout.phase.as_str(),
            rollout.share,
            rollout.reason
        ))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Everything of a deployment.
pub(crate) fn status(shown: &Shown, view: &View) -> String {
    if shown.groups.is_empty() {
        return "No canaries".to_owned();
    }
    let groups = shown.groups.iter().map(|group| of_group(group, view));
    groups.collect::<Vec<_>>().join("\n\n")
}

fn of_group(group: &Group, view: &View) -> String {
    let Some(rollout) = &group.rollout else {
        let mut text = columns::key_values(&[
            ("Task Group", group.group.clone()),
            ("Status", "canaries take their turn".to_owned()),
        ]);
        text.push_str(&versions(group));
        return text;
    };
    let steps: Vec<String> = rollout.steps.iter().map(Share::to_string).collect();
    let mut pairs = vec![
        ("Task Group", group.group.clone()),
        ("Status", rollout.phase.as_str().to_owned()),
        ("Reason", rollout.reason.clone()),
    ];
    if !steps.is_empty() {
        pairs.push(("Steps", steps.join(", ")));
        pairs.push(("Step", step(rollout)));
        pairs.push(("Share", share(rollout, group.standing.as_ref())));
    }
    if let Some(now) = &group.standing {
        pairs.push(("To Pass", to_pass(rollout, now)));
    }
    let mut text = columns::key_values(&pairs);
    text.push_str(&versions(group));
    let evidence = group.standing.iter().flat_map(|now| &now.evidence);
    let evidence: Vec<&Evidence> = evidence.collect();
    if !evidence.is_empty() {
        let title = view.paint.title("Against the Canaries");
        let _ = write!(text, "\n\n{title}\n{}", table(&evidence));
    }
    text
}

fn step(rollout: &Rollout) -> String {
    let (step, steps) = (rollout.step as usize + 1, rollout.steps.len());
    if step > steps {
        format!("all {steps} passed")
    } else {
        format!("{step} of {steps}")
    }
}

fn share(rollout: &Rollout, now: Option<&Now>) -> String {
    match now {
        Some(now) => {
            let parts = u32::try_from(now.effective_millionths.div_ceil(100)).unwrap_or(u32::MAX);
            let effective = Share::of_ten_thousandths(parts);
            format!("{} (effective {effective})", rollout.share)
        }
        None => rollout.share.to_string(),
    }
}

fn to_pass(rollout: &Rollout, now: &Now) -> String {
    match rollout.phase {
        RolloutPhase::Aborted => "nothing: it was given up".to_owned(),
        RolloutPhase::Passed => "nothing: it may be promoted".to_owned(),
        RolloutPhase::Warming => "all canaries healthy".to_owned(),
        RolloutPhase::Judging
        | RolloutPhase::Held
        | RolloutPhase::Frozen
        | RolloutPhase::Baking => {
            let seconds = now.hold_ms.saturating_sub(now.elapsed_ms).div_ceil(1000);
            let mut needed = Vec::new();
            if rollout.phase != RolloutPhase::Baking && now.attempts_missing > 0 {
                needed.push(format!("{} more good attempts", now.attempts_missing));
            }
            if rollout.phase != RolloutPhase::Baking {
                needed.extend(now.awaited.iter().map(|name| format!("a good {name}")));
            }
            if rollout.phase != RolloutPhase::Baking && seconds > 0 {
                needed.push(format!("{seconds} more seconds of this step"));
            }
            if matches!(rollout.phase, RolloutPhase::Held | RolloutPhase::Frozen) {
                needed.push("what it waits for".to_owned());
            }
            if needed.is_empty() {
                "time".to_owned()
            } else {
                needed.join(", ")
            }
        }
    }
}

/// Both versions side by side.
fn versions(group: &Group) -> String {
    let Some(now) = &group.standing else {
        return String::new();
    };
    let ms =
        |us: Option<u64>| us.map_or_else(String::new, |us| format!("{:.1}ms", us as f64 / 1000.0));
    let row = |name: &str, side: &Side| {
        let success = if side.attempts == 0 {
            String::new()
        } else {
            let good = side.attempts - side.failed.min(side.attempts);
            format!("{:.2}%", good as f64 * 100.0 / side.attempts as f64)
        };
        [
            name.to_owned(),
            side.attempts.to_string(),
            success,
            ms(side.p50_us),
            ms(side.p99_us),
            side.restarts.to_string(),
        ]
    };
    let rows = vec![row("canary", &now.canary), row("stable", &now.stable)];
    let header = ["Version", "Requests", "Success", "p50", "p99", "Restarts"];
    format!("\n\n{}", columns::table(header, rows))
}

/// What a verdict rests on: what was counted, then what was measured.
pub(crate) fn table(evidence: &[&Evidence]) -> String {
    let (measured, counted): (Vec<&Evidence>, Vec<&Evidence>) =
        evidence.iter().partition(|line| line.value.is_some());
    let mut tables = Vec::new();
    if !counted.is_empty() || measured.is_empty() {
        tables.push(counts(&counted));
    }
    if !measured.is_empty() {
        tables.push(values(&measured));
    }
    tables.join("\n\n")
}

fn values(evidence: &[&Evidence]) -> String {
    let rows = evidence.iter().map(|line| {
        [
            line.metric.clone(),
            line.since.to_string(),
            line.value
                .map_or_else(String::new, |value| value.to_string()),
            line.limit.to_string(),
        ]
    });
    columns::table(["Metric", "Since", "Value", "Limit"], rows.collect())
}

fn counts(evidence: &[&Evidence]) -> String {
    let rows = evidence.iter().map(|line| {
        let part = |bad: u64, all: u64| format!("{bad}/{all}");
        [
            line.metric.clone(),
            if line.route.is_empty() {
                "all".to_owned()
            } else {
                line.route.clone()
            },
            if line.instance.is_empty() {
                "all".to_owned()
            } else {
                line.instance.get(..8).unwrap_or(&line.instance).to_owned()
            },
            line.since.to_string(),
            part(line.canary_bad, line.canary_attempts),
            part(line.stable_bad, line.stable_attempts),
            format!("{:.2}%", line.limit * 100.0),
            format!("{:.1}", line.worse),
            format!("{:.1}", line.beyond),
        ]
    });
    columns::table(
        [
            "Metric",
            "Route",
            "Canary",
            "Since",
            "Canary Bad",
            "Stable Bad",
            "Limit",
            "Worse",
            "Beyond",
        ],
        rows.collect(),
    )
}

/// Why a deployment is where it is: a sentence, then the table, for every hold and abort.
pub(crate) fn why(deployment: &Deployment, view: &View) -> String {
    let mut text = String::new();
    for (name, group) in &deployment.task_groups {
        let Some(rollout) = group.rollout.as_deref() else {
            continue;
        };
        let _ = writeln!(
            text,
            "{}",
            view.paint.title(&format!(
                "{name}: {}: {}",
                rollout.phase.as_str(),
                rollout.reason
            ))
        );
        for transition in rollout.transitions.iter().rev() {
            let _ = writeln!(text, "\n{}", sentence(transition));
            let evidence: Vec<&Evidence> = transition.evidence.iter().collect();
            if !evidence.is_empty() {
                let _ = writeln!(text, "{}", table(&evidence));
            }
        }
    }
    if text.is_empty() {
        return format!(
            "{}: {}",
            deployment.status.as_str(),
            deployment.status_description
        );
    }
    text.trim_end().to_owned()
}

fn sentence(transition: &RolloutTransition) -> String {
    format!(
        "{} {} {} by {}: {}",
        transition.at,
        transition.phase.as_str(),
        transition.share,
        transition.actor,
        transition.reason
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::decode;
    use crate::view::test_view;

    fn shown() -> Shown {
        let evidence = serde_json::json!([{
            "Metric": "failed", "Since": "2026-03-02T10:00:01Z", "CanaryBad": 7, "CanaryAttempts": 7,
            "StableBad": 0, "StableAttempts": 133, "Limit": 0.003, "Worse": 15.25, "Beyond": 30.5,
        }]);
        let rollout = serde_json::json!({
            "Revision": 3, "Phase": "held", "Step": 1, "Share": 2500, "Steps": [500, 2500, 5000],
            "Cause": "failed", "Reason": "suspect: canary failed 7 of 7 since 10:00:01, stable 0 of 133",
            "Transitions": [
                {"At": "2026-03-02T10:00:00Z", "Actor": "judge", "Phase": "judging", "Share": 500,
                    "Reason": "step 1 of 3: 5 %"},
                {"At": "2026-03-02T10:00:03Z", "Actor": "judge", "Phase": "held", "Step": 1, "Share": 2500,
                    "Cause": "failed", "Reason": "suspect", "Evidence": evidence},
            ],
        });
        let value = serde_json::json!({
            "Deployment": {
                "ID": "9d0be1aa-5c5e-4a2e-a1f6-000000000000", "Status": "running",
                "TaskGroups": {"web": {"DesiredCanaries": 2, "Rollout": rollout}},
            },
            "Groups": [{
                "Group": "web", "Rollout": rollout,
                "Standing": {
                    "EffectiveMillionths": 125_000, "ElapsedMs": 20_000, "HoldMs": 60_000, "AttemptsMissing": 12,
                    "Awaited": ["metric errors"],
                    "Canary": {"Attempts": 40, "Failed": 7, "P50Us": 2_100, "P99Us": 9_900, "Restarts": 1},
                    "Stable": {"Attempts": 133, "P50Us": 2_000, "P99Us": 9_000},
                    "Evidence": evidence,
                },
            }, {"Group": "plain"}],
        });
        decode("", value).unwrap()
    }

    #[test]
    fn both_versions_stand_side_by_side() {
        assert_eq!(
            status(&shown(), &test_view()),
            "Task Group = web
Status     = held
Reason     = suspect: canary failed 7 of 7 since 10:00:01, stable 0 of 133
Steps      = 5 %, 25 %, 50 %
Step       = 2 of 3
Share      = 25 % (effective 12.5 %)
To Pass    = 12 more good attempts, a good metric errors, 40 more seconds of this step, what it waits for

Version  Requests  Success  p50    p99    Restarts
canary   40        82.50%   2.1ms  9.9ms  1
stable   133       100.00%  2.0ms  9.0ms  0

Against the Canaries
Metric  Route  Canary  Since                 Canary Bad  Stable Bad  Limit  Worse  Beyond
failed  all    all     2026-03-02T10:00:01Z  7/7         0/133       0.30%  15.2   30.5

Task Group = plain
Status     = canaries take their turn"
        );
    }

    #[test]
    fn what_was_measured_has_a_table_of_its_own() {
        let counted = Evidence {
            metric: "failed".into(),
            canary_attempts: 7,
            limit: 0.003,
            ..Evidence::default()
        };
        let measured = Evidence {
            metric: "metric errors".into(),
            value: Some(0.5),
            limit: 0.2,
            ..Evidence::default()
        };
        assert_eq!(
            table(&[&measured]),
            "Metric         Since                 Value  Limit\n\
             metric errors  1970-01-01T00:00:00Z  0.5    0.2"
        );
        let both = table(&[&measured, &counted]);
        let (first, second) = both.split_once("\n\n").unwrap();
        assert!(
            first.contains("Stable Bad") && !first.contains("errors"),
            "{both}"
        );
        assert_eq!(second, table(&[&measured]));
    }

    #[test]
    fn every_hold_has_a_sentence_and_a_table() {
        assert_eq!(
            why(&shown().deployment, &test_view()),
            "web: held: suspect: canary failed 7 of 7 since 10:00:01, stable 0 of 133

2026-03-02T10:00:03Z held 25 % by judge: suspect
Metric  Route  Canary  Since                 Canary Bad  Stable Bad  Limit  Worse  Beyond
failed  all    all     2026-03-02T10:00:01Z  7/7         0/133       0.30%  15.2   30.5

2026-03-02T10:00:00Z judging 5 % by judge: step 1 of 3: 5 %"
        );
        let plain = Deployment {
            status_description: "Deployment is running".into(),
            ..Deployment::default()
        };
        assert_eq!(why(&plain, &test_view()), "running: Deployment is running");
        assert_eq!(
            lines(&shown().deployment),
            "web: held, 25 %: suspect: canary failed 7 of 7 since 10:00:01, stable 0 of 133"
        );
    }
}
