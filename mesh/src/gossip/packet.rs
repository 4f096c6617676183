//! What is in a datagram.
//!
//! MessagePack with field names, as everywhere between servers: unknown fields are ignored, so that
//! versions can be mixed.

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::{keyring::Keyring, peer::Peer};

/// Largest datagram, bytes: it is not cut on its way.
pub(super) const DATAGRAM_BYTES_MAX: usize = 1400;
/// What stands around the words of the membership protocol: sealing, and the packet.
pub(super) const AROUND_BYTES: usize = 64;
/// Servers that are ever heard of.
pub(super) const PEERS_MAX: usize = 1024;
/// First byte of a datagram that is not sealed.
const PLAIN: u8 = 0;
/// First byte of one that is.
const SEALED: u8 = 1;

/// What is done with keys everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyChange {
    /// Says which there are.
    List,
    /// Understands this one too.
    Install(String),
    /// Seals with this one.
    Use(String),
    /// Does not understand this one any more.
    Remove(String),
}

/// What became of it at one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyAnswer {
    /// Name of the server, with its region.
    pub by: String,
    /// Why not.
    pub error: Option<String>,
    /// The keys that it has now, the one in use first.
    pub keys: Vec<String>,
}

impl KeyAnswer {
    /// That of a server that has no keys.
    pub fn without_keys(by: String) -> Self {
        Self {
            by,
            error: Some("the keyring is empty: gossip is not encrypted here".to_owned()),
            keys: Vec::new(),
        }
    }
}

/// What one server says to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Packet {
    /// Words of the membership protocol.
    Swim(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Who is at your address?
    Hello {
        /// The answer has it too.
        number: u64,
    },
    /// I am.
    Welcome {
        /// Of the question.
        number: u64,
        /// Who.
        peer: Peer,
    },
    /// Change your keys.
    Change {
        /// Who asks.
        by: u64,
        /// Of one server each is higher than those before.
        number: u64,
        /// How.
        change: KeyChange,
    },
    /// Done, or not.
    Changed {
        /// Of the question.
        number: u64,
        /// Who speaks.
        by: u64,
        /// What became of it.
        answer: KeyAnswer,
    },
}

impl Packet {
    /// The datagram; none when it is too long.
    pub(super) fn write(&self, keyring: Option<&Keyring>, nonce: [u8; 12]) -> Option<Vec<u8>> {
        let words = rmp_serde::to_vec_named(self).ok()?;
        let (mark, words) = match keyring {
            Some(keyring) => (SEALED, keyring.seal(nonce, &words)?),
            None => (PLAIN, words),
        };
        let mut datagram = vec![mark];
        datagram.extend(words);
        Some(datagram)
    }

    /// Reads a datagram. Whoever has keys hears only what is sealed, and nobody else does.
    pub(super) fn read(keyring: Option<&Keyring>, datagram: &[u8]) -> Option<Self> {
        let words = match (datagram.split_first()?, keyring) {
            ((&SEALED, sealed), Some(keyring)) => keyring.open(sealed)?,
            ((&PLAIN, words), None) => words.to_vec(),
            _ => return None,
        };
        rmp_serde::from_slice(&words).ok()
    }
}

/// How the membership protocol is written.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Servers that were heard of.
    ids: BTreeSet<u64>,
}

/// Why words cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WordsError {
    #[error("there is no more room in the datagram")]
    Full,
    #[error("more than {PEERS_MAX} servers")]
    Crowd,
    #[error(transparent)]
    Read(#[from] rmp_serde::decode::Error),
    #[error(transparent)]
    Write(#[from] rmp_serde::encode::Error),
}

impl Words {
    fn write(value: &impl Serialize, mut buf: impl BufMut) -> Result<(), WordsError> {
        let words = rmp_serde::to_vec_named(value)?;
        if words.len() > buf.remaining_mut() {
            return Err(WordsError::Full);
        }
        buf.put_slice(&words);
        Ok(())
    }

    fn meet(&mut self, peer: &Peer) -> Result<(), WordsError> {
        if self.ids.len() >= PEERS_MAX && !self.ids.contains(&peer.id) {
            return Err(WordsError::Crowd);
        }
        self.ids.insert(peer.id);
        Ok(())
    }
}

impl Codec<Peer> for Words {
    type Error = WordsError;

    fn encode_header(&mut self, header: &Header<Peer>, buf: impl BufMut) -> Result<(), WordsError> {
        Self::write(header, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Peer>, WordsError> {
        let header: Header<Peer> = rmp_serde::from_read(buf.reader())?;
        self.meet(&header.src)?;
        Ok(header)
    }

    fn encode_member(&mut self, member: &Member<Peer>, buf: impl BufMut) -> Result<(), WordsError> {
        Self::write(member, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Peer>, WordsError> {
        let member: Member<Peer> = rmp_serde::from_read(buf.reader())?;
        self.meet(member.id())?;
        Ok(member)
    }
}
