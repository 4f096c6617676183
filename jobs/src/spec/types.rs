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
    fn new<T>(span: Option<Range<usize>>, detail: impl Into<String>) -> Result<T, Self> {
        Err(Self {
            span,
            detail: detail.into(),
        })
    }
}

/// What a type is written for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// A variable: nothing may be left open.
    Variable,
    /// A conversion: `any` and `optional(…)` are fine.
    Conversion,
}

impl Type {
    /// Reads the type of a variable: `string`, `list(number)`, `object({ a = bool })`.
    pub(super) fn parse(expr: &Expression) -> Result<Self, TypeFault> {
        Self::read(expr, Use::Variable)
    }

    /// Reads the type that `convert` is given, in which `any` may stand too.
    pub(super) fn parse_wanted(expr: &Expression) -> Result<Self, TypeFault> {
        Self::read(expr, Use::Conversion)
    }

    fn read(expr: &Expression, of: Use) -> Result<Self, TypeFault> {
        let keyword = match expr {
            Expression::Variable(name) => name.as_str(),
            Expression::Null(_) => "null",
            Expression::Bool(value) if *value.value() => "true",
            Expression::Bool(_) => "false",
            Expression::FuncCall(call) => return Self::read_call(expr, call, of),
            _ => {
                return TypeFault::new(
                    expr.span(),
                    "A type specification is either a primitive type keyword (bool, number, string) or a complex type constructor call, like list(string).",
                );
            }
        };
        match keyword {
            "string" => Ok(Self::Text),
            "number" => Ok(Self::Number),
            "bool" => Ok(Self::Flag),
            "any" if of == Use::Conversion => Ok(Self::Any),
            "any" => TypeFault::new(
                expr.span(),
                "The keyword \"any\" cannot be used in this type specification: an exact type is required.",
            ),
            "list" | "set" | "map" | "object" | "tuple" => {
                TypeFault::new(expr.span(), wants_one(keyword))
            }
            other => TypeFault::new(
                expr.span(),
                format!("The keyword \"{other}\" is not a valid type specification."),
            ),
        }
    }

    fn read_call(expr: &Expression, call: &FuncCall, of: Use) -> Result<Self, TypeFault> {
        let name = call.name.name.as_str();
        let args: Vec<&Expression> = call.args.iter().collect();
        let arg = match (name, args.as_slice()) {
            ("string" | "number" | "bool", _) => {
                return TypeFault::new(
                    arguments(call),
                    format!("Primitive type keyword \"{name}\" does not expect arguments."),
                );
            }
            ("any", _) => {
                return TypeFault::new(
                    arguments(call),
                    "Type constraint keyword \"any\" does not expect arguments.",
                );
            }
            ("optional", _) => {
                return TypeFault::new(
                    call.name.name.span(),
                    "Keyword \"optional\" is valid only as a modifier for object type attributes.",
                );
            }
            ("list" | "set" | "map" | "object" | "tuple", [arg]) => *arg,
            ("list" | "set" | "map" | "object" | "tuple", args) => {
                let surplus = args.get(1).and_then(|arg| arg.span());
                return TypeFault::new(surplus.or_else(|| arguments(call)), wants_one(name));
            }
            _ => {
                return TypeFault::new(
                    expr.span(),
                    format!("Keyword \"{name}\" is not a valid type constructor."),
                );
            }
        };
        match (name, arg) {
            ("list", item) => Ok(Self::List(Box::new(Self::read(item, of)?))),
            ("set", item) => Ok(Self::Set(Box::new(Self::read(item, of)?))),
            ("map", item) => Ok(Self::Map(Box::new(Self::read(item, of)?))),
            ("object", Expression::Object(object)) => object
                .iter()
                .map(|(key, item)| match key_name(key) {
                    Some(key) => Ok((key, Self::read_attribute(item.expr(), of)?)),
                    None => TypeFault::new(
                        key.span(),
                        "Object constructor map keys must be attribute names.",
                    ),
                })
                .collect::<Result<_, _>>()
                .map(Self::Object),
            ("tuple", Expression::Array(items)) => items
                .iter()
                .map(|item| Self::read(item, of))
                .collect::<Result<_, _>>()
                .map(Self::Tuple),
            ("tuple", _) => TypeFault::new(
                arg.span(),
                "Tuple type constructor requires a list of element types.",
            ),
            _ => TypeFault::new(
                arg.span(),
                "Object type constructor requires a map whose keys are attribute names and whose values are the corresponding attribute types.",
            ),
        }
    }

    /// The type of an attribute of an object, which may be `optional(…)` in a conversion. The
    /// attribute has to be there all the same.
    fn read_attribute(expr: &Expression, of: Use) -> Result<Self, TypeFault> {
        let Expression::FuncCall(call) = expr else {
            return Self::read(expr, of);
        };
        if call.name.name.as_str() != "optional" {
            return Self::read(expr, of);
        }
        if of == Use::Variable {
            return TypeFault::new(
                call.name.name.span(),
                "Optional attribute modifier is only for type constraints, not for exact types.",
            );
        }
        let args: Vec<&Expression> = call.args.iter().collect();
        match args.as_slice() {
            [item] => Self::read(item, of),
            [] => TypeFault::new(
                arguments(call),
                "Optional attribute modifier requires the attribute type as its argument.",
            ),
            _ => TypeFault::new(
                arguments(call),
                "Optional attribute modifier expects only one argument: the attribute type.",
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

/// Where the arguments of a call stand, with the brackets around them.
fn arguments(call: &FuncCall) -> Option<Range<usize>> {
    Some(call.name.name.span()?.end..call.span()?.end)
}

/// The name of an attribute of an object type; none for what is no plain word.
fn key_name(key: &ObjectKey) -> Option<String> {
    match key {
        ObjectKey::Ident(name) => Some(name.as_str().to_owned()),
        ObjectKey::Expression(Expression::Variable(name)) => Some(name.as_str().to_owned()),
        ObjectKey::Expression(_) => None,
    }
}

/// What is wrong with a constructor that does not have exactly one argument.
fn wants_one(constructor: &str) -> String {
    let wanted = match constructor {
        "object" => "the attribute types and values as a map",
        "tuple" => "the element types as a list",
        _ => "the element type",
    };
    format!("The {constructor} type constructor requires one argument specifying {wanted}.")
}
