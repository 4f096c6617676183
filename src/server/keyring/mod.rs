//! Encrypts variables and the key of the certificate authority: root keys in the replicated state,
//! and the wrapping key that encrypts them in a file of each server.
//!
//! AES-256 in Galois/counter mode with a random nonce for each text. A variable is bound to its
//! namespace and path, a root key to its id, so that no text can be moved to another row.

mod wrapping;

use jobs::model::{Id, RootKey, RootKeyId, Sealed, VariableKey};
use mesh::model::{Authority, Root};
use parking_lot::Mutex;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{hmac, signature::Ed25519KeyPair};
use std::{io, path::PathBuf, sync::Arc};

use super::log::raft::StartError;

/// Length of a key, bytes.
const KEY_LEN: usize = 32;

/// Why something was not encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The state has no key of this id.
    #[error("root key {0} is not in the keyring")]
    NoRootKey(RootKeyId),
    /// The bytes were changed, or the wrapping key is another one.
    #[error("{what} cannot be decrypted: it is damaged or was encrypted with another key")]
    Unreadable {
        /// What it is.
        what: String,
    },
    /// The wrapping key could not be written.
    #[error("cannot write `{path}`: {source}")]
    File {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

/// The wrapping key of this server; made when it is needed first.
#[derive(Debug)]
pub(super) struct Keyring {
    path: PathBuf,
    wrapping: Mutex<Option<Arc<Cipher>>>,
}

impl Keyring {
    /// Reads the wrapping key in `path` and makes sure that it opens every root key.
    ///
    /// # Errors
    /// [`StartError`] with the file's name when it is damaged, or missing and needed.
    pub(super) fn open<'a>(
        path: PathBuf,
        root_keys: impl Iterator<Item = &'a RootKey>,
        authority: Option<&Authority>,
    ) -> Result<Self, StartError> {
        let wrapping = wrapping::read(&path)?.map(|key| Arc::new(Cipher::new(key)));
        for root_key in root_keys {
            let opened = wrapping.as_ref().map(|cipher| unwrap(cipher, root_key));
            let what = match opened {
                Some(Ok(_)) => continue,
                Some(Err(_)) => "does not open the root keys of the state",
                None => "is missing, and the state has variables that cannot be read without it",
            };
            return Err(wrapping::unusable(&path, what));
        }
        if let Some(root) = authority.and_then(Authority::active) {
            let opened = wrapping
                .as_ref()
                .map(|cipher| unwrap_authority(cipher, root));
            let what = match opened {
                Some(Ok(_)) => None,
                Some(Err(_)) => Some("does not open the key of the certificate authority"),
                None => Some("is missing, and the certificate authority cannot sign without it"),
            };
            if let Some(what) = what {
                return Err(wrapping::unusable(&path, what));
            }
        }
        Ok(Self {
            path,
            wrapping: Mutex::new(wrapping),
        })
    }

    /// The wrapping key, for another server of the cluster and nobody else. Waits for the disk
    /// when it is the first key of this server.
    pub(super) fn export(&self) -> Result<Vec<u8>, KeyringError> {
        self.wrapping()?;
        match wrapping::read(&self.path) {
            Ok(Some(key)) => Ok(key.to_vec()),
            Ok(None) | Err(_) => Err(KeyringError::Unreadable {
                what: format!("the wrapping key in `{}`", self.path.display()),
            }),
        }
    }

    /// Takes over the wrapping key of the cluster that this server joins; the one that it had
    /// encrypts nothing.
    pub(super) fn import(&self, key: &[u8]) -> Result<(), KeyringError> {
        let key = <[u8; KEY_LEN]>::try_from(key).map_err(|_| KeyringError::Unreadable {
            what: "the wrapping key of the cluster".into(),
        })?;
        let mut wrapping = self.wrapping.lock();
        wrapping::write(&self.path, &key).map_err(|source| KeyringError::File {
            path: self.path.display().to_string(),
            source,
        })?;
        *wrapping = Some(Arc::new(Cipher::new(key)));
        Ok(())
    }

    /// Encrypts the private key of a root certificate. Waits for the disk when it is the first key
    /// of this server.
    pub(super) fn wrap_authority(&self, root: &str, key: &[u8]) -> Result<Vec<u8>, KeyringError> {
        self.wrapping()?.seal(key, &authority_purpose(root))
    }

    /// Decrypts the private key of a root certificate.
    pub(super) fn unwrap_authority(&self, root: &Root) -> Result<Vec<u8>, KeyringError> {
        unwrap_authority(&*self.wrapping()?, root)
    }

    /// A new root key, encrypted. Waits for the disk when it is the first of this server.
    pub(super) fn generate(&self) -> Result<RootKey, KeyringError> {
        let mut id = [0; 16];
        random(&mut id)?;
        let id = uuid::Builder::from_random_bytes(id).into_uuid();
        let id = Id::from_bytes(*id.as_bytes()).ok_or(KeyringError::NoRandomness)?;
        let mut key = [0; KEY_LEN];
        random(&mut key)?;
        Ok(RootKey {
            id,
            wrapped: self.wrapping()?.seal(&key, &wrapping_purpose(id))?,
            ..RootKey::default()
        })
    }

    /// Encrypts the contents of a variable.
    pub(super) fn seal(
        &self,
        root_key: &RootKey,
        key: &VariableKey,
        plain: &[u8],
    ) -> Result<Sealed, KeyringError> {
        let cipher = unwrap(&*self.wrapping()?, root_key)?;
        Ok(Sealed {
            root_key_id: root_key.id,
            bytes: cipher.seal(plain, &purpose(key))?,
        })
    }

    /// Decrypts the contents of a variable.
    pub(super) fn unseal(
        &self,
        root_key: &RootKey,
        key: &VariableKey,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, KeyringError> {
        let cipher = unwrap(&*self.wrapping()?, root_key)?;
        let opened = cipher.unseal(&sealed.bytes, &purpose(key));
        opened.ok_or_else(|| KeyringError::Unreadable {
            what: format!("the variable {:?}", key.path.as_str()),
        })
    }

    /// The key that signs tokens of tasks; it follows from the root key.
    pub(super) fn identity_key(&self, root_key: &RootKey) -> Result<Ed25519KeyPair, KeyringError> {
        let key = hmac::Key::new(
            hmac::HMAC_SHA256,
            &unwrap_key(&*self.wrapping()?, root_key)?,
        );
        let seed = hmac::sign(&key, b"tokens of tasks");
        Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| KeyringError::Unreadable {
            what: format!("the root key {}", root_key.id),
        })
    }

    fn wrapping(&self) -> Result<Arc<Cipher>, KeyringError> {
        let mut wrapping = self.wrapping.lock();
        if let Some(cipher) = &*wrapping {
            return Ok(Arc::clone(cipher));
        }
        let mut key = [0; KEY_LEN];
        random(&mut key)?;
        wrapping::write(&self.path, &key).map_err(|source| KeyringError::File {
            path: self.path.display().to_string(),
            source,
        })?;
        let cipher = Arc::new(Cipher::new(key));
        *wrapping = Some(Arc::clone(&cipher));
        Ok(cipher)
    }
}

