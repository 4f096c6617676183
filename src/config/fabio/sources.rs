//! Where settings come from: the command line, then the environment, then a file, then what is
//! published as their default.

use super::{
    super::{
        Problem,
        published::{self, COMMAND_LINE, Role, Takes, switch},
    },
    keys::{self, KEYS, Key, Kind},
    properties,
};
use jobs::model::Span;
use std::collections::BTreeMap;

/// The prefix of variables that are meant for this program and no other.
const PREFIX: &str = "fabio_";

/// Arguments of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// A file of properties, or a URL of one.
    pub(super) file: Option<String>,
    /// Keys and values in order.
    pub(super) flags: Vec<(String, String)>,
}

/// Reads arguments.
pub(super) fn arguments(arguments: &[String], problems: &mut Vec<Problem>) -> Arguments {
    let takes = |flag: &str| match keys::of_name(flag) {
        Some(key) if key.kind == Kind::Flag => Takes::Switch,
        _ => Takes::Value,
    };
    let nothing_else =
        "by this name the program takes flags only, and its commands by the name `trivet`";
    let mut read = Arguments::default();
    for (name, value) in published::flags(arguments, takes, nothing_else, problems) {
        if name == "cfg" {
            let quotes = ['"', '\''];
            read.file = Some(value.trim().trim_matches(quotes).to_owned());
        } else {
            read.flags.push((name, value));
        }
    }
    read
}

/// A value with the place that it comes from.
#[derive(Clone, Debug)]
struct Setting {
    value: String,
    source: String,
    place: Option<(usize, usize)>,
}

/// All settings that are written somewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    by_key: BTreeMap<&'static str, Setting>,
}

impl Settings {
    /// Reads all sources. `file` is the label and the text of the file, if there is one.
    pub(super) fn read(
        flags: &[(String, String)],
        environment: &[(String, String)],
        file: Option<(&str, &str)>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut settings = Self::default();
        if let Some((label, text)) = file {
            settings.add_file((label, text), environment, problems);
        }
        for key in KEYS {
            if let Some((name, value)) = variable(key.name, environment) {
                let setting = Setting {
                    value: value.clone(),
                    source: format!("variable {name}"),
                    place: None,
                };
                settings.set(key, setting);
            }
        }
        for (name, value) in flags {
            let setting = Setting {
                value: value.clone(),
                source: COMMAND_LINE.to_owned(),
                place: None,
            };
            settings.add(name, setting, problems);
        }
        settings
    }

    fn add_file(
        &mut self,
        (label, text): (&str, &str),
        environment: &[(String, String)],
        problems: &mut Vec<Problem>,
    ) {
        let other = |name: &str| {
            let own = environment.iter().find(|(own, _)| own == name);
            own.map(|(_, value)| value.clone())
        };
        let (found, faults) = properties::parse(text, other);
        for (line, reason) in faults {
            problems.push(Problem::at(label, Some((line, 1)), reason));
        }
        for (name, property) in found {
            let setting = Setting {
                value: property.value,
                source: label.to_owned(),
                place: Some((property.line, 1)),
            };
            self.add(&name, setting, problems);
        }
    }

    fn add(&mut self, name: &str, setting: Setting, problems: &mut Vec<Problem>) {
        if let Some(key) = keys::of_name(name) {
            self.set(key, setting);
            return;
        }
        let hint = match keys::like(name) {
            Some(like) => format!("; did you mean `{like}`?"),
            None => "; `-help` lists those that there are".to_owned(),
        };
        let message = format!("there is no key `{name}`{hint}");
        problems.push(Problem::at(&setting.source, setting.place, message));
    }

    /// Nothing is no value of anything but a text.
    fn set(&mut self, key: &'static Key, setting: Setting) {
        if key.kind == Kind::Text || !setting.value.is_empty() {
            self.by_key.insert(key.name, setting);
        }
    }

