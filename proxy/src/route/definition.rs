//! One command of the route language, checked and typed.

use std::fmt;
use std::net::SocketAddr;

use super::glob;
use super::problem::{Fault, Origin};

/// Fixed weights are kept in millionths, so that sums and shares are exact.
const MILLION: f64 = 1_000_000.0;

/// The largest weight that is accepted (one target that weighs as much as a million of weight 1).
const WEIGHT_MAX: f64 = 1_000_000.0;

/// A command and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Where the command was written, for problems that show up later.
    pub origin: Origin,
    /// What to do.
    pub command: Command,
}

/// One command of the route language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `route add`
    Add(Add),
    /// `route del`
    Delete(Delete),
    /// `route weight`
    Weigh(Weigh),
}

/// `route add`: one target on one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// The service that the target belongs to.
    pub service: String,
    /// The instance id; empty for a target that was written by hand.
    pub instance: String,
    /// Which requests.
    pub source: Source,
    /// Where they go.
    pub destination: Destination,
    /// A fixed weight, or `None` for an even part of what the fixed ones leave.
    pub weight: Option<Weight>,
    /// Labels to select the target by in later commands.
    pub tags: Vec<String>,
    /// What to do to the request on its way.
    pub options: Options,
}

/// `route del`: removes every target that matches all the given parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Only this service.
    pub service: Option<String>,
    /// Only this route.
    pub source: Option<Source>,
    /// Only this destination, compared as text.
    pub destination: Option<String>,
    /// Only targets that carry all of these.
    pub tags: Vec<String>,
}

/// `route weight`: gives the matching targets of one route a share together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weigh {
    /// Only this service.
    pub service: Option<String>,
    /// The route.
    pub source: Source,
    /// The share of all matching targets together; `None` makes them dynamic again.
    pub weight: Option<Weight>,
    /// Only targets that carry all of these.
    pub tags: Vec<String>,
}

/// A fixed weight in millionths, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight {
    millionths: u64,
}

impl Weight {
    /// Reads a weight as written; zero and negative numbers mean "no fixed weight".
    ///
    /// # Errors
    /// [`Fault::InvalidWeight`] if the text is no finite number or larger than a million.
    pub fn parse(text: &str) -> Result<Option<Weight>, Fault> {
        let invalid = || Fault::InvalidWeight {
            text: text.to_owned(),
        };
        let value: f64 = text.parse().map_err(|_| invalid())?;
        if !value.is_finite() || value > WEIGHT_MAX {
            return Err(invalid());
        }
        if value <= 0.0 {
            return Ok(None);
        }
        // In range by the checks above: at most 10^12.
        let millionths = (value * MILLION).round() as u64;
        Ok(Some(Weight {
            millionths: millionths.max(1),
        }))
    }

    /// A weight in millionths; 0 means "no fixed weight".
    pub fn from_millionths(millionths: u64) -> Option<Weight> {
        let max = (WEIGHT_MAX * MILLION) as u64;
        (millionths > 0).then(|| Weight {
            millionths: millionths.min(max),
        })
    }

    /// The weight in millionths.
    pub fn millionths(self) -> u64 {
        self.millionths
    }
}

/// The requests of a route: a host pattern (may be empty, for any host) and a path prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Host or host pattern in lower case, with its port if one was written; empty for any host.
    pub host: String,
    /// Path prefix, case kept.
    pub path: String,
}

impl Source {
    /// Splits `host/path`, `/path` or `host`; the host is folded to lower case.
    ///
    /// # Errors
    /// If the text is empty, names a scheme, is a TCP listener port, or has a broken host pattern.
    pub fn parse(text: &str) -> Result<Source, Fault> {
        if text.is_empty() {
            return Err(Fault::EmptySource);
        }
        if text.starts_with(':') {
            return Err(Fault::TcpSource {
                source_text: text.to_owned(),
            });
        }
        if text.contains("://") {
            return Err(Fault::SourceScheme {
                source_text: text.to_owned(),
            });
        }
        let (host, path) = match text.split_once('/') {
            Some((host, rest)) => (host.to_lowercase(), format!("/{rest}")),
            None => (text.to_lowercase(), "/".to_owned()),
        };
        glob::check(&host).map_err(|reason| Fault::InvalidPattern {
            pattern: host.clone(),
            reason,
        })?;
        Ok(Source { host, path })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host, self.path)
    }
}

