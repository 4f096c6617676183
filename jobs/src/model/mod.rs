//! The nouns of scheduling: what a job asks for and what became of it.
//!
//! These types serve the replicated log, the snapshots and the JSON of the jobs API alike: field
//! names on the wire are those of the API. A job as a user writes it, where "not set" and "zero"
//! differ, is `wire::Job`; [`Job`] here is the canonical form with every default filled in.
//!
//! Instants are a [`Timestamp`], lengths of time a [`Span`].

mod allocation;
mod capacity;
mod class;
mod constraint;
mod deployment;
mod evaluation;
mod flat_map;
mod id;
mod job;
mod metric;
mod network;
mod node;
mod plan;
mod policy;
mod resources;
mod secret_id;
mod service;
mod span;
mod submission;
mod summary;
mod task;
mod task_group;
mod task_state;
mod timestamp;
mod usage;

pub use allocation::{
    AllocDeploymentStatus, AllocatedCpu, AllocatedMemory, AllocatedPort, AllocatedResources,
    AllocatedShared, AllocatedTask, Allocation, ClientStatus, DesiredStatus, DesiredTransition,
    NetworkStatus, RescheduleEvent, RescheduleTracker,
};
pub(crate) use capacity::{Ask, Capacity, allocate_without_ports, refusal};
pub use constraint::{Affinity, Constraint, Spread, SpreadTarget};
pub use deployment::{Deployment, DeploymentState, DeploymentStatus, DeploymentUpdate};
pub use evaluation::{EvalStatus, Evaluation, Trigger};
pub use flat_map::FlatMap;
pub use id::{
    AllocId, AllocKind, DeploymentId, DeploymentKind, EvalId, EvalKind, Id, Kind, NodeId, NodeKind,
    NotAnId,
};
pub use job::{Job, JobKey, JobLink, JobStatus, JobType, JobUi};
pub use metric::{AllocMetric, NodeScore};
pub use network::{NetworkResource, Port};
pub use node::{
    DriverInfo, Eligibility, Node, NodeCpu, NodeDisk, NodeEvent, NodeMemory, NodeResources,
    NodeStatus, ReservedNetworks, ReservedResources,
};
pub use plan::{DesiredUpdates, Plan, PlanAnnotations, PlanResult, StoppedAlloc};
pub use policy::{MigrateStrategy, ReschedulePolicy, RestartPolicy, UpdateStrategy};
pub use resources::Resources;
pub use secret_id::SecretId;
pub use service::{CheckRestart, ServiceCheck, ServiceSpec, Weights};
pub use span::{Span, SpanError};
pub use submission::Submission;
pub use summary::{GroupSummary, JobSummary, ScalingEvent};
pub use task::{Artifact, Lifecycle, LogConfig, Task, Template};
pub use task_group::{EphemeralDisk, TaskGroup};
pub use task_state::{TaskEvent, TaskPhase, TaskState};
pub use timestamp::{Timestamp, UnixSeconds, rfc3339};
pub(crate) use usage::Room;
pub use usage::{NodeUsage, dynamic_ports, first_port};

/// A position in the replicated log; 0 means "never".
pub type Index = u64;

/// The namespace of jobs that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// True for the value that a field has when nobody set it; such fields are left out of some objects.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
