use super::{CallError, Result, failed, from_number, number_at, text_at, whole_at};
use serde_json::Value;

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
    let number = number_at(args, 0)?;
    from_number(if number == 0.0 { 0.0 } else { number.signum() })
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
    let base = u32::try_from(base)
        .ok()
        .filter(|base| (2..=36).contains(base))
        .ok_or_else(|| {
            CallError::Argument(1, "base must be a whole number between 2 and 36".into())
        })?;
    i64::from_str_radix(&text, base)
        .map(Value::from)
        .map_err(|_| failed(format!("cannot parse {text:?} as a base {base} integer")))
}

/// The whole part of a number.
pub(super) fn int(args: &[Value]) -> Result {
    from_number(number_at(args, 0)?.trunc())
}
