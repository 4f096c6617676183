use super::fields::{Flat, addresses, field_diffs, flat, free, texts};
use super::nouns::{By, Noun, Part, Same};
use super::{changed, kind};
use crate::wire::{DiffType, FieldDiff, ObjectDiff};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// What stands at a key, or at a path of keys with dots; null for nothing.
pub(super) fn at<'a>(noun: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .try_fold(noun, |value, key| value.get(key))
        .unwrap_or(&Value::Null)
}

/// The difference of two blocks of a kind; none when they do not differ.
pub(super) fn block(noun: &Noun, old: &Value, new: &Value) -> Option<ObjectDiff> {
    if old == new {
        return None;
    }
    let fields = fields_of(noun, old, new);
    let objects = objects_of(noun, old, new);
    let diff_type = match noun.by {
        By::Presence => kind(old, new, true),
        By::Fields => type_of(&fields),
    };
    (diff_type != DiffType::None || changed(&[], &objects)).then(|| ObjectDiff {
        diff_type,
        name: noun.name.to_owned(),
        fields,
        objects,
    })
}

/// The differences of the scalars of a noun.
pub(super) fn fields_of(noun: &Noun, old: &Value, new: &Value) -> Vec<FieldDiff> {
    let edited = !old.is_null() && !new.is_null();
    let before = flat(noun.fields, old, edited);
    let after = flat(noun.fields, new, edited);
    field_diffs(&before, &after, noun.contextual)
}

/// The differences of the blocks of a noun, in the order of its parts.
pub(super) fn objects_of(noun: &Noun, old: &Value, new: &Value) -> Vec<ObjectDiff> {
    noun.parts
        .iter()
        .flat_map(|part| part_diffs(part, old, new))
        .collect()
}

fn part_diffs(part: &Part, old: &Value, new: &Value) -> Vec<ObjectDiff> {
    let pair = |path: &str| (at(old, path), at(new, path));
    match part {
        Part::One(path, noun) => {
            let (old, new) = pair(path);
            block(noun, old, new).into_iter().collect()
        }
        Part::Each(path, noun, same) => {
            let (old, new) = pair(path);
            list(noun, *same, old, new)
        }
        Part::Entries(path, noun) => {
            let (old, new) = pair(path);
            let keys: BTreeSet<&String> = [old, new]
                .into_iter()
                .filter_map(Value::as_object)
                .flat_map(|map| map.keys())
                .collect();
            keys.into_iter()
                .filter_map(|key| block(noun, at_key(old, key), at_key(new, key)))
                .collect()
        }
        Part::Set(key) => {
            let (old, new) = pair(key);
            set(key, &texts(old), &texts(new)).into_iter().collect()
        }
        Part::ChangedSet(key) => {
            let (old, new) = pair(key);
            set(key, &texts(old), &texts(new))
                .into_iter()
                .filter(|set| set.diff_type != DiffType::None)
                .collect()
        }
        Part::Free(path, name, contextual) => {
            let (old, new) = pair(path);
            flattened(name, *contextual, &free(old), &free(new), old == new)
        }
        Part::Addresses(key) => {
            let (old, new) = pair(key);
            flattened(key, true, &addresses(old), &addresses(new), old == new)
        }
        Part::Edit(_) if old.is_null() || new.is_null() => Vec::new(),
        Part::Edit(part) => part_diffs(part, old, new),
    }
}

fn at_key<'a>(map: &'a Value, key: &str) -> &'a Value {
    map.get(key).unwrap_or(&Value::Null)
}

/// A map of free form as one object.
fn flattened(name: &str, contextual: bool, old: &Flat, new: &Flat, same: bool) -> Vec<ObjectDiff> {
    if same {
        return Vec::new();
    }
    let diff_type = match (old.is_empty(), new.is_empty()) {
        (true, _) => DiffType::Added,
        (_, true) => DiffType::Deleted,
        _ => DiffType::Edited,
    };
    vec![ObjectDiff {
        diff_type,
        name: name.to_owned(),
        fields: field_diffs(old, new, contextual),
        objects: Vec::new(),
    }]
}

/// A set of texts as one object with a field for each; none for an empty one.
fn set(key: &str, old: &BTreeSet<String>, new: &BTreeSet<String>) -> Option<ObjectDiff> {
    let mut fields = Vec::new();
    for item in old.union(new) {
        let flat = |set: &BTreeSet<String>| -> Flat {
            let present = set.contains(item);
            present
                .then(|| (key.to_owned(), item.clone()))
                .into_iter()
                .collect()
        };
        fields.extend(field_diffs(&flat(old), &flat(new), true));
    }
    fields.sort_by(|a, b| (&a.old, &a.new).cmp(&(&b.old, &b.new)));
    let diff_type = match (new.is_subset(old), old.is_subset(new)) {
        (true, true) => DiffType::None,
        (true, false) => DiffType::Deleted,
        (false, true) => DiffType::Added,
        (false, false) => DiffType::Edited,
    };
    (!fields.is_empty()).then(|| ObjectDiff {
        diff_type,
        name: key.to_owned(),
        fields,
        objects: Vec::new(),
    })
}

