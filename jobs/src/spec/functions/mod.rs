//! The functions that expressions may call: a table from names to plain functions.

mod collection;
mod encoding;
mod file;
mod number;
mod text;

use super::ReadFile;
use super::value;
use serde_json::Value;

/// Bytes or elements that one call may produce.
const LARGEST: usize = 4 << 20;

/// Why a call has no result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// No such function.
    Unknown,
    /// A function of the language that this version does not have.
    Unsupported,
    TooFew,
    TooMany,
    /// The argument at an index is unsuitable.
    Argument(usize, String),
    Failed(String),
}

type Result<T = Value> = std::result::Result<T, CallError>;

type Function = fn(&[Value]) -> Result;

/// Functions of the language that are known but not built.
const UNSUPPORTED: &[&str] = &[
    "bcrypt",
    "cidrhost",
    "cidrnetmask",
    "cidrsubnet",
    "cidrsubnets",
    "csvdecode",
    "fileset",
    "formatdate",
    "md5",
    "rsadecrypt",
    "sha1",
    "sha256",
    "sha512",
    "uuidv4",
    "uuidv5",
    "yamldecode",
    "yamlencode",
];

/// Handled by the evaluator, since they do not evaluate their arguments as usual.
const LAZY: &[&str] = &["can", "convert", "try"];

/// Name, fewest and most arguments, and the function itself.
const TABLE: &[(&str, usize, usize, Function)] = &[
    ("abs", 1, 1, number::abs),
    ("base64decode", 1, 1, encoding::base64decode),
    ("base64encode", 1, 1, encoding::base64encode),
    ("basename", 1, 1, file::basename),
    ("ceil", 1, 1, number::ceil),
    ("chomp", 1, 1, text::chomp),
    ("chunklist", 2, 2, collection::chunklist),
    ("coalesce", 1, usize::MAX, collection::coalesce),
    ("coalescelist", 1, usize::MAX, collection::coalescelist),
    ("compact", 1, 1, collection::compact),
    ("concat", 1, usize::MAX, collection::concat),
    ("contains", 2, 2, collection::contains),
    ("dirname", 1, 1, file::dirname),
    ("distinct", 1, 1, collection::distinct),
    ("element", 2, 2, collection::element),
    ("flatten", 1, 1, collection::flatten),
    ("floor", 1, 1, number::floor),
    ("format", 1, usize::MAX, text::format),
    ("formatlist", 1, usize::MAX, text::formatlist),
    ("indent", 2, 2, text::indent),
    ("index", 2, 2, collection::index),
    ("join", 2, usize::MAX, text::join),
    ("jsondecode", 1, 1, encoding::jsondecode),
    ("jsonencode", 1, 1, encoding::jsonencode),
    ("keys", 1, 1, collection::keys),
    ("length", 1, 1, collection::length),
    ("log", 2, 2, number::log),
    ("lookup", 2, 3, collection::lookup),
    ("lower", 1, 1, text::lower),
    ("max", 1, usize::MAX, number::max),
    ("merge", 0, usize::MAX, collection::merge),
    ("min", 1, usize::MAX, number::min),
    ("parseint", 2, 2, number::parseint),
    ("pow", 2, 2, number::pow),
    ("range", 1, 3, collection::range),
    ("regex_replace", 3, 3, text::regex_replace),
    ("replace", 3, 3, text::replace),
    ("reverse", 1, 1, text::strrev),
    (
        "setintersection",
        1,
        usize::MAX,
        collection::setintersection,
    ),
    ("setproduct", 1, usize::MAX, collection::setproduct),
    ("setunion", 1, usize::MAX, collection::setunion),
    ("signum", 1, 1, number::signum),
    ("slice", 3, 3, collection::slice),
    ("sort", 1, 1, collection::sort),
    ("split", 2, 2, text::split),
    ("strlen", 1, 1, text::strlen),
    ("strrev", 1, 1, text::strrev),
    ("substr", 3, 3, text::substr),
    ("timeadd", 2, 2, encoding::timeadd),
    ("title", 1, 1, text::title),
    ("trim", 2, 2, text::trim),
    ("trimprefix", 2, 2, text::trimprefix),
    ("trimspace", 1, 1, text::trimspace),
    ("trimsuffix", 2, 2, text::trimsuffix),
    ("upper", 1, 1, text::upper),
    ("urlencode", 1, 1, encoding::urlencode),
    ("values", 1, 1, collection::values),
    ("zipmap", 2, 2, collection::zipmap),
];

