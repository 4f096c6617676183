use serde_json::{Map, Number, Value};

/// Digits behind the point that a quotient may have to be exact, as a power of ten.
const QUOTIENT_SCALE: i128 = 1_000_000_000_000;

/// The value as text, as a template or a text attribute shows it; none for null and collections.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(match number.as_f64().filter(|_| number.is_f64()) {
            // Never with an exponent.
            Some(number) => number.to_string(),
            None => number.to_string(),
        }),
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

/// A finite number as it is written: digits and how many of them stand behind the point.
fn decimal(number: f64) -> Option<(i128, u32)> {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let scale = u32::try_from(fraction.len()).ok()?;
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, scale))
}

/// The float that lies next to a decimal number.
fn from_decimal((digits, scale): (i128, u32)) -> Option<f64> {
    format!("{digits}e-{scale}").parse().ok()
}

/// What is done with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// The result as it would be on paper, rounded once at the end: `100 * 1.1` is 110. None where
/// floats are as good, as for numbers that are too long or a division that never ends.
pub(super) fn on_paper(left: f64, right: f64, operation: Arithmetic) -> Option<f64> {
    let (a, b) = (decimal(left)?, decimal(right)?);
    let scale = a.1.max(b.1);
    let grown = |number: (i128, u32)| 10_i128.checked_pow(scale - number.1)?.checked_mul(number.0);
    from_decimal(match operation {
        Arithmetic::Add => (grown(a)?.checked_add(grown(b)?)?, scale),
        Arithmetic::Subtract => (grown(a)?.checked_sub(grown(b)?)?, scale),
        Arithmetic::Multiply => (a.0.checked_mul(b.0)?, a.1.checked_add(b.1)?),
        Arithmetic::Remainder => (grown(a)?.checked_rem(grown(b)?)?, scale),
        Arithmetic::Divide => {
            let (a, b) = (grown(a)?.checked_mul(QUOTIENT_SCALE)?, grown(b)?);
            if a.checked_rem(b)? != 0 {
                return None;
            }
            (a.checked_div(b)?, QUOTIENT_SCALE.ilog10())
        }
    })
}

/// The entries of an object in the order in which expressions see them: by key.
pub(super) fn entries(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

/// Keys and values of a collection: indexes for a list, keys for an object.
///
/// # Errors
/// The value itself when it is no collection.
pub(super) fn pairs(value: Value) -> Result<Vec<(Value, Value)>, Value> {
    match value {
        Value::Array(items) => Ok(items
            .into_iter()
            .enumerate()
            .map(|(index, item)| (Value::from(index), item))
            .collect()),
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Ok(entries
                .into_iter()
                .map(|(key, item)| (Value::from(key), item))
                .collect())
        }
        other => Err(other),
    }
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
