//! The functions of templates beyond those of the language, a file for each kind. What is piped
//! into a function is its last argument.

mod access;
mod cluster;
mod encoding;
mod list;
mod number;
mod sprig;
mod text;
mod time;

use crate::{
    World,
    query::Query,
    values::{self, text as from},
};
use access::Object;
use gotmpl::{FuncMap, TemplateError, Value};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

/// Largest compiled pattern, bytes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

type Answer = Result<Value, TemplateError>;
type Fields = Arc<BTreeMap<Arc<str>, Value>>;

/// What one rendering knows and has found out.
#[derive(Debug)]
pub(crate) struct State {
    world: Arc<dyn World>,
    missing_key_fails: bool,
    missing: Mutex<BTreeSet<String>>,
    /// Maps that have methods. They are kept, so that none gets the place of another.
    objects: Mutex<Vec<(Fields, Object)>>,
    scratch: Mutex<BTreeMap<String, Value>>,
}

impl State {
    pub(crate) fn new(world: Arc<dyn World>, missing_key_fails: bool) -> Self {
        Self {
            world,
            missing_key_fails,
            missing: Mutex::default(),
            objects: Mutex::default(),
            scratch: Mutex::default(),
        }
    }

    /// What was asked for and is not there.
    pub(crate) fn missing(&self) -> BTreeSet<String> {
        self.missing.lock().clone()
    }

    /// What the cluster answers; notes it when that is not known.
    fn ask(&self, query: &Query) -> Option<serde_json::Value> {
        let answer = self.world.ask(query);
        if answer.is_none() {
            self.wait_for(query);
        }
        answer
    }

    fn wait_for(&self, query: &Query) {
        self.missing.lock().insert(query.to_string());
    }

    /// As a list, which is empty as long as it is not known.
    fn ask_list(&self, query: &Query) -> Value {
        match self.ask(query) {
            Some(answer @ serde_json::Value::Array(_)) => values::of_json(&answer),
            _ => values::list([]),
        }
    }
}

/// All functions, for one rendering.
pub(crate) fn all(state: &Arc<State>, denied: &BTreeSet<String>) -> FuncMap {
    let mut map = FuncMap::new();
    access::add_all(&mut map, state);
    cluster::add_all(&mut map, state);
    text::add_all(&mut map);
    number::add_all(&mut map);
    list::add_all(&mut map);
    encoding::add_all(&mut map);
    time::add_all(&mut map, state);
    sprig::add_all(&mut map);
    for name in denied {
        let reason = format!("the function {name} is switched off on this node");
        let refuse = move |_: &[Value]| -> Answer { Err(failed(&reason)) };
        map.insert(name.clone(), Arc::new(refuse));
    }
    map
}

/// Adds a function that takes so many arguments.
fn add(
    map: &mut FuncMap,
    name: &'static str,
    arguments: RangeInclusive<usize>,
    f: impl Fn(&[Value]) -> Answer + Send + Sync + 'static,
) {
    let checked = move |args: &[Value]| {
        if arguments.contains(&args.len()) {
            return f(args).map_err(|error| named(name, error));
        }
        let (least, most) = (arguments.start(), arguments.end());
        let wanted = match (least, most) {
            (least, &usize::MAX) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        let given = args.len();
        Err(failed(format!(
            "{name} takes {wanted} arguments and got {given}"
        )))
    };
    map.insert(name.to_owned(), Arc::new(checked));
}

fn named(name: &str, error: TemplateError) -> TemplateError {
    match error {
        TemplateError::Exec(text) => failed(format!("{name}: {text}")),
        other => other,
    }
}

fn failed(text: impl Into<String>) -> TemplateError {
    TemplateError::Exec(text.into())
}

fn argument(args: &[Value], at: usize) -> Result<&Value, TemplateError> {
    args.get(at).ok_or_else(|| failed("not enough arguments"))
}

fn text_at(args: &[Value], at: usize) -> Result<String, TemplateError> {
    Ok(match argument(args, at)? {
        Value::Nil => String::new(),
        other => other.to_string(),
    })
}

fn integer_at(args: &[Value], at: usize) -> Result<i64, TemplateError> {
    match argument(args, at)? {
        Value::Int(number) => Ok(*number),
        other => {
            let text = other.to_string();
            let number = text.trim().parse();
            number.map_err(|_| failed(format!("`{text}` is no whole number")))
        }
    }
}

fn size_at(args: &[Value], at: usize) -> Result<usize, TemplateError> {
    usize::try_from(integer_at(args, at)?).map_err(|_| failed("a negative number"))
}

fn list_at(args: &[Value], at: usize) -> Result<&[Value], TemplateError> {
    match argument(args, at)? {
        Value::List(items) => Ok(items),
        Value::Nil => Ok(&[]),
        other => Err(failed(format!("`{other}` is no list"))),
    }
}

fn map_at(args: &[Value], at: usize) -> Result<Fields, TemplateError> {
    match argument(args, at)? {
        Value::Map(fields) => Ok(Arc::clone(fields)),
        Value::Nil => Ok(Arc::default()),
        other => Err(failed(format!("`{other}` is no map"))),
    }
}

fn same(one: &Value, other: &Value) -> bool {
    one.to_string() == other.to_string()
}

fn yes_or_no(is: bool) -> Answer {
    Ok(Value::Bool(is))
}

/// A text as an answer.
fn told(text: impl AsRef<str>) -> Answer {
    Ok(from(text))
}

/// The first argument as a pattern.
fn regex(args: &[Value]) -> Result<regex::Regex, TemplateError> {
    let pattern = text_at(args, 0)?;
    let made = regex::RegexBuilder::new(&pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .build();
    made.map_err(|error| failed(error.to_string()))
}
