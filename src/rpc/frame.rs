//! Messages as bytes: a 32-bit big-endian length, and that many bytes of MessagePack with field
//! names.

use super::message::{ToClient, ToServer};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// The largest frame in bytes that is ever made: a whole catalog of a large cluster.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// How many bytes a frame may announce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The first one, before anybody knows who speaks.
    pub(super) first: usize,
    /// All others.
    pub(super) later: usize,
}

/// What a server reads: a registration first, then reports.
pub(super) const FROM_AGENT: Limits = Limits {
    first: 1 << 20,
    later: 32 << 20,
};
/// What an agent reads: an answer to its registration first, then catalogs.
pub(super) const FROM_SERVER: Limits = Limits {
    first: 64 << 10,
    later: FRAME_BYTES_MAX,
};

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A message without an encoded form.
    #[error("cannot encode a message")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Bytes of another kind.
    #[error("cannot decode a message")]
    Decode(#[from] rmp_serde::decode::Error),
    /// The frame announces more than may be said now.
    #[error("a frame of {bytes} bytes is over the limit of {bytes_max}")]
    TooLong {
        /// What it announces.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

/// An encoded message; cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Frame(Option<Bytes>);

impl Frame {
    fn of<T: Serialize>(message: &T) -> Self {
        match encode(message) {
            Ok(bytes) => Self(Some(bytes)),
            Err(error) => {
                tracing::error!(%error, "cannot encode an RPC message; its stream ends");
                Self(None)
            }
        }
    }

    /// Bytes on the wire; 0 for a message that could not be encoded, which ends a stream.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, Bytes::len)
    }

    /// Whether the message could not be encoded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn into_bytes(self) -> Option<Bytes> {
        self.0
    }
}

impl From<&ToClient> for Frame {
    fn from(message: &ToClient) -> Self {
        Self::of(message)
    }
}

impl From<ToClient> for Frame {
    fn from(message: ToClient) -> Self {
        Self::of(&message)
    }
}

impl From<ToServer> for Frame {
    fn from(message: ToServer) -> Self {
        Self::of(&message)
    }
}

fn encode<T: Serialize>(message: &T) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    bytes.put_u32(0);
    let mut writer = bytes.writer();
    rmp_serde::encode::write_named(&mut writer, message)?;
    let mut bytes = writer.into_inner();
    let length = bytes.len() - 4;
    let too_long = Error::TooLong {
        bytes: length,
        bytes_max: FRAME_BYTES_MAX,
    };
    let prefix = u32::try_from(length)
        .ok()
        .filter(|_| length <= FRAME_BYTES_MAX)
        .ok_or(too_long)?;
    bytes[..4].copy_from_slice(&prefix.to_be_bytes());
    Ok(bytes.freeze())
}

/// Takes one whole frame off the front of `buffer`; none when more bytes are needed.
pub(super) fn decode<T: DeserializeOwned>(
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Result<Option<T>, Error> {
    let Some(prefix) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let bytes = u32::from_be_bytes(*prefix) as usize;
    if bytes > bytes_max {
        return Err(Error::TooLong { bytes, bytes_max });
    }
    if buffer.len() < 4 + bytes {
        return Ok(None);
    }
    buffer.advance(4);
    let frame = buffer.split_to(bytes);
    Ok(Some(rmp_serde::from_slice(&frame)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let message = ToServer::Await {
            number: 1,
            index: 42,
            instances: Vec::new(),
        };
        let bytes = encode(&message).unwrap();
        for cut in 0..bytes.len() {
            let mut buffer = BytesMut::from(&bytes[..cut]);
            assert!(decode::<ToServer>(&mut buffer, 1 << 20).unwrap().is_none());
        }
        let mut buffer = BytesMut::from(&bytes[..]);
        let message = decode::<ToServer>(&mut buffer, 1 << 20).unwrap();
        assert!(matches!(message, Some(ToServer::Await { index: 42, .. })));
        assert!(buffer.is_empty());
    }

    #[test]
    fn an_oversized_frame_is_refused_before_it_is_read() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0][..]);
        assert!(matches!(
            decode::<ToServer>(&mut buffer, 1 << 20),
            Err(Error::TooLong { .. })
        ));
    }
}