fn unwrap(wrapping: &Cipher, root_key: &RootKey) -> Result<Cipher, KeyringError> {
    unwrap_key(wrapping, root_key).map(Cipher::new)
}

fn unwrap_key(wrapping: &Cipher, root_key: &RootKey) -> Result<[u8; KEY_LEN], KeyringError> {
    let opened = wrapping.unseal(&root_key.wrapped, &wrapping_purpose(root_key.id));
    let key = opened.and_then(|key| <[u8; KEY_LEN]>::try_from(key).ok());
    key.ok_or_else(|| KeyringError::Unreadable {
        what: format!("the root key {}", root_key.id),
    })
}

fn unwrap_authority(wrapping: &Cipher, root: &Root) -> Result<Vec<u8>, KeyringError> {
    let opened = wrapping.unseal(&root.wrapped_key, &authority_purpose(&root.id));
    opened.ok_or_else(|| KeyringError::Unreadable {
        what: format!("the key of the root certificate {}", root.id),
    })
}

fn authority_purpose(root: &str) -> Vec<u8> {
    format!("certificate authority {root}").into_bytes()
}

fn wrapping_purpose(id: RootKeyId) -> Vec<u8> {
    format!("root key {id}").into_bytes()
}

fn purpose(key: &VariableKey) -> Vec<u8> {
    // No name of a namespace has a line break.
    format!("variable {}\n{}", key.namespace, key.path).into_bytes()
}

