//! What is wrong with the head of a request, beyond what the library refuses.
//!
//! Whatever two readers could understand differently is refused or written in one way before it
//! goes on: a target behind us must not see another request than we did.

use ::http::Version;
use ::http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use pingora_http::RequestHeader;

/// Checks a head, which came in as `raw`, and puts its length into one form.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(header: &mut RequestHeader, raw: &[u8]) -> Result<(), &'static str> {
    if has_bare_line_feed(raw) {
        return Err("a line ends without a carriage return");
    }
    check_target(header.raw_path())?;
    check_host(header)?;
    check_coding(&header.headers)?;
    if let Some(length) = length_to_write(&header.headers)? {
        header
            .insert_header(CONTENT_LENGTH, length)
            .map_err(|_| "the length of the body is no header value")?;
    }
    Ok(())
}

fn has_bare_line_feed(raw: &[u8]) -> bool {
    let inner = raw
        .windows(2)
        .any(|pair| pair[1] == b'\n' && pair[0] != b'\r');
    inner || raw.first() == Some(&b'\n')
}

/// A target is a path, everything, or an absolute one of HTTP (RFC 9112 §3.2).
fn check_target(target: &[u8]) -> Result<(), &'static str> {
    let begins = |with: &[u8]| {
        let start = target.get(..with.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    if begins(b"/") || target == b"*" || begins(b"http://") || begins(b"https://") {
        Ok(())
    } else {
        Err("the target is not of HTTP")
    }
}

fn check_host(header: &RequestHeader) -> Result<(), &'static str> {
    let authority = header.uri.authority();
    let host = header.headers.get(HOST);
    let host = match (host, authority) {
        (Some(host), _) => host.as_bytes(),
        // Only the newer version says it so without a header.
        (None, Some(authority)) if header.version == Version::HTTP_2 => {
            authority.as_str().as_bytes()
        }
        (None, _) if header.version >= Version::HTTP_11 => return Err("there is no host"),
        (None, _) => return Ok(()),
    };
    if host.iter().all(|byte| is_of_host(*byte)) {
        Ok(())
    } else {
        Err("the host is no name")
    }
}

/// Whether a byte may stand in a host with a port (RFC 3986 §3.2).
fn is_of_host(byte: u8) -> bool {
    is_of_name(byte) || b"~%!$&'()*+,;=:[]".contains(&byte)
}

/// Whether a byte may stand in a plain name of a host.
pub(super) fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

/// A body that is coded in any other way than in chunks has a length that we do not know.
fn check_coding(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None)
            if only
                .as_bytes()
                .trim_ascii()
                .eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(())
        }
        _ => Err("the transfer coding is not just chunked"),
    }
}

/// The length of the body, if it was said more than once.
fn length_to_write(headers: &HeaderMap) -> Result<Option<HeaderValue>, &'static str> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let digits = first.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if values.next().is_none() && is_number {
        return Ok(None);
    }
    let said = headers
        .get_all(CONTENT_LENGTH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|length| {
            let digits = length.trim_ascii();
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let number = str::from_utf8(digits).ok().filter(|_| is_number);
            number.and_then(|number| number.parse().ok())
        });
    let mut one: Option<u64> = None;
    for length in said {
        let length = length.ok_or("the length of the body is no number")?;
        if one.is_some_and(|one| one != length) {
            return Err("the body has two lengths");
        }
        one = Some(length);
    }
    Ok(one.map(HeaderValue::from))
}

#[cfg(test)]
mod tests {
    use super::check;
    use ::http::Version;
    use pingora_http::RequestHeader;

    /// What `check` says to a head; the length of the body after it if that is fine.
    fn checked(raw: &str) -> Result<Vec<String>, &'static str> {
        let mut lines = raw.split("\r\n").flat_map(|line| line.split('\n'));
        let mut first = lines.next().unwrap().split(' ');
        let (method, target, version) = (
            first.next().unwrap(),
            first.next().unwrap(),
            first.next().unwrap(),
        );
        let mut header = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        header.set_version(if version == "HTTP/1.0" {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        });
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            header
                .append_header(name.to_owned(), value.trim().to_owned())
                .unwrap();
        }
        check(&mut header, raw.as_bytes())?;
        let lengths = header.headers.get_all("content-length").iter();
        Ok(lengths
            .map(|length| length.to_str().unwrap().to_owned())
            .collect())
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_or_written_in_one() {
        let with = |lines: &str| checked(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n"));
        assert_eq!(with("X: 1"), Ok(vec![]));
        assert_eq!(with("Content-Length: 57"), Ok(vec!["57".into()]));
        for twice in [
            "Content-Length: 57, 57",
            "Content-Length: 57\r\nContent-Length: 57",
            "Content-Length: 57,57 ,57",
        ] {
            assert_eq!(with(twice), Ok(vec!["57".into()]), "{twice}");
        }
        for wrong in [
            "Content-Length: 57, 58",
            "Content-Length: 57\r\nContent-Length: 5",
            "Content-Length: 57,",
            "Content-Length: +57",
            "Content-Length: ",
            "Content-Length: 99999999999999999999,99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: identity",
            "X: 1\nY: 2",
        ] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
        assert_eq!(with("Transfer-Encoding: Chunked"), Ok(vec![]));
    }

    #[test]
    fn hosts_are_names_and_targets_are_of_http() {
        for fine in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: \r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.b.:8080\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(checked(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\\b\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }
}
