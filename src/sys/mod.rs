//! The machine below: clock, randomness, files and processes. Uses no other part of the program.

pub mod clock;
pub mod credentials;
pub mod directory;
pub mod files;
pub mod processes;
pub mod random;
pub mod removal;
pub mod threads;
pub mod watch;
