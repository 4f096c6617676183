use super::value;
use hcl_edit::Span;
use hcl_edit::expr::{Expression, FuncCall, ObjectKey};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::Range;

/// The declared type of an input variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Any,
    Text,
    Number,
    Flag,
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>),
    Object(BTreeMap<String, Type>),
    Tuple(Vec<Type>),
}

/// Why a type cannot be read, and where.
#[derive(Debug)]
pub(super) struct TypeFault {
    pub(super) span: Option<Range<usize>>,
    pub(super) detail: String,
}

impl TypeFault {
    fn new<T>(expr: &Expression, detail: impl Into<String>) -> Result<T, Self> {
        Err(Self {
            span: expr.span(),
            detail: detail.into(),
        })
    }
}

impl Type {
    /// Reads a type as it is written: `string`, `list(number)`, `object({ a = bool })`.
    pub(super) fn parse(expr: &Expression) -> Result<Self, TypeFault> {
        match expr {
            Expression::Variable(name) => match name.as_str() {
                "any" => Ok(Self::Any),
                "string" => Ok(Self::Text),
                "number" => Ok(Self::Number),
                "bool" => Ok(Self::Flag),
                // The bare names of collections hold anything.
                "list" => Ok(Self::List(Box::new(Self::Any))),
                "set" => Ok(Self::Set(Box::new(Self::Any))),
                "map" => Ok(Self::Map(Box::new(Self::Any))),
                other => TypeFault::new(
                    expr,
                    format!("The keyword \"{other}\" is not a valid type specification."),
                ),
            },
            Expression::FuncCall(call) => Self::parse_call(expr, call),
            _ => TypeFault::new(
                expr,
                "A type specification is either a primitive type keyword (bool, number, string) or a complex type constructor call, like list(string).",
            ),
        }
    }

    fn parse_call(expr: &Expression, call: &FuncCall) -> Result<Self, TypeFault> {
        let name = call.name.name.as_str();
        let args: Vec<&Expression> = call.args.iter().collect();
        match (name, args.as_slice()) {
            ("list", [item]) => Ok(Self::List(Box::new(Self::parse(item)?))),
            ("set", [item]) => Ok(Self::Set(Box::new(Self::parse(item)?))),
            ("map", [item]) => Ok(Self::Map(Box::new(Self::parse(item)?))),
            ("object", [Expression::Object(object)]) => object
                .iter()
                .map(|(key, item)| match key_name(key) {
                    Some(key) => Ok((key, Self::parse(item.expr())?)),
                    None => TypeFault::new(
                        item.expr(),
                        "Object constructor map keys must be attribute names.",
                    ),
                })
                .collect::<Result<_, _>>()
                .map(Self::Object),
            ("tuple", [Expression::Array(items)]) => items
                .iter()
                .map(Self::parse)
                .collect::<Result<_, _>>()
                .map(Self::Tuple),
            ("list" | "set" | "map", _) => TypeFault::new(
                expr,
                format!(
                    "The {name} type constructor requires one argument specifying the element type."
                ),
            ),
            ("object", _) => TypeFault::new(
                expr,
                "The object type constructor requires one argument specifying the attribute types and values as a map.",
            ),
            ("tuple", _) => TypeFault::new(
                expr,
                "The tuple type constructor requires one argument specifying the element types as a list.",
            ),
            ("optional", _) => TypeFault::new(
                expr,
                "Optional attribute modifier is only for type constraints, not for exact types.",
            ),
            _ => TypeFault::new(
                expr,
                format!("Keyword \"{name}\" is not a valid type constructor."),
            ),
        }
    }

