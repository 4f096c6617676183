use super::Nanos;
use serde::{Deserialize, Serialize};

/// How the client restarts a task that exited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// Restarts allowed within `interval`.
    pub attempts: u32,
    /// Nanoseconds.
    pub interval: Nanos,
    /// Pause before a restart, nanoseconds.
    pub delay: Nanos,
    /// `fail` (give up) or `delay` (wait for the next interval).
    pub mode: String,
}

/// How the servers replace a failed allocation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReschedulePolicy {
    /// Replacements allowed within `interval`, unless `unlimited`.
    pub attempts: u32,
    /// Nanoseconds.
    pub interval: Nanos,
    /// First pause, nanoseconds.
    pub delay: Nanos,
    /// `constant`, `exponential` or `fibonacci`.
    pub delay_function: String,
    /// Longest pause, nanoseconds.
    pub max_delay: Nanos,
    /// No limit on attempts.
    pub unlimited: bool,
}

/// How a new version replaces the old one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateStrategy {
    /// Kept for old clients, nanoseconds.
    pub stagger: Nanos,
    /// Replacements in flight; 0 switches deployments off.
    pub max_parallel: u32,
    /// `checks`, `task_states` or `manual`.
    pub health_check: String,
    /// How long it must stay healthy to count, nanoseconds.
    pub min_healthy_time: Nanos,
    /// Not healthy by then is unhealthy, nanoseconds.
    pub healthy_deadline: Nanos,
    /// Some allocation must turn healthy within it; 0 fails on the first failure. Nanoseconds.
    pub progress_deadline: Nanos,
    /// On failure, go back to the last stable version.
    pub auto_revert: bool,
    /// Promote when every canary is healthy.
    pub auto_promote: bool,
    /// Instances of the new version placed before anything old stops.
    pub canary: u32,
}

const SECOND: Nanos = 1_000_000_000;

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self {
            stagger: 30 * SECOND,
            max_parallel: 1,
            health_check: "checks".into(),
            min_healthy_time: 10 * SECOND,
            healthy_deadline: 300 * SECOND,
            progress_deadline: 600 * SECOND,
            auto_revert: false,
            auto_promote: false,
            canary: 0,
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
    pub min_healthy_time: Nanos,
    /// Nanoseconds.
    pub healthy_deadline: Nanos,
}

impl Default for MigrateStrategy {
    fn default() -> Self {
        Self {
            max_parallel: 1,
            health_check: "checks".into(),
            min_healthy_time: 10 * SECOND,
            healthy_deadline: 300 * SECOND,
        }
    }
}
