//! Bodies of answers: where they end, and how they go on.

/// The longest line of a chunk's size with its extensions, in bytes.
const SIZE_LINE_BYTES_MAX: usize = 4 << 10;

/// The most bytes of trailers; they are read and dropped.
const TRAILER_BYTES_MAX: usize = 64 << 10;

/// How the end of a body is known.
#[derive(Debug, PartialEq)]
pub(super) enum Body {
    /// So many bytes are still to come.
    Length(u64),
    /// By its chunks.
    Chunked(Chunks),
    /// By the end of the connection.
    UntilClose,
}

/// How a body goes on to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Plain,
    /// In chunks.
    Chunked,
}

/// How far some bytes went into a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// So many of the bytes belong to it.
    pub(super) bytes: usize,
    /// It is whole.
    pub(super) is_whole: bool,
}

/// The bytes are no chunks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Body {
    /// Takes what belongs to the body from the start of `bytes`, and hands the content on, in
    /// pieces.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<Taken, Malformed> {
        match self {
            Body::Length(left) => {
                let own = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= own as u64;
                if own > 0 {
                    content(&bytes[..own]);
                }
                Ok(Taken {
                    bytes: own,
                    is_whole: *left == 0,
                })
            }
            Body::Chunked(chunks) => chunks.take(bytes, content),
            Body::UntilClose => {
                content(bytes);
                Ok(Taken {
                    bytes: bytes.len(),
                    is_whole: false,
                })
            }
        }
    }
}

impl Coding {
    /// Writes a piece of content.
    pub(super) fn write(self, content: &[u8], out: &mut Vec<u8>) {
        match self {
            Coding::Plain => out.extend_from_slice(content),
            Coding::Chunked => {
                write_size(content.len(), out);
                out.extend_from_slice(content);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Writes what tells that the body is whole.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        if self == Coding::Chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

fn write_size(size: usize, out: &mut Vec<u8>) {
    use std::io::Write;

    write!(out, "{size:x}\r\n").expect("writing to a buffer does not fail");
}

/// A body in chunks, and where in it we are.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chunks {
    at: At,
}

#[derive(Debug, PartialEq)]
enum At {
    /// In the digits of a size: the value so far, and how many there were.
    Size(u64, u8),
    /// In what stands between a size and the end of its line: the size, and bytes so far.
    Extension(u64, usize),
    /// Behind the carriage return of that line.
    SizeEnd(u64),
    /// In content of which so much is left.
    Content(u64),
    /// Behind content.
    ContentEnd,
    /// Behind content and a carriage return.
    ContentLineFeed,
    /// At the start of a line of trailers: bytes of trailers so far.
    TrailerStart(usize),
    /// In such a line.
    Trailer(usize),
    /// Behind the carriage return of such a line.
    TrailerLineFeed(usize),
    /// Behind the carriage return of the empty line at the end.
    LastLineFeed,
}

impl Default for At {
    fn default() -> At {
        At::Size(0, 0)
    }
}

/// More digits do not fit the number.
const SIZE_DIGITS_MAX: u8 = 16;

impl Chunks {
    fn take(&mut self, bytes: &[u8], mut content: impl FnMut(&[u8])) -> Result<Taken, Malformed> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if let At::Content(left) = self.at {
                let rest = &bytes[at..];
                let own = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                content(&rest[..own]);
                at += own;
                let left = left - own as u64;
                self.at = if left == 0 {
                    At::ContentEnd
                } else {
                    At::Content(left)
                };
                continue;
            }
            at += 1;
            if self.step(*byte)? {
                return Ok(Taken {
                    bytes: at,
                    is_whole: true,
                });
            }
        }
        Ok(Taken {
            bytes: at,
            is_whole: false,
        })
    }

    /// Takes a byte that is no content; `true` if the body is whole with it.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        self.at = match (&self.at, byte) {
            (At::LastLineFeed, b'\n') => return Ok(true),
            (At::Size(size, digits), _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                if *digits == SIZE_DIGITS_MAX {
                    return Err(Malformed);
                }
                At::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (At::Size(_, 0), _) => return Err(Malformed),
            (At::Size(size, _), b'\r') | (At::Extension(size, _), b'\r') => At::SizeEnd(*size),
            (At::Size(size, _), b';' | b' ' | b'\t') => At::Extension(*size, 1),
            (At::Extension(size, bytes), _) if byte != b'\n' && *bytes < SIZE_LINE_BYTES_MAX => {
                At::Extension(*size, bytes + 1)
            }
            (At::SizeEnd(0), b'\n') => At::TrailerStart(0),
            (At::SizeEnd(size), b'\n') => At::Content(*size),
            (At::ContentEnd, b'\r') => At::ContentLineFeed,
            (At::ContentLineFeed, b'\n') => At::default(),
            (At::TrailerStart(_), b'\r') => At::LastLineFeed,
            (At::Trailer(bytes), b'\r') => At::TrailerLineFeed(*bytes),
            (At::TrailerLineFeed(bytes), b'\n') => At::TrailerStart(*bytes),
            (At::TrailerStart(bytes) | At::Trailer(bytes), _)
                if byte != b'\n' && *bytes < TRAILER_BYTES_MAX =>
            {
                At::Trailer(bytes + 1)
            }
            _ => return Err(Malformed),
        };
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Body, Chunks, Coding, Malformed, Taken};

