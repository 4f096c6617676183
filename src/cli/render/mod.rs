//! What several commands print: values, tables, and progress that is followed.

pub(super) mod allocations;
pub(super) mod columns;
pub(super) mod deployments;
pub(super) mod evaluations;
pub(super) mod jobs;
pub(super) mod monitor;
pub(super) mod nodes;
pub(super) mod placement;
pub(super) mod rollouts;
