//! The difference of two versions of a job, in the shape of the plan API.
//!
//! Every noun is compared through its JSON, so that names are those of the API.

mod annotate;
mod object;

pub use annotate::annotate;

use crate::model;
use crate::wire::{DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff};
use object::{Blocks, Shape, block, config, field_diffs, flat, lists, texts};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Fields of a job that no user writes, or that are compared elsewhere.
const NOT_OF_JOB: &[&str] = &[
    "ID",
    "Status",
    "StatusDescription",
    "Version",
    "Stable",
    "CreateIndex",
    "ModifyIndex",
    "JobModifyIndex",
    "SubmitTime",
];

/// The difference of two versions of a job; `contextual` adds unchanged fields to edited blocks.
///
/// Groups and tasks come sorted by name, unchanged ones too. Without an old version everything is
/// added, without a new one everything is deleted.
pub fn diff(old: Option<&model::Job>, new: Option<&model::Job>, contextual: bool) -> JobDiff {
    let (before, after) = (json(old), json(new));
    let shape = Shape {
        skip: NOT_OF_JOB,
        contextual,
    };
    let fields = field_diffs(&flat(&before, &shape), &flat(&after, &shape), false);
    let mut objects = Blocks::default();
    objects.extend(texts("Datacenters", &before, &after, contextual));
    objects.extend(lists(
        "Constraint",
        "Constraints",
        &before,
        &after,
        contextual,
    ));
    objects.extend(lists("Affinity", "Affinities", &before, &after, contextual));
    objects.extend(lists("Spread", "Spreads", &before, &after, contextual));
    for (name, key) in [
        ("UI", "UI"),
        ("Periodic", "Periodic"),
        ("ParameterizedJob", "ParameterizedJob"),
    ] {
        objects.extend(block(name, key, &before, &after, contextual));
    }
    let objects = objects.sorted();
    let groups = |job: Option<&model::Job>| -> BTreeMap<String, Value> {
        let groups = job
            .map(|job| job.task_groups.as_slice())
            .unwrap_or_default();
        groups
            .iter()
            .map(|group| (group.name.to_string(), json(Some(group))))
            .collect()
    };
    let task_groups: Vec<TaskGroupDiff> = pairs(groups(old), groups(new))
        .into_iter()
        .map(|(name, old, new)| group(name, &old, &new, contextual))
        .collect();
    let edited = changed(&fields, &objects)
        || task_groups
            .iter()
            .any(|group| group.diff_type != DiffType::None);
    JobDiff {
        diff_type: kind(&before, &after, edited),
        id: new
            .or(old)
            .map(|job| job.id.to_string())
            .unwrap_or_default(),
        fields,
        objects,
        task_groups,
    }
}

fn group(name: String, old: &Value, new: &Value, contextual: bool) -> TaskGroupDiff {
    let shape = Shape {
        skip: &["Name"],
        contextual,
    };
    let fields = field_diffs(&flat(old, &shape), &flat(new, &shape), false);
    let mut objects = Blocks::default();
    for (name, key) in [
        ("RestartPolicy", "RestartPolicy"),
        ("ReschedulePolicy", "ReschedulePolicy"),
        ("EphemeralDisk", "EphemeralDisk"),
        ("Migrate", "Migrate"),
        ("Scaling", "Scaling"),
        ("Disconnect", "Disconnect"),
        ("Consul", "Consul"),
    ] {
        objects.extend(block(name, key, old, new, contextual));
    }
    objects.extend(object::block_without(
        "Update",
        "Update",
        &["Stagger"],
        old,
        new,
        contextual,
    ));
    for (name, key) in [
        ("Constraint", "Constraints"),
        ("Affinity", "Affinities"),
        ("Network", "Networks"),
        ("Service", "Services"),
        ("Spread", "Spreads"),
    ] {
        objects.extend(lists(name, key, old, new, contextual));
    }
    objects.extend(object::entries("Volume", "Volumes", old, new, contextual));
    let objects = objects.sorted();
    let tasks = |group: &Value| -> BTreeMap<String, Value> {
        let tasks = group.get("Tasks").and_then(Value::as_array);
        tasks
            .into_iter()
            .flatten()
            .map(|task| (name_of(task), without_inherited(task.clone(), group)))
            .collect()
    };
    let tasks: Vec<TaskDiff> = pairs(tasks(old), tasks(new))
        .into_iter()
        .map(|(name, old, new)| task(name, &old, &new, contextual))
        .collect();
    let edited =
        changed(&fields, &objects) || tasks.iter().any(|task| task.diff_type != DiffType::None);
    let diff_type = kind(old, new, edited);
    TaskGroupDiff {
        diff_type,
        name,
        fields,
        objects,
        tasks,
        updates: BTreeMap::new(),
    }
}

