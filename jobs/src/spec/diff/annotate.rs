use crate::model::{Effect, PlanAnnotations, TASK_FIELDS};
use crate::wire::{DiffType, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff};

const CREATE: &str = "forces create";
const DESTROY: &str = "forces destroy";
const IN_PLACE: &str = "forces in-place update";
const DESTRUCTIVE: &str = "forces create/destroy update";

/// Adds what the scheduler would do to a difference: counts for each group, and what the change of
/// a field or task forces.
pub fn annotate(diff: &mut JobDiff, annotations: &PlanAnnotations) {
    for group in &mut diff.task_groups {
        counts(group, annotations);
        count_field(group);
        let group_type = group.diff_type;
        for task in &mut group.tasks {
            if let Some(text) = forced(task, group_type) {
                task.annotations.push(text.to_owned());
            }
        }
    }
}

fn counts(group: &mut TaskGroupDiff, annotations: &PlanAnnotations) {
    let Some(updates) = annotations.desired_tg_updates.get(group.name.as_str()) else {
        return;
    };
    for (label, number) in [
        ("ignore", updates.ignore),
        ("create", updates.place),
        ("destroy", updates.stop),
        ("migrate", updates.migrate),
        ("canary", updates.canary),
        ("in-place update", updates.in_place_update),
        ("create/destroy update", updates.destructive_update),
    ] {
        if number > 0 {
            group.updates.insert(label.to_owned(), number);
        }
    }
}

fn count_field(group: &mut TaskGroupDiff) {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    for field in group
        .fields
        .iter_mut()
        .filter(|field| field.name == "Count")
    {
        match number(&field.new).cmp(&number(&field.old)) {
            std::cmp::Ordering::Greater => field.annotations.push(CREATE.to_owned()),
            std::cmp::Ordering::Less => field.annotations.push(DESTROY.to_owned()),
            std::cmp::Ordering::Equal => {}
        }
    }
}

/// What the change of a task forces; none for an unchanged one.
fn forced(task: &TaskDiff, group: DiffType) -> Option<&'static str> {
    match (group, task.diff_type) {
        (_, DiffType::None) | (DiffType::None, _) => None,
        (DiffType::Added, _) => Some(CREATE),
        (DiffType::Deleted, _) => Some(DESTROY),
        (DiffType::Edited, DiffType::Added | DiffType::Deleted) => Some(DESTRUCTIVE),
        (DiffType::Edited, DiffType::Edited) => {
            let field = task
                .fields
                .iter()
                .filter(|field| field.diff_type != DiffType::None)
                .any(|field| is_destructive(&field.name, None));
            let object = task
                .objects
                .iter()
                .filter(|object| object.diff_type != DiffType::None)
                .any(|object| is_destructive(&object.name, Some(object)));
            Some(if field || object {
                DESTRUCTIVE
            } else {
                IN_PLACE
            })
        }
    }
}

/// True when the change of a field or block of a task needs new processes, by the one table of
/// effects.
fn is_destructive(name: &str, block: Option<&ObjectDiff>) -> bool {
    // `Meta[owner]` is a part of `Meta`.
    let name = name.split('[').next().unwrap_or_default();
    let effect = TASK_FIELDS
        .iter()
        .find(|field| field.shown == name)
        .map(|field| field.effect);
    match effect {
        Some(Effect::InPlace) => false,
        Some(Effect::Destructive) | None => true,
        Some(Effect::Parts(parts)) => {
            block.is_none_or(|block| {
                let field = block.fields.iter().any(|field| {
                    field.diff_type != DiffType::None && parts.contains(&&*field.name)
                });
                let inner = block.objects.iter().any(|object| {
                    object.diff_type != DiffType::None && parts.contains(&&*object.name)
                });
                field || inner
            })
        }
    }
}
