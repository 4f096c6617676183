//! The machine below: clock, randomness, files and processes. Uses no other part of the program.

pub mod clock;
pub mod credentials;
pub mod descriptors;
pub mod directory;
pub mod disk;
pub mod files;
pub mod priority;
pub mod processes;
pub mod random;
pub mod removal;
pub mod seldom;
pub mod threads;
pub mod watch;
