//! Configuration text to a tree that knows the place of every key.

pub(super) use super::tree::{Entry, SETTINGS, Value};
pub use super::tree::{Placed, Problem};
use super::{hcl1, tree::place};
use hcl_edit::{
    Span,
    expr::{Expression, ObjectKey},
    structure::{Body, Structure},
};
use std::path::{Path, PathBuf};

/// The longest configuration file in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The files that `path` stands for: itself, or the `.hcl` and `.json` files of a directory by
/// name.
pub(super) fn expand(path: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_path_buf()];
    }
    let listed = std::fs::read_dir(path).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
    });
    match listed {
        Ok(mut files) => {
            files.retain(|file| {
                file.extension()
                    .is_some_and(|extension| extension == "hcl" || extension == "json")
            });
            files.sort();
            files
        }
        Err(error) => {
            let label = path.display().to_string();
            problems.push(Problem::new(
                &label,
                format!("cannot list the directory: {error}"),
            ));
            Vec::new()
        }
    }
}

pub(super) fn parse(label: &str, text: &str) -> Result<Vec<Entry>, Problem> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Problem::new(label, "the file is larger than 1 MiB"));
    }
    if text.trim().is_empty() {
        // A file that is still to be written says nothing, in either language.
        Ok(Vec::new())
    } else if text.trim_start().starts_with('{') || label.ends_with(".json") {
        parse_json(label, text)
    } else {
        // Older files have another form; where neither is read, the newer one says more.
        parse_hcl(label, text).or_else(|problem| hcl1::parse(label, text).map_err(|_| problem))
    }
}

fn parse_json(label: &str, text: &str) -> Result<Vec<Entry>, Problem> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        Problem::at(
            label,
            Some((error.line(), error.column())),
            error.to_string(),
        )
    })?;
    match json_value(value) {
        Value::Tree(entries) => Ok(entries),
        _ => Err(Problem::new(label, "the file must hold one JSON object")),
    }
}

fn json_value(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Number(number) => number.as_f64().map_or(Value::Other, Value::Number),
        serde_json::Value::Bool(flag) => Value::Bool(flag),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(json_value).collect()),
        // What is null is not written.
        serde_json::Value::Object(map) => Value::Tree(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| Entry {
                    key,
                    labels: Vec::new(),
                    place: None,
                    value: json_value(value),
                })
                .collect(),
        ),
        serde_json::Value::Null => Value::Other,
    }
}

fn parse_hcl(label: &str, text: &str) -> Result<Vec<Entry>, Problem> {
    let body: Body = text.parse().map_err(|error: hcl_edit::parser::Error| {
        let location = error.location();
        Problem::at(
            label,
            Some((location.line(), location.column())),
            error.message().to_string(),
        )
    })?;
    Ok(Hcl { text }.body(&body))
}

struct Hcl<'a> {
    text: &'a str,
}

impl Hcl<'_> {
    fn place(&self, span: Option<std::ops::Range<usize>>) -> Option<(usize, usize)> {
        Some(place(self.text, span?.start))
    }

    fn body(&self, body: &Body) -> Vec<Entry> {
        body.iter()
            .map(|structure| match structure {
                Structure::Attribute(attribute) => Entry {
                    key: attribute.key.as_str().to_owned(),
                    labels: Vec::new(),
                    place: self.place(attribute.key.span()),
                    value: self.value(&attribute.value),
                },
                Structure::Block(block) => Entry {
                    key: block.ident.as_str().to_owned(),
                    labels: block
                        .labels
                        .iter()
                        .map(|label| label.as_str().to_owned())
                        .collect(),
                    place: self.place(block.ident.span()),
                    value: Value::Tree(self.body(&block.body)),
                },
            })
            .collect()
    }

    fn value(&self, expression: &Expression) -> Value {
        match expression {
            Expression::String(text) => Value::Text(text.value().clone()),
            Expression::Number(number) => {
                number.value().as_f64().map_or(Value::Other, Value::Number)
            }
            Expression::Bool(flag) => Value::Bool(*flag.value()),
            Expression::Array(items) => {
                Value::List(items.iter().map(|item| self.value(item)).collect())
            }
            Expression::Object(object) => Value::Tree(
                object
                    .iter()
                    .map(|(key, value)| Entry {
                        key: match key {
                            ObjectKey::Ident(ident) => ident.as_str().to_owned(),
                            ObjectKey::Expression(expression) => {
                                expression.as_str().unwrap_or_default().to_owned()
                            }
                        },
                        labels: Vec::new(),
                        place: self.place(key.span()),
                        value: self.value(value.expr()),
                    })
                    .collect(),
            ),
            _ => Value::Other,
        }
    }
}
