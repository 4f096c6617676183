use super::id::or_none;
use super::{
    AllocId, AllocMetric, AllocName, DeploymentId, Dns, EvalId, FlatMap, GroupName, HostPort,
    Index, Job, JobId, JobKey, Namespace, NetworkResource, NodeId, NodeName, Resources, Span,
    TaskGroup, TaskName, TaskState, Text, Timestamp, is_default,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thin_vec::ThinVec;

/// What the servers want of an allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredStatus {
    /// Keep it running.
    #[default]
    Run,
    /// Stop it.
    Stop,
    /// Stop it to make room.
    Evict,
}

impl DesiredStatus {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Stop => "stop",
            Self::Evict => "evict",
        }
    }
}

/// What the client reports of an allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientStatus {
    /// Not started yet.
    #[default]
    Pending,
    /// At least one task runs.
    Running,
    /// Every task ended well.
    Complete,
    /// A task failed for good.
    Failed,
    /// Its node is gone.
    Lost,
    /// Its node does not answer.
    Unknown,
}

impl ClientStatus {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }

    /// True when it will not change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Lost)
    }
}

/// One attempt to place and run a task group on a node.
///
/// Invariants:
/// 1. `desired_status` is written by servers only, `client_status` and `task_states` by the node
///    only (servers write `lost` when the node is gone).
/// 2. A terminal `client_status` never becomes non-terminal again.
///
/// Source: allocations API, "Read Allocation". Differs: `Job`, `Resources` and `TaskResources` are
/// added by `wire` when one allocation is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Allocation {
    /// UUID, chosen by the scheduler's seeded generator.
    #[serde(rename = "ID")]
    pub id: AllocId,
    /// Namespace of the job.
    pub namespace: Namespace,
    /// Evaluation that placed it.
    #[serde(rename = "EvalID")]
    pub eval_id: EvalId,
    /// `job.group[index]`.
    pub name: AllocName,
    /// Node that runs it.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// Name of that node.
    pub node_name: NodeName,
    /// Job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// Group.
    pub task_group: GroupName,
    /// The version of the job it was placed with. Not serialized with the row: snapshots keep one
    /// copy per version, wire types add it.
    #[serde(skip)]
    pub job: Arc<Job>,
    /// Version of that job.
    pub job_version: u64,
    /// Resources and ports.
    pub allocated_resources: AllocatedResources,
    /// How the scheduler decided.
    pub metrics: Arc<AllocMetric>,
    /// What the servers want.
    pub desired_status: DesiredStatus,
    /// Why.
    #[serde(skip_serializing_if = "is_default")]
    pub desired_description: Text,
    /// Desired transition for the next evaluation.
    pub desired_transition: DesiredTransition,
    /// What the client reports.
    pub client_status: ClientStatus,
    /// Why.
    #[serde(skip_serializing_if = "is_default")]
    pub client_description: Text,
    /// Task name to its state.
    pub task_states: FlatMap<TaskName, TaskState>,
    /// Deployment that placed or adopted it.
    #[serde(
        rename = "DeploymentID",
        deserialize_with = "or_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub deployment_id: Option<DeploymentId>,
    /// Health within that deployment.
    #[serde(skip_serializing_if = "is_default")]
    pub deployment_status: Option<Box<AllocDeploymentStatus>>,
    /// Evaluation that will replace it later.
    #[serde(
        rename = "FollowupEvalID",
        deserialize_with = "or_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub followup_eval_id: Option<EvalId>,
    /// The one it replaces.
    #[serde(deserialize_with = "or_none", skip_serializing_if = "Option::is_none")]
    pub previous_allocation: Option<AllocId>,
    /// The one that replaces it.
    #[serde(deserialize_with = "or_none", skip_serializing_if = "Option::is_none")]
    pub next_allocation: Option<AllocId>,
    /// Those that were evicted to make room for it; it starts when they are over.
    #[serde(skip_serializing_if = "ThinVec::is_empty")]
    pub preempted_allocations: ThinVec<AllocId>,
    /// The one that it made room for.
    #[serde(deserialize_with = "or_none", skip_serializing_if = "Option::is_none")]
    pub preempted_by_allocation: Option<AllocId>,
    /// Earlier replacements.
    #[serde(skip_serializing_if = "is_default")]
    pub reschedule_tracker: Option<Box<RescheduleTracker>>,
    /// Address of the task's network.
    #[serde(skip_serializing_if = "is_default")]
    pub network_status: Option<Box<NetworkStatus>>,
    /// Index of its creation.
    pub create_index: Index,
    /// Index of its last change.
    pub modify_index: Index,
    /// Index of its last change by a server.
    pub alloc_modify_index: Index,
    /// Nanoseconds since the epoch.
    pub create_time: Timestamp,
    /// Nanoseconds since the epoch.
    pub modify_time: Timestamp,
}

