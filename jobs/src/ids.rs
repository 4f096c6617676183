//! Ids drawn from a seed, so that the same input always yields the same ids.

use crate::model::{AllocId, DeploymentId, EvalId, Id, Kind};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A source of ids (UUIDs, version 4 layout) and of the numbers that break ties.
///
/// Each kind of id draws from its own stream, so that one more allocation does not rename the
/// deployments that come after it.
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

    /// The id of one more evaluation.
    pub fn next_eval(&mut self) -> EvalId {
        version_4(&mut self.evaluations)
    }

    /// The id of one more allocation.
    pub fn next_alloc(&mut self) -> AllocId {
        version_4(&mut self.allocations)
    }

    /// The id of one more deployment.
    pub fn next_deployment(&mut self) -> DeploymentId {
        version_4(&mut self.deployments)
    }

    /// The next number for a choice among equals.
    pub fn next_choice(&mut self) -> u64 {
        self.choices.next_u64()
    }
}

fn version_4<K: Kind>(generator: &mut ChaCha8Rng) -> Id<K> {
    let mut bytes = [0; 16];
    generator.fill_bytes(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Id::from_bytes(bytes).expect("the version's bits are not all ones")
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn ids_are_version_4_uuids_and_streams_are_independent() {
        let (mut one, mut two) = (Ids::from_seed(7), Ids::from_seed(7));
        one.next_alloc();
        let id = one.next_deployment();
        assert_eq!(id, two.next_deployment());
        let text = id.to_string();
        assert_eq!((text.len(), text.as_bytes()[14]), (36, b'4'));
        assert_ne!(id, Ids::from_seed(8).next_deployment());
    }
}
