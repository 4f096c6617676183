//! The shapes of the objects of the API.

use super::shape::{
    Fixed::{Detail, DetailFlag, DetailNumber, DetailTime, False, Null, Same, Text, Zero, Zeros},
    Position::{Each, One, Values},
    Shape, keys_of,
};
use crate::model;
use serde_json::to_value;

/// Nothing but the keys of a posted type.
const fn posted<T: serde::Serialize + Default>() -> Shape {
    Shape {
        fixed: &[],
        children: &[],
        posted: Some(keys_of::<T>),
    }
}

/// The keys of a posted type, and the objects below them.
const fn parent<T: serde::Serialize + Default>(
    children: &'static [(&'static str, super::shape::Position, &'static Shape)],
) -> Shape {
    Shape {
        fixed: &[],
        children,
        posted: Some(keys_of::<T>),
    }
}

/// A job, read back or posted.
pub static JOB: Shape = Shape {
    fixed: &[
        ("ConsulNamespace", Text("")),
        ("DispatchIdempotencyToken", Text("")),
        ("Dispatched", False),
        ("Migrate", Null),
        ("Multiregion", Null),
        ("NomadTokenID", Text("")),
        ("ParameterizedJob", Null),
        ("Payload", Null),
        ("Periodic", Null),
        ("Reschedule", Null),
        ("Update", Same(|| to_value(model::UpdateStrategy::none()))),
        ("VaultNamespace", Text("")),
        ("VersionTag", Null),
    ],
    children: &[
        ("Constraints", Each, &CONSTRAINT),
        ("Affinities", Each, &AFFINITY),
        ("Spreads", Each, &SPREAD),
        ("Update", One, &UPDATE),
        ("Reschedule", One, &RESCHEDULE),
        ("Migrate", One, &MIGRATE),
        ("TaskGroups", Each, &TASK_GROUP),
        ("Periodic", One, &PERIODIC),
        ("ParameterizedJob", One, &PARAMETERIZED),
        ("Multiregion", One, &MULTIREGION),
        ("UI", One, &UI),
        ("VersionTag", One, &VERSION_TAG),
    ],
    posted: Some(keys_of::<super::Job>),
};

static TASK_GROUP: Shape = Shape {
    fixed: &[
        ("Consul", Null),
        ("Disconnect", Null),
        ("MaxClientDisconnect", Null),
        ("MaxRunDuration", Null),
        ("PreventRescheduleOnLost", False),
        ("Scaling", Null),
        ("StopAfterClientDisconnect", Null),
        ("Volumes", Null),
    ],
    children: &[
        ("Constraints", Each, &CONSTRAINT),
        ("Affinities", Each, &AFFINITY),
        ("Spreads", Each, &SPREAD),
        ("Update", One, &UPDATE),
        ("ReschedulePolicy", One, &RESCHEDULE),
        ("Migrate", One, &MIGRATE),
        ("RestartPolicy", One, &RESTART),
        ("EphemeralDisk", One, &EPHEMERAL_DISK),
        ("Networks", Each, &NETWORK),
        ("Services", Each, &SERVICE),
        ("Tasks", Each, &TASK),
        ("Volumes", Values, &VOLUME),
        ("Scaling", One, &SCALING),
        ("Disconnect", One, &DISCONNECT),
        ("Consul", One, &CONSUL),
    ],
    posted: Some(keys_of::<super::TaskGroup>),
};

