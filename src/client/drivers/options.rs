//! What may stand in the `config` block of a task, and how it is read.

use jobs::model::TaskConfig;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What kind of value an option takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// One text.
    Text,
    /// A list of texts.
    List,
    /// One text, or a list of them.
    TextOrList,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
    /// Texts by name, as a block or as a map.
    Map,
    /// A block, at most once.
    Block(Table),
    /// A block that may stand several times.
    Blocks(Table),
}

/// The options of a block by name.
pub(super) type Table = &'static [(&'static str, Kind)];

/// Every problem of `config` against the options a driver has.
pub(super) fn problems(config: &TaskConfig, known: Table) -> Vec<String> {
    let mut problems = Vec::new();
    let entries: Vec<_> = config.iter().map(|(key, value)| (&**key, value)).collect();
    check("", &entries, known, &mut problems);
    problems
}

fn check<'a>(
    block: &str,
    entries: &[(&'a str, &'a Value)],
    known: Table,
    problems: &mut Vec<String>,
) {
    for &(key, value) in entries {
        let whole = if block.is_empty() {
            key.to_owned()
        } else {
            format!("{block}.{key}")
        };
        let Some((_, kind)) = known.iter().find(|(name, _)| *name == key) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            problems.push(format!(
                "invalid label: no option named `{whole}` is expected in config; it may hold {}",
                names.join(", ")
            ));
            continue;
        };
        if value.is_null() {
            continue;
        }
        let (is_good, wanted) = match kind {
            Kind::Text => (scalar(value).is_some(), "a text"),
            Kind::List => (is_list(value), "a list of texts"),
            Kind::TextOrList => (
                scalar(value).is_some() || is_list(value),
                "a text or a list of texts",
            ),
            Kind::Number => (whole_number(value).is_some(), "a whole number"),
            Kind::Flag => (truth(value).is_some(), "true or false"),
            Kind::Map => (
                objects(value).is_some_and(|maps| {
                    maps.iter()
                        .all(|map| map.values().all(|item| scalar(item).is_some()))
                }),
                "a block of texts by name",
            ),
            Kind::Block(_) => (
                objects(value).is_some_and(|found| found.len() <= 1),
                "one block",
            ),
            Kind::Blocks(_) => (objects(value).is_some(), "a block"),
        };
        if !is_good {
            problems.push(format!("config option `{whole}` must be {wanted}"));
        } else if let Kind::Block(table) | Kind::Blocks(table) = kind {
            for object in objects(value).unwrap_or_default() {
                let entries: Vec<_> = object
                    .iter()
                    .map(|(key, value)| (key.as_str(), value))
                    .collect();
                check(&whole, &entries, table, problems);
            }
        }
    }
}

fn is_list(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|items| items.iter().all(|item| scalar(item).is_some()))
}

/// Blocks come as an object, or as a list of them.
fn objects(value: &Value) -> Option<Vec<&Map<String, Value>>> {
    match value {
        Value::Object(object) => Some(vec![object]),
        Value::Array(items) => items.iter().map(Value::as_object).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Options of a task or of a block in it, free of problems.
#[derive(Clone, Copy, Debug)]
pub(super) enum Options<'a> {
    /// Of a task.
    Task(&'a TaskConfig),
    /// Of a block.
    Block(&'a Map<String, Value>),
}

impl<'a> Options<'a> {
    fn get(self, key: &str) -> Option<&'a Value> {
        match self {
            Self::Task(config) => config.get(key),
            Self::Block(block) => block.get(key),
        }
    }

    /// True when it is set.
    pub(super) fn has(self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !value.is_null())
    }

    /// The text of an option; none when it is not set or empty.
    pub(super) fn text(self, key: &str) -> Option<String> {
        let text = self.get(key).and_then(scalar);
        text.filter(|text| !text.is_empty())
    }

    /// The texts of an option; empty when it is not set.
    pub(super) fn list(self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some(Value::Array(items)) => items.iter().filter_map(scalar).collect(),
            Some(one) => scalar(one).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The number of an option.
    pub(super) fn number(self, key: &str) -> Option<i64> {
        self.get(key).and_then(whole_number)
    }

    /// The flag of an option.
    pub(super) fn flag(self, key: &str) -> Option<bool> {
        self.get(key).and_then(truth)
    }

    /// The texts of an option by name.
    pub(super) fn map(self, key: &str) -> BTreeMap<String, String> {
        let found = self.get(key).and_then(objects).unwrap_or_default();
        let entries = found.into_iter().flatten();
        entries
            .filter_map(|(key, value)| Some((key.clone(), scalar(value)?)))
            .collect()
    }

    /// The blocks of an option.
    pub(super) fn blocks(self, key: &str) -> Vec<Self> {
        let found = self.get(key).and_then(objects).unwrap_or_default();
        found.into_iter().map(Options::Block).collect()
    }
}

/// The text of an option; empty when it is not set.
pub(super) fn text(config: &TaskConfig, key: &str) -> String {
    Options::Task(config).text(key).unwrap_or_default()
}

/// The texts of an option; empty when it is not set.
pub(super) fn list(config: &TaskConfig, key: &str) -> Vec<String> {
    Options::Task(config).list(key)
}

/// The working directory: `work_dir` when set, the task's own otherwise.
pub(super) fn work_dir(config: &TaskConfig, task_dir: &Path) -> PathBuf {
    // Joining an absolute path replaces the base.
    task_dir.join(text(config, "work_dir"))
}

/// Job files write numbers where texts are meant.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// And texts where numbers are meant, when they hold a variable.
fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.to_string().strip_suffix(".0")?.parse().ok()),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
