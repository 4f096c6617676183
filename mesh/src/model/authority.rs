//! The certificate authority of the mesh.

use serde::{Deserialize, Serialize};

use super::{Index, Timestamp};

/// What signs the identities of services: one for the cluster.
///
/// Invariants:
/// 1. Exactly one root is active, the first one; only it has a key.
/// 2. The cluster's id never changes: with it every certificate would be invalid.
///
/// Writer: a server, when the authority is needed first and when its configuration changes. The
/// indexes are written by [`crate::state::State::apply`] only. It never leaves the servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Authority {
    /// A UUID.
    pub cluster_id: String,
    /// How it works: a JSON object as it was written.
    pub config: String,
    /// First write of the configuration.
    pub config_create_index: Index,
    /// Last change of the configuration.
    pub config_modify_index: Index,
    /// The active one, then retired ones, the newest first.
    pub roots: Vec<Root>,
    /// Last change of the roots.
    pub modify_index: Index,
}

impl Authority {
    /// What identities of this cluster start with.
    #[must_use]
    pub fn trust_domain(&self) -> String {
        format!("{}.consul", self.cluster_id)
    }

    /// The root that signs.
    #[must_use]
    pub fn active(&self) -> Option<&Root> {
        self.roots.iter().find(|root| root.is_active)
    }
}

/// A root certificate.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// SHA-1 of the certificate: 20 bytes as hexadecimal pairs with colons.
    pub id: String,
    /// Common name of its subject.
    pub common_name: String,
    /// Serial number.
    pub serial: u64,
    /// Identifier of its key, bytes.
    #[serde(with = "serde_bytes")]
    pub key_id: Vec<u8>,
    /// `ec`.
    pub key_type: String,
    /// Length of the key, bits.
    pub key_bits: u16,
    /// When it becomes valid.
    #[serde(rename = "not_before_ns")]
    pub not_before: Timestamp,
    /// When it ends.
    #[serde(rename = "not_after_ns")]
    pub not_after: Timestamp,
    /// The certificate, PEM.
    pub certificate: String,
    /// Its key signed by older roots, PEM, for those who trust only them.
    pub intermediates: Vec<String>,
    /// Its private key, encrypted; empty for a retired one.
    #[serde(with = "serde_bytes")]
    pub wrapped_key: Vec<u8>,
    /// Whether it signs.
    pub is_active: bool,
    /// When it stopped signing; "never" for the active one.
    #[serde(rename = "retired_at_ns")]
    pub retired_at: Timestamp,
    /// Log index at which it was made.
    pub create_index: Index,
    /// Log index of its last change.
    pub modify_index: Index,
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not even the encrypted key.
        f.debug_struct("Root")
            .field("id", &self.id)
            .field("is_active", &self.is_active)
            .finish_non_exhaustive()
    }
}
