//! The head of a request: plain enough to be carried here, or a matter for the proxy library.
//!
//! Plain is what every reader reads in the same way. All else is doubtful, whether it is wrong,
//! rare or only unusual: nothing is refused here.

use std::mem::MaybeUninit;

use ::http::Method;
use smallvec::SmallVec;

use super::own::Own;
use crate::headers::{self, Incoming, Told};
use crate::http::head::is_of_name;
use crate::route::Scheme;

/// The largest body of a request that is read whole before anything of it is sent.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;

/// How many header lines a plain request has at most.
const LINES_MAX: usize = 64;

/// Room for the lines that are looked at or left out; a request that has more pays an allocation.
const NOTED_LINES: usize = 4;

/// What stands at the start of a connection's bytes.
#[derive(Debug, PartialEq)]
pub(super) enum Head {
    /// It goes on.
    Partial,
    /// A head to carry on here.
    Plain(Plain),
    /// Something else.
    Doubtful(Doubt),
}

/// Why a head is left to the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It does not parse, or not by the letter.
    Malformed,
    /// Not HTTP/1.1.
    Version,
    /// The target is no path, or has characters that need care.
    Target,
    /// There is not exactly one host, or it needs care.
    Host,
    /// The body is coded, large, or of a length that is not said once in digits.
    Body,
    /// Something about the connection: an upgrade, names of headers, expectations.
    Connection,
    /// The answer is a stream that may rest for long.
    Stream,
}

/// Where a part of the bytes is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Positions of a head fit: it has at most as many bytes as one read brings.
    fn new(start: usize, end: usize) -> Span {
        let fits = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span {
            start: fits(start),
            end: fits(end),
        }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// A part that was found to be ASCII.
    fn text(self, bytes: &[u8]) -> &str {
        str::from_utf8(self.of(bytes)).unwrap_or_default()
    }
}

/// A plain head. Spans are positions in the bytes that it was read from.
#[derive(Debug, PartialEq)]
pub(super) struct Plain {
    /// Length of the head with its empty line.
    head_bytes: usize,
    /// Length of the body behind it.
    body_bytes: usize,
    method: Span,
    path: Span,
    /// Empty if there is none, or an empty one.
    query: Span,
    /// Path and query as they came.
    target: Span,
    host: Span,
    /// The header lines, without the empty one.
    lines: Span,
    noted: SmallVec<[Noted; NOTED_LINES]>,
    is_last: bool,
}

/// A header line that does not simply go on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Noted {
    line: Span,
    value: Span,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// It speaks of the connection, and ends here.
    Hop,
    Host,
    Told(Told),
    /// The proxy has a value of its own.
    Own,
}

/// What a header means for the way of its request.
enum Meaning {
    Nothing,
    Note(What),
    Connection,
    Length,
    Accept,
    Doubt(Doubt),
}

fn meaning(name: &str) -> Meaning {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    // Most headers are told apart by their length.
    match name.len() {
        2 if is("te") => Meaning::Doubt(Doubt::Connection),
        4 if is("host") => Meaning::Note(What::Host),
        6 if is("expect") => Meaning::Doubt(Doubt::Connection),
        6 if is("accept") => Meaning::Accept,
        7 if is("upgrade") || is("trailer") => Meaning::Doubt(Doubt::Connection),
        10 if is("connection") => Meaning::Connection,
        10 if is("keep-alive") => Meaning::Note(What::Hop),
        14 if is("content-length") => Meaning::Length,
        14 if is("http2-settings") => Meaning::Doubt(Doubt::Connection),
        16 if is("proxy-connection") => Meaning::Note(What::Hop),
        17 if is("transfer-encoding") => Meaning::Doubt(Doubt::Body),
        18 if is("proxy-authenticate") => Meaning::Note(What::Hop),
        19 if is("proxy-authorization") => Meaning::Note(What::Hop),
        _ => match Told::of(name.as_bytes()) {
            Some(told) => Meaning::Note(What::Told(told)),
            None => Meaning::Nothing,
        },
    }
}

/// Whether a header means nothing to a proxy.
pub(super) fn is_free(name: &str) -> bool {
    matches!(meaning(name), Meaning::Nothing)
}

