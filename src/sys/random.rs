//! Ids and seeds from the operating system's randomness.

use jobs::model::{Id, Kind};
use uuid::Uuid;

/// A new random UUID in its usual text form.
pub fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// A new random id of a row.
///
/// # Panics
/// Never: a version 4 UUID has zeros among its first bytes.
pub fn id<K: Kind>() -> Id<K> {
    let bytes = Uuid::new_v4().into_bytes();
    Id::from_bytes(bytes).expect("a version 4 UUID has zeros among its first bytes")
}

/// Bytes that nobody can guess, for a generator of ids and salts.
pub fn seed_bytes() -> [u8; 32] {
    let mut seed = [0; 32];
    let (first, second) = seed.split_at_mut(16);
    first.copy_from_slice(Uuid::new_v4().as_bytes());
    second.copy_from_slice(Uuid::new_v4().as_bytes());
    seed
}

/// A number that nobody can guess, for seeds and jitter.
pub fn seed() -> u64 {
    // The low half holds 62 random bits and the two fixed bits of the variant; mixing spreads them.
    let (high, low) = Uuid::new_v4().as_u64_pair();
    high.rotate_left(17) ^ low
}
