//! Bodies of the dialect: names of fields match whatever their capitals and underscores.
//!
//! A body is read as a value first; where a type wants an object with known fields, each name in
//! the body is matched with the type's own. Maps whose keys are free keep them. Unknown fields are
//! left to the type, which ignores them, so that newer clients are served too.

use std::time::Duration;

use jobs::model::Span;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::{Error, Map, Value};

use crate::body::Raw;
use crate::error::Error as Refusal;

/// Reads a body; one without anything is as an object without anything.
///
/// # Errors
/// 400 when it has another shape.
pub(super) fn body_or_default<T: DeserializeOwned + Default>(body: &Raw) -> Result<T, Refusal> {
    if body.bytes().trim_ascii().is_empty() {
        return Ok(T::default());
    }
    self::body(body)
}

/// Reads a body.
///
/// # Errors
/// 400 when it has another shape.
pub(super) fn body<T: DeserializeOwned>(body: &Raw) -> Result<T, Refusal> {
    parse(body).map_err(|error| Refusal::bad_request(format!("Request decode failed: {error}")))
}

/// As [`body`], for a refusal in other words.
///
/// # Errors
/// When it has another shape.
pub(super) fn parse<T: DeserializeOwned>(body: &Raw) -> Result<T, Error> {
    serde_json::from_slice(body.bytes()).and_then(decode)
}

/// A duration in a body: a text with units, or a number, of nanoseconds unless the field says
/// otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum GoDuration {
    /// It was a text.
    Text(Span),
    /// It was a number.
    Number(i64),
}

impl GoDuration {
    /// The duration, of a field whose numbers are nanoseconds; nothing for a negative one.
    pub(super) fn of_nanoseconds(self) -> Duration {
        match self {
            Self::Text(span) => span.to_std(),
            Self::Number(nanoseconds) => {
                Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
            }
        }
    }
}

/// As [`GoDuration::of_nanoseconds`]; nothing when it is not set.
pub(super) fn length(posted: Option<GoDuration>) -> Duration {
    posted.map_or(Duration::ZERO, GoDuration::of_nanoseconds)
}

impl TryFrom<Value> for GoDuration {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match &value {
            Value::String(text) if text.is_empty() => Ok(Self::Text(Span::default())),
            Value::String(text) => Span::parse(text)
                .map(Self::Text)
                .map_err(|_| format!("time: invalid duration {text:?}")),
            Value::Number(number) => number
                .as_i64()
                .map(Self::Number)
                .ok_or_else(|| format!("time: invalid duration {number}")),
            other => Err(format!("a duration is expected, not `{}`", kind(other))),
        }
    }
}

/// Reads a value of the dialect.
///
/// # Errors
/// When it has another shape.
pub(super) fn decode<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Loose {
        value,
        unknown: Unknown::Ignored,
    })
}

/// As [`decode`], for what people write by hand: a field that the type does not know is an error.
///
/// # Errors
/// When it has another shape.
pub(super) fn decode_strictly<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Loose {
        value,
        unknown: Unknown::Refused,
    })
}

/// Fields that are accepted everywhere and mean nothing here: there are no tokens, one namespace
/// and one partition.
const MEANINGLESS: [&str; 3] = ["token", "namespace", "partition"];

/// What becomes of fields that a type does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Ignored,
    Refused,
}

/// A value whose objects are read with the names of the type's fields.
struct Loose {
    value: Value,
    unknown: Unknown,
}

impl IntoDeserializer<'_, Error> for Loose {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Loose {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let unknown = self.unknown;
        match self.value {
            Value::Array(values) => {
                let values = values.into_iter().map(|value| Loose { value, unknown });
                visitor.visit_seq(SeqDeserializer::new(values))
            }
            Value::Object(map) => visitor.visit_map(entries(map, unknown)),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Value::Object(map) = self.value else {
            let error = format!("an object is expected, not `{}`", kind(&self.value));
            return Err(Error::custom(error));
        };
        let map = renamed(map, fields, self.unknown)?;
        visitor.visit_map(entries(map, self.unknown))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn entries<'de>(
    map: Map<String, Value>,
    unknown: Unknown,
) -> MapDeserializer<'de, impl Iterator<Item = (String, Loose)>, Error> {
    let loose = move |(key, value)| (key, Loose { value, unknown });
    MapDeserializer::new(map.into_iter().map(loose))
}

/// The object with the names of `fields`; what is null counts as not given. Of two spellings of one
/// name the exact one counts, else the first.
fn renamed(
    map: Map<String, Value>,
    fields: &[&str],
    unknown: Unknown,
) -> Result<Map<String, Value>, Error> {
    let mut known = Map::new();
    for (key, value) in map {
        if value.is_null() {
            continue;
        }
        let folded = folded(&key);
        let exact = fields.contains(&key.as_str());
        let field = fields.iter().find(|field| self::folded(field) == folded);
        match field {
            Some(_) if exact => {
                known.insert(key, value);
            }
            Some(field) => {
                known.entry((*field).to_owned()).or_insert(value);
            }
            None if unknown == Unknown::Refused && !MEANINGLESS.contains(&folded.as_str()) => {
                let error = format!("`{key}` is no setting that is read here");
                return Err(Error::custom(error));
            }
            None => {}
        }
    }
    Ok(known)
}

fn folded(name: &str) -> String {
    let letters = name.chars().filter(|letter| *letter != '_');
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::decode;
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Inner {
        #[serde(rename = "HTTP")]
        http: String,
        deregister_critical_service_after: String,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Outer {
        #[serde(rename = "ID")]
        id: String,
        port: Option<u16>,
        meta: BTreeMap<String, String>,
        checks: Vec<Inner>,
        check: Option<Inner>,
    }

    #[test]
    fn capitals_and_underscores_of_fields_do_not_matter_but_free_keys_stay() {
        let body = json!({
            "id": "a", "PORT": 7, "unknown": {"x": [1]},
            "meta": {"Some_Key": "v", "ID": "kept"},
            "check": {"http": "u", "deregister_critical_service_after": "1m"},
            "Checks": [{"Http": "w"}, {"HTTP": null}],
        });
        let outer: Outer = decode(body).unwrap();
        assert_eq!(outer.id, "a");
        assert_eq!(outer.port, Some(7));
        let meta = [("Some_Key", "v"), ("ID", "kept")];
        assert_eq!(
            outer.meta,
            meta.map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        );
        let check = outer.check.unwrap();
        assert_eq!(check.http, "u");
        assert_eq!(check.deregister_critical_service_after, "1m");
        assert_eq!(outer.checks[0].http, "w");
        assert_eq!(outer.checks[1], Inner::default());
    }

    #[test]
    fn the_exact_spelling_counts_and_null_is_not_given() {
        let outer: Outer =
            decode(json!({"id": "x", "ID": "y", "Meta": null, "Port": null})).unwrap();
        assert_eq!(outer.id, "y");
        assert_eq!(outer.port, None);
        assert!(decode::<Outer>(json!({"port": "seven"})).is_err());
        assert!(decode::<Outer>(json!([])).is_err());
    }
}
