//! What targets are told about the client, and which headers end at the proxy.

use std::net::{IpAddr, SocketAddr};

use ::http::header::HeaderValue;
use smallvec::SmallVec;

use crate::route::Scheme;

/// A header that tells of the client and the hops so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// `Forwarded`
    Forwarded,
    /// `X-Forwarded-For`
    For,
    /// `X-Forwarded-Host`
    Host,
    /// `X-Forwarded-Port`
    Port,
    /// `X-Forwarded-Prefix`
    Prefix,
    /// `X-Forwarded-Proto`
    Proto,
    /// `X-Real-Ip`
    RealIp,
}

impl Told {
    pub(crate) const ALL: [Told; 7] = [
        Told::Forwarded,
        Told::For,
        Told::Host,
        Told::Port,
        Told::Prefix,
        Told::Proto,
        Told::RealIp,
    ];

    /// The header of a name in any case.
    pub(crate) fn of(name: &[u8]) -> Option<Told> {
        // The lengths that there are; most other names have another one, or another letter.
        let may_be =
            matches!(name.len(), 9 | 15..=18) && matches!(name[0], b'f' | b'F' | b'x' | b'X');
        if !may_be {
            return None;
        }
        let is = |told: &Told| name.eq_ignore_ascii_case(told.name().as_bytes());
        Told::ALL.into_iter().find(is)
    }

    /// In lower case.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Told::Forwarded => "forwarded",
            Told::For => "x-forwarded-for",
            Told::Host => "x-forwarded-host",
            Told::Port => "x-forwarded-port",
            Told::Prefix => "x-forwarded-prefix",
            Told::Proto => "x-forwarded-proto",
            Told::RealIp => "x-real-ip",
        }
    }
}

/// The client's connection, as targets are told about it; the texts are made once for all its
/// requests.
#[derive(Debug)]
pub(crate) struct Hop {
    address: IpAddr,
    is_tls: bool,
    /// The element of RFC 7239 for this hop, and the port that the client connected to.
    text: Box<str>,
    /// Where the client's address is in it.
    client: (u8, u8),
    /// Where the port begins.
    port_at: u8,
}

impl Hop {
    /// A connection from one address to another; targets are told that `by` took it, if somebody
    /// wants that.
    pub(crate) fn new(client: IpAddr, own: SocketAddr, by: Option<IpAddr>, is_tls: bool) -> Hop {
        let by = by.unwrap_or_else(|| own.ip()).to_canonical();
        let client = client.to_canonical();
        let mut text = String::with_capacity(HOP_BYTES);
        text.push_str("for=");
        let place = write_node(client, &mut text);
        text.push_str(if is_tls {
            ";proto=https;by="
        } else {
            ";proto=http;by="
        });
        write_node(by, &mut text);
        // With the longest addresses it has 111 bytes.
        let at = |at: usize| u8::try_from(at).unwrap_or(u8::MAX);
        let port_at = at(text.len());
        write_number(own.port(), &mut text);
        Hop {
            address: client,
            is_tls,
            text: text.into(),
            client: (at(place.start), at(place.end)),
            port_at,
        }
    }

    /// The client's address.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// The client's address as text.
    pub(crate) fn address_text(&self) -> &str {
        let (start, end) = self.client;
        let text = self.text.get(start.into()..end.into());
        text.unwrap_or_default()
    }

    fn element(&self) -> &str {
        self.text.split_at(self.port_at.into()).0
    }

    fn port(&self) -> &str {
        self.text.split_at(self.port_at.into()).1
    }

