//! The head of an answer: how its body ends, and what of it goes on to the client.

use std::io::Write;
use std::mem::MaybeUninit;

use ::http::StatusCode;
use smallvec::SmallVec;

use crate::headers::{hop_by_hop, is_nominated};
use crate::http::body::{Body, Chunks, Coding};
use crate::http::routing;

/// The largest head of an answer in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 1 << 20;

/// How many header lines an answer has at most.
const LINES_MAX: usize = 256;

/// What the client has asked and will get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// By `HEAD`: no body follows whatever the answer says.
    pub(super) is_head: bool,
    /// The client's connection goes on after the answer, as far as the request is concerned.
    pub(super) keeps: bool,
    /// For answers that have no date.
    pub(super) date: &'a [u8],
    /// What the client is told to come back with.
    pub(super) cookie: Option<&'a str>,
    /// The value of `Strict-Transport-Security`, whatever the answer says of it.
    pub(super) transport_security: Option<&'a str>,
}

/// What stands at the start of a target's bytes.
#[derive(Debug, PartialEq)]
pub(super) enum Head {
    /// It goes on.
    Partial,
    /// An interim answer of so many bytes; another head follows.
    Interim(usize),
    /// The answer.
    Final(Final),
}

/// An answer whose head was written for the client.
#[derive(Debug, PartialEq)]
pub(super) struct Final {
    /// The status.
    pub(super) status: StatusCode,
    /// Length of the head that was read.
    pub(super) bytes: usize,
    /// What follows it; nothing if it is whole.
    pub(super) body: Option<Body>,
    /// How that goes on.
    pub(super) coding: Coding,
    /// The target's connection may be used again when the body is whole.
    pub(super) keeps_upstream: bool,
    /// The client's connection may be used again then.
    pub(super) keeps_client: bool,
}

/// No reader could tell what the answer is, or not all would tell the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Reads the head of an answer at the start of `bytes`, and writes what goes on of it to `out`;
/// nothing unless it is whole.
pub(super) fn take(bytes: &[u8], asked: Asked<'_>, out: &mut Vec<u8>) -> Result<Head, Malformed> {
    let mut headers = [const { MaybeUninit::uninit() }; LINES_MAX];
    let mut answer = httparse::Response::new(&mut []);
    let mut parser = httparse::ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    parser.allow_obsolete_multiline_headers_in_responses(true);
    let parsed = parser.parse_response_with_uninit_headers(&mut answer, bytes, &mut headers);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(Head::Partial),
        Err(_) => return Err(Malformed("it is no head")),
    };
    let status = answer.code.unwrap_or_default();
    let seen = Seen::of(answer.headers)?;
    if status < 100 || status == 101 {
        return Err(Malformed("nobody asked to switch protocols"));
    }
    let reason = answer.reason.unwrap_or_default();
    write!(out, "HTTP/1.1 {status} ").expect(WRITES);
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    for header in &*answer.headers {
        let name = header.name.as_bytes();
        // Written anew below.
        let is_own = name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"date")
            || asked.transport_security.is_some()
                && name.eq_ignore_ascii_case(b"strict-transport-security");
        if !is_own && !hop_by_hop(name) && !is_nominated(name, &seen.connection) {
            line(name, header.value, out);
        }
    }
    if let Some(value) = asked.transport_security {
        line(b"Strict-Transport-Security", value.as_bytes(), out);
    }
    if status < 200 {
        out.extend_from_slice(b"\r\n");
        return Ok(Head::Interim(length));
    }
    let has_body = !asked.is_head && status != 204 && status != 304;
    let (body, coding, keeps_client) = seen.body(has_body, out);
    line(b"Date", seen.date.unwrap_or(asked.date), out);
    if let Some(cookie) = asked.cookie {
        line(b"Set-Cookie", cookie.as_bytes(), out);
    }
    let keeps_client = keeps_client && asked.keeps;
    out.extend_from_slice(connection(keeps_client));
    let is_reusable = answer.version == Some(1) && !seen.closes() && !seen.has_both();
    Ok(Head::Final(Final {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
        bytes: length,
        keeps_upstream: is_reusable && body != Some(Body::UntilClose),
        body,
        coding,
        keeps_client,
    }))
}

/// Writes an answer of the proxy's own, with a page if that is not empty; only its length where no
/// body is asked for.
pub(super) fn own(
    status: StatusCode,
    (keeps, is_head): (bool, bool),
    page: &[u8],
    date: &[u8],
    out: &mut Vec<u8>,
) {
    let length = page.len();
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nDate: "
    )
    .expect(WRITES);
    out.extend_from_slice(date);
    out.extend_from_slice(b"\r\n");
    if !page.is_empty() {
        line(b"Content-Type", routing::HTML.as_bytes(), out);
    }
    if routing::comes_again(status) {
        line(b"Retry-After", b"1", out);
    }
    out.extend_from_slice(connection(keeps));
    if !is_head {
        out.extend_from_slice(page);
    }
}

