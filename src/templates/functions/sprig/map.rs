//! Maps from names to values.

use super::super::{Fields, add, argument, failed, list::merged, map_at, text_at, yes_or_no};
use crate::values::{self, text as from};
use gotmpl::{FuncMap, TemplateError, Value};
use std::{collections::BTreeMap, sync::Arc};

pub(super) fn add_all(map: &mut FuncMap) {
    add(map, "sprig_dict", 0..=usize::MAX, |args| {
        let entries = args.chunks(2).map(|pair| match pair {
            [key, value] => (key.to_string(), value.clone()),
            _ => (
                pair.first().map(ToString::to_string).unwrap_or_default(),
                from(""),
            ),
        });
        Ok(values::map(entries))
    });
    add(map, "sprig_get", 2..=2, |args| {
        let found = map_at(args, 0)?.get(text_at(args, 1)?.as_str()).cloned();
        Ok(found.unwrap_or_else(|| from("")))
    });
    add(map, "sprig_hasKey", 2..=2, |args| {
        yes_or_no(map_at(args, 0)?.contains_key(text_at(args, 1)?.as_str()))
    });
    add(map, "sprig_dig", 3..=usize::MAX, dig);
    parts(map);
    merging(map);
    for name in ["sprig_deepCopy", "sprig_mustDeepCopy"] {
        add(map, name, 1..=1, |args| argument(args, 0).cloned());
    }
}

/// Names from the outermost map inwards, what it is if one of them is missing, and the map.
fn dig(args: &[Value]) -> Result<Value, TemplateError> {
    let [names @ .., default, map] = args else {
        return Err(failed("not enough arguments"));
    };
    let mut value = map.clone();
    for name in names {
        let Value::Map(fields) = &value else {
            return Err(failed(format!("`{value}` is no map")));
        };
        match fields.get(name.to_string().as_str()) {
            Some(inner) => value = inner.clone(),
            None => return Ok(default.clone()),
        }
    }
    Ok(value)
}

fn parts(map: &mut FuncMap) {
    add(map, "sprig_keys", 1..=usize::MAX, |args| {
        let mut keys = Vec::new();
        for at in 0..args.len() {
            keys.extend(map_at(args, at)?.keys().map(from));
        }
        Ok(values::list(keys))
    });
    add(map, "sprig_values", 1..=1, |args| {
        Ok(values::list(map_at(args, 0)?.values().cloned()))
    });
    add(map, "sprig_pluck", 1..=usize::MAX, |args| {
        let name = text_at(args, 0)?;
        let mut found = Vec::new();
        for at in 1..args.len() {
            found.extend(map_at(args, at)?.get(name.as_str()).cloned());
        }
        Ok(values::list(found))
    });
    for (name, keeps) in [("sprig_pick", true), ("sprig_omit", false)] {
        add(map, name, 1..=usize::MAX, move |args| {
            let named = args.get(1..).unwrap_or_default();
            let named: Vec<String> = named.iter().map(ToString::to_string).collect();
            let is_named = |key: &str| named.iter().any(|name| name == key);
            let fields = map_at(args, 0)?;
            let kept = fields.iter().filter(|(key, _)| is_named(key) == keeps);
            Ok(values::map(kept.map(|(key, own)| (key, own.clone()))))
        });
    }
}

fn merging(map: &mut FuncMap) {
    for (name, overrides) in [
        ("sprig_merge", false),
        ("sprig_mustMerge", false),
        ("sprig_mergeOverwrite", true),
        ("sprig_mustMergeOverwrite", true),
    ] {
        add(map, name, 1..=usize::MAX, move |args| {
            let mut all: Fields = Arc::new(BTreeMap::new());
            for at in 0..args.len() {
                all = Arc::new(merged(&all, &map_at(args, at)?, overrides));
            }
            Ok(Value::Map(all))
        });
    }
}
