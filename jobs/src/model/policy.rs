use super::{Span, is_default};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How the client restarts a task that exited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// Restarts allowed within `interval`.
    pub attempts: u32,
    /// Nanoseconds.
    pub interval: Span,
    /// Pause before a restart.
    pub delay: Span,
    /// `fail` (give up) or `delay` (wait for the next interval).
    pub mode: String,
    /// Render templates again at each restart.
    #[serde(skip_serializing_if = "is_default")]
    pub render_templates: bool,
}

/// What becomes of an allocation whose node is out of reach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Disconnect {
    /// Time until it counts as lost; 0 is at once.
    pub lost_after: Option<Span>,
    /// Time after which the node ends it by itself.
    pub stop_on_client_after: Option<Span>,
    /// Run a replacement meanwhile.
    pub replace: Option<bool>,
    /// Which one stays when it comes back: `best_score`, `longest_running`, `keep_original` or
    /// `keep_replacement`.
    pub reconcile: Option<String>,
}

/// How the servers replace a failed allocation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReschedulePolicy {
    /// Replacements allowed within `interval`, unless `unlimited`.
    pub attempts: u32,
    /// Nanoseconds.
    pub interval: Span,
    /// First pause.
    pub delay: Span,
    /// `constant`, `exponential` or `fibonacci`.
    pub delay_function: String,
    /// Longest pause.
    pub max_delay: Span,
    /// No limit on attempts.
    pub unlimited: bool,
}

/// How a new version replaces the old one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateStrategy {
    /// Kept for old clients.
    pub stagger: Span,
    /// Replacements in flight; 0 switches deployments off.
    pub max_parallel: u32,
    /// `checks`, `task_states` or `manual`.
    pub health_check: String,
    /// How long it must stay healthy to count.
    pub min_healthy_time: Span,
    /// Not healthy by then is unhealthy.
    pub healthy_deadline: Span,
    /// Some allocation must turn healthy within it; 0 fails on the first failure. Nanoseconds.
    pub progress_deadline: Span,
    /// On failure, go back to the last stable version.
    pub auto_revert: bool,
    /// Promote when every canary is healthy.
    pub auto_promote: bool,
    /// Instances of the new version placed before anything old stops.
    pub canary: u32,
    /// How many requests canaries get; none for as many as other instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// What canaries may do; none for the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
}

/// The label of a service that holds the shares of its canaries, as percents with commas between.
pub const STEPS_META: &str = "rollout_steps";

/// The label of a service that says what keeps a client with a version.
pub const STICKY_META: &str = "rollout_sticky";

/// The label of a service that says whether a splitter that tells its versions apart is obeyed.
pub const SPLITTER_META: &str = "rollout_splitter";

/// How many requests the canaries of a group get, whatever their number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Traffic {
    /// From 0 to 100, each more than the one before; never empty. The first one counts until the
    /// canaries are judged.
    pub steps: Vec<Percent>,
    /// How long a step lasts at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// How long the old version stands by after the last step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake: Option<Span>,
    /// What keeps a client with a version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
    /// What a splitter means that tells the versions apart: `hold` or `ignore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splitter: Option<String>,
}

/// How canaries are compared with stable instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Analysis {
    /// How long an instance may answer badly after its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Span>,
    /// How much less of the attempts of canaries may succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<SuccessRate>,
    /// How much longer their answers may take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<Latency>,
    /// What metrics stores are asked; each name once, at most [`RolloutPolicy::ASKED_MAX`].
    ///
    /// [`RolloutPolicy::ASKED_MAX`]: super::RolloutPolicy::ASKED_MAX
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metric: Vec<Metric>,
    /// Who else is asked, or waited for; each name once, as many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hook: Vec<Hook>,
}

/// How much less of the attempts of canaries may succeed than of those of stable instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SuccessRate {
    /// Points of a hundred.
    pub max_drop: Percent,
}

/// How much longer answers of canaries may take than those of stable instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Latency {
    /// Of which answers: 0.5 for half of them, or 0.99.
    pub quantile: Percent,
    /// So many times.
    pub max_ratio: Percent,
}

/// A value of a metrics store between two limits, of which one at least is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Metric {
    /// What it is called.
    pub name: String,
    /// The kind of metrics store: `prometheus`.
    pub source: String,
    /// Where it is.
    pub address: String,
    /// What is asked.
    pub query: String,
    /// The least it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Percent>,
    /// The most it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Percent>,
}

/// Who is asked whether canaries may go on: a program over HTTP, or somebody.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Hook {
    /// What it is called.
    pub name: String,
    /// `start`, `step`, `increase`, `promote` or `abort`.
    pub on: String,
    /// The URL to which it is posted; none if somebody lets it go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// It waits until somebody lets it go on.
    #[serde(skip_serializing_if = "super::is_default")]
    pub manual: bool,
}

/// A number that is written without a fraction where it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.0 as i64;
        if whole as f64 == self.0 {
            serializer.serialize_i64(whole)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self)
    }
}

impl UpdateStrategy {
    /// Nothing is said.
    pub fn none() -> Self {
        Self {
            stagger: Span::ZERO,
            max_parallel: 0,
            health_check: String::new(),
            min_healthy_time: Span::ZERO,
            healthy_deadline: Span::ZERO,
            progress_deadline: Span::ZERO,
            auto_revert: false,
            auto_promote: false,
            canary: 0,
            traffic: None,
            analysis: None,
        }
    }
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self {
            stagger: Span::from_secs(30),
            max_parallel: 1,
            health_check: "checks".into(),
            min_healthy_time: Span::from_secs(10),
            healthy_deadline: Span::from_secs(300),
            progress_deadline: Span::from_secs(600),
            auto_revert: false,
            auto_promote: false,
            canary: 0,
            traffic: None,
            analysis: None,
        }
    }
}

/// How allocations leave a draining node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MigrateStrategy {
    /// Migrations in flight.
    pub max_parallel: u32,
    /// `checks` or `task_states`.
    pub health_check: String,
    /// Nanoseconds.
    pub min_healthy_time: Span,
    /// Nanoseconds.
    pub healthy_deadline: Span,
}

impl Default for MigrateStrategy {
    fn default() -> Self {
        Self {
            max_parallel: 1,
            health_check: "checks".into(),
            min_healthy_time: Span::from_secs(10),
            healthy_deadline: Span::from_secs(300),
        }
    }
}