static TASK: Shape = Shape {
    fixed: &[
        ("Actions", Null),
        ("CSIPluginConfig", Null),
        ("Consul", Null),
        ("DispatchPayload", Null),
        ("Identities", Null),
        (
            "Identity",
            Same(|| to_value(model::WorkloadIdentity::of_task())),
        ),
        ("Kind", Text("")),
        ("ScalingPolicies", Null),
        ("Schedule", Null),
        ("Secrets", Null),
        ("Vault", Null),
        ("VolumeMounts", Null),
    ],
    children: &[
        ("Constraints", Each, &CONSTRAINT),
        ("Affinities", Each, &AFFINITY),
        ("Lifecycle", One, &LIFECYCLE),
        ("Resources", One, &RESOURCES),
        ("RestartPolicy", One, &RESTART),
        ("Services", Each, &SERVICE),
        ("Artifacts", Each, &ARTIFACT),
        ("Templates", Each, &TEMPLATE),
        ("LogConfig", One, &LOG_CONFIG),
        ("Vault", One, &VAULT),
        ("Consul", One, &CONSUL),
        ("Secrets", Each, &SECRET),
        ("Identity", One, &IDENTITY),
        ("Identities", Each, &IDENTITY),
        ("Actions", Each, &ACTION),
        ("Schedule", One, &SCHEDULE),
        ("CSIPluginConfig", One, &CSI_PLUGIN),
        ("DispatchPayload", One, &DISPATCH_PAYLOAD),
        ("VolumeMounts", Each, &VOLUME_MOUNT),
        ("ScalingPolicies", Each, &SCALING),
    ],
    posted: Some(keys_of::<super::Task>),
};

static SERVICE: Shape = Shape {
    fixed: &[
        ("CheckRestart", Null),
        ("Cluster", Text("default")),
        ("Connect", Null),
        ("Identity", Null),
        ("Kind", Text("")),
        ("Namespace", Text("default")),
    ],
    children: &[
        ("Checks", Each, &CHECK),
        ("CheckRestart", One, &CHECK_RESTART),
        ("Weights", One, &WEIGHTS),
        ("Connect", One, &CONNECT),
        ("Identity", One, &IDENTITY),
    ],
    posted: Some(keys_of::<super::Service>),
};

static CHECK: Shape = Shape {
    fixed: &[
        ("Advertise", Text("")),
        ("CheckRestart", Null),
        ("Expose", False),
        ("GRPCService", Text("")),
        ("GRPCUseTLS", False),
        ("TLSServerName", Text("")),
    ],
    children: &[("CheckRestart", One, &CHECK_RESTART)],
    posted: Some(keys_of::<super::ServiceCheck>),
};

static RESTART: Shape = Shape {
    fixed: &[("RenderTemplates", False)],
    children: &[],
    posted: Some(keys_of::<super::RestartPolicy>),
};

/// What a task or an allocation was given, in the position of older clients.
static RESOURCES: Shape = Shape {
    fixed: &[
        ("Devices", Null),
        ("IOPS", Zero),
        ("NUMA", Null),
        ("SecretsMB", Zero),
    ],
    children: &[
        ("Networks", Each, &NETWORK),
        ("Devices", Each, &DEVICE),
        ("NUMA", One, &NUMA),
    ],
    posted: Some(keys_of::<super::Resources>),
};

static NETWORK: Shape = Shape {
    fixed: &[
        ("CIDR", Text("")),
        ("CNI", Null),
        ("DNS", Null),
        ("Device", Text("")),
        ("Hostname", Text("")),
        ("IP", Text("")),
        ("MBits", Null),
        ("Mode", Text("")),
        ("ReservedPorts", Null),
        ("DynamicPorts", Null),
    ],
    children: &[
        ("ReservedPorts", Each, &PORT),
        ("DynamicPorts", Each, &PORT),
        ("DNS", One, &DNS),
        ("CNI", One, &CNI),
    ],
    posted: Some(keys_of::<super::NetworkResource>),
};

static PORT: Shape = Shape {
    fixed: &[
        ("HostNetwork", Text("default")),
        ("IgnoreCollision", False),
        ("To", Zero),
        ("Value", Zero),
    ],
    children: &[],
    posted: Some(keys_of::<super::Port>),
};

