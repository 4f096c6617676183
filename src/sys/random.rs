//! Ids and seeds from the operating system's randomness.

use uuid::Uuid;

/// A new random UUID in its usual text form.
pub fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// A number that nobody can guess, for seeds and jitter.
pub fn seed() -> u64 {
    // The low half holds 62 random bits and the two fixed bits of the variant; mixing spreads them.
    let (high, low) = Uuid::new_v4().as_u64_pair();
    high.rotate_left(17) ^ low
}