/// What a call costs besides its arguments and its result, bytes of the budget.
pub(super) fn cost(name: &str, args: &[Value]) -> usize {
    /// What a pattern is compiled to.
    const REGEX: usize = 256 << 10;
    match name {
        "regex_replace" => REGEX,
        // A short text may hold many elements, so they are counted before they are made.
        "split" => match (text_in(args, 0), text_in(args, 1)) {
            ("", text) => elements(text.len()),
            (separator, text) => elements(text.matches(separator).count()),
        },
        "jsondecode" => elements(text_in(args, 0).matches(['{', '[', ',']).count()),
        _ => 0,
    }
}

/// Bytes that a number of list elements takes.
fn elements(count: usize) -> usize {
    count.saturating_mul(size_of::<Value>())
}

fn text_in(args: &[Value], at: usize) -> &str {
    args.get(at).and_then(Value::as_str).unwrap_or_default()
}

/// Calls a function. Those that read files need `files`.
pub(super) fn call(name: &str, args: &[Value], files: Option<&dyn ReadFile>) -> Result {
    if let Some((_, fewest, most, function)) = TABLE.iter().find(|(known, ..)| *known == name) {
        count(args, *fewest, *most)?;
        return function(args);
    }
    if file::NAMES.contains(&name) {
        count(args, 1, 1)?;
        let files = files.ok_or_else(|| failed("filesystem function disabled"))?;
        return file::call(name, args, files);
    }
    if LAZY.contains(&name) {
        // With the right number of arguments the evaluator would have taken it.
        return Err(CallError::TooFew);
    }
    Err(if UNSUPPORTED.contains(&name) {
        CallError::Unsupported
    } else {
        CallError::Unknown
    })
}

/// The names of all functions that can be called.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .map(|(name, ..)| *name)
        .chain(file::NAMES.iter().copied())
        .chain(LAZY.iter().copied())
}

fn count(args: &[Value], fewest: usize, most: usize) -> Result<()> {
    if args.len() < fewest {
        Err(CallError::TooFew)
    } else if args.len() > most {
        Err(CallError::TooMany)
    } else {
        Ok(())
    }
}

fn failed(detail: impl Into<String>) -> CallError {
    CallError::Failed(detail.into())
}

/// Refuses a result before it is built.
fn bounded(size: usize) -> Result<()> {
    if size > LARGEST {
        Err(failed("the result is too large"))
    } else {
        Ok(())
    }
}

fn text_at(args: &[Value], at: usize) -> Result<String> {
    args.get(at)
        .and_then(value::text)
        .ok_or_else(|| CallError::Argument(at, "string required".into()))
}

fn number_at(args: &[Value], at: usize) -> Result<f64> {
    args.get(at)
        .and_then(value::number)
        .ok_or_else(|| CallError::Argument(at, "a number is required".into()))
}

fn whole_at(args: &[Value], at: usize) -> Result<i64> {
    args.get(at)
        .and_then(value::whole)
        .ok_or_else(|| CallError::Argument(at, "a whole number is required".into()))
}

fn list_at(args: &[Value], at: usize) -> Result<&[Value]> {
    match args.get(at) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(CallError::Argument(at, "list required".into())),
    }
}

fn map_at(args: &[Value], at: usize) -> Result<&serde_json::Map<String, Value>> {
    match args.get(at) {
        Some(Value::Object(map)) => Ok(map),
        _ => Err(CallError::Argument(at, "map required".into())),
    }
}

fn from_number(number: f64) -> Result {
    value::from_f64(number).ok_or_else(|| failed("the result is out of range"))
}
