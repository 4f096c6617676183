use super::Reason;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// A checksum that a file must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checksum {
    algorithm: Algorithm,
    /// Lower case.
    hex: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

/// Reads `algorithm:hex`.
pub(super) fn parse(text: &str) -> Result<Checksum, Reason> {
    let wrong = || Reason::NoChecksum {
        text: text.to_owned(),
    };
    let (name, hex) = text.split_once(':').ok_or_else(wrong)?;
    let (algorithm, digits) = match name {
        "md5" => (Algorithm::Md5, 32),
        "sha1" => (Algorithm::Sha1, 40),
        "sha256" => (Algorithm::Sha256, 64),
        "sha512" => (Algorithm::Sha512, 128),
        _ => return Err(wrong()),
    };
    if hex.len() != digits || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    Ok(Checksum {
        algorithm,
        hex: hex.to_ascii_lowercase(),
    })
}

/// Computes a checksum while a file arrives.
pub(super) struct Digester {
    expected: Option<Checksum>,
    state: State,
}

enum State {
    None,
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Digester {
    pub(super) fn new(expected: Option<&Checksum>) -> Self {
        let state = match expected.map(|checksum| checksum.algorithm) {
            None => State::None,
            Some(Algorithm::Md5) => State::Md5(Md5::new()),
            Some(Algorithm::Sha1) => State::Sha1(Sha1::new()),
            Some(Algorithm::Sha256) => State::Sha256(Sha256::new()),
            Some(Algorithm::Sha512) => State::Sha512(Box::new(Sha512::new())),
        };
        Self {
            expected: expected.cloned(),
            state,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::None => {}
            State::Md5(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Compares with what was expected.
    pub(super) fn check(self) -> Result<(), Reason> {
        let Some(expected) = self.expected else {
            return Ok(());
        };
        let found = match self.state {
            State::None => return Ok(()),
            State::Md5(state) => hex(&state.finalize()),
            State::Sha1(state) => hex(&state.finalize()),
            State::Sha256(state) => hex(&state.finalize()),
            State::Sha512(state) => hex(&state.finalize()),
        };
        if found == expected.hex {
            Ok(())
        } else {
            Err(Reason::Mismatch {
                expected: expected.hex,
                found,
            })
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
