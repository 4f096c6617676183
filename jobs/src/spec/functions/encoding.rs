use super::{CallError, Result, failed, text_at};
use crate::spec::value::{self, entries, from_f64};
use serde_json::Value;
use std::fmt::Write as _;

pub(super) fn jsonencode(args: &[Value]) -> Result {
    Ok(to_json(args.first().ok_or(CallError::TooFew)?).into())
}

/// A value as JSON: keys in order, and what has a meaning in HTML escaped.
pub(super) fn to_json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, &mut out);
    out
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (at, (key, item)) in entries(map).into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write_json(item, out);
            }
            out.push('}');
        }
        Value::String(text) => write_text(text, out),
        Value::Null => out.push_str("null"),
        scalar => out.push_str(&value::text(scalar).unwrap_or_default()),
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

pub(super) fn jsondecode(args: &[Value]) -> Result {
    let mut value = serde_json::from_str(&text_at(args, 0)?)
        .map_err(|error| CallError::Argument(0, error.to_string()))?;
    unify(&mut value);
    Ok(value)
}

/// Makes whole numbers of floats that are whole, so that `1` and `1.0` are equal.
fn unify(value: &mut Value) {
    match value {
        Value::Number(number) if !number.is_i64() => {
            if let Some(same) = number.as_f64().and_then(from_f64) {
                *value = same;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unify),
        Value::Object(map) => map.values_mut().for_each(unify),
        _ => {}
    }
}

pub(super) fn urlencode(args: &[Value]) -> Result {
    let mut out = String::new();
    for byte in text_at(args, 0)?.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into())
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(out.into())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard Base64 with padding.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            if place > chunk.len() {
                out.push('=');
                continue;
            }
            let index = bits >> (18 - 6 * place) & 63;
            out.push(ALPHABET.get(index as usize).copied().unwrap_or(b'=').into());
        }
    }
    out
}

pub(super) fn base64encode(args: &[Value]) -> Result {
    Ok(to_base64(text_at(args, 0)?.as_bytes()).into())
}

pub(super) fn base64decode(args: &[Value]) -> Result {
    let text = text_at(args, 0)?;
    let bytes = from_base64(&text)
        .ok_or_else(|| CallError::Argument(0, "failed to decode base64 data".into()))?;
    String::from_utf8(bytes)
        .map(Value::from)
        .map_err(|_| failed("the result of decoding is not valid UTF-8"))
}

/// The bytes of Base64 with padding; line ends do not count.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.replace(['\r', '\n'], "");
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::new();
    let (mut bits, mut held): (u32, u32) = (0, 0);
    for byte in digits.bytes() {
        let index = ALPHABET.iter().position(|letter| *letter == byte)?;
        bits = (bits << 6 | index as u32) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_written_in_order_and_escaped() {
        let value = json!({"b": ["<&>", "\u{1}\t\"\\"], "a": [1.5, 1e21, null, true]});
        assert_eq!(
            to_json(&value),
            r#"{"a":[1.5,1000000000000000000000,null,true],"b":["\u003c\u0026\u003e","\u0001\t\"\\"]}"#
        );
        assert_eq!(jsondecode(&["[1.0, 2.5]".into()]), Ok(json!([1, 2.5])));
    }
}