/// Where the requests of a route go: an HTTP server at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The URL as written; `route del` compares this text.
    pub url: String,
    /// The address of the server.
    pub address: SocketAddr,
    /// Put in front of the request's own query, if not empty.
    pub query: String,
}

impl Destination {
    /// The HTTP server at an address.
    pub fn http(address: SocketAddr) -> Destination {
        Destination {
            url: format!("http://{address}/"),
            address,
            query: String::new(),
        }
    }

    /// Reads `http://IP[:PORT][/…][?query]`; the port defaults to 80 and the path is ignored.
    ///
    /// # Errors
    /// If the text is no such URL, names another scheme, or names a host instead of an address.
    pub fn parse(text: &str) -> Result<Destination, Fault> {
        if text.is_empty() {
            return Err(Fault::EmptyDestination);
        }
        let invalid = || Fault::InvalidDestination {
            text: text.to_owned(),
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        if scheme != "http" {
            return Err(Fault::UnsupportedProtocol {
                protocol: scheme.to_owned(),
            });
        }
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = before_query.split('/').next().unwrap_or_default();
        let address = match authority.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) => SocketAddr::new(host_address(authority).ok_or_else(invalid)??, 80),
        };
        Ok(Destination {
            url: text.to_owned(),
            address,
            query: query.to_owned(),
        })
    }
}

/// The address of an authority without a port; `None` if it is no authority at all.
fn host_address(authority: &str) -> Option<Result<std::net::IpAddr, Fault>> {
    let bare = authority
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(authority);
    if let Ok(address) = bare.parse() {
        return Some(Ok(address));
    }
    let host = authority.split(':').next().unwrap_or_default();
    let is_name = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    is_name.then(|| {
        Err(Fault::DestinationName {
            host: host.to_owned(),
        })
    })
}

/// What to do to a request on its way to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Cut from the front of the path.
    pub strip: Option<String>,
    /// Put in front of the path, after `strip`.
    pub prepend: Option<String>,
    /// Sent as the Host header; `dst` means the target's own address.
    pub host: Option<String>,
    /// All options as written, for display.
    pub written: Vec<(String, String)>,
}

impl Options {
    /// Reads `key=value` words; a later word replaces an earlier one with the same key.
    ///
    /// # Errors
    /// If an option is not known, is not supported, or has a value that cannot be used: a route
    /// that does less than it says (an access rule, say) must not go live.
    pub fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Options, Fault> {
        let mut options = Options::default();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            options.set(key, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        let owned = value.to_owned();
        match key {
            "strip" if is_path_text(value) => self.strip = Some(owned),
            "strip" => {
                return Err(Fault::InvalidOption {
                    option: "strip",
                    value: owned,
                });
            }
            "prepend" if is_path_text(value) => self.prepend = Some(owned),
            "prepend" => {
                return Err(Fault::InvalidOption {
                    option: "prepend",
                    value: owned,
                });
            }
            "host" if is_host_text(value) => self.host = Some(owned),
            "host" => {
                return Err(Fault::InvalidOption {
                    option: "host",
                    value: owned,
                });
            }
            "proto" if value == "http" => {}
            "proto" => return Err(Fault::UnsupportedProtocol { protocol: owned }),
            _ => {
                return Err(Fault::UnsupportedOption {
                    option: key.to_owned(),
                });
            }
        }
        self.written.retain(|(known, _)| known != key);
        self.written.push((key.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// Text that can stand in a request path as it is, and in a header.
fn is_path_text(text: &str) -> bool {
    text.starts_with('/')
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"'))
}

/// Text that can stand in a Host header.
fn is_host_text(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        })
}
