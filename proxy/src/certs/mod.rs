//! Certificates of listeners: which of them a connection gets, and by which rules TLS is spoken.
//!
//! [`Store`] holds certificates that come from anywhere and are replaced as a whole while
//! connections go on; [`Tls`] is what a listener wants, and becomes a configuration of the TLS
//! library. [`Issuer`] has certificates issued.

mod acme;
mod store;
mod tls;

pub use acme::{Answer, Challenges, Issuer, Shelf, Web};
pub use store::{Certificate, Pair, Store, Unusable};
pub use tls::{Tls, TlsError, Version, server_config};
