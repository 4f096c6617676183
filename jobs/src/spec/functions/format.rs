use super::{CallError, Result, bounded, failed, graphemes};
use crate::spec::value;
use serde_json::Value;

/// The widest field, and the most digits, that a verb may ask for.
const WIDEST: usize = 1024;

pub(super) fn format(args: &[Value]) -> Result {
    let (pattern, values) = args.split_first().ok_or(CallError::TooFew)?;
    let pattern =
        value::text(pattern).ok_or_else(|| CallError::Argument(0, "string required".into()))?;
    printf(&pattern, values).map(Value::from)
}

pub(super) fn formatlist(args: &[Value]) -> Result {
    let (pattern, values) = args.split_first().ok_or(CallError::TooFew)?;
    let pattern =
        value::text(pattern).ok_or_else(|| CallError::Argument(0, "string required".into()))?;
    let mut first: Option<(usize, usize)> = None;
    for (at, items) in values.iter().enumerate() {
        let Value::Array(items) = items else { continue };
        match first {
            None => first = Some((at, items.len())),
            Some((_, length)) if length == items.len() => {}
            Some((other, length)) => {
                return Err(CallError::Argument(
                    at + 1,
                    format!(
                        "argument {} has length {}, which is inconsistent with argument {} of length {length}",
                        at + 1,
                        items.len(),
                        other + 1
                    ),
                ));
            }
        }
    }
    let length = first.map_or(1, |(_, length)| length);
    bounded(length.saturating_mul(pattern.len() + 8))?;
    let (mut out, mut total) = (Vec::new(), 0);
    for at in 0..length {
        let row: Vec<Value> = values
            .iter()
            .map(|value| match value {
                Value::Array(items) => items.get(at).cloned().unwrap_or_default(),
                other => other.clone(),
            })
            .collect();
        let text = printf(&pattern, &row).map_err(|error| match error {
            CallError::Failed(detail) => {
                failed(format!("error on format iteration {at}: {detail}"))
            }
            other => other,
        })?;
        total += text.len();
        bounded(total)?;
        out.push(text.into());
    }
    Ok(Value::Array(out))
}

/// One `%` verb as it is written.
struct Verb {
    raw: String,
    offset: usize,
    minus: bool,
    zero: bool,
    plus: bool,
    space: bool,
    sharp: bool,
    width: Option<usize>,
    precision: Option<usize>,
    kind: char,
}

fn printf(pattern: &str, args: &[Value]) -> Result<String> {
    let mut out = String::new();
    let mut rest = pattern;
    let (mut next, mut highest) = (0, 0);
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let offset = pattern.len() - after.len() - 1;
        let (verb, index, tail) = scan(after, offset)?;
        rest = tail;
        let at = index.unwrap_or(next);
        let arg = args.get(at).ok_or_else(|| {
            failed(format!(
                "not enough arguments for {:?} at {offset}: need index {} but have {} total",
                verb.raw,
                at + 1,
                args.len()
            ))
        })?;
        out.push_str(&verb.show(arg)?);
        bounded(out.len())?;
        next = at + 1;
        highest = highest.max(next);
    }
    out.push_str(rest);
    match args.len() {
        given if given <= highest => Ok(out),
        _ if highest == 0 => Err(failed("too many arguments; no verbs in format string")),
        _ => Err(failed(format!(
            "too many arguments; only {highest} used by format string"
        ))),
    }
}

/// The verb that `text` begins with, behind its percent sign; the argument that it names, and what
/// follows.
fn scan(text: &str, offset: usize) -> Result<(Verb, Option<usize>, &str)> {
    let unfinished = || {
        failed(format!(
            "invalid format string starting at offset {offset}: {:?}",
            format!("%{text}")
        ))
    };
    let (flags, rest) = leading(text, |c| matches!(c, '-' | '0' | '+' | ' ' | '#'));
    let (width, mut rest) = leading(rest, |c| c.is_ascii_digit());
    let mut precision = None;
    if let Some(after) = rest.strip_prefix('.') {
        let digits;
        (digits, rest) = leading(after, |c| c.is_ascii_digit());
        precision = Some(number(digits).ok_or_else(unfinished)?);
    }
    let mut index = None;
    if let Some(after) = rest.strip_prefix('[') {
        let (digits, after) = after.split_once(']').ok_or_else(unfinished)?;
        index = number(digits).and_then(|number| number.checked_sub(1));
        if index.is_none() {
            return Err(unfinished());
        }
        rest = after;
    }
    let mut letters = rest.chars();
    let kind = letters.next().ok_or_else(unfinished)?;
    let tail = letters.as_str();
    let raw = text.strip_suffix(tail).unwrap_or(text);
    let verb = Verb {
        raw: format!("%{raw}"),
        offset,
        minus: flags.contains('-'),
        zero: flags.contains('0'),
        plus: flags.contains('+'),
        space: flags.contains(' '),
        sharp: flags.contains('#'),
        width: number(width),
        precision,
        kind,
    };
    Ok((verb, index, tail))
}

