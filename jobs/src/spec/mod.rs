//! Job files to jobs: HCL text to [`wire::Job`](crate::wire::Job), that to the canonical
//! [`model::Job`](crate::model::Job), and the difference of two of them.

mod canonical;
mod declare;
mod decode;
mod evaluate;
mod functions;
mod input;
mod parse;
mod problem;
mod schema;
mod scope;
mod types;
mod value;

pub use canonical::{Validation, canonicalize_and_validate, list_errors, list_warnings};
pub use input::{Defaults, ReadFile, VariableFile, Variables};
pub use parse::parse;
pub use problem::Problem;

use crate::{model, wire};

/// The difference of two versions of a job; `contextual` adds unchanged fields to edited blocks.
pub fn diff(old: Option<&model::Job>, new: Option<&model::Job>, contextual: bool) -> wire::JobDiff {
    let _ = (old, new, contextual);
    wire::JobDiff::default()
}

/// Adds what the scheduler would do to a difference.
pub fn annotate(diff: &mut wire::JobDiff, annotations: &model::PlanAnnotations) {
    let _ = (diff, annotations);
}
