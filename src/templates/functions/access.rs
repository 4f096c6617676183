//! Fields and methods of values: see [`crate::methods`].

use super::{Answer, Fields, State, add, argument, failed, list_at, same, text_at, yes_or_no};
use crate::{
    methods::ACCESS,
    values::{self, text as from},
};
use gotmpl::{FuncMap, TemplateError, Value};
use std::sync::Arc;

/// What the methods of a map work on.
#[derive(Clone, Debug)]
pub(super) enum Object {
    /// The items of a variable, with the facts about it.
    Variable(Value),
    /// What a template keeps for later.
    Scratch,
}

pub(super) fn add_all(map: &mut FuncMap, state: &Arc<State>) {
    let own = Arc::clone(state);
    add(map, ACCESS, 2..=usize::MAX, move |args| {
        let count = super::size_at(args, 1)?;
        let (base, rest) = (argument(args, 0)?, args.get(2..).unwrap_or_default());
        let (names, called_with) = rest
            .split_at_checked(count)
            .ok_or_else(|| failed("not enough arguments"))?;
        let mut value = base.clone();
        for (at, name) in names.iter().enumerate() {
            let called_with = if at + 1 == names.len() {
                called_with
            } else {
                &[]
            };
            value = own.member(&value, &name.to_string(), called_with)?;
        }
        Ok(value)
    });
    let own = Arc::clone(state);
    add(map, "scratch", 0..=0, move |_| {
        Ok(own.object(Fields::default(), Object::Scratch))
    });
}

impl State {
    /// A map with methods.
    pub(super) fn object(&self, fields: Fields, object: Object) -> Value {
        // Of its own, so that its place is not that of any other.
        let fields = Arc::new((*fields).clone());
        let mut objects = self.objects.lock();
        objects.push((Arc::clone(&fields), object));
        Value::Map(fields)
    }

    fn member(&self, value: &Value, name: &str, args: &[Value]) -> Answer {
        let none = || match args {
            [] => Err(failed(format!(
                "can't evaluate field {name} in type {}",
                value.type_name()
            ))),
            _ => Err(failed(format!(
                "`{name}` is no method of type {}",
                value.type_name()
            ))),
        };
        match value {
            Value::Map(fields) => {
                if let Some(found) = fields.get(name)
                    && args.is_empty()
                {
                    return Ok(found.clone());
                }
                let object = {
                    let objects = self.objects.lock();
                    let known = objects.iter().find(|(known, _)| Arc::ptr_eq(known, fields));
                    known.map(|(_, object)| object.clone())
                };
                let found = match object {
                    Some(Object::Variable(facts)) => of_variable(fields, &facts, name, args),
                    Some(Object::Scratch) => self.of_scratch(name, args)?,
                    None => None,
                };
                match found {
                    Some(found) => Ok(found),
                    None if !args.is_empty() => none(),
                    None if self.missing_key_fails => Err(TemplateError::MissingKey {
                        key: name.to_owned(),
                    }),
                    None => Ok(Value::Nil),
                }
            }
            // An item of a variable is its value.
            Value::String(_) if name == "Value" && args.is_empty() => Ok(value.clone()),
            Value::List(items) if name == "Contains" && args.len() == 1 => {
                let wanted = argument(args, 0)?;
                yes_or_no(items.iter().any(|item| same(item, wanted)))
            }
            Value::Nil if args.is_empty() => Ok(Value::Nil),
            _ => none(),
        }
    }

    /// None for an unknown method.
    fn of_scratch(&self, name: &str, args: &[Value]) -> Result<Option<Value>, TemplateError> {
        let mut kept = self.scratch.lock();
        let key = || text_at(args, 0);
        let nothing = Ok(Some(from("")));
        match (name, args.len()) {
            ("Key", 1) => Ok(Some(Value::Bool(kept.contains_key(&key()?)))),
            ("Get", 1) => Ok(Some(kept.get(&key()?).cloned().unwrap_or(Value::Nil))),
            ("Set", 2) => {
                kept.insert(key()?, argument(args, 1)?.clone());
                nothing
            }
            ("SetX", 2) => {
                let value = argument(args, 1)?.clone();
                kept.entry(key()?).or_insert(value);
                nothing
            }
            ("MapSet" | "MapSetX", 3) => {
                let (field, value) = (text_at(args, 1)?, argument(args, 2)?.clone());
                let map = kept
                    .entry(key()?)
                    .or_insert_with(|| Value::Map(Fields::default()));
                let Value::Map(fields) = map else {
                    return Err(failed(format!("`{map}` is no map")));
                };
                let fields = Arc::make_mut(fields);
                if name == "MapSet" || !fields.contains_key(field.as_str()) {
                    fields.insert(field.as_str().into(), value);
                }
                nothing
            }
            ("MapValues", 1) => match kept.get(&key()?) {
                Some(Value::Map(fields)) => Ok(Some(values::list(fields.values().cloned()))),
                Some(other) => Err(failed(format!("`{other}` is no map"))),
                None => Ok(Some(values::list([]))),
            },
            _ => Ok(None),
        }
    }
}

fn of_variable(fields: &Fields, facts: &Value, name: &str, args: &[Value]) -> Option<Value> {
    if !args.is_empty() {
        return None;
    }
    Some(match name {
        "Keys" => values::list(fields.keys().map(from)),
        "Values" => values::list(fields.values().cloned()),
        "Tuples" => values::list(
            fields
                .iter()
                .map(|(key, value)| values::map([("K", from(key)), ("V", value.clone())])),
        ),
        "Metadata" | "Parent" => facts.clone(),
        "Path" => facts.field("Path")?.clone(),
        _ => return None,
    })
}

/// The items of a list that are maps.
pub(super) fn maps(args: &[Value], at: usize) -> Result<Vec<Fields>, TemplateError> {
    let items = list_at(args, at)?.iter();
    let maps = items.map(|item| match item {
        Value::Map(fields) => Ok(Arc::clone(fields)),
        other => Err(failed(format!("`{other}` has no fields"))),
    });
    maps.collect()
}
