//! Certificates of machines: the authority of a cluster, what it signs, and the tokens with which
//! machines get theirs.
//!
//! A token has the region, a mark of the authority, and a secret for a role. Whoever joins knows
//! the authority by that mark before it says the secret; servers keep digests of secrets only.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
    SignatureAlgorithm,
};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use time::OffsetDateTime;

use super::certificate::CertificateError;

/// How long the authority of a cluster is valid.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 86_400);
/// How long a machine's certificate is valid.
const MACHINE_LIFETIME: Duration = Duration::from_secs(2 * 365 * 86_400);
/// Certificates are valid from a little before they are made, for clocks that go behind.
const BEFORE: Duration = Duration::from_secs(3600);
/// Name of the authority.
const NAME: &str = "Trivet machines";
/// Bytes of a secret.
const SECRET_BYTES: usize = 16;

/// What a machine is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineRole {
    /// It runs a server.
    Server,
    /// It runs tasks and carries traffic.
    Client,
}

impl MachineRole {
    /// Its name in certificates and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// The role of that name.
    pub fn of(name: &str) -> Option<Self> {
        let all = [Self::Server, Self::Client];
        all.into_iter().find(|role| role.name() == name)
    }
}

/// The key pair of a machine.
#[derive(Debug)]
pub struct MachineKey(KeyPair);

impl MachineKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<Self, CertificateError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// The public half.
    pub fn public(&self) -> Vec<u8> {
        self.0.public_key_raw().to_vec()
    }

    /// The private half in PEM form.
    pub fn private_pem(&self) -> String {
        self.0.serialize_pem()
    }
}

/// A public key whose private half is elsewhere.
struct Public<'a>(&'a [u8]);

impl PublicKeyData for Public<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The authority of a cluster.
#[derive(Debug)]
pub struct MachineAuthority(KeyPair);

impl MachineAuthority {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<Self, CertificateError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// The one with this private key in PEM form.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn of_pem(key: &str) -> Result<Self, CertificateError> {
        Ok(Self(KeyPair::from_pem(key)?))
    }

    /// Its private key in PEM form.
    pub fn private_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Its certificate in PEM form.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn certificate_pem(&self) -> Result<String, CertificateError> {
        let mut params = issuer();
        valid(&mut params, AUTHORITY_LIFETIME);
        Ok(params.self_signed(&self.0)?.pem())
    }

    /// A certificate for a machine of `role` in `region`, in PEM form.
    ///
    /// # Errors
    /// When the key or the region cannot be in one.
    pub fn sign(
        &self,
        role: MachineRole,
        region: &str,
        public: &[u8],
    ) -> Result<String, CertificateError> {
        let name = format!("{}.{region}.nomad", role.name());
        let mut params = CertificateParams::new([name.clone(), "localhost".to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        valid(&mut params, MACHINE_LIFETIME);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::new(issuer(), &self.0);
        Ok(params.signed_by(&Public(public), &issuer)?.pem())
    }
}

fn issuer() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn valid(params: &mut CertificateParams, lifetime: Duration) {
    let now = sys::clock::now().as_nanos() / 1_000_000_000;
    let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(now).unwrap_or(0));
    params.not_before = now - BEFORE;
    params.not_after = now + lifetime;
    let serial = (sys::random::seed() >> 1).max(1).to_be_bytes();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new secret.
pub fn new_secret() -> String {
    let random = [sys::random::seed(), sys::random::seed()].map(u64::to_be_bytes);
    hex(&random.concat()[..SECRET_BYTES])
}

/// What is kept of a secret.
pub fn digest_of_secret(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_signs_the_same_after_it_was_read_from_its_file() {
        let made = MachineAuthority::generate().unwrap();
        let read = MachineAuthority::of_pem(&made.private_pem()).unwrap();
        let key = MachineKey::generate().unwrap();
        for authority in [made, read] {
            let signed = authority.sign(MachineRole::Client, "global", &key.public());
            assert!(signed.unwrap().starts_with("-----BEGIN CERTIFICATE"));
        }
        assert_eq!(MachineRole::of("server"), Some(MachineRole::Server));
        assert_eq!(MachineRole::of("other"), None);
    }
}
