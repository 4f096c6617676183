use serde_json::Value;
use std::collections::BTreeMap;

/// The names that an expression sees: its own, then those around it.
#[derive(Debug, Default)]
pub(super) struct Scope<'p> {
    parent: Option<&'p Scope<'p>>,
    names: BTreeMap<String, Value>,
}

impl<'p> Scope<'p> {
    /// The outermost scope.
    pub(super) fn root(names: BTreeMap<String, Value>) -> Self {
        Self {
            parent: None,
            names,
        }
    }

    /// A scope inside this one with more names.
    pub(super) fn inner(&'p self, names: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self {
            parent: Some(self),
            names: names.into_iter().collect(),
        }
    }

    /// Takes one of its own names out.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.names.remove(name)
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let mut scope = Some(self);
        while let Some(current) = scope {
            if let Some(value) = current.names.get(name) {
                return Some(value);
            }
            scope = current.parent;
        }
        None
    }
}
