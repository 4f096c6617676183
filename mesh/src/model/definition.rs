//! How an agent checks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{NodeName, ServiceId};

/// How an agent finds out how something stands, and what follows from it.
///
/// Writer: a user, through the agent API. It stays with the agent that runs the check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckDefinition {
    /// What is done.
    pub probe: Probe,
    /// Pause between runs; for probes that are run.
    #[serde(rename = "interval_ns", with = "super::time::nanos")]
    pub interval: Duration,
    /// Longest run; nothing for the usual one of its kind.
    #[serde(rename = "timeout_ns", with = "super::time::nanos")]
    pub timeout: Duration,
    /// Results better than critical in a row before the check leaves critical.
    pub success_before_passing: u32,
    /// Critical results in a row before the check shows warning, if it ever does before critical.
    pub failures_before_warning: Option<u32>,
    /// Critical results in a row before the check is critical.
    pub failures_before_critical: u32,
    /// Bytes of output that are kept, if fewer than usual.
    pub output_bytes_max: Option<u32>,
    /// The instance goes when its check is critical for so long; nothing for never.
    #[serde(rename = "deregister_after_ns", with = "super::time::nanos")]
    pub deregister_after: Duration,
}

/// What is done to find out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Nothing: the status is as it was registered.
    #[default]
    Fixed,
    /// Nothing: whoever registered it says how it stands, again and again.
    Ttl {
        /// It is critical when nothing was said for so long.
        #[serde(rename = "ttl_ns", with = "super::time::nanos")]
        ttl: Duration,
    },
    /// A request over HTTP.
    Http(HttpProbe),
    /// A connection over TCP.
    Tcp {
        /// `host:port`.
        address: String,
        /// How it is encrypted, if it is.
        #[serde(default)]
        tls: Option<TlsProbe>,
    },
    /// A packet over UDP.
    Udp {
        /// `host:port`.
        address: String,
    },
    /// A ping over HTTP/2.
    H2Ping(Http2Probe),
    /// A question to a health service over gRPC.
    Grpc(Http2Probe),
    /// What the checks of a service say, or those of a node.
    Alias {
        /// Name of the node; absent for that of the agent.
        #[serde(default, with = "crate::model::or_none")]
        node: Option<NodeName>,
        /// Id of the service; absent for the node itself.
        #[serde(default, with = "crate::model::or_none")]
        service: Option<ServiceId>,
    },
    /// A program of the machine.
    Script {
        /// The program and its arguments.
        args: Vec<String>,
    },
    /// A program in a container.
    Docker(DockerProbe),
    /// What the machine's service manager says of a service.
    OsService {
        /// Its name there.
        name: String,
    },
}

impl Probe {
    /// The word that stands for its kind in the API.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Fixed => "",
            Self::Ttl { .. } => "ttl",
            Self::Http(_) => "http",
            Self::Tcp { .. } => "tcp",
            Self::Udp { .. } => "udp",
            Self::H2Ping(_) => "h2ping",
            Self::Grpc(_) => "grpc",
            Self::Alias { .. } => "alias",
            Self::Script { .. } => "script",
            Self::Docker(_) => "docker",
            Self::OsService { .. } => "os_service",
        }
    }

    /// Whether somebody has to run it again and again.
    #[must_use]
    pub fn is_run(&self) -> bool {
        match self {
            Self::Http(_)
            | Self::Tcp { .. }
            | Self::Udp { .. }
            | Self::H2Ping(_)
            | Self::Grpc(_)
            | Self::Script { .. }
            | Self::Docker(_)
            | Self::OsService { .. } => true,
            Self::Fixed | Self::Ttl { .. } | Self::Alias { .. } => false,
        }
    }
}

/// A request over HTTP that tells how something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpProbe {
    /// Where.
    pub url: String,
    /// Method; empty for GET.
    pub method: String,
    /// Headers, each with its values.
    pub header: BTreeMap<String, Vec<String>>,
    /// Body; empty for none.
    pub body: String,
    /// Whether any certificate will do.
    pub tls_skip_verify: bool,
    /// Name that the certificate must be for; empty for the host.
    pub tls_server_name: String,
    /// Whether an answer that leads elsewhere is the answer.
    pub disable_redirects: bool,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsProbe {
    /// Whether any certificate will do.
    pub skip_verify: bool,
    /// Name that the certificate must be for; empty for the host.
    pub server_name: String,
}

/// A program in a container that tells how something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DockerProbe {
    /// Id or name of the container.
    pub container: String,
    /// A shell of the container that gets the arguments as one line; empty for none.
    pub shell: String,
    /// The program and its arguments.
    pub args: Vec<String>,
}

/// A connection over HTTP/2 that tells how something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Http2Probe {
    /// `host:port`.
    pub address: String,
    /// Name of the service that a health service is asked about; empty for all of it.
    pub service: String,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Whether any certificate will do.
    pub tls_skip_verify: bool,
    /// Name that the certificate must be for; empty for the host.
    pub tls_server_name: String,
}
