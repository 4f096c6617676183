//! What targets are told about the client.

use std::net::{IpAddr, SocketAddr};

use ::http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Headers that a client may not have removed by naming them in `Connection`.
const PROTECTED: [HeaderName; 8] = [
    FORWARDED,
    HOST,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
    X_FORWARDED_PREFIX,
    X_FORWARDED_PROTO,
    X_REAL_IP,
];

/// The client's connection, as targets are told about it; the values are made once for all its
/// requests.
#[derive(Debug)]
pub(crate) struct Hop {
    /// The client's address.
    client: HeaderValue,
    /// The element of RFC 7239 for this hop.
    element: HeaderValue,
    /// The port that the client connected to.
    port: HeaderValue,
}

impl Hop {
    /// A connection from one address to another, without TLS.
    pub(crate) fn new(client: IpAddr, own: SocketAddr) -> Hop {
        let (client, by) = (client.to_canonical(), own.ip().to_canonical());
        let element = format!("for={};proto=http;by={}", Node(client), Node(by));
        Hop {
            client: visible(&client.to_string()),
            element: visible(&element),
            port: HeaderValue::from(own.port()),
        }
    }
}

/// A value that is made of addresses and fixed text.
fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("addresses are made of visible characters")
}

/// The forwarding headers to set on a request that came in with `headers`. `strip` is the prefix
/// that the route cuts off. Headers that the client sent are believed.
pub(crate) fn forwarding(
    headers: &HeaderMap,
    hop: &Hop,
    strip: Option<HeaderValue>,
    mut set: impl FnMut(HeaderName, HeaderValue),
) {
    if !headers.contains_key(X_REAL_IP) {
        set(X_REAL_IP, hop.client.clone());
    }
    set(
        X_FORWARDED_FOR,
        appended(headers, &X_FORWARDED_FOR, &hop.client),
    );
    if !headers.contains_key(X_FORWARDED_PROTO) {
        let told = headers.get(FORWARDED).and_then(forwarded_proto);
        set(
            X_FORWARDED_PROTO,
            HeaderValue::from_static(told.unwrap_or("http")),
        );
    }
    let host = headers.get(HOST).filter(|host| !host.is_empty());
    if !headers.contains_key(X_FORWARDED_PORT) {
        let value = match host.and_then(port) {
            None => HeaderValue::from_static("80"),
            Some(port) if port.as_bytes() == hop.port.as_bytes() => hop.port.clone(),
            Some(port) => HeaderValue::from_str(port).unwrap_or(HeaderValue::from_static("80")),
        };
        set(X_FORWARDED_PORT, value);
    }
    if let Some(host) = host
        && !headers.contains_key(X_FORWARDED_HOST)
    {
        set(X_FORWARDED_HOST, host.clone());
    }
    if let Some(strip) = strip {
        set(X_FORWARDED_PREFIX, strip);
    }
    set(FORWARDED, appended(headers, &FORWARDED, &hop.element));
}

/// An address in the form of RFC 7239 §6.
struct Node(IpAddr);

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "\"[{address}]\""),
        }
    }
}

/// All values of a header with one more at the end, in one line.
fn appended(headers: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> HeaderValue {
    let mut values = headers
        .get_all(name)
        .iter()
        .filter(|value| !value.is_empty())
        .peekable();
    if values.peek().is_none() {
        return last.clone();
    }
    let mut joined = Vec::new();
    for value in values {
        joined.extend_from_slice(value.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(last.as_bytes());
    HeaderValue::from_bytes(&joined).unwrap_or_else(|_| last.clone())
}

/// The `proto` parameter of the first element, if it is one that HTTP is carried by.
fn forwarded_proto(value: &HeaderValue) -> Option<&'static str> {
    let first = value.to_str().ok()?.split(',').next()?;
    let mut pairs = first
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, proto) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("proto"))?;
    match proto.trim_matches('"') {
        "http" => Some("http"),
        "https" => Some("https"),
        _ => None,
    }
}

/// The port in a Host header; a bare IPv6 address has none.
fn port(host: &HeaderValue) -> Option<&str> {
    let (name, port) = host.to_str().ok()?.rsplit_once(':')?;
    let whole_name = !name.contains(':') || name.ends_with(']');
    (whole_name && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then_some(port)
}

/// The `Connection` header without the names in it that a client may not have removed; `None` if it
/// names none.
pub(crate) fn harmless_connection(value: &HeaderValue) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
    let is_protected = |name: &str| {
        PROTECTED
            .iter()
            .any(|protected| name.eq_ignore_ascii_case(protected.as_str()))
    };
    let names = || text.split(',').map(str::trim);
    if !names().any(is_protected) {
        return None;
    }
    let kept: Vec<&str> = names().filter(|name| !is_protected(name)).collect();
    HeaderValue::from_str(&kept.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn set(incoming: &[(&'static str, &str)], client: &str) -> BTreeMap<String, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in incoming {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let mut out = BTreeMap::new();
        let hop = Hop::new(client.parse().unwrap(), "10.0.0.1:9999".parse().unwrap());
        forwarding(&headers, &hop, None, |name, value| {
            out.insert(name.to_string(), value.to_str().unwrap().to_owned());
        });
        out
    }

    #[test]
    fn a_plain_request_gets_all_headers() {
        let out = set(&[("host", "shop.io:9999")], "192.0.2.7");
        let expected = [
            ("forwarded", "for=192.0.2.7;proto=http;by=10.0.0.1"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "shop.io:9999"),
            ("x-forwarded-port", "9999"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "192.0.2.7"),
        ];
        assert_eq!(
            out,
            expected
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        );
    }

    #[test]
    fn what_the_client_says_is_kept_or_appended_to() {
        let incoming = [
            ("host", "[2001:db8::1]"),
            ("forwarded", "for=1.1.1.1;proto=https"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-real-ip", "1.1.1.1"),
        ];
        let out = set(&incoming, "2001:db8::2");
        assert_eq!(
            out["forwarded"],
            "for=1.1.1.1;proto=https, for=\"[2001:db8::2]\";proto=http;by=10.0.0.1"
        );
        assert_eq!(out["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 2001:db8::2");
        assert_eq!(out["x-forwarded-proto"], "https");
        assert_eq!(out["x-forwarded-port"], "80");
        assert!(!out.contains_key("x-real-ip"));
    }

    #[test]
    fn protected_names_leave_the_connection_header() {
        let harmless = |text: &str| harmless_connection(&HeaderValue::from_str(text).unwrap());
        assert_eq!(harmless("keep-alive"), None);
        assert_eq!(
            harmless("X-Forwarded-For, close, x-real-ip").unwrap(),
            "close"
        );
    }
}
