//! Numbers: what is none counts as 0.

use super::super::{Answer, add, argument, failed, told};
use crate::values;
use gotmpl::{FuncMap, Value};

/// Most numbers of a row.
const ROW_MAX: usize = 1_000_000;

pub(super) fn add_all(map: &mut FuncMap) {
    conversions(map);
    whole_numbers(map);
    fractions(map);
    rows(map);
}

/// What a value is as a whole number, cut off.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "as conversions of the language do"
)]
fn whole(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        Value::Uint(number) => *number as i64,
        Value::Float(number) => *number as i64,
        Value::Bool(is) => i64::from(*is),
        Value::String(text) => {
            let text = text.trim();
            let number = text.parse().ok();
            let fraction = || text.parse::<f64>().ok().map(|number| number as i64);
            number.or_else(fraction).unwrap_or(0)
        }
        _ => 0,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "as conversions of the language do"
)]
fn real(value: &Value) -> f64 {
    match value {
        Value::Float(number) => *number,
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        Value::Bool(is) => f64::from(u8::from(*is)),
        Value::String(text) => text.trim().parse().unwrap_or(0.0),
        _ => 0.0,
    }
}

fn conversions(map: &mut FuncMap) {
    for name in ["sprig_int", "sprig_int64", "sprig_atoi"] {
        add(map, name, 1..=1, |args| {
            Ok(Value::Int(whole(argument(args, 0)?)))
        });
    }
    add(map, "sprig_float64", 1..=1, |args| {
        Ok(Value::Float(real(argument(args, 0)?)))
    });
    add(map, "sprig_toDecimal", 1..=1, |args| {
        let text = argument(args, 0)?.to_string();
        Ok(Value::Int(i64::from_str_radix(&text, 8).unwrap_or(0)))
    });
}

type Whole = (&'static str, fn(i64, i64) -> Option<i64>);
type Real = (&'static str, fn(f64, f64) -> f64);

const WHOLE: [Whole; 8] = [
    ("sprig_add", i64::checked_add),
    ("sprig_sub", i64::checked_sub),
    ("sprig_mul", i64::checked_mul),
    ("sprig_div", i64::checked_div),
    ("sprig_mod", i64::checked_rem),
    ("sprig_max", |a, b| Some(a.max(b))),
    ("sprig_biggest", |a, b| Some(a.max(b))),
    ("sprig_min", |a, b| Some(a.min(b))),
];
const REAL: [Real; 6] = [
    ("sprig_addf", |a, b| a + b),
    ("sprig_subf", |a, b| a - b),
    ("sprig_mulf", |a, b| a * b),
    ("sprig_divf", |a, b| a / b),
    ("sprig_maxf", f64::max),
    ("sprig_minf", f64::min),
];

fn whole_numbers(map: &mut FuncMap) {
    let large = || failed("a division by zero, or too large");
    // From the first to the last.
    for (name, of_two) in WHOLE {
        add(map, name, 1..=usize::MAX, move |args| {
            let mut numbers = args.iter().map(whole);
            let first = numbers.next().unwrap_or(0);
            let answer = numbers.try_fold(first, of_two);
            answer.map(Value::Int).ok_or_else(large)
        });
    }
    add(map, "sprig_add1", 1..=1, move |args| {
        let next = whole(argument(args, 0)?).checked_add(1);
        next.map(Value::Int).ok_or_else(large)
    });
}

fn fractions(map: &mut FuncMap) {
    for (name, of_two) in REAL {
        add(map, name, 1..=usize::MAX, move |args| {
            let numbers = args.iter().map(real);
            let answer = numbers.reduce(of_two).unwrap_or(0.0);
            finite(answer)
        });
    }
    add(map, "sprig_add1f", 1..=1, |args| {
        finite(real(argument(args, 0)?) + 1.0)
    });
    add(map, "sprig_ceil", 1..=1, |args| {
        finite(real(argument(args, 0)?).ceil())
    });
    add(map, "sprig_floor", 1..=1, |args| {
        finite(real(argument(args, 0)?).floor())
    });
    add(map, "sprig_round", 2..=3, |args| {
        // From a half on it goes up, unless another limit is given.
        let limit = args.get(2).map_or(0.5, real);
        let places = i32::try_from(whole(argument(args, 1)?).clamp(-300, 300)).unwrap_or(0);
        let factor = 10_f64.powi(places);
        let moved = real(argument(args, 0)?) * factor;
        let is_up = moved - moved.floor() >= limit;
        finite(if is_up { moved.ceil() } else { moved.floor() } / factor)
    });
}

fn finite(number: f64) -> Answer {
    if number.is_finite() {
        return Ok(Value::Float(number));
    }
    Err(failed("a division by zero, or too large"))
}

fn rows(map: &mut FuncMap) {
    add(map, "sprig_until", 1..=1, |args| {
        let end = whole(argument(args, 0)?);
        row(0, end, if end < 0 { -1 } else { 1 }).map(|all| values::list(all.map(Value::Int)))
    });
    add(map, "sprig_untilStep", 3..=3, |args| {
        let of = |at| argument(args, at).map(whole);
        row(of(0)?, of(1)?, of(2)?).map(|all| values::list(all.map(Value::Int)))
    });
    // As a line; the end belongs to it.
    add(map, "sprig_seq", 0..=3, |args| {
        let all: Vec<i64> = args.iter().map(whole).collect();
        let (from, end, step) = match all[..] {
            [] => return told(""),
            [end] => (1, end, if end < 1 { -1 } else { 1 }),
            [from, end] => (from, end, if end < from { -1 } else { 1 }),
            [from, step, end, ..] => (from, end, step),
        };
        let behind = end.saturating_add(step.signum());
        let numbers = row(from, behind, step)?.map(|own| own.to_string());
        told(numbers.collect::<Vec<_>>().join(" "))
    });
}

/// From the first to before the end, by so much; nothing if it does not lead there.
fn row(from: i64, end: i64, step: i64) -> Result<impl Iterator<Item = i64>, gotmpl::TemplateError> {
    let distance = i128::from(end) - i128::from(from);
    let step = i128::from(step);
    let count = if step == 0 || (distance < 0) != (step < 0) {
        0
    } else {
        (distance.abs() + step.abs() - 1) / step.abs()
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > ROW_MAX {
        return Err(failed(format!("more than {ROW_MAX} numbers")));
    }
    let step = i64::try_from(step).unwrap_or(0);
    Ok(std::iter::successors(Some(from), move |last| last.checked_add(step)).take(count))
}