impl Allocation {
    /// The key of its job.
    pub fn job_key(&self) -> JobKey {
        JobKey::new(self.namespace.clone(), self.job_id.clone())
    }

    /// Its group in the version it was placed with.
    pub fn group(&self) -> Option<&TaskGroup> {
        self.job.task_group(&self.task_group)
    }

    /// The number in its name.
    pub fn name_index(&self) -> Option<u32> {
        let open = self.name.rfind('[')?;
        self.name.get(open + 1..)?.strip_suffix(']')?.parse().ok()
    }

    /// True when the servers want it gone.
    pub fn server_terminal(&self) -> bool {
        self.desired_status != DesiredStatus::Run
    }

    /// True when the client will not run it any more.
    pub fn client_terminal(&self) -> bool {
        self.client_status.is_terminal()
    }

    /// True when it is terminal for either side.
    pub fn is_terminal(&self) -> bool {
        self.server_terminal() || self.client_terminal()
    }

    /// True while it is a canary of its deployment that was not promoted.
    pub fn is_canary(&self) -> bool {
        self.deployment_status
            .as_ref()
            .is_some_and(|status| status.canary)
    }

    /// The share of requests that it gets as a canary, in millionths; none when it takes its turn
    /// with everybody else.
    pub fn traffic_share(&self) -> Option<u32> {
        let status = self.deployment_status.as_ref();
        status.filter(|status| status.canary)?.share
    }

    /// Its health in its deployment; none while undecided.
    pub fn healthy(&self) -> Option<bool> {
        self.deployment_status
            .as_ref()
            .and_then(|status| status.healthy)
    }

    /// Keeps its names in the memory in which the job has them.
    pub fn share_names(&mut self) {
        let job = Arc::clone(&self.job);
        self.namespace.share(&job.namespace);
        self.job_id.share(&job.id);
        let Some(group) = job.task_group(&self.task_group) else {
            return;
        };
        self.task_group.share(&group.name);
        for task in &group.tasks {
            self.task_states.share_key(&task.name);
            self.allocated_resources.tasks.share_key(&task.name);
        }
    }

    /// When its last task ended, or its last change while none did.
    pub fn failed_at(&self) -> Timestamp {
        self.task_states
            .values()
            .map(|state| state.finished_at)
            .max()
            .filter(|finished| !finished.is_zero())
            .unwrap_or(self.modify_time)
    }

    /// True when every task ended well (batch).
    pub fn ran_successfully(&self) -> bool {
        !self.task_states.is_empty() && self.task_states.values().all(TaskState::is_successful)
    }
}

/// The desired transition of an allocation: what the next evaluation is to do with it. Writer:
/// servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DesiredTransition {
    /// Stop it and place another.
    #[serde(skip_serializing_if = "is_default")]
    pub migrate: Option<bool>,
    /// It may be replaced although its deployment is active.
    #[serde(skip_serializing_if = "is_default")]
    pub reschedule: Option<bool>,
    /// Replace it whatever its policy says.
    #[serde(skip_serializing_if = "is_default")]
    pub force_reschedule: Option<bool>,
    /// Skip `shutdown_delay`.
    #[serde(skip_serializing_if = "is_default")]
    pub no_shutdown_delay: Option<bool>,
}

/// Health of an allocation within its deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocDeploymentStatus {
    /// None while undecided. Writer: the client, or an operator.
    pub healthy: Option<bool>,
    /// When that was decided.
    #[serde(with = "super::rfc3339")]
    pub timestamp: Timestamp,
    /// Placed as a canary and not promoted. Writer: scheduler and promotion.
    pub canary: bool,
    /// The share of requests that it gets as a canary, in millionths; none when it takes its turn
    /// with everybody else. Writer: scheduler and rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<u32>,
    /// Index of the last change.
    pub modify_index: Index,
}

/// Earlier replacements of an allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RescheduleTracker {
    /// Oldest first.
    pub events: Vec<RescheduleEvent>,
}

/// One replacement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RescheduleEvent {
    /// Nanoseconds since the epoch.
    pub reschedule_time: Timestamp,
    /// The one replaced.
    #[serde(rename = "PrevAllocID")]
    pub prev_alloc_id: AllocId,
    /// Its node.
    #[serde(rename = "PrevNodeID")]
    pub prev_node_id: NodeId,
    /// Pause before it.
    pub delay: Span,
}

