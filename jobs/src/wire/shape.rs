use crate::model::Span;
use serde::{Serialize, Serializer, ser};
use serde_json::{Map, Value};

/// Where the objects of another shape stand below a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The value itself.
    One,
    /// Every entry of a list.
    Each,
    /// Every value of a map whose keys are free.
    Values,
}

/// What a key has that this version keeps nothing for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fixed {
    Null,
    False,
    Zero,
    /// What every object of that kind has.
    Same(fn() -> serde_json::Result<Value>),
    Text(&'static str),
    /// An object with all its numbers 0.
    Zeros(&'static [&'static str]),
    /// A copy of an entry of `Details` of the same object, empty without one.
    Detail(&'static str),
    /// As [`Fixed::Detail`], a number; 0 without one.
    DetailNumber(&'static str),
    /// As [`Fixed::Detail`], a length of time as text; nanoseconds, 0 without one.
    DetailTime(&'static str),
    /// As [`Fixed::Detail`], `true` or anything else.
    DetailFlag(&'static str),
}

/// The keys of one kind of object in the API, as clients expect them.
///
/// Stored rows leave out what this version never sets; an answer has those keys nevertheless.
/// Source: nomad API, JSON objects.
#[derive(Debug)]
pub struct Shape {
    /// Keys that are added where they are missing.
    pub(super) fixed: &'static [(&'static str, Fixed)],
    /// Objects below this one.
    pub(super) children: &'static [(&'static str, Position, &'static Shape)],
    /// An empty object of what a client posts or reads in the same form; only its keys count.
    pub(super) posted: Option<fn() -> serde_json::Result<Value>>,
}

/// The keys of a type that clients post.
pub(super) fn keys_of<T: Serialize + Default>() -> serde_json::Result<Value> {
    serde_json::to_value(T::default())
}

/// A value that is written with every key of its shape.
#[derive(Clone, Debug)]
pub struct Complete<T>(pub T, pub &'static Shape);

impl<T: Serialize> Serialize for Complete<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serde_json::to_value(&self.0).map_err(ser::Error::custom)?;
        self.1.complete(&mut value);
        value.serialize(serializer)
    }
}

impl Shape {
    /// Adds the keys that are missing, at every level. In what clients post, empty lists and maps
    /// are null.
    pub fn complete(&self, value: &mut Value) {
        let Value::Object(object) = value else { return };
        for (key, fixed) in self.fixed {
            if !object.contains_key(*key) {
                let value = fixed.value(object);
                object.insert((*key).to_owned(), value);
            }
        }
        if self.posted.is_some() {
            for (key, value) in object.iter_mut() {
                if is_empty(value) && !self.has_object(key) {
                    *value = Value::Null;
                }
            }
        }
        self.visit(object, Self::complete);
    }

    /// Gives posted keys the spelling that this crate decodes: capitals do not matter to clients of
    /// the API. A key that is there in both spellings stays as it is. Keys without a value, which
    /// is what null says, are taken out.
    pub fn restore_case(&self, value: &mut Value) {
        let Value::Object(object) = value else { return };
        let known = self.posted.map(|keys| keys());
        if self.posted.is_some() {
            object.retain(|_, value| !value.is_null());
        }
        if let Some(Ok(Value::Object(known))) = known {
            rename(object, known.keys().map(String::as_str));
        }
        rename(object, self.fixed.iter().map(|(key, _)| *key));
        // What is left out unless it is set is no key of an empty object.
        rename(object, self.children.iter().map(|(key, ..)| *key));
        self.visit(object, Self::restore_case);
    }

    /// True when an object of a known shape stands at the key: one without keys is there.
    fn has_object(&self, key: &str) -> bool {
        let mut children = self.children.iter();
        children.any(|(name, position, _)| *name == key && *position == Position::One)
    }

