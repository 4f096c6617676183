//! Where settings come from: files in the order in which they are named, then flags.

use super::{
    super::{
        Problem, definitions,
        file::{self, Entry, Value},
        published::{self, COMMAND_LINE, Role, Takes, switch},
        reader::Reader,
    },
    keys::{self, DEFINITIONS, Key, Kind},
};
use jobs::model::Span;
use std::{collections::BTreeMap, path::PathBuf};

/// What the program is told when it starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Arguments {
    /// Files and directories in order.
    pub(super) files: Vec<PathBuf>,
    /// Whether the agent is one to try things with.
    pub(super) dev: bool,
    /// Pieces of configuration.
    pub(super) fragments: Vec<String>,
    /// Flags and values in order.
    pub(super) flags: Vec<(String, String)>,
}

/// Reads arguments.
pub(super) fn arguments(arguments: &[String], problems: &mut Vec<Problem>) -> Arguments {
    let takes = |flag: &str| match (flag, keys::of_flag(flag)) {
        ("dev", _) => Takes::Switch,
        ("config-file" | "config-dir" | "config-format" | "hcl", _) => Takes::Value,
        (_, Some(key)) if key.kind == Kind::Flag => Takes::Switch,
        (_, Some(_)) => Takes::Value,
        (_, None) => Takes::Unknown,
    };
    let flags = published::flags(arguments, takes, "the agent takes flags only", problems);
    let mut read = Arguments::default();
    for (name, value) in flags {
        match name.as_str() {
            "config-file" | "config-dir" => read.files.push(PathBuf::from(value)),
            // The text of a file tells what it is.
            "config-format" => {}
            "hcl" => read.fragments.push(value),
            "dev" => match switch(&value) {
                Some(dev) => read.dev = dev,
                None => {
                    let message = format!("`-dev` is `{value}`; it must be true or false");
                    problems.push(Problem::new(COMMAND_LINE, message));
                }
            },
            _ => read.flags.push((name, value)),
        }
    }
    read
}

/// A value with the place that it comes from.
#[derive(Clone, Debug)]
struct Setting {
    value: Value,
    file: String,
    place: Option<(usize, usize)>,
}

/// All settings that are written somewhere.
#[derive(Debug, Default)]
pub(super) struct Settings {
    by_key: BTreeMap<&'static str, Setting>,
    /// What defines services and checks, each with the name of its file.
    pub(super) defined: Vec<(String, serde_json::Value)>,
}

impl Settings {
    pub(super) fn read(arguments: &Arguments, problems: &mut Vec<Problem>) -> Self {
        let mut settings = Self::default();
        let paths = arguments.files.iter();
        let files: Vec<PathBuf> = paths
            .flat_map(|path| file::expand(path, problems))
            .collect();
        for path in files {
            let label = path.display().to_string();
            match std::fs::read_to_string(&path) {
                Ok(text) => settings.add(&label, &text, problems),
                Err(error) => {
                    let message = format!("cannot read the file: {error}");
                    problems.push(Problem::new(&label, message));
                }
            }
        }
        for fragment in &arguments.fragments {
            settings.add("-hcl", fragment, problems);
        }
        for (flag, value) in &arguments.flags {
            settings.add_flag(flag, value, problems);
        }
        settings
    }

    /// Adds what stands in a file.
    fn add(&mut self, label: &str, text: &str, problems: &mut Vec<Problem>) {
        match file::parse(label, text) {
            Ok(entries) => {
                let mut defining = Vec::new();
                for entry in entries {
                    if DEFINITIONS.contains(&entry.key.as_str()) {
                        defining.push(entry);
                    } else {
                        self.take("", label, entry, problems);
                    }
                }
                if !defining.is_empty() {
                    let tree = definitions::object(label, defining, problems);
                    self.defined.push((label.to_owned(), tree));
                }
            }
            Err(problem) => problems.push(problem),
        }
    }

    fn take(&mut self, block: &str, file: &str, entry: Entry, problems: &mut Vec<Problem>) {
        let name = if block.is_empty() {
            entry.key.clone()
        } else {
            format!("{block}.{}", entry.key)
        };
        if let Some(key) = keys::of_name(&name) {
            self.set(key, file, entry, problems);
        } else if keys::is_block(&name) {
            let inner = Reader::new(file, problems).block(entry);
            for entry in inner {
                self.take(&name, file, entry, problems);
            }
        } else {
            let known = keys::below(block).join(", ");
            let message = format!("unknown key `{name}`; known here: {known}");
            problems.push(Problem::at(file, entry.place, message));
        }
    }

    fn add_flag(&mut self, flag: &str, value: &str, problems: &mut Vec<Problem>) {
        let Some(key) = keys::of_flag(flag) else {
            let message = format!("there is no flag `-{flag}`; `-help` lists those that there are");
            problems.push(Problem::new(COMMAND_LINE, message));
            return;
        };
        let mut entry = Entry {
            key: key.name.to_owned(),
            labels: Vec::new(),
            place: None,
            value: Value::Text(value.to_owned()),
        };
        if key.kind == Kind::Map {
            let (name, value) = value.split_once(':').unwrap_or((value, ""));
            entry.value = Value::Tree(vec![Entry {
                key: name.to_owned(),
                value: Value::Text(value.to_owned()),
                ..entry.clone()
            }]);
        }
        self.set(key, COMMAND_LINE, entry, problems);
    }

