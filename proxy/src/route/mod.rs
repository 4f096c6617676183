//! Definitions to a [`Table`], and requests to a [`Target`].
//!
//! Everything here is pure: no clock, no socket, no randomness (the random strategy takes its
//! number as an argument). The only shared state is counters: whose turn it is on a route, how many
//! requests are in flight to an upstream, and how it has answered. They survive when a table is
//! rebuilt from the one before it.

mod access;
mod calls;
mod definition;
mod explain;
mod glob;
mod group;
mod health;
mod histogram;
mod limits;
mod matcher;
mod meter;
mod metrics;
pub mod parse;
mod path;
mod paths;
mod picker;
mod policy;
mod problem;
mod published;
mod redirect;
mod request;
mod rule;
mod scheme;
mod table;
pub mod tags;
mod tally;
mod upstream;
mod view;
mod weight;

pub use access::{Access, Block};
pub(crate) use calls::{CallEnd, CallStatus, Calls};
pub use calls::{PUBLISHED_STATUS, PublishedCalls};
pub use definition::{
    Add, Command, Definition, Delete, Destination, Hold, Options, Part, ProxyHeader, Rewrite, Rule,
    Source, Split, Traits, Weigh, Weight, names, place,
};
pub use explain::{Candidate, Explanation};
pub(crate) use group::hash;
pub use health::Health;
pub(crate) use health::PATIENCE_MIN;
pub use histogram::Histogram;
pub(crate) use limits::Limits;
pub use meter::{BOUNDS_MS, Meter, OUTCOME_NAMES, Outcome, Reading, Spent};
pub(crate) use metrics::counter;
pub(crate) use metrics::head;
pub use metrics::{Who, quoted, who};
pub use path::RequestPath;
pub use paths::PathMatcher;
pub use picker::Choice;
pub use policy::{Policy, Rate, Sticky};
pub use problem::{Fault, Origin, Problem};
pub use published::{PUBLISHED_BOUNDS, PublishedCount, PublishedTally};
pub use redirect::Redirect;
pub use request::Request;
pub use rule::{Condition, Facts, Pattern, Test};
pub use scheme::Scheme;
pub use table::{Matching, Route, Ruled, Table, Target};
pub use tags::Instance;
pub use tally::{Count, Tally};
pub use upstream::{Entered, Upstream};
pub use view::RouteRow;

/// The cookie of the proxy's own that keeps a client with its target.
pub(crate) const STICKY_COOKIE: &str = "trivet-sticky";
