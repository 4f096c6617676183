//! Rows with their secondary indexes, counts and reports: a file per table, its reads and its
//! writes.

mod allocs;
mod deployments;
mod evals;
mod jobs;
mod launches;
mod nodes;
mod projection;
mod variables;

pub(super) use nodes::{push_event, push_event_of};

use crate::model::{Id, JobKey, Kind};
use imbl::{OrdMap, OrdSet};
use std::sync::Arc;

/// Rows whose id begins with the text; none when no id can begin so.
fn by_prefix<'a, K: Kind, V>(
    table: &'a OrdMap<Id<K>, V>,
    prefix: &str,
) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
    let range = Id::with_prefix(prefix);
    range
        .into_iter()
        .flat_map(|range| table.range(range))
        .map(|(_, row)| row)
}

fn of_job<'a, K: Kind, V>(
    index: &'a OrdSet<(Arc<JobKey>, Id<K>)>,
    table: &'a OrdMap<Id<K>, V>,
    key: &JobKey,
) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
    let wanted = Arc::new(key.clone());
    index
        .range((Arc::clone(&wanted), Id::default())..)
        .take_while(move |(of, _)| *of == wanted)
        .filter_map(move |(_, id)| table.get(id))
}

/// The rows from that id on.
fn from<'a, K: Kind, V>(
    table: &'a OrdMap<Id<K>, V>,
    id: Id<K>,
) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
    table.range(id..).map(|(_, row)| row)
}
