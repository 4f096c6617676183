use super::{CallError, Result, failed, from_number, number_at, text_at, whole_at};
use serde_json::Value;

/// The greatest base of whole numbers in text: ten digits and two alphabets.
const BASE_MAX: i64 = 62;

pub(super) fn abs(args: &[Value]) -> Result {
    from_number(number_at(args, 0)?.abs())
}

pub(super) fn ceil(args: &[Value]) -> Result {
    from_number(number_at(args, 0)?.ceil())
}

pub(super) fn floor(args: &[Value]) -> Result {
    from_number(number_at(args, 0)?.floor())
}

pub(super) fn log(args: &[Value]) -> Result {
    from_number(number_at(args, 0)?.log(number_at(args, 1)?))
}

pub(super) fn pow(args: &[Value]) -> Result {
    from_number(number_at(args, 0)?.powf(number_at(args, 1)?))
}

pub(super) fn signum(args: &[Value]) -> Result {
    Ok(whole_at(args, 0)?.signum().into())
}

pub(super) fn max(args: &[Value]) -> Result {
    fold(args, f64::max)
}

pub(super) fn min(args: &[Value]) -> Result {
    fold(args, f64::min)
}

fn fold(args: &[Value], pick: fn(f64, f64) -> f64) -> Result {
    let mut best = number_at(args, 0)?;
    for at in 1..args.len() {
        best = pick(best, number_at(args, at)?);
    }
    from_number(best)
}

pub(super) fn parseint(args: &[Value]) -> Result {
    let (text, base) = (text_at(args, 0)?, whole_at(args, 1)?);
    if !(2..=BASE_MAX).contains(&base) {
        let bounds = format!("base must be a whole number between 2 and {BASE_MAX}");
        return Err(CallError::Argument(1, bounds));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    (!digits.is_empty())
        .then(|| {
            digits.chars().try_fold(0_i64, |sum, letter| {
                let digit = digit(letter, base)?;
                let digit = if negative { -digit } else { digit };
                sum.checked_mul(base)?.checked_add(digit)
            })
        })
        .flatten()
        .map(Value::from)
        .ok_or_else(|| failed(format!("cannot parse {text:?} as a base {base} integer")))
}

/// What a letter stands for. Up to base 36 its case does not matter; beyond, large letters follow
/// the small ones.
fn digit(letter: char, base: i64) -> Option<i64> {
    let value = match letter {
        'A'..='Z' if base > 36 => i64::from(u32::from(letter) - u32::from('A')) + 36,
        _ => i64::from(letter.to_digit(36)?),
    };
    (value < base).then_some(value)
}

/// The whole part of a number.
pub(super) fn int(args: &[Value]) -> Result {
    from_number(number_at(args, 0)?.trunc())
}