/// Looks at the start of `bytes`; the headers of `own` are the proxy's.
pub(super) fn read(bytes: &[u8], own: &Own) -> Head {
    let mut headers = [const { MaybeUninit::uninit() }; LINES_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut headers);
    let head_bytes = match parsed {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return Head::Doubtful(Doubt::Malformed),
    };
    let reading = Reading {
        own,
        bytes,
        head: &bytes[..head_bytes],
    };
    match reading.plain(&request) {
        Ok(plain) => Head::Plain(plain),
        Err(doubt) => Head::Doubtful(doubt),
    }
}

/// Whether a head that begins before `bytes` may end in them: an empty line does, in any form that
/// some reader takes for one. The byte before and the two before that belong to `bytes` too.
pub(super) fn may_end_in(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| {
        let next = bytes.get(at + 1..).unwrap_or_default();
        next.starts_with(b"\n") || next.starts_with(b"\r\n")
    })
}

struct Reading<'b> {
    own: &'b Own,
    bytes: &'b [u8],
    head: &'b [u8],
}

impl<'b> Reading<'b> {
    /// Where a part of the bytes is.
    fn at(&self, part: &[u8]) -> Span {
        let start = part.as_ptr() as usize - self.bytes.as_ptr() as usize;
        Span::new(start, start + part.len())
    }

    fn plain(&self, request: &httparse::Request<'_, 'b>) -> Result<Plain, Doubt> {
        self.check_bytes()?;
        if request.version != Some(1) {
            return Err(Doubt::Version);
        }
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(Doubt::Malformed);
        };
        let (path, query) = split_target(target)?;
        let headers = &*request.headers;
        let lines_start = headers.first().ok_or(Doubt::Host)?.name.as_bytes();
        // The empty line is two bytes long: all lines end in both.
        let lines = Span {
            start: self.at(lines_start).start,
            ..Span::new(0, self.head.len() - 2)
        };
        let mut plain = Plain {
            head_bytes: self.head.len(),
            body_bytes: 0,
            method: self.at(method.as_bytes()),
            path: self.at(path.as_bytes()),
            query: query.map_or_else(Span::default, |query| self.at(query.as_bytes())),
            target: self.at(target.as_bytes()),
            host: Span::default(),
            lines,
            noted: SmallVec::new(),
            is_last: false,
        };
        // A line would begin elsewhere if something stood before the method.
        if plain.method.start != 0 {
            return Err(Doubt::Malformed);
        }
        let mut seen = Seen::default();
        for (number, header) in headers.iter().enumerate() {
            let meaning = match meaning(header.name) {
                Meaning::Nothing if self.own.has(header.name) => Meaning::Note(What::Own),
                other => other,
            };
            if matches!(meaning, Meaning::Nothing) {
                continue;
            }
            let next = headers.get(number + 1);
            let end = next.map_or(lines.end, |next| self.at(next.name.as_bytes()).start);
            let noted = |what| Noted {
                line: Span {
                    start: self.at(header.name.as_bytes()).start,
                    end,
                },
                value: self.at(header.value),
                what,
            };
            match meaning {
                Meaning::Nothing => {}
                Meaning::Doubt(doubt) => return Err(doubt),
                Meaning::Connection => {
                    seen.connection(header.value, &mut plain)?;
                    plain.noted.push(noted(What::Hop));
                }
                Meaning::Length => seen.length(header.value, &mut plain)?,
                Meaning::Accept => {
                    if header.value == b"text/event-stream" {
                        return Err(Doubt::Stream);
                    }
                }
                Meaning::Note(what) => {
                    let noted = noted(what);
                    if what == What::Host {
                        seen.host(header.value)?;
                        plain.host = noted.value;
                    }
                    plain.noted.push(noted);
                }
            }
        }
        if seen.has_host {
            Ok(plain)
        } else {
            Err(Doubt::Host)
        }
    }

    /// Every byte is one of ASCII, and every line ends as it should.
    fn check_bytes(&self) -> Result<(), Doubt> {
        if !self.head.is_ascii() {
            return Err(Doubt::Malformed);
        }
        let is_whole = |at: usize| at > 0 && self.head[at - 1] == b'\r';
        if memchr::memchr_iter(b'\n', self.head).all(is_whole) {
            Ok(())
        } else {
            Err(Doubt::Malformed)
        }
    }
}

