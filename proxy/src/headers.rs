//! What targets are told about the client.

use std::fmt::Write;
use std::net::IpAddr;

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

/// The two ends of the client's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) client: IpAddr,
    pub(crate) own: Option<IpAddr>,
}

/// The forwarding headers to set on a request that came in with `headers` over a connection without TLS. `strip` is
/// the prefix that the route cuts off. Headers that the client sent are believed.
pub(crate) fn forwarding(
    headers: &HeaderMap,
    ends: Ends,
    strip: Option<&HeaderValue>,
    mut set: impl FnMut(HeaderName, HeaderValue),
) {
    let mut text = String::with_capacity(64);
    let client = render(&mut text, format_args!("{}", ends.client));
    if let Some(client) = &client {
        if !headers.contains_key(X_REAL_IP) {
            set(X_REAL_IP, client.clone());
        }
        set(X_FORWARDED_FOR, appended(headers, &X_FORWARDED_FOR, client));
    }
    let forwarded = headers.get(FORWARDED);
    if !headers.contains_key(X_FORWARDED_PROTO) {
        let told = forwarded
            .and_then(forwarded_proto)
            .and_then(|proto| HeaderValue::from_str(proto).ok());
        set(
            X_FORWARDED_PROTO,
            told.unwrap_or(HeaderValue::from_static("http")),
        );
    }
    let host = headers.get(HOST).filter(|host| !host.is_empty());
    if !headers.contains_key(X_FORWARDED_PORT) {
        let port = host
            .and_then(port)
            .and_then(|port| HeaderValue::from_str(port).ok());
        set(
            X_FORWARDED_PORT,
            port.unwrap_or(HeaderValue::from_static("80")),
        );
    }
    if let Some(host) = host
        && !headers.contains_key(X_FORWARDED_HOST)
    {
        set(X_FORWARDED_HOST, host.clone());
    }
    if let Some(strip) = strip {
        set(X_FORWARDED_PREFIX, strip.clone());
    }
    if let Some(element) = forwarded_element(&mut text, ends) {
        set(FORWARDED, appended(headers, &FORWARDED, &element));
    }
}

/// The element of RFC 7239 for this hop.
fn forwarded_element(text: &mut String, ends: Ends) -> Option<HeaderValue> {
    let node = |address: IpAddr| match address {
        IpAddr::V4(address) => Node::V4(address),
        IpAddr::V6(address) => Node::V6(address),
    };
    match ends.own {
        Some(own) => render(
            text,
            format_args!("for={};proto=http;by={}", node(ends.client), node(own)),
        ),
        None => render(text, format_args!("for={};proto=http", node(ends.client))),
    }
}

/// An address in the form of RFC 7239 §6.
enum Node {
    V4(std::net::Ipv4Addr),
    V6(std::net::Ipv6Addr),
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Node::V4(address) => write!(f, "{address}"),
            Node::V6(address) => write!(f, "\"[{address}]\""),
        }
    }
}

fn render(text: &mut String, arguments: std::fmt::Arguments<'_>) -> Option<HeaderValue> {
    text.clear();
    text.write_fmt(arguments)
        .expect("writing to a string does not fail");
    HeaderValue::from_str(text).ok()
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

/// The `proto` parameter of the first element.
fn forwarded_proto(value: &HeaderValue) -> Option<&str> {
    let first = value.to_str().ok()?.split(',').next()?;
    let mut pairs = first
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, proto) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("proto"))?;
    let proto = proto.trim_matches('"');
    matches!(proto, "http" | "https").then_some(proto)
}

/// The port in a Host header; a bare IPv6 address has none.
fn port(host: &HeaderValue) -> Option<&str> {
    let (name, port) = host.to_str().ok()?.rsplit_once(':')?;
    let whole_name = !name.contains(':') || name.ends_with(']');
    (whole_name && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then_some(port)
}

/// The `Connection` header without the names in it that a client may not have removed; `None` if it names none.
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
        let ends = Ends {
            client: client.parse().unwrap(),
            own: Some("10.0.0.1".parse().unwrap()),
        };
        forwarding(&headers, ends, None, |name, value| {
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
