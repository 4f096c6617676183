//! How allocations are restarted, replaced, updated and moved: defaults by job type, and rules.

mod migrate;
mod reschedule;
mod restart;
mod update;

pub(super) use migrate::migrate;
pub(super) use reschedule::reschedule;
pub(super) use restart::restart;
pub(super) use update::{fill_update, update};

use crate::model::Nanos;
use crate::wire::Duration;

const SECOND: Nanos = 1_000_000_000;
const MINUTE: Nanos = 60 * SECOND;
const HOUR: Nanos = 60 * MINUTE;

fn show(nanos: Nanos) -> Duration {
    Duration(nanos)
}