fn random(bytes: &mut [u8]) -> Result<(), KeyringError> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| KeyringError::NoRandomness)
}

/// One key, ready to be used. A text is its nonce, the encrypted bytes and a tag.
struct Cipher(LessSafeKey);

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher")
    }
}

impl Cipher {
    fn new(key: [u8; KEY_LEN]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("the length is that of the cipher");
        Self(LessSafeKey::new(key))
    }

    fn seal(&self, plain: &[u8], purpose: &[u8]) -> Result<Vec<u8>, KeyringError> {
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce)?;
        let mut bytes = [&nonce, plain].concat();
        let tag = self.0.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose),
            &mut bytes[NONCE_LEN..],
        );
        let tag = tag.map_err(|_| KeyringError::Unreadable {
            what: "a text that is too long".into(),
        })?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(bytes)
    }

    fn unseal(&self, bytes: &[u8], purpose: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut rest = rest.to_vec();
        let plain = self.0.open_in_place(nonce, Aad::from(purpose), &mut rest);
        Some(plain.ok()?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> VariableKey {
        VariableKey {
            namespace: "default".into(),
            path: path.into(),
        }
    }

    fn open(path: &std::path::Path, root_keys: &[RootKey]) -> Result<Keyring, StartError> {
        Keyring::open(path.to_owned(), root_keys.iter(), None)
    }

    #[test]
    fn what_was_sealed_is_read_back_by_another_start_and_by_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keyring/wrapping");
        let keyring = open(&path, &[]).unwrap();
        assert!(!path.exists(), "nothing is written before it is needed");
        let root_key = keyring.generate().unwrap();
        let sealed = keyring.seal(&root_key, &key("a"), b"secret").unwrap();
        assert!(!sealed.bytes.windows(6).any(|part| part == b"secret"));
        let again = keyring.seal(&root_key, &key("a"), b"secret").unwrap();
        assert_ne!(sealed, again, "each text has a nonce of its own");

        let root_keys = [root_key];
        let later = open(&path, &root_keys).unwrap();
        let read = later.unseal(&root_keys[0], &key("a"), &sealed).unwrap();
        assert_eq!(read, b"secret");
        later.unseal(&root_keys[0], &key("b"), &sealed).unwrap_err();
        let mut moved = root_keys[0].clone();
        moved.id = later.generate().unwrap().id;
        later.unseal(&moved, &key("a"), &sealed).unwrap_err();
        for place in 0..sealed.bytes.len() {
            let mut flipped = sealed.clone();
            flipped.bytes[place] ^= 1;
            later
                .unseal(&root_keys[0], &key("a"), &flipped)
                .unwrap_err();
        }
    }

    #[test]
    fn a_wrapping_key_that_is_missing_damaged_or_another_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keyring/wrapping");
        let keyring = open(&path, &[]).unwrap();
        let root_keys = [keyring.generate().unwrap()];
        let refused = |path: &std::path::Path| open(path, &root_keys).unwrap_err().to_string();

        let missing = directory.path().join("keyring/nothing");
        assert!(refused(&missing).contains("keyring/nothing"));
        let other = directory.path().join("keyring/other");
        open(&other, &[]).unwrap().generate().unwrap();
        assert!(refused(&other).contains("does not open the root keys"));

        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            assert!(refused(&path).contains("keyring/wrapping"), "byte {place}");
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(refused(&path).contains("keyring/wrapping"));
    }
}
