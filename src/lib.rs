//! warm

pub mod cli;
