use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;

/// Bytes that the expressions of one file may allocate together, whether the values are kept or
/// not.
const BYTES_MAX: usize = 64 << 20;

/// What one value takes besides what hangs on it: its own bytes, and those that an allocation
/// costs.
const VALUE_BYTES: usize = size_of::<Value>() + 16;

/// What a key of an object takes besides its text and its value.
const KEY_BYTES: usize = size_of::<String>() + 24;

/// Lists and objects inside each other; more would not fit the stack of those that walk them.
const DEEPEST: usize = 100;

/// What all expressions of a file, its variables included, may still allocate. Every step takes
/// from it, so a loop that builds nothing ends too. Once something was refused, nothing is allowed
/// any more.
#[derive(Clone, Debug)]
pub(in crate::spec) struct Budget(Rc<Cell<usize>>);

/// The budget does not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent;

impl Budget {
    pub(in crate::spec) fn new() -> Self {
        Self(Rc::new(Cell::new(BYTES_MAX)))
    }

    /// True when nothing is allowed any more.
    pub(in crate::spec) fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    /// Takes a number of bytes.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Spent> {
        let left = self.0.get().saturating_sub(bytes);
        self.0.set(left);
        if left == 0 { Err(Spent) } else { Ok(()) }
    }

    /// Takes what a copy of a value allocates; refuses also a value that is nested too deep. Looks
    /// at no more of the value than the budget would allow to copy.
    pub(super) fn take_copy(&self, value: &Value) -> Result<(), Spent> {
        let fits = self.walk(value, DEEPEST);
        if fits.is_err() {
            self.0.set(0);
        }
        fits
    }

    fn walk(&self, value: &Value, deeper: usize) -> Result<(), Spent> {
        self.take(VALUE_BYTES)?;
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
            Value::String(text) => self.take(text.len()),
            Value::Array(items) => {
                let deeper = deeper.checked_sub(1).ok_or(Spent)?;
                items.iter().try_for_each(|item| self.walk(item, deeper))
            }
            Value::Object(map) => {
                let deeper = deeper.checked_sub(1).ok_or(Spent)?;
                map.iter().try_for_each(|(key, item)| {
                    self.take(KEY_BYTES + key.len())?;
                    self.walk(item, deeper)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_counted_is_what_is_allocated() {
        let budget = Budget::new();
        budget.take_copy(&json!([1, "ab"])).unwrap();
        assert_eq!(BYTES_MAX - budget.0.get(), 3 * VALUE_BYTES + 2);
        budget.take_copy(&json!({"key": null})).unwrap();
        assert_eq!(
            BYTES_MAX - budget.0.get(),
            5 * VALUE_BYTES + 2 + KEY_BYTES + 3
        );
    }

    #[test]
    fn a_refusal_ends_it() {
        let budget = Budget::new();
        assert_eq!(budget.take(BYTES_MAX + 1), Err(Spent));
        assert!(budget.is_spent());
        assert_eq!(budget.take(1), Err(Spent));
        let deep = (0..=DEEPEST).fold(Value::Null, |value, _| Value::Array(vec![value]));
        let budget = Budget::new();
        assert_eq!(budget.take_copy(&deep), Err(Spent));
        assert!(budget.is_spent());
    }
}
