//! The block `tls` of a configuration file: the listener of the catalog API that needs it, and how
//! machines reach each other.

use super::{Problem, file::Entry, file::SETTINGS, reader::Reader};
use std::{net::SocketAddr, path::PathBuf};

/// What is written about it.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenTls {
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
    pub ca_file: Option<String>,
    pub verify_incoming: Option<bool>,
    pub rpc: Option<bool>,
    pub verify_server_hostname: Option<bool>,
    pub ca_key_file: Option<String>,
    pub join_file: Option<String>,
}

/// Files of a machine that signs the keys of those that join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The private key of the cluster's authority in PEM form.
    pub key: PathBuf,
    /// Roles with digests of the secrets that give them.
    pub secrets: PathBuf,
}

/// How connections between machines are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcSecurity {
    /// Plain, and on the loopback interface only: nobody said anything.
    Loopback,
    /// Plain, as the operator says.
    Plain,
    /// Both sides have certificates of the cluster's authority.
    Mutual {
        /// The name that certificates of servers have.
        servers: String,
        /// A file with the authority in PEM form.
        authority: PathBuf,
        /// A file with the certificate of this machine in PEM form.
        certificate: PathBuf,
        /// A file with its key in PEM form.
        key: PathBuf,
        /// What signs the keys of machines that join; none when this one signs none.
        joining: Option<Joining>,
    },
}

/// The catalog API over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Https {
    /// Where it listens.
    pub address: SocketAddr,
    /// A file with its certificate in PEM form, and those between it and the authority.
    pub certificate: PathBuf,
    /// A file with the certificate's key in PEM form.
    pub key: PathBuf,
    /// A file with authorities: clients must have a certificate of one of them.
    pub client_authorities: Option<PathBuf>,
}

impl WrittenTls {
    /// Keys of the block.
    const KEYS: [&str; 8] = [
        "cert_file",
        "key_file",
        "ca_file",
        "verify_incoming",
        "rpc",
        "verify_server_hostname",
        "ca_key_file",
        "join_file",
    ];

    pub(super) fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "cert_file" => self.cert_file = reader.text(&inner),
                "key_file" => self.key_file = reader.text(&inner),
                "ca_file" => self.ca_file = reader.text(&inner),
                "verify_incoming" => self.verify_incoming = reader.flag(&inner),
                "ca_key_file" => self.ca_key_file = reader.text(&inner),
                "join_file" => self.join_file = reader.text(&inner),
                "rpc" => self.rpc = reader.flag(&inner),
                "verify_server_hostname" => {
                    self.verify_server_hostname = reader.flag(&inner);
                }
                _ => reader.unknown(&inner, "tls", &Self::KEYS),
            }
        }
    }

    /// `self` with everything that `other` sets.
    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            cert_file: other.cert_file.or(self.cert_file),
            key_file: other.key_file.or(self.key_file),
            ca_file: other.ca_file.or(self.ca_file),
            verify_incoming: other.verify_incoming.or(self.verify_incoming),
            rpc: other.rpc.or(self.rpc),
            verify_server_hostname: other.verify_server_hostname.or(self.verify_server_hostname),
            ca_key_file: other.ca_key_file.or(self.ca_key_file),
            join_file: other.join_file.or(self.join_file),
        }
    }

    /// How machines reach each other; `servers` is the name that certificates of servers have.
    pub(super) fn rpc(&self, servers: String, problems: &mut Vec<Problem>) -> RpcSecurity {
        let mut wrong = |message: &str| problems.push(Problem::new(SETTINGS, message));
        match self.rpc {
            None => RpcSecurity::Loopback,
            Some(false) => RpcSecurity::Plain,
            Some(true) => {
                if self.verify_server_hostname == Some(false) {
                    wrong(
                        "`tls.verify_server_hostname` cannot be false: without it a client could \
                         pose as a server",
                    );
                }
                let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
                let joining = path(&self.ca_key_file).zip(path(&self.join_file));
                match (
                    path(&self.ca_file),
                    path(&self.cert_file),
                    path(&self.key_file),
                ) {
                    (Some(authority), Some(certificate), Some(key)) => RpcSecurity::Mutual {
                        servers,
                        authority,
                        certificate,
                        key,
                        joining: joining.map(|(key, secrets)| Joining { key, secrets }),
                    },
                    _ => {
                        wrong("`tls.rpc` needs `tls.ca_file`, `tls.cert_file` and `tls.key_file`");
                        RpcSecurity::Loopback
                    }
                }
            }
        }
    }

    /// The listener at `address`; none without one.
    pub(super) fn resolve(
        &self,
        address: Option<SocketAddr>,
        problems: &mut Vec<Problem>,
    ) -> Option<Https> {
        let mut wrong = |message: &str| problems.push(Problem::new(SETTINGS, message));
        let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
        let (certificate, key) = (path(&self.cert_file), path(&self.key_file));
        let authorities = path(&self.ca_file);
        let files = [&certificate, &key, &authorities];
        if files.into_iter().flatten().any(|file| file.is_relative()) {
            wrong("the files of `tls` must be absolute paths");
        }
        let verifies = self.verify_incoming.unwrap_or(false);
        if verifies && authorities.is_none() {
            wrong("`tls.verify_incoming` needs `tls.ca_file`, the authorities of clients");
        }
        let Some(address) = address else {
            if *self != Self::default() && self.rpc.is_none() {
                wrong("`tls` is set, but no listener uses it; set `ports.https`, usually to 8501");
            }
            return None;
        };
        let (Some(certificate), Some(key)) = (certificate, key) else {
            wrong("`ports.https` needs `tls.cert_file` and `tls.key_file`");
            return None;
        };
        Some(Https {
            address,
            certificate,
            key,
            client_authorities: authorities.filter(|_| verifies),
        })
    }
}
