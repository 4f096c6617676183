//! The header of the PROXY protocol, in both of its forms.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::route::ProxyHeader;

/// The longest header in text form, in bytes.
const TEXT_BYTES_MAX: usize = 107;

/// The longest header in binary form that is read, in bytes.
const BINARY_BYTES_MAX: usize = 4 << 10;

/// What a binary header begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What stands at the start of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Perhaps a header, of which more has to come.
    Partial,
    /// No header.
    Other,
    /// A header of so many bytes, and whose connection it is: from where, to where. Nobody's if
    /// the proxy speaks for itself.
    Header(usize, Option<(SocketAddr, SocketAddr)>),
    /// A header that cannot be understood.
    Malformed,
}

/// Looks at the start of a connection.
pub(crate) fn begin(bytes: &[u8]) -> Begin {
    let is_start = |of: &[u8]| {
        let length = of.len().min(bytes.len());
        bytes[..length] == of[..length]
    };
    if is_start(SIGNATURE) {
        binary(bytes)
    } else if is_start(b"PROXY ") {
        text(bytes)
    } else {
        Begin::Other
    }
}

fn text(bytes: &[u8]) -> Begin {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= TEXT_BYTES_MAX {
            Begin::Malformed
        } else {
            Begin::Partial
        };
    };
    let line = str::from_utf8(&bytes[..end]).ok();
    let line = line.filter(|_| end + 2 <= TEXT_BYTES_MAX);
    let Some(line) = line else {
        return Begin::Malformed;
    };
    let words: Vec<&str> = line.split(' ').collect();
    let ends = match words[..] {
        ["PROXY", "UNKNOWN", ..] => return Begin::Header(end + 2, None),
        ["PROXY", family, from, to, from_port, to_port] => {
            let is_family = |address: &IpAddr| match family {
                "TCP4" => address.is_ipv4(),
                "TCP6" => address.is_ipv6(),
                _ => false,
            };
            let place = |address: &str, port: &str| {
                let address = address.parse().ok().filter(is_family)?;
                Some(SocketAddr::new(address, port.parse().ok()?))
            };
            place(from, from_port).zip(place(to, to_port))
        }
        _ => None,
    };
    ends.map_or(Begin::Malformed, |ends| Begin::Header(end + 2, Some(ends)))
}

fn binary(bytes: &[u8]) -> Begin {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else {
        return Begin::Partial;
    };
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    let is_version = head[12] >> 4 == 2;
    if !is_version || length + head.len() > BINARY_BYTES_MAX {
        return Begin::Malformed;
    }
    let Some(rest) = rest.get(..length) else {
        return Begin::Partial;
    };
    let whole = head.len() + length;
    match (head[12] & 0xf, head[13]) {
        (0, _) => Begin::Header(whole, None),
        (1, 0x11) => match rest.first_chunk::<12>() {
            Some(ends) => {
                let [a, b, c, d, e, f, g, h, ports @ ..] = *ends;
                let from = Ipv4Addr::new(a, b, c, d).into();
                let to = Ipv4Addr::new(e, f, g, h).into();
                Begin::Header(whole, Some(places(from, to, ports)))
            }
            None => Begin::Malformed,
        },
        (1, 0x21) => match rest.first_chunk::<36>() {
            Some(ends) => {
                let address = |at: usize| {
                    let mut octets = [0; 16];
                    octets.copy_from_slice(&ends[at..at + 16]);
                    IpAddr::from(Ipv6Addr::from(octets))
                };
                let ports = [ends[32], ends[33], ends[34], ends[35]];
                Begin::Header(whole, Some(places(address(0), address(16), ports)))
            }
            None => Begin::Malformed,
        },
        // Other families are of no use here, and no reason to refuse.
        (1, _) => Begin::Header(whole, None),
        _ => Begin::Malformed,
    }
}

fn places(from: IpAddr, to: IpAddr, ports: [u8; 4]) -> (SocketAddr, SocketAddr) {
    let [a, b, c, d] = ports;
    (
        SocketAddr::new(from, u16::from_be_bytes([a, b])),
        SocketAddr::new(to, u16::from_be_bytes([c, d])),
    )
}

