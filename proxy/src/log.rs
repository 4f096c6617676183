//! The log of requests: one line each, in a format of fields and text.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

/// How many lines wait to be written; further ones are dropped and counted.
const LINES_WAITING_MAX: usize = 10_000;

/// The longest value of a field that is written, in characters.
const VALUE_MAX: usize = 8 << 10;

/// Formats with a name.
const NAMED: [(&str, &str); 2] = [
    (
        "common",
        "$remote_host - - [$time_common] \"$request\" $response_status $response_body_size",
    ),
    (
        "combined",
        "$remote_host - - [$time_common] \"$request\" $response_status $response_body_size \
         \"$header.Referer\" \"$header.User-Agent\"",
    ),
];

/// Writes lines to whoever takes them.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    lines: mpsc::Sender<String>,
    dropped: AtomicU64,
}

impl AccessLog {
    /// A log in a format, or one of the names `common` and `combined`, and the lines that are to
    /// be written, each with its end.
    ///
    /// # Errors
    /// What is wrong with the format.
    pub fn new(format: &str) -> Result<(AccessLog, mpsc::Receiver<String>), String> {
        let (lines, receiver) = mpsc::channel(LINES_WAITING_MAX);
        let log = AccessLog {
            format: Format::parse(format)?,
            lines,
            dropped: AtomicU64::new(0),
        };
        Ok((log, receiver))
    }

    /// How many lines were dropped because nobody wrote them in time.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Adds a request.
    pub(crate) fn add(&self, entry: &Entry<'_>) {
        let mut line = String::with_capacity(160);
        self.format.write(entry, &mut line);
        line.push('\n');
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What is known of a request at its end.
pub(crate) struct Entry<'a> {
    pub(crate) ended: SystemTime,
    pub(crate) took: Duration,
    pub(crate) remote: SocketAddr,
    pub(crate) is_tls: bool,
    pub(crate) method: &'a str,
    /// Path and query as they came.
    pub(crate) uri: &'a str,
    pub(crate) host: &'a str,
    pub(crate) proto: &'a str,
    pub(crate) header: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
    pub(crate) upstream: Option<UpstreamEntry<'a>>,
}

/// What is known of the target of a request.
pub(crate) struct UpstreamEntry<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) scheme: &'a str,
    pub(crate) uri: Cow<'a, str>,
    pub(crate) service: &'a str,
}

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Field(Field),
    Header(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    RemoteAddr,
    RemoteHost,
    RemotePort,
    Request,
    RequestArgs,
    RequestHost,
    RequestMethod,
    RequestScheme,
    RequestUri,
    RequestUrl,
    RequestProto,
    BodySize,
    Status,
    /// Seconds with so many decimals.
    Time(usize),
    TimeCommon,
    /// With so many decimals.
    Rfc3339(usize),
    /// Since 1970, in this part of a second.
    Unix(u32),
    UpstreamAddr,
    UpstreamHost,
    UpstreamPort,
    UpstreamScheme,
    UpstreamUri,
    UpstreamUrl,
    UpstreamService,
}

const FIELDS: [(&str, Field); 32] = [
    ("remote_addr", Field::RemoteAddr),
    ("remote_host", Field::RemoteHost),
    ("remote_port", Field::RemotePort),
    ("request", Field::Request),
    ("request_args", Field::RequestArgs),
    ("request_host", Field::RequestHost),
    ("request_method", Field::RequestMethod),
    ("request_scheme", Field::RequestScheme),
    ("request_uri", Field::RequestUri),
    ("request_url", Field::RequestUrl),
    ("request_proto", Field::RequestProto),
    ("response_body_size", Field::BodySize),
    ("response_status", Field::Status),
    ("response_time_ms", Field::Time(3)),
    ("response_time_us", Field::Time(6)),
    ("response_time_ns", Field::Time(9)),
    ("time_common", Field::TimeCommon),
    ("time_rfc3339", Field::Rfc3339(0)),
    ("time_rfc3339_ms", Field::Rfc3339(3)),
    ("time_rfc3339_us", Field::Rfc3339(6)),
    ("time_rfc3339_ns", Field::Rfc3339(9)),
    ("time_unix_ms", Field::Unix(3)),
    ("time_unix_us", Field::Unix(6)),
    ("time_unix_ns", Field::Unix(9)),
    ("upstream_addr", Field::UpstreamAddr),
    ("upstream_host", Field::UpstreamHost),
    ("upstream_port", Field::UpstreamPort),
    ("upstream_request_scheme", Field::UpstreamScheme),
    ("upstream_request_uri", Field::UpstreamUri),
    ("upstream_request_url", Field::UpstreamUrl),
    ("upstream_service", Field::UpstreamService),
    ("time_unix", Field::Unix(0)),
];