    fn set(&mut self, key: &'static Key, file: &str, entry: Entry, problems: &mut Vec<Problem>) {
        let place = entry.place;
        let value = match typed(key.kind, entry.value) {
            Ok(value) => value,
            Err(expected) => {
                let message = format!("`{}` must be {expected}", key.name);
                problems.push(Problem::at(file, place, message));
                return;
            }
        };
        let file = file.to_owned();
        let setting = self.by_key.entry(key.name);
        let setting = setting.or_insert_with(|| Setting {
            value: Value::Other,
            file: String::new(),
            place: None,
        });
        setting.value = match (std::mem::replace(&mut setting.value, Value::Other), value) {
            (Value::List(mut before), Value::List(more)) if key.kind == Kind::Texts => {
                before.extend(more);
                Value::List(before)
            }
            (Value::Tree(mut before), Value::Tree(more)) if key.kind == Kind::Map => {
                before.extend(more);
                Value::Tree(before)
            }
            (_, value) => value,
        };
        (setting.file, setting.place) = (file, place);
    }

    /// A text that is written and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match &self.by_key.get(name)?.value {
            Value::Text(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.by_key.get(name)?.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        match self.by_key.get(name)?.value {
            Value::Number(number) => definitions::whole(number),
            _ => None,
        }
    }

    /// A number that is none below 0.
    pub(super) fn count(&self, name: &str) -> Option<u64> {
        u64::try_from(self.number(name)?).ok()
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let Some(Value::List(items)) = self.by_key.get(name).map(|setting| &setting.value) else {
            return Vec::new();
        };
        let texts = items.iter().filter_map(|item| match item {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    pub(super) fn map(&self, name: &str) -> BTreeMap<String, String> {
        let Some(Value::Tree(entries)) = self.by_key.get(name).map(|setting| &setting.value) else {
            return BTreeMap::new();
        };
        let pairs = entries.iter().filter_map(|entry| match &entry.value {
            Value::Text(text) => Some((entry.key.clone(), text.clone())),
            _ => None,
        });
        pairs.collect()
    }

    /// Problems with what is refused, and what happens instead of what is not acted on.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) -> Vec<String> {
        let mut notes = Vec::new();
        for (name, setting) in &self.by_key {
            let Some(key) = keys::of_name(name).filter(|key| !is_default(key, &setting.value))
            else {
                continue;
            };
            match key.role {
                Role::Obeyed => {}
                Role::Instead(what) => notes.push(format!("`{name}` is not acted on: {what}")),
                Role::Refused(why) => {
                    let message = format!("`{name}` is refused: {why}");
                    problems.push(Problem::at(&setting.file, setting.place, message));
                }
            }
        }
        notes
    }

    /// A problem that names a key by its name in backticks, at the place of its value.
    pub(super) fn placed(&self, problem: Problem) -> Problem {
        let mut all = self.by_key.iter();
        let named = all.find(|(name, _)| problem.message.contains(&format!("`{name}`")));
        match named {
            Some((_, setting)) => Problem::at(&setting.file, setting.place, problem.message),
            None => problem,
        }
    }
}

/// A value as its key wants it, or what it should be.
fn typed(kind: Kind, value: Value) -> Result<Value, &'static str> {
    match (kind, value) {
        (Kind::Any, value)
        | (Kind::Text, value @ Value::Text(_))
        | (Kind::Flag, value @ Value::Bool(_)) => Ok(value),
        (Kind::Text, Value::Number(number)) => Ok(Value::Text(number.to_string())),
        (Kind::Text, _) => Err("a text"),
        (Kind::Flag, Value::Text(text)) => switch(&text).map(Value::Bool).ok_or("true or false"),
        (Kind::Flag, _) => Err("true or false"),
        (Kind::Number, value) => {
            let number = match value {
                Value::Number(number) => Some(number),
                Value::Text(text) => text.trim().parse().ok(),
                _ => None,
            };
            let whole = number.filter(|number| definitions::whole(*number).is_some());
            whole.map(Value::Number).ok_or("a whole number")
        }
        (Kind::Time, Value::Text(text))
            if Span::parse(&text).is_ok_and(|time| time >= Span::ZERO) =>
        {
            Ok(Value::Text(text))
        }
        (Kind::Time, _) => Err("a duration such as `10s`"),
        (Kind::Texts, text @ Value::Text(_)) => Ok(Value::List(vec![text])),
        (Kind::Texts, Value::List(items)) => {
            let are_texts = items.iter().all(|item| matches!(item, Value::Text(_)));
            are_texts
                .then_some(Value::List(items))
                .ok_or("a list of texts")
        }
        (Kind::Texts, _) => Err("a list of texts"),
        (Kind::Map, value) => names(value).ok_or("a block of names with texts"),
    }
}

/// Names with texts, of one block or of several.
fn names(value: Value) -> Option<Value> {
    let mut entries = match value {
        Value::Tree(entries) => entries,
        Value::List(items) => {
            let mut entries = Vec::new();
            for item in items {
                match item {
                    Value::Tree(inner) => entries.extend(inner),
                    _ => return None,
                }
            }
            entries
        }
        _ => return None,
    };
    for entry in &mut entries {
        let text = match &entry.value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        entry.value = Value::Text(text);
    }
    Some(Value::Tree(entries))
}

/// Whether a value says what holds without it.
fn is_default(key: &Key, value: &Value) -> bool {
    match value {
        Value::Text(text) => text == key.default,
        Value::Bool(flag) => flag.to_string() == key.default,
        Value::List(items) => items.is_empty(),
        Value::Tree(entries) => entries.is_empty(),
        Value::Number(_) | Value::Other => false,
    }
}
