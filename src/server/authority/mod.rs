//! The certificate authority of the mesh: its configuration, its roots, and what they sign.
//!
//! It is made when it is needed first. Its private key stands in the state encrypted with the
//! wrapping key of the servers, and is decrypted to sign only.

pub(super) mod certificate;
pub(super) mod config;
pub(super) mod machines;

use mesh::model::{Authority, Timestamp};

use certificate::CertificateError;
use config::Config;

/// Why the authority did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The configuration is wrong.
    #[error("error configuring provider: {reason}")]
    Config {
        /// Why.
        reason: String,
    },
    /// No such provider, or one that is not built.
    #[error("could not initialize provider: {reason}")]
    Provider {
        /// Why.
        reason: String,
    },
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Others change the authority all the time.
    #[error("the certificate authority is being changed by somebody else; try again")]
    Contended,
}

/// A certificate for a service, with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Hexadecimal pairs with colons.
    pub serial: String,
    /// The certificate, and those between it and an older root; PEM.
    pub certificate: String,
    /// Its private key; PEM.
    pub key: String,
    /// The service.
    pub service: String,
    /// Its identity.
    pub uri: String,
    /// When it becomes valid.
    pub valid_after: Timestamp,
    /// When it ends.
    pub valid_before: Timestamp,
    /// Id of the root that signed it.
    pub root: String,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's but the service's.
        f.debug_struct("Leaf")
            .field("uri", &self.uri)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

/// What a stored configuration says, as the API shows it.
pub fn shown_config(row: &Authority) -> serde_json::Value {
    Config::stored(&row.config).shown()
}
