//! Ids drawn from a seed, so that the same input always yields the same ids.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What an id is for. Each kind draws from its own stream, so that one more allocation does not rename
/// the deployments that come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// Evaluations.
    Evaluation,
    /// Allocations.
    Allocation,
    /// Deployments.
    Deployment,
}

/// A source of ids (UUIDs, version 4 layout) and of the numbers that break ties.
#[derive(Clone, Debug)]
pub struct Ids {
    evaluations: ChaCha8Rng,
    allocations: ChaCha8Rng,
    deployments: ChaCha8Rng,
    choices: ChaCha8Rng,
}

impl Ids {
    /// A source that is fully determined by `seed`.
    pub fn from_seed(seed: u64) -> Self {
        let stream = |number: u64| {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            generator.set_stream(number);
            generator
        };
        Self {
            evaluations: stream(1),
            allocations: stream(2),
            deployments: stream(3),
            choices: stream(4),
        }
    }

    /// The next id of that kind.
    pub fn next_id(&mut self, kind: IdKind) -> String {
        let generator = match kind {
            IdKind::Evaluation => &mut self.evaluations,
            IdKind::Allocation => &mut self.allocations,
            IdKind::Deployment => &mut self.deployments,
        };
        let mut bytes = [0; 16];
        generator.fill_bytes(&mut bytes);
        uuid_text(bytes)
    }

    /// The next number for a choice among equals.
    pub fn next_choice(&mut self) -> u64 {
        self.choices.next_u64()
    }
}

fn uuid_text(mut bytes: [u8; 16]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 0x0f)]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{IdKind, Ids};

    #[test]
    fn ids_are_version_4_uuids_and_streams_are_independent() {
        let (mut one, mut two) = (Ids::from_seed(7), Ids::from_seed(7));
        one.next_id(IdKind::Allocation);
        let id = one.next_id(IdKind::Deployment);
        assert_eq!(id, two.next_id(IdKind::Deployment));
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert_ne!(id, Ids::from_seed(8).next_id(IdKind::Deployment));
    }
}
