//! Rows with their secondary indexes, counts and reports: a file per table, its reads and its writes.

mod allocs;
mod deployments;
mod evals;
mod jobs;
mod nodes;
mod projection;

pub(super) use nodes::push_event;

use crate::model::JobKey;
use imbl::{OrdMap, OrdSet};
use std::{ops::Bound, sync::Arc};

fn by_prefix<'a, V>(
    table: &'a OrdMap<Arc<str>, V>,
    prefix: &'a str,
) -> impl Iterator<Item = &'a V> {
    table
        .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(id, _)| id.starts_with(prefix))
        .map(|(_, row)| row)
}

fn of_job<'a, V>(
    index: &'a OrdSet<(Arc<JobKey>, Arc<str>)>,
    table: &'a OrdMap<Arc<str>, V>,
    key: &JobKey,
) -> impl Iterator<Item = &'a V> + use<'a, V> {
    let wanted = Arc::new(key.clone());
    let start: (Arc<JobKey>, Arc<str>) = (Arc::clone(&wanted), "".into());
    index
        .range((Bound::Included(start), Bound::Unbounded))
        .take_while(move |(of, _)| *of == wanted)
        .filter_map(move |(_, id)| table.get(&**id))
}

/// The rows from that id on.
fn from<'a, V>(
    table: &'a OrdMap<Arc<str>, V>,
    id: &str,
) -> impl Iterator<Item = &'a V> + use<'a, V> {
    table
        .range::<_, str>((Bound::Included(id), Bound::Unbounded))
        .map(|(_, row)| row)
}