/// A line, cut into text and fields.
#[derive(Debug, PartialEq)]
struct Format {
    pieces: Vec<Piece>,
}

impl Format {
    fn parse(text: &str) -> Result<Format, String> {
        let named = NAMED.iter().find(|(name, _)| *name == text);
        let text = named.map_or(text, |(_, format)| format);
        if text.trim().is_empty() {
            return Err("the format is empty".to_owned());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let header = after.strip_prefix("header.");
            let named = header.unwrap_or(after);
            let end = named.find(|c| !is_name(c)).unwrap_or(named.len());
            let (name, tail) = named.split_at(end);
            pieces.push(match header {
                Some(_) if name.is_empty() => {
                    return Err("`$header.` has to name a header".to_owned());
                }
                Some(_) => Piece::Header(name.to_owned()),
                None => {
                    let field = FIELDS.iter().find(|(known, _)| *known == name);
                    let (_, field) = field.ok_or_else(|| unknown(name))?;
                    Piece::Field(*field)
                }
            });
            rest = tail;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Format { pieces })
    }

    fn write(&self, entry: &Entry<'_>, line: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Header(name) => {
                    if let Some(value) = (entry.header)(name) {
                        Quoted::new(line).text(&value);
                    }
                }
                // Writing to a text does not fail.
                Piece::Field(field) => drop(field.write(entry, &mut Quoted::new(line))),
            }
        }
    }
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    format!(
        "there is no field `${name}`; known are `$header.NAME`, `${}`",
        known.join("`, `$")
    )
}

/// Writes a value so that it stays in its place: no line ends, no quotes, not too long.
struct Quoted<'l> {
    line: &'l mut String,
    /// How many characters may still come.
    left: usize,
}

impl<'l> Quoted<'l> {
    fn new(line: &'l mut String) -> Quoted<'l> {
        Quoted {
            line,
            left: VALUE_MAX,
        }
    }

    fn text(&mut self, text: &str) {
        let is_odd = |byte: u8| !(b' '..=b'~').contains(&byte) || matches!(byte, b'"' | b'\\');
        if text.len() <= self.left && !text.bytes().any(is_odd) {
            self.left -= text.len();
            self.line.push_str(text);
            return;
        }
        for c in text.chars().take(self.left) {
            self.left -= 1;
            if c.is_control() || c == '"' || c == '\\' {
                // Writing to a text does not fail.
                let _ = write!(self.line, "\\x{:02X}", u32::from(c));
            } else {
                self.line.push(c);
            }
        }
    }
}

impl Write for Quoted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

impl Field {
    fn write(self, entry: &Entry<'_>, out: &mut Quoted<'_>) -> fmt::Result {
        let scheme = if entry.is_tls { "https" } else { "http" };
        match self {
            Field::RemoteAddr => write!(out, "{}", entry.remote),
            Field::RemoteHost => write!(out, "{}", entry.remote.ip().to_canonical()),
            Field::RemotePort => write!(out, "{}", entry.remote.port()),
            Field::Request => {
                write!(out, "{} {} {}", entry.method, entry.uri, entry.proto)
            }
            Field::RequestArgs => {
                let (_, args) = entry.uri.split_once('?').unwrap_or_default();
                out.write_str(args)
            }
            Field::RequestHost => out.write_str(entry.host),
            Field::RequestMethod => out.write_str(entry.method),
            Field::RequestScheme => out.write_str(scheme),
            Field::RequestUri => out.write_str(entry.uri),
            Field::RequestUrl => write!(out, "{scheme}://{}{}", entry.host, entry.uri),
            Field::RequestProto => out.write_str(entry.proto),
            Field::BodySize => write!(out, "{}", entry.body_bytes),
            Field::Status => write!(out, "{}", entry.status),
            Field::Time(decimals) => fraction(entry.took, decimals, out),
            Field::TimeCommon => common(since_1970(entry.ended), out),
            Field::Rfc3339(decimals) => rfc3339(since_1970(entry.ended), decimals, out),
            Field::Unix(decimals) => {
                let nanos = since_1970(entry.ended).as_nanos();
                write!(out, "{}", nanos / 10u128.pow(9 - decimals))
            }
            _ => match &entry.upstream {
                Some(upstream) => self.write_upstream(upstream, out),
                None => Ok(()),
            },
        }
    }

