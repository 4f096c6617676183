use super::{CallError, Result, encoding, failed, text_at, whole_at};
use md5::Md5;
use num_bigint::BigUint;
use rand_core::Rng;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use std::fmt::Write as _;

/// Logarithm of the work of `bcrypt`: each step doubles it. The strongest here takes about a
/// second.
const COST_MAX: i64 = 14;
const COST_MIN: i64 = 4;
const COST: i64 = 10;

/// Bytes of the longest password that `bcrypt` looks at.
const PASSWORD_MAX: usize = 72;

/// Bits of the longest key that `rsadecrypt` uses.
const KEY_BITS_MAX: u64 = 16_384;

pub(super) fn md5(args: &[Value]) -> Result {
    hash::<Md5>(args)
}

pub(super) fn sha1(args: &[Value]) -> Result {
    hash::<Sha1>(args)
}

pub(super) fn sha256(args: &[Value]) -> Result {
    hash::<Sha256>(args)
}

pub(super) fn sha512(args: &[Value]) -> Result {
    hash::<Sha512>(args)
}

fn hash<D: Digest>(args: &[Value]) -> Result {
    Ok(hex(&D::digest(text_at(args, 0)?)).into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// How much work a call is, as if it were bytes of the budget: a file may not ask for hours.
pub(super) fn bcrypt_cost(args: &[Value]) -> usize {
    let cost = args.get(1).and_then(Value::as_u64).unwrap_or(10).min(20);
    1024_usize << cost
}

pub(super) fn bcrypt(args: &[Value], random: &mut dyn Rng) -> Result {
    let password = text_at(args, 0)?;
    let cost = match args.len() {
        1 => COST,
        _ => Some(whole_at(args, 1)?)
            .filter(|cost| *cost >= COST_MIN)
            .unwrap_or(COST),
    };
    if cost > COST_MAX {
        return Err(failed(format!(
            "the cost {cost} is too high; at most {COST_MAX} is allowed"
        )));
    }
    if password.len() > PASSWORD_MAX {
        return Err(failed(format!(
            "error occured generating password: the password is longer than {PASSWORD_MAX} bytes"
        )));
    }
    let mut salt = [0; 16];
    random.fill_bytes(&mut salt);
    let cost = u32::try_from(cost).unwrap_or(0);
    bcrypt::hash_with_salt(password, cost, salt)
        .map(|parts| parts.format_for_version(bcrypt::Version::TwoA).into())
        .map_err(|error| failed(error.to_string()))
}

pub(super) fn uuidv4(random: &mut dyn Rng) -> Result {
    let mut bytes = [0; 16];
    random.fill_bytes(&mut bytes);
    Ok(uuid(bytes, 4))
}

/// A UUID with its version and variant marked.
fn uuid(mut bytes: [u8; 16], version: u8) -> Value {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex(&bytes);
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text.into()
}

/// The UUID of a name in a namespace: a published one by its short name, or any UUID.
pub(super) fn uuidv5(args: &[Value]) -> Result {
    let (namespace, name) = (text_at(args, 0)?, text_at(args, 1)?);
    let published = match namespace.as_str() {
        "dns" => Some(0x10),
        "url" => Some(0x11),
        "oid" => Some(0x12),
        "x500" => Some(0x14),
        _ => None,
    };
    let space = match published {
        Some(number) => {
            let mut space = 0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8_u128.to_be_bytes();
            space[3] = number;
            space
        }
        None => read_uuid(&namespace).ok_or_else(|| {
            failed(format!(
                "uuidv5() doesn't support namespace {namespace} (invalid UUID)"
            ))
        })?,
    };
    let digest = Sha1::new()
        .chain_update(space)
        .chain_update(name.as_bytes())
        .finalize();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    Ok(uuid(bytes, 5))
}

fn read_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let text = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .unwrap_or(text);
    let marks: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
    let digits = text.replace('-', "");
    let plain = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let placed = marks.is_empty() || marks == [8, 13, 18, 23];
    if plain && placed {
        u128::from_str_radix(&digits, 16)
            .ok()
            .map(u128::to_be_bytes)
    } else {
        None
    }
}

/// The text that was encrypted for a private key, with the padding of PKCS #1 v1.5.
pub(super) fn rsadecrypt(args: &[Value]) -> Result {
    let (secret, key) = (text_at(args, 0)?, text_at(args, 1)?);
    let secret = encoding::from_base64(&secret).ok_or_else(|| {
        CallError::Argument(
            0,
            "failed to decode input: cipher text must be base64-encoded".into(),
        )
    })?;
    let key = private_key(&key)?;
    let wrong = || failed("crypto/rsa: decryption error");
    let number = BigUint::from_bytes_be(&secret);
    if number >= key.modulus {
        return Err(wrong());
    }
    let size = usize::try_from(key.modulus.bits().div_ceil(8)).unwrap_or(0);
    let plain = number.modpow(&key.exponent, &key.modulus).to_bytes_be();
    // A zero, a two, at least eight bytes of noise, a zero, and the text.
    let plain = match plain.split_first() {
        Some((2, rest)) if plain.len() + 1 == size => rest,
        _ => return Err(wrong()),
    };
    let end = plain.iter().position(|byte| *byte == 0).ok_or_else(wrong)?;
    if end < 8 {
        return Err(wrong());
    }
    let text = plain.get(end + 1..).unwrap_or_default().to_vec();
    String::from_utf8(text)
        .map(Value::from)
        .map_err(|_| failed("the decrypted text is not valid UTF-8"))
}

struct PrivateKey {
    modulus: BigUint,
    exponent: BigUint,
}

fn private_key(text: &str) -> Result<PrivateKey> {
    let refuse = |detail: &str| CallError::Argument(1, format!("failed to parse key: {detail}"));
    let (_, body) = text
        .split_once("-----BEGIN ")
        .and_then(|(_, rest)| rest.split_once("-----"))
        .ok_or_else(|| refuse("no key found"))?;
    let (body, _) = body
        .split_once("-----END ")
        .ok_or_else(|| refuse("no key found"))?;
    if body.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(refuse(
            "password protected keys are not supported. Please decrypt the key prior to use",
        ));
    }
    let digits: String = body.split_whitespace().collect();
    let bytes = encoding::from_base64(&digits).ok_or_else(|| refuse("no key found"))?;
    read_key(&bytes)
        .filter(|key| key.modulus.bits() <= KEY_BITS_MAX && key.modulus.bits() > 88)
        .ok_or_else(|| refuse("it is no RSA private key in PKCS #1 form"))
}

/// The second and fourth number of a sequence: modulus and private exponent, behind the version and
/// the public exponent.
fn read_key(bytes: &[u8]) -> Option<PrivateKey> {
    let (0x30, mut fields, _) = element(bytes)? else {
        return None;
    };
    let mut number = || {
        let (0x02, digits, rest) = element(fields)? else {
            return None;
        };
        fields = rest;
        Some(BigUint::from_bytes_be(digits))
    };
    let _version = number()?;
    let modulus = number()?;
    let _public = number()?;
    let exponent = number()?;
    Some(PrivateKey { modulus, exponent })
}

/// Tag, content and what follows of one element in DER.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count > 4 {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(count)?;
        let length = digits
            .iter()
            .fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}
