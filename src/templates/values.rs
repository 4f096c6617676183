//! JSON to the values of templates and back.

use gotmpl::{TemplateError, Value};
use std::{collections::BTreeMap, sync::Arc};

/// A text as a value.
pub(crate) fn text(text: impl AsRef<str>) -> Value {
    Value::String(text.as_ref().into())
}

/// A list of values.
pub(crate) fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::List(items.into_iter().collect())
}

/// A map of values.
pub(crate) fn map<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
    let entries = entries.into_iter();
    let map: BTreeMap<Arc<str>, Value> = entries
        .map(|(key, value)| (key.as_ref().into(), value))
        .collect();
    Value::Map(Arc::new(map))
}

/// What JSON says.
pub(crate) fn of_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::Int(whole),
            (None, Some(whole)) => Value::Uint(whole),
            (None, None) => Value::Float(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(inner) => text(inner),
        serde_json::Value::Array(items) => list(items.iter().map(of_json)),
        serde_json::Value::Object(fields) => {
            map(fields.iter().map(|(key, value)| (key, of_json(value))))
        }
    }
}

/// A value as JSON, the keys of maps in order.
pub(crate) fn to_json(value: &Value) -> Result<serde_json::Value, TemplateError> {
    Ok(match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        // Whole numbers are written without a point.
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole, and far from the limits"
            )]
            let whole = *number as i64;
            whole.into()
        }
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.as_ref().into(),
        Value::List(items) => {
            let items = items.iter().map(to_json);
            serde_json::Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Map(map) => {
            let fields = map.iter();
            let fields = fields.map(|(key, value)| Ok((key.to_string(), to_json(value)?)));
            serde_json::Value::Object(fields.collect::<Result<_, TemplateError>>()?)
        }
        Value::Function(_) => {
            return Err(TemplateError::Exec("a function has no JSON".into()));
        }
    })
}
