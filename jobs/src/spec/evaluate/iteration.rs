use super::{Evaluated, Evaluator, Fault};
use crate::spec::scope::Scope;
use crate::spec::value;
use hcl_edit::Span;
use hcl_edit::expr::{Expression, ForCond, ForExpr};
use serde_json::{Map, Value};

impl Evaluator<'_> {
    /// The pairs of the collection that a `for` walks.
    pub(super) fn pairs(
        &self,
        expr: &Expression,
        scope: &Scope<'_>,
    ) -> Result<Vec<(Value, Value)>, Fault> {
        let collection = self.value(expr, scope)?;
        value::pairs(collection).map_err(|other| {
            let text = if other.is_null() {
                "Iteration over null value; A null value cannot be used as the collection in a 'for' expression.".to_owned()
            } else {
                format!(
                    "Iteration over non-iterable value; A value of type {} cannot be used as the collection in a 'for' expression.",
                    value::type_name(&other)
                )
            };
            Fault::new(expr.span(), text)
        })
    }

    pub(super) fn for_expr(&self, expr: &ForExpr, scope: &Scope<'_>) -> Evaluated {
        let mut list = Vec::new();
        let mut map: Map<String, Value> = Map::new();
        for (key, value) in self.pairs(&expr.intro.collection_expr, scope)? {
            let mut names = vec![(expr.intro.value_var.as_str().to_owned(), value)];
            if let Some(name) = &expr.intro.key_var {
                names.push((name.as_str().to_owned(), key));
            }
            let inner = scope.inner(names);
            if !self.passes(expr.cond.as_ref(), &inner)? {
                continue;
            }
            let value = self.value(&expr.value_expr, &inner)?;
            let Some(key_expr) = &expr.key_expr else {
                list.push(value);
                continue;
            };
            let key = value::text(&self.value(key_expr, &inner)?).ok_or_else(|| {
                Fault::new(
                    key_expr.span(),
                    "Invalid object key; The key expression must be a string.",
                )
            })?;
            if expr.grouping {
                let group = map.entry(key).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(items) = group {
                    items.push(value);
                }
            } else if map.insert(key.clone(), value).is_some() {
                return Err(Fault::new(
                    key_expr.span(),
                    format!(
                        "Duplicate object key; Two different items produced the key {key:?} in this 'for' expression."
                    ),
                ));
            }
        }
        Ok(if expr.key_expr.is_some() {
            Value::Object(map)
        } else {
            Value::Array(list)
        })
    }

    fn passes(&self, cond: Option<&ForCond>, scope: &Scope<'_>) -> Result<bool, Fault> {
        let Some(cond) = cond else {
            return Ok(true);
        };
        let test = self.value(&cond.expr, scope)?;
        value::flag(&test).ok_or_else(|| {
            Fault::new(
                cond.expr.span(),
                "Invalid 'for' condition; The 'if' clause value must be of type bool.",
            )
        })
    }
}
