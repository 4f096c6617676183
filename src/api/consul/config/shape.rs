//! An entry with its keys and lengths of time as the API answers them, whatever the writer's way.
//!
//! People write keys in capitals or with underscores, and lengths of time as texts or as
//! nanoseconds. What may stand where is in [`super::kinds`].

use jobs::model::Span;
use serde_json::{Map, Value};
use std::fmt;

use super::kinds::{COMMON, KINDS, Shape};

/// What is wrong with a part of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// It may not have this key.
    Key(String),
    /// The value of this key is no length of time.
    Time(String, String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "invalid config key {key:?}"),
            Self::Time(key, reason) => write!(f, "invalid value of {key:?}: {reason}"),
        }
    }
}

/// Whether entries of this kind are known.
pub(super) fn is_known(kind: &str) -> bool {
    KINDS.iter().any(|(known, _)| *known == kind)
}

/// An entry as the API answers it, or everything that is wrong with how it is written.
pub(super) fn canonical(kind: &str, entry: Map<String, Value>) -> Result<Value, Vec<Problem>> {
    let own = KINDS.iter().find(|(known, _)| *known == kind);
    let own = own.map_or(&[][..], |(_, keys)| keys);
    let keys = [COMMON, own].concat();
    let mut problems = Vec::new();
    let renamed = renamed(entry, &keys, "", &mut problems);
    if problems.is_empty() {
        Ok(Value::Object(renamed))
    } else {
        Err(problems)
    }
}

fn renamed(
    map: Map<String, Value>,
    keys: &[(&str, Shape)],
    path: &str,
    problems: &mut Vec<Problem>,
) -> Map<String, Value> {
    let mut found = Map::new();
    for (key, value) in map {
        let known = keys.iter().find(|(known, _)| folded(known) == folded(&key));
        match known {
            Some((_, Shape::Alias(name))) => {
                found.insert((*name).to_owned(), value);
            }
            Some((name, shape)) => {
                let path = format!("{path}{name}.");
                found.insert((*name).to_owned(), shaped(value, *shape, &path, problems));
            }
            None => problems.push(Problem::Key(format!("{path}{key}"))),
        }
    }
    // In the order of the shape, whatever the writer's was.
    let mut ordered = Map::new();
    for (name, _) in keys {
        if let Some(value) = found.remove(*name) {
            ordered.insert((*name).to_owned(), value);
        }
    }
    ordered
}

fn shaped(value: Value, shape: Shape, path: &str, problems: &mut Vec<Problem>) -> Value {
    match (shape, value) {
        (Shape::Object(keys), Value::Object(map)) => {
            Value::Object(renamed(map, keys, path, problems))
        }
        (Shape::List(inner), Value::Array(items)) => {
            let items = items.into_iter().enumerate();
            let shaped = items.map(|(at, item)| {
                let path = format!("{}[{at}].", path.trim_end_matches('.'));
                shaped(item, *inner, &path, problems)
            });
            Value::Array(shaped.collect())
        }
        (Shape::Map(inner), Value::Object(map)) => {
            let pairs = map.into_iter().map(|(key, value)| {
                let path = format!("{path}{key}.");
                let value = shaped(value, *inner, &path, problems);
                (key, value)
            });
            Value::Object(pairs.collect())
        }
        (Shape::Time, Value::Number(number)) => match number.as_i64() {
            Some(nanoseconds) => Span::from_nanos(nanoseconds).to_string().into(),
            None => Value::Number(number),
        },
        (Shape::Time | Shape::Nanoseconds, Value::String(text)) => match Span::parse(&text) {
            Ok(span) if matches!(shape, Shape::Time) => span.to_string().into(),
            Ok(span) => span.as_nanos().into(),
            Err(error) => {
                let key = path.trim_end_matches('.').to_owned();
                problems.push(Problem::Time(key, error.to_string()));
                Value::Null
            }
        },
        (_, value) => value,
    }
}