/// Writes a header for a connection from one address to another.
pub(crate) fn write_header(form: ProxyHeader, from: SocketAddr, to: SocketAddr, out: &mut Vec<u8>) {
    let (mut source, mut target) = (from.ip().to_canonical(), to.ip().to_canonical());
    if source.is_ipv4() != target.is_ipv4() {
        // There is one family for both.
        let wide = |address: IpAddr| match address {
            IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
            wide => wide,
        };
        (source, target) = (wide(source), wide(target));
    }
    match form {
        ProxyHeader::V1 => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (from.port(), to.port());
            let line = format!("PROXY {family} {source} {target} {from} {to}\r\n");
            out.extend_from_slice(line.as_bytes());
        }
        ProxyHeader::V2 => {
            out.extend_from_slice(SIGNATURE);
            out.push(0x21);
            let (family, length) = if source.is_ipv4() {
                (0x11, 12)
            } else {
                (0x21, 36)
            };
            out.extend_from_slice(&[family, 0, length]);
            for address in [source, target] {
                match address {
                    IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                    IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
                }
            }
            out.extend_from_slice(&from.port().to_be_bytes());
            out.extend_from_slice(&to.port().to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Begin, ProxyHeader, begin, write_header};

    #[test]
    fn headers_are_read_back_from_every_part() {
        for (from, to) in [
            ("1.2.3.4:5", "6.7.8.9:443"),
            ("[2001:db8::1]:5", "[::1]:443"),
            ("1.2.3.4:5", "[2001:db8::1]:443"),
        ] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            for form in [ProxyHeader::V1, ProxyHeader::V2] {
                let mut bytes = Vec::new();
                write_header(form, from, to, &mut bytes);
                let whole = bytes.len();
                bytes.extend_from_slice(b"GET /");
                for end in 0..whole {
                    assert_eq!(begin(&bytes[..end]), Begin::Partial, "{form:?} {end}");
                }
                let Begin::Header(length, Some(ends)) = begin(&bytes) else {
                    panic!("{form:?}: {:?}", begin(&bytes));
                };
                assert_eq!(length, whole);
                let plain =
                    |address: std::net::SocketAddr| (address.ip().to_canonical(), address.port());
                assert_eq!((plain(ends.0), plain(ends.1)), (plain(from), plain(to)));
            }
        }
    }

    #[test]
    fn what_is_no_header_is_told_from_a_bad_one() {
        for other in ["GET / HTTP/1.1\r\n", "\r\nGET", "PROXX ", "\x16\x03\x01"] {
            assert_eq!(begin(other.as_bytes()), Begin::Other, "{other:?}");
        }
        assert_eq!(begin(b"PROXY UNKNOWN\r\n"), Begin::Header(15, None));
        for wrong in [
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        ] {
            assert_eq!(begin(wrong.as_bytes()), Begin::Malformed, "{wrong:?}");
        }
        assert_eq!(
            begin(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat()),
            Begin::Malformed
        );
        let mut local = super::SIGNATURE.to_vec();
        local.extend_from_slice(&[0x20, 0, 0, 0]);
        assert_eq!(begin(&local), Begin::Header(16, None));
        let mut short = super::SIGNATURE.to_vec();
        short.extend_from_slice(&[0x21, 0x11, 0, 2, 1, 2]);
        assert_eq!(begin(&short), Begin::Malformed);
    }

    proptest! {
        #[test]
        fn anything_may_come(mut raw in prop::collection::vec(any::<u8>(), 0..60), start in 0..3usize) {
            let prefix: &[u8] = [b"PROXY TCP4 ".as_slice(), super::SIGNATURE, b""][start];
            raw.splice(0..0, prefix.iter().copied());
            if let Begin::Header(length, _) = begin(&raw) {
                prop_assert!(length <= raw.len());
            }
        }
    }
}
