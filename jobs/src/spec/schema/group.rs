use super::network::NETWORK;
use super::placement::{AFFINITIES, CONSTRAINTS, SPREADS};
use super::policy::{
    DISCONNECT, EPHEMERAL_DISK, GROUP_SCALING, MIGRATE, RESCHEDULE, RESTART, UPDATE,
};
use super::service::SERVICE;
use super::task::{CONSUL, SECRET, TASK, VAULT};
use super::{
    BARE, META, Schema, duration, flag, labeled, many, named, nested, one, plain, text, texts,
    whole,
};
use serde_json::{Map, Value};

pub(super) static GROUP: Schema = Schema {
    attributes: &[
        whole("count", "Count"),
        duration("shutdown_delay", "ShutdownDelay"),
        duration("max_run_duration", "MaxRunDuration"),
        duration("stop_after_client_disconnect", "StopAfterClientDisconnect"),
        duration("max_client_disconnect", "MaxClientDisconnect"),
        flag("prevent_reschedule_on_lost", "PreventRescheduleOnLost"),
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
        named("volume", "Volumes", &VOLUME),
        one("scaling", "Scaling", &GROUP_SCALING),
        one("disconnect", "Disconnect", &DISCONNECT),
        one("consul", "Consul", &CONSUL),
        one("vault", "Vault", &VAULT),
        labeled("secret", "Secrets", "Name", &SECRET),
    ],
    finish: finish_group,
    ..BARE
};

/// What stands on the group is meant for its tasks.
fn finish_group(group: &mut Map<String, Value>) {
    let (vault, secrets) = (group.remove("Vault"), group.remove("Secrets"));
    if let Some(Value::Array(tasks)) = group.get_mut("Tasks") {
        tasks
            .iter_mut()
            .for_each(|task| inherit(task, &vault, &secrets));
    }
}

/// Gives a task the blocks that stand around it: Vault unless it has its own, and further secrets.
pub(super) fn inherit(task: &mut Value, vault: &Option<Value>, secrets: &Option<Value>) {
    let Value::Object(task) = task else { return };
    if let Some(vault) = vault {
        task.entry("Vault").or_insert_with(|| vault.clone());
    }
    if let Some(Value::Array(more)) = secrets {
        let own = task
            .entry("Secrets")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(own) = own {
            own.extend(more.iter().cloned());
        }
    }
}

static VOLUME: Schema = nested(
    &[
        text("type", "Type"),
        text("source", "Source"),
        flag("read_only", "ReadOnly"),
        flag("sticky", "Sticky"),
        text("access_mode", "AccessMode"),
        text("attachment_mode", "AttachmentMode"),
        flag("per_alloc", "PerAlloc"),
    ],
    &[one("mount_options", "MountOptions", &MOUNT_OPTIONS)],
);

static MOUNT_OPTIONS: Schema = plain(&[
    text("fs_type", "FSType"),
    texts("mount_flags", "MountFlags"),
]);
