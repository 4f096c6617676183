//! One command of the route language, checked and typed.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::access::Access;
use super::glob;
use super::policy::Policy;
use super::problem::{Fault, Origin};
use super::redirect::Redirect;
use super::rule::Condition;
use super::scheme::Scheme;

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
    Add(Box<Add>),
    /// `route del`
    Delete(Delete),
    /// `route weight`
    Weigh(Weigh),
    /// The versions of a service
    Split(Split),
    /// A route whose targets may come back
    Hold(Hold),
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
    /// What is known of the instance beside that.
    pub traits: Traits,
}

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// The version that it runs; empty if nobody says.
    pub version: String,
    /// Its turns among those of its version, by its health; 0 for none.
    pub turns: u16,
    /// Somebody else judges it by its answers, and takes it out: it gets its share until then,
    /// whatever it answers, for who asks it nothing learns nothing of it.
    pub is_judged: bool,
}

impl Default for Traits {
    fn default() -> Traits {
        Traits {
            version: String::new(),
            turns: 1,
            is_judged: false,
        }
    }
}

/// Versions of a service on all its routes, with their shares and the requests that go to one
/// whatever the shares are. Instances in none of them get nothing as long as the shares make a
/// whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The service of the routes.
    pub service: String,
    /// The versions; an instance belongs to the first one that has it.
    pub parts: Vec<Part>,
    /// In order; the first one that applies counts.
    pub rules: Vec<Rule>,
}

/// A version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// How it is called.
    pub name: String,
    /// Its share in millionths, up to a million, 0 for requests that a rule sends there only;
    /// without one, its instances keep what they have, and the version is for rules.
    pub millionths: Option<u64>,
    /// Ids of its instances.
    pub instances: BTreeSet<String>,
}

/// Requests that go to a version, or to one of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// All of these must hold.
    pub conditions: Vec<Condition>,
    /// Places of versions among the parts, with their shares in millionths; empty if the request
    /// goes as the shares of the parts say.
    pub parts: Vec<(usize, u64)>,
    /// How the path is changed on the way.
    pub rewrite: Option<Rewrite>,
}

/// What stands in the place of the beginning of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The beginning, as paths are matched; a path that begins otherwise stays as it is.
    pub prefix: String,
    /// Whether it may be written in any case.
    pub ignores_case: bool,
    /// What stands there instead.
    pub replacement: String,
}

/// A route that is there without a target, because its targets may come back: its requests wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The service that is missing.
    pub service: String,
    /// The route.
    pub source: Source,
    /// What the route asks for.
    pub policy: Policy,
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
        let value = number(text).ok_or_else(invalid)?;
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

/// Reads a number, as decimals or in the hexadecimal form of Go (`0x1p-2`).
fn number(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    else {
        return text.parse().ok();
    };
    let (mantissa, exponent) = hex.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let value = u64::from_str_radix(&format!("{whole}{fraction}"), 16).ok()?;
    let exponent: i32 = exponent.parse().ok().filter(|e: &i32| e.abs() <= 1100)?;
    let exponent = exponent - 4 * i32::try_from(fraction.len()).ok()?;
    Some(sign * value as f64 * 2f64.powi(exponent))
}

/// The requests of a route: a host pattern (may be empty, for any host) and a path, or the port of
/// a TCP listener.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Host or host pattern in lower case, with its port if one was written; empty for any host;
    /// `:PORT` for connections to a listener.
    pub host: String,
    /// Path, case kept; empty for connections to a listener.
    pub path: String,
}

