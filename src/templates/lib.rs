//! The text templates of job files: Go's template language with the functions that read keys,
//! services, variables and the environment, and those that work with texts, numbers and lists.
//!
//! Nothing here reads a file, a clock or the network: what a template asks for comes from a
//! [`World`]. The language itself is a library's; `methods` adds what it leaves out, `functions`
//! has a file for each kind of function.
//!
//! Source: template block of the job specification. Differs: an unknown field of an object is no
//! error but has no value, and no function starts a program or writes a file.

mod functions;
mod lines;
mod methods;
mod query;
#[cfg(test)]
mod tests;
mod values;

use functions::State;
use gotmpl::Template;
use std::{collections::BTreeSet, fmt, sync::Arc};

pub use lines::{NoVariable, variables};
pub use query::{Choice, Query};

/// Longest result of one template, bytes.
pub const RESULT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest text of one template, bytes.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Most rounds of all loops of one rendering.
const ROUNDS_MAX: u64 = 1_000_000;

/// Where templates get their values from.
pub trait World: fmt::Debug + Send + Sync {
    /// A variable of the environment of the task.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file of the task.
    ///
    /// # Errors
    /// Why it cannot be had, as a sentence.
    fn file(&self, path: &str) -> Result<String, String>;

    /// Seconds since 1970.
    fn now(&self) -> i64;

    /// What the cluster answers: none while that is not known, null when there is nothing.
    fn ask(&self, query: &Query) -> Option<serde_json::Value>;
}

/// How a template is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Names it in problems.
    pub name: String,
    /// Opens an action; empty for the usual mark.
    pub left: String,
    /// Closes an action; empty for the usual mark.
    pub right: String,
    /// A key that a map does not have is a problem.
    pub missing_key_fails: bool,
    /// Functions that it must not use, those of the language included.
    pub denied: Arc<BTreeSet<String>>,
}

/// Why a template has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is broken, or one of its functions failed.
    #[error("{0}")]
    Broken(String),
    /// The result is too long.
    #[error("the result is longer than {RESULT_BYTES_MAX} bytes")]
    TooMuch,
    /// The template is too long.
    #[error("the template is longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
}

/// What came of a rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// The whole text.
    Done(String),
    /// What has to be there before there is a text, by name, never empty.
    Waits(BTreeSet<String>),
}

/// Renders `text` with what `world` has at the moment.
///
/// # Errors
/// [`Error`]. A function that fails while something is missing is no problem yet.
pub fn render(text: &str, options: &Options, world: &Arc<dyn World>) -> Result<Rendered, Error> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::TooLong);
    }
    let or = |mark: &'static str, given: &str| {
        if given.is_empty() {
            mark.to_owned()
        } else {
            given.to_owned()
        }
    };
    let (left, right) = (or("{{", &options.left), or("}}", &options.right));
    let broken = |error: gotmpl::TemplateError| Error::Broken(error.to_string());
    let (tree, defined) = methods::parse(&options.name, text, &left, &right).map_err(broken)?;
    let state = Arc::new(State::new(Arc::clone(world), options.missing_key_fails));
    let mut template = Template::new(MAIN)
        .max_range_iters(ROUNDS_MAX)
        .funcs(functions::all(&state, &options.denied))
        .add_parse_tree(MAIN, tree);
    for (name, tree) in defined {
        template = template.add_parse_tree(&name, tree);
    }
    let mut result = Bounded::default();
    let done = template.execute_template_fmt(&mut result, MAIN, &gotmpl::Value::Nil);
    let missing = state.missing();
    if !missing.is_empty() {
        return Ok(Rendered::Waits(missing));
    }
    match done {
        Err(_) if result.is_full => Err(Error::TooMuch),
        done => done.map(|()| Rendered::Done(result.text)).map_err(broken),
    }
}

/// The name of the text itself among those that it defines; none of these can be called so.
const MAIN: &str = "\0";

/// A text that grows up to a limit.
#[derive(Debug, Default)]
struct Bounded {
    text: String,
    is_full: bool,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.text.len() + more.len() > RESULT_BYTES_MAX {
            self.is_full = true;
            return Err(fmt::Error);
        }
        self.text.push_str(more);
        Ok(())
    }
}
