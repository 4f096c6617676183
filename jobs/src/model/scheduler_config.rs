use super::{Index, JobType};
use serde::{Deserialize, Serialize};

/// How the servers schedule. Writer: operators.
///
/// Source: operator API, "Read Scheduler Configuration".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SchedulerConfig {
    /// Which of the nodes with room is preferred.
    pub scheduler_algorithm: SchedulerAlgorithm,
    /// Whose jobs may take the room of less important ones.
    pub preemption_config: PreemptionConfig,
    /// Tasks may use more memory than is reserved for them, up to their `memory_max`.
    pub memory_oversubscription_enabled: bool,
    /// Jobs are neither registered nor scaled.
    pub reject_job_registration: bool,
    /// Evaluations are kept and not decided about.
    pub pause_eval_broker: bool,
    /// Always 0: every node is looked at.
    pub node_limit_for_feasibility_checks: u64,
    /// Index of its creation.
    pub create_index: Index,
    /// Index of its last change; 1 while nobody changed it.
    pub modify_index: Index,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            scheduler_algorithm: SchedulerAlgorithm::default(),
            preemption_config: PreemptionConfig::default(),
            memory_oversubscription_enabled: false,
            reject_job_registration: false,
            pause_eval_broker: false,
            node_limit_for_feasibility_checks: 0,
            create_index: Self::UNCHANGED,
            modify_index: Self::UNCHANGED,
        }
    }
}

impl SchedulerConfig {
    /// The `modify_index` of a configuration that nobody changed.
    pub const UNCHANGED: Index = 1;

    /// True when jobs of that type may take the room of less important ones.
    pub fn preempts(&self, job_type: JobType) -> bool {
        let preemption = &self.preemption_config;
        match job_type {
            JobType::Service => preemption.service_scheduler_enabled,
            JobType::Batch => preemption.batch_scheduler_enabled,
            JobType::System => preemption.system_scheduler_enabled,
            JobType::Sysbatch => preemption.sys_batch_scheduler_enabled,
        }
    }
}

/// Which of the nodes with room is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum SchedulerAlgorithm {
    /// The fullest, so that others stay empty.
    #[default]
    Binpack,
    /// The emptiest, so that all are used alike.
    Spread,
}

impl SchedulerAlgorithm {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Binpack => "binpack",
            Self::Spread => "spread",
        }
    }
}

impl From<SchedulerAlgorithm> for &'static str {
    fn from(algorithm: SchedulerAlgorithm) -> Self {
        algorithm.as_str()
    }
}

impl TryFrom<String> for SchedulerAlgorithm {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "" | "binpack" => Ok(Self::Binpack),
            "spread" => Ok(Self::Spread),
            _ => Err(format!("invalid scheduler algorithm: {name}")),
        }
    }
}

/// Whose jobs may take the room of less important ones, by the type of the job that is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(
    missing_docs,
    clippy::struct_excessive_bools,
    reason = "the names are those of the API and say it all"
)]
pub struct PreemptionConfig {
    pub system_scheduler_enabled: bool,
    pub sys_batch_scheduler_enabled: bool,
    pub batch_scheduler_enabled: bool,
    pub service_scheduler_enabled: bool,
}

impl Default for PreemptionConfig {
    fn default() -> Self {
        Self {
            system_scheduler_enabled: true,
            sys_batch_scheduler_enabled: false,
            batch_scheduler_enabled: false,
            service_scheduler_enabled: false,
        }
    }
}
