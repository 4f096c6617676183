//! The short way of plain HTTP/1.1 requests, before the proxy library.
//!
//! [`serve`] carries a connection: it reads a small request whole, decides with what both ways
//! share ([`super::routing`], [`crate::headers`]) where it goes and what it looks like there, and
//! passes the answer on as it comes. What is not plain ([`request`]) is handed over to the library
//! before a byte of it was sent anywhere, with the bytes that were read.
//!
//! A kept connection costs no allocation and two reads and two writes for each request: buffers
//! belong to the thread ([`local`]) and are lent for the time of a request, connections to targets
//! wait on a stack of the thread ([`pool`]), and a connection has one timer ([`timer`]). A
//! connection that rests holds no buffer.

mod answer;
mod connection;
mod exchange;
mod http2;
mod local;
mod noted;
mod own;
mod pool;
mod request;
mod timer;

pub(super) use self::connection::{Accepted, serve};
pub(super) use self::http2::{Ends, options as http2_options, serve as serve_http2};
pub(super) use self::local::{Local, idle_max};