static CONSTRAINT: Shape = posted::<model::Constraint>();
static AFFINITY: Shape = posted::<super::Affinity>();
static SPREAD: Shape = Shape {
    fixed: &[],
    children: &[("SpreadTarget", Each, &SPREAD_TARGET)],
    posted: Some(keys_of::<super::Spread>),
};
static SPREAD_TARGET: Shape = posted::<super::SpreadTarget>();
static UPDATE: Shape =
    parent::<super::UpdateStrategy>(&[("Analysis", One, &ANALYSIS), ("Traffic", One, &TRAFFIC)]);
static ANALYSIS: Shape = parent::<super::Analysis>(&[
    ("Hook", Each, &HOOK),
    ("Latency", Each, &LATENCY),
    ("Metric", Each, &METRIC_LIMIT),
    ("SuccessRate", One, &SUCCESS_RATE),
]);
static HOOK: Shape = posted::<super::Hook>();
static LATENCY: Shape = posted::<super::Latency>();
static METRIC_LIMIT: Shape = posted::<super::Metric>();
static SUCCESS_RATE: Shape = posted::<super::SuccessRate>();
static TRAFFIC: Shape = posted::<super::Traffic>();
static RESCHEDULE: Shape = posted::<super::ReschedulePolicy>();
static MIGRATE: Shape = posted::<super::MigrateStrategy>();
static EPHEMERAL_DISK: Shape = posted::<super::EphemeralDisk>();
static LIFECYCLE: Shape = posted::<super::Lifecycle>();
static ARTIFACT: Shape = posted::<super::Artifact>();
static TEMPLATE: Shape = Shape {
    fixed: &[("ChangeScript", Null), ("VaultGrace", Zero), ("Wait", Null)],
    children: &[("ChangeScript", One, &CHANGE_SCRIPT), ("Wait", One, &WAIT)],
    posted: Some(keys_of::<super::Template>),
};
static LOG_CONFIG: Shape = posted::<super::LogConfig>();
static CHECK_RESTART: Shape = posted::<super::CheckRestart>();
static WEIGHTS: Shape = posted::<super::Weights>();

static PERIODIC: Shape = posted::<model::Periodic>();
static PARAMETERIZED: Shape = posted::<model::Parameterized>();
static MULTIREGION: Shape = parent::<model::Multiregion>(&[
    ("Strategy", One, &posted::<model::MultiregionStrategy>()),
    ("Regions", Each, &posted::<model::MultiregionRegion>()),
]);
static UI: Shape = parent::<super::JobUi>(&[("Links", Each, &LINK)]);
static LINK: Shape = posted::<super::JobLink>();
static VERSION_TAG: Shape = posted::<model::VersionTag>();
static VOLUME: Shape =
    parent::<model::VolumeRequest>(&[("MountOptions", One, &posted::<model::MountOptions>())]);
static VOLUME_MOUNT: Shape = posted::<model::VolumeMount>();
static CSI_PLUGIN: Shape = posted::<model::CsiPlugin>();
static SCALING: Shape = posted::<model::ScalingPolicy>();
static DISCONNECT: Shape = posted::<model::Disconnect>();
static CONSUL: Shape = posted::<model::Consul>();
static VAULT: Shape = posted::<model::Vault>();
static SECRET: Shape = posted::<model::Secret>();
static IDENTITY: Shape = posted::<model::WorkloadIdentity>();
static ACTION: Shape = posted::<model::Action>();
static SCHEDULE: Shape =
    parent::<model::Schedule>(&[("Cron", One, &posted::<model::ScheduleCron>())]);
static DISPATCH_PAYLOAD: Shape = posted::<model::DispatchPayload>();
static DEVICE: Shape = parent::<model::RequestedDevice>(&[
    ("Constraints", Each, &CONSTRAINT),
    ("Affinities", Each, &posted::<model::DeviceAffinity>()),
]);
static NUMA: Shape = posted::<model::Numa>();
static DNS: Shape = posted::<model::Dns>();
static CNI: Shape = posted::<model::Cni>();
static CHANGE_SCRIPT: Shape = posted::<model::ChangeScript>();
static WAIT: Shape = posted::<model::Wait>();

