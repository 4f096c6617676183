//! Files that define services and checks, as trees.

use super::Problem;
use super::file::{self, Entry, Value};
use serde_json::Map;
use std::path::PathBuf;

/// Most files of definitions.
const FILES_MAX: usize = 4096;

/// Reads files of definitions, HCL or JSON, and those of directories. A block that stands several
/// times is a list.
///
/// # Errors
/// Every problem of every file.
pub fn trees(paths: &[PathBuf]) -> Result<Vec<(String, serde_json::Value)>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut trees = Vec::new();
    let expanded = paths.iter().map(|path| file::expand(path, &mut problems));
    let files: Vec<PathBuf> = expanded.collect::<Vec<_>>().into_iter().flatten().collect();
    if files.len() > FILES_MAX {
        let label = files[FILES_MAX].display().to_string();
        let message = format!("there are more than {FILES_MAX} files of definitions");
        return Err(vec![Problem::new(&label, message)]);
    }
    for path in files {
        let label = path.display().to_string();
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| {
            let message = format!("cannot read the file: {error}");
            Problem::new(&label, message)
        });
        match text
            .map_err(|problem| vec![problem])
            .and_then(|text| tree(&label, &text))
        {
            Ok(tree) => trees.push((label, tree)),
            Err(wrong) => problems.extend(wrong),
        }
    }
    if problems.is_empty() {
        Ok(trees)
    } else {
        Err(problems)
    }
}

/// Reads a text, HCL or JSON, as [`trees`] reads a file; problems name it `label`.
///
/// # Errors
/// Every problem.
pub fn tree(label: &str, text: &str) -> Result<serde_json::Value, Vec<Problem>> {
    let entries = file::parse(label, text).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let tree = object(label, entries, &mut problems);
    if problems.is_empty() {
        Ok(tree)
    } else {
        Err(problems)
    }
}

/// Entries as one object; a block that stands several times is a list.
pub(super) fn object(
    label: &str,
    entries: Vec<Entry>,
    problems: &mut Vec<Problem>,
) -> serde_json::Value {
    let mut map: Map<String, serde_json::Value> = Map::new();
    let mut repeated = Vec::new();
    for entry in entries {
        let Entry {
            key, place, value, ..
        } = entry;
        if matches!(value, Value::Other) {
            let message = format!("`{key}` is an expression, where only plain values are read");
            problems.push(Problem::at(label, place, message));
            continue;
        }
        let value = converted(label, value, problems);
        match map.get_mut(&key) {
            None => drop(map.insert(key, value)),
            Some(serde_json::Value::Array(items)) if repeated.contains(&key) => items.push(value),
            Some(first) => {
                *first = serde_json::Value::Array(vec![first.take(), value]);
                repeated.push(key);
            }
        }
    }
    serde_json::Value::Object(map)
}

fn converted(label: &str, value: Value, problems: &mut Vec<Problem>) -> serde_json::Value {
    match value {
        Value::Text(text) => text.into(),
        Value::Number(number) => whole(number).map_or_else(|| number.into(), Into::into),
        Value::Bool(flag) => flag.into(),
        Value::List(items) => {
            let items = items.into_iter();
            items.map(|item| converted(label, item, problems)).collect()
        }
        Value::Tree(entries) => object(label, entries, problems),
        Value::Other => serde_json::Value::Null,
    }
}

/// Up to here a number with a fraction tells whole numbers apart.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A number that has no fraction.
pub(super) fn whole(number: f64) -> Option<i64> {
    let is_whole = number.fract() == 0.0 && number.abs() <= WHOLE_MAX;
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    is_whole.then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_and_objects_become_one_tree() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.hcl");
        std::fs::write(
            &file,
            "service {\n  name = \"a\"\n  port = 80\n  meta { k = \"v\" }\n}\nservice {\n  name = \"b\"\n  checks = [{ interval = 5000000000 }]\n}\n",
        )
        .unwrap();
        std::fs::write(dir.path().join("b.json"), r#"{"check": {"name": "c"}}"#).unwrap();
        std::fs::write(dir.path().join("ignored.txt"), "x").unwrap();
        let read = trees(&[dir.path().to_path_buf()]).unwrap();
        assert_eq!(
            read[0].1,
            json!({"service": [
                {"name": "a", "port": 80, "meta": {"k": "v"}},
                {"name": "b", "checks": [{"interval": 5_000_000_000_i64}]},
            ]})
        );
        assert_eq!(read[1].1, json!({"check": {"name": "c"}}));
        std::fs::write(&file, "service {\n  name = var.x\n}\n").unwrap();
        let problems = trees(&[file, dir.path().join("none.hcl")]).unwrap_err();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            problems[0].contains("a.hcl:2,3: `name` is an expression"),
            "{problems:?}"
        );
        assert!(problems[1].contains("cannot read the file"), "{problems:?}");
    }
}
