//! JSON shapes of the jobs API where they differ from the model.
//!
//! A [`Job`] is what a user wrote: every field may be missing, which is not the same as zero.
//! [`crate::spec::canonicalize_and_validate`] makes the canonical [`crate::model::Job`] of it.

mod diff;
mod duration;
mod job;
mod policy;
mod service;
mod task;
mod task_group;

pub use diff::{DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff};
pub use duration::{Duration, DurationError};
pub use job::Job;
pub use policy::{
    Affinity, Constraint, MigrateStrategy, ReschedulePolicy, RestartPolicy, Spread, SpreadTarget,
    UpdateStrategy,
};
pub use service::{CheckRestart, Service, ServiceCheck, Weights};
pub use task::{Artifact, Lifecycle, LogConfig, Resources, Task, Template};
pub use task_group::{EphemeralDisk, NetworkResource, Port, TaskGroup};
