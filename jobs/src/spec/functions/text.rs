use super::{CallError, Result, bounded, failed, list_at, number_at, text_at, whole_at};
use crate::spec::value;
use serde_json::Value;

pub(super) fn chomp(args: &[Value]) -> Result {
    Ok(text_at(args, 0)?.trim_end_matches(['\n', '\r']).into())
}

pub(super) fn lower(args: &[Value]) -> Result {
    Ok(text_at(args, 0)?.to_lowercase().into())
}

pub(super) fn upper(args: &[Value]) -> Result {
    Ok(text_at(args, 0)?.to_uppercase().into())
}

pub(super) fn title(args: &[Value]) -> Result {
    let mut out = String::new();
    let mut start = true;
    for letter in text_at(args, 0)?.chars() {
        if start {
            out.extend(letter.to_uppercase());
        } else {
            out.push(letter);
        }
        start = !letter.is_alphanumeric() && letter != '\'' && letter != '_';
    }
    Ok(out.into())
}

pub(super) fn strlen(args: &[Value]) -> Result {
    Ok(text_at(args, 0)?.chars().count().into())
}

pub(super) fn strrev(args: &[Value]) -> Result {
    Ok(text_at(args, 0)?.chars().rev().collect::<String>().into())
}

pub(super) fn substr(args: &[Value]) -> Result {
    let letters: Vec<char> = text_at(args, 0)?.chars().collect();
    let (offset, length) = (whole_at(args, 1)?, whole_at(args, 2)?);
    let total = letters.len() as i64;
    // A negative offset counts from the end; a negative length is "all the rest".
    let start = if offset < 0 {
        offset.saturating_add(total)
    } else {
        offset
    }
    .clamp(0, total);
    let end = if length < 0 {
        total
    } else {
        start.saturating_add(length).min(total)
    };
    let (start, end) = (start as usize, end as usize);
    Ok(letters
        .get(start..end)
        .unwrap_or_default()
        .iter()
        .collect::<String>()
        .into())
}

pub(super) fn trim(args: &[Value]) -> Result {
    let set: Vec<char> = text_at(args, 1)?.chars().collect();
    Ok(text_at(args, 0)?.trim_matches(set.as_slice()).into())
}

pub(super) fn trimprefix(args: &[Value]) -> Result {
    let (text, prefix) = (text_at(args, 0)?, text_at(args, 1)?);
    Ok(text.strip_prefix(&prefix).unwrap_or(&text).into())
}

pub(super) fn trimsuffix(args: &[Value]) -> Result {
    let (text, suffix) = (text_at(args, 0)?, text_at(args, 1)?);
    Ok(text.strip_suffix(&suffix).unwrap_or(&text).into())
}

pub(super) fn trimspace(args: &[Value]) -> Result {
    Ok(text_at(args, 0)?.trim().into())
}

pub(super) fn replace(args: &[Value]) -> Result {
    let (text, old, new) = (text_at(args, 0)?, text_at(args, 1)?, text_at(args, 2)?);
    let hits = text.matches(&old).count();
    bounded(text.len().saturating_add(hits.saturating_mul(new.len())))?;
    Ok(text.replace(&old, &new).into())
}

/// What a pattern may be compiled to, bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

pub(super) fn regex_replace(args: &[Value]) -> Result {
    let (text, pattern, new) = (text_at(args, 0)?, text_at(args, 1)?, text_at(args, 2)?);
    let regex = regex::RegexBuilder::new(&pattern)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| CallError::Argument(1, error.to_string()))?;
    let hits = regex.find_iter(&text).count();
    // A replacement may name groups, each at most as long as the whole text.
    let names = new.matches('$').count();
    let each = new.len().saturating_add(names.saturating_mul(text.len()));
    bounded(text.len().saturating_add(hits.saturating_mul(each)))?;
    Ok(regex.replace_all(&text, new.as_str()).into_owned().into())
}

pub(super) fn split(args: &[Value]) -> Result {
    let (separator, text) = (text_at(args, 0)?, text_at(args, 1)?);
    if separator.is_empty() {
        return Ok(text
            .chars()
            .map(|letter| Value::from(letter.to_string()))
            .collect());
    }
    Ok(text.split(&separator).map(Value::from).collect())
}

pub(super) fn join(args: &[Value]) -> Result {
    let separator = text_at(args, 0)?;
    let mut parts = Vec::new();
    for at in 1..args.len() {
        for item in list_at(args, at)? {
            parts.push(
                value::text(item)
                    .ok_or_else(|| CallError::Argument(at, "list of string required".into()))?,
            );
        }
    }
    let text: usize = parts.iter().map(String::len).sum();
    bounded(text.saturating_add(parts.len().saturating_mul(separator.len())))?;
    Ok(parts.join(&separator).into())
}