    fn visit(&self, object: &mut Map<String, Value>, f: fn(&Self, &mut Value)) {
        for (key, position, shape) in self.children {
            match (object.get_mut(*key), position) {
                (Some(value), Position::One) => f(shape, value),
                (Some(Value::Array(values)), Position::Each) => {
                    values.iter_mut().for_each(|value| f(shape, value));
                }
                (Some(Value::Object(values)), Position::Values) => {
                    values.values_mut().for_each(|value| f(shape, value));
                }
                _ => {}
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn rename<'a>(object: &mut Map<String, Value>, known: impl Iterator<Item = &'a str>) {
    for key in known {
        if object.contains_key(key) {
            continue;
        }
        let other = object.keys().find(|other| other.eq_ignore_ascii_case(key));
        if let Some(value) = other.cloned().and_then(|other| object.remove(&other)) {
            object.insert(key.to_owned(), value);
        }
    }
}

impl Fixed {
    fn value(self, object: &Map<String, Value>) -> Value {
        let detail = |key: &str| object.get("Details")?.get(key)?.as_str();
        match self {
            Self::Null => Value::Null,
            Self::False => Value::Bool(false),
            Self::Zero => Value::from(0),
            Self::Same(value) => value().unwrap_or_default(),
            Self::Text(text) => Value::from(text),
            Self::Zeros(keys) => keys
                .iter()
                .map(|key| ((*key).to_owned(), Value::from(0)))
                .collect(),
            Self::Detail(key) => Value::from(detail(key).unwrap_or_default()),
            Self::DetailNumber(key) => {
                let number = detail(key).and_then(|text| text.parse::<i64>().ok());
                Value::from(number.unwrap_or(0))
            }
            Self::DetailTime(key) => {
                let span = detail(key).and_then(|text| Span::parse(text).ok());
                Value::from(span.unwrap_or_default().as_nanos())
            }
            Self::DetailFlag(key) => Value::Bool(detail(key) == Some("true")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Complete, shapes};
    use crate::model;
    use serde_json::{Value, json};

    #[test]
    fn an_answer_has_every_key_and_null_for_nothing() {
        let mut job = model::Job {
            id: "web".into(),
            ..model::Job::default()
        };
        job.task_groups.push(model::TaskGroup {
            tasks: vec![model::Task::default()],
            ..model::TaskGroup::default()
        });
        let json = serde_json::to_value(Complete(&job, &shapes::JOB)).unwrap();
        assert_eq!(json["ID"], "web");
        assert_eq!(json["ConsulNamespace"], "");
        assert_eq!(json["Constraints"], Value::Null);
        let task = &json["TaskGroups"][0]["Tasks"][0];
        assert_eq!(task.get("Vault"), Some(&Value::Null));
        assert_eq!(task["Resources"]["IOPS"], 0);
    }

    #[test]
    fn a_block_without_keys_is_there_and_an_empty_list_is_null() {
        let mut job = json!({"TaskGroups": [{"Services": [
            {"Tags": [], "Connect": {"Gateway": {"Mesh": {}, "Ingress": {"Listeners": []}}}},
        ]}]});
        shapes::JOB.complete(&mut job);
        let service = &job["TaskGroups"][0]["Services"][0];
        assert_eq!(service["Tags"], Value::Null);
        assert_eq!(service["Connect"]["Gateway"]["Mesh"], json!({}));
        let ingress = &service["Connect"]["Gateway"]["Ingress"];
        assert_eq!(ingress["Listeners"], Value::Null);
    }

    #[test]
    fn events_repeat_their_details_where_older_clients_look() {
        let mut alloc = json!({"TaskStates": {"web": {"Events": [
            {"Type": "Terminated", "Details": {"exit_code": "3", "fails_task": "true", "signal": "x"}},
            {"Type": "Killing", "Details": {"kill_timeout": "5s"}},
        ]}}});
        shapes::ALLOCATION.complete(&mut alloc);
        let events = &alloc["TaskStates"]["web"]["Events"];
        assert_eq!(events[0]["ExitCode"], 3);
        assert_eq!(events[0]["Signal"], 0);
        assert_eq!(events[0]["FailsTask"], true);
        assert_eq!(events[1]["KillTimeout"], 5_000_000_000_i64);
        assert_eq!(events[1]["Message"], "");
        assert_eq!(alloc["FollowupEvalID"], "");
    }

    #[test]
    fn capitals_of_posted_keys_do_not_matter_but_free_keys_stay() {
        let mut posted = json!({"job": {
            "id": "web",
            "TYPE": "batch",
            "meta": {"id": "kept"},
            "taskgroups": [{"name": "g", "tasks": [
                {"driver": "raw_exec", "config": {"command": "x"}, "resources": {"memorymb": 5}},
            ]}],
        }});
        shapes::JOB_REGISTER_REQUEST.restore_case(&mut posted);
        assert_eq!(
            posted,
            json!({"Job": {
                "ID": "web",
                "Type": "batch",
                "Meta": {"id": "kept"},
                "TaskGroups": [{"Name": "g", "Tasks": [
                    {"Driver": "raw_exec", "Config": {"command": "x"}, "Resources": {"MemoryMB": 5}},
                ]}],
            }})
        );
    }

    #[test]
    fn a_key_in_both_spellings_keeps_the_known_one() {
        let mut posted = json!({"Job": {"ID": "right", "id": "wrong"}});
        shapes::JOB_PLAN_REQUEST.restore_case(&mut posted);
        assert_eq!(posted["Job"]["ID"], "right");
    }
}
