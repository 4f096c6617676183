use crate::model::PlanAnnotations;
use crate::wire::{DiffType, JobDiff, TaskDiff, TaskGroupDiff};

const CREATE: &str = "forces create";
const DESTROY: &str = "forces destroy";
const IN_PLACE: &str = "forces in-place update";
const DESTRUCTIVE: &str = "forces create/destroy update";

/// Blocks whose change does not touch the running program.
const HARMLESS: &[&str] = &[
    "Service",
    "Constraint",
    "Affinity",
    "Spread",
    "RestartPolicy",
];

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
    let Some(updates) = annotations.desired_tg_updates.get(&group.name) else {
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
            let changed = |diff_type: DiffType| diff_type != DiffType::None;
            let field = task
                .fields
                .iter()
                .any(|field| changed(field.diff_type) && field.name != "KillTimeout");
            let object = task
                .objects
                .iter()
                .filter(|object| changed(object.diff_type))
                .any(|object| {
                    let name = object.name.as_str();
                    let disables = object
                        .fields
                        .iter()
                        .any(|field| field.name == "Disabled" && changed(field.diff_type));
                    !HARMLESS.contains(&name) && (name != "LogConfig" || disables)
                });
            Some(if field || object {
                DESTRUCTIVE
            } else {
                IN_PLACE
            })
        }
    }
}