    /// Whether TLS ended here.
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn scheme(&self) -> Scheme {
        if self.is_tls {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }
}

/// The scheme of HTTP that a header names.
pub(crate) fn scheme(value: &[u8]) -> Option<Scheme> {
    let value = value.trim_ascii();
    let is = |known: &str| value.eq_ignore_ascii_case(known.as_bytes());
    if is("http") || is("ws") {
        Some(Scheme::Http)
    } else if is("https") || is("wss") {
        Some(Scheme::Https)
    } else {
        None
    }
}

/// The addresses that `X-Forwarded-For` headers name; what is none is passed over.
pub(crate) fn forwarded_for<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = IpAddr> {
    let elements = values.flat_map(|value| value.split(|byte| *byte == b','));
    elements.filter_map(|element| str::from_utf8(element.trim_ascii()).ok()?.parse().ok())
}

/// What a request says of its way so far. What somebody says who is not believed does not get here.
#[derive(Debug, Default)]
pub(crate) struct Incoming<'a> {
    host: Option<&'a [u8]>,
    forwarded: SmallVec<[&'a [u8]; 1]>,
    forwarded_for: SmallVec<[&'a [u8]; 1]>,
    others: SmallVec<[Told; 5]>,
}

impl<'a> Incoming<'a> {
    /// Of a request with a Host header, which may be empty, or without one.
    pub(crate) fn new(host: Option<&'a [u8]>) -> Incoming<'a> {
        Incoming {
            host: host.filter(|host| !host.is_empty()),
            ..Incoming::default()
        }
    }

    /// Notes a header, in the order of the lines.
    pub(crate) fn note(&mut self, told: Told, value: &'a [u8]) {
        match told {
            Told::Forwarded => self.forwarded.push(value),
            Told::For => self.forwarded_for.push(value),
            other if !self.others.contains(&other) => self.others.push(other),
            _ => {}
        }
    }
}

/// The forwarding headers to set on a request, each instead of all of its name; a value is given in
/// pieces. `strip` is the prefix that the route cuts off.
pub(crate) fn forwarding(
    incoming: &Incoming<'_>,
    hop: &Hop,
    strip: Option<&str>,
    mut set: impl FnMut(Told, &[&[u8]]),
) {
    let has = |told| incoming.others.contains(&told);
    if !has(Told::RealIp) {
        set(Told::RealIp, &[hop.address_text().as_bytes()]);
    }
    set(
        Told::For,
        &appended(&incoming.forwarded_for, hop.address_text().as_bytes()),
    );
    if !has(Told::Proto) {
        let first = incoming.forwarded.first();
        let told = first.and_then(|forwarded| forwarded_proto(forwarded));
        let own = hop.scheme().as_str();
        set(Told::Proto, &[told.unwrap_or(own).as_bytes()]);
    }
    if !has(Told::Port) {
        let usual: &[u8] = if hop.is_tls { b"443" } else { b"80" };
        let port = incoming.host.and_then(port).unwrap_or(usual);
        // The usual one is at hand.
        let own = hop.port().as_bytes();
        set(Told::Port, &[if port == own { own } else { port }]);
    }
    if let Some(host) = incoming.host
        && !has(Told::Host)
    {
        set(Told::Host, &[host]);
    }
    if let Some(strip) = strip {
        set(Told::Prefix, &[strip.as_bytes()]);
    }
    set(
        Told::Forwarded,
        &appended(&incoming.forwarded, hop.element().as_bytes()),
    );
}

/// Room for what is said of a hop between two addresses of the older kind.
const HOP_BYTES: usize = 72;

/// Writes an address in the form of RFC 7239 §6, and says where the bare address is. This is done
/// for each connection, so the usual kind does without the machinery of formats.
fn write_node(address: IpAddr, out: &mut String) -> std::ops::Range<usize> {
    match address {
        IpAddr::V4(address) => {
            let start = out.len();
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push('.');
                }
                write_number(octet.into(), out);
            }
            start..out.len()
        }
        IpAddr::V6(address) => {
            out.push_str("\"[");
            let start = out.len();
            out.push_str(&address.to_string());
            let end = out.len();
            out.push_str("]\"");
            start..end
        }
    }
}

fn write_number(number: u16, out: &mut String) {
    let mut place = 10_000;
    while place > 1 && number < place {
        place /= 10;
    }
    while place > 0 {
        // A digit is less than ten.
        out.push(char::from(b'0' + (number / place % 10) as u8));
        place /= 10;
    }
}

/// All values of a header with one more at the end, in one line.
fn appended<'a>(values: &[&'a [u8]], last: &'a [u8]) -> SmallVec<[&'a [u8]; 5]> {
    let mut pieces: SmallVec<[&'a [u8]; 5]> = SmallVec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        pieces.push(*value);
        pieces.push(b", ");
    }
    pieces.push(last);
    pieces
}

/// The `proto` parameter of the first element, if it is one that HTTP is carried by.
fn forwarded_proto(value: &[u8]) -> Option<&'static str> {
    let first = str::from_utf8(value).ok()?.split(',').next()?;
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
fn port(host: &[u8]) -> Option<&[u8]> {
    let at = host.iter().rposition(|byte| *byte == b':')?;
    let (name, port) = (&host[..at], &host[at + 1..]);
    let whole_name = !name.contains(&b':') || name.ends_with(b"]");
    (whole_name && !port.is_empty() && port.iter().all(u8::is_ascii_digit)).then_some(port)
}

