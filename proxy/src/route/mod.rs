//! Definitions to a [`Table`], and requests to a [`Target`].
//!
//! Everything here is pure: no clock, no socket, no randomness (the random strategy takes its
//! number as an argument). The only shared state is counters: whose turn it is on a route, how many
//! requests are in flight to an upstream, and how it has answered. They survive when a table is
//! rebuilt from the one before it.

mod access;
mod definition;
mod glob;
mod health;
mod histogram;
mod matcher;
pub mod parse;
mod path;
mod paths;
mod picker;
mod problem;
mod redirect;
mod request;
mod scheme;
mod table;
pub mod tags;
mod upstream;
mod view;
mod weight;

pub use access::{Access, Block};
pub use definition::{
    Add, Command, Definition, Delete, Destination, Options, ProxyHeader, Source, Weigh, Weight,
};
pub use health::Health;
pub(crate) use health::PATIENCE_MIN;
pub use histogram::Histogram;
pub use path::RequestPath;
pub use paths::PathMatcher;
pub use picker::Choice;
pub use problem::{Fault, Origin, Problem};
pub use redirect::Redirect;
pub use request::Request;
pub use scheme::Scheme;
pub use table::{Matching, Route, Table, Target};
pub use tags::Instance;
pub use upstream::{Entered, Upstream};
pub use view::RouteRow;
