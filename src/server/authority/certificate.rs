//! Certificates of the mesh.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mesh::model::{Root, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    SanType, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use time::OffsetDateTime;

use super::Leaf;

/// A leaf is valid from a little before it is made, for clocks that go behind.
const LEAF_BEFORE: Duration = Duration::from_mins(1);
/// Characters of a line of PEM.
const PEM_LINE: usize = 64;
/// Length of a private key on the curve P-256, bytes.
const P256_SCALAR: usize = 32;
/// The name of the curve P-256 in a private key: its parameters.
const P256_PARAMETERS: [u8; 12] = [
    0xA0, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07,
];

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("a certificate cannot be made: {reason}")]
pub struct CertificateError {
    reason: String,
}

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        Self {
            reason: error.to_string(),
        }
    }
}

/// Kind of a root's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    P256,
    P384,
}

impl KeyKind {
    fn bits(self) -> u16 {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
        }
    }

    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
        }
    }

    fn of(root: &Root) -> Self {
        match root.key_bits {
            384 => Self::P384,
            _ => Self::P256,
        }
    }

    /// Whether the root has such a key.
    pub(crate) fn is_of(self, root: &Root) -> bool {
        self.bits() == root.key_bits
    }

    fn load(self, key: &[u8]) -> Result<KeyPair, rcgen::Error> {
        let key = PrivatePkcs8KeyDer::from(key);
        KeyPair::from_pkcs8_der_and_sign_algo(&key, self.algorithm())
    }
}

/// What a root is made of.
pub(crate) struct RootFacts<'a> {
    pub(crate) cluster_id: &'a str,
    pub(crate) kind: KeyKind,
    pub(crate) serial: u64,
    pub(crate) not_before: Timestamp,
    pub(crate) lifetime: Duration,
}

/// Whose a leaf is.
pub(crate) struct Identity<'a> {
    pub(crate) domain: &'a str,
    pub(crate) datacenter: &'a str,
    pub(crate) service: &'a str,
}

impl Identity<'_> {
    fn uri(&self) -> String {
        let part = |text| percent_encoding::utf8_percent_encode(text, PATH_PART);
        format!(
            "spiffe://{}/ns/default/dc/{}/svc/{}",
            self.domain,
            part(self.datacenter),
            part(self.service)
        )
    }
}

/// What is escaped in a part of a path.
const PATH_PART: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Whole seconds, as certificates have them.
fn time_of(at: Timestamp) -> OffsetDateTime {
    let seconds = u64::try_from(at.as_nanos() / 1_000_000_000).unwrap_or(0);
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(PEM_LINE) {
        lines.extend(line.iter().map(|byte| char::from(*byte)));
        lines.push('\n');
    }
    lines.push_str(&format!("-----END {label}-----\n"));
    lines
}

fn key_id(key: &KeyPair) -> Vec<u8> {
    Sha256::digest(key.public_key_raw()).to_vec()
}

fn uri(text: &str) -> Result<SanType, CertificateError> {
    Ok(SanType::URI(text.try_into()?))
}

/// The settings of a root's certificate.
fn root_params(root: &Root, domain: &str) -> Result<CertificateParams, CertificateError> {
    let mut params = issuer_params(root);
    params.not_before = time_of(root.not_before);
    params.not_after = time_of(root.not_after);
    params.serial_number = Some(SerialNumber::from(root.serial));
    params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))?];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// What of a root shows in what it signs.
fn issuer_params(root: &Root) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, root.common_name.clone());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    params.key_identifier_method = KeyIdMethod::PreSpecified(root.key_id.clone());
    params
}

/// A root, and its private key as PKCS #8.
pub(crate) fn root(facts: &RootFacts<'_>) -> Result<(Root, Vec<u8>), CertificateError> {
    let key = KeyPair::generate_for(facts.kind.algorithm())?;
    let domain = format!("{}.consul", facts.cluster_id);
    let own: String = sys::random::uuid().chars().take(8).collect();
    let cluster: String = facts.cluster_id.chars().take(8).collect();
    let mut root = Root {
        common_name: format!("pri-{own}.consul.ca.{cluster}.consul"),
        serial: facts.serial,
        key_id: key_id(&key),
        key_type: "ec".to_owned(),
        key_bits: facts.kind.bits(),
        not_before: facts.not_before,
        not_after: facts.not_before + facts.lifetime,
        ..Root::default()
    };
    let certificate = root_params(&root, &domain)?.self_signed(&key)?;
    root.id = hex(&Sha1::digest(certificate.der()));
    root.certificate = pem("CERTIFICATE", certificate.der());
    Ok((root, key.serialize_der()))
}

/// The key of a new root, signed by an old one.
pub(crate) fn cross_signed(
    new: &Root,
    new_key: &[u8],
    old: &Root,
    old_key: &[u8],
    from: Timestamp,
    to: Timestamp,
) -> Result<String, CertificateError> {
    let (new_kind, old_kind) = (KeyKind::of(new), KeyKind::of(old));
    let (new_key, old_key) = (new_kind.load(new_key)?, old_kind.load(old_key)?);
    let signed = Root {
        not_before: from,
        not_after: to,
        serial: new.serial + 1,
        ..new.clone()
    };
    let mut params = root_params(&signed, "")?;
    params.subject_alt_names.clear();
    let issuer = Issuer::new(issuer_params(old), old_key);
    let certificate = params.signed_by(&new_key, &issuer)?;
    Ok(pem("CERTIFICATE", certificate.der()))
}

