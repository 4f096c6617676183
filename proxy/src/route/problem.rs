//! Definitions that cannot be used, where they are, and why.

use std::fmt;

/// The place a definition was written at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of route-language text, counted from 1.
    Line(usize),
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
    #[error("syntax error: 'route' expected")]
    UnknownCommand,
    /// The line starts like a command and goes on in a shape that the command does not have.
    #[error("syntax error: 'route {command}' invalid")]
    InvalidShape {
        /// `add`, `del` or `weight`.
        command: &'static str,
    },
    /// A weight is no finite number, or too large.
    #[error("syntax error: weight value invalid: `{text}`")]
    InvalidWeight {
        /// The weight as written.
        text: String,
    },
    /// The source is missing.
    #[error("route: prefix must not be empty")]
    EmptySource,
    /// The source begins with a scheme; it is a host and a path.
    #[error("route: source `{source_text}` names a scheme; write the host and path only")]
    SourceScheme {
        /// The source as written.
        source_text: String,
    },
    /// The source is a listener port, which only raw TCP routes have.
    #[error("route: `{source_text}` is a TCP route; TCP routes are not supported")]
    TcpSource {
        /// The source as written.
        source_text: String,
    },
    /// The host part of the source is no valid pattern.
    #[error("route: host pattern `{pattern}`: {reason}")]
    InvalidPattern {
        /// The host as written.
        pattern: String,
        /// What the pattern parser says.
        reason: &'static str,
    },
    /// The destination is missing.
    #[error("route: target must not be empty")]
    EmptyDestination,
    /// The destination is no URL.
    #[error("route: invalid target. `{text}` is not a URL of the form `http://IP:PORT/`")]
    InvalidDestination {
        /// The destination as written.
        text: String,
    },
    /// The destination's host is a name; targets are addresses.
    #[error("route: invalid target. `{host}` is not an IP address; names are not resolved")]
    DestinationName {
        /// The host as written.
        host: String,
    },
    /// The scheme or protocol is one that the proxy does not speak to targets.
    #[error("route: protocol `{protocol}` is not supported; only `http` is")]
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
    #[error("route: option `{option}` has an invalid value `{value}`")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The value as written.
        value: String,
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
