//! The machine below: clock, randomness, files and processes. Uses no other part of the program.

pub mod cgroups;
pub mod clock;
pub mod faults;
pub mod files;
pub mod handover;
pub mod locks;
pub mod processes;
pub mod random;