static CONNECT: Shape = parent::<model::Connect>(&[
    ("Gateway", One, &GATEWAY),
    ("SidecarService", One, &SIDECAR_SERVICE),
    ("SidecarTask", One, &SIDECAR_TASK),
]);
static SIDECAR_SERVICE: Shape = parent::<model::SidecarService>(&[("Proxy", One, &PROXY)]);
static PROXY: Shape = parent::<model::Proxy>(&[
    ("Expose", One, &EXPOSE),
    ("ExposeConfig", One, &EXPOSE),
    ("Upstreams", Each, &UPSTREAM),
    (
        "TransparentProxy",
        One,
        &posted::<model::TransparentProxy>(),
    ),
]);
static EXPOSE: Shape =
    parent::<model::Expose>(&[("Paths", Each, &EXPOSE_PATH), ("Path", Each, &EXPOSE_PATH)]);
static EXPOSE_PATH: Shape = posted::<model::ExposePath>();
static UPSTREAM: Shape =
    parent::<model::Upstream>(&[("MeshGateway", One, &posted::<model::MeshGateway>())]);
static SIDECAR_TASK: Shape = parent::<model::SidecarTask>(&[
    ("Resources", One, &SIDECAR_RESOURCES),
    ("LogConfig", One, &posted::<model::SidecarLogs>()),
    ("VolumeMounts", Each, &VOLUME_MOUNT),
    ("Identities", Each, &IDENTITY),
]);
static SIDECAR_RESOURCES: Shape = parent::<model::SidecarResources>(&[
    ("Networks", Each, &NETWORK),
    ("Devices", Each, &DEVICE),
    ("NUMA", One, &NUMA),
]);
static GATEWAY: Shape = parent::<model::Gateway>(&[
    ("Proxy", One, &GATEWAY_PROXY),
    ("Ingress", One, &INGRESS),
    ("Terminating", One, &TERMINATING),
    ("Mesh", One, &posted::<model::MeshGatewayEntry>()),
]);
static GATEWAY_PROXY: Shape = parent::<model::GatewayProxy>(&[(
    "EnvoyGatewayBindAddresses",
    Values,
    &posted::<model::BindAddress>(),
)]);
static INGRESS: Shape =
    parent::<model::Ingress>(&[("TLS", One, &GATEWAY_TLS), ("Listeners", Each, &LISTENER)]);
static GATEWAY_TLS: Shape =
    parent::<model::GatewayTls>(&[("SDS", One, &posted::<model::GatewaySecrets>())]);
static LISTENER: Shape = parent::<model::IngressListener>(&[("Services", Each, &INGRESS_SERVICE)]);
static INGRESS_SERVICE: Shape = parent::<model::IngressService>(&[
    ("TLS", One, &GATEWAY_TLS),
    ("RequestHeaders", One, &HEADERS),
    ("ResponseHeaders", One, &HEADERS),
]);
static HEADERS: Shape = posted::<model::HeaderModifiers>();
static TERMINATING: Shape =
    parent::<model::Terminating>(&[("Services", Each, &posted::<model::LinkedService>())]);

/// Body of a registration.
pub static JOB_REGISTER_REQUEST: Shape = Shape {
    fixed: &[],
    children: &[("Job", One, &JOB)],
    posted: Some(keys_of::<super::JobRegisterRequest>),
};

/// Body of a preview.
pub static JOB_PLAN_REQUEST: Shape = Shape {
    fixed: &[],
    children: &[("Job", One, &JOB)],
    posted: Some(keys_of::<super::JobPlanRequest>),
};

/// Body of a validation.
pub static JOB_VALIDATE_REQUEST: Shape = Shape {
    fixed: &[],
    children: &[("Job", One, &JOB)],
    posted: Some(keys_of::<super::JobValidateRequest>),
};

