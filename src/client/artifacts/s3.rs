//! Requests for objects of S3 stores: what is written in an artifact becomes the address of one
//! object, and a signature when there are keys. Pure.
//!
//! Source: "Signature Version 4" of the object store's API. Differs: one object at a time; whoever
//! names a folder is told that there is no such object.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};
use std::fmt::{Debug, Formatter, Write};
use url::Url;

/// Bytes that stand for themselves in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');
/// The region where none is named.
const USUAL_REGION: &str = "us-east-1";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const HOST: &str = "amazonaws.com";

/// What a request is signed with. Its text form does not tell it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) id: Option<String>,
    pub(super) secret: Option<String>,
    pub(super) token: Option<String>,
    pub(super) region: Option<String>,
}

impl Debug for Keys {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// The headers that sign a request of one object at `time` (`YYYYMMDDThhmmssZ`); none without keys.
pub(super) fn headers(keys: &Keys, url: &Url, time: &str) -> Vec<(&'static str, String)> {
    let (Some(id), Some(secret)) = (&keys.id, &keys.secret) else {
        return Vec::new();
    };
    let usual = region_of(url.host_str().unwrap_or_default());
    let region = keys.region.clone().or(usual);
    let region = region.unwrap_or_else(|| USUAL_REGION.into());
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let nothing = hex(digest::digest(&digest::SHA256, b"").as_ref());
    let mut signed = vec![
        ("host", host),
        ("x-amz-content-sha256", nothing.clone()),
        ("x-amz-date", time.to_owned()),
    ];
    if let Some(token) = &keys.token {
        signed.push(("x-amz-security-token", token.clone()));
    }
    let mut canonical = String::new();
    for (name, value) in &signed {
        writeln!(canonical, "{name}:{value}").ok();
    }
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let request = format!("GET\n{}\n\n{canonical}\n{names}\n{nothing}", path(url));
    let day = time.get(..8).unwrap_or(time);
    let scope = format!("{day}/{region}/s3/aws4_request");
    let request = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
    let text = format!("{ALGORITHM}\n{time}\n{scope}\n{request}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [day, &region, "s3", "aws4_request"] {
        key = seal(&key, part);
    }
    let signature = hex(&seal(&key, &text));
    let authorization = format!(
        "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    signed.retain(|(name, _)| *name != "host");
    signed.push(("authorization", authorization));
    signed
}

/// True for an address of the store's own that needs no `s3::` before it.
pub(super) fn is_own_host(host: &str) -> bool {
    let inside = host
        .strip_suffix(HOST)
        .and_then(|rest| rest.strip_suffix('.'));
    inside.is_some_and(|rest| {
        let mut parts = rest.split('.');
        parts.any(|part| part == "s3" || part.starts_with("s3-"))
    })
}

/// The region that a host of the store names: `s3-REGION` or `s3.REGION`.
fn region_of(host: &str) -> Option<String> {
    let inside = host.strip_suffix(HOST)?.strip_suffix('.')?;
    let mut parts = inside.split('.').skip_while(|part| !part.starts_with("s3"));
    let first = parts.next()?;
    let named = first.strip_prefix("s3-").or_else(|| parts.next())?;
    Some(named.to_owned())
}

/// The path as it is signed: every byte that is none of its own is written out.
fn path(url: &Url) -> String {
    let plain = percent_encoding::percent_decode_str(url.path()).collect::<Vec<u8>>();
    utf8_percent_encode(&String::from_utf8_lossy(&plain), PATH).to_string()
}

fn seal(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys {
            id: Some("AKIAIOSFODNN7EXAMPLE".into()),
            secret: Some("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into()),
            ..Keys::default()
        }
    }

    #[test]
    fn a_request_without_keys_is_not_signed_and_a_token_is() {
        let url = Url::parse("https://examplebucket.s3.amazonaws.com/test.txt").unwrap();
        assert_eq!(headers(&Keys::default(), &url, "20130524T000000Z"), []);
        let with_token = Keys {
            token: Some("t".into()),
            ..keys()
        };
        let found = headers(&with_token, &url, "20130524T000000Z");
        let (_, authorization) = found.last().unwrap();
        assert!(
            authorization.contains(
                "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, "
            ),
            "{authorization}"
        );
        assert!(found.contains(&("x-amz-security-token", "t".into())));
    }

    #[test]
    fn the_parts_of_a_signature_are_those_of_the_specification() {
        // The worked example of a key: its secret, day, region and service.
        let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        for part in ["20120215", "us-east-1", "iam", "aws4_request"] {
            key = seal(&key, part);
        }
        assert_eq!(
            hex(&key),
            "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"
        );
        let url = Url::parse("http://x/bucket/a%20b+c/d").unwrap();
        assert_eq!(path(&url), "/bucket/a%20b%2Bc/d");
    }

    #[test]
    fn hosts_of_the_store_are_known_and_say_where_they_are() {
        for (host, own, region) in [
            ("s3.amazonaws.com", true, None),
            ("s3-eu-west-1.amazonaws.com", true, Some("eu-west-1")),
            ("bucket.s3.amazonaws.com", true, None),
            ("bucket.s3.eu-west-1.amazonaws.com", true, Some("eu-west-1")),
            ("bucket.s3-eu-west-1.amazonaws.com", true, Some("eu-west-1")),
            ("ec2.amazonaws.com", false, None),
            ("s3.example.com", false, None),
        ] {
            assert_eq!(is_own_host(host), own, "{host}");
            assert_eq!(region_of(host).as_deref(), region, "{host}");
        }
    }
}
