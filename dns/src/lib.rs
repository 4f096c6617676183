//! Names to answers.
//!
//! This package answers questions about the service catalog over DNS. The catalog itself is not
//! here: its owner builds a [`View`] from [`Facts`], makes the next one from [`Changes`] of the
//! catalog, and swaps it in through a [`Handle`]. Answers are drawn from that one immutable value,
//! so a question never sees half a change.
//!
//! Reading order: [`name`] (question name → query), [`view`] (the facts, indexed), [`answer`]
//! (query and view → records, pure), then the listeners.
//!
//! Names outside the zone are asked of other servers, if there are any (`recurse`).
//!
//! Deliberately not here: datacenters beyond those of the nodes, and peers; inside the zone they do
//! not exist and are answered so.

pub mod answer;
mod config;
mod error;
pub mod name;
mod pick;
mod recurse;
mod server;
mod tcp;
pub mod view;

pub use config::{Config, Rules, Soa};
pub use error::Error;
pub use server::{Dns, Handle, Told};
pub use view::View;
pub use view::facts::{
    Changes, Facts, Instance, InstanceChange, Kind, Node, Prepared, PreparedQueries,
};
