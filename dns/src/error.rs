//! What can go wrong in this package.

use std::io;
use std::net::SocketAddr;

/// Why a view cannot be built or the listeners cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The zone cannot be a DNS name.
    #[error("`{domain}` cannot be the DNS domain: it needs one or more labels of 1 to 63 bytes")]
    InvalidDomain {
        /// The domain as it was given.
        domain: String,
    },
    /// The datacenter cannot be one label of a DNS name.
    #[error(
        "datacenter `{datacenter}` cannot be part of a DNS name: it must be 1 to 63 bytes without a dot"
    )]
    InvalidDatacenter {
        /// The datacenter as it was given.
        datacenter: String,
    },
    /// No address to listen on was configured.
    #[error("no DNS listen address is configured")]
    NoAddress,
    /// Another process holds the address.
    #[error("DNS cannot listen on {transport} {address}: the port is already in use")]
    AddressInUse {
        /// The address as it was configured.
        address: SocketAddr,
        /// `udp` or `tcp`.
        transport: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused the address for another reason.
    #[error("DNS cannot listen on {transport} {address}")]
    Bind {
        /// The address as it was configured.
        address: SocketAddr,
        /// `udp` or `tcp`.
        transport: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What was asked is no question.
    #[error("`{text}` is no {what}")]
    Question {
        /// What it should be: `DNS name` or `type of record`.
        what: &'static str,
        /// As it was asked.
        text: String,
    },
    /// A listener stopped although nobody asked for it.
    #[error("a DNS listener stopped: {reason}")]
    Stopped {
        /// What the listener reported.
        reason: String,
    },
}