fn folded(name: &str) -> String {
    name.replace('_', "").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kind: &str, entry: Value) -> Result<Value, Vec<String>> {
        let Value::Object(entry) = entry else {
            panic!("an object");
        };
        canonical(kind, entry)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// Every key of `shape` once, with a value that stays as it is; with underscores if asked.
    fn filled(shape: Shape, underscores: bool) -> Value {
        let name = |name: &str| match underscores {
            true => snake(name),
            false => name.to_owned(),
        };
        match shape {
            Shape::Any | Shape::Alias(_) => json!({"Own-Key_x": [1, "v", null]}),
            Shape::Object(keys) => {
                let keys = keys
                    .iter()
                    .filter(|(_, shape)| !matches!(shape, Shape::Alias(_)));
                let pairs = keys.map(|(key, shape)| (name(key), filled(*shape, underscores)));
                Value::Object(pairs.collect())
            }
            Shape::List(inner) => json!([filled(*inner, underscores)]),
            Shape::Map(inner) => json!({"Free_key": filled(*inner, underscores)}),
            Shape::Time => json!("1m30s"),
            Shape::Nanoseconds => json!(90_000_000_000_u64),
        }
    }

    fn snake(name: &str) -> String {
        let mut text = String::new();
        let letters: Vec<char> = name.chars().collect();
        for (at, letter) in letters.iter().enumerate() {
            let follows_small = at > 0 && letters[at - 1].is_ascii_lowercase();
            if letter.is_ascii_uppercase() && follows_small {
                text.push('_');
            }
            text.push(letter.to_ascii_lowercase());
        }
        text
    }

    #[test]
    fn every_field_of_every_kind_is_kept_however_it_is_written() {
        for (kind, keys) in KINDS {
            let entry = |underscores| {
                let keys = [COMMON, keys].concat();
                let pairs = keys.iter().map(|(key, shape)| {
                    let key = if underscores {
                        snake(key)
                    } else {
                        (*key).to_owned()
                    };
                    (key, filled(*shape, underscores))
                });
                Value::Object(pairs.collect())
            };
            let written = entry(false);
            assert_eq!(read(kind, written.clone()).as_ref(), Ok(&written), "{kind}");
            assert_eq!(read(kind, entry(true)).as_ref(), Ok(&written), "{kind}");
        }
    }

    #[test]
    fn lengths_of_time_are_answered_in_one_way() {
        let resolver = json!({"Kind": "service-resolver", "connect_timeout": 15_000_000_000_u64,
            "RequestTimeout": "90s"});
        assert_eq!(
            read("service-resolver", resolver).unwrap(),
            json!({"Kind": "service-resolver", "ConnectTimeout": "15s", "RequestTimeout": "1m30s"})
        );
        let gateway = json!({"Defaults": {"MaxConnections": 3, "passive_health_check":
            {"interval": "500ms", "max_failures": 5, "BaseEjectionTime": 7}}});
        assert_eq!(
            read("ingress-gateway", gateway).unwrap(),
            json!({"Defaults": {"MaxConnections": 3, "PassiveHealthCheck":
                {"Interval": 500_000_000, "MaxFailures": 5, "BaseEjectionTime": 7}}})
        );
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_its_place() {
        let routes = json!([
            {"Destination": {"RequestTimeout": "soon", "IdleTimeout": "5"}},
            {"Match": {"HTTP": {"Pfad": "/"}}},
        ]);
        assert_eq!(
            read("service-router", json!({"Routes": routes, "Nope": 1})),
            Err(vec![
                "invalid value of \"Routes[0].Destination.RequestTimeout\": time: invalid duration \"soon\""
                    .into(),
                "invalid value of \"Routes[0].Destination.IdleTimeout\": time: missing unit in duration \"5\""
                    .into(),
                "invalid config key \"Routes[1].Match.HTTP.Pfad\"".into(),
                "invalid config key \"Nope\"".into(),
            ])
        );
    }

    #[test]
    fn names_of_before_are_known() {
        let exported = json!({"services": [{"name": "web", "consumers": [{"peer_name": "east"}]}]});
        assert_eq!(
            read("exported-services", exported).unwrap(),
            json!({"Services": [{"Name": "web", "Consumers": [{"Peer": "east"}]}]})
        );
    }
}
