use crate::model::{Percent, Span};
use serde::{Deserialize, Serialize};

/// How the client restarts a task that exited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// Restarts allowed within `interval`.
    pub attempts: Option<i64>,
    /// Nanoseconds.
    pub interval: Option<Span>,
    /// Pause before a restart.
    pub delay: Option<Span>,
    /// `fail` (give up) or `delay` (wait for the next interval).
    pub mode: Option<String>,
    /// Render templates again at each restart.
    pub render_templates: Option<bool>,
}

/// How the servers replace a failed allocation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReschedulePolicy {
    /// Replacements allowed within `interval`, unless `unlimited`.
    pub attempts: Option<i64>,
    /// Nanoseconds.
    pub interval: Option<Span>,
    /// First pause.
    pub delay: Option<Span>,
    /// `constant`, `exponential` or `fibonacci`.
    pub delay_function: Option<String>,
    /// Longest pause.
    pub max_delay: Option<Span>,
    /// No limit on attempts.
    pub unlimited: Option<bool>,
}

/// How a new version replaces the old one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateStrategy {
    /// Kept for old clients.
    pub stagger: Option<Span>,
    /// Replacements in flight; 0 switches deployments off.
    pub max_parallel: Option<i64>,
    /// `checks`, `task_states` or `manual`.
    pub health_check: Option<String>,
    /// How long it must stay healthy to count.
    pub min_healthy_time: Option<Span>,
    /// Not healthy by then is unhealthy.
    pub healthy_deadline: Option<Span>,
    /// Some allocation must turn healthy within it; 0 fails on the first failure. Nanoseconds.
    pub progress_deadline: Option<Span>,
    /// On failure, go back to the last stable version.
    pub auto_revert: Option<bool>,
    /// Promote when every canary is healthy.
    pub auto_promote: Option<bool>,
    /// Instances of the new version placed before anything old stops.
    pub canary: Option<i64>,
    /// How many requests canaries get. Absent rather than null where it is not set: the jobs API of
    /// others has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// What canaries may do; absent like `traffic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
}

/// How many requests the canaries of a group get.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Traffic {
    /// Percents, one after the other.
    pub steps: Option<Vec<Percent>>,
    /// How long a step lasts at least.
    pub hold: Option<Span>,
    /// How long the old version stands by after the last step.
    pub bake: Option<Span>,
    /// What keeps a client with a version.
    pub sticky: Option<String>,
    /// What a splitter means that tells the versions apart.
    pub splitter: Option<String>,
}

/// How canaries are compared with stable instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Analysis {
    /// How long an instance may answer badly after its start.
    pub warmup: Option<Span>,
    /// How much less of the attempts of canaries may succeed.
    pub success_rate: Option<SuccessRate>,
    /// How much longer their answers may take.
    pub latency: Option<Vec<Latency>>,
    /// What metrics stores are asked.
    pub metric: Option<Vec<Metric>>,
    /// Who else is asked, or waited for.
    pub hook: Option<Vec<Hook>>,
}

/// How much less of the attempts of canaries may succeed than of those of stable instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SuccessRate {
    /// Points of a hundred.
    pub max_drop: Option<Percent>,
}

/// How much longer answers of canaries may take than those of stable instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Latency {
    /// Of which answers: 0.5 for half of them, or 0.99.
    pub quantile: Option<Percent>,
    /// So many times.
    pub max_ratio: Option<Percent>,
}

/// A value of a metrics store between two limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Metric {
    /// What it is called.
    pub name: Option<String>,
    /// The kind of metrics store: `prometheus`.
    pub source: Option<String>,
    /// Where it is.
    pub address: Option<String>,
    /// What is asked.
    pub query: Option<String>,
    /// The least it may be.
    pub min: Option<Percent>,
    /// The most it may be.
    pub max: Option<Percent>,
}

/// Who is asked whether canaries may go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Hook {
    /// What it is called.
    pub name: Option<String>,
    /// `start`, `step`, `increase`, `promote` or `abort`.
    pub on: Option<String>,
    /// The URL to which it is posted.
    pub http: Option<String>,
    /// It waits until somebody lets it go on.
    pub manual: Option<bool>,
}

/// How allocations leave a draining node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MigrateStrategy {
    /// Migrations in flight.
    pub max_parallel: Option<i64>,
    /// `checks` or `task_states`.
    pub health_check: Option<String>,
    /// Nanoseconds.
    pub min_healthy_time: Option<Span>,
    /// Nanoseconds.
    pub healthy_deadline: Option<Span>,
}

/// A soft preference for nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Affinity {
    /// Left side, usually `${attr.…}`.
    #[serde(rename = "LTarget")]
    pub l_target: String,
    /// Right side.
    #[serde(rename = "RTarget")]
    pub r_target: String,
    /// As of a constraint.
    pub operand: String,
    /// −100 to 100, not 0.
    pub weight: Option<i64>,
}

/// A wanted distribution over the values of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Spread {
    /// The attribute, `${…}`.
    pub attribute: String,
    /// 1 to 100.
    pub weight: Option<i64>,
    /// Wanted shares; empty is even.
    pub spread_target: Option<Vec<SpreadTarget>>,
}

/// The wanted share of one value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SpreadTarget {
    /// Attribute value.
    pub value: String,
    /// 0 to 100.
    pub percent: i64,
}