/// A new key for a service with a certificate.
pub(crate) fn leaf(
    root: &Root,
    root_key: &[u8],
    identity: &Identity<'_>,
    now: Timestamp,
    lifetime: Duration,
) -> Result<Leaf, CertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let before = i64::try_from(LEAF_BEFORE.as_nanos()).unwrap_or(0);
    let from = Timestamp::from_nanos(now.as_nanos().saturating_sub(before));
    let to = (from + lifetime).min(root.not_after);
    // The highest bit stays free, so that the number is positive.
    let serial = (sys::random::seed() >> 1).max(1).to_be_bytes();
    let uri_text = identity.uri();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = time_of(from);
    params.not_after = time_of(to);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.subject_alt_names = vec![uri(&uri_text)?];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::DataEncipherment,
        KeyUsagePurpose::KeyAgreement,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_id(&key));
    params.use_authority_key_identifier_extension = true;
    let root_key = KeyKind::of(root).load(root_key)?;
    let issuer = Issuer::new(issuer_params(root), root_key);
    let certificate = params.signed_by(&key, &issuer)?;
    let mut chain = pem("CERTIFICATE", certificate.der());
    for intermediate in &root.intermediates {
        chain.push_str(intermediate);
    }
    let significant = serial.iter().position(|byte| *byte != 0).unwrap_or(0);
    Ok(Leaf {
        serial: hex(serial.get(significant..).unwrap_or(&serial)),
        certificate: chain,
        key: pem(
            "EC PRIVATE KEY",
            &sec1(&key.serialize_der(), key.public_key_raw())?,
        ),
        service: identity.service.to_owned(),
        uri: uri_text,
        valid_after: from,
        valid_before: to,
        root: root.id.clone(),
    })
}

/// A private key on the curve P-256 in the form that clients of the mesh expect, RFC 5915.
fn sec1(pkcs8: &[u8], public: &[u8]) -> Result<Vec<u8>, CertificateError> {
    // Inside: version 1, then an octet string with the key.
    let start = [0x02, 0x01, 0x01, 0x04, 0x20];
    let found = pkcs8.windows(start.len()).position(|part| part == start);
    let scalar = found.and_then(|at| {
        let at = at + start.len();
        pkcs8.get(at..at + P256_SCALAR)
    });
    let unexpected = || CertificateError {
        reason: "the key has an unexpected form".to_owned(),
    };
    let scalar = scalar.ok_or_else(unexpected)?;
    let bits = u8::try_from(public.len() + 1).map_err(|_| unexpected())?;
    let mut body = start.to_vec();
    body.extend_from_slice(scalar);
    body.extend_from_slice(&P256_PARAMETERS);
    body.extend_from_slice(&[0xA1, bits + 2, 0x03, bits, 0x00]);
    body.extend_from_slice(public);
    let length = u8::try_from(body.len()).map_err(|_| unexpected())?;
    if length >= 0x80 {
        return Err(unexpected());
    }
    Ok([&[0x30, length], body.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
    use rustls::server::WebPkiClientVerifier;
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);

    fn facts(kind: KeyKind, serial: u64) -> RootFacts<'static> {
        RootFacts {
            cluster_id: "11111111-2222-3333-4444-555555555555",
            kind,
            serial,
            not_before: NOW,
            lifetime: Duration::from_hours(87_600),
        }
    }

    fn leaf_of(root: &Root, key: &[u8]) -> Leaf {
        let identity = Identity {
            domain: "11111111-2222-3333-4444-555555555555.consul",
            datacenter: "dc1",
            service: "we b",
        };
        leaf(root, key, &identity, NOW, Duration::from_hours(72)).unwrap()
    }

    /// Whether a client with the leaf is let in by those who trust the root.
    fn is_trusted(root: &Root, leaf: &Leaf) -> bool {
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_slice(root.certificate.as_bytes()).unwrap();
        roots.add(trusted).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().unwrap();
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(leaf.certificate.as_bytes()).collect();
        let chain = chain.unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_060));
        verifier
            .verify_client_cert(&chain[0], &chain[1..], at)
            .is_ok()
    }

    #[test]
    fn a_leaf_is_trusted_by_its_root_and_by_the_one_before() {
        for (first, second) in [
            (KeyKind::P256, KeyKind::P384),
            (KeyKind::P384, KeyKind::P256),
        ] {
            let (old, old_key) = root(&facts(first, 7)).unwrap();
            assert!(is_trusted(&old, &leaf_of(&old, &old_key)));
            let (mut new, new_key) = root(&facts(second, 9)).unwrap();
            assert!(!is_trusted(&old, &leaf_of(&new, &new_key)));
            let end = NOW + Duration::from_hours(24);
            let signed = cross_signed(&new, &new_key, &old, &old_key, NOW, end).unwrap();
            new.intermediates = vec![signed];
            let leaf = leaf_of(&new, &new_key);
            assert!(is_trusted(&new, &leaf) && is_trusted(&old, &leaf));
        }
    }

    #[test]
    fn a_leaf_says_whose_it_is_and_fits_its_key() {
        let (root, key) = root(&facts(KeyKind::P256, 7)).unwrap();
        assert_eq!(root.id.len(), 59);
        assert_eq!(root.key_id.len(), 32);
        assert!(root.common_name.ends_with(".consul.ca.11111111.consul"));
        let leaf = leaf_of(&root, &key);
        assert_eq!(
            leaf.uri,
            "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/we%20b"
        );
        assert_eq!(
            leaf.valid_before.since(leaf.valid_after),
            Duration::from_hours(72)
        );
        assert!(leaf.key.starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
        let signer = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let chain = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
        let certified = rustls::sign::CertifiedKey::new(vec![chain], signer);
        certified.keys_match().unwrap();
        assert_eq!(format!("{leaf:?}").matches("PRIVATE").count(), 0);
    }
}
