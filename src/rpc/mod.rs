//! Messages between machines and how they travel: the only place where server and client meet.

pub mod message;