/// Edited when anything is edited, or one scalar is added and another deleted.
fn type_of(fields: &[FieldDiff]) -> DiffType {
    let any = |wanted: DiffType| fields.iter().any(|field| field.diff_type == wanted);
    let (added, deleted) = (any(DiffType::Added), any(DiffType::Deleted));
    if any(DiffType::Edited) || (added && deleted) {
        DiffType::Edited
    } else if added {
        DiffType::Added
    } else if deleted {
        DiffType::Deleted
    } else {
        DiffType::None
    }
}

/// The differences of two lists of blocks, sorted.
fn list(noun: &Noun, same: Same, old: &Value, new: &Value) -> Vec<ObjectDiff> {
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let (old, new) = (items(old), items(new));
    let mut all: Vec<ObjectDiff> = partners(same, old, new)
        .into_iter()
        .filter_map(|(old, new)| block(noun, &old, &new))
        .collect();
    all.sort_by(order);
    all
}

/// Which entries belong together; null for what has no partner.
fn partners(same: Same, old: Vec<Value>, new: Vec<Value>) -> Vec<(Value, Value)> {
    match same {
        Same::Equal => by_key(&[], old, new),
        Same::Keyed(keys) => by_key(keys, old, new),
        Same::Place => {
            let count = old.len().max(new.len());
            let mut old = old.into_iter();
            let mut new = new.into_iter();
            (0..count)
                .map(|_| {
                    (
                        old.next().unwrap_or_default(),
                        new.next().unwrap_or_default(),
                    )
                })
                .collect()
        }
        Same::Target => matched(old, new, |old, _, new, _| {
            u32::from(old.get("DestPath") == new.get("DestPath"))
        }),
        Same::Best => matched(old, new, |old, at, new, place| {
            let alike = |key: &str, points: u32| match old.get(key) == new.get(key) {
                true => points,
                false => 0,
            };
            let score = alike("Name", 3) + alike("PortLabel", 2) + u32::from(at == place);
            // The place alone, or the port alone, says too little.
            if score > 2 { score } else { 0 }
        }),
    }
}

fn by_key(keys: &[&str], old: Vec<Value>, new: Vec<Value>) -> Vec<(Value, Value)> {
    let key = |item: &Value| {
        let parts: Vec<String> = keys
            .iter()
            .map(|key| at_key(item, key).to_string())
            .collect();
        match parts.iter().all(|part| part == "\"\"" || part == "null") {
            true => item.to_string(),
            false => parts.join("/"),
        }
    };
    let map = |items: Vec<Value>| -> BTreeMap<String, Value> {
        items.into_iter().map(|item| (key(&item), item)).collect()
    };
    let (mut old, mut new) = (map(old), map(new));
    let all: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    all.into_iter()
        .map(|key| {
            (
                old.remove(&key).unwrap_or_default(),
                new.remove(&key).unwrap_or_default(),
            )
        })
        .collect()
}

/// Gives each old entry the new one with the highest score; the only ones always belong together.
fn matched(
    old: Vec<Value>,
    new: Vec<Value>,
    score: impl Fn(&Value, usize, &Value, usize) -> u32,
) -> Vec<(Value, Value)> {
    let only = old.len() == 1 && new.len() == 1;
    let mut new: Vec<Option<Value>> = new.into_iter().map(Some).collect();
    let mut pairs = Vec::new();
    for (place, before) in old.into_iter().enumerate() {
        let mut best = (0, None);
        for (at, after) in new.iter().enumerate() {
            let Some(after) = after else { continue };
            let points = if only {
                1
            } else {
                score(&before, place, after, at)
            };
            if points > best.0 {
                best = (points, Some(at));
            }
        }
        let after = best.1.and_then(|at| new[at].take());
        pairs.push((before, after.unwrap_or_default()));
    }
    pairs.extend(new.into_iter().flatten().map(|new| (Value::Null, new)));
    pairs
}

/// Edited before added before deleted, small before large.
fn order(a: &ObjectDiff, b: &ObjectDiff) -> Ordering {
    let rank = |diff: &ObjectDiff| match diff.diff_type {
        DiffType::Edited => 0,
        DiffType::Added => 1,
        DiffType::Deleted => 2,
        DiffType::None => 3,
    };
    let texts = |diff: &ObjectDiff| -> Vec<(String, String, String)> {
        let fields = diff.fields.iter();
        fields
            .map(|field| (field.name.clone(), field.old.clone(), field.new.clone()))
            .collect()
    };
    a.name
        .cmp(&b.name)
        .then_with(|| rank(a).cmp(&rank(b)))
        .then_with(|| a.fields.len().cmp(&b.fields.len()))
        .then_with(|| a.objects.len().cmp(&b.objects.len()))
        .then_with(|| texts(a).cmp(&texts(b)))
}
