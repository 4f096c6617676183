//! Which attributes and blocks a job file may hold, and which JSON keys they become.

use serde_json::{Map, Value, json};

/// What may stand in the body of a block.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) attributes: &'static [Attribute],
    pub(super) blocks: &'static [BlockType],
    /// Attributes and blocks of the language that this version does not build.
    pub(super) refused: &'static [&'static str],
    /// Brings the decoded object into the shape of the API.
    pub(super) finish: fn(&mut Map<String, Value>),
}

/// One attribute.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// What an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Whole,
    Flag,
    /// Text such as `30s`; a bare number is nanoseconds.
    Duration,
    TextList,
}

/// One type of nested block.
#[derive(Debug)]
pub(super) struct BlockType {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    /// The JSON key of the label; none for blocks without one.
    pub(super) label: Option<&'static str>,
    pub(super) many: bool,
    pub(super) content: Content,
}

/// What a nested block holds.
#[derive(Debug)]
pub(super) enum Content {
    /// What a schema says.
    Schema(&'static Schema),
    /// Any names with text values; `true` when the attribute form `meta = {…}` is good too.
    Texts(bool),
    /// Any names with lists of texts.
    TextLists,
    /// Anything: drivers check it later.
    Free,
    /// Anything, in the keys of the API.
    Known,
}

fn keep(_: &mut Map<String, Value>) {}

const fn attr(name: &'static str, key: &'static str, kind: Kind) -> Attribute {
    Attribute {
        name,
        key,
        kind,
        required: false,
    }
}

const fn text(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::Text)
}

const fn whole(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::Whole)
}

const fn flag(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::Flag)
}

const fn duration(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::Duration)
}

const fn texts(name: &'static str, key: &'static str) -> Attribute {
    attr(name, key, Kind::TextList)
}

const fn required(attribute: Attribute) -> Attribute {
    Attribute {
        required: true,
        ..attribute
    }
}

const fn one(name: &'static str, key: &'static str, schema: &'static Schema) -> BlockType {
    BlockType {
        name,
        key,
        label: None,
        many: false,
        content: Content::Schema(schema),
    }
}

const fn many(name: &'static str, key: &'static str, schema: &'static Schema) -> BlockType {
    BlockType {
        many: true,
        ..one(name, key, schema)
    }
}

const fn labeled(
    name: &'static str,
    key: &'static str,
    label: &'static str,
    schema: &'static Schema,
) -> BlockType {
    BlockType {
        label: Some(label),
        ..many(name, key, schema)
    }
}

const fn opaque(name: &'static str, key: &'static str, content: Content) -> BlockType {
    BlockType {
        name,
        key,
        label: None,
        many: false,
        content,
    }
}

const META: BlockType = opaque("meta", "Meta", Content::Texts(true));
const CONSTRAINTS: BlockType = many("constraint", "Constraints", &CONSTRAINT);
const AFFINITIES: BlockType = many("affinity", "Affinities", &AFFINITY);
const SPREADS: BlockType = many("spread", "Spreads", &SPREAD);

/// The body of a `job` block.
pub(super) static JOB: Schema = Schema {
    attributes: &[
        text("id", "ID"),
        text("name", "Name"),
        text("region", "Region"),
        text("namespace", "Namespace"),
        text("type", "Type"),
        whole("priority", "Priority"),
        texts("datacenters", "Datacenters"),
        text("node_pool", "NodePool"),
        flag("all_at_once", "AllAtOnce"),
    ],
    blocks: &[
        labeled("group", "TaskGroups", "Name", &GROUP),
        labeled("task", "Tasks", "Name", &TASK),
        CONSTRAINTS,
        AFFINITIES,
        SPREADS,
        one("update", "Update", &UPDATE),
        one("reschedule", "Reschedule", &RESCHEDULE),
        one("migrate", "Migrate", &MIGRATE),
        META,
        one("ui", "UI", &UI),
    ],
    refused: &[
        "periodic",
        "parameterized",
        "multiregion",
        "vault",
        "consul",
        "secret",
    ],
    finish: finish_job,
};