    /// The content of chunks that come in pieces of a size, and how many bytes belong to them; none
    /// if they go on.
    fn content(raw: &[u8], piece: usize) -> Result<(Vec<u8>, Option<usize>), Malformed> {
        let mut body = Body::Chunked(Chunks::default());
        let mut content = Vec::new();
        let mut bytes = 0;
        for part in raw.chunks(piece) {
            let taken = body.take(part, |piece| content.extend_from_slice(piece))?;
            bytes += taken.bytes;
            if taken.is_whole {
                return Ok((content, Some(bytes)));
            }
        }
        Ok((content, None))
    }

    #[test]
    fn chunks_end_where_they_say() {
        for (raw, expected, surplus) in [
            ("0\r\n\r\n", "", 0),
            ("3\r\nabc\r\n0\r\n\r\n", "abc", 0),
            ("3\r\nabc\r\n0\r\n\r\nrest", "abc", 4),
            (
                "3;a=b;c=\"d\"\r\nabc\r\n2 \r\nde\r\n0;x\r\n\r\n",
                "abcde",
                0,
            ),
            (
                "A\r\n0123456789\r\n000\r\nTrailer: x\r\nY: z\r\n\r\n",
                "0123456789",
                0,
            ),
        ] {
            for piece in 1..=raw.len() {
                let whole = content(raw.as_bytes(), piece).unwrap();
                let end = raw.len() - surplus;
                assert_eq!(whole, (expected.into(), Some(end)), "{raw:?} by {piece}");
            }
            for end in 0..raw.len() - surplus {
                let part = content(&raw.as_bytes()[..end], 7).unwrap();
                assert_eq!(part.1, None, "{raw:?} to {end}");
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let long = format!("3;{}", "x".repeat(5000));
        for raw in [
            "\r\n",
            "x\r\n",
            "-3\r\n",
            "0x3\r\n",
            " 3\r\n",
            "3\nabc",
            "3\r\r\n",
            "3;a\n",
            "3\r\nabcd",
            "3\r\nabc\n",
            "3\r\nabc\r\r",
            "11111111111111111\r\n",
            "0\r\n\n",
            "0\r\nX: 1\n\r\n",
            "0\r\nX: 1\r\n\n",
            &long,
        ] {
            assert_eq!(content(raw.as_bytes(), 1), Err(Malformed), "{raw:?}");
            assert_eq!(content(raw.as_bytes(), 9000), Err(Malformed), "{raw:?}");
        }
    }

    #[test]
    fn a_length_is_counted_down() {
        let mut body = Body::Length(5);
        let mut seen = Vec::new();
        let mut take = |bytes: &[u8]| body.take(bytes, |piece| seen.extend_from_slice(piece));
        let taken = |bytes, is_whole| Ok(Taken { bytes, is_whole });
        assert_eq!(take(b"abc"), taken(3, false));
        assert_eq!(take(b""), taken(0, false));
        assert_eq!(take(b"defg"), taken(2, true));
        assert_eq!(seen, b"abcde");
    }

    proptest! {
        /// What is written in chunks is read back, however it is cut.
        #[test]
        fn chunks_come_back(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
                            cut in 1usize..50, rest in prop::collection::vec(any::<u8>(), 0..9)) {
            let mut raw = Vec::new();
            for piece in &pieces {
                Coding::Chunked.write(piece, &mut raw);
            }
            Coding::Chunked.finish(&mut raw);
            let end = raw.len();
            raw.extend_from_slice(&rest);
            prop_assert_eq!(content(&raw, cut).unwrap(), (pieces.concat(), Some(end)));
        }

        /// No bytes make it panic or take more than there are.
        #[test]
        fn anything_may_come(raw in prop::collection::vec(prop::sample::select(b"0123af;\r\n :x".to_vec()), 0..60)) {
            let mut body = Body::Chunked(Chunks::default());
            if let Ok(taken) = body.take(&raw, |_| {}) {
                prop_assert!(taken.bytes <= raw.len());
            }
        }
    }
}
