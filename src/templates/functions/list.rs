//! Functions that work with lists and maps.

use super::{
    Fields, access::maps, add, argument, failed, integer_at, list_at, map_at, same, text_at,
    yes_or_no,
};
use crate::values;
use gotmpl::{FuncMap, TemplateError, Value};
use std::{collections::BTreeMap, sync::Arc};

/// Most entries of a list that `loop` makes.
const LOOP_MAX: i64 = 1_000_000;
/// Deepest nesting of folders that are made maps of.
const FOLDERS_MAX: usize = 64;

pub(super) fn add_all(map: &mut FuncMap) {
    add(map, "contains", 2..=2, |args| contains(args, 0, 1));
    add(map, "in", 2..=2, |args| contains(args, 1, 0));
    for (name, holds) in COMPARISONS {
        add(map, name, 2..=2, move |args| {
            let (wanted, items) = (list_at(args, 0)?, list_at(args, 1)?);
            let is_there = |one: &&Value| items.iter().any(|item| same(item, one));
            let found = wanted.iter().filter(is_there).count();
            yes_or_no(holds(found, wanted.len()))
        });
    }
    add(map, "loop", 1..=2, |args| {
        let (from, to) = match args.len() {
            1 => (0, integer_at(args, 0)?),
            _ => (integer_at(args, 0)?, integer_at(args, 1)?),
        };
        if to.saturating_sub(from) > LOOP_MAX {
            return Err(failed(format!("more than {LOOP_MAX} rounds")));
        }
        Ok(values::list((from..to).map(Value::Int)))
    });
    grouping(map);
    merging(map);
}

type Comparison = (&'static str, fn(usize, usize) -> bool);

/// How many of the wanted ones were found, of how many.
const COMPARISONS: [Comparison; 4] = [
    ("containsAll", |found, wanted| found == wanted),
    ("containsAny", |found, _| found > 0),
    ("containsNone", |found, _| found == 0),
    ("containsNotAll", |found, wanted| found < wanted),
];

fn contains(args: &[Value], wanted: usize, among: usize) -> super::Answer {
    let (wanted, among) = (argument(args, wanted)?, argument(args, among)?);
    match among {
        Value::List(items) => yes_or_no(items.iter().any(|item| same(item, wanted))),
        Value::Map(fields) => yes_or_no(fields.contains_key(wanted.to_string().as_str())),
        Value::String(text) => yes_or_no(text.contains(&wanted.to_string())),
        Value::Nil => yes_or_no(false),
        other => Err(failed(format!("`{other}` is no list"))),
    }
}

/// Items of a list by the names that `of` gives each.
fn grouped(
    args: &[Value],
    at: usize,
    of: impl Fn(&Fields) -> Vec<String>,
) -> Result<Value, TemplateError> {
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for item in maps(args, at)? {
        for name in of(&item) {
            groups
                .entry(name)
                .or_default()
                .push(Value::Map(Arc::clone(&item)));
        }
    }
    Ok(values::map(
        groups
            .into_iter()
            .map(|(name, items)| (name, values::list(items))),
    ))
}

fn grouping(map: &mut FuncMap) {
    add(map, "byTag", 1..=1, |args| {
        grouped(args, 0, |item| match item.get("Tags") {
            Some(Value::List(tags)) => tags.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        })
    });
    add(map, "byPort", 1..=1, |args| {
        grouped(args, 0, |item| {
            item.get("Port")
                .map(ToString::to_string)
                .into_iter()
                .collect()
        })
    });
    add(map, "byMeta", 2..=2, |args| {
        let wanted = text_at(args, 0)?;
        grouped(args, 1, move |item| {
            let meta = item.get("ServiceMeta");
            let values = wanted.split(',').map(|key| {
                let value = meta.and_then(|meta| meta.field(key.trim()));
                value.map(ToString::to_string).unwrap_or_default()
            });
            vec![values.collect::<Vec<_>>().join("_")]
        })
    });
    add(map, "byKey", 1..=1, |args| {
        let mut folders: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
        for item in maps(args, 0)? {
            let path = item.get("Key").map(ToString::to_string).unwrap_or_default();
            if let Some((folder, rest)) = path.split_once('/') {
                let folder = folders.entry(folder.to_owned()).or_default();
                folder.insert(rest.to_owned(), Value::Map(item));
            }
        }
        Ok(values::map(
            folders
                .into_iter()
                .map(|(name, pairs)| (name, values::map(pairs))),
        ))
    });
    add(map, "explode", 1..=1, |args| {
        let pairs = maps(args, 0)?.into_iter().map(|item| {
            let path = item.get("Key").map(ToString::to_string).unwrap_or_default();
            (path, item.get("Value").cloned().unwrap_or(Value::Nil))
        });
        explode(pairs)
    });
    add(map, "explodeMap", 1..=1, |args| {
        let fields = map_at(args, 0)?;
        explode(
            fields
                .iter()
                .map(|(path, value)| (path.to_string(), value.clone())),
        )
    });
}

/// Paths as maps inside each other.
fn explode(pairs: impl Iterator<Item = (String, Value)>) -> Result<Value, TemplateError> {
    let mut root = BTreeMap::new();
    for (path, value) in pairs {
        let names: Vec<&str> = path.split('/').collect();
        if names.len() > FOLDERS_MAX {
            return Err(failed(format!(
                "`{path}` has more than {FOLDERS_MAX} folders"
            )));
        }
        put(&mut root, &names, value, &path)?;
    }
    Ok(Value::Map(Arc::new(root)))
}

fn put(
    into: &mut BTreeMap<Arc<str>, Value>,
    names: &[&str],
    value: Value,
    path: &str,
) -> Result<(), TemplateError> {
    match names {
        [] => Ok(()),
        [last] => {
            into.insert((*last).into(), value);
            Ok(())
        }
        [folder, rest @ ..] => {
            let inner = into
                .entry((*folder).into())
                .or_insert_with(|| Value::Map(Arc::default()));
            let Value::Map(inner) = inner else {
                return Err(failed(format!(
                    "`{path}` lies below a key that has a value"
                )));
            };
            put(Arc::make_mut(inner), rest, value, path)
        }
    }
}

fn merging(map: &mut FuncMap) {
    // What is piped is the first of the two.
    for (name, overrides) in [("mergeMap", false), ("mergeMapWithOverride", true)] {
        add(map, name, 2..=2, move |args| {
            let (other, first) = (map_at(args, 0)?, map_at(args, 1)?);
            Ok(Value::Map(Arc::new(merged(&first, &other, overrides))))
        });
    }
}

pub(super) fn merged(first: &Fields, other: &Fields, overrides: bool) -> BTreeMap<Arc<str>, Value> {
    let mut all = (**first).clone();
    for (key, value) in other.iter() {
        let inner = match (all.get(key), value) {
            (Some(Value::Map(first)), Value::Map(other)) => {
                Value::Map(Arc::new(merged(first, other, overrides)))
            }
            (Some(first), _) if !overrides => first.clone(),
            _ => value.clone(),
        };
        all.insert(Arc::clone(key), inner);
    }
    all
}
