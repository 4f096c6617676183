use super::Findings;
use crate::model::{self, JobType};
use crate::wire;
use std::collections::BTreeSet;

/// Weight of an affinity or spread that names none.
const WEIGHT: i64 = 50;

/// One requirement, version numbers parted by commas: `>= 1.2, < 2`.
const VERSION: &str =
    r"^\s*(=|!=|>=|<=|>|<|~>)?\s*v?[0-9]+(\.[0-9]+)*(-[0-9A-Za-z.~-]+)?(\+[0-9A-Za-z.~-]+)?\s*$";

/// Constraints, and affinities, of one job, group or task: each may hold a pattern to compile.
const MOST: usize = 1000;

/// Longest pattern that is compiled.
const LONGEST_PATTERN: usize = 4096;

pub(super) fn constraints(
    findings: &mut Findings,
    given: Option<Vec<model::Constraint>>,
) -> Vec<model::Constraint> {
    let given = given.unwrap_or_default();
    if given.len() > MOST {
        findings.error(format!("More than {MOST} constraints"));
        return Vec::new();
    }
    let mut all = Vec::new();
    for (index, constraint) in given.into_iter().enumerate() {
        let constraint = model::Constraint {
            operand: operand(constraint.operand),
            ..constraint
        };
        let mut part = Findings::default();
        check_constraint(&mut part, &constraint);
        findings.nest(&format!("Constraint {} validation failed", index + 1), part);
        all.push(constraint);
    }
    all
}

fn operand(given: String) -> String {
    if given.is_empty() { "=".into() } else { given }
}

fn check_constraint(findings: &mut Findings, constraint: &model::Constraint) {
    let (operand, right) = (constraint.operand.as_str(), constraint.r_target.as_str());
    match operand {
        "distinct_hosts" => return,
        "distinct_property" if right.is_empty() => {}
        "distinct_property" => match right.parse::<u64>() {
            Ok(0) => findings
                .error("Distinct Property must have an allowed count of 1 or greater: 0 < 1"),
            Ok(_) => {}
            Err(error) => findings.error(format!(
                "Failed to convert RTarget {right:?} to uint64: {error}"
            )),
        },
        "is_set" | "is_not_set" => findings.require(right.is_empty(), || {
            format!("Operator {operand:?} does not support an RTarget")
        }),
        "set_contains" | "set_contains_all" | "set_contains_any" => {
            findings.require(!right.is_empty(), || {
                "Set contains constraint requires an RTarget".into()
            });
        }
        _ => check_operand(findings, operand, right, ("constraint type", "constraint")),
    }
    findings.require(!constraint.l_target.is_empty(), || {
        "no attribute provided but is required by operator".into()
    });
    if let Some(problem) = unsupported(&constraint.l_target) {
        findings.error(problem);
    }
}

/// What is wrong with a reference that nothing of a node answers to; anything else is a value.
fn unsupported(target: &str) -> Option<String> {
    if !target.starts_with('$') {
        return None;
    }
    let names = [
        "node.unique.id",
        "node.unique.name",
        "node.datacenter",
        "node.class",
        "node.pool",
    ];
    let Some(name) = target.strip_prefix("${") else {
        return Some(format!("attribute {target:?} is missing an opening brace"));
    };
    let Some(name) = name.strip_suffix('}') else {
        return Some(format!("attribute {target:?} is missing a closing brace"));
    };
    let known = names.contains(&name)
        || ["attr.", "device.", "meta."]
            .iter()
            .any(|start| name.starts_with(start));
    (!known).then(|| format!("unsupported attribute {target:?}"))
}

/// Rules that constraints and affinities share.
fn check_operand(findings: &mut Findings, operand: &str, right: &str, (kind, noun): (&str, &str)) {
    match operand {
        "=" | "==" | "is" | "!=" | "not" | "<" | "<=" | ">" | ">=" => {
            findings.require(!right.is_empty(), || {
                format!("Operator {operand:?} requires an RTarget")
            });
        }
        "regexp" => {
            let result = if right.len() > LONGEST_PATTERN {
                Err("the pattern is too long".to_owned())
            } else {
                regex::Regex::new(right)
                    .map(drop)
                    .map_err(|error| last_line(&error.to_string()))
            };
            if let Err(error) = result {
                findings.error(format!("Regular expression failed to compile: {error}"));
            }
        }
        // What only the node knows cannot be checked here.
        "version" | "semver" if right.contains("${") => {}
        "version" | "semver" => {
            let part = regex::Regex::new(VERSION).ok();
            let fine = |text: &str| part.as_ref().is_none_or(|part| part.is_match(text));
            let name = if operand == "version" {
                "Version"
            } else {
                "Semver"
            };
            findings.require(right.split(',').all(fine), || {
                format!("{name} {noun} is invalid: malformed constraint: {right}")
            });
        }
        other => findings.error(format!("Unknown {kind} {other:?}")),
    }
}

