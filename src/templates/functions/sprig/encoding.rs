//! Texts in other forms, and digests.

use super::super::{
    add,
    encoding::{hex, readable},
    failed, text_at, told,
};
use crate::values;
use gotmpl::{FuncMap, Value};
use ring::digest;

/// Letters of the encoding in base 32.
const LETTERS_32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The largest prime below 2 to the power of 16.
const MODULUS: u32 = 65_521;

pub(super) fn add_all(map: &mut FuncMap) {
    bases(map);
    digests(map);
    json(map);
}

fn bases(map: &mut FuncMap) {
    add(map, "sprig_b32enc", 1..=1, |args| {
        told(in_base_32(text_at(args, 0)?.as_bytes()))
    });
    add(map, "sprig_b32dec", 1..=1, |args| {
        let text = text_at(args, 0)?;
        let bytes = of_base_32(&text);
        readable(bytes.ok_or_else(|| failed("it is not in base 32"))?)
    });
}

fn in_base_32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for part in bytes.chunks(5) {
        let mut whole = [0; 8];
        for (place, byte) in whole.iter_mut().skip(3).zip(part) {
            *place = *byte;
        }
        let bits = u64::from_be_bytes(whole);
        let used = (part.len() * 8).div_ceil(5);
        for at in 0..8 {
            let value = bits >> (35 - 5 * at) & 31;
            let letter = usize::try_from(value)
                .ok()
                .and_then(|at| LETTERS_32.get(at));
            text.push(if at < used {
                letter.map_or('=', |own| char::from(*own))
            } else {
                '='
            });
        }
    }
    text
}

fn of_base_32(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(8) {
        return None;
    }
    let letters = text.trim_end_matches('=');
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in letters.bytes() {
        let value = LETTERS_32.iter().position(|own| *own == letter)?;
        bits = (bits << 5 | u32::try_from(value).ok()?) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn digests(map: &mut FuncMap) {
    for (name, algorithm) in [
        ("sprig_sha1sum", &digest::SHA1_FOR_LEGACY_USE_ONLY),
        ("sprig_sha512sum", &digest::SHA512),
    ] {
        add(map, name, 1..=1, move |args| {
            let text = text_at(args, 0)?;
            told(hex(digest::digest(algorithm, text.as_bytes()).as_ref()))
        });
    }
    add(map, "sprig_adler32sum", 1..=1, |args| {
        let text = text_at(args, 0)?;
        let (low, high) = text.bytes().fold((1, 0), |(low, high), byte| {
            let low = (low + u32::from(byte)) % MODULUS;
            (low, (high + low) % MODULUS)
        });
        told((high << 16 | low).to_string())
    });
}

fn json(map: &mut FuncMap) {
    // Without a name for those who want problems told, what is no JSON is nothing.
    for (name, is_strict) in [("sprig_fromJson", false), ("sprig_mustFromJson", true)] {
        add(map, name, 1..=1, move |args| {
            match serde_json::from_str(&text_at(args, 0)?) {
                Ok(value) => Ok(values::of_json(&value)),
                Err(error) if is_strict => Err(failed(error.to_string())),
                Err(_) => Ok(Value::Nil),
            }
        });
    }
}
