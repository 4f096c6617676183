//! JSON shapes of the jobs API where they differ from the model, and conversions from it.
//!
//! A [`Job`] is what a user wrote: every field may be missing, which is not the same as zero.
//! [`crate::spec::canonicalize_and_validate`] makes the canonical [`crate::model::Job`] of it.
//!
//! Objects without any difference (a job read back, `JobSummary`, `Deployment`, lists of
//! evaluations) have no type here: the model's own is the shape.

mod agent;
mod allocation;
mod deployment;
mod diff;
mod evaluation;
mod file;
mod job;
mod job_list;
mod launch;
mod misfit;
mod node;
mod or_empty;
mod plan;
mod policy;
mod registration;
mod scaling;
mod search;
mod service;
mod shape;
pub mod shapes;
mod stats;
mod task;
mod task_group;
mod variable;

pub use agent::{
    API_VERSION, AgentHealth, AgentMember, AgentSelf, OWN_VERSION_TAG, RaftConfiguration,
    RaftServer, RoleHealth, ServerMembers,
};
pub use allocation::{
    AllocRestartRequest, AllocSignalRequest, AllocStopResponse, Allocation, AllocationListStub,
    StubOptions,
};
pub use deployment::{
    DeploymentFailRequest, DeploymentHealthRequest, DeploymentPauseRequest,
    DeploymentPromoteRequest, DeploymentUpdateResponse,
};
pub use diff::{DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff};
pub use evaluation::{Evaluation, EvaluationStub};
pub use file::{AllocFileInfo, StreamFrame};
pub use job::{Job, JobLink, JobUi};
pub use job_list::JobListStub;
pub use launch::{JobDispatchRequest, JobDispatchResponse, PeriodicForceResponse};
pub use misfit::{Misfit, Step, misfits};
pub use node::{
    DrainSpec, Node, NodeDrainRequest, NodeEligibilityRequest, NodeListStub, NodePool,
    NodeStubOptions, NodeUpdateResponse,
};
pub use plan::{JobPlanRequest, JobPlanResponse, JobVersionsResponse};
pub use policy::{
    Affinity, Analysis, Hook, Latency, Metric, MigrateStrategy, ReschedulePolicy, RestartPolicy,
    Spread, SpreadTarget, SuccessRate, Traffic, UpdateStrategy,
};
pub use registration::{
    EvalOptions, JobDeregisterResponse, JobEvaluateRequest, JobRegisterRequest,
    JobRegisterResponse, JobRevertRequest, JobStabilityRequest, JobStabilityResponse,
    JobSubmission, JobTagResponse, JobValidateRequest, JobValidateResponse, JobsParseRequest,
    TagVersionRequest,
};
pub use scaling::{GroupScaleStatus, JobScaleStatus, ScalingPolicyStub, ScalingRequest, policies};
pub use search::{SearchRequest, SearchResponse};
pub use service::{CheckRestart, Service, ServiceCheck, Weights};
pub use shape::{Complete, Shape};
pub use stats::{
    AllocResourceUsage, CpuStats, HostCpu, HostDisk, HostMemory, HostStats, MemoryStats,
    ResourceUsage, TaskResourceUsage,
};
pub use task::{Artifact, Lifecycle, LogConfig, Resources, Task, Template};
pub use task_group::{EphemeralDisk, NetworkResource, Port, TaskGroup};
pub use variable::{RootKeyMeta, RootKeyRotateResponse, Variable, VariableLock};