/// A path and a query, of characters that mean the same to everybody.
fn split_target(target: &str) -> Result<(&str, Option<&str>), Doubt> {
    let is_fine =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    let is_path = target.starts_with('/') && !target.starts_with("//");
    if !is_path || !target.bytes().all(is_fine) {
        return Err(Doubt::Target);
    }
    Ok(match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    })
}

/// Headers that may stand there once.
#[derive(Default)]
struct Seen {
    has_host: bool,
    has_connection: bool,
    has_length: bool,
}

impl Seen {
    fn host(&mut self, host: &[u8]) -> Result<(), Doubt> {
        let (name, port) = match host.iter().position(|byte| *byte == b':') {
            Some(at) => (&host[..at], Some(&host[at + 1..])),
            None => (host, None),
        };
        let is_port = |port: &[u8]| {
            (1..=4).contains(&port.len()) && port.iter().all(u8::is_ascii_digit)
                || port.len() == 5
                    && port <= b"65535".as_slice()
                    && port.iter().all(u8::is_ascii_digit)
        };
        let is_fine = !name.is_empty()
            && name.iter().all(|byte| is_of_name(*byte))
            && port.is_none_or(is_port);
        if self.has_host || !is_fine {
            return Err(Doubt::Host);
        }
        self.has_host = true;
        Ok(())
    }

    fn connection(&mut self, value: &[u8], plain: &mut Plain) -> Result<(), Doubt> {
        plain.is_last = value.eq_ignore_ascii_case(b"close");
        if self.has_connection || !(plain.is_last || value.eq_ignore_ascii_case(b"keep-alive")) {
            return Err(Doubt::Connection);
        }
        self.has_connection = true;
        Ok(())
    }

    fn length(&mut self, value: &[u8], plain: &mut Plain) -> Result<(), Doubt> {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let text = str::from_utf8(value).ok().filter(|_| is_number);
        let length: usize = text.and_then(|text| text.parse().ok()).ok_or(Doubt::Body)?;
        if self.has_length || length > BODY_BYTES_MAX {
            return Err(Doubt::Body);
        }
        self.has_length = true;
        plain.body_bytes = length;
        Ok(())
    }
}

impl Plain {
    /// Length of the whole request.
    pub(super) fn bytes(&self) -> usize {
        self.head_bytes + self.body_bytes
    }

    /// Length of the body.
    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Whether the client wants the connection to end with the answer.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// The method, of the bytes that the head was read from.
    pub(super) fn method(&self, bytes: &[u8]) -> Method {
        // The parser takes tokens only, and so does this.
        Method::from_bytes(self.method.of(bytes)).unwrap_or(Method::POST)
    }

