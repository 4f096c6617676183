use crate::{files, golden, job};
use jobs::model::{DesiredUpdates, Job, PlanAnnotations};
use jobs::spec::{annotate, diff};
use jobs::wire::{DiffType, FieldDiff, JobDiff, ObjectDiff};
use std::fmt::Write;

/// A difference as lines: marker, name, old and new, annotations.
fn show(diff: &JobDiff) -> String {
    let mut out = String::new();
    writeln!(out, "{} Job {}", mark(diff.diff_type), diff.id).unwrap();
    parts(&mut out, 1, &diff.fields, &diff.objects);
    for group in &diff.task_groups {
        writeln!(
            out,
            "  {} Group {} {:?}",
            mark(group.diff_type),
            group.name,
            group.updates
        )
        .unwrap();
        parts(&mut out, 2, &group.fields, &group.objects);
        for task in &group.tasks {
            writeln!(
                out,
                "    {} Task {} {:?}",
                mark(task.diff_type),
                task.name,
                task.annotations
            )
            .unwrap();
            parts(&mut out, 3, &task.fields, &task.objects);
        }
    }
    out
}

fn mark(diff_type: DiffType) -> &'static str {
    match diff_type {
        DiffType::None => "=",
        DiffType::Added => "+",
        DiffType::Deleted => "-",
        DiffType::Edited => "~",
    }
}

fn parts(out: &mut String, depth: usize, fields: &[FieldDiff], objects: &[ObjectDiff]) {
    let indent = "  ".repeat(depth);
    for field in fields {
        let (old, new) = (&field.old, &field.new);
        write!(
            out,
            "{indent}{} {}: {old:?} => {new:?}",
            mark(field.diff_type),
            field.name
        )
        .unwrap();
        let notes = field.annotations.join(", ");
        writeln!(out, "{}{notes}", if notes.is_empty() { "" } else { " # " }).unwrap();
    }
    for object in objects {
        writeln!(out, "{indent}{} {} {{", mark(object.diff_type), object.name).unwrap();
        parts(out, depth + 1, &object.fields, &object.objects);
        writeln!(out, "{indent}}}").unwrap();
    }
}

fn annotations() -> PlanAnnotations {
    let updates = DesiredUpdates {
        ignore: 1,
        place: 2,
        migrate: 3,
        stop: 4,
        canary: 5,
        in_place_update: 6,
        destructive_update: 7,
        ..DesiredUpdates::default()
    };
    PlanAnnotations {
        desired_tg_updates: [("web".into(), updates)].into(),
        ..PlanAnnotations::default()
    }
}

#[test]
fn differences_are_the_recorded_ones() {
    // Each file holds the old and the new job, parted by a line of dashes.
    for (path, text) in files("tests/spec/diff") {
        if path.extension().is_none_or(|ending| ending != "nomad") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let (old, new) = text.split_once("\n---\n").unwrap();
        let (old, new) = (job(old, name), job(new, name));
        let mut edited = diff(Some(&old), Some(&new));
        annotate(&mut edited, &annotations());
        let mut added = diff(None, Some(&new));
        annotate(&mut added, &annotations());
        let deleted = diff(Some(&old), None);
        let all = format!("{}\n{}\n{}", show(&edited), show(&added), show(&deleted));
        golden(&path.with_extension("nomad.out"), &all);
    }
}

#[test]
fn a_job_does_not_differ_from_itself() {
    for (path, text) in files("examples") {
        let job: Job = job(&text, &path.display().to_string());
        let same = diff(Some(&job), Some(&job));
        assert_eq!(same.diff_type, DiffType::None);
        assert!(same.fields.is_empty() && same.objects.is_empty());
        assert!(
            same.task_groups
                .iter()
                .all(|group| group.diff_type == DiffType::None)
        );
    }
}
