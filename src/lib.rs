//! warm

pub mod api;
