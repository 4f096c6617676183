//! Messages between machines and how they travel: the only place where server and client meet, also
//! inside one process.
//!
//! [`message`] says what is said, [`transport`] carries it over HTTP/2, [`session`] is an agent's end
//! of its one long-lived stream, and [`instances`] is the one derivation of catalog instances from an
//! allocation that both ends use.

pub mod instances;
pub mod frame;
pub mod message;
pub mod session;
pub mod transport;
