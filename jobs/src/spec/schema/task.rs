use super::grants::{IDENTITY, VOLUME_MOUNT};
use super::placement::{AFFINITIES, CONSTRAINTS};
use super::policy::{POLICY, RESTART};
use super::resources::{LOGS, RESOURCES};
use super::service::SERVICE;
use super::template::{ARTIFACT, TEMPLATE};
use super::{
    BARE, Content, META, Schema, duration, flag, labeled, many, nested, one, opaque, plain, preset,
    required, text, texts, whole,
};
use serde_json::{Map, Value};

/// Where the label of a block stands until it is looked at.
const LABEL: &str = "label";

pub(super) static TASK: Schema = Schema {
    attributes: &[
        text("driver", "Driver"),
        text("user", "User"),
        flag("leader", "Leader"),
        duration("kill_timeout", "KillTimeout"),
        text("kill_signal", "KillSignal"),
        duration("shutdown_delay", "ShutdownDelay"),
        text("kind", "Kind"),
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
        many("identity", "Identities", &IDENTITY),
        many("volume_mount", "VolumeMounts", &VOLUME_MOUNT),
        one("vault", "Vault", &VAULT),
        one("consul", "Consul", &CONSUL),
        labeled("secret", "Secrets", "Name", &SECRET),
        labeled("action", "Actions", "Name", &ACTION),
        one("schedule", "Schedule", &SCHEDULE),
        one("csi_plugin", "CSIPluginConfig", &CSI_PLUGIN),
        one("dispatch_payload", "DispatchPayload", &DISPATCH_PAYLOAD),
        labeled("scaling", "ScalingPolicies", LABEL, &TASK_SCALING),
    ],
    finish: finish_task,
    ..BARE
};

/// Says what policies are about by their labels, and takes the token that the servers know out of
/// the list of tokens.
fn finish_task(task: &mut Map<String, Value>) {
    if let Some(Value::Array(policies)) = task.get_mut("ScalingPolicies") {
        for policy in policies.iter_mut().filter_map(Value::as_object_mut) {
            let label = policy.remove(LABEL).unwrap_or_default();
            let label = label.as_str().unwrap_or_default().to_lowercase();
            preset(policy, "Type", format!("vertical_{label}"));
        }
    }
    let Some(Value::Array(tokens)) = task.get_mut("Identities") else {
        return;
    };
    let default = |token: &Value| {
        let name = token.get("Name").and_then(Value::as_str);
        matches!(name, None | Some("" | "default"))
    };
    if let Some(at) = tokens.iter().position(default) {
        let token = tokens.remove(at);
        task.insert("Identity".into(), token);
    }
}

static LIFECYCLE: Schema = plain(&[required(text("hook", "Hook")), flag("sidecar", "Sidecar")]);

pub(super) static VAULT: Schema = Schema {
    attributes: &[
        texts("policies", "Policies"),
        text("role", "Role"),
        text("namespace", "Namespace"),
        text("cluster", "Cluster"),
        flag("env", "Env"),
        flag("disable_file", "DisableFile"),
        text("change_mode", "ChangeMode"),
        text("change_signal", "ChangeSignal"),
        flag("allow_token_expiration", "AllowTokenExpiration"),
    ],
    blocks: &[],
    finish: finish_vault,
    ..BARE
};

fn finish_vault(vault: &mut Map<String, Value>) {
    preset(vault, "Env", true);
    preset(vault, "DisableFile", false);
    preset(vault, "ChangeMode", "restart");
}

pub(super) static CONSUL: Schema = plain(&[
    text("namespace", "Namespace"),
    text("cluster", "Cluster"),
    text("partition", "Partition"),
]);

pub(super) static SECRET: Schema = nested(
    &[text("provider", "Provider"), text("path", "Path")],
    &[
        opaque("config", "Config", Content::Free),
        opaque("env", "Env", Content::Texts(false)),
    ],
);

static ACTION: Schema = plain(&[required(text("command", "Command")), texts("args", "Args")]);

static SCHEDULE: Schema = nested(&[], &[one("cron", "Cron", &SCHEDULE_CRON)]);

static SCHEDULE_CRON: Schema = plain(&[
    text("start", "Start"),
    text("end", "End"),
    text("timezone", "Timezone"),
]);

static CSI_PLUGIN: Schema = plain(&[
    text("id", "ID"),
    text("type", "Type"),
    text("mount_dir", "MountDir"),
    text("stage_publish_base_dir", "StagePublishBaseDir"),
    duration("health_timeout", "HealthTimeout"),
]);

static DISPATCH_PAYLOAD: Schema = plain(&[text("file", "File")]);

static TASK_SCALING: Schema = Schema {
    attributes: &[
        whole("min", "Min"),
        whole("max", "Max"),
        flag("enabled", "Enabled"),
        text("type", "Type"),
    ],
    blocks: &[POLICY],
    finish: super::keep,
    ..BARE
};