/// Tasks directly below the job become groups of their own, before the declared ones.
fn finish_job(job: &mut Map<String, Value>) {
    let Some(Value::Array(tasks)) = job.remove("Tasks") else {
        return;
    };
    let mut groups: Vec<Value> = tasks
        .into_iter()
        .map(|task| {
            let name = task.get("Name").cloned().unwrap_or_default();
            json!({ "Name": name, "Count": 1, "Tasks": [task] })
        })
        .collect();
    if let Some(Value::Array(declared)) = job.remove("TaskGroups") {
        groups.extend(declared);
    }
    job.insert("TaskGroups".into(), Value::Array(groups));
}

static UI: Schema = Schema {
    attributes: &[text("description", "Description")],
    blocks: &[many("link", "Links", &LINK)],
    refused: &[],
    finish: keep,
};

static LINK: Schema = Schema {
    attributes: &[text("label", "Label"), text("url", "Url")],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static GROUP: Schema = Schema {
    attributes: &[
        whole("count", "Count"),
        duration("shutdown_delay", "ShutdownDelay"),
    ],
    blocks: &[
        labeled("task", "Tasks", "Name", &TASK),
        many("network", "Networks", &NETWORK),
        many("service", "Services", &SERVICE),
        CONSTRAINTS,
        AFFINITIES,
        SPREADS,
        one("restart", "RestartPolicy", &RESTART),
        one("reschedule", "ReschedulePolicy", &RESCHEDULE),
        one("update", "Update", &UPDATE),
        one("migrate", "Migrate", &MIGRATE),
        one("ephemeral_disk", "EphemeralDisk", &EPHEMERAL_DISK),
        META,
    ],
    refused: &[
        "volume",
        "scaling",
        "disconnect",
        "consul",
        "vault",
        "secret",
        "max_run_duration",
        "stop_after_client_disconnect",
        "max_client_disconnect",
        "prevent_reschedule_on_lost",
    ],
    finish: keep,
};

static TASK: Schema = Schema {
    attributes: &[
        text("driver", "Driver"),
        text("user", "User"),
        flag("leader", "Leader"),
        duration("kill_timeout", "KillTimeout"),
        text("kill_signal", "KillSignal"),
        duration("shutdown_delay", "ShutdownDelay"),
    ],
    blocks: &[
        opaque("config", "Config", Content::Free),
        opaque("env", "Env", Content::Texts(true)),
        META,
        many("service", "Services", &SERVICE),
        one("resources", "Resources", &RESOURCES),
        one("restart", "RestartPolicy", &RESTART),
        one("logs", "LogConfig", &LOGS),
        one("lifecycle", "Lifecycle", &LIFECYCLE),
        many("artifact", "Artifacts", &ARTIFACT),
        many("template", "Templates", &TEMPLATE),
        CONSTRAINTS,
        AFFINITIES,
        BlockType {
            many: true,
            ..opaque("identity", "Identities", Content::Known)
        },
    ],
    refused: &[
        "volume_mount",
        "vault",
        "consul",
        "secret",
        "action",
        "schedule",
        "csi_plugin",
        "dispatch_payload",
        "scaling",
        "kind",
    ],
    finish: keep,
};

static NETWORK: Schema = Schema {
    attributes: &[text("mode", "Mode"), whole("mbits", "MBits")],
    blocks: &[labeled("port", "Ports", "Label", &PORT)],
    refused: &["hostname", "dns", "cni"],
    finish: finish_network,
};

/// Ports with a number are reserved, the others are chosen by the scheduler.
fn finish_network(network: &mut Map<String, Value>) {
    let Some(Value::Array(ports)) = network.remove("Ports") else {
        return;
    };
    let (reserved, dynamic): (Vec<Value>, Vec<Value>) = ports
        .into_iter()
        .partition(|port| port.get("Value").and_then(Value::as_i64).unwrap_or(0) != 0);
    if !reserved.is_empty() {
        network.insert("ReservedPorts".into(), Value::Array(reserved));
    }
    if !dynamic.is_empty() {
        network.insert("DynamicPorts".into(), Value::Array(dynamic));
    }
}

static PORT: Schema = Schema {
    attributes: &[
        whole("static", "Value"),
        whole("to", "To"),
        text("host_network", "HostNetwork"),
    ],
    blocks: &[],
    refused: &["ignore_collision"],
    finish: keep,
};

static SERVICE: Schema = Schema {
    attributes: &[
        text("name", "Name"),
        text("provider", "Provider"),
        text("port", "PortLabel"),
        text("address", "Address"),
        text("address_mode", "AddressMode"),
        texts("tags", "Tags"),
        texts("canary_tags", "CanaryTags"),
        flag("enable_tag_override", "EnableTagOverride"),
        text("on_update", "OnUpdate"),
        text("task", "TaskName"),
    ],
    blocks: &[
        many("check", "Checks", &CHECK),
        one("check_restart", "CheckRestart", &CHECK_RESTART),
        opaque("meta", "Meta", Content::Texts(false)),
        opaque("canary_meta", "CanaryMeta", Content::Texts(false)),
        opaque("tagged_addresses", "TaggedAddresses", Content::Texts(false)),
        one("weights", "Weights", &WEIGHTS),
    ],
    refused: &["connect", "identity", "kind", "cluster"],
    finish: keep,
};

static WEIGHTS: Schema = Schema {
    attributes: &[whole("passing", "Passing"), whole("warning", "Warning")],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static CHECK: Schema = Schema {
    attributes: &[
        text("name", "Name"),
        text("type", "Type"),
        text("command", "Command"),
        texts("args", "Args"),
        text("path", "Path"),
        text("protocol", "Protocol"),
        text("port", "PortLabel"),
        text("address_mode", "AddressMode"),
        duration("interval", "Interval"),
        duration("timeout", "Timeout"),
        text("initial_status", "InitialStatus"),
        flag("tls_skip_verify", "TLSSkipVerify"),
        text("method", "Method"),
        text("body", "Body"),
        text("notes", "Notes"),
        text("task", "TaskName"),
        whole("success_before_passing", "SuccessBeforePassing"),
        whole("failures_before_critical", "FailuresBeforeCritical"),
        whole("failures_before_warning", "FailuresBeforeWarning"),
        text("on_update", "OnUpdate"),
    ],
    blocks: &[
        opaque("header", "Header", Content::TextLists),
        one("check_restart", "CheckRestart", &CHECK_RESTART),
    ],
    refused: &["expose", "grpc_service", "grpc_use_tls", "tls_server_name"],
    finish: keep,
};

static CHECK_RESTART: Schema = Schema {
    attributes: &[
        whole("limit", "Limit"),
        duration("grace", "Grace"),
        flag("ignore_warnings", "IgnoreWarnings"),
    ],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static UPDATE: Schema = Schema {
    attributes: &[
        whole("max_parallel", "MaxParallel"),
        text("health_check", "HealthCheck"),
        duration("min_healthy_time", "MinHealthyTime"),
        duration("healthy_deadline", "HealthyDeadline"),
        duration("progress_deadline", "ProgressDeadline"),
        flag("auto_revert", "AutoRevert"),
        flag("auto_promote", "AutoPromote"),
        whole("canary", "Canary"),
        duration("stagger", "Stagger"),
    ],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static RESTART: Schema = Schema {
    attributes: &[
        whole("attempts", "Attempts"),
        duration("interval", "Interval"),
        duration("delay", "Delay"),
        text("mode", "Mode"),
        flag("render_templates", "RenderTemplates"),
    ],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static RESCHEDULE: Schema = Schema {
    attributes: &[
        whole("attempts", "Attempts"),
        duration("interval", "Interval"),
        duration("delay", "Delay"),
        text("delay_function", "DelayFunction"),
        duration("max_delay", "MaxDelay"),
        flag("unlimited", "Unlimited"),
    ],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static MIGRATE: Schema = Schema {
    attributes: &[
        whole("max_parallel", "MaxParallel"),
        text("health_check", "HealthCheck"),
        duration("min_healthy_time", "MinHealthyTime"),
        duration("healthy_deadline", "HealthyDeadline"),
    ],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static EPHEMERAL_DISK: Schema = Schema {
    attributes: &[
        flag("sticky", "Sticky"),
        flag("migrate", "Migrate"),
        whole("size", "SizeMB"),
    ],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static CONSTRAINT: Schema = Schema {
    attributes: &[
        text("attribute", "LTarget"),
        text("operator", "Operand"),
        text("value", "RTarget"),
        flag("distinct_hosts", "distinct_hosts"),
        text("distinct_property", "distinct_property"),
        text("version", "version"),
        text("semver", "semver"),
        text("regexp", "regexp"),
        text("set_contains", "set_contains"),
        text("set_contains_all", "set_contains_all"),
        text("set_contains_any", "set_contains_any"),
        flag("is_set", "is_set"),
        flag("is_not_set", "is_not_set"),
    ],
    blocks: &[],
    refused: &[],
    finish: finish_constraint,
};

static AFFINITY: Schema = Schema {
    attributes: &[
        text("attribute", "LTarget"),
        text("operator", "Operand"),
        text("value", "RTarget"),
        text("version", "version"),
        text("semver", "semver"),
        text("regexp", "regexp"),
        text("set_contains", "set_contains"),
        text("set_contains_all", "set_contains_all"),
        text("set_contains_any", "set_contains_any"),
        whole("weight", "Weight"),
    ],
    blocks: &[],
    refused: &[],
    finish: finish_constraint,
};

/// Shorthands such as `version = ">= 1"` become operand and value.
fn finish_constraint(constraint: &mut Map<String, Value>) {
    for operand in [
        "version",
        "semver",
        "regexp",
        "set_contains",
        "set_contains_all",
        "set_contains_any",
    ] {
        if let Some(value) = constraint.remove(operand) {
            constraint.insert("Operand".into(), operand.into());
            constraint.insert("RTarget".into(), value);
        }
    }
    for operand in ["is_set", "is_not_set"] {
        if constraint.remove(operand) == Some(Value::Bool(true)) {
            constraint.insert("Operand".into(), operand.into());
        }
    }
    if let Some(property) = constraint.remove("distinct_property") {
        constraint.insert("Operand".into(), "distinct_property".into());
        constraint.insert("LTarget".into(), property);
    }
    match constraint.remove("distinct_hosts") {
        Some(Value::Bool(true)) => {
            constraint.insert("Operand".into(), "distinct_hosts".into());
        }
        Some(Value::Bool(false)) => {
            constraint.insert("Operand".into(), "distinct_hosts".into());
            constraint.insert("RTarget".into(), "false".into());
        }
        _ => {}
    }
}

static SPREAD: Schema = Schema {
    attributes: &[text("attribute", "Attribute"), whole("weight", "Weight")],
    blocks: &[labeled("target", "SpreadTarget", "Value", &SPREAD_TARGET)],
    refused: &[],
    finish: keep,
};

static SPREAD_TARGET: Schema = Schema {
    attributes: &[whole("percent", "Percent"), text("value", "Value")],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static RESOURCES: Schema = Schema {
    attributes: &[
        whole("cpu", "CPU"),
        whole("cores", "Cores"),
        whole("memory", "MemoryMB"),
        whole("memory_max", "MemoryMaxMB"),
        whole("disk", "DiskMB"),
        whole("iops", "IOPS"),
    ],
    blocks: &[many("network", "Networks", &NETWORK)],
    refused: &["device", "numa", "secrets"],
    finish: keep,
};

static LOGS: Schema = Schema {
    attributes: &[
        whole("max_files", "MaxFiles"),
        whole("max_file_size", "MaxFileSizeMB"),
        flag("disabled", "Disabled"),
        flag("enabled", "Enabled"),
    ],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static LIFECYCLE: Schema = Schema {
    attributes: &[required(text("hook", "Hook")), flag("sidecar", "Sidecar")],
    blocks: &[],
    refused: &[],
    finish: keep,
};

static ARTIFACT: Schema = Schema {
    attributes: &[
        required(text("source", "GetterSource")),
        text("destination", "RelativeDest"),
        text("mode", "GetterMode"),
        flag("insecure", "GetterInsecure"),
        flag("chown", "Chown"),
    ],
    blocks: &[
        opaque("options", "GetterOptions", Content::Texts(false)),
        opaque("headers", "GetterHeaders", Content::Texts(false)),
    ],
    refused: &[],
    finish: keep,
};

static TEMPLATE: Schema = Schema {
    attributes: &[
        text("source", "SourcePath"),
        text("destination", "DestPath"),
        text("data", "EmbeddedTmpl"),
        text("change_mode", "ChangeMode"),
        text("change_signal", "ChangeSignal"),
        flag("env", "Envvars"),
        text("perms", "Perms"),
        whole("uid", "Uid"),
        whole("gid", "Gid"),
        duration("splay", "Splay"),
        text("left_delimiter", "LeftDelim"),
        text("right_delimiter", "RightDelim"),
        flag("once", "Once"),
        flag("error_on_missing_key", "ErrMissingKey"),
        duration("vault_grace", "VaultGrace"),
    ],
    blocks: &[],
    refused: &["change_script", "wait"],
    finish: keep,
};
