//! Routes and traffic.
//!
//! [`route`] turns definitions into a table and requests into targets, and does nothing else.
//! [`Proxy`] carries the requests: it listens, looks the target up in the table that is in force,
//! and forwards. The table is replaced as a whole through a [`Handle`], which also tells when no
//! request is left on a target that is gone.

pub mod auth;
pub mod certs;
mod config;
mod headers;
mod http;
mod listen;
mod log;
pub mod route;
mod tcp;

pub use config::{Announced, Config, Library, Listener, OwnHeaders, Protocol, Strategy};
pub use http::{Drained, Error, ErrorPages, Handle, Listening, Pending, Proxy, PublishedFigure};
pub use log::AccessLog;
