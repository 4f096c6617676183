//! The machine below: clock, randomness, files and processes. Uses no other part of the program.

pub mod clock;
pub mod descriptors;
pub mod disk;
pub mod files;
pub mod priority;
pub mod processes;
pub mod random;
pub mod seldom;
