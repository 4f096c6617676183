use super::{Evaluated, Evaluator, Fault, Names};
use crate::spec::scope::Scope;
use crate::spec::value;
use hcl_edit::Span;
use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use serde_json::Value;
use std::ops::Range;

impl Evaluator<'_> {
    pub(super) fn traversal(&self, traversal: &Traversal, scope: &Scope<'_>) -> Evaluated {
        let root = match &traversal.expr {
            // Only the part below the root is copied.
            Expression::Variable(name) => scope.get(name.as_str()),
            _ => None,
        };
        let computed;
        let root = match root {
            Some(root) => root,
            None => {
                computed = self.value(&traversal.expr, scope)?;
                &computed
            }
        };
        let operators: Vec<(&TraversalOperator, Option<Range<usize>>)> = traversal
            .operators
            .iter()
            .map(|operator| (operator.value(), operator.span()))
            .collect();
        self.walk(root, &operators, scope, &traversal.span())
    }

    /// The value of a reference at run time: the longest beginning of it that is a name has one.
    pub(super) fn named(
        &self,
        names: Names<'_>,
        expr: &Expression,
        scope: &Scope<'_>,
    ) -> Evaluated {
        let (root, operators) = match expr {
            Expression::Variable(name) => (name.as_str(), &[][..]),
            Expression::Traversal(traversal) => match &traversal.expr {
                Expression::Variable(name) => (name.as_str(), traversal.operators.as_slice()),
                _ => ("", &[][..]),
            },
            _ => ("", &[][..]),
        };
        let parts = operators
            .iter()
            .map_while(|operator| match operator.value() {
                TraversalOperator::GetAttr(name) => Some(name.as_str()),
                _ => None,
            });
        let mut name = root.to_owned();
        let mut found = (names.lookup)(&name).map(|value| (value, 0));
        for (at, part) in parts.enumerate() {
            name.push('.');
            name.push_str(part);
            if let Some(value) = (names.lookup)(&name) {
                found = Some((value, at + 1));
            }
        }
        let Some((value, used)) = found else {
            return Err(Fault {
                unknown: Some(name.clone()),
                ..Fault::new(
                    expr.span(),
                    format!("Unknown variable; There is no variable named \"{name}\"."),
                )
            });
        };
        let rest: Vec<(&TraversalOperator, Option<Range<usize>>)> = operators
            .iter()
            .skip(used)
            .map(|operator| (operator.value(), operator.span()))
            .collect();
        if rest.is_empty() {
            return Ok(Value::String(value));
        }
        self.walk(&Value::String(value), &rest, scope, &expr.span())
    }

    fn walk(
        &self,
        value: &Value,
        operators: &[(&TraversalOperator, Option<Range<usize>>)],
        scope: &Scope<'_>,
        whole: &Option<Range<usize>>,
    ) -> Evaluated {
        self.charge(super::STEP_BYTES, whole.clone())?;
        let Some(((operator, span), rest)) = operators.split_first() else {
            return self.copy(value, whole.clone());
        };
        match operator {
            TraversalOperator::GetAttr(name) => {
                let next = match value {
                    Value::Object(map) => map.get(name.as_str()),
                    _ => None,
                };
                let next = next.ok_or_else(|| {
                    Fault::new(
                        span.clone(),
                        match value {
                            Value::Object(_) => format!(
                                "Unsupported attribute; This object does not have an attribute named \"{}\".",
                                name.as_str()
                            ),
                            Value::Null => "Attempt to get attribute from null value; This value is null, so it does not have any attributes.".to_owned(),
                            _ => format!(
                                "Unsupported attribute; Can't access attributes on a value of type {}.",
                                value::type_name(value)
                            ),
                        },
                    )
                })?;
                self.walk(next, rest, scope, whole)
            }
            TraversalOperator::Index(expr) => {
                let key = self.value(expr, scope)?;
                let next = index(value, &key).ok_or_else(|| {
                    Fault::new(
                        expr.span(),
                        "Invalid index; The given key does not identify an element in this collection value.",
                    )
                })?;
                self.walk(next, rest, scope, whole)
            }
            TraversalOperator::LegacyIndex(number) => {
                let next = index(value, &Value::from(*number.value())).ok_or_else(|| {
                    Fault::new(
                        span.clone(),
                        "Invalid index; The given key does not identify an element in this collection value.",
                    )
                })?;
                self.walk(next, rest, scope, whole)
            }
            TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                let single;
                let items: &[Value] = match value {
                    Value::Array(items) => items,
                    Value::Null => &[],
                    other => {
                        single = [self.copy(other, whole.clone())?];
                        &single
                    }
                };
                items
                    .iter()
                    .map(|item| self.walk(item, rest, scope, whole))
                    .collect::<Result<_, _>>()
                    .map(Value::Array)
            }
        }
    }
}

/// The element of a list or object.
fn index<'v>(value: &'v Value, key: &Value) -> Option<&'v Value> {
    match value {
        Value::Array(items) => items.get(usize::try_from(value::whole(key)?).ok()?),
        Value::Object(map) => map.get(&value::text(key)?),
        _ => None,
    }
}
