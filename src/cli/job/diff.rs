//! The difference of two versions of a job, as text.

use super::super::view::{Ink, Paint, View, quoted};
use jobs::wire::{DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff};

/// The difference, with the groups in the order given.
///
/// Added and deleted groups and tasks show only their title unless the view is verbose.
pub(super) fn render(diff: &JobDiff, view: &View) -> String {
    let paint = view.paint;
    let mut widths = Widths::of(&diff.fields, &diff.objects);
    for group in &diff.task_groups {
        widths.marker = widths.marker.max(marker_width(group.diff_type));
    }
    let title = paint.title(&format!("Job: {}", quoted(&diff.id)));
    let mut out = format!("{}{title}\n", marker(diff.diff_type, paint));
    if diff.diff_type == DiffType::Edited || view.verbose {
        let content = content(&diff.fields, &diff.objects, 0, widths, paint);
        if !content.is_empty() {
            out.push_str(&content);
            out.push('\n');
        }
    }
    for group in &diff.task_groups {
        let pad = widths.marker - marker_width(group.diff_type);
        out.push_str(&task_group(group, pad, view));
        out.push('\n');
    }
    out
}

fn task_group(group: &TaskGroupDiff, pad: usize, view: &View) -> String {
    let paint = view.paint;
    let title = paint.title(&format!("Task Group: {}", quoted(&group.name)));
    let mut out = format!("{}{}{title}", marker(group.diff_type, paint), spaces(pad));
    if !group.updates.is_empty() {
        let updates: Vec<String> = group
            .updates
            .iter()
            .map(|(label, count)| update(label, *count, paint))
            .collect();
        out.push_str(&format!(" ({})", updates.join(", ")));
    }
    out.push('\n');
    let mut widths = Widths::of(&group.fields, &group.objects);
    for task in &group.tasks {
        widths.marker = widths.marker.max(marker_width(task.diff_type));
    }
    let start = pad + 2;
    if group.diff_type == DiffType::Edited || view.verbose {
        let content = content(&group.fields, &group.objects, start, widths, paint);
        if !content.is_empty() {
            out.push_str(&content);
            out.push('\n');
        }
    }
    for one in &group.tasks {
        let pad = widths.marker - marker_width(one.diff_type);
        out.push_str(&task(one, start, pad, view));
        out.push('\n');
    }
    out
}

fn update(label: &str, count: u64, paint: Paint) -> String {
    let text = format!("{count} {label}");
    let ink = match label {
        "create" => Ink::Green,
        "destroy" => Ink::Red,
        "migrate" => Ink::Blue,
        "in-place update" => Ink::Cyan,
        "create/destroy update" => Ink::Yellow,
        "canary" => Ink::LightYellow,
        _ => return text,
    };
    paint.ink(ink, &text)
}

fn task(task: &TaskDiff, start: usize, pad: usize, view: &View) -> String {
    let paint = view.paint;
    let title = paint.title(&format!("Task: {}", quoted(&task.name)));
    let mut out = format!(
        "{}{}{}{title}",
        spaces(start),
        marker(task.diff_type, paint),
        spaces(pad)
    );
    out.push_str(&annotations(&task.annotations, paint));
    let whole = matches!(task.diff_type, DiffType::Added | DiffType::Deleted);
    if task.diff_type == DiffType::None || (whole && !view.verbose) {
        return out;
    }
    let widths = Widths::of(&task.fields, &task.objects);
    out.push('\n');
    out.push_str(&content(
        &task.fields,
        &task.objects,
        start + 2,
        widths,
        paint,
    ));
    out
}

fn content(
    fields: &[FieldDiff],
    objects: &[ObjectDiff],
    start: usize,
    widths: Widths,
    paint: Paint,
) -> String {
    let fields = fields.iter().map(|one| field(one, start, widths, paint));
    let objects = objects.iter().map(|one| {
        let pad = widths.marker - marker_width(one.diff_type);
        object(one, start, pad, paint)
    });
    fields.chain(objects).collect::<Vec<String>>().join("\n")
}

fn object(diff: &ObjectDiff, start: usize, pad: usize, paint: Paint) -> String {
    let widths = Widths::of(&diff.fields, &diff.objects);
    let inner = content(&diff.fields, &diff.objects, start + pad + 2, widths, paint);
    let head = format!(
        "{}{}{}{} {{",
        spaces(start),
        marker(diff.diff_type, paint),
        spaces(pad),
        diff.name
    );
    let end = spaces(start + marker_width(diff.diff_type) + pad);
    format!("{head}\n{inner}\n{end}}}")
}

fn field(diff: &FieldDiff, start: usize, widths: Widths, paint: Paint) -> String {
    let pad = widths.marker - marker_width(diff.diff_type);
    let value = match diff.diff_type {
        DiffType::Deleted => quoted(&diff.old),
        DiffType::Edited => format!("{} => {}", quoted(&diff.old), quoted(&diff.new)),
        DiffType::Added | DiffType::None => quoted(&diff.new),
    };
    let gap = widths.name.saturating_sub(diff.name.chars().count());
    format!(
        "{}{}{}{}: {}{value}{}",
        spaces(start),
        marker(diff.diff_type, paint),
        spaces(pad),
        diff.name,
        spaces(gap),
        annotations(&diff.annotations, paint)
    )
}

