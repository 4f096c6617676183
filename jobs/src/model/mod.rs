//! The nouns of scheduling: what a job asks for and what became of it.
//!
//! These types serve the replicated log, the snapshots and the JSON of the jobs API alike: field
//! names on the wire are those of the API. A job as a user writes it, where "not set" and "zero"
//! differ, is `wire::Job`; [`Job`] here is the canonical form with every default filled in.
//!
//! Instants are a [`Timestamp`], lengths of time a [`Span`].

mod absent;
mod action;
mod allocation;
mod autopilot_config;
mod capacity;
mod change;
mod class;
mod connect;
mod constraint;
mod credentials;
mod cron;
mod deployment;
mod device;
mod drain;
mod evaluation;
mod flat_map;
mod hook_call;
mod id;
mod job;
mod launch;
mod metric;
mod metric_limit;
mod name;
mod network;
mod node;
mod plan;
mod policy;
mod region_set;
mod resources;
mod rollout;
mod scaling;
mod scheduler_config;
mod secret_id;
mod service;
mod shared;
mod span;
mod submission;
mod summary;
mod task;
mod task_group;
mod task_state;
mod timestamp;
mod usage;
mod variable;
mod volume;

pub use absent::{ABSENT, Absent, Lack, absent_refusal, absent_warnings};
pub use action::{Action, Schedule, ScheduleCron};
pub use allocation::{
    AllocDeploymentStatus, AllocatedCpu, AllocatedMemory, AllocatedPort, AllocatedResources,
    AllocatedShared, AllocatedTask, Allocation, ClientStatus, DesiredStatus, DesiredTransition,
    NetworkStatus, RescheduleEvent, RescheduleTracker,
};
pub use autopilot_config::AutopilotConfig;
pub(crate) use capacity::{Ask, Capacity, allocate_without_ports, refusal};
pub use change::{Effect, Field, GROUP_FIELDS, TASK_FIELDS, is_destructive};
pub use connect::{
    BindAddress, Connect, Expose, ExposePath, Gateway, GatewayProxy, GatewaySecrets, GatewayTls,
    HeaderModifiers, Ingress, IngressListener, IngressService, LinkedService, MeshGateway,
    MeshGatewayEntry, Proxy, SidecarLogs, SidecarResources, SidecarService, SidecarTask,
    Terminating, TransparentProxy, Upstream,
};
pub use constraint::{Affinity, Constraint, Spread, SpreadTarget};
pub use credentials::{
    Consul, DEFAULT_AUDIENCE, DEFAULT_IDENTITY, Secret, Vault, WorkloadIdentity,
};
pub use cron::Cron;
pub use deployment::{Deployment, DeploymentState, DeploymentStatus, DeploymentUpdate};
pub use device::{DeviceAffinity, Numa, RequestedDevice};
pub use drain::{DrainStatus, DrainStrategy, LastDrain};
pub use evaluation::{EvalStatus, Evaluation, Trigger};
pub use flat_map::FlatMap;
pub use hook_call::{HookCall, HookPoint};
pub use id::{
    AllocId, AllocKind, DeploymentId, DeploymentKind, EvalId, EvalKind, Id, Kind, NodeId, NodeKind,
    NotAnId, RootKeyId, RootKeyKind,
};
pub use job::{Job, JobKey, JobLink, JobStatus, JobType, JobUi, VersionTag};
pub use launch::{DispatchPayload, PAYLOAD_BYTES_MAX, Parameterized, Periodic};
pub(crate) use launch::{launch_time, periodic_id, whole_seconds};
pub use metric::{AllocMetric, NodeScore};
pub use metric_limit::{Beyond, Filling, MetricLimit};
pub(crate) use name::or_empty;
pub use name::{
    AllocName, GroupName, JobId, LockId, Name, Namespace, NodeName, TaskName, Text, VariablePath,
};
pub use network::{
    Cni, Dns, HostNetwork, HostPort, NetworkResource, NodeAddress, NodeNetwork, Port,
};
pub(crate) use node::NoHostNetwork;
pub use node::{
    DriverInfo, Eligibility, HostVolume, Node, NodeCpu, NodeDisk, NodeEvent, NodeMemory,
    NodeResources, NodeStatus, ReservedNetworks, ReservedResources,
};
pub use plan::{DesiredUpdates, Plan, PlanAnnotations, PlanResult, PreemptedAlloc, StoppedAlloc};
pub use policy::{
    Analysis, Disconnect, Hook, Latency, Metric, MigrateStrategy, Percent, ReschedulePolicy,
    RestartPolicy, SPLITTER_META, STEPS_META, STICKY_META, SuccessRate, Traffic, UpdateStrategy,
};
pub use region_set::{Multiregion, MultiregionRegion, MultiregionStrategy};
pub use resources::Resources;
pub use rollout::{
    ErrorLimit, Evidence, Gate, JudgeMode, LatencyLimit, OtherAnswers, Rollout, RolloutCause,
    RolloutPhase, RolloutPolicy, RolloutTransition, Share,
};
pub use scaling::ScalingPolicy;
pub use scheduler_config::{PreemptionConfig, SchedulerAlgorithm, SchedulerConfig};
pub use secret_id::SecretId;
pub use service::{CheckRestart, ServiceCheck, ServiceSpec, Weights};
pub use shared::Shared;
pub use span::{Span, SpanError};
pub use submission::Submission;
pub use summary::{ChildrenSummary, GroupSummary, JobSummary, ScalingEvent};
pub use task::{Artifact, ChangeScript, Lifecycle, LogConfig, Task, TaskConfig, Template, Wait};
pub use task_group::{EphemeralDisk, TaskGroup};
pub use task_state::{TaskEvent, TaskPhase, TaskState};
pub use timestamp::{Timestamp, UnixSeconds, rfc3339};
pub(crate) use usage::Room;
pub use usage::{NodeUsage, dynamic_ports, first_port};
pub use variable::{
    RootKey, RootKeyState, Sealed, VARIABLE_BYTES_MAX, Variable, VariableKey, VariableLock,
    VariablePathError, check_variable_path,
};
pub use volume::{CsiPlugin, MountOptions, VolumeMount, VolumeRequest};

/// A position in the replicated log; 0 means "never".
pub type Index = u64;

/// The namespace of jobs that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// True for the value that a field has when nobody set it; such fields are left out of some
/// objects.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