/// All versions of a job.
pub static JOB_VERSIONS: Shape = Shape {
    fixed: &[("NextToken", Text(""))],
    children: &[("Versions", Each, &JOB), ("Diffs", Each, &JOB_DIFF)],
    posted: None,
};

/// What differs between two versions of a job; lists without entries are null.
static JOB_DIFF: Shape = parent::<super::JobDiff>(&[
    ("Fields", Each, &FIELD_DIFF),
    ("Objects", Each, &OBJECT_DIFF),
    ("TaskGroups", Each, &GROUP_DIFF),
]);
static GROUP_DIFF: Shape = parent::<super::TaskGroupDiff>(&[
    ("Fields", Each, &FIELD_DIFF),
    ("Objects", Each, &OBJECT_DIFF),
    ("Tasks", Each, &TASK_DIFF),
]);
static TASK_DIFF: Shape = parent::<super::TaskDiff>(&[
    ("Fields", Each, &FIELD_DIFF),
    ("Objects", Each, &OBJECT_DIFF),
]);
static OBJECT_DIFF: Shape = parent::<super::ObjectDiff>(&[
    ("Fields", Each, &FIELD_DIFF),
    ("Objects", Each, &OBJECT_DIFF),
]);
static FIELD_DIFF: Shape = posted::<super::FieldDiff>();

/// A job in a list.
pub static JOB_STUB: Shape = Shape {
    fixed: &[("Multiregion", Null)],
    children: &[("JobSummary", One, &JOB_SUMMARY)],
    posted: None,
};

/// Counts of a job.
pub static JOB_SUMMARY: Shape = Shape {
    fixed: &[("Children", Zeros(&["Dead", "Pending", "Running"]))],
    children: &[],
    posted: None,
};

/// An allocation.
pub static ALLOCATION: Shape = Shape {
    fixed: &[
        ("AllocStates", Null),
        ("DeploymentID", Text("")),
        ("DeploymentStatus", Null),
        ("DesiredDescription", Text("")),
        ("FollowupEvalID", Text("")),
        ("NetworkStatus", Null),
        ("NextAllocation", Text("")),
        ("PreemptedAllocations", Null),
        ("PreemptedByAllocation", Text("")),
        ("PreviousAllocation", Text("")),
        ("RescheduleTracker", Null),
        ("Services", Null),
    ],
    children: &[
        ("AllocatedResources", One, &ALLOCATED),
        ("DesiredTransition", One, &TRANSITION),
        ("Job", One, &JOB),
        ("Metrics", One, &METRIC),
        ("Resources", One, &RESOURCES),
        ("SharedResources", One, &RESOURCES),
        ("TaskResources", Values, &RESOURCES),
        ("TaskStates", Values, &TASK_STATE),
    ],
    posted: None,
};

/// An allocation in a list.
pub static ALLOCATION_STUB: Shape = Shape {
    fixed: &[],
    children: &[
        ("AllocatedResources", One, &ALLOCATED),
        ("DesiredTransition", One, &TRANSITION),
        ("TaskStates", Values, &TASK_STATE),
    ],
    posted: None,
};

static TRANSITION: Shape = Shape {
    fixed: &[
        ("ForceReschedule", Null),
        ("Migrate", Null),
        ("MigrateDisablePlacement", Null),
        ("NoShutdownDelay", Null),
        ("Reschedule", Null),
    ],
    children: &[],
    posted: None,
};

static ALLOCATED: Shape = Shape {
    fixed: &[("TaskLifecycles", Null)],
    children: &[
        ("Tasks", Values, &ALLOCATED_TASK),
        ("Shared", One, &ALLOCATED_SHARED),
    ],
    posted: None,
};

static ALLOCATED_TASK: Shape = Shape {
    fixed: &[("Devices", Null)],
    children: &[("Cpu", One, &ALLOCATED_CPU), ("Networks", Each, &NETWORK)],
    posted: None,
};

static ALLOCATED_CPU: Shape = Shape {
    fixed: &[("ReservedCores", Null)],
    children: &[],
    posted: None,
};

