//! Certificates by name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The most certificates of a store.
const CERTIFICATES_MAX: usize = 100_000;

/// A certificate with its key, as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// Names it in messages, and orders it: the first one is for clients that name no host.
    pub name: String,
    /// Certificates in PEM form, the server's own first.
    pub chain: Vec<u8>,
    /// Its private key in PEM form.
    pub key: Vec<u8>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("name", &self.name).finish()
    }
}

/// A pair that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate `{name}`: {reason}")]
pub struct Unusable {
    /// The pair's name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What a certificate is for, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The pair's name.
    pub name: String,
    /// Hosts, in lower case; one label may be `*`.
    pub hosts: Vec<String>,
    /// When it begins to count, in seconds since 1970.
    pub not_before: i64,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
}

/// Certificates in use. Connections get those that are in it when they begin.
pub struct Store {
    current: ArcSwap<Current>,
}

#[derive(Default)]
struct Current {
    by_host: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
    certificates: Vec<Certificate>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificates = &self.current.load().certificates;
        f.debug_tuple("Store").field(certificates).finish()
    }
}

impl Default for Store {
    fn default() -> Store {
        Store {
            current: ArcSwap::from_pointee(Current::default()),
        }
    }
}

impl Store {
    /// Puts certificates in the place of all that were there. Those that cannot be used are left
    /// out and returned; if none can, what was there stays.
    pub fn replace(&self, mut pairs: Vec<Pair>) -> Vec<Unusable> {
        pairs.sort_by(|one, two| one.name.cmp(&two.name));
        let provider = rustls::crypto::ring::default_provider();
        let mut unusable = Vec::new();
        let mut next = Current::default();
        for pair in pairs {
            if next.certificates.len() == CERTIFICATES_MAX {
                unusable.push(Unusable {
                    name: pair.name,
                    reason: format!("there are more than {CERTIFICATES_MAX}"),
                });
                continue;
            }
            match read(&pair, &provider) {
                Ok((key, certificate)) => next.add(Arc::new(key), certificate),
                Err(reason) => unusable.push(Unusable {
                    name: pair.name,
                    reason,
                }),
            }
        }
        if next.first.is_some() || unusable.is_empty() {
            self.current.store(Arc::new(next));
        }
        unusable
    }

    /// The certificates that are in use.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.current.load().certificates.clone()
    }

    /// The certificate for a host; with `is_strict`, none for one that no certificate is for.
    fn choose(&self, host: Option<&str>, is_strict: bool) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load();
        let found = host.and_then(|host| current.find(host));
        let first = || current.first.clone().filter(|_| !is_strict);
        found.or_else(first)
    }
}

impl Current {
    fn add(&mut self, key: Arc<CertifiedKey>, certificate: Certificate) {
        for host in &certificate.hosts {
            self.by_host
                .entry(host.clone())
                .or_insert_with(|| key.clone());
        }
        self.first.get_or_insert(key);
        self.certificates.push(certificate);
    }

    /// The certificate of exactly that name, or else of the name with more and more labels from
    /// the left as `*`.
    fn find(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if let Some(key) = self.by_host.get(&host) {
            return Some(key.clone());
        }
        let mut labels: Vec<&str> = host.split('.').collect();
        for at in 0..labels.len() {
            labels[at] = "*";
            if let Some(key) = self.by_host.get(&labels.join(".")) {
                return Some(key.clone());
            }
        }
        None
    }
}

fn read(pair: &Pair, provider: &CryptoProvider) -> Result<(CertifiedKey, Certificate), String> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&pair.chain).collect();
    let chain = chain.map_err(|error| format!("it is not in PEM form: {error}"))?;
    let own = chain.first().ok_or("it holds no certificate")?;
    let (_, parsed) =
        X509Certificate::from_der(own).map_err(|error| format!("it cannot be read: {error}"))?;
    let certificate = Certificate {
        name: pair.name.clone(),
        hosts: hosts(&parsed),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
    };
    let key = PrivateKeyDer::from_pem_slice(&pair.key)
        .map_err(|_| "there is no private key in PEM form".to_owned())?;
    let key = CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| format!("certificate and key cannot be used: {error}"))?;
    Ok((key, certificate))
}

