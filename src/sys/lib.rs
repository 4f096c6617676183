//! The machine below: clock, randomness, files and processes. Uses no other part of the program.

pub mod archive;
pub mod callers;
pub mod cgroups;
pub mod clock;
pub mod credentials;
pub mod descriptors;
pub mod directory;
pub mod disk;
pub mod faults;
pub mod files;
pub mod handover;
pub mod isolation;
pub mod landlock;
pub mod limits;
pub mod locks;
pub mod network;
pub mod priority;
pub mod processes;
pub mod random;
pub mod removal;
mod seccomp;
pub mod seldom;
pub mod simulation;
mod spawn;
pub mod terminal;
pub mod threads;
pub mod watch;