    fn write_upstream(self, own: &UpstreamEntry<'_>, out: &mut Quoted<'_>) -> fmt::Result {
        match self {
            Field::UpstreamAddr => write!(out, "{}", own.address),
            Field::UpstreamHost => write!(out, "{}", own.address.ip()),
            Field::UpstreamPort => write!(out, "{}", own.address.port()),
            Field::UpstreamScheme => out.write_str(own.scheme),
            Field::UpstreamUri => out.write_str(&own.uri),
            Field::UpstreamUrl => {
                write!(out, "{}://{}{}", own.scheme, own.address, own.uri)
            }
            _ => out.write_str(own.service),
        }
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Seconds with so many decimals, cut.
fn fraction(time: Duration, decimals: usize, out: &mut impl Write) -> fmt::Result {
    write!(out, "{}.", time.as_secs())?;
    cut(time, decimals, out)
}

/// So many decimals of the nanoseconds.
fn cut(time: Duration, decimals: usize, out: &mut impl Write) -> fmt::Result {
    let left = 9 - u32::try_from(decimals.min(9)).unwrap_or(9);
    write!(out, "{:0decimals$}", time.subsec_nanos() / 10u32.pow(left))
}

/// Year, month and day of a day counted from 1970.
fn date(day: i64) -> (i64, i64, i64) {
    // Years from March on, in cycles of 400: leap days come last then.
    let day = day + 719_468;
    let cycle = day.div_euclid(146_097);
    let of_cycle = day.rem_euclid(146_097);
    let year = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + cycle * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn clock(since: Duration) -> ((i64, i64, i64), (u64, u64, u64)) {
    let seconds = since.as_secs();
    let day = i64::try_from(seconds / 86_400).unwrap_or_default();
    let of_day = seconds % 86_400;
    (date(day), (of_day / 3600, of_day / 60 % 60, of_day % 60))
}

fn common(since: Duration, out: &mut impl Write) -> fmt::Result {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let ((year, month, day), (hour, minute, second)) = clock(since);
    let at = usize::try_from(month - 1).unwrap_or_default();
    let month = MONTHS.get(at).copied().unwrap_or_default();
    write!(
        out,
        "{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000"
    )
}

fn rfc3339(since: Duration, decimals: usize, out: &mut impl Write) -> fmt::Result {
    let ((year, month, day), (hour, minute, second)) = clock(since);
    write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    )?;
    if decimals > 0 {
        out.write_char('.')?;
        cut(since, decimals, out)?;
    }
    out.write_char('Z')
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{AccessLog, Entry, FIELDS, UpstreamEntry};

    fn line(format: &str) -> String {
        let (log, mut lines) = AccessLog::new(format).unwrap();
        let header = |name: &str| match name {
            "User-Agent" => Some("a\"b\n\\".into()),
            _ => None,
        };
        log.add(&Entry {
            ended: SystemTime::UNIX_EPOCH + Duration::new(1_709_251_199, 123_456_789),
            took: Duration::new(1, 2_345_678),
            remote: "[::ffff:1.2.3.4]:567".parse().unwrap(),
            is_tls: true,
            method: "GET",
            uri: "/x?a=b",
            host: "web.io",
            proto: "HTTP/1.1",
            header: &header,
            status: 200,
            body_bytes: 42,
            upstream: Some(UpstreamEntry {
                address: "10.0.0.1:80".parse().unwrap(),
                scheme: "http",
                uri: "/y".into(),
                service: "web",
            }),
        });
        lines.try_recv().unwrap()
    }

    #[test]
    fn lines_are_as_their_formats_say() {
        assert_eq!(
            line("combined"),
            "1.2.3.4 - - [29/Feb/2024:23:59:59 +0000] \"GET /x?a=b HTTP/1.1\" 200 42 \"\" \"a\\x22b\\x0A\\x5C\"\n"
        );
        assert!(line("common").ends_with("200 42\n"));
        for (format, expected) in [
            ("$request_url|$request_args", "https://web.io/x?a=b|a=b"),
            (
                "$response_time_ms $response_time_us $response_time_ns",
                "1.002 1.002345 1.002345678",
            ),
            (
                "$time_rfc3339 $time_rfc3339_ns",
                "2024-02-29T23:59:59Z 2024-02-29T23:59:59.123456789Z",
            ),
            ("$time_unix_ms", "1709251199123"),
            ("$upstream_addr/$upstream_service", "10.0.0.1:80/web"),
            ("$upstream_request_url", "http://10.0.0.1:80/y"),
            ("x$header.Nope.y", "x.y"),
        ] {
            assert_eq!(line(format), format!("{expected}\n"), "{format}");
        }
        for (name, _) in FIELDS {
            assert_ne!(line(&format!("${name}")), "\n", "{name}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for wrong in ["", " ", "$nope", "$header.", "$"] {
            assert!(AccessLog::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lines_that_nobody_takes_are_counted() {
        let (log, lines) = AccessLog::new("$request").unwrap();
        drop(lines);
        let entry = Entry {
            ended: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            remote: "1.2.3.4:5".parse().unwrap(),
            is_tls: false,
            method: "GET",
            uri: "/",
            host: "",
            proto: "HTTP/1.1",
            header: &|_| None,
            status: 200,
            body_bytes: 0,
            upstream: None,
        };
        log.add(&entry);
        assert_eq!(log.dropped(), 1);
    }
}
