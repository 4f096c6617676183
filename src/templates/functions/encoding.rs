//! Functions that encode, decode and digest.

use super::{Answer, add, argument, failed, text_at, told};
use crate::values;
use base64::{Engine as _, engine::general_purpose};
use gotmpl::{FuncMap, Value};
use md5::Md5;
use ring::hmac;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

pub(super) fn add_all(map: &mut FuncMap) {
    let decode = |engine: &'static general_purpose::GeneralPurpose| {
        move |args: &[Value]| {
            let bytes = engine.decode(text_at(args, 0)?);
            readable(bytes.map_err(|error| failed(error.to_string()))?)
        }
    };
    let encode = |engine: &'static general_purpose::GeneralPurpose| {
        move |args: &[Value]| told(engine.encode(text_at(args, 0)?))
    };
    for name in ["base64Decode", "sprig_b64dec"] {
        add(map, name, 1..=1, decode(&general_purpose::STANDARD));
    }
    for name in ["base64Encode", "sprig_b64enc"] {
        add(map, name, 1..=1, encode(&general_purpose::STANDARD));
    }
    add(
        map,
        "base64URLDecode",
        1..=1,
        decode(&general_purpose::URL_SAFE),
    );
    add(
        map,
        "base64URLEncode",
        1..=1,
        encode(&general_purpose::URL_SAFE),
    );
    for name in ["sha256Hex", "sprig_sha256sum"] {
        add(map, name, 1..=1, |args| {
            told(hex(&Sha256::digest(text_at(args, 0)?)))
        });
    }
    add(map, "md5sum", 1..=1, |args| {
        told(hex(&Md5::digest(text_at(args, 0)?)))
    });
    // The text, then the key.
    add(map, "hmacSHA256Hex", 2..=2, |args| {
        let (text, key) = (text_at(args, 0)?, text_at(args, 1)?);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        told(hex(hmac::sign(&key, text.as_bytes()).as_ref()))
    });
    json(map);
    documents(map);
}

fn json(map: &mut FuncMap) {
    add(map, "parseJSON", 1..=1, |args| {
        let text = text_at(args, 0)?;
        if text.is_empty() {
            return Ok(Value::Map(Arc::default()));
        }
        let value: Result<serde_json::Value, _> = serde_json::from_str(&text);
        Ok(values::of_json(
            &value.map_err(|error| failed(error.to_string()))?,
        ))
    });
    for (name, write) in [
        ("toJSON", compact as Write),
        ("sprig_toJson", compact),
        ("sprig_mustToJson", compact),
        ("toUnescapedJSON", unescaped),
        ("sprig_toRawJson", unescaped),
        ("sprig_mustToRawJson", unescaped),
        ("toJSONPretty", pretty),
        ("sprig_toPrettyJson", pretty),
        ("sprig_mustToPrettyJson", pretty),
        ("toUnescapedJSONPretty", unescaped_pretty),
    ] {
        add(map, name, 1..=1, move |args| {
            let value = values::to_json(argument(args, 0)?)?;
            told(write(&value).map_err(|error| failed(error.to_string()))?)
        });
    }
}

/// YAML and TOML, read and written as JSON is.
fn documents(map: &mut FuncMap) {
    add(map, "parseYAML", 1..=1, |args| {
        let text = text_at(args, 0)?;
        if text.is_empty() {
            return Ok(Value::Map(Arc::default()));
        }
        // `y` and `on` are texts.
        let options = serde_saphyr::options! { strict_booleans: true };
        let value: Result<serde_json::Value, _> =
            serde_saphyr::from_str_with_options(&text, options);
        Ok(values::of_json(
            &value.map_err(|error| failed(error.to_string()))?,
        ))
    });
    add(map, "toYAML", 1..=1, |args| {
        let value = values::to_json(argument(args, 0)?)?;
        let text = serde_saphyr::to_string(&value);
        told(text.map_err(|error| failed(error.to_string()))?.trim())
    });
    add(map, "toTOML", 1..=1, |args| {
        let value = values::to_json(argument(args, 0)?)?;
        let text = toml::to_string(&value);
        told(text.map_err(|error| failed(error.to_string()))?.trim())
    });
}

type Write = fn(&serde_json::Value) -> Result<String, serde_json::Error>;

fn compact(value: &serde_json::Value) -> Result<String, serde_json::Error> {
    unescaped(value).map(|text| escaped(&text))
}

fn pretty(value: &serde_json::Value) -> Result<String, serde_json::Error> {
    unescaped_pretty(value).map(|text| escaped(&text))
}

fn unescaped(value: &serde_json::Value) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}

fn unescaped_pretty(value: &serde_json::Value) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value)
}

/// What browsers could take for marks is escaped, as Go does. It only occurs inside of texts.
fn escaped(json: &str) -> String {
    json.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

/// Bytes as a text.
pub(super) fn readable(bytes: Vec<u8>) -> Answer {
    told(String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
