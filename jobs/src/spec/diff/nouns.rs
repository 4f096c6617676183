//! What of each noun is compared, in which order, and how its parts find each other.
//!
//! Source: the differences that the plan API of the original answers. Differs: parts marked
//! [`Part::Edit`] are missing there, so that a change of them goes unnoticed.

use Field::{Edited, Given, Joined, Keys, Map, Number, OrNil, Positive, Scalar, Time, Tree};
use Part::{Each, Edit, Entries, Free, One, Set};
use Same::{Best, Equal, Keyed, Place, Target};

/// A noun of the specification.
pub(super) struct Noun {
    /// What its differences are called.
    pub(super) name: &'static str,
    /// Its scalars.
    pub(super) fields: &'static [Field],
    /// Its blocks, in the order of the answer.
    pub(super) parts: &'static [Part],
    /// How the type of its difference is found.
    pub(super) by: By,
    /// Unchanged scalars are shown beside changed ones.
    pub(super) contextual: bool,
}

/// How the type of a difference is found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Only in the new version is added, only in the old one deleted.
    Presence,
    /// From the types of its scalars; none of them changed is no difference.
    Fields,
}

/// A scalar of a noun by its key in the API.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// As text, null is the empty text.
    Scalar(&'static str),
    /// A number, null is 0.
    Number(&'static str),
    /// Left out unless it is given.
    Given(&'static str),
    /// `nil` unless it is given.
    OrNil(&'static str),
    /// Compared only when both versions have the noun.
    Edited(&'static str),
    /// As [`Field::Edited`], a length of time for people.
    Time(&'static str),
    /// Left out unless it is more than nothing.
    Positive(&'static str),
    /// A list of texts, parted by commas; left out when empty.
    Joined(&'static str),
    /// A map of texts, each as `Key[entry]`.
    Map(&'static str),
    /// A map of texts, each as `entry`.
    Keys(&'static str),
    /// Everything below, each scalar with its path.
    Tree(&'static str),
}

/// Blocks of a noun; the key may be a path with dots.
pub(super) enum Part {
    /// At most one.
    One(&'static str, &'static Noun),
    /// A list.
    Each(&'static str, &'static Noun, Same),
    /// A map.
    Entries(&'static str, &'static Noun),
    /// A set of texts, which is called as its key; the unchanged one is shown beside changes.
    Set(&'static str),
    /// A set of texts that is shown only when it changed.
    ChangedSet(&'static str),
    /// Options of free form: key, name, and whether unchanged ones are shown too.
    Free(&'static str, &'static str, bool),
    /// Addresses by name.
    Addresses(&'static str),
    /// A part that is shown only where both versions have the noun.
    Edit(&'static Part),
}

/// Which entries of two lists belong together.
#[derive(Clone, Copy)]
pub(super) enum Same {
    /// Those that are equal: a change is a removal and an addition.
    Equal,
    /// Those with the same values under these keys, or equal ones where these are empty.
    Keyed(&'static [&'static str]),
    /// Those at the same place.
    Place,
    /// The only ones, or the first of those with the same destination.
    Target,
    /// The only ones, or those that have most of name, port and place in common.
    Best,
}

const fn noun(name: &'static str, fields: &'static [Field], parts: &'static [Part]) -> Noun {
    Noun {
        name,
        fields,
        parts,
        by: By::Presence,
        contextual: true,
    }
}

const fn plain(name: &'static str, fields: &'static [Field]) -> Noun {
    Noun {
        by: By::Fields,
        ..noun(name, fields, &[])
    }
}

const fn terse(noun: Noun) -> Noun {
    Noun {
        contextual: false,
        ..noun
    }
}

/// A job; its groups are compared apart.
pub(super) static JOB: Noun = terse(noun(
    "Job",
    &[
        Scalar("AllAtOnce"),
        Scalar("ConsulNamespace"),
        Scalar("DispatchIdempotencyToken"),
        Scalar("Dispatched"),
        Map("Meta"),
        Scalar("Name"),
        Scalar("Namespace"),
        Scalar("NodePool"),
        Scalar("ParentID"),
        Scalar("Priority"),
        Scalar("Region"),
        Scalar("Stop"),
        Scalar("Type"),
        Scalar("VaultNamespace"),
    ],
    &[
        Part::ChangedSet("Datacenters"),
        Each("Constraints", &CONSTRAINT, Equal),
        Each("Affinities", &AFFINITY, Equal),
        Edit(&Each("Spreads", &SPREAD, Equal)),
        One("Periodic", &PERIODIC),
        One("ParameterizedJob", &PARAMETERIZED),
        One("UI", &UI),
    ],
));

/// A group; its tasks are compared apart.
pub(super) static GROUP: Noun = terse(noun(
    "TaskGroup",
    &[
        Scalar("Count"),
        Edited("MaxRunDuration"),
        Map("Meta"),
        Scalar("PreventRescheduleOnLost"),
        Edited("ShutdownDelay"),
    ],
    &[
        Each("Constraints", &CONSTRAINT, Equal),
        Each("Affinities", &AFFINITY, Equal),
        Edit(&Each("Spreads", &SPREAD, Equal)),
        One("RestartPolicy", &RESTART),
        One("Migrate", &MIGRATE),
        One("ReschedulePolicy", &RESCHEDULE),
        One("EphemeralDisk", &EPHEMERAL_DISK),
        One("Consul", &CONSUL),
        One("Update", &UPDATE),
        One("Disconnect", &DISCONNECT),
        Each("Networks", &NETWORK, Equal),
        One("Scaling", &SCALING),
        Each("Services", &SERVICE, Best),
        Entries("Volumes", &VOLUME),
    ],
));

/// A task.
pub(super) static TASK: Noun = terse(noun(
    "Task",
    &[
        Scalar("Driver"),
        Map("Env"),
        Scalar("KillSignal"),
        Scalar("KillTimeout"),
        Scalar("Kind"),
        Scalar("Leader"),
        Map("Meta"),
        Scalar("ShutdownDelay"),
        Scalar("User"),
    ],
    &[
        Each("Constraints", &CONSTRAINT, Equal),
        Each("Affinities", &AFFINITY, Equal),
        Free("Config", "Config", true),
        One("Resources", &RESOURCES),
        Edit(&One("RestartPolicy", &RESTART)),
        Edit(&One("Lifecycle", &LIFECYCLE)),
        One("LogConfig", &LOG_CONFIG),
        One("DispatchPayload", &DISPATCH_PAYLOAD),
        Each("Artifacts", &ARTIFACT, Keyed(&["RelativeDest"])),
        Each("Services", &SERVICE, Best),
        One("Vault", &VAULT),
        Each("Secrets", &SECRET, Keyed(&["Name"])),
        One("Consul", &CONSUL),
        Each("Templates", &TEMPLATE, Target),
        One("Identity", &IDENTITY),
        Each("Identities", &IDENTITY, Keyed(&["Name"])),
        Each("Actions", &ACTION, Place),
        Each("VolumeMounts", &VOLUME_MOUNT, Place),
        One("Schedule.Cron", &SCHEDULE),
        Edit(&One("CSIPluginConfig", &CSI_PLUGIN)),
        Edit(&Each("ScalingPolicies", &SCALING, Place)),
    ],
));

static CONSTRAINT: Noun = plain(
    "Constraint",
    &[Scalar("LTarget"), Scalar("Operand"), Scalar("RTarget")],
);
static AFFINITY: Noun = plain(
    "Affinity",
    &[
        Scalar("LTarget"),
        Scalar("Operand"),
        Scalar("RTarget"),
        Scalar("Weight"),
    ],
);
static SPREAD: Noun = noun(
    "Spread",
    &[Scalar("Attribute"), Scalar("Weight")],
    &[Each("SpreadTarget", &SPREAD_TARGET, Keyed(&["Value"]))],
);
static SPREAD_TARGET: Noun = noun("SpreadTarget", &[Scalar("Percent"), Scalar("Value")], &[]);

static PERIODIC: Noun = noun(
    "Periodic",
    &[
        Scalar("Enabled"),
        Scalar("ProhibitOverlap"),
        Scalar("Spec"),
        Scalar("SpecType"),
        Scalar("TimeZone"),
    ],
    &[Part::ChangedSet("Specs")],
);
static PARAMETERIZED: Noun = noun(
    "ParameterizedJob",
    &[Scalar("Payload")],
    &[Set("MetaOptional"), Set("MetaRequired")],
);
static UI: Noun = noun(
    "UI",
    &[Scalar("Description")],
    &[Each("Links", &LINK, Place)],
);
static LINK: Noun = noun("Link", &[Scalar("Label"), Scalar("Url")], &[]);

static RESTART: Noun = plain(
    "RestartPolicy",
    &[
        Scalar("Attempts"),
        Scalar("Delay"),
        Scalar("Interval"),
        Scalar("Mode"),
        Scalar("RenderTemplates"),
    ],
);
static MIGRATE: Noun = plain(
    "Migrate",
    &[
        Scalar("HealthCheck"),
        Scalar("HealthyDeadline"),
        Scalar("MaxParallel"),
        Scalar("MinHealthyTime"),
    ],
);
static RESCHEDULE: Noun = plain(
    "ReschedulePolicy",
    &[
        Scalar("Attempts"),
        Scalar("Delay"),
        Scalar("DelayFunction"),
        Scalar("Interval"),
        Scalar("MaxDelay"),
        Scalar("Unlimited"),
    ],
);
static EPHEMERAL_DISK: Noun = plain(
    "EphemeralDisk",
    &[Scalar("Migrate"), Scalar("SizeMB"), Scalar("Sticky")],
);
static UPDATE: Noun = plain(
    "Update",
    &[
        Scalar("AutoPromote"),
        Scalar("AutoRevert"),
        Scalar("Canary"),
        Scalar("HealthCheck"),
        Scalar("HealthyDeadline"),
        Scalar("MaxParallel"),
        Scalar("MinHealthyTime"),
        Scalar("ProgressDeadline"),
        Tree("Analysis"),
        Tree("Traffic"),
    ],
);
static DISCONNECT: Noun = noun(
    "Disconnect",
    &[
        Scalar("LostAfter"),
        Scalar("Reconcile"),
        OrNil("Replace"),
        OrNil("StopOnClientAfter"),
    ],
    &[],
);
static CONSUL: Noun = plain(
    "Consul",
    &[Scalar("Cluster"), Scalar("Namespace"), Scalar("Partition")],
);
static SCALING: Noun = terse(noun(
    "Scaling",
    &[Scalar("Enabled"), Scalar("Max"), Scalar("Min")],
    &[Free("Policy", "Policy", false)],
));

static NETWORK: Noun = noun(
    "Network",
    &[Scalar("Hostname"), Scalar("Mode")],
    &[
        Each("ReservedPorts", &STATIC_PORT, Keyed(&["Label"])),
        Each("DynamicPorts", &DYNAMIC_PORT, Keyed(&["Label"])),
        One("DNS", &DNS),
        One("CNI", &CNI),
    ],
);
static STATIC_PORT: Noun = plain(
    "Static Port",
    &[
        Scalar("HostNetwork"),
        Scalar("IgnoreCollision"),
        Scalar("Label"),
        Scalar("To"),
        Scalar("Value"),
    ],
);
static DYNAMIC_PORT: Noun = plain(
    "Dynamic Port",
    &[Scalar("HostNetwork"), Scalar("Label"), Scalar("To")],
);
static DNS: Noun = noun(
    "DNS",
    &[Joined("Options"), Joined("Searches"), Joined("Servers")],
    &[],
);
static CNI: Noun = plain("CNIConfig", &[Keys("Args")]);

static SERVICE: Noun = noun(
    "Service",
    &[
        Scalar("Address"),
        Scalar("AddressMode"),
        Map("CanaryMeta"),
        Scalar("Cluster"),
        Scalar("EnableTagOverride"),
        Scalar("Kind"),
        Map("Meta"),
        Scalar("Name"),
        Scalar("Namespace"),
        Scalar("OnUpdate"),
        Scalar("PortLabel"),
        Scalar("Provider"),
        Map("TaggedAddresses"),
        Scalar("TaskName"),
    ],
    &[
        Set("CanaryTags"),
        Set("Tags"),
        Each("Checks", &CHECK, Keyed(&["Name"])),
        One("Connect", &CONNECT),
        One("Identity", &IDENTITY),
        One("Weights", &WEIGHTS),
    ],
);
static WEIGHTS: Noun = noun("Weights", &[Positive("Passing"), Positive("Warning")], &[]);
static CHECK: Noun = noun(
    "Check",
    &[
        Scalar("AddressMode"),
        Scalar("Body"),
        Scalar("Command"),
        Scalar("Expose"),
        Scalar("FailuresBeforeCritical"),
        Scalar("FailuresBeforeWarning"),
        Scalar("GRPCService"),
        Scalar("GRPCUseTLS"),
        Scalar("InitialStatus"),
        Scalar("Interval"),
        Scalar("Method"),
        Scalar("Name"),
        Scalar("Notes"),
        Scalar("OnUpdate"),
        Scalar("Path"),
        Scalar("PortLabel"),
        Scalar("Protocol"),
        Scalar("SuccessBeforePassing"),
        Scalar("TLSServerName"),
        Scalar("TLSSkipVerify"),
        Scalar("TaskName"),
        Scalar("Timeout"),
        Scalar("Type"),
    ],
    &[
        Edit(&Part::ChangedSet("Args")),
        Free("Header", "Header", true),
        One("CheckRestart", &CHECK_RESTART),
    ],
);
static CHECK_RESTART: Noun = noun(
    "CheckRestart",
    &[Scalar("Grace"), Scalar("IgnoreWarnings"), Scalar("Limit")],
    &[],
);
static IDENTITY: Noun = noun(
    "Identity",
    &[
        Scalar("ChangeMode"),
        Scalar("ChangeSignal"),
        Scalar("Env"),
        Scalar("File"),
        Scalar("Filepath"),
        Scalar("Name"),
        Scalar("ServiceName"),
        Scalar("TTL"),
    ],
    &[Set("Audience"), Edit(&Part::ChangedSet("ExtraClaims"))],
);

static VOLUME: Noun = noun(
    "Volume",
    &[
        Scalar("AccessMode"),
        Scalar("AttachmentMode"),
        Scalar("Name"),
        Scalar("PerAlloc"),
        Scalar("ReadOnly"),
        Scalar("Source"),
        Scalar("Sticky"),
        Scalar("Type"),
    ],
    &[One("MountOptions", &MOUNT_OPTIONS)],
);
static MOUNT_OPTIONS: Noun = noun("MountOptions", &[Scalar("FSType")], &[Set("MountFlags")]);
static VOLUME_MOUNT: Noun = noun(
    "VolumeMount",
    &[
        Scalar("Destination"),
        Scalar("PropagationMode"),
        Scalar("ReadOnly"),
        Scalar("SELinuxLabel"),
        Scalar("Volume"),
    ],
    &[],
);

static RESOURCES: Noun = noun(
    "Resources",
    &[
        Number("CPU"),
        Number("Cores"),
        Number("DiskMB"),
        Number("IOPS"),
        Number("MemoryMB"),
        Number("MemoryMaxMB"),
        Number("SecretsMB"),
    ],
    &[
        Each("Networks", &NETWORK, Equal),
        Each("Devices", &DEVICE, Keyed(&["Name"])),
        One("NUMA", &NUMA),
    ],
);
static DEVICE: Noun = noun(
    "Device",
    &[Scalar("Count"), Scalar("Name")],
    &[
        Edit(&Each("Constraints", &CONSTRAINT, Equal)),
        Edit(&Each("Affinities", &AFFINITY, Equal)),
    ],
);
static NUMA: Noun = noun(
    "NUMA",
    &[Scalar("Affinity")],
    &[Edit(&Part::ChangedSet("Devices"))],
);
static LOG_CONFIG: Noun = plain(
    "LogConfig",
    &[
        Scalar("Disabled"),
        Scalar("MaxFileSizeMB"),
        Scalar("MaxFiles"),
    ],
);
static LIFECYCLE: Noun = noun("Lifecycle", &[Scalar("Hook"), Scalar("Sidecar")], &[]);
static DISPATCH_PAYLOAD: Noun = plain("DispatchPayload", &[Scalar("File")]);
static ARTIFACT: Noun = plain(
    "Artifact",
    &[
        Scalar("Chown"),
        Map("GetterHeaders"),
        Scalar("GetterInsecure"),
        Scalar("GetterMode"),
        Map("GetterOptions"),
        Scalar("GetterSource"),
        Scalar("RelativeDest"),
    ],
);
static VAULT: Noun = noun(
    "Vault",
    &[
        Scalar("AllowTokenExpiration"),
        Scalar("ChangeMode"),
        Scalar("ChangeSignal"),
        Scalar("Cluster"),
        Scalar("DisableFile"),
        Scalar("Env"),
        Scalar("Namespace"),
        Scalar("Role"),
    ],
    &[],
);
static SECRET: Noun = noun(
    "Secret",
    &[
        Tree("Config"),
        Map("Env"),
        Scalar("Name"),
        Scalar("Path"),
        Scalar("Provider"),
    ],
    &[],
);
static TEMPLATE: Noun = noun(
    "Template",
    &[
        Scalar("ChangeMode"),
        Scalar("ChangeSignal"),
        Scalar("DestPath"),
        Scalar("EmbeddedTmpl"),
        Scalar("Envvars"),
        Scalar("ErrMissingKey"),
        Given("Gid"),
        Scalar("LeftDelim"),
        Scalar("Once"),
        Scalar("Perms"),
        Scalar("RightDelim"),
        Scalar("SourcePath"),
        Scalar("Splay"),
        Given("Uid"),
        Number("VaultGrace"),
    ],
    &[One("Wait", &WAIT), One("ChangeScript", &CHANGE_SCRIPT)],
);
/// The original calls it so too.
static WAIT: Noun = noun("Template", &[OrNil("Max"), OrNil("Min")], &[]);
static CHANGE_SCRIPT: Noun = noun(
    "ChangeScript",
    &[
        Scalar("Command"),
        Scalar("FailOnError"),
        Scalar("RunOnFirstRender"),
        Scalar("Timeout"),
    ],
    &[Set("Args")],
);
static ACTION: Noun = noun(
    "Action",
    &[Scalar("Command"), Scalar("Name")],
    &[Set("Args")],
);
static SCHEDULE: Noun = plain(
    "Schedule",
    &[Scalar("End"), Scalar("Start"), Scalar("Timezone")],
);
static CSI_PLUGIN: Noun = noun(
    "CSIPluginConfig",
    &[
        Scalar("HealthTimeout"),
        Scalar("ID"),
        Scalar("MountDir"),
        Scalar("StagePublishBaseDir"),
        Scalar("Type"),
    ],
    &[],
);

static CONNECT: Noun = noun(
    "ConsulConnect",
    &[Scalar("Native")],
    &[
        One("SidecarService", &SIDECAR_SERVICE),
        One("SidecarTask", &SIDECAR_TASK),
        One("Gateway", &GATEWAY),
    ],
);
static SIDECAR_SERVICE: Noun = noun(
    "SidecarService",
    &[
        Scalar("DisableDefaultTCPCheck"),
        Map("Meta"),
        Scalar("Port"),
    ],
    &[Edit(&Part::ChangedSet("Tags")), One("Proxy", &PROXY)],
);
static PROXY: Noun = noun(
    "ConsulProxy",
    &[Scalar("LocalServiceAddress"), Scalar("LocalServicePort")],
    &[
        Each(
            "Upstreams",
            &UPSTREAM,
            Keyed(&["Datacenter", "DestinationName"]),
        ),
        One("Expose", &EXPOSE),
        One("TransparentProxy", &TRANSPARENT_PROXY),
        Free("Config", "Config", true),
    ],
);
static UPSTREAM: Noun = noun(
    "ConsulUpstreams",
    &[
        Scalar("Datacenter"),
        Scalar("DestinationName"),
        Scalar("DestinationNamespace"),
        Scalar("DestinationPartition"),
        Scalar("DestinationPeer"),
        Scalar("DestinationType"),
        Scalar("LocalBindAddress"),
        Scalar("LocalBindPort"),
        Scalar("LocalBindSocketMode"),
        Scalar("LocalBindSocketPath"),
    ],
    &[
        One("MeshGateway", &MESH_GATEWAY),
        Edit(&Free("Config", "Config", true)),
    ],
);
static MESH_GATEWAY: Noun = plain("MeshGateway", &[Scalar("Mode")]);
static EXPOSE: Noun = noun("Expose", &[], &[Each("Paths", &EXPOSE_PATH, Equal)]);
static EXPOSE_PATH: Noun = plain(
    "Paths",
    &[
        Scalar("ListenerPort"),
        Scalar("LocalPathPort"),
        Scalar("Path"),
        Scalar("Protocol"),
    ],
);
static TRANSPARENT_PROXY: Noun = noun(
    "TransparentProxy",
    &[Scalar("NoDNS"), Scalar("OutboundPort"), Scalar("UID")],
    &[
        Part::ChangedSet("ExcludeInboundPorts"),
        Part::ChangedSet("ExcludeOutboundPorts"),
        Part::ChangedSet("ExcludeOutboundCIDRs"),
        Part::ChangedSet("ExcludeUIDs"),
    ],
);
static SIDECAR_TASK: Noun = terse(noun(
    "SidecarTask",
    &[
        Scalar("Driver"),
        Map("Env"),
        Edited("KillTimeout"),
        Scalar("KillSignal"),
        Map("Meta"),
        Scalar("Name"),
        Edited("ShutdownDelay"),
        Scalar("User"),
    ],
    &[
        Free("Config", "Config", true),
        One("Resources", &RESOURCES),
        Each("Identities", &IDENTITY, Keyed(&["Name"])),
        One("LogConfig", &LOG_CONFIG),
        Each("VolumeMounts", &VOLUME_MOUNT, Place),
    ],
));

static GATEWAY: Noun = noun(
    "Gateway",
    &[],
    &[
        One("Proxy", &GATEWAY_PROXY),
        One("Ingress", &INGRESS),
        One("Terminating", &TERMINATING),
        One("Mesh", &MESH),
    ],
);
static GATEWAY_PROXY: Noun = noun(
    "Proxy",
    &[
        Time("ConnectTimeout"),
        Scalar("EnvoyDNSDiscoveryType"),
        Scalar("EnvoyGatewayBindTaggedAddresses"),
        Scalar("EnvoyGatewayNoDefaultBind"),
    ],
    &[
        Part::Addresses("EnvoyGatewayBindAddresses"),
        Free("Config", "Config", true),
    ],
);
static INGRESS: Noun = noun(
    "Ingress",
    &[],
    &[
        One("TLS", &GATEWAY_TLS),
        Each("Listeners", &LISTENER, Keyed(&["Protocol", "Port"])),
    ],
);
static GATEWAY_TLS: Noun = noun(
    "TLS",
    &[
        Scalar("Enabled"),
        Scalar("TLSMaxVersion"),
        Scalar("TLSMinVersion"),
    ],
    &[Set("CipherSuites"), One("SDS", &SDS)],
);
static SDS: Noun = plain("SDS", &[Scalar("CertResource"), Scalar("ClusterName")]);
static LISTENER: Noun = noun(
    "Listener",
    &[Scalar("Port"), Scalar("Protocol")],
    &[Each("Services", &INGRESS_SERVICE, Keyed(&["Name"]))],
);
static INGRESS_SERVICE: Noun = noun(
    "ConsulIngressService",
    &[
        Given("MaxConcurrentRequests"),
        Given("MaxConnections"),
        Given("MaxPendingRequests"),
        Scalar("Name"),
    ],
    &[
        Set("Hosts"),
        One("TLS", &GATEWAY_TLS),
        One("RequestHeaders", &REQUEST_HEADERS),
        One("ResponseHeaders", &RESPONSE_HEADERS),
    ],
);
static REQUEST_HEADERS: Noun = noun(
    "RequestHeaders",
    &[Map("Add"), Map("Set")],
    &[Set("Remove")],
);
static RESPONSE_HEADERS: Noun = noun(
    "ResponseHeaders",
    &[Map("Add"), Map("Set")],
    &[Set("Remove")],
);
static TERMINATING: Noun = noun(
    "Terminating",
    &[],
    &[Each("Services", &LINKED_SERVICE, Keyed(&["Name"]))],
);
static LINKED_SERVICE: Noun = noun(
    "Service",
    &[
        Scalar("CAFile"),
        Scalar("CertFile"),
        Scalar("KeyFile"),
        Scalar("Name"),
        Scalar("SNI"),
    ],
    &[],
);
static MESH: Noun = noun("Mesh", &[], &[]);
