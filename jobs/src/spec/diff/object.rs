use super::{by_name, changed, kind, members};
use crate::wire::{DiffType, FieldDiff, ObjectDiff};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Which scalars of a noun are compared.
pub(super) struct Shape<'a> {
    pub(super) skip: &'a [&'a str],
    pub(super) contextual: bool,
}

/// Scalars by name, as text.
pub(super) type Flat = BTreeMap<String, String>;

/// Maps whose entries count as scalars: `Meta[owner]`.
const MAPS: &[&str] = &[
    "Meta",
    "CanaryMeta",
    "TaggedAddresses",
    "Env",
    "GetterOptions",
    "GetterHeaders",
    "Header",
    "Args",
    "Config",
    "Policy",
    "Target",
    "Add",
    "Set",
];

/// Blocks that may be missing; they are no scalars then either.
const BLOCKS: &[&str] = &[
    "CheckRestart",
    "Lifecycle",
    "Migrate",
    "ReschedulePolicy",
    "RestartPolicy",
    "UI",
    "Update",
    "Weights",
];

/// The scalars of a noun, its text maps flattened.
pub(super) fn flat(noun: &Value, shape: &Shape<'_>) -> Flat {
    let mut out = Flat::new();
    for (key, value) in members(noun).into_iter().flatten() {
        if shape.skip.contains(&key.as_str()) {
            continue;
        }
        match value {
            Value::Object(map) if MAPS.contains(&key.as_str()) => {
                for (entry, value) in map {
                    deep(&format!("{key}[{entry}]"), value, &mut out);
                }
            }
            Value::Object(_) | Value::Array(_) => {}
            Value::Null if BLOCKS.contains(&key.as_str()) => {}
            scalar => {
                out.insert(key.clone(), text(scalar));
            }
        }
    }
    out
}

/// Everything below a value, each scalar with its path.
fn deep(path: &str, value: &Value, out: &mut Flat) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                deep(&format!("{path}[{key}]"), value, out);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                deep(&format!("{path}[{index}]"), value, out);
            }
        }
        scalar => {
            out.insert(path.to_owned(), text(scalar));
        }
    }
}

fn text(scalar: &Value) -> String {
    match scalar {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The differences of scalars; nothing and the empty text are the same.
pub(super) fn field_diffs(old: &Flat, new: &Flat, unchanged_too: bool) -> Vec<FieldDiff> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut fields = Vec::new();
    for name in names {
        let before = old.get(name).cloned().unwrap_or_default();
        let after = new.get(name).cloned().unwrap_or_default();
        let diff_type = if before == after {
            DiffType::None
        } else if before.is_empty() {
            DiffType::Added
        } else if after.is_empty() {
            DiffType::Deleted
        } else {
            DiffType::Edited
        };
        if diff_type != DiffType::None || unchanged_too {
            fields.push(FieldDiff {
                diff_type,
                name: name.clone(),
                old: before,
                new: after,
                annotations: Vec::new(),
            });
        }
    }
    fields
}

/// Blocks of one noun, collected in any order.
#[derive(Default)]
pub(super) struct Blocks {
    all: Vec<ObjectDiff>,
}

impl Blocks {
    /// Adds blocks; unchanged ones are left out, they would be repeated in every plan.
    pub(super) fn extend(&mut self, blocks: impl IntoIterator<Item = ObjectDiff>) {
        self.all.extend(
            blocks
                .into_iter()
                .filter(|block| block.diff_type != DiffType::None),
        );
    }

    pub(super) fn sorted(self) -> Vec<ObjectDiff> {
        let mut all = self.all;
        all.sort_by(|a, b| {
            (&a.name, a.diff_type, &a.fields).cmp(&(&b.name, b.diff_type, &b.fields))
        });
        all
    }
}

/// One block that both versions may have under `key`.
pub(super) fn block(
    name: &str,
    key: &str,
    old: &Value,
    new: &Value,
    contextual: bool,
) -> Option<ObjectDiff> {
    block_without(name, key, &[], old, new, contextual)
}

/// As [`block`], leaving out some scalars.
pub(super) fn block_without(
    name: &str,
    key: &str,
    skip: &[&str],
    old: &Value,
    new: &Value,
    contextual: bool,
) -> Option<ObjectDiff> {
    let null = Value::Null;
    let old = old.get(key).unwrap_or(&null);
    let new = new.get(key).unwrap_or(&null);
    object(name, old, new, &Shape { skip, contextual })
}

fn is_list_of_objects(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|items| items.iter().any(Value::is_object))
}

/// What one entry of a list is called.
fn shown(key: &str) -> &str {
    match key {
        "Checks" => "Check",
        "DynamicPorts" => "Dynamic Port",
        "ReservedPorts" => "Static Port",
        "Networks" => "Network",
        "Links" => "Link",
        "Devices" => "Device",
        "Constraints" => "Constraint",
        "Affinities" => "Affinity",
        "Upstreams" => "ConsulUpstreams",
        other => other,
    }
}