/// A task without the restart policy that it has from its group, which shows the change.
fn without_inherited(mut task: Value, group: &Value) -> Value {
    if let Some(task) = task.as_object_mut()
        && task.get("RestartPolicy") == group.get("RestartPolicy")
    {
        task.remove("RestartPolicy");
    }
    task
}

fn task(name: String, old: &Value, new: &Value, contextual: bool) -> TaskDiff {
    let shape = Shape {
        // Options of the driver have a block of their own.
        skip: &["Name", "Config"],
        contextual,
    };
    let fields = field_diffs(&flat(old, &shape), &flat(new, &shape), false);
    let mut objects = Blocks::default();
    objects.extend(config(old, new, contextual));
    for (name, key) in [
        ("Resources", "Resources"),
        ("RestartPolicy", "RestartPolicy"),
        ("LogConfig", "LogConfig"),
        ("Lifecycle", "Lifecycle"),
        ("Vault", "Vault"),
        ("Consul", "Consul"),
        ("Identity", "Identity"),
        ("Schedule", "Schedule"),
        ("CSIPluginConfig", "CSIPluginConfig"),
        ("DispatchPayload", "DispatchPayload"),
    ] {
        objects.extend(block(name, key, old, new, contextual));
    }
    for (name, key) in [
        ("Constraint", "Constraints"),
        ("Affinity", "Affinities"),
        ("Artifact", "Artifacts"),
        ("Template", "Templates"),
        ("Service", "Services"),
        ("Secret", "Secrets"),
        ("Identities", "Identities"),
        ("Action", "Actions"),
        ("VolumeMount", "VolumeMounts"),
        ("ScalingPolicy", "ScalingPolicies"),
    ] {
        objects.extend(lists(name, key, old, new, contextual));
    }
    let objects = objects.sorted();
    TaskDiff {
        diff_type: kind(old, new, changed(&fields, &objects)),
        name,
        fields,
        objects,
        annotations: Vec::new(),
    }
}

/// The JSON of a noun; null for none. The model's types always serialize.
fn json<T: serde::Serialize>(noun: Option<&T>) -> Value {
    noun.and_then(|noun| serde_json::to_value(noun).ok())
        .unwrap_or_default()
}

fn name_of(noun: &Value) -> String {
    noun.get("Name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn by_name(mut fields: Vec<FieldDiff>) -> Vec<FieldDiff> {
    fields.sort_by(|a, b| (&a.name, &a.old, &a.new).cmp(&(&b.name, &b.old, &b.new)));
    fields
}

/// Everything that is in one of the two, by name, with null for what is missing.
fn pairs(
    mut old: BTreeMap<String, Value>,
    mut new: BTreeMap<String, Value>,
) -> Vec<(String, Value, Value)> {
    let mut names: Vec<String> = old.keys().chain(new.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let (old, new) = (old.remove(&name), new.remove(&name));
            (name, old.unwrap_or_default(), new.unwrap_or_default())
        })
        .collect()
}

fn kind(old: &Value, new: &Value, edited: bool) -> DiffType {
    match (old.is_null(), new.is_null()) {
        (true, true) => DiffType::None,
        (true, false) => DiffType::Added,
        (false, true) => DiffType::Deleted,
        (false, false) if edited => DiffType::Edited,
        (false, false) => DiffType::None,
    }
}

fn changed(fields: &[FieldDiff], objects: &[ObjectDiff]) -> bool {
    fields.iter().any(|field| field.diff_type != DiffType::None)
        || objects
            .iter()
            .any(|object| object.diff_type != DiffType::None)
}

/// The entries of an object; none for null.
fn members(value: &Value) -> Option<&Map<String, Value>> {
    value.as_object()
}
