//! The difference of two versions of a job, in the shape of the plan API.
//!
//! Every noun is compared through its JSON, so that names are those of the API. [`nouns`] says what
//! of each is compared.

mod annotate;
mod fields;
mod nouns;
mod object;

pub use annotate::annotate;

use crate::model;
use crate::wire::{
    Complete, DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff, shapes,
};
use object::{fields_of, objects_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The difference of two versions of a job; edited blocks show what did not change too.
///
/// Groups and tasks come sorted by name, unchanged ones too. Without an old version everything is
/// added, without a new one everything is deleted.
pub fn diff(old: Option<&model::Job>, new: Option<&model::Job>) -> JobDiff {
    let (before, after) = (json(old), json(new));
    let fields = fields_of(&nouns::JOB, &before, &after);
    let objects = objects_of(&nouns::JOB, &before, &after);
    let task_groups: Vec<TaskGroupDiff> =
        pairs(named(&before, "TaskGroups"), named(&after, "TaskGroups"))
            .into_iter()
            .map(|(name, old, new)| group(name, &old, &new))
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

fn group(name: String, old: &Value, new: &Value) -> TaskGroupDiff {
    let tasks = |group: &Value| -> BTreeMap<String, Value> { named(group, "Tasks") };
    TaskGroupDiff {
        diff_type: kind(old, new, old != new),
        name,
        fields: fields_of(&nouns::GROUP, old, new),
        objects: objects_of(&nouns::GROUP, old, new),
        tasks: pairs(tasks(old), tasks(new))
            .into_iter()
            .map(|(name, before, after)| task(name, (old, &before), (new, &after)))
            .collect(),
        updates: BTreeMap::new(),
    }
}

/// The difference of two tasks, each beside its group.
fn task(
    name: String,
    (old_group, old): (&Value, &Value),
    (new_group, new): (&Value, &Value),
) -> TaskDiff {
    let diff_type = kind(old, new, old != new);
    let (old, new) = (
        without_inherited(old.clone(), old_group),
        without_inherited(new.clone(), new_group),
    );
    TaskDiff {
        diff_type,
        name,
        fields: fields_of(&nouns::TASK, &old, &new),
        objects: objects_of(&nouns::TASK, &old, &new),
        annotations: Vec::new(),
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

/// The JSON of a job with every key; null for none. The model's types always serialize.
fn json(job: Option<&model::Job>) -> Value {
    job.and_then(|job| serde_json::to_value(Complete(job, &shapes::JOB)).ok())
        .unwrap_or_default()
}

/// The entries of a list by their names.
fn named(noun: &Value, key: &str) -> BTreeMap<String, Value> {
    let list = noun.get(key).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|entry| {
            let name = entry.get("Name").and_then(Value::as_str);
            (name.unwrap_or_default().to_owned(), entry.clone())
        })
        .collect()
}

/// Everything that is in one of the two, by name, with null for what is missing.
fn pairs(
    mut old: BTreeMap<String, Value>,
    mut new: BTreeMap<String, Value>,
) -> Vec<(String, Value, Value)> {
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
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
