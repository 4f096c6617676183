use super::{CallError, Result, bounded, graphemes, list_at, text_at, whole_at};
use crate::spec::value;
use serde_json::Value;

pub(super) fn chomp(args: &[Value]) -> Result {
    Ok(text_at(args, 0)?.trim_end_matches(['\n', '\r']).into())
}

pub(super) fn lower(args: &[Value]) -> Result {
    let text = text_at(args, 0)?;
    Ok(each(&text, char::to_lowercase).into())
}

pub(super) fn upper(args: &[Value]) -> Result {
    let text = text_at(args, 0)?;
    Ok(each(&text, char::to_uppercase).into())
}

/// Each letter in another case, where that is one letter too.
fn each<I: ExactSizeIterator<Item = char>>(text: &str, change: fn(char) -> I) -> String {
    text.chars()
        .map(|letter| {
            let mut changed = change(letter);
            match changed.len() {
                1 => changed.next().unwrap_or(letter),
                _ => letter,
            }
        })
        .collect()
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
        start = match letter {
            '_' => false,
            letter if letter.is_ascii() => !letter.is_ascii_alphanumeric(),
            letter => letter.is_whitespace(),
        };
    }
    Ok(out.into())
}

pub(super) fn strlen(args: &[Value]) -> Result {
    Ok(graphemes(&text_at(args, 0)?).count().into())
}

pub(super) fn strrev(args: &[Value]) -> Result {
    Ok(graphemes(&text_at(args, 0)?)
        .rev()
        .collect::<String>()
        .into())
}

pub(super) fn substr(args: &[Value]) -> Result {
    let text = text_at(args, 0)?;
    let (offset, length) = (whole_at(args, 1)?, whole_at(args, 2)?);
    // A negative offset counts from the end; a negative length is "all the rest".
    let start = if offset < 0 {
        let total = i64::try_from(graphemes(&text).count()).unwrap_or(i64::MAX);
        offset.saturating_add(total).max(0)
    } else {
        offset
    };
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let length = match length {
        // As it is: nothing counts as nothing from the front, as everything from the back.
        0 if offset >= 0 => 0,
        length if length <= 0 => usize::MAX,
        length => usize::try_from(length).unwrap_or(usize::MAX),
    };
    Ok(graphemes(&text)
        .skip(start)
        .take(length)
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
        .map_err(|error| {
            // The last line says what is wrong, without the drawing above it.
            let text = error.to_string();
            let line = text.lines().next_back().unwrap_or_default();
            CallError::Argument(1, line.trim_start_matches("error: ").to_owned())
        })?;
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