const WRITES: &str = "writing to a buffer does not fail";

/// The last line of a head, and the empty one.
fn connection(keeps: bool) -> &'static [u8] {
    if keeps {
        b"Connection: keep-alive\r\n\r\n"
    } else {
        b"Connection: close\r\n\r\n"
    }
}

fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    if value.contains(&b'\n') {
        unfold(value, out);
    } else {
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a value that goes over several lines in one (RFC 9112 §5.2).
fn unfold(value: &[u8], out: &mut Vec<u8>) {
    for (number, part) in value.split(|byte| *byte == b'\n').enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        out.extend_from_slice(if number > 0 {
            part.trim_ascii_start()
        } else {
            part
        });
    }
}

/// The headers of an answer that say how long it is, and what becomes of its connection.
#[derive(Default)]
struct Seen<'b> {
    length: Option<u64>,
    codings: SmallVec<[&'b [u8]; 1]>,
    connection: SmallVec<[&'b [u8]; 1]>,
    date: Option<&'b [u8]>,
}

impl<'b> Seen<'b> {
    fn of(headers: &[httparse::Header<'b>]) -> Result<Seen<'b>, Malformed> {
        let mut seen = Seen::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            match header.name.len() {
                4 if is("date") => seen.date = Some(header.value),
                10 if is("connection") => seen.connection.push(header.value),
                14 if is("content-length") => seen.lengths(header.value)?,
                17 if is("transfer-encoding") => seen.codings.push(header.value),
                _ => {}
            }
        }
        Ok(seen)
    }

    fn lengths(&mut self, value: &[u8]) -> Result<(), Malformed> {
        for length in value.split(|byte| *byte == b',') {
            let length = length.trim_ascii();
            let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let text = str::from_utf8(length).ok().filter(|_| is_number);
            let length: u64 = text
                .and_then(|text| text.parse().ok())
                .ok_or(Malformed("its length is no number"))?;
            if self.length.is_some_and(|own| own != length) {
                return Err(Malformed("it has two lengths"));
            }
            self.length = Some(length);
        }
        Ok(())
    }

    /// How the body ends and goes on, and whether the client can tell its end; writes the lines
    /// that say so.
    fn body(&self, has_body: bool, out: &mut Vec<u8>) -> (Option<Body>, Coding, bool) {
        for coding in &self.codings {
            line(b"Transfer-Encoding", coding, out);
        }
        if let (true, Some(length)) = (self.codings.is_empty(), self.length) {
            write!(out, "Content-Length: {length}\r\n").expect(WRITES);
        }
        if !has_body {
            return (None, Coding::Plain, true);
        }
        match (self.is_chunked(), self.length) {
            (Some(true), _) => (
                Some(Body::Chunked(Chunks::default())),
                Coding::Chunked,
                true,
            ),
            // Coded in a way of which only the end of the connection tells the end.
            (Some(false), _) => (Some(Body::UntilClose), Coding::Plain, false),
            (None, Some(0)) => (None, Coding::Plain, true),
            (None, Some(length)) => (Some(Body::Length(length)), Coding::Plain, true),
            (None, None) => {
                line(b"Transfer-Encoding", b"chunked", out);
                (Some(Body::UntilClose), Coding::Chunked, true)
            }
        }
    }

    /// Whether the last coding is chunks; none if nothing is said of codings.
    fn is_chunked(&self) -> Option<bool> {
        let last = self.codings.last()?.rsplit(|byte| *byte == b',').next()?;
        Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"))
    }

    fn has_both(&self) -> bool {
        self.length.is_some() && !self.codings.is_empty()
    }

    fn closes(&self) -> bool {
        is_nominated(b"close", &self.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Body, Chunks, Coding, Final, Head, Malformed, own, take};
    use ::http::StatusCode;

    const ASKED: Asked<'_> = Asked {
        is_head: false,
        keeps: true,
        date: b"now",
        cookie: None,
        transport_security: None,
    };

    /// What goes on of an answer, and what it is.
    fn taken(raw: &str, asked: Asked<'_>) -> (String, Final) {
        let mut out = Vec::new();
        match take(raw.as_bytes(), asked, &mut out) {
            Ok(Head::Final(answer)) => (String::from_utf8(out).unwrap(), answer),
            other => panic!("{raw:?}: {other:?}"),
        }
    }

    #[test]
    fn bodies_are_framed_as_the_answer_says() {
        let chunked = || Some(Body::Chunked(Chunks::default()));
        let until_close = || Some(Body::UntilClose);
        let (plain, chunks) = (Coding::Plain, Coding::Chunked);
        // Lines of the answer, lines that go on, body, coding, whether target and client are kept.
        for (lines, on, body, coding, keeps) in [
            (
                "Content-Length: 5",
                "Content-Length: 5",
                Some(Body::Length(5)),
                plain,
                (true, true),
            ),
            (
                "Content-Length: 0",
                "Content-Length: 0",
                None,
                plain,
                (true, true),
            ),
            (
                "content-length: 5,5\r\nContent-Length: 5",
                "Content-Length: 5",
                Some(Body::Length(5)),
                plain,
                (true, true),
            ),
            (
                "Content-Length: 5\r\nConnection: close",
                "Content-Length: 5",
                Some(Body::Length(5)),
                plain,
                (false, true),
            ),
            (
                "Transfer-Encoding: chunked",
                "Transfer-Encoding: chunked",
                chunked(),
                chunks,
                (true, true),
            ),
            (
                "Transfer-Encoding: gzip, Chunked",
                "Transfer-Encoding: gzip, Chunked",
                chunked(),
                chunks,
                (true, true),
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5",
                "Transfer-Encoding: chunked",
                chunked(),
                chunks,
                (false, true),
            ),
            (
                "Transfer-Encoding: gzip",
                "Transfer-Encoding: gzip",
                until_close(),
                plain,
                (false, false),
            ),
            (
                "X: y",
                "X: y\r\nTransfer-Encoding: chunked",
                until_close(),
                chunks,
                (false, true),
            ),
        ] {
            let (seen, answer) = taken(&format!("HTTP/1.1 200 Fine\r\n{lines}\r\n\r\nrest"), ASKED);
            assert_eq!(
                seen,
                format!(
                    "HTTP/1.1 200 Fine\r\n{on}\r\nDate: now\r\nConnection: {}\r\n\r\n",
                    if keeps.1 { "keep-alive" } else { "close" }
                )
            );
            let expected = Final {
                status: answer.status,
                bytes: lines.len() + 23,
                body,
                coding,
                keeps_upstream: keeps.0,
                keeps_client: keeps.1,
            };
            assert_eq!(answer, expected, "{lines}");
        }
    }

    #[test]
    fn some_answers_have_no_body() {
        let head = Asked {
            is_head: true,
            ..ASKED
        };
        for (raw, asked) in [
            ("HTTP/1.1 204 x\r\n\r\n", ASKED),
            ("HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", ASKED),
            ("HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\n", head),
            ("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", head),
            ("HTTP/1.1 200 x\r\n\r\n", head),
        ] {
            let (_, answer) = taken(raw, asked);
            assert_eq!(
                (answer.body, answer.keeps_upstream),
                (None, true),
                "{raw:?}"
            );
        }
    }

    #[test]
    fn what_speaks_of_the_connection_ends_here() {
        let (seen, answer) = taken(
            "HTTP/1.0 200 OK\r\nConnection: keep-alive, X-Own\r\nX-Own: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n\
             Trailer: T\r\nProxy-Connection: x\r\nDate: then\r\nA : b\r\nContent-Length: 1\r\n\r\n",
            Asked {
                keeps: false,
                ..ASKED
            },
        );
        assert_eq!(
            seen,
            "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 1\r\nDate: then\r\nConnection: close\r\n\r\n"
        );
        assert!(!answer.keeps_upstream && !answer.keeps_client);
    }

    #[test]
    fn values_over_several_lines_become_one() {
        let raw = "HTTP/1.1 200 OK\r\nX: 1\r\n\t 2\n 3\r\nContent-Length: 1\r\n\r\n";
        let (seen, _) = taken(raw, ASKED);
        assert!(seen.contains("\r\nX: 1 2 3\r\n"), "{seen}");
    }

    #[test]
    fn interim_answers_go_on_and_wait_for_the_next() {
        let mut out = Vec::new();
        let raw = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n";
        assert_eq!(take(raw, ASKED, &mut out), Ok(Head::Interim(37)));
        assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
        out.clear();
        assert_eq!(take(&raw[37..], ASKED, &mut out), Ok(Head::Partial));
        assert!(out.is_empty());
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for raw in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 020 OK\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            let mut out = Vec::new();
            assert!(take(raw.as_bytes(), ASKED, &mut out).is_err(), "{raw:?}");
            assert!(out.is_empty(), "{raw:?}");
        }
        assert_eq!(
            take(b"HTTP/1.1 101 x\r\n\r\n", ASKED, &mut Vec::new()),
            Err(Malformed("nobody asked to switch protocols"))
        );
    }

    #[test]
    fn own_answers_have_no_body_but_a_page() {
        let written = |status, is_head, page: &str| {
            let mut out = Vec::new();
            own(status, (true, is_head), page.as_bytes(), b"now", &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            written(StatusCode::NOT_FOUND, false, ""),
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nDate: now\r\nConnection: keep-alive\r\n\r\n"
        );
        let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nDate: now\r\n\
            Content-Type: text/html; charset=utf-8\r\nRetry-After: 1\r\nConnection: keep-alive\r\n\r\n";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(written(status, true, "later"), head);
        assert_eq!(written(status, false, "later"), format!("{head}later"));
    }
}