    /// The value of a key, or its default.
    pub(super) fn text(&self, name: &str) -> &str {
        match self.by_key.get(name) {
            Some(setting) => &setting.value,
            None => keys::of_name(name).map_or("", |key| key.default),
        }
    }

    /// The value of a key, if it is written somewhere and not empty.
    pub(super) fn written(&self, name: &str) -> Option<&str> {
        let setting = self.by_key.get(name)?;
        Some(setting.value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether a switch is on.
    pub(super) fn flag(&self, name: &str) -> bool {
        switch(self.text(name)) == Some(true)
    }

    /// Items between commas.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let items = self.text(name).split(',').map(str::trim);
        let items = items.filter(|item| !item.is_empty());
        items.map(str::to_owned).collect()
    }

    /// Looks at every value: problems for those that are of another kind or refused; what happens
    /// instead of the others. Values of another kind are taken out, so that each is told once.
    pub(super) fn check(&mut self, problems: &mut Vec<Problem>) -> Vec<String> {
        let mut notes = Vec::new();
        let mut mismatched = Vec::new();
        for (name, setting) in &self.by_key {
            let Some(key) = keys::of_name(name) else {
                continue;
            };
            if let Some(expected) = mismatch(key, &setting.value) {
                let message = format!("`{name}` is `{}`; it must be {expected}", setting.value);
                problems.push(Problem::at(&setting.source, setting.place, message));
                mismatched.push(*name);
                continue;
            }
            if is_default(key, &setting.value) {
                continue;
            }
            match key.role {
                Role::Obeyed => {}
                Role::Instead(what) => notes.push(format!("`{name}` is not acted on: {what}")),
                Role::Refused(why) => {
                    let message = format!("`{name}` is refused: {why}");
                    problems.push(Problem::at(&setting.source, setting.place, message));
                }
            }
        }
        for name in mismatched {
            self.by_key.remove(name);
        }
        notes
    }

    /// A problem with the value of a key, at the place of the value.
    pub(super) fn problem(&self, name: &str, message: String) -> Problem {
        match self.by_key.get(name) {
            Some(setting) => Problem::at(&setting.source, setting.place, message),
            None => Problem::new(super::super::file::SETTINGS, message),
        }
    }

    /// A problem that names a key by its name in backticks, at the place of its value.
    pub(super) fn placed(&self, problem: Problem) -> Problem {
        let named = |name: &&&str| problem.message.contains(&format!("`{name}`"));
        match self.by_key.keys().find(named) {
            Some(name) => self.problem(name, problem.message.clone()),
            None => problem,
        }
    }
}

/// The variable of a key: with the prefix before without, whatever the case is.
fn variable<'e>(name: &str, environment: &'e [(String, String)]) -> Option<&'e (String, String)> {
    let bare = name.replace('.', "_");
    let find = |wanted: &str| {
        let mut all = environment.iter();
        all.find(|(own, _)| own.eq_ignore_ascii_case(wanted))
    };
    find(&format!("{PREFIX}{bare}")).or_else(|| find(&bare))
}

/// What a value should be; none if it is that.
fn mismatch(key: &Key, value: &str) -> Option<&'static str> {
    let (is_fine, expected) = match key.kind {
        Kind::Text => (true, ""),
        Kind::Flag => (switch(value).is_some(), "`true` or `false`"),
        Kind::Time => {
            let time = Span::parse(value);
            let is_fine = time.is_ok_and(|time| time >= Span::ZERO);
            (is_fine, "a duration such as `10s`")
        }
        Kind::Number => (value.parse::<i64>().is_ok(), "a whole number"),
        Kind::Float => (value.parse::<f64>().is_ok(), "a number"),
    };
    (!is_fine).then_some(expected)
}

fn is_default(key: &Key, value: &str) -> bool {
    let time = |text: &str| Span::parse(text).ok();
    match key.kind {
        Kind::Flag => switch(value) == switch(key.default),
        Kind::Time => time(value) == time(key.default),
        Kind::Text | Kind::Number | Kind::Float => value == key.default,
    }
}
