//! Whether connections are plain or secured by certificates of the cluster's own authority.
//!
//! A certificate is for a role in a region: `server.REGION.nomad` or `client.REGION.nomad`, the
//! names that certificates for Nomad have, or those for Consul where the program is called by that
//! name. Whoever dials a server wants the first; what a listener lets the other side ask for
//! depends on which of them it has.

use super::wire::{self, Connection};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::verify_server_name,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::{ParsedCertificate, WebPkiClientVerifier},
};
use std::{fmt, fs, io, path::Path, sync::Arc};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What the certificate of the other side says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Part of the cluster's control plane; everybody, where connections are plain.
    Server,
    /// An agent without a server.
    Client,
    /// It has no certificate yet.
    Stranger,
}

/// What becomes of machines without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// They cannot connect.
    Refused,
    /// They may ask for a certificate, and for nothing else.
    MayEnroll,
}

/// How connections between machines are made; cheap to clone.
#[derive(Clone, Debug)]
pub enum Security {
    /// Plain TCP: whoever reaches the port is taken for a server.
    Plain,
    /// Mutual TLS.
    Mutual(Mutual),
}

/// Certificates of this machine.
#[derive(Clone)]
pub struct Mutual {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// The name of servers of the region.
    servers: ServerName<'static>,
}

impl fmt::Debug for Mutual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutual({:?})", self.servers)
    }
}

impl Security {
    /// Mutual TLS with the certificate and key of this machine, and the authority of the cluster,
    /// all in PEM files. `servers` is the name that certificates of servers have.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn mutual(
        authority: &Path,
        certificate: &Path,
        key: &Path,
        servers: &str,
        strangers: Strangers,
    ) -> Result<Self, String> {
        let wrong =
            |path: &Path, error: &dyn fmt::Display| format!("`{}`: {error}", path.display());
        let read = |path: &Path| fs::read(path).map_err(|error| wrong(path, &error));
        let certificates = |path: &Path| {
            let bytes = read(path)?;
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            let found = found.map_err(|error| wrong(path, &error))?;
            if found.is_empty() {
                return Err(wrong(path, &"it holds no certificate"));
            }
            Ok(found)
        };
        let mut roots = RootCertStore::empty();
        for root in certificates(authority)? {
            roots.add(root).map_err(|error| wrong(authority, &error))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(certificate)?;
        let private = PrivateKeyDer::from_pem_slice(&read(key)?);
        let private = private.map_err(|error| wrong(key, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let verifier = match strangers {
            Strangers::Refused => verifier,
            Strangers::MayEnroll => verifier.allow_unauthenticated(),
        };
        let verifier = verifier.build().map_err(|error| wrong(authority, &error))?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private.clone_key())
            .map_err(|error| wrong(certificate, &error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private)
            .map_err(|error| wrong(certificate, &error))?;
        Ok(Self::Mutual(Mutual {
            server: Arc::new(server),
            client: Arc::new(client),
            servers: name_of(servers)?,
        }))
    }

    /// The same, towards servers whose certificates have another name.
    ///
    /// # Errors
    /// When no certificate can have it.
    pub fn of_servers(&self, name: &str) -> Result<Self, String> {
        Ok(match self {
            Self::Plain => Self::Plain,
            Self::Mutual(mutual) => Self::Mutual(Mutual {
                servers: name_of(name)?,
                ..mutual.clone()
            }),
        })
    }

    pub(super) async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        let socket = wire::connect(address).await?;
        match self {
            Self::Plain => Ok(socket),
            Self::Mutual(mutual) => {
                let connector = TlsConnector::from(Arc::clone(&mutual.client));
                let agreed = connector.connect(mutual.servers.clone(), socket).await?;
                Ok(Box::new(agreed))
            }
        }
    }

    pub(super) async fn accept(
        &self,
        socket: Box<dyn Connection>,
    ) -> io::Result<(Box<dyn Connection>, Role)> {
        match self {
            Self::Plain => Ok((socket, Role::Server)),
            Self::Mutual(mutual) => {
                let acceptor = TlsAcceptor::from(Arc::clone(&mutual.server));
                let agreed = acceptor.accept(socket).await?;
                let role = mutual.role(agreed.get_ref().1.peer_certificates());
                Ok((Box::new(agreed), role))
            }
        }
    }
}

fn name_of(servers: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(servers.to_owned())
        .map_err(|error| format!("the name of servers {servers:?}: {error}"))
}

impl Mutual {
    fn role(&self, chain: Option<&[CertificateDer<'_>]>) -> Role {
        let end = chain.and_then(<[_]>::first);
        let parsed = end.and_then(|end| ParsedCertificate::try_from(end).ok());
        match parsed {
            Some(end) if verify_server_name(&end, &self.servers).is_ok() => Role::Server,
            Some(_) => Role::Client,
            None => Role::Stranger,
        }
    }
}
