//! What a listener wants of TLS.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::store::{Resolver, Store};

/// A version of TLS; older ones are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// What a listener wants of TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Its certificates.
    pub certificates: Arc<Store>,
    /// Connections for hosts without a certificate are refused.
    pub is_strict: bool,
    /// The oldest version that is spoken.
    pub oldest: Version,
    /// The newest one.
    pub newest: Version,
    /// Ciphers of TLS 1.2 that are spoken, by their registered names; all if empty.
    pub ciphers: Vec<String>,
    /// Authorities in PEM form: clients must have a certificate of one of them.
    pub client_authorities: Option<Vec<u8>>,
}

impl Tls {
    /// Certificates of a store, by the usual rules.
    pub fn new(certificates: Arc<Store>) -> Tls {
        Tls {
            certificates,
            is_strict: false,
            oldest: Version::Tls12,
            newest: Version::Tls13,
            ciphers: Vec::new(),
            client_authorities: None,
        }
    }
}

/// Why TLS cannot be spoken as wanted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No version is left.
    #[error("the oldest version of TLS is newer than the newest one")]
    Versions,
    /// A cipher that there is not.
    #[error("there is no cipher `{name}`; known are {known}")]
    Cipher {
        /// As written.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The authorities of clients cannot be read.
    #[error("the authorities of clients cannot be used: {reason}")]
    Authorities {
        /// Why.
        reason: String,
    },
    /// The TLS library refuses.
    #[error("TLS cannot be set up")]
    Library(#[from] rustls::Error),
}

/// The configuration of the TLS library for a listener; `protocols` are offered for what goes over
/// it, the best one first.
///
/// # Errors
/// What of it cannot be had.
pub fn server_config(tls: &Tls, protocols: &[&[u8]]) -> Result<ServerConfig, TlsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    restrict(&mut provider, &tls.ciphers)?;
    let provider = Arc::new(provider);
    let in_range = |version: &Version| (tls.oldest..=tls.newest).contains(version);
    let versions: Vec<&'static SupportedProtocolVersion> = [Version::Tls13, Version::Tls12]
        .iter()
        .filter(|version| in_range(version))
        .map(|version| match version {
            Version::Tls12 => &rustls::version::TLS12,
            Version::Tls13 => &rustls::version::TLS13,
        })
        .collect();
    if versions.is_empty() {
        return Err(TlsError::Versions);
    }
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions)?;
    let builder = match &tls.client_authorities {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let roots = Arc::new(authorities(pem)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| TlsError::Authorities {
                reason: error.to_string(),
            })?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver {
        store: tls.certificates.clone(),
        is_strict: tls.is_strict,
    }));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Leaves out the ciphers of TLS 1.2 that are not named.
fn restrict(provider: &mut CryptoProvider, names: &[String]) -> Result<(), TlsError> {
    if names.is_empty() {
        return Ok(());
    }
    let name = |suite: &rustls::SupportedCipherSuite| {
        let name = suite.suite().as_str().unwrap_or_default();
        name.to_owned()
    };
    let is_old = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_none();
    let known: Vec<String> = provider
        .cipher_suites
        .iter()
        .filter(|suite| is_old(suite))
        .map(name)
        .collect();
    let unknown = names
        .iter()
        .find(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name)));
    if let Some(unknown) = unknown {
        return Err(TlsError::Cipher {
            name: unknown.clone(),
            known: known.join(", "),
        });
    }
    let is_named = |own: &String| names.iter().any(|name| name.eq_ignore_ascii_case(own));
    provider
        .cipher_suites
        .retain(|suite| !is_old(suite) || is_named(&name(suite)));
    Ok(())
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let failed = |reason: String| TlsError::Authorities { reason };
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Tls, TlsError, Version, server_config};

    #[test]
    fn what_cannot_be_spoken_is_an_error() {
        let usual = || Tls::new(Arc::default());
        assert!(server_config(&usual(), &[b"h2"]).is_ok());
        let versions = Tls {
            oldest: Version::Tls13,
            newest: Version::Tls12,
            ..usual()
        };
        let error = server_config(&versions, &[]).unwrap_err();
        assert!(matches!(error, TlsError::Versions));
        let named = |name: &str| Tls {
            ciphers: vec![name.to_owned()],
            ..usual()
        };
        let known = named("tls_ecdhe_rsa_with_aes_128_gcm_sha256");
        assert!(server_config(&known, &[]).is_ok());
        let error = server_config(&named("TLS_RSA_WITH_RC4_128_SHA"), &[]).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            "{said}"
        );
        let none = Tls {
            client_authorities: Some(b"nothing".to_vec()),
            ..usual()
        };
        assert!(server_config(&none, &[]).is_err());
    }
}
