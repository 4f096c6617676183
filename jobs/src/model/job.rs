use super::{
    Affinity, Constraint, DEFAULT_NAMESPACE, Index, JobId, JobSummary, Namespace, Parameterized,
    Periodic, Shared, Spread, Task, TaskGroup, Timestamp, UpdateStrategy, is_default,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a job is sorted by: its namespace, then its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// The namespace, `default` unless the user chose one.
    pub namespace: Namespace,
    /// The id, unique in the namespace.
    pub id: JobId,
}

impl JobKey {
    /// The key of the job `id` in `namespace`.
    pub fn new(namespace: impl Into<Namespace>, id: impl Into<JobId>) -> Self {
        Self {
            namespace: namespace.into(),
            id: id.into(),
        }
    }
}

/// Which scheduler places the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobType {
    /// Runs until stopped; failed allocations are replaced.
    #[default]
    Service,
    /// Runs to completion.
    Batch,
    /// One allocation on every eligible node, until stopped.
    System,
    /// One allocation on every eligible node, to completion.
    Sysbatch,
}

impl JobType {
    /// The name in job files and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
            Self::System => "system",
            Self::Sysbatch => "sysbatch",
        }
    }
}

/// What the servers derive from a job's allocations and evaluations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Registered, nothing placed yet.
    #[default]
    Pending,
    /// At least one allocation that is not terminal, or an active deployment.
    Running,
    /// Stopped, or everything finished.
    Dead,
}

impl JobStatus {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// One version of a job, canonical: every default is filled in and every block is merged.
///
/// Writer: `RegisterJob` and the state machine (indexes, `version`, `status`, `stable`).
/// Source: jobs API, "Read Job".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Job {
    /// Region, always the agent's own.
    pub region: String,
    /// Namespace.
    pub namespace: Namespace,
    /// Id, unique in the namespace.
    #[serde(rename = "ID")]
    pub id: JobId,
    /// Name; the id unless given.
    pub name: String,
    /// Which scheduler places it.
    #[serde(rename = "Type")]
    pub job_type: JobType,
    /// 1 to 100, higher goes first.
    pub priority: i32,
    /// Place all groups or none.
    pub all_at_once: bool,
    /// Patterns of datacenters, `*` matches any.
    pub datacenters: Vec<String>,
    /// Pool of nodes that may run it.
    pub node_pool: String,
    /// Hard requirements on the node.
    pub constraints: Vec<Constraint>,
    /// Soft preferences for nodes.
    pub affinities: Vec<Affinity>,
    /// Wanted distribution over an attribute.
    pub spreads: Vec<Spread>,
    /// The task groups in the order of the file, never empty. Jobs that are alike share them.
    pub task_groups: Shared<Vec<TaskGroup>>,
    /// The `stagger` and `max_parallel` of the job-level block, and nothing else of it: the merged
    /// form stands on each group. None for jobs without such a block that are no service jobs.
    #[serde(skip_serializing_if = "is_default")]
    pub update: Option<Box<UpdateStrategy>>,
    /// Free-form labels.
    pub meta: BTreeMap<String, String>,
    /// When it is launched again and again.
    #[serde(skip_serializing_if = "is_default")]
    pub periodic: Option<Box<Periodic>>,
    /// What it takes when others launch it.
    #[serde(skip_serializing_if = "is_default")]
    pub parameterized_job: Option<Box<Parameterized>>,
    /// What a user interface shows beside the job.
    #[serde(rename = "UI")]
    pub ui: Option<Box<JobUi>>,
    /// Parent of a dispatched or periodic child.
    #[serde(rename = "ParentID", with = "super::or_empty")]
    pub parent_id: Option<JobId>,
    /// True for the child of a parameterized job, which runs with what its launch gave.
    #[serde(skip_serializing_if = "is_default")]
    pub dispatched: bool,
    /// What makes the launch unique among those of the parent; empty when nothing does.
    #[serde(skip_serializing_if = "is_default")]
    pub dispatch_idempotency_token: String,
    /// What the launch gave, in Base64.
    #[serde(skip_serializing_if = "is_default")]
    pub payload: String,
    /// True once a user stopped it.
    pub stop: bool,
    /// Derived from its allocations.
    pub status: JobStatus,
    /// Why the status is what it is.
    pub status_description: String,
    /// True once a deployment of this version succeeded.
    pub stable: bool,
    /// First version is 0.
    pub version: u64,
    /// The name that users gave this version.
    #[serde(skip_serializing_if = "is_default")]
    pub version_tag: Option<Box<VersionTag>>,
    /// When it was submitted.
    pub submit_time: Timestamp,
    /// Index of the first registration.
    pub create_index: Index,
    /// Index of the last change of any kind.
    pub modify_index: Index,
    /// Index of the last change of the specification.
    pub job_modify_index: Index,
}

