//! Everything that is spoken over HTTP, one folder per dialect.

pub mod consul;