/// The letters in front that pass, and the rest.
fn leading(text: &str, passes: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !passes(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn number(digits: &str) -> Option<usize> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(WIDEST).min(WIDEST))
}

impl Verb {
    fn show(&self, arg: &Value) -> Result<String> {
        if arg.is_null() && self.kind != 'v' {
            return Err(self.unsuitable("null value cannot be formatted"));
        }
        match self.kind {
            'v' => Ok(self.padded(match arg {
                Value::String(text) if !self.sharp => text.clone(),
                Value::Number(_) if !self.sharp => {
                    general(value::number(arg).unwrap_or(0.0), None, 'e')
                }
                other => super::encoding::to_json(other),
            })),
            't' => match value::flag(arg) {
                Some(flag) => Ok(flag.to_string()),
                None => Err(self.unsuitable("a bool is required")),
            },
            'b' | 'd' | 'o' | 'x' | 'X' => self.integer(arg),
            'e' | 'E' | 'f' | 'g' | 'G' => self.float(arg),
            's' | 'q' => {
                let mut text =
                    value::text(arg).ok_or_else(|| self.unsuitable("string required"))?;
                if let Some(most) = self.precision.filter(|most| *most > 0) {
                    text = graphemes(&text).take(most).collect();
                }
                if self.kind == 'q' {
                    text = super::encoding::to_json(&text.into());
                }
                Ok(self.padded(text))
            }
            other => Err(failed(format!(
                "unsupported format verb {other:?} in {:?} at offset {}",
                self.raw, self.offset
            ))),
        }
    }

    fn unsuitable(&self, detail: &str) -> CallError {
        failed(format!(
            "unsupported value for {:?} at {}: {detail}",
            self.raw, self.offset
        ))
    }

    fn integer(&self, arg: &Value) -> Result<String> {
        let number = value::number(arg).ok_or_else(|| self.unsuitable("a number is required"))?;
        let whole = value::whole(arg)
            .map(i128::from)
            .or_else(|| (number.fract() == 0.0).then_some(number as i128))
            .ok_or_else(|| self.unsuitable("an integer is required"))?;
        let size = whole.unsigned_abs();
        let (prefix, digits) = match self.kind {
            'b' => ("0b", format!("{size:b}")),
            'o' => ("0", format!("{size:o}")),
            'x' => ("0x", format!("{size:x}")),
            'X' => ("0X", format!("{size:X}")),
            _ => ("", size.to_string()),
        };
        let missing = self.precision.unwrap_or(0).saturating_sub(digits.len());
        let prefix = if self.sharp { prefix } else { "" };
        let digits = format!("{prefix}{}{digits}", "0".repeat(missing));
        Ok(self.signed(whole < 0, digits, self.precision.is_none()))
    }

    fn float(&self, arg: &Value) -> Result<String> {
        let number = value::number(arg).ok_or_else(|| self.unsuitable("a number is required"))?;
        let size = number.abs();
        let digits = match self.kind {
            'f' => format!("{size:.*}", self.precision.unwrap_or(6)),
            'e' | 'E' => exponent(size, Some(self.precision.unwrap_or(6)), self.kind),
            'g' => general(size, self.precision, 'e'),
            _ => general(size, self.precision, 'E'),
        };
        Ok(self.signed(number < 0.0, digits, true))
    }

    /// Digits with their sign, as wide as is asked; zeros go between the two.
    fn signed(&self, negative: bool, digits: String, zeros: bool) -> String {
        let sign = match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        };
        let missing = self
            .width
            .unwrap_or(0)
            .saturating_sub(sign.len() + digits.len());
        if self.minus {
            format!("{sign}{digits}{}", " ".repeat(missing))
        } else if self.zero && zeros {
            format!("{sign}{}{digits}", "0".repeat(missing))
        } else {
            format!("{}{sign}{digits}", " ".repeat(missing))
        }
    }

    fn padded(&self, text: String) -> String {
        let missing = self
            .width
            .unwrap_or(0)
            .saturating_sub(graphemes(&text).count());
        let pad = if self.zero { "0" } else { " " }.repeat(missing);
        if self.minus { text + &pad } else { pad + &text }
    }
}

