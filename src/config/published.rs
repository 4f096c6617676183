//! What programs that this one stands in for have published: their flags, and what becomes of their
//! keys.

use super::tree::Problem;

/// Where a problem of a flag stands.
pub(super) const COMMAND_LINE: &str = "command line";

/// What becomes of a value that is not the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is obeyed.
    Obeyed,
    /// It is told in the log that this happens instead.
    Instead(&'static str),
    /// It is refused; this says why, and what to do.
    Refused(&'static str),
}

impl Role {
    /// What the help says below a key, with the end of the line.
    pub(super) fn help(self) -> String {
        match self {
            Self::Obeyed => String::new(),
            Self::Instead(what) => format!("    not acted on: {what}\n"),
            Self::Refused(why) => format!("    refused: {why}\n"),
        }
    }
}

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Behind `=`, or as the next argument.
    Value,
    /// Behind `=`; without one it is on.
    Switch,
    /// Nobody knows: behind `=`, or as the next argument if that is no flag.
    Unknown,
}

/// Flags with their values in order: `-flag value` or `-flag=value`, with one dash or two.
/// `nothing_else` says what there is instead of other arguments.
pub(super) fn flags(
    arguments: &[String],
    takes: impl Fn(&str) -> Takes,
    nothing_else: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let mut wrong = |message: String| problems.push(Problem::new(COMMAND_LINE, message));
    let mut flags = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let bare = argument.strip_prefix('-');
        let bare = bare.map(|name| name.strip_prefix('-').unwrap_or(name));
        let Some(bare) = bare.filter(|name| !name.is_empty()) else {
            wrong(format!("`{argument}` is no flag; {nothing_else}"));
            break;
        };
        if let Some((name, value)) = bare.split_once('=') {
            flags.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let value = match (takes(bare), rest.as_slice()) {
            (Takes::Switch, _) => "true".to_owned(),
            (Takes::Unknown, rest) if !has_value(rest) => String::new(),
            (_, [value, ..]) => {
                rest.next();
                value.clone()
            }
            (_, []) => {
                wrong(format!("`-{bare}` has no value"));
                break;
            }
        };
        flags.push((bare.to_owned(), value));
    }
    flags
}

/// Whether the next argument is there and no flag.
fn has_value(rest: &[String]) -> bool {
    rest.first().is_some_and(|next| !next.starts_with('-'))
}

/// On or off, in the words that are known for it.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
