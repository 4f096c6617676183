use serde_json::{Map, Number, Value};

/// The value as text, as a template or a text attribute shows it; none for null and collections.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The value as a number: numbers and text that reads as one.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    }
}

/// The value as a whole number.
pub(super) fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The value as a flag: flags and the texts `true`, `false`, `1` and `0`.
pub(super) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => match text.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A number value; whole ones become integers, so that `1` and `1.0` are equal.
pub(super) fn from_f64(number: f64) -> Option<Value> {
    // 2^53: above it not every integer has a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}

/// The entries of an object in the order in which expressions see them: by key.
pub(super) fn entries(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

/// Keys and values of a collection: indexes for a list, keys for an object; none for scalars.
pub(super) fn pairs(value: &Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Array(items) => Some(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| (Value::from(index), item.clone()))
                .collect(),
        ),
        Value::Object(map) => Some(
            entries(map)
                .into_iter()
                .map(|(key, item)| (Value::from(key.as_str()), item.clone()))
                .collect(),
        ),
        _ => None,
    }
}

/// Lists and objects inside each other; more would not fit the stack of those that walk them.
const DEEPEST: usize = 100;

/// A rough size in bytes, to bound what expressions may build; none when it is nested too deep.
pub(super) fn size(value: &Value) -> Option<usize> {
    size_at(value, DEEPEST)
}

fn size_at(value: &Value, deeper: usize) -> Option<usize> {
    let mut total: usize = 8;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => total += text.len(),
        Value::Array(items) => {
            let deeper = deeper.checked_sub(1)?;
            for item in items {
                total += size_at(item, deeper)?;
            }
        }
        Value::Object(map) => {
            let deeper = deeper.checked_sub(1)?;
            for (key, item) in map {
                total += 8 + key.len() + size_at(item, deeper)?;
            }
        }
    }
    Some(total)
}

/// What the type of a value is called in messages.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "tuple",
        Value::Object(_) => "object",
    }
}