/// A number with as many digits as tell it from others, with an exponent below 1e-4 and from 1e6.
pub(in crate::spec) fn shortest(number: f64) -> String {
    let sign = if number < 0.0 { "-" } else { "" };
    format!("{sign}{}", general(number.abs(), None, 'e'))
}

/// A number with an exponent of at least two digits: `1.5e+06`. Without a precision as many digits
/// as tell it from others.
fn exponent(number: f64, precision: Option<usize>, letter: char) -> String {
    let text = match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    };
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => ('-', power),
        None => ('+', power),
    };
    format!("{mantissa}{letter}{sign}{power:0>2}")
}

/// A number with an exponent where it is small or large: below 1e-4, or with more digits before the
/// point than the precision, which is 6 (21 decides nothing else) unless given.
fn general(number: f64, precision: Option<usize>, letter: char) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let digits = precision.map(|precision| precision.max(1));
    let scientific = match digits {
        Some(digits) => format!("{number:.*e}", digits - 1),
        None => format!("{number:e}"),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let significant = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let trimmed = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').trim_end_matches('.'),
        false => mantissa,
    };
    let kept = trimmed.bytes().filter(u8::is_ascii_digit).count();
    let limit = match digits {
        None => 6,
        Some(digits) if digits > kept && kept as i32 > power => kept as i32,
        Some(digits) => digits as i32,
    };
    if power < -4 || power >= limit {
        let places = digits.map(|_| kept - 1);
        return exponent(number, places, letter);
    }
    let places = match digits {
        None => return format!("{number}"),
        Some(_) => (significant.min(kept) as i32 - 1 - power).max(0),
    };
    format!("{number:.*}", places as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(pattern: &str, args: &[Value], expected: &str) {
        let shown = match printf(pattern, args) {
            Ok(text) => text,
            Err(CallError::Failed(detail)) => detail,
            Err(other) => format!("{other:?}"),
        };
        assert_eq!(shown, expected, "{pattern}");
    }

    #[test]
    fn verbs_show_values_as_their_letter_says() {
        check(
            "%s %q %v %%",
            &[json!("a"), json!("<b>"), json!(2.5)],
            r#"a "\u003cb\u003e" 2.5 %"#,
        );
        check(
            "%v %v %v",
            &[json!(123_456), json!(1_000_000), json!(0.00001)],
            "123456 1e+06 1e-05",
        );
        check(
            "%#v %v %v",
            &[json!("x"), json!(null), json!({"b": [1], "a": true})],
            r#""x" null {"a":true,"b":[1]}"#,
        );
        check(
            "%d|%5d|%-5d|%05d|%+d|% d",
            &[
                json!(7),
                json!(7),
                json!(7),
                json!(-7),
                json!(7),
                json!("7"),
            ],
            "7|    7|7    |-0007|+7| 7",
        );
        check(
            "%x %X %o %b %#x %.3d",
            &[
                json!(255),
                json!(255),
                json!(8),
                json!(5),
                json!(-255),
                json!(7),
            ],
            "ff FF 10 101 -0xff 007",
        );
        check(
            "%f %.2f %8.3f %e %.1E",
            &[
                json!(1.5),
                json!(2),
                json!(2.7351),
                json!(1_500_000),
                json!(12345),
            ],
            "1.500000 2.00    2.735 1.500000e+06 1.2E+04",
        );
        check(
            "%g %.3g %.8g %G",
            &[json!(0.1), json!(1234.5), json!(1234.5), json!(1e21)],
            "0.1 1.23e+03 1234.5 1E+21",
        );
        check("%t %t", &[json!(true), json!("false")], "true false");
        check(
            "%.2s|%4s|%-4s|%04s",
            &[json!("äöü"), json!("ab"), json!("ab"), json!("ab")],
            "äö|  ab|ab  |00ab",
        );
        check("%[2]s %[1]s %s", &[json!("a"), json!("b")], "b a b");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        check(
            "%d",
            &[json!(1.5)],
            r#"unsupported value for "%d" at 0: an integer is required"#,
        );
        check(
            "a %s",
            &[],
            r#"not enough arguments for "%s" at 2: need index 1 but have 0 total"#,
        );
        check(
            "%s",
            &[json!(null)],
            r#"unsupported value for "%s" at 0: null value cannot be formatted"#,
        );
        check(
            "x",
            &[json!(1)],
            "too many arguments; no verbs in format string",
        );
        check(
            "%s",
            &[json!(1), json!(2)],
            "too many arguments; only 1 used by format string",
        );
        check(
            "%y",
            &[json!(1)],
            r#"unsupported format verb 'y' in "%y" at offset 0"#,
        );
        check(
            "%5",
            &[json!(1)],
            r#"invalid format string starting at offset 0: "%5""#,
        );
    }
}
