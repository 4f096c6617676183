//! Connections that are passed on as bytes: what they begin with, and how both ways end.

mod begin;
mod hello;
mod relay;

pub(crate) use begin::{Begin, begin, write_header};
pub(crate) use hello::{Hello, hello};
pub(crate) use relay::{Broken, Counts, Patience, relay};
