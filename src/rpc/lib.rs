//! Messages between machines and how they travel: the only place where server and client meet,
//! also inside one process.
//!
//! [`enroll`] is how a machine gets its certificate. [`message`] says what is said, [`frame`]
//! gives it a form, [`transport`] carries it over HTTP/2, and [`session`] is an agent's end of
//! its one long-lived stream. [`watched`] is what agents follow on it beside the catalog.
//! [`pool`] keeps connections between servers, [`security`] says how they are made and [`wire`] of
//! what, [`members`] is what servers tell of each other, and a [`tunnel`] is the way on which the
//! leader asks an agent.

pub mod enroll;
pub mod frame;
pub mod members;
pub mod message;
pub mod pipe;
pub mod pool;
pub mod security;
pub mod servers;
pub mod session;
pub mod traffic;
pub mod transport;
pub mod tunnel;
pub mod watched;
pub mod wire;
