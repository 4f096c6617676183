//! What metadata of services and nodes may look like.

use std::collections::BTreeMap;

use crate::error::Error;

/// Most pairs of one service or node.
const PAIRS_MAX: usize = 64;
/// Longest key, bytes.
const KEY_BYTES_MAX: usize = 128;
/// Longest value, bytes.
const VALUE_BYTES_MAX: usize = 512;
/// What keys that are not the user's start with.
const RESERVED: &str = "consul-";

/// Refuses metadata of a service that no agent takes.
///
/// # Errors
/// 400 with what is wrong with the first bad pair.
pub(in crate::consul) fn check_service(meta: &BTreeMap<String, String>) -> Result<(), Error> {
    check(meta).map_err(|reason| Error::bad_request(format!("Invalid Service Meta: {reason}")))
}

/// Refuses metadata of a node that no agent takes.
///
/// # Errors
/// As [`check_service`].
pub(in crate::consul) fn check_node(meta: &BTreeMap<String, String>) -> Result<(), Error> {
    check(meta).map_err(|reason| Error::bad_request(format!("Invalid Node Meta: {reason}")))
}

fn check(meta: &BTreeMap<String, String>) -> Result<(), String> {
    if meta.len() > PAIRS_MAX {
        return Err(format!(
            "Node metadata cannot contain more than {PAIRS_MAX} key/value pairs"
        ));
    }
    for (key, value) in meta {
        if let Some(reason) = problem(key, value) {
            return Err(format!(
                "Couldn't load metadata pair ('{key}', '{value}'): {reason}"
            ));
        }
    }
    Ok(())
}

fn problem(key: &str, value: &str) -> Option<String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if key.is_empty() {
        return Some("Key cannot be blank".to_owned());
    }
    if !key.chars().all(is_fine) {
        return Some("Key contains invalid characters".to_owned());
    }
    if key.len() > KEY_BYTES_MAX {
        return Some(format!(
            "Key is too long (limit: {KEY_BYTES_MAX} characters)"
        ));
    }
    if key.starts_with(RESERVED) {
        return Some(format!(
            "Key prefix '{RESERVED}' is reserved for internal use"
        ));
    }
    (value.len() > VALUE_BYTES_MAX)
        .then(|| format!("Value is too long (limit: {VALUE_BYTES_MAX} characters)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_limits() {
        let of = |key: &str, value: &str| check(&[(key.to_owned(), value.to_owned())].into());
        for (key, value) in [("a_B-9", ""), (&"k".repeat(128), &"v".repeat(512))] {
            assert_eq!(of(key, value), Ok(()));
        }
        let long = "k".repeat(129);
        for (key, value, expected) in [
            ("", "x", "Key cannot be blank"),
            ("bad key", "x", "Key contains invalid characters"),
            (&long, "x", "Key is too long (limit: 128 characters)"),
            (
                "consul-x",
                "x",
                "Key prefix 'consul-' is reserved for internal use",
            ),
            (
                "k",
                &"v".repeat(513),
                "Value is too long (limit: 512 characters)",
            ),
        ] {
            let refused = of(key, value).unwrap_err();
            let whole = format!("Couldn't load metadata pair ('{key}', '{value}'): {expected}");
            assert_eq!(refused, whole);
        }
        let many = (0..65).map(|n| (format!("k{n}"), String::new())).collect();
        let refused = check(&many).unwrap_err();
        assert_eq!(
            refused,
            "Node metadata cannot contain more than 64 key/value pairs"
        );
    }
}
