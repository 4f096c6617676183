//! Certificates of listeners: which of them a connection gets, and by which rules TLS is spoken.
//!
//! [`Store`] holds certificates that come from anywhere and are replaced as a whole while
//! connections go on; [`Tls`] is what a listener wants, and becomes a configuration of the TLS
//! library.

mod store;
mod tls;

pub use store::{Certificate, Pair, Store, Unusable};
pub use tls::{Tls, TlsError, Version, server_config};
