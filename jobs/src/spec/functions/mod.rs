//! The functions that expressions may call: a table from names to plain functions.

mod address;
mod collection;
mod csv;
mod date;
mod digest;
mod encoding;
mod file;
pub(super) mod format;
mod glob;
mod number;
mod text;
mod yaml;

use super::value;
use super::{ReadFile, Surroundings};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use serde_json::Value;
use std::cell::RefCell;
use unicode_segmentation::UnicodeSegmentation;

/// Bytes or elements that one call may produce.
const LARGEST: usize = 4 << 20;

/// Why a call has no result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// No such function.
    Unknown,
    TooFew,
    TooMany,
    /// The argument at an index is unsuitable.
    Argument(usize, String),
    Failed(String),
}

type Result<T = Value> = std::result::Result<T, CallError>;

type Function = fn(&[Value]) -> Result;

/// What functions reach besides their arguments.
pub(super) struct Outside<'a> {
    files: Option<&'a dyn ReadFile>,
    random: RefCell<ChaCha8Rng>,
}

impl<'a> Outside<'a> {
    pub(super) fn new(surroundings: &Surroundings<'a>) -> Self {
        Self {
            files: surroundings.files,
            random: RefCell::new(ChaCha8Rng::from_seed(surroundings.seed)),
        }
    }
}

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
    ("cidrhost", 2, 2, address::cidrhost),
    ("cidrnetmask", 1, 1, address::cidrnetmask),
    ("cidrsubnet", 3, 3, address::cidrsubnet),
    ("cidrsubnets", 1, usize::MAX, address::cidrsubnets),
    ("coalesce", 1, usize::MAX, collection::coalesce),
    ("coalescelist", 1, usize::MAX, collection::coalescelist),
    ("compact", 1, 1, collection::compact),
    ("concat", 1, usize::MAX, collection::concat),
    ("contains", 2, 2, collection::contains),
    ("csvdecode", 1, 1, csv::csvdecode),
    ("dirname", 1, 1, file::dirname),
    ("distinct", 1, 1, collection::distinct),
    ("element", 2, 2, collection::element),
    ("flatten", 1, 1, collection::flatten),
    ("floor", 1, 1, number::floor),
    ("format", 1, usize::MAX, format::format),
    ("formatdate", 2, 2, date::formatdate),
    ("formatlist", 1, usize::MAX, format::formatlist),
    ("indent", 2, 2, text::indent),
    ("index", 2, 2, collection::index),
    ("join", 2, usize::MAX, text::join),
    ("jsondecode", 1, 1, encoding::jsondecode),
    ("jsonencode", 1, 1, encoding::jsonencode),
    ("keys", 1, 1, collection::keys),
    ("length", 1, 1, collection::length),
    ("log", 2, 2, number::log),
    ("lookup", 3, 3, collection::lookup),
    ("lower", 1, 1, text::lower),
    ("max", 1, usize::MAX, number::max),
    ("md5", 1, 1, digest::md5),
    ("merge", 0, usize::MAX, collection::merge),
    ("min", 1, usize::MAX, number::min),
    ("parseint", 2, 2, number::parseint),
    ("pow", 2, 2, number::pow),
    ("range", 1, 3, collection::range),
    ("regex_replace", 3, 3, text::regex_replace),
    ("replace", 3, 3, text::replace),
    ("reverse", 1, 1, text::strrev),
    ("rsadecrypt", 2, 2, digest::rsadecrypt),
    (
        "setintersection",
        1,
        usize::MAX,
        collection::setintersection,
    ),
    ("setproduct", 2, usize::MAX, collection::setproduct),
    ("setunion", 1, usize::MAX, collection::setunion),
    ("sha1", 1, 1, digest::sha1),
    ("sha256", 1, 1, digest::sha256),
    ("sha512", 1, 1, digest::sha512),
    ("signum", 1, 1, number::signum),
    ("slice", 3, 3, collection::slice),
    ("sort", 1, 1, collection::sort),
    ("split", 2, 2, text::split),
    ("strlen", 1, 1, text::strlen),
    ("strrev", 1, 1, text::strrev),
    ("substr", 3, 3, text::substr),
    ("timeadd", 2, 2, date::timeadd),
    ("title", 1, 1, text::title),
    ("trim", 2, 2, text::trim),
    ("trimprefix", 2, 2, text::trimprefix),
    ("trimspace", 1, 1, text::trimspace),
    ("trimsuffix", 2, 2, text::trimsuffix),
    ("upper", 1, 1, text::upper),
    ("urlencode", 1, 1, encoding::urlencode),
    ("uuidv5", 2, 2, digest::uuidv5),
    ("values", 1, 1, collection::values),
    ("yamldecode", 1, 1, yaml::yamldecode),
    ("yamlencode", 1, 1, yaml::yamlencode),
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
        "bcrypt" => digest::bcrypt_cost(args),
        "rsadecrypt" => 1 << 20,
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

/// Functions whose result is another one each time.
const RANDOM: &[&str] = &["bcrypt", "uuidv4"];

/// Functions that what a job file leaves for run time may call.
pub(super) const RUN_TIME: [&str; 14] = [
    "abs",
    "coalesce",
    "concat",
    "hasindex",
    "int",
    "jsondecode",
    "jsonencode",
    "length",
    "lower",
    "max",
    "min",
    "strlen",
    "substr",
    "upper",
];

/// Functions that there are at run time only, in a table as the other.
const AT_RUN_TIME: &[(&str, usize, usize, Function)] = &[
    ("hasindex", 2, 2, collection::hasindex),
    ("int", 1, 1, number::int),
];

/// Calls a function that there is at run time only, if it is one.
pub(super) fn call_at_run_time(name: &str, args: &[Value]) -> Option<Result> {
    let (_, fewest, most, function) = AT_RUN_TIME.iter().find(|(known, ..)| *known == name)?;
    Some(count(args, *fewest, *most).and_then(|()| function(args)))
}

/// Calls a function.
pub(super) fn call(name: &str, args: &[Value], outside: &Outside<'_>) -> Result {
    if let Ok(at) = TABLE.binary_search_by(|(known, ..)| (*known).cmp(name)) {
        let (_, fewest, most, function) = TABLE.get(at).ok_or(CallError::Unknown)?;
        count(args, *fewest, *most)?;
        return function(args);
    }
    if file::NAMES.contains(&name) {
        let wanted = if name == "fileset" { 2 } else { 1 };
        count(args, wanted, wanted)?;
        let files = outside
            .files
            .ok_or_else(|| failed("filesystem function disabled"))?;
        return file::call(name, args, files);
    }
    match name {
        "bcrypt" => {
            count(args, 1, 2)?;
            digest::bcrypt(args, &mut *outside.random.borrow_mut())
        }
        "uuidv4" => {
            count(args, 0, 0)?;
            digest::uuidv4(&mut *outside.random.borrow_mut())
        }
        // With the right number of arguments the evaluator would have taken it.
        _ if LAZY.contains(&name) => Err(CallError::TooFew),
        _ => Err(CallError::Unknown),
    }
}

/// The names of all functions that can be called.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .map(|(name, ..)| *name)
        .chain(file::NAMES.iter().copied())
        .chain(RANDOM.iter().copied())
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

/// What readers take for one character each.
fn graphemes(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.graphemes(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_that_look_ups_need() {
        assert!(TABLE.is_sorted_by(|(a, ..), (b, ..)| a < b));
    }
}
