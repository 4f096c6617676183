//! How a machine gets its certificate: it knows the authority by a mark, says a secret, and is
//! signed a key of its own.

use super::{
    pipe::of_bytes,
    transport::{CONNECT_TIMEOUT, Call, Caller, Error, Kind, bounded},
};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Limited};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest answer, bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What a machine asks for.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Enrollment {
    /// What its token says.
    pub secret: String,
    /// Its public key, on the curve P-256.
    #[serde(with = "serde_bytes")]
    pub public_key: Vec<u8>,
}

impl std::fmt::Debug for Enrollment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enrollment")
    }
}

/// What it gets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Enrolled {
    /// What it may be: `server` or `client`.
    pub role: String,
    /// Its certificate in PEM form.
    pub certificate: String,
    /// That of the authority.
    pub authority: String,
    /// RPC addresses of servers.
    pub servers: Vec<String>,
    /// The key that seals what servers tell each other, for a server; empty when there is none.
    pub gossip_key: String,
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enrolled({}, {:?})", self.role, self.servers)
    }
}

/// By what the authority with this certificate in PEM form is known; none when it has none.
pub fn mark(certificate: &str) -> Option<String> {
    let first = CertificateDer::pem_slice_iter(certificate.as_bytes()).next()?;
    Some(mark_of(&first.ok()?))
}

fn mark_of(certificate: &CertificateDer<'_>) -> String {
    let digest = Sha256::digest(certificate);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asks the server at `address` for a certificate of the authority with that mark.
///
/// # Errors
/// [`Error`]; also when the server has another authority.
pub async fn ask(
    address: &str,
    region: &str,
    mark: &str,
    question: &Enrollment,
) -> Result<Enrolled, Error> {
    let failed = |source: io::Error| Error::Connect {
        address: address.to_owned(),
        source,
    };
    let asking = async {
        let body =
            rmp_serde::to_vec_named(question).map_err(|error| failed(io::Error::other(error)))?;
        let connection = connect(address, region, mark).await.map_err(failed)?;
        let mut caller = Caller::over(connection, address).await?;
        let kind = Kind::Call(Call::Enroll);
        let response = caller
            .ask(kind, HeaderMap::new(), of_bytes(body.into()))
            .await?;
        let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let answer = answer
            .collect()
            .await
            .map_err(|error| failed(io::Error::other(error)))?;
        rmp_serde::from_slice(&answer.to_bytes()).map_err(|error| failed(io::Error::other(error)))
    };
    bounded(address, CONNECT_TIMEOUT, asking).await
}

async fn connect(
    address: &str,
    region: &str,
    mark: &str,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let provider = Arc::new(ring::default_provider());
    let pinned = Pinned {
        mark: mark.to_owned(),
        provider: Arc::clone(&provider),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    let name = ServerName::try_from(format!("server.{region}.nomad")).map_err(io::Error::other)?;
    let socket = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
}

/// Trusts the authority of that mark, which the server sends beside its own certificate.
#[derive(Debug)]
struct Pinned {
    mark: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = || rustls::Error::from(CertificateError::UnknownIssuer);
        let authority = between.iter().find(|one| mark_of(one) == self.mark);
        let mut roots = RootCertStore::empty();
        roots.add(authority.ok_or_else(unknown)?.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().map_err(|_| unknown())?;
        verifier.verify_server_cert(end, between, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _end: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 is spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        end: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, end, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
