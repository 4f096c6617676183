//! Keys that seal what servers tell each other, and their change while everybody goes on talking.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
};
use std::fmt;

/// Keys that may be installed at a time.
pub const KEYS_MAX: usize = 16;
/// Lengths of keys, bytes, as published: any of them makes a key of 256 bits.
const LENGTHS: [usize; 3] = [16, 24, 32];
/// Separates these keys from others that are made of the same secret.
const PURPOSE: &[u8] = b"trivet gossip 1";

/// Why a key cannot be taken, used or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not the text of a key.
    #[error(
        "the key is not base64 of 16, 24 or 32 bytes; `operator gossip keyring generate` makes one"
    )]
    Malformed,
    /// It was not installed.
    #[error("the key is not in the keyring; install it first")]
    Unknown,
    /// It seals what is said at the moment.
    #[error("the key is in use; use another one before this one is removed")]
    InUse,
    /// There is no more room.
    #[error("the keyring holds {KEYS_MAX} keys; remove one first")]
    Full,
}

/// Keys, the first of which is in use. Others are still understood.
#[derive(Clone)]
pub struct Keyring(Vec<Key>);

#[derive(Clone)]
struct Key {
    /// As it was written.
    text: String,
    sealing: LessSafeKey,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.0.len())
    }
}

impl Key {
    fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let secret = STANDARD.decode(text).map_err(|_| KeyError::Malformed)?;
        if !LENGTHS.contains(&secret.len()) {
            return Err(KeyError::Malformed);
        }
        let made = digest(&SHA256, &[PURPOSE, &secret].concat());
        let unbound =
            UnboundKey::new(&AES_256_GCM, made.as_ref()).map_err(|_| KeyError::Malformed)?;
        Ok(Self {
            text: text.to_owned(),
            sealing: LessSafeKey::new(unbound),
        })
    }
}

impl Keyring {
    /// Keys as they are written, the one in use first.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], [`KeyError::Full`], and [`KeyError::Unknown`] when there is none.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, KeyError> {
        let mut keyring = Self(Vec::new());
        for text in texts {
            keyring.install(text)?;
        }
        if keyring.0.is_empty() {
            return Err(KeyError::Unknown);
        }
        Ok(keyring)
    }

    /// All keys, the one in use first.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.text.as_str())
    }

    fn position(&self, text: &str) -> Option<usize> {
        self.0.iter().position(|key| key.text == text.trim())
    }

    /// Understands a key from now on. One that is there stays as it is.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] and [`KeyError::Full`].
    pub fn install(&mut self, text: &str) -> Result<(), KeyError> {
        let key = Key::parse(text)?;
        if self.position(text).is_some() {
            return Ok(());
        }
        if self.0.len() >= KEYS_MAX {
            return Err(KeyError::Full);
        }
        self.0.push(key);
        Ok(())
    }

    /// Seals with a key from now on.
    ///
    /// # Errors
    /// [`KeyError::Unknown`].
    pub fn use_key(&mut self, text: &str) -> Result<(), KeyError> {
        let at = self.position(text).ok_or(KeyError::Unknown)?;
        let key = self.0.remove(at);
        self.0.insert(0, key);
        Ok(())
    }

    /// Does not understand a key any more. One that is not there is none already.
    ///
    /// # Errors
    /// [`KeyError::InUse`].
    pub fn remove(&mut self, text: &str) -> Result<(), KeyError> {
        match self.position(text) {
            Some(0) => Err(KeyError::InUse),
            Some(at) => {
                self.0.remove(at);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// `plain` sealed with the key in use; none when there is too much of it. No two calls may have
    /// the same `nonce`.
    pub(super) fn seal(&self, nonce: [u8; NONCE_LEN], plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.0.first()?;
        let mut sealed = plain.to_vec();
        let with = Nonce::assume_unique_for_key(nonce);
        let done = key
            .sealing
            .seal_in_place_append_tag(with, Aad::empty(), &mut sealed);
        done.ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    /// What was sealed with any of the keys.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        self.0.iter().find_map(|key| {
            let mut plain = sealed.to_vec();
            let with = Nonce::assume_unique_for_key(*nonce);
            let opened = key.sealing.open_in_place(with, Aad::empty(), &mut plain);
            let length = opened.ok()?.len();
            plain.truncate(length);
            Some(plain)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8, length: usize) -> String {
        STANDARD.encode(vec![byte; length])
    }

    #[test]
    fn what_is_sealed_is_opened_by_whoever_has_the_key() {
        for length in LENGTHS {
            let keyring = Keyring::new([key(1, length).as_str()]).unwrap();
            let sealed = keyring.seal([7; 12], b"hello").unwrap();
            assert_eq!(keyring.open(&sealed).unwrap(), b"hello");
            let other = Keyring::new([key(2, length).as_str()]).unwrap();
            assert_eq!(other.open(&sealed), None);
            let mut changed = sealed.clone();
            *changed.last_mut().unwrap() ^= 1;
            assert_eq!(keyring.open(&changed), None);
            assert_eq!(keyring.open(&sealed[..20]), None);
            assert_eq!(keyring.open(&[]), None);
        }
    }

    #[test]
    fn keys_are_changed_one_after_the_other() {
        let (old, new) = (key(1, 32), key(2, 16));
        let mut early = Keyring::new([old.as_str()]).unwrap();
        let mut late = early.clone();
        assert_eq!(early.use_key(&new), Err(KeyError::Unknown));
        early.install(&new).unwrap();
        late.install(&new).unwrap();
        early.use_key(&new).unwrap();
        let sealed = early.seal([0; 12], b"new").unwrap();
        assert_eq!(late.open(&sealed).unwrap(), b"new");
        let sealed = late.seal([0; 12], b"old").unwrap();
        assert_eq!(early.open(&sealed).unwrap(), b"old");
        assert_eq!(early.remove(&new), Err(KeyError::InUse));
        early.remove(&old).unwrap();
        assert_eq!(early.keys().collect::<Vec<_>>(), [new.as_str()]);
        assert_eq!(early.open(&sealed), None);
        // What was done is no error.
        early.remove(&old).unwrap();
        early.install(&new).unwrap();
        assert_eq!(early.keys().count(), 1);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "k", "not base64!", &key(1, 15), &key(1, 33)] {
            assert_eq!(
                Keyring::new([text]).unwrap_err(),
                KeyError::Malformed,
                "{text}"
            );
        }
        let many: Vec<String> = (0..17).map(|byte| key(byte, 32)).collect();
        let many = many.iter().map(String::as_str);
        assert_eq!(Keyring::new(many).unwrap_err(), KeyError::Full);
        assert!(Keyring::new([]).is_err());
        let shown = format!("{:?}", Keyring::new([key(1, 32).as_str()]).unwrap());
        assert_eq!(shown, "Keyring(1 keys)");
    }
}
