use jobs::model::TaskConfig;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What kind of value an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One text.
    Text,
    /// A list of texts.
    List,
}

/// Every problem of `config` against the options a driver has.
pub(super) fn problems(config: &TaskConfig, known: &[(&str, Kind)]) -> Vec<String> {
    let mut problems = Vec::new();
    for (key, value) in config {
        let Some((_, kind)) = known.iter().find(|(name, _)| *name == *key) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            problems.push(format!(
                "invalid label: no option named `{key}` is expected in config; it may hold {}",
                names.join(", ")
            ));
            continue;
        };
        let is_good = match kind {
            Kind::Text => scalar(value).is_some(),
            Kind::List => value
                .as_array()
                .is_some_and(|items| items.iter().all(|item| scalar(item).is_some())),
        };
        if !is_good && !value.is_null() {
            let wanted = match kind {
                Kind::Text => "a text",
                Kind::List => "a list of texts",
            };
            problems.push(format!("config option `{key}` must be {wanted}"));
        }
    }
    problems
}

/// The text of an option; empty when it is not set.
pub(super) fn text(config: &TaskConfig, key: &str) -> String {
    config.get(key).and_then(scalar).unwrap_or_default()
}

/// The texts of an option; empty when it is not set.
pub(super) fn list(config: &TaskConfig, key: &str) -> Vec<String> {
    config
        .get(key)
        .and_then(Value::as_array)
        .map(|items| items.iter().filter_map(scalar).collect())
        .unwrap_or_default()
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