/// The hosts that a certificate is for; of one that names none, its subject.
fn hosts(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| &names.value.general_names);
    let mut hosts: Vec<String> = names
        .into_iter()
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    if hosts.is_empty() {
        let subjects = certificate.subject().iter_common_name();
        hosts.extend(subjects.filter_map(|name| Some(name.as_str().ok()?.to_ascii_lowercase())));
    }
    hosts
}

/// Gives each connection its certificate.
pub(super) struct Resolver {
    pub(super) store: Arc<Store>,
    pub(super) is_strict: bool,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("is_strict", &self.is_strict)
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.store.choose(hello.server_name(), self.is_strict)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pair, Store};

    fn pair(name: &str, hosts: &[&str]) -> Pair {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(hosts).unwrap();
        Pair {
            name: name.to_owned(),
            chain: made.cert.pem().into_bytes(),
            key: made.signing_key.serialize_pem().into_bytes(),
        }
    }

    /// The place of the certificate that a host gets among those of the store.
    fn chosen(store: &Store, host: Option<&str>, is_strict: bool) -> Option<String> {
        let key = store.choose(host, is_strict)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&key.cert[0]).unwrap();
        Some(super::hosts(&parsed).join(","))
    }

    #[test]
    fn a_host_gets_its_certificate() {
        let store = Store::default();
        assert_eq!(
            store.replace(vec![
                pair("b", &["*.io", "*.*.com"]),
                pair("a", &["web.io"]),
                pair("c", &["x.y.com", "Case.io"]),
            ]),
            []
        );
        for (host, is_strict, expected) in [
            (Some("web.io"), false, Some("web.io")),
            (Some("WEB.io."), false, Some("web.io")),
            (Some("other.io"), false, Some("*.io,*.*.com")),
            (Some("a.b.com"), false, Some("*.io,*.*.com")),
            (Some("x.y.com"), false, Some("x.y.com,case.io")),
            (Some("case.io"), false, Some("x.y.com,case.io")),
            (Some("a.web.io"), false, Some("web.io")),
            (Some("a.web.io"), true, None),
            (None, false, Some("web.io")),
            (None, true, None),
        ] {
            let found = chosen(&store, host, is_strict);
            assert_eq!(found.as_deref(), expected, "{host:?} {is_strict}");
        }
        assert_eq!(store.certificates()[0].name, "a");
    }

    #[test]
    fn what_cannot_be_used_is_left_out_and_named() {
        let store = Store::default();
        let (good, other) = (pair("good", &["a.io"]), pair("other", &["b.io"]));
        let wrong_key = Pair {
            name: "swapped".to_owned(),
            key: other.key.clone(),
            ..good.clone()
        };
        let empty = Pair {
            name: "empty".to_owned(),
            chain: Vec::new(),
            key: Vec::new(),
        };
        let unusable = store.replace(vec![good.clone(), wrong_key.clone(), empty.clone()]);
        let names: Vec<&str> = unusable.iter().map(|pair| pair.name.as_str()).collect();
        assert_eq!(names, ["empty", "swapped"]);
        assert_eq!(chosen(&store, None, false).as_deref(), Some("a.io"));
        // With nothing usable, what is there stays.
        assert_eq!(store.replace(vec![wrong_key, empty]).len(), 2);
        assert_eq!(chosen(&store, None, false).as_deref(), Some("a.io"));
        assert_eq!(store.replace(vec![other]), []);
        assert_eq!(chosen(&store, None, false).as_deref(), Some("b.io"));
        assert!(!format!("{good:?}").contains("PRIVATE"));
    }
}
