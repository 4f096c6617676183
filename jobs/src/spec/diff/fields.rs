use super::nouns::Field;
use crate::model::Span;
use crate::spec::functions::format;
use crate::wire::{DiffType, FieldDiff};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Scalars by name, as text.
pub(super) type Flat = BTreeMap<String, String>;

/// What stands for nothing where nothing differs from the empty text.
const NIL: &str = "nil";

/// The scalars of a noun; `edited` says that both versions have it.
pub(super) fn flat(fields: &[Field], noun: &Value, edited: bool) -> Flat {
    let mut out = Flat::new();
    if !noun.is_null() {
        for field in fields {
            add(*field, noun, edited, &mut out);
        }
    }
    out
}

fn add(field: Field, noun: &Value, edited: bool, out: &mut Flat) {
    let value = |key: &str| noun.get(key).unwrap_or(&Value::Null);
    let entries = |key: &str| value(key).as_object().into_iter().flatten();
    let mut put = |key: &str, text: String| {
        out.insert(key.to_owned(), text);
    };
    match field {
        Field::Scalar(key) => put(key, text(value(key))),
        Field::Number(key) => put(key, value(key).as_i64().unwrap_or(0).to_string()),
        Field::Given(key) => {
            // A negative number is that of nobody.
            if let Some(number) = value(key).as_i64().filter(|number| *number >= 0) {
                put(key, number.to_string());
            }
        }
        Field::OrNil(key) => match value(key) {
            Value::Null => put(key, NIL.into()),
            given => put(key, text(given)),
        },
        Field::Edited(key) if edited => put(key, text(value(key))),
        Field::Time(key) if edited => {
            let span = value(key).as_i64().map(Span::from_nanos);
            put(key, span.map(|span| span.to_string()).unwrap_or_default());
        }
        Field::Edited(_) | Field::Time(_) => {}
        Field::Positive(key) => {
            if let Some(number) = value(key).as_i64().filter(|number| *number > 0) {
                put(key, number.to_string());
            }
        }
        Field::Joined(key) => {
            let list = value(key).as_array().map(Vec::as_slice).unwrap_or_default();
            if !list.is_empty() {
                let texts: Vec<String> = list.iter().map(text).collect();
                put(key, texts.join(","));
            }
        }
        Field::Map(key) => {
            for (entry, value) in entries(key) {
                put(&format!("{key}[{entry}]"), text(value));
            }
        }
        Field::Keys(key) => {
            for (entry, value) in entries(key) {
                put(entry, text(value));
            }
        }
        Field::Tree(key) => {
            for (entry, value) in entries(key) {
                deep(&format!("{key}[{entry}]"), value, out);
            }
        }
    }
}

/// Everything below a map of free form, each scalar with its path: `args[0]`, `port_map[0][db]`.
pub(super) fn free(map: &Value) -> Flat {
    let mut out = Flat::new();
    for (key, value) in map.as_object().into_iter().flatten() {
        deep(key, value, &mut out);
    }
    out
}

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
        Value::Null => {
            out.insert(path.to_owned(), NIL.into());
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            out.insert(path.to_owned(), format::shortest(number));
        }
        scalar => {
            out.insert(path.to_owned(), text(scalar));
        }
    }
}

/// Addresses with their ports, by name.
pub(super) fn addresses(map: &Value) -> Flat {
    let entries = map.as_object().into_iter().flatten();
    entries
        .map(|(name, address)| {
            let of = |key: &str| text(address.get(key).unwrap_or(&Value::Null));
            let (host, port) = (of("Address"), of("Port"));
            let shown = match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            };
            (name.clone(), shown)
        })
        .collect()
}

/// The entries of a list as texts.
pub(super) fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(text).collect()
}

fn text(scalar: &Value) -> String {
    match scalar {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The differences of scalars, of which nothing and the empty text are the same; unchanged ones too
/// where `contextual` says so.
pub(super) fn field_diffs(old: &Flat, new: &Flat, contextual: bool) -> Vec<FieldDiff> {
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
        if diff_type != DiffType::None || contextual {
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
