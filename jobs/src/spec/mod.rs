//! Job files to jobs: HCL text to [`wire::Job`](crate::wire::Job), that to the canonical
//! [`model::Job`](crate::model::Job), and the difference of two of them; beside that the files that
//! describe variables to be stored.

mod asked;
mod canonical;
mod declare;
mod decode;
mod diff;
mod evaluate;
mod functions;
mod input;
mod json_form;
mod layout;
pub mod limits;
mod parse;
mod problem;
mod resolve;
mod schema;
mod scope;
mod stored_variable;
mod syntax;
mod types;
mod value;

pub use canonical::{Validation, canonicalize_and_validate, list_errors, list_warnings};
pub use diff::{annotate, diff};
pub use input::{Defaults, ReadFile, Surroundings, VariableFile, Variables};
pub use layout::format;
pub use parse::{parse, parse_api};
pub use problem::Problem;
pub use resolve::{Unresolved, resolve};
pub use stored_variable::{StoredVariableError, parse_stored_variable};