pub(super) fn affinities(
    findings: &mut Findings,
    given: Option<Vec<wire::Affinity>>,
    job_type: JobType,
) -> Vec<model::Affinity> {
    let given = given.unwrap_or_default();
    if job_type == JobType::System && !given.is_empty() {
        findings.error("System jobs may not have an affinity block");
        return Vec::new();
    }
    affinity_rules(findings, given)
}

/// Affinities of a job, group, task or device.
pub(super) fn affinity_rules(
    findings: &mut Findings,
    given: Vec<wire::Affinity>,
) -> Vec<model::Affinity> {
    if given.len() > MOST {
        findings.error(format!("More than {MOST} affinities"));
        return Vec::new();
    }
    let mut all = Vec::new();
    for (index, affinity) in given.into_iter().enumerate() {
        let mut part = Findings::default();
        let (operand, right) = (operand(affinity.operand), affinity.r_target);
        match operand.as_str() {
            "set_contains" | "set_contains_all" | "set_contains_any" => {
                part.require(!right.is_empty(), || {
                    "Set contains operators require an RTarget".into()
                });
            }
            operand => check_operand(
                &mut part,
                operand,
                &right,
                ("affinity operator", "affinity"),
            ),
        }
        let left = affinity.l_target;
        part.require(!left.is_empty(), || {
            "No LTarget provided but is required".into()
        });
        let weight = affinity.weight.unwrap_or(WEIGHT);
        part.require(weight != 0, || "Affinity weight cannot be zero".into());
        part.require((-100..=100).contains(&weight), || {
            "Affinity weight must be within the range [-100,100]".into()
        });
        findings.nest(&format!("Affinity {} validation failed", index + 1), part);
        all.push(model::Affinity {
            l_target: left,
            r_target: right,
            operand,
            weight: i8::try_from(weight).unwrap_or(0),
        });
    }
    all
}

pub(super) fn spreads(
    findings: &mut Findings,
    given: Option<Vec<wire::Spread>>,
    job_type: JobType,
) -> Vec<model::Spread> {
    let given = given.unwrap_or_default();
    if job_type == JobType::System && !given.is_empty() {
        findings.error("System jobs may not have a spread block");
        return Vec::new();
    }
    let mut all = Vec::new();
    for (index, spread) in given.into_iter().enumerate() {
        let mut part = Findings::default();
        let attribute = spread.attribute;
        part.require(!attribute.is_empty(), || "Missing spread attribute".into());
        let weight = spread.weight.unwrap_or(WEIGHT);
        part.require((1..=100).contains(&weight), || {
            "Spread block must have a positive weight from 0 to 100".into()
        });
        let mut seen = BTreeSet::new();
        let mut sum: i64 = 0;
        let mut targets = Vec::new();
        for target in spread.spread_target.into_iter().flatten() {
            let (value, percent) = (target.value, target.percent);
            part.require(seen.insert(value.clone()), || {
                format!("Spread target value {value:?} already defined")
            });
            part.require((0..=100).contains(&percent), || {
                format!("Spread target percentage for value {value:?} must be between 0 and 100")
            });
            sum = sum.saturating_add(percent);
            targets.push(model::SpreadTarget {
                value,
                percent: u8::try_from(percent).unwrap_or(0),
            });
        }
        part.require(sum <= 100, || {
            format!("Sum of spread target percentages must not be greater than 100%; got {sum}%")
        });
        findings.nest(&format!("Spread {} validation failed", index + 1), part);
        all.push(model::Spread {
            attribute,
            weight: i8::try_from(weight).unwrap_or(0),
            spread_target: targets,
        });
    }
    all
}

/// The part of a pattern error that says what is wrong, without the drawing above it.
fn last_line(error: &str) -> String {
    let line = error.lines().next_back().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
