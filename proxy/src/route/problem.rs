//! Definitions that cannot be used, where they are, and why.

use std::fmt;

/// The place a definition was written at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of route-language text, counted from 1.
    Line(usize),
    /// A line of the text at a key of the key-value store.
    Key {
        /// The key.
        key: String,
        /// Counted from 1.
        line: usize,
    },
    /// A tag of a service instance.
    Tag {
        /// The instance's id.
        instance: String,
        /// The tag as registered.
        tag: String,
    },
    /// A share that was fixed beside the text.
    Split {
        /// The service whose targets get it.
        service: String,
        /// The route, `host/path`.
        route: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(line) => write!(f, "line {line}"),
            Origin::Key { key, line } => write!(f, "key `{key}` line {line}"),
            Origin::Tag { instance, tag } => write!(f, "instance `{instance}` tag `{tag}`"),
            Origin::Split { service, route } => {
                write!(f, "weight of service `{service}` on route `{route}`")
            }
        }
    }
}

/// A definition that cannot be used, and why. The other definitions of the same text stay in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the definition was written.
    pub origin: Origin,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.fault)
    }
}

/// What is wrong with one definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The line does not start with a known command.
    #[error(
        "syntax error: 'route' expected; a line is `route add`, `route del` or `route weight` with what follows, or a comment that begins with `#`"
    )]
    UnknownCommand,
    /// The line starts like a command and goes on in a shape that the command does not have.
    #[error("syntax error: 'route {command}' invalid; {}", shape(.command))]
    InvalidShape {
        /// `add`, `del` or `weight`.
        command: &'static str,
    },
    /// A weight is no finite number, or too large.
    #[error(
        "syntax error: weight value invalid: `{text}`; write a number up to 1000000, as `0.25`"
    )]
    InvalidWeight {
        /// The weight as written.
        text: String,
    },
    /// The source is missing.
    #[error("route: prefix must not be empty; write `host/path`, `/path` or `:port`")]
    EmptySource,
    /// The source begins with a scheme; it is a host and a path.
    #[error("route: source `{source_text}` names a scheme; write the host and path only")]
    SourceScheme {
        /// The source as written.
        source_text: String,
    },
    /// The source begins like the port of a TCP listener and is none.
    #[error("route: `{source_text}` is no port; write `:PORT` with nothing behind it")]
    InvalidPort {
        /// The source as written.
        source_text: String,
    },
    /// The host part of the source, or the path where paths are patterns, is no valid pattern.
    #[error("route: pattern `{pattern}`: {reason}")]
    InvalidPattern {
        /// The pattern as written.
        pattern: String,
        /// What the pattern parser says.
        reason: &'static str,
    },
    /// The destination is missing.
    #[error("route: target must not be empty")]
    EmptyDestination,
    /// The destination is no URL.
    #[error(
        "route: invalid target. `{text}` is not a URL of the form `http://HOST:PORT/`, with `http`, `https`, `tcp`, `grpc` or `grpcs`"
    )]
    InvalidDestination {
        /// The destination as written.
        text: String,
    },
    /// The destination's host is a name without an address.
    #[error("route: no address is known for `{host}`")]
    NoAddress {
        /// The host as written.
        host: String,
    },
    /// The scheme or protocol is one that the proxy does not speak to targets.
    #[error(
        "route: protocol `{protocol}` is not supported; there are `http`, `https`, `tcp`, `grpc` and `grpcs`"
    )]
    UnsupportedProtocol {
        /// The protocol as written.
        protocol: String,
    },
    /// An option that the proxy does not have.
    #[error("route: option `{option}` is not supported")]
    UnsupportedOption {
        /// The option's name.
        option: String,
    },
    /// An option with a value that cannot be used.
    #[error("route: option `{option}` has an invalid value `{value}`; {wanted} is expected")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The value as written.
        value: String,
        /// What would do.
        wanted: &'static str,
    },
    /// A weight among the options of a line, which has a clause for it.
    #[error(
        "route: `weight` is an option of tags; in a line, write `weight W` before `tags` and `opts`"
    )]
    WeightOption,
    /// Two rules that say who may use the route.
    #[error("route: options `allow` and `deny` exclude each other; keep one of them")]
    AllowAndDeny,
    /// A redirect to something else than an HTTP URL.
    #[error(
        "route: invalid redirect to `{text}`; write `http://` or `https://`, a host, and a path, in which `$host` and `$path` may stand once"
    )]
    InvalidRedirect {
        /// The destination as written.
        text: String,
    },
    /// A weight command matches no target of the route (none yet, or none any more); it has no
    /// effect.
    #[error("route: no target match")]
    NoTarget,
    /// A service name that the route language cannot carry.
    #[error("route: service name `{service}` is empty or contains white space")]
    InvalidService {
        /// The name as registered.
        service: String,
    },
}

/// The shape of a command.
fn shape(command: &str) -> &'static str {
    match command {
        "add" => {
            "write `route add SERVICE SOURCE DESTINATION [weight W] [tags \"a,b\"] [opts \"k=v k2=v2\"]`"
        }
        "del" => {
            "write `route del SERVICE [SOURCE [DESTINATION]]` or `route del [SERVICE] tags \"a,b\"`"
        }
        _ => {
            "write `route weight SERVICE SOURCE weight W [tags \"a,b\"]` or `route weight SOURCE weight W tags \"a,b\"`"
        }
    }
}