static ALLOCATED_SHARED: Shape = Shape {
    fixed: &[],
    children: &[
        ("Networks", Each, &NETWORK),
        ("Ports", Each, &ALLOCATED_PORT),
    ],
    posted: None,
};

static ALLOCATED_PORT: Shape = Shape {
    fixed: &[("IgnoreCollision", False)],
    children: &[],
    posted: None,
};

static METRIC: Shape = Shape {
    fixed: &[
        ("QuotaExhausted", Null),
        ("ResourcesExhausted", Null),
        ("Scores", Null),
    ],
    children: &[],
    posted: None,
};

static TASK_STATE: Shape = Shape {
    fixed: &[("Paused", Text(""))],
    children: &[("Events", Each, &TASK_EVENT)],
    posted: None,
};

/// Older clients read what happened from fields of its own, not from the details.
static TASK_EVENT: Shape = Shape {
    fixed: &[
        ("DiskLimit", Zero),
        ("DiskSize", Zero),
        ("DownloadError", Detail("download_error")),
        ("DriverError", Detail("driver_error")),
        ("DriverMessage", Detail("driver_message")),
        ("ExitCode", DetailNumber("exit_code")),
        ("FailedSibling", Detail("failed_sibling")),
        ("FailsTask", DetailFlag("fails_task")),
        ("GenericSource", Text("")),
        ("KillError", Detail("kill_error")),
        ("KillReason", Detail("kill_reason")),
        ("KillTimeout", DetailTime("kill_timeout")),
        ("Message", Detail("message")),
        ("RestartReason", Detail("restart_reason")),
        ("SetupError", Detail("setup_error")),
        ("Signal", DetailNumber("signal")),
        ("StartDelay", DetailNumber("start_delay")),
        ("TaskSignal", Detail("task_signal")),
        ("TaskSignalReason", Detail("task_signal_reason")),
        ("ValidationError", Detail("validation_error")),
        ("VaultError", Text("")),
    ],
    children: &[],
    posted: None,
};

/// An evaluation, with every key that may be left out when it is empty.
pub static EVALUATION: Shape = Shape {
    fixed: &[],
    children: &[("FailedTGAllocs", Values, &METRIC)],
    posted: None,
};

/// Answer to a preview.
pub static JOB_PLAN: Shape = Shape {
    fixed: &[],
    children: &[
        ("CreatedEvals", Each, &EVALUATION),
        ("Diff", One, &JOB_DIFF),
        ("FailedTGAllocs", Values, &METRIC),
    ],
    posted: Some(keys_of::<super::JobPlanResponse>),
};

/// A node.
pub static NODE: Shape = Shape {
    fixed: &[
        ("IdentitySigningKeyID", Text("")),
        ("LastAllocUpdateIndex", Zero),
        ("LastMissedHeartbeatIndex", Zero),
    ],
    children: &[
        ("NodeResources", One, &NODE_RESOURCES),
        ("ReservedResources", One, &RESERVED_RESOURCES),
    ],
    posted: None,
};

/// A node in a list.
pub static NODE_STUB: Shape = Shape {
    fixed: &[],
    children: &[
        ("NodeResources", One, &NODE_RESOURCES),
        ("ReservedResources", One, &RESERVED_RESOURCES),
    ],
    posted: None,
};

static NODE_RESOURCES: Shape = Shape {
    fixed: &[
        ("Devices", Null),
        ("NodeNetworks", Null),
        ("Processors", Null),
    ],
    children: &[("Networks", Each, &NETWORK)],
    posted: None,
};

static RESERVED_RESOURCES: Shape = Shape {
    fixed: &[],
    children: &[("Cpu", One, &RESERVED_CPU)],
    posted: None,
};

static RESERVED_CPU: Shape = Shape {
    fixed: &[("ReservedCpuCores", Null)],
    children: &[],
    posted: None,
};
