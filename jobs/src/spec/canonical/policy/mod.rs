//! How allocations are restarted, replaced, updated and moved: defaults by job type, and rules.

mod disconnect;
mod migrate;
mod reschedule;
mod restart;
mod update;

pub(super) use disconnect::disconnect;
pub(super) use migrate::migrate;
pub(super) use reschedule::reschedule;
pub(super) use restart::restart;
pub(super) use update::{update, update_of_job};