impl Source {
    /// Splits `host/path`, `/path`, `host` or `:port`; the host is folded to lower case.
    ///
    /// # Errors
    /// If the text is empty, names a scheme, is no port of a listener though it begins like one, or
    /// has a broken host pattern.
    pub fn parse(text: &str) -> Result<Source, Fault> {
        if text.is_empty() {
            return Err(Fault::EmptySource);
        }
        if text.contains('"') {
            return Err(Fault::InvalidPattern {
                pattern: text.to_owned(),
                reason: "it holds a quote, which no text of routes can",
            });
        }
        if let Some(port) = text.strip_prefix(':') {
            let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
            if !is_port || !port.parse().is_ok_and(|port: u16| port > 0) {
                return Err(Fault::InvalidPort {
                    source_text: text.to_owned(),
                });
            }
            return Ok(Source {
                host: text.to_owned(),
                path: String::new(),
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

    /// Whether it is the port of a listener.
    pub fn is_port(&self) -> bool {
        self.path.is_empty()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host, self.path)
    }
}

/// Where the requests of a route go: a server at an address, or a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The URL as written; `route del` compares this text.
    pub url: String,
    /// What is spoken there.
    pub scheme: Scheme,
    /// The address of the server; unspecified for a redirect, and for a name without an address.
    pub address: SocketAddr,
    /// The name that the address is of, in lower case, if it was written so.
    pub name: Option<String>,
    /// Put in front of the request's own query, if not empty.
    pub query: String,
    /// Requests are not sent on: the client is told to go there.
    pub redirect: Option<Redirect>,
}

impl Destination {
    /// The HTTP server at an address.
    pub fn http(address: SocketAddr) -> Destination {
        Destination {
            url: format!("http://{address}/"),
            scheme: Scheme::Http,
            address,
            name: None,
            query: String::new(),
            redirect: None,
        }
    }

    /// The server of an instance, by its address or its name.
    ///
    /// # Errors
    /// If the text is neither.
    pub fn at(host: &str, port: u16, options: &Options) -> Result<Destination, Fault> {
        let address = |ip| SocketAddr::new(ip, port);
        if let Ok(ip) = host.parse() {
            return Ok(Destination::of_instance(address(ip), options));
        }
        if !is_host_name(host) {
            return Err(Fault::InvalidDestination {
                text: host.to_owned(),
            });
        }
        let nowhere = Destination::of_instance(address(NOWHERE), options);
        let end = match nowhere.scheme {
            Scheme::Http => "/",
            _ => "",
        };
        Ok(Destination {
            url: format!("{}://{host}:{port}{end}", nowhere.scheme.as_str()),
            name: Some(host.to_ascii_lowercase()),
            ..nowhere
        })
    }

    /// Its host, by the name if it has one, and its port.
    pub(super) fn authority(&self) -> String {
        match &self.name {
            Some(name) => format!("{name}:{}", self.address.port()),
            None => self.address.to_string(),
        }
    }

    /// Whether it has a name whose address is not known.
    pub(super) fn is_nowhere(&self) -> bool {
        self.name.is_some() && self.address.ip() == NOWHERE
    }

    /// The server at an address that an instance asks for with the option `proto`.
    pub(super) fn of_instance(address: SocketAddr, options: &Options) -> Destination {
        let scheme = options.proto.unwrap_or_default();
        if scheme == Scheme::Http {
            return Destination::http(address);
        }
        Destination {
            url: format!("{}://{address}", scheme.as_str()),
            scheme,
            ..Destination::http(address)
        }
    }

    /// Where a redirect leads.
    ///
    /// # Errors
    /// If the text is no HTTP URL, or has unknown variables.
    pub fn redirect(status: u16, text: &str) -> Result<Destination, Fault> {
        Ok(Destination {
            redirect: Some(Redirect::parse(status, text)?),
            url: text.to_owned(),
            ..Destination::http(SocketAddr::from(([0, 0, 0, 0], 0)))
        })
    }

    /// Reads `SCHEME://HOST[:PORT][/…][?query]` with an address or a name; the path is ignored.
    ///
    /// # Errors
    /// If the text is no such URL, or names another scheme.
    pub fn parse(text: &str) -> Result<Destination, Fault> {
        if text.is_empty() {
            return Err(Fault::EmptyDestination);
        }
        let invalid = || Fault::InvalidDestination {
            text: text.to_owned(),
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        if text.contains('"') {
            return Err(invalid());
        }
        let scheme = Scheme::parse(scheme).ok_or_else(|| Fault::UnsupportedProtocol {
            protocol: scheme.to_owned(),
        })?;
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = before_query.split('/').next().unwrap_or_default();
        let (address, name) = match authority.parse::<SocketAddr>() {
            Ok(address) => (address, None),
            Err(_) => {
                let (host, port) = host_and_port(authority).ok_or_else(invalid)?;
                let port = port.or_else(|| scheme.default_port()).ok_or_else(invalid)?;
                match host.parse() {
                    Ok(address) => (SocketAddr::new(address, port), None),
                    Err(_) if is_host_name(host) => {
                        let name = host.to_ascii_lowercase();
                        (SocketAddr::new(NOWHERE, port), Some(name))
                    }
                    Err(_) => return Err(invalid()),
                }
            }
        };
        let is_query = query
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'#');
        if !is_query {
            return Err(invalid());
        }
        Ok(Destination {
            url: text.to_owned(),
            scheme,
            address,
            name,
            query: query.to_owned(),
            redirect: None,
        })
    }
}

/// The address of what has none yet.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Host and port of an authority; an IPv6 address without a port may stand in brackets.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(inner) = authority.strip_prefix('[') {
        return Some((inner.strip_suffix(']')?, None));
    }
    match authority.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((authority, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((authority, None)),
    }
}

/// A name as DNS and files of hosts have it, which is no address.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(fine)
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253
        && text.split('.').all(is_label)
        && !text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// The names of targets in definitions.
pub fn names(definitions: &[Definition]) -> impl Iterator<Item = &str> {
    definitions
        .iter()
        .filter_map(|definition| match &definition.command {
            Command::Add(add) => add.destination.name.as_deref(),
            _ => None,
        })
}

/// Gives the targets in definitions that have names the addresses that `find` finds for them.
pub fn place(definitions: &mut [Definition], find: impl Fn(&str) -> Option<IpAddr>) {
    for definition in definitions {
        if let Command::Add(add) = &mut definition.command
            && let Some(name) = &add.destination.name
            && let Some(address) = find(name)
        {
            add.destination.address.set_ip(address);
        }
    }
}

/// Which form of the PROXY protocol a target is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// A line of text.
    V1,
    /// The binary form.
    V2,
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
    /// What the target speaks, where the destination does not say it: in the tags of an instance.
    pub proto: Option<Scheme>,
    /// Whether HTTP/2 without TLS is spoken to the target.
    pub h2c: bool,
    /// Any certificate of the target is taken.
    pub skips_verification: bool,
    /// The name in the certificate of a gRPC target, if it is not the address.
    pub grpc_server_name: Option<String>,
    /// The status of a redirect to the destination, and where it leads if a tag says so.
    pub redirect: Option<(u16, Option<String>)>,
    /// Whose credentials a request must carry: the name of a configured scheme.
    pub auth: Option<String>,
    /// The ingress is registered in the catalog as a service of this name.
    pub register: Option<String>,
    /// Who may use the route.
    pub access: Access,
    /// What connections to a TCP target begin with.
    pub proxy_header: Option<ProxyHeader>,
    /// What the route asks for beside that.
    pub policy: Policy,
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
        let has = |key: &str| options.written.iter().any(|(known, _)| known == key);
        if has("allow") && has("deny") {
            return Err(Fault::AllowAndDeny);
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        match key {
            "strip" => self.strip = Some(path_text("strip", value)?),
            "prepend" => self.prepend = Some(path_text("prepend", value)?),
            "host" => self.host = Some(host_text("host", value)?),
            "proto" => self.set_proto(value)?,
            "tlsskipverify" => self.skips_verification = flag("tlsskipverify", value)?,
            "grpcservername" => {
                self.grpc_server_name = Some(host_text("grpcservername", value)?);
            }
            "redirect" => self.redirect = Some(redirect(value)?),
            "auth" => self.auth = Some(name_text("auth", value)?),
            "register" => self.register = Some(service_text(value)?),
            "allow" => self.access = Access::parse("allow", value)?,
            "deny" => self.access = Access::parse("deny", value)?,
            "pxyproto" => {
                self.proxy_header = match value {
                    "true" | "v1" => Some(ProxyHeader::V1),
                    "v2" => Some(ProxyHeader::V2),
                    "false" => None,
                    _ => return Err(invalid("pxyproto", value, "`true`, `v1`, `v2` or `false`")),
                };
            }
            "weight" => return Err(Fault::WeightOption),
            _ => match self.policy.set(key, value) {
                Some(is_set) => is_set?,
                None => {
                    return Err(Fault::UnsupportedOption {
                        option: key.to_owned(),
                    });
                }
            },
        }
        self.written.retain(|(known, _)| known != key);
        self.written.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    fn set_proto(&mut self, value: &str) -> Result<(), Fault> {
        self.h2c = value == "h2c";
        self.proto = match value {
            // An upgrade of a plain request, as any.
            "ws" | "h2c" => Some(Scheme::Http),
            "wss" => Some(Scheme::Https),
            _ => Some(
                Scheme::parse(value).ok_or_else(|| Fault::UnsupportedProtocol {
                    protocol: value.to_owned(),
                })?,
            ),
        };
        Ok(())
    }
}

fn invalid(option: &'static str, value: &str, wanted: &'static str) -> Fault {
    Fault::InvalidOption {
        option,
        value: value.to_owned(),
        wanted,
    }
}

fn path_text(option: &'static str, value: &str) -> Result<String, Fault> {
    if is_path_text(value) {
        Ok(value.to_owned())
    } else {
        Err(invalid(option, value, "a path that begins with `/`"))
    }
}

fn host_text(option: &'static str, value: &str) -> Result<String, Fault> {
    if is_host_text(value) {
        Ok(value.to_owned())
    } else {
        Err(invalid(option, value, "a host name"))
    }
}

fn name_text(option: &'static str, value: &str) -> Result<String, Fault> {
    if value.is_empty() {
        Err(invalid(option, value, "a name"))
    } else {
        Ok(value.to_owned())
    }
}

/// Text that can stand in the names of DNS.
fn service_text(value: &str) -> Result<String, Fault> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if (1..=63).contains(&value.len()) && value.bytes().all(fine) {
        Ok(value.to_owned())
    } else {
        Err(invalid(
            "register",
            value,
            "a name of letters, digits and `-`",
        ))
    }
}

fn flag(option: &'static str, value: &str) -> Result<bool, Fault> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(option, value, "`true` or `false`")),
    }
}

/// `CODE` or `CODE,URL`
fn redirect(value: &str) -> Result<(u16, Option<String>), Fault> {
    let (code, url) = match value.split_once(',') {
        Some((code, url)) => (code, Some(url.to_owned())),
        None => (value, None),
    };
    let status = code.parse().ok().filter(|code| (300..400).contains(code));
    let status = status.ok_or_else(|| invalid("redirect", value, "a status from 300 to 399"))?;
    Ok((status, url))
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
