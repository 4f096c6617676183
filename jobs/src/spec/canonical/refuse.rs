use super::Findings;
use serde_json::{Map, Value};

/// Keys of the API that ask for something this version does not build.
const JOB: &[&str] = &[
    "Periodic",
    "ParameterizedJob",
    "Multiregion",
    "Payload",
    "ConsulNamespace",
    "VaultNamespace",
];
const GROUP: &[&str] = &[
    "Volumes",
    "Scaling",
    "Disconnect",
    "Consul",
    "MaxRunDuration",
    "StopAfterClientDisconnect",
    "MaxClientDisconnect",
    "PreventRescheduleOnLost",
];
const TASK: &[&str] = &[
    "Kind",
    "VolumeMounts",
    "Secrets",
    "Actions",
    "ScalingPolicies",
    "DispatchPayload",
    "Vault",
    "Consul",
    "CSIPluginConfig",
    "Schedule",
];
const RESOURCES: &[&str] = &["Devices", "NUMA", "SecretsMB"];
const NETWORK: &[&str] = &["Hostname", "DNS", "CNI"];
const PORT: &[&str] = &["IgnoreCollision"];
const SERVICE: &[&str] = &["Connect", "Identity", "Kind", "Cluster"];
const CHECK: &[&str] = &[
    "Expose",
    "GRPCService",
    "GRPCUseTLS",
    "TLSServerName",
    "Advertise",
];
const RESTART: &[&str] = &["RenderTemplates"];
const TEMPLATE: &[&str] = &["ChangeScript", "Wait"];

/// Which object the keys belong to.
#[derive(Clone, Copy)]
pub(super) enum Owner {
    Job,
    Group,
    Task,
    Resources,
    Network,
    Port,
    Service,
    Check,
    Restart,
    Template,
}

/// Refuses keys that are set and not built, instead of dropping them silently.
pub(super) fn refuse(findings: &mut Findings, owner: Owner, rest: &Map<String, Value>) {
    let (name, keys) = match owner {
        Owner::Job => ("Job", JOB),
        Owner::Group => ("Task group", GROUP),
        Owner::Task => ("Task", TASK),
        Owner::Resources => ("Resources", RESOURCES),
        Owner::Network => ("Network", NETWORK),
        Owner::Port => ("Port", PORT),
        Owner::Service => ("Service", SERVICE),
        Owner::Check => ("Check", CHECK),
        Owner::Restart => ("Restart policy", RESTART),
        Owner::Template => ("Template", TEMPLATE),
    };
    for key in keys {
        if rest.get(*key).is_some_and(|value| is_set(key, value)) {
            findings.error(format!(
                "{name} field {key} is not supported yet by this version"
            ));
        }
    }
}

/// True when a value asks for something: clients send empty objects and defaults for what is not set.
pub(super) fn is_set(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => match key {
            "Cluster" => !text.is_empty() && text != "default",
            "Affinity" => !text.is_empty() && text != "none",
            _ => !text.is_empty(),
        },
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => map.iter().any(|(key, value)| is_set(key, value)),
    }
}