/// A name that users gave one version of a job. A version that has one is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VersionTag {
    /// The name, unique among the versions of the job.
    pub name: String,
    /// What is special about the version.
    pub description: String,
    /// When it was named.
    pub tagged_time: Timestamp,
}

/// What a user interface shows beside a job; it has no effect on scheduling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobUi {
    /// Text with Markdown, at most 1000 characters.
    pub description: String,
    /// Links.
    pub links: Vec<JobLink>,
}

/// A link of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobLink {
    /// What is shown.
    pub label: String,
    /// Where it leads.
    pub url: String,
}

impl Job {
    /// What the job is sorted by.
    pub fn key(&self) -> JobKey {
        JobKey::new(self.namespace.clone(), self.id.clone())
    }

    /// The labels that a task of `group` sees, or the group without a task: those of the job, the
    /// group and the task, of which the inner win. Those that a launch may give and did not are
    /// empty.
    pub fn meta_of(&self, group: &TaskGroup, task: Option<&Task>) -> BTreeMap<String, String> {
        let may_be_given = self.parameterized_job.iter();
        let mut meta: BTreeMap<String, String> = may_be_given
            .flat_map(|block| block.meta_optional.iter().flatten())
            .map(|key| (key.clone(), String::new()))
            .collect();
        meta.extend(self.meta.clone());
        meta.extend(group.meta.clone());
        meta.extend(task.into_iter().flat_map(|task| task.meta.clone()));
        meta
    }

    /// The group of that name.
    pub fn task_group(&self, name: &str) -> Option<&TaskGroup> {
        self.task_groups.iter().find(|group| group.name == name)
    }

    /// True for a job that others launch; not for what they launched.
    pub fn is_parameterized(&self) -> bool {
        self.parameterized_job.is_some() && !self.dispatched
    }

    /// True for a job that never runs itself: its children do.
    pub fn is_parent(&self) -> bool {
        self.periodic.is_some() || self.is_parameterized()
    }

    /// The times at which children of the job are launched; none when that does not happen.
    pub fn launches(&self) -> Option<&Periodic> {
        let periodic = self.periodic.as_deref()?;
        let active = periodic.enabled != Some(false) && !self.stop && !self.is_parameterized();
        active.then_some(periodic)
    }

    /// True for jobs whose allocations run once to completion.
    pub fn is_batch(&self) -> bool {
        matches!(self.job_type, JobType::Batch | JobType::Sysbatch)
    }

    /// True when the namespace is the default one.
    pub fn in_default_namespace(&self) -> bool {
        self.namespace == DEFAULT_NAMESPACE
    }

    /// True when `other` asks for the same thing: all but status, indexes, version with its
    /// name, and submit time.
    pub fn same_specification(&self, other: &Self) -> bool {
        let strip = |job: &Self| Self {
            status: JobStatus::default(),
            status_description: String::new(),
            stable: false,
            version: 0,
            version_tag: None,
            submit_time: Timestamp::default(),
            create_index: 0,
            modify_index: 0,
            job_modify_index: 0,
            ..job.clone()
        };
        strip(self) == strip(other)
    }

    /// The sum of the counts of all groups.
    pub fn total_count(&self) -> u64 {
        self.task_groups
            .iter()
            .map(|group| u64::from(group.count))
            .sum()
    }

    /// An empty summary with one row per group.
    pub fn empty_summary(&self) -> JobSummary {
        JobSummary {
            job_id: self.id.clone(),
            namespace: self.namespace.clone(),
            summary: self
                .task_groups
                .iter()
                .map(|g| (g.name.clone(), Default::default()))
                .collect(),
            ..JobSummary::default()
        }
    }
}