pub(super) fn indent(args: &[Value]) -> Result {
    let (spaces, text) = (whole_at(args, 0)?, text_at(args, 1)?);
    let spaces = usize::try_from(spaces)
        .map_err(|_| CallError::Argument(0, "must not be negative".into()))?;
    let lines = text.matches('\n').count();
    bounded(text.len().saturating_add(lines.saturating_mul(spaces)))?;
    Ok(text
        .replace('\n', &format!("\n{}", " ".repeat(spaces)))
        .into())
}

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
    let lengths = values
        .iter()
        .filter_map(|value| value.as_array().map(Vec::len));
    let Some(length) = lengths.clone().next() else {
        return Ok(Value::Array(vec![printf(&pattern, values)?.into()]));
    };
    if lengths.clone().any(|other| other != length) {
        return Err(failed("all lists must have the same length"));
    }
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
        let text = printf(&pattern, &row)?;
        total += text.len();
        bounded(total)?;
        out.push(text.into());
    }
    Ok(Value::Array(out))
}

/// One `%` verb: flags, width, precision and the letter.
#[derive(Default)]
struct Verb {
    left: bool,
    zero: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
}

/// The widest field that a verb may ask for.
const WIDEST: usize = 1024;

fn printf(pattern: &str, args: &[Value]) -> Result<String> {
    let mut out = String::new();
    let mut letters = pattern.chars().peekable();
    let mut next = 0;
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = letters.next_if(|c| matches!(c, '-' | '0' | '+' | ' ' | '#')) {
            verb.left |= flag == '-';
            verb.zero |= flag == '0';
            verb.plus |= flag == '+';
        }
        while let Some(digit) = letters.next_if(char::is_ascii_digit) {
            verb.width = (verb.width * 10 + digit as usize - '0' as usize).min(WIDEST);
        }
        if letters.next_if_eq(&'.').is_some() {
            let mut precision = 0;
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                precision = (precision * 10 + digit as usize - '0' as usize).min(WIDEST);
            }
            verb.precision = Some(precision);
        }
        let kind = letters
            .next()
            .ok_or_else(|| failed("the format ends with an unfinished verb"))?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        if next >= args.len() {
            return Err(failed(format!("not enough arguments for %{kind}")));
        }
        out.push_str(&verb.show(kind, args, next)?);
        bounded(out.len())?;
        next += 1;
    }
    if next < args.len() {
        return Err(failed(format!(
            "too many arguments; only {next} used by format string"
        )));
    }
    Ok(out)
}

impl Verb {
    fn show(&self, kind: char, args: &[Value], at: usize) -> Result<String> {
        let text = match kind {
            's' => {
                let text = text_at(args, at)?;
                match self.precision {
                    Some(most) => text.chars().take(most).collect(),
                    None => text,
                }
            }
            'q' => Value::from(text_at(args, at)?).to_string(),
            'v' => match args.get(at) {
                Some(value) => value::text(value).unwrap_or_else(|| value.to_string()),
                None => return Err(CallError::TooFew),
            },
            't' => match args.get(at).and_then(value::flag) {
                Some(flag) => flag.to_string(),
                None => return Err(CallError::Argument(at + 1, "bool required".into())),
            },
            'd' => self.signed(format!("{}", number_at(args, at)?.trunc())),
            'b' => format!("{:b}", whole_at(args, at)?),
            'o' => format!("{:o}", whole_at(args, at)?),
            'x' => format!("{:x}", whole_at(args, at)?),
            'X' => format!("{:X}", whole_at(args, at)?),
            'f' => {
                let precision = self.precision.unwrap_or(6);
                self.signed(format!("{:.precision$}", number_at(args, at)?))
            }
            'g' => self.signed(format!("{}", number_at(args, at)?)),
            'e' => self.signed(format!("{:e}", number_at(args, at)?)),
            other => return Err(failed(format!("unsupported format verb %{other}"))),
        };
        Ok(self.padded(text))
    }

    fn signed(&self, text: String) -> String {
        if self.plus && !text.starts_with('-') {
            format!("+{text}")
        } else {
            text
        }
    }

    fn padded(&self, text: String) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            return text + &" ".repeat(missing);
        }
        if !self.zero {
            return " ".repeat(missing) + &text;
        }
        let zeros = "0".repeat(missing);
        match text.strip_prefix(['-', '+']) {
            Some(digits) => {
                let sign: String = text.chars().take(1).collect();
                format!("{sign}{zeros}{digits}")
            }
            None => zeros + &text,
        }
    }
}
