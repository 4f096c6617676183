//! Names that a file computes once.

use crate::spec::decode::Decoder;
use crate::spec::scope::Scope;
use hcl_edit::Span;
use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::structure::Body;
use hcl_edit::visit::{Visit, visit_traversal};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Locals of one file: each pass over them looks at all that are left.
const MOST_LOCALS: usize = 1000;

/// The values of all locals: each is computed once those that it names are known.
pub(in crate::spec) fn locals(
    decoder: &mut Decoder<'_, '_>,
    body: &Body,
    variables: &Map<String, Value>,
) -> Map<String, Value> {
    let mut pending: BTreeMap<String, (&Expression, Option<Range<usize>>)> = BTreeMap::new();
    for attribute in body
        .get_blocks("locals")
        .flat_map(|block| block.body.attributes())
    {
        let name = attribute.key.as_str().to_owned();
        let entry = (&attribute.value, attribute.key.span());
        if pending.insert(name.clone(), entry).is_some() {
            decoder.report(
                attribute.key.span(),
                format!("Duplicate value in locals; Duplicate {name} definition found."),
                "",
            );
        }
    }
    if pending.len() > MOST_LOCALS {
        decoder.report(
            None,
            format!("Too many locals; A job file may have at most {MOST_LOCALS} locals."),
            "",
        );
        return Map::new();
    }
    let outer = Scope::root([("var".to_owned(), Value::Object(variables.clone()))].into());
    let mut known = Map::new();
    loop {
        let ready: Vec<String> = pending
            .iter()
            .filter(|(_, (expr, _))| {
                named_locals(expr)
                    .iter()
                    .all(|name| !pending.contains_key(name))
            })
            .map(|(name, _)| name.clone())
            .collect();
        if ready.is_empty() {
            break;
        }
        // What is known moves into the scope and out again: copies in each pass would add up.
        let mut scope = outer.inner([("local".to_owned(), Value::Object(known))]);
        let mut fresh = Map::new();
        for name in ready {
            let Some((expr, _)) = pending.remove(&name) else {
                continue;
            };
            let value = decoder.evaluate(expr, &scope);
            fresh.insert(name, value);
        }
        known = match scope.take("local") {
            Some(Value::Object(known)) => known,
            _ => Map::new(),
        };
        known.extend(fresh);
    }
    for (name, (_, span)) in pending {
        decoder.report(
            span,
            format!("Circular reference; The local \"{name}\" refers to itself, directly or through others."),
            "",
        );
        known.insert(name, Value::Null);
    }
    known
}

/// The names `x` of all `local.x` in an expression.
fn named_locals(expr: &Expression) -> BTreeSet<String> {
    #[derive(Default)]
    struct Names(BTreeSet<String>);
    impl Visit for Names {
        fn visit_traversal(&mut self, node: &Traversal) {
            if let (Expression::Variable(root), Some(TraversalOperator::GetAttr(name))) = (
                &node.expr,
                node.operators.first().map(|operator| operator.value()),
            ) && root.as_str() == "local"
            {
                self.0.insert(name.as_str().to_owned());
            }
            visit_traversal(self, node);
        }
    }
    let mut names = Names::default();
    names.visit_expr(expr);
    names.0
}