    /// The method as it came.
    pub(super) fn method_text<'b>(&self, bytes: &'b [u8]) -> &'b str {
        self.method.text(bytes)
    }

    /// The first value of a header, by its name in small letters.
    pub(super) fn header<'b>(&self, bytes: &'b [u8], name: &str) -> Option<&'b [u8]> {
        let mut lines = self.lines.of(bytes).split(|byte| *byte == b'\n');
        lines.find_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let is_own = line[..colon].eq_ignore_ascii_case(name.as_bytes());
            is_own.then(|| line[colon + 1..].trim_ascii())
        })
    }

    pub(super) fn path<'b>(&self, bytes: &'b [u8]) -> &'b str {
        self.path.text(bytes)
    }

    /// Path and query as they came.
    pub(super) fn target<'b>(&self, bytes: &'b [u8]) -> &'b str {
        self.target.text(bytes)
    }

    pub(super) fn query<'b>(&self, bytes: &'b [u8]) -> &'b str {
        self.query.text(bytes)
    }

    pub(super) fn host<'b>(&self, bytes: &'b [u8]) -> &'b str {
        self.host.text(bytes)
    }

    /// Whether it says anything of the hops before.
    pub(super) fn tells(&self) -> bool {
        let mut noted = self.noted.iter();
        noted.any(|noted| matches!(noted.what, What::Told(_)))
    }

    /// The client's own scheme, as far as a proxy before us told it.
    pub(super) fn forwarded_scheme(&self, bytes: &[u8]) -> Option<Scheme> {
        let mut told = self.noted.iter();
        let proto = told.find(|noted| noted.what == What::Told(Told::Proto))?;
        headers::scheme(proto.value.of(bytes))
    }

    /// What the request says of the hops before.
    pub(super) fn incoming<'b>(&self, bytes: &'b [u8]) -> Incoming<'b> {
        let mut incoming = Incoming::new(Some(self.host.of(bytes)));
        for noted in &self.noted {
            if let What::Told(told) = noted.what {
                incoming.note(told, noted.value.of(bytes));
            }
        }
        incoming
    }

    /// Writes the request for a target: `uri` instead of the target that came if given, `host`
    /// instead of the host; `told` writes the lines of the proxy, and says which headers they
    /// replace.
    pub(super) fn write(
        &self,
        bytes: &[u8],
        (uri, host): (Option<&str>, Option<&str>),
        told: impl FnOnce(&mut Vec<u8>) -> SmallVec<[Told; 8]>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(self.method.of(bytes));
        out.push(b' ');
        let target = self.target.of(bytes);
        out.extend_from_slice(uri.map_or(target, str::as_bytes));
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        let own = self.host.of(bytes);
        out.extend_from_slice(host.map_or(own, str::as_bytes));
        out.extend_from_slice(b"\r\n");
        let replaced = told(out);
        // All lines but those that end here, in runs.
        let mut rest = self.lines;
        for noted in &self.noted {
            let stays = match noted.what {
                What::Hop | What::Host | What::Own => false,
                What::Told(told) => !replaced.contains(&told),
            };
            if !stays {
                let before = Span {
                    end: noted.line.start,
                    ..rest
                };
                out.extend_from_slice(before.of(bytes));
                rest.start = noted.line.end;
            }
        }
        out.extend_from_slice(rest.of(bytes));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&bytes[self.head_bytes..self.bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;

    use super::{Doubt, Head, Own, Plain, is_free, may_end_in, read};
    use crate::headers::Told;

    fn plain(raw: &str) -> Plain {
        match read(raw.as_bytes(), &Own::default()) {
            Head::Plain(plain) => plain,
            other => panic!("{raw:?}: {other:?}"),
        }
    }

    /// What goes on of a request, with a line of our own in the place of some.
    fn sent(raw: &str, own: &str, replaced: &[Told]) -> String {
        let mut out = Vec::new();
        let told = |out: &mut Vec<u8>| {
            out.extend_from_slice(own.as_bytes());
            SmallVec::from_slice(replaced)
        };
        plain(raw).write(raw.as_bytes(), (None, None), told, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_that_mean_something_are_not_free() {
        assert!(is_free("X-Request-Id") && is_free("User-Agent"));
        for name in [
            "Connection",
            "Host",
            "X-Forwarded-For",
            "TE",
            "Content-Length",
        ] {
            assert!(!is_free(name), "{name}");
        }
    }

    #[test]
    fn plain_requests_go_on_without_what_ends_here() {
        let raw = "POST /a%20b?c=d HTTP/1.1\r\nAccept: */*\r\nHost: shop.io:99\r\nConnection: close\r\n\
                   X-Real-Ip: 1\r\nKeep-Alive: 5\r\nForwarded: for=x\r\ncontent-length:  3 \r\nA: b\r\n\r\nabcGET";
        let head = plain(raw);
        let bytes = raw.as_bytes();
        assert_eq!(
            (head.path(bytes), head.query(bytes), head.host(bytes)),
            ("/a%20b", "c=d", "shop.io:99")
        );
        assert_eq!((head.body_bytes(), head.bytes()), (3, raw.len() - 3));
        assert!(head.is_last());
        assert_eq!(
            sent(raw, "Forwarded: own\r\n", &[Told::Forwarded]),
            "POST /a%20b?c=d HTTP/1.1\r\nHost: shop.io:99\r\nForwarded: own\r\nAccept: */*\r\n\
             X-Real-Ip: 1\r\ncontent-length:  3 \r\nA: b\r\n\r\nabc"
        );
        assert_eq!(
            sent("GET / HTTP/1.1\r\nhost:a\r\n\r\n", "", &[]),
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        );
    }

    #[test]
    fn whatever_is_not_plain_is_doubtful() {
        let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let host = |host: &str| format!("GET / HTTP/1.1\r\nHost:{host}\r\n\r\n");
        for (raw, doubt) in [
            (
                "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
                Doubt::Malformed,
            ),
            ("GET / HTTP/1.1\nHost: a\n\n".into(), Doubt::Malformed),
            (
                "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n".into(),
                Doubt::Malformed,
            ),
            (
                "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
                Doubt::Malformed,
            ),
            ("GET / HTTP/1.0\r\nHost: a\r\n\r\n".into(), Doubt::Version),
            ("GET / HTTP/9.9\r\nHost: a\r\n\r\n".into(), Doubt::Malformed),
            ("GET /\r\n\r\n".into(), Doubt::Malformed),
            ("GET / HTTP/1.1\r\n\r\n".into(), Doubt::Host),
            (
                "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
                Doubt::Target,
            ),
            (with("bad header"), Doubt::Malformed),
            (with("X : 1"), Doubt::Malformed),
            (with("X: 1\r\n folded"), Doubt::Malformed),
            (with("X: a\0b"), Doubt::Malformed),
            (with("X: a\rb"), Doubt::Malformed),
            (with("X: \u{e9}"), Doubt::Malformed),
            (with("Host: b"), Doubt::Host),
            (with("Transfer-Encoding: chunked"), Doubt::Body),
            (with("transfer-encoding: identity"), Doubt::Body),
            (
                with("Content-Length: 3\r\nTransfer-Encoding: chunked"),
                Doubt::Body,
            ),
            (with("Content-Length: 3\r\nContent-Length: 3"), Doubt::Body),
            (with("Content-Length: 3, 3"), Doubt::Body),
            (with("Content-Length: +3"), Doubt::Body),
            (with("Content-Length: -3"), Doubt::Body),
            (with("Content-Length: 0x3"), Doubt::Body),
            (with("Content-Length:"), Doubt::Body),
            (with("Content-Length: 65537"), Doubt::Body),
            (with("Content-Length: 99999999999999999999999"), Doubt::Body),
            (with("Upgrade: websocket"), Doubt::Connection),
            (with("Expect: 100-continue"), Doubt::Connection),
            (with("TE: trailers"), Doubt::Connection),
            (with("Trailer: x"), Doubt::Connection),
            (with("HTTP2-Settings: x"), Doubt::Connection),
            (with("Connection: keep-alive, X-Real-Ip"), Doubt::Connection),
            (
                with("Connection: close\r\nConnection: close"),
                Doubt::Connection,
            ),
            (with("Connection:"), Doubt::Connection),
            (with("Accept: text/event-stream"), Doubt::Stream),
            (target("*"), Doubt::Target),
            (target("http://a/"), Doubt::Target),
            (target("ftp://a/"), Doubt::Target),
            (target("//a/"), Doubt::Target),
            (target("/#x"), Doubt::Target),
            (target("/\\x"), Doubt::Target),
            (target("/\"x"), Doubt::Target),
            (host(""), Doubt::Host),
            (host(" a b"), Doubt::Host),
            (host(" a:b"), Doubt::Host),
            (host(" a:"), Doubt::Host),
            (host(" a:65536"), Doubt::Host),
            (host(" a:1:2"), Doubt::Host),
            (host(" [::1]"), Doubt::Host),
            (host(" u@a"), Doubt::Host),
        ] {
            assert_eq!(
                read(raw.as_bytes(), &Own::default()),
                Head::Doubtful(doubt),
                "{raw:?}"
            );
        }
        let many = (0..80).map(|_| "X: 1\r\n").collect::<String>();
        assert_eq!(
            read(with(&many).as_bytes(), &Own::default()),
            Head::Doubtful(Doubt::Malformed)
        );
    }

    #[test]
    fn a_head_ends_once() {
        let raw = b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n";
        for end in 1..raw.len() {
            assert_eq!(read(&raw[..end], &Own::default()), Head::Partial, "{end}");
        }
        for ends in ["\r\n\r\n", "\n\n", "\n\r\n", "x\r\n\r\ny"] {
            assert!(may_end_in(ends.as_bytes()), "{ends:?}");
        }
        for goes_on in ["", "\r\n", "\n", "a\nb", "\r\n\rx", "\r\nx\r\n"] {
            assert!(!may_end_in(goes_on.as_bytes()), "{goes_on:?}");
        }
    }
}