fn annotations(texts: &[String], paint: Paint) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let inked: Vec<String> = texts
        .iter()
        .map(|text| {
            let ink = match text.as_str() {
                "forces create" => Ink::Green,
                "forces destroy" => Ink::Red,
                "forces in-place update" => Ink::Cyan,
                "forces create/destroy update" => Ink::Yellow,
                _ => return text.clone(),
            };
            paint.ink(ink, text)
        })
        .collect();
    format!(" ({})", inked.join(", "))
}

/// The longest marker and name among siblings.
#[derive(Clone, Copy, Debug)]
struct Widths {
    marker: usize,
    name: usize,
}

impl Widths {
    fn of(fields: &[FieldDiff], objects: &[ObjectDiff]) -> Self {
        let of_fields = fields.iter().map(|one| one.diff_type);
        let of_objects = objects.iter().map(|one| one.diff_type);
        Self {
            marker: of_fields
                .chain(of_objects)
                .map(marker_width)
                .max()
                .unwrap_or(0),
            name: fields
                .iter()
                .map(|one| one.name.chars().count())
                .max()
                .unwrap_or(0),
        }
    }
}

fn marker(diff_type: DiffType, paint: Paint) -> String {
    match diff_type {
        DiffType::None => String::new(),
        DiffType::Added => format!("{} ", paint.ink(Ink::Green, "+")),
        DiffType::Deleted => format!("{} ", paint.ink(Ink::Red, "-")),
        DiffType::Edited => format!("{} ", paint.ink(Ink::LightYellow, "+/-")),
    }
}

fn marker_width(diff_type: DiffType) -> usize {
    match diff_type {
        DiffType::None => 0,
        DiffType::Added | DiffType::Deleted => 2,
        DiffType::Edited => 4,
    }
}

fn spaces(count: usize) -> String {
    " ".repeat(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;

    fn check(value: serde_json::Value, expected: &str) {
        let diff: JobDiff = serde_json::from_value(value).unwrap();
        assert_eq!(render(&diff, &test_view()).trim(), expected);
    }

    #[test]
    fn an_edited_job_shows_what_changed_with_its_context() {
        let field = |kind: &str, name: &str, old: &str, new: &str| serde_json::json!({"Type": kind, "Name": name, "Old": old, "New": new});
        let service = serde_json::json!({"Type": "Edited", "Name": "Service", "Fields": [
            field("Edited", "PortLabel", "http", "web"), field("None", "Name", "web", "web"),
        ]});
        let mut count = field("Edited", "Count", "2", "3");
        count["Annotations"] = serde_json::json!(["forces create"]);
        check(
            serde_json::json!({
                "Type": "Edited", "ID": "web", "Fields": [field("Edited", "Priority", "50", "60")],
                "TaskGroups": [{
                    "Type": "Edited", "Name": "app",
                    "Updates": {"in-place update": 2, "create": 1},
                    "Fields": [count],
                    "Tasks": [
                        {"Type": "Edited", "Name": "server", "Objects": [service],
                         "Annotations": ["forces in-place update"]},
                        {"Type": "None", "Name": "sidecar"},
                    ],
                }],
            }),
            "+/- Job: \"web\"
+/- Priority: \"50\" => \"60\"
+/- Task Group: \"app\" (1 create, 2 in-place update)
  +/- Count: \"2\" => \"3\" (forces create)
  +/- Task: \"server\" (forces in-place update)
    +/- Service {
      +/- PortLabel: \"http\" => \"web\"
          Name:      \"web\"
        }
      Task: \"sidecar\"",
        );
    }

    #[test]
    fn a_new_job_shows_titles_only() {
        check(
            serde_json::json!({
                "Type": "Added", "ID": "web",
                "Fields": [{"Type": "Added", "Name": "Priority", "New": "50"}],
                "TaskGroups": [{
                    "Type": "Added", "Name": "app", "Updates": {"create": 3},
                    "Fields": [{"Type": "Added", "Name": "Count", "New": "3"}],
                    "Tasks": [{"Type": "Added", "Name": "server", "Annotations": ["forces create"],
                               "Fields": [{"Type": "Added", "Name": "Driver", "New": "raw_exec"}]}],
                }],
            }),
            "+ Job: \"web\"\n+ Task Group: \"app\" (3 create)\n  + Task: \"server\" (forces create)",
        );
    }

    #[test]
    fn colors_do_not_change_the_layout() {
        let diff = JobDiff {
            diff_type: DiffType::Edited,
            id: "web".into(),
            ..JobDiff::default()
        };
        let mut view = test_view();
        view.paint = Paint::Color;
        assert_eq!(
            render(&diff, &view),
            "\u{1b}[93m+/-\u{1b}[0m \u{1b}[1mJob: \"web\"\u{1b}[0m\n"
        );
    }
}