/// The difference of two blocks; none when neither exists.
fn object(name: &str, old: &Value, new: &Value, shape: &Shape<'_>) -> Option<ObjectDiff> {
    if old.is_null() && new.is_null() {
        return None;
    }
    let contextual = shape.contextual;
    let (before, after) = (flat(old, shape), flat(new, shape));
    let mut objects = Blocks::default();
    let keys: BTreeSet<&String> = members(old)
        .into_iter()
        .chain(members(new))
        .flat_map(|map| map.keys())
        .collect();
    for key in keys {
        // Maps of texts count as scalars.
        let map = MAPS.contains(&key.as_str());
        let is = |test: fn(&Value) -> bool| {
            old.get(key).is_some_and(test) || new.get(key).is_some_and(test)
        };
        if is(is_list_of_objects) {
            objects.extend(lists(shown(key), key, old, new, contextual));
        } else if is(Value::is_array) {
            objects.extend(texts(key, old, new, contextual));
        } else if !map && is(Value::is_object) {
            objects.extend(block(key, key, old, new, contextual));
        }
    }
    let objects = objects.sorted();
    let mut fields = field_diffs(&before, &after, false);
    let diff_type = kind(old, new, changed(&fields, &objects));
    if contextual && diff_type == DiffType::Edited {
        fields = field_diffs(&before, &after, true);
    }
    Some(ObjectDiff {
        diff_type,
        name: name.to_owned(),
        fields,
        objects,
    })
}

/// Blocks that may stand more than once. Services and checks are the same when their names are;
/// other blocks have no name, a change of one is a removal and an addition.
pub(super) fn lists(
    name: &str,
    key: &str,
    old: &Value,
    new: &Value,
    contextual: bool,
) -> Vec<ObjectDiff> {
    let items = |noun: &Value| -> Vec<Value> {
        noun.get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let (mut old, mut new) = (items(old), items(new));
    // What did not change is matched first.
    old.retain(|item| match new.iter().position(|other| other == item) {
        Some(at) => {
            new.remove(at);
            false
        }
        None => true,
    });
    let shape = Shape {
        skip: &[],
        contextual,
    };
    let named = matches!(key, "Services" | "Checks");
    let mut all = Vec::new();
    for item in old {
        let same = |other: &Value| named && other.get("Name") == item.get("Name");
        let partner = match new.iter().position(same) {
            Some(at) => new.remove(at),
            None => Value::Null,
        };
        all.extend(object(name, &item, &partner, &shape));
    }
    for item in new {
        all.extend(object(name, &Value::Null, &item, &shape));
    }
    all
}

/// Blocks that stand by their names under `key`.
pub(super) fn entries(
    name: &str,
    key: &str,
    old: &Value,
    new: &Value,
    contextual: bool,
) -> Vec<ObjectDiff> {
    let null = Value::Null;
    let (old, new) = (old.get(key).unwrap_or(&null), new.get(key).unwrap_or(&null));
    let names: BTreeSet<&String> = members(old)
        .into_iter()
        .chain(members(new))
        .flat_map(|map| map.keys())
        .collect();
    let shape = Shape {
        skip: &[],
        contextual,
    };
    names
        .into_iter()
        .filter_map(|entry| {
            let of = |map: &Value| map.get(entry).cloned().unwrap_or_default();
            object(name, &of(old), &of(new), &shape)
        })
        .collect()
}

/// A list of texts as an object with one field for each.
pub(super) fn texts(key: &str, old: &Value, new: &Value, contextual: bool) -> Option<ObjectDiff> {
    let items = |noun: &Value| -> BTreeSet<String> {
        let list = noun.get(key).and_then(Value::as_array);
        list.into_iter().flatten().map(text).collect()
    };
    let (old, new) = (items(old), items(new));
    let mut fields = Vec::new();
    for item in old.union(&new) {
        let (before, after) = (old.contains(item), new.contains(item));
        let diff_type = match (before, after) {
            (true, true) if contextual => DiffType::None,
            (true, true) => continue,
            (true, false) => DiffType::Deleted,
            (false, _) => DiffType::Added,
        };
        let shown = |present: bool| if present { item.clone() } else { String::new() };
        fields.push(FieldDiff {
            diff_type,
            name: key.to_owned(),
            old: shown(before),
            new: shown(after),
            annotations: Vec::new(),
        });
    }
    if old == new {
        return None;
    }
    Some(ObjectDiff {
        diff_type: match (old.is_empty(), new.is_empty()) {
            (true, _) => DiffType::Added,
            (_, true) => DiffType::Deleted,
            _ => DiffType::Edited,
        },
        name: key.to_owned(),
        fields: by_name(fields),
        objects: Vec::new(),
    })
}

/// The driver's options, flattened deep: `args[0]`, `port_map[0][db]`.
pub(super) fn config(old: &Value, new: &Value, contextual: bool) -> Option<ObjectDiff> {
    let flatten = |task: &Value| -> Flat {
        let mut out = Flat::new();
        for (key, value) in task.get("Config").and_then(members).into_iter().flatten() {
            deep(key, value, &mut out);
        }
        out
    };
    let (before, after) = (flatten(old), flatten(new));
    let fields = field_diffs(&before, &after, false);
    if fields.is_empty() {
        return None;
    }
    let diff_type = match (before.is_empty(), after.is_empty()) {
        (true, _) => DiffType::Added,
        (_, true) => DiffType::Deleted,
        _ => DiffType::Edited,
    };
    let context = contextual && diff_type == DiffType::Edited;
    Some(ObjectDiff {
        diff_type,
        name: "Config".into(),
        fields: field_diffs(&before, &after, context),
        objects: Vec::new(),
    })
}
