use crate::model::Span;
use crate::spec::schema::Kind;
use crate::spec::value;
use serde_json::{Map, Value};

/// The value as an attribute's kind, or what is required.
pub(super) fn convert(kind: Kind, value: Value) -> Result<Value, String> {
    match kind {
        Kind::Text => value::text(&value)
            .map(Value::String)
            .ok_or_else(|| "string required".into()),
        Kind::Whole => match value::whole(&value) {
            Some(number) => Ok(number.into()),
            None if value::number(&value).is_some() => Err("a whole number is required".into()),
            None => Err("a number is required".into()),
        },
        Kind::Flag => value::flag(&value)
            .map(Value::Bool)
            .ok_or_else(|| "bool required".into()),
        Kind::Duration => match &value {
            Value::Number(number) => number
                .as_i64()
                .map(Value::from)
                .ok_or_else(|| "a whole number of nanoseconds is required".into()),
            Value::String(text) => Span::parse(text)
                .map(|duration| duration.as_nanos().into())
                .map_err(|error| error.to_string()),
            _ => Err("a duration such as \"30s\" is required".into()),
        },
        Kind::TextList => match value {
            Value::Array(items) => items
                .iter()
                .map(|item| value::text(item).map(Value::String))
                .collect::<Option<Vec<_>>>()
                .map(Value::Array)
                .ok_or_else(|| "list of string required".into()),
            _ => Err("list of string required".into()),
        },
        Kind::WholeList => match value {
            Value::Array(items) => items
                .iter()
                .map(|item| value::whole(item).map(Value::from))
                .collect::<Option<Vec<_>>>()
                .map(Value::Array)
                .ok_or_else(|| "list of number required".into()),
            _ => Err("list of number required".into()),
        },
        Kind::Number => value::number(&value)
            .map(Value::from)
            .ok_or_else(|| "a number is required".into()),
        Kind::NumberList => match value {
            Value::Array(items) => items
                .iter()
                .map(|item| value::number(item).map(Value::from))
                .collect::<Option<Vec<_>>>()
                .map(Value::Array)
                .ok_or_else(|| "list of number required".into()),
            _ => Err("list of number required".into()),
        },
        Kind::TextMap => match value {
            Value::Object(map) => map
                .into_iter()
                .map(|(key, item)| Some((key, value::text(&item)?.into())))
                .collect::<Option<Map<_, _>>>()
                .map(Value::Object)
                .ok_or_else(|| "map of string required".into()),
            _ => Err("map of string required".into()),
        },
    }
}
