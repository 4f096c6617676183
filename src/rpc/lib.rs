//! Messages between machines and how they travel: the only place where server and client meet, also
//! inside one process.
//!
//! [`message`] says what is said, [`frame`] gives it a form, [`transport`] carries it over HTTP/2,
//! and [`session`] is an agent's end of its one long-lived stream. [`watched`] is what agents
//! follow on it beside the catalog.

pub mod frame;
pub mod message;
pub mod session;
pub mod traffic;
pub mod transport;
pub mod watched;