/// The `Connection` header without the names in it that a client may not have removed; `None` if it
/// names none.
pub(crate) fn harmless_connection(value: &HeaderValue) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
    let is_protected =
        |name: &str| Told::of(name.as_bytes()).is_some() || name.eq_ignore_ascii_case("host");
    let names = || text.split(',').map(str::trim);
    if !names().any(is_protected) {
        return None;
    }
    let kept: Vec<&str> = names().filter(|name| !is_protected(name)).collect();
    HeaderValue::from_str(&kept.join(", ")).ok()
}

/// Whether a header of an answer speaks of one connection only.
pub(crate) fn hop_by_hop(name: &[u8]) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        2 => is("te"),
        7 => is("upgrade") || is("trailer"),
        10 => is("connection") || is("keep-alive"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        _ => false,
    }
}

/// Whether a name is among those of `Connection` headers.
pub(crate) fn is_nominated(name: &[u8], connection: &[&[u8]]) -> bool {
    let mut names = connection
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','));
    names.any(|nominated| nominated.trim_ascii().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn set(incoming: &[(&str, &str)], client: &str) -> BTreeMap<String, String> {
        let host = incoming.iter().find(|(name, _)| *name == "host");
        let mut told = Incoming::new(host.map(|(_, value)| value.as_bytes()));
        for (name, value) in incoming {
            if let Some(header) = Told::of(name.as_bytes()) {
                told.note(header, value.as_bytes());
            }
        }
        let mut out = BTreeMap::new();
        let own = "10.0.0.1:9999".parse().unwrap();
        let hop = Hop::new(client.parse().unwrap(), own, None, false);
        forwarding(&told, &hop, None, |header, pieces| {
            let value = String::from_utf8(pieces.concat()).unwrap();
            out.insert(header.name().to_owned(), value);
        });
        out
    }

    #[test]
    fn hops_are_told_in_words() {
        for (client, own, is_tls, expected) in [
            (
                "192.0.2.7",
                "10.0.0.1:80",
                true,
                ("192.0.2.7", "for=192.0.2.7;proto=https;by=10.0.0.1", "80"),
            ),
            (
                "::ffff:1.2.3.4",
                "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                false,
                (
                    "1.2.3.4",
                    "for=1.2.3.4;proto=http;by=\"[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]\"",
                    "65535",
                ),
            ),
            (
                "2001:db8::1",
                "[::1]:1",
                false,
                (
                    "2001:db8::1",
                    "for=\"[2001:db8::1]\";proto=http;by=\"[::1]\"",
                    "1",
                ),
            ),
        ] {
            let hop = Hop::new(client.parse().unwrap(), own.parse().unwrap(), None, is_tls);
            assert_eq!((hop.address_text(), hop.element(), hop.port()), expected);
        }
        let (client, own) = ([192, 0, 2, 7].into(), "10.0.0.1:80".parse().unwrap());
        for (by, expected) in [
            ("203.0.113.1", "for=192.0.2.7;proto=http;by=203.0.113.1"),
            (
                "2001:db8::1",
                "for=192.0.2.7;proto=http;by=\"[2001:db8::1]\"",
            ),
        ] {
            let hop = Hop::new(client, own, Some(by.parse().unwrap()), false);
            assert_eq!((hop.element(), hop.port()), (expected, "80"));
        }
        for number in 0..=u16::MAX {
            let mut text = String::new();
            write_number(number, &mut text);
            assert_eq!(text, number.to_string());
        }
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
    fn every_header_is_known_by_its_name() {
        for told in Told::ALL {
            let name = told.name().to_uppercase();
            assert_eq!(Told::of(name.as_bytes()), Some(told));
        }
        for other in ["", "x", "forwarded-", "x-forwarded-fox", "accept-encoding"] {
            assert_eq!(Told::of(other.as_bytes()), None);
        }
    }

    #[test]
    fn names_of_a_connection_are_found() {
        let values: [&[u8]; 2] = [b"close, X-Own", b" keep-alive "];
        for name in ["close", "x-own", "keep-alive"] {
            assert!(is_nominated(name.as_bytes(), &values), "{name}");
        }
        assert!(!is_nominated(b"own", &values));
        assert!(hop_by_hop(b"Keep-Alive") && !hop_by_hop(b"Date"));
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