/// Address of an allocation's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkStatus {
    /// Interface.
    pub interface_name: String,
    /// Address.
    pub address: String,
    /// Its address of IPv6 beside that; empty for none.
    #[serde(rename = "AddressIPv6")]
    pub address_ipv6: String,
    /// How names are resolved inside, when whoever made the network says so.
    #[serde(rename = "DNS")]
    pub dns: Option<Box<Dns>>,
}

/// What an allocation was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedResources {
    /// Task name to its part.
    pub tasks: FlatMap<TaskName, AllocatedTask>,
    /// What the tasks share.
    pub shared: AllocatedShared,
}

impl AllocatedResources {
    /// CPU in MHz, memory in MB and disk in MB of all tasks together.
    pub fn total(&self) -> Resources {
        let mut total = Resources {
            cpu: 0,
            memory_mb: 0,
            ..Resources::default()
        };
        for task in self.tasks.values() {
            total.cpu += task.cpu.cpu_shares;
            total.memory_mb += task.memory.memory_mb;
            total.memory_max_mb += task.memory.memory_max_mb.max(task.memory.memory_mb);
        }
        total.disk_mb = self.shared.disk_mb;
        total.networks = self.shared.networks.to_vec();
        total
    }

    /// Leaves each task the memory that is reserved for it, and no more.
    pub(crate) fn forget_memory_max(&mut self) {
        for task in self.tasks.values_mut() {
            task.memory.memory_max_mb = 0;
        }
    }

    /// Every port with its label and the address that it is on: shared ones and those of tasks.
    pub fn host_ports(&self) -> impl Iterator<Item = (&str, HostPort)> {
        let network = self.shared.networks.first();
        let shared = self.shared.ports.iter().map(move |port| {
            let usual = network.map_or(port.host_ip.as_str(), |network| &network.ip);
            let at = HostPort::new(&port.host_ip, usual, port.value);
            (port.label.as_str(), at)
        });
        let of_tasks = self.ports_of_tasks();
        shared.chain(of_tasks.map(|(label, port)| (label, HostPort::new("", "", port))))
    }

    /// Every port with its label: shared ones and those of tasks.
    pub fn ports(&self) -> impl Iterator<Item = (&str, u16)> {
        let shared = self
            .shared
            .ports
            .iter()
            .map(|port| (port.label.as_str(), port.value));
        shared.chain(self.ports_of_tasks())
    }

    fn ports_of_tasks(&self) -> impl Iterator<Item = (&str, u16)> {
        self.tasks
            .values()
            .flat_map(|task| &task.networks)
            .flat_map(|network| {
                network
                    .reserved_ports
                    .iter()
                    .chain(&network.dynamic_ports)
                    .map(|p| (p.label.as_str(), p.value))
            })
    }
}

/// The part of one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedTask {
    /// CPU.
    pub cpu: AllocatedCpu,
    /// Memory.
    pub memory: AllocatedMemory,
    /// Networks in the old position, below the task.
    #[serde(skip_serializing_if = "is_default")]
    pub networks: ThinVec<NetworkResource>,
}

impl AllocatedTask {
    /// The port of that label among the task's own.
    pub fn port(&self, label: &str) -> Option<u16> {
        let networks = self.networks.iter();
        let mut ports = networks.flat_map(|network| {
            let reserved = network.reserved_ports.iter();
            reserved.chain(&network.dynamic_ports)
        });
        let found = ports.find(|port| port.label == label)?;
        Some(found.value)
    }
}

/// CPU of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedCpu {
    /// MHz.
    pub cpu_shares: i64,
}

/// Memory of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedMemory {
    /// MB.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: i64,
    /// MB; 0 is `memory_mb`.
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: i64,
}

/// What the tasks of an allocation share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedShared {
    /// MB.
    #[serde(rename = "DiskMB")]
    pub disk_mb: i64,
    /// The group's network with its ports filled in.
    pub networks: ThinVec<NetworkResource>,
    /// Every port of the group.
    pub ports: ThinVec<AllocatedPort>,
}

/// A port that an allocation was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedPort {
    /// Name.
    pub label: String,
    /// Number on the host.
    pub value: u16,
    /// Number inside the task's network; 0 is the same.
    #[serde(skip_serializing_if = "is_default")]
    pub to: i32,
    /// Address on the host.
    #[serde(rename = "HostIP")]
    pub host_ip: String,
}
