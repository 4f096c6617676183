//! Functions that work with numbers.

use super::{Answer, add, argument, failed, integer_at, text_at};
use gotmpl::{FuncMap, Value};

pub(super) fn add_all(map: &mut FuncMap) {
    // The second argument is the one that is worked on.
    for (name, whole, real) in CALCULATIONS {
        add(map, name, 2..=2, move |args| {
            let (by, number) = (argument(args, 0)?, argument(args, 1)?);
            if let (Value::Float(_), _) | (_, Value::Float(_)) = (by, number) {
                let (by, number) = (float_at(args, 0)?, float_at(args, 1)?);
                return Ok(Value::Float(real(number, by)));
            }
            let answer = whole(integer_at(args, 1)?, integer_at(args, 0)?);
            answer
                .map(Value::Int)
                .ok_or_else(|| failed("a division by zero, or too large"))
        });
    }
    add(map, "parseInt", 1..=1, |args| {
        number(args, "0", |text| text.parse().ok().map(Value::Int))
    });
    add(map, "parseUint", 1..=1, |args| {
        number(args, "0", |text| text.parse().ok().map(Value::Uint))
    });
    add(map, "parseFloat", 1..=1, |args| {
        number(args, "0", |text| text.parse().ok().map(Value::Float))
    });
    add(map, "parseBool", 1..=1, |args| {
        match text_at(args, 0)?.as_str() {
            "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Value::Bool(false)),
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Value::Bool(true)),
            other => Err(failed(format!("`{other}` is neither true nor false"))),
        }
    });
}

type Calculation = (
    &'static str,
    fn(i64, i64) -> Option<i64>,
    fn(f64, f64) -> f64,
);

const CALCULATIONS: [Calculation; 7] = [
    ("add", i64::checked_add, |a, b| a + b),
    ("subtract", i64::checked_sub, |a, b| a - b),
    ("multiply", i64::checked_mul, |a, b| a * b),
    ("divide", i64::checked_div, |a, b| a / b),
    ("modulo", i64::checked_rem, |a, b| a % b),
    ("minimum", |a, b| Some(a.min(b)), f64::min),
    ("maximum", |a, b| Some(a.max(b)), f64::max),
];

fn float_at(args: &[Value], at: usize) -> Result<f64, gotmpl::TemplateError> {
    let text = text_at(args, at)?;
    text.parse()
        .map_err(|_| failed(format!("`{text}` is no number")))
}

/// An empty text counts as `none`: it is what a key has that is not known yet.
fn number(args: &[Value], none: &str, parse: impl Fn(&str) -> Option<Value>) -> Answer {
    let text = text_at(args, 0)?;
    let text = if text.is_empty() { none } else { &text };
    parse(text).ok_or_else(|| failed(format!("`{text}` is no such number")))
}