    /// The type that a value has, which is that of a variable with this default and no type.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Any,
            Value::String(_) => Self::Text,
            Value::Bool(_) => Self::Flag,
            Value::Number(_) => Self::Number,
            Value::Array(items) => Self::Tuple(items.iter().map(Self::of).collect()),
            Value::Object(map) => Self::Object(
                map.iter()
                    .map(|(key, item)| (key.clone(), Self::of(item)))
                    .collect(),
            ),
        }
    }

    /// True when text from a flag or the environment is taken as it is, without quotes.
    pub(super) fn is_raw_text(&self) -> bool {
        matches!(self, Self::Text | Self::Number)
    }

    /// A value that stands for a missing one once that has been reported, so that it is reported
    /// once.
    pub(super) fn blank(&self) -> Value {
        match self {
            Self::Any | Self::Text => Value::String(String::new()),
            Self::Number => Value::from(0),
            Self::Flag => Value::Bool(false),
            Self::List(_) | Self::Set(_) => Value::Array(Vec::new()),
            Self::Map(_) => Value::Object(Map::new()),
            Self::Object(types) => types
                .iter()
                .map(|(key, item)| (key.clone(), item.blank()))
                .collect::<Map<_, _>>()
                .into(),
            Self::Tuple(types) => types.iter().map(Self::blank).collect(),
        }
    }

    /// The value as this type, or what is wrong with it.
    pub(super) fn convert(&self, value: Value) -> Result<Value, String> {
        if value.is_null() {
            return Ok(value);
        }
        match self {
            Self::Any => Ok(value),
            Self::Text => value::text(&value)
                .map(Value::String)
                .ok_or_else(|| wanted("string", &value)),
            Self::Number => match value {
                Value::Number(_) => Ok(value),
                other => value::number(&other)
                    .and_then(value::from_f64)
                    .ok_or_else(|| "a number is required".into()),
            },
            Self::Flag => value::flag(&value)
                .map(Value::Bool)
                .ok_or_else(|| wanted("bool", &value)),
            Self::List(item) => Ok(Value::Array(convert_all(items(value)?, item)?)),
            Self::Set(item) => {
                let mut known = std::collections::BTreeSet::new();
                let mut seen = convert_all(items(value)?, item)?;
                seen.retain(|value| known.insert(value.to_string()));
                seen.sort_by_key(|value| value::text(value).unwrap_or_default());
                Ok(Value::Array(seen))
            }
            Self::Map(item) => match value {
                Value::Object(map) => map
                    .into_iter()
                    .map(|(key, value)| Ok((key, item.convert(value)?)))
                    .collect::<Result<Map<_, _>, String>>()
                    .map(Value::Object),
                other => Err(wanted("map", &other)),
            },
            Self::Object(types) => {
                let mut map = match value {
                    Value::Object(map) => map,
                    other => return Err(wanted("object", &other)),
                };
                types
                    .iter()
                    .map(|(key, item)| match map.remove(key) {
                        Some(value) => Ok((key.clone(), item.convert(value)?)),
                        None => Err(format!("attribute \"{key}\" is required")),
                    })
                    .collect::<Result<Map<_, _>, String>>()
                    .map(Value::Object)
            }
            Self::Tuple(types) => {
                let values = items(value)?;
                if values.len() != types.len() {
                    return Err(format!("tuple of {} elements required", types.len()));
                }
                values
                    .into_iter()
                    .zip(types)
                    .map(|(value, item)| item.convert(value))
                    .collect::<Result<_, _>>()
                    .map(Value::Array)
            }
        }
    }
}

fn items(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(wanted("list", &other)),
    }
}

fn wanted(name: &str, value: &Value) -> String {
    format!("{name} required, but have {}", value::type_name(value))
}

fn convert_all(values: Vec<Value>, item: &Type) -> Result<Vec<Value>, String> {
    values
        .into_iter()
        .map(|value| item.convert(value))
        .collect()
}

/// The name that an object key stands for when nothing is computed.
fn key_name(key: &ObjectKey) -> Option<String> {
    match key {
        ObjectKey::Ident(name) => Some(name.as_str().to_owned()),
        ObjectKey::Expression(Expression::Variable(name)) => Some(name.as_str().to_owned()),
        ObjectKey::Expression(Expression::String(name)) => Some(name.value().clone()),
        ObjectKey::Expression(_) => None,
    }
}
