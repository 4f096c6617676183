use super::{CallError, Result, failed, text_at};
use crate::wire::Duration;
use serde_json::Value;

pub(super) fn jsonencode(args: &[Value]) -> Result {
    Ok(args.first().ok_or(CallError::TooFew)?.to_string().into())
}

pub(super) fn jsondecode(args: &[Value]) -> Result {
    serde_json::from_str(&text_at(args, 0)?)
        .map_err(|error| CallError::Argument(0, error.to_string()))
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
    let invalid = || CallError::Argument(0, "failed to decode base64 data".into());
    if text.len() % 4 != 0 {
        return Err(invalid());
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return Err(invalid());
    }
    let mut out = Vec::new();
    let (mut bits, mut held): (u32, u32) = (0, 0);
    for byte in digits.bytes() {
        let index = ALPHABET
            .iter()
            .position(|letter| *letter == byte)
            .ok_or_else(invalid)?;
        bits = (bits << 6 | index as u32) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    String::from_utf8(out)
        .map(Value::from)
        .map_err(|_| failed("the result of decoding is not valid UTF-8"))
}

pub(super) fn timeadd(args: &[Value]) -> Result {
    let instant: jiff::Timestamp = text_at(args, 0)?
        .parse()
        .map_err(|_| CallError::Argument(0, "not a valid RFC3339 timestamp".into()))?;
    let duration = Duration::parse(&text_at(args, 1)?)
        .map_err(|error| CallError::Argument(1, error.to_string()))?;
    instant
        .checked_add(jiff::SignedDuration::from_nanos(duration.0))
        .map(|instant| instant.to_string().into())
        .map_err(|_| failed("the result is out of range"))
}
