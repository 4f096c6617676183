//! Rules that a file gives for the values of its variables.

use super::Assigned;
use crate::spec::decode::Decoder;
use crate::spec::evaluate::Evaluator;
use crate::spec::problem::{Problem, nearest};
use crate::spec::scope::Scope;
use crate::spec::value;
use hcl_edit::Span;
use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::structure::{Block, Structure};
use hcl_edit::visit::{Visit, visit_expr, visit_traversal};
use serde_json::{Map, Value};
use std::ops::Range;

const ARGUMENTS: [&str; 2] = ["condition", "error_message"];

/// Looks at a `validation` block, whatever the value of its variable.
pub(super) fn check(decoder: &mut Decoder<'_, '_>, name: &str, block: &Block) {
    for structure in block.body.iter() {
        match structure {
            Structure::Attribute(attribute) if ARGUMENTS.contains(&attribute.key.as_str()) => {}
            Structure::Attribute(attribute) => {
                let key = attribute.key.as_str();
                let hint =
                    nearest(key, ARGUMENTS).map(|known| format!("Did you mean \"{known}\"?"));
                decoder.report(
                    attribute.key.span(),
                    format!(
                        "Unsupported argument; An argument named \"{key}\" is not expected here."
                    ),
                    hint.unwrap_or_default(),
                );
            }
            Structure::Block(inner) => decoder.report(
                inner.ident.span(),
                format!(
                    "Unsupported block type; Blocks of type \"{}\" are not expected here.",
                    inner.ident.as_str()
                ),
                "",
            ),
        }
    }
    for argument in ARGUMENTS {
        if block.body.get_attribute(argument).is_none() {
            decoder.missing(
                block.ident.span(),
                format!("Missing required argument; The argument \"{argument}\" is required, but no definition was found."),
            );
        }
    }
    if let Some(condition) = block.body.get_attribute("condition") {
        check_condition(decoder, name, &condition.value);
    }
    if let Some(message) = block.body.get_attribute("error_message")
        && self::message(decoder, block).is_some_and(|text| text.trim().is_empty())
    {
        decoder.report(
            message.value.span(),
            "Invalid validation error message; An empty or blank string is not a valid nor useful error message.",
            "",
        );
    }
}

/// The text of `error_message`; none when it is none.
fn message(decoder: &Decoder<'_, '_>, block: &Block) -> Option<String> {
    let attribute = block.body.get_attribute("error_message")?;
    let evaluator = Evaluator::constant(decoder.evaluator.source, decoder.evaluator.budget());
    let value = evaluator.value(&attribute.value, &Scope::default()).ok()?;
    value::text(&value)
}

fn check_condition(decoder: &mut Decoder<'_, '_>, name: &str, condition: &Expression) {
    let references = References::of(name, condition);
    for span in references.foreign {
        decoder.report(
            span,
            format!("Invalid reference in variable validation; The condition for variable \"{name}\" can only refer to the variable itself, using var.{name}."),
            "",
        );
    }
    if references.own == 0 {
        decoder.report(
            condition.span(),
            format!("Invalid variable validation condition; The condition for variable \"{name}\" must refer to var.{name} in order to test incoming values."),
            "",
        );
    }
}

/// What a condition refers to.
struct References<'n> {
    name: &'n str,
    own: usize,
    foreign: Vec<Option<Range<usize>>>,
}

impl<'n> References<'n> {
    fn of(name: &'n str, condition: &Expression) -> Self {
        let mut references = Self {
            name,
            own: 0,
            foreign: Vec::new(),
        };
        references.visit_expr(condition);
        references
    }
}

impl Visit for References<'_> {
    fn visit_traversal(&mut self, node: &Traversal) {
        let Expression::Variable(root) = &node.expr else {
            visit_traversal(self, node);
            return;
        };
        let first = node.operators.first().map(|operator| operator.value());
        match first {
            Some(TraversalOperator::GetAttr(name)) if root.as_str() == "var" => {
                if name.as_str() == self.name {
                    self.own += 1;
                } else {
                    self.foreign.push(node.span());
                }
            }
            // Names of loops inside the condition, and texts for run time.
            _ => {}
        }
        for operator in &node.operators {
            if let TraversalOperator::Index(expr) = operator.value() {
                visit_expr(self, expr);
            }
        }
    }
}

/// Tests the value that a variable has.
pub(super) fn apply(decoder: &mut Decoder<'_, '_>, name: &str, block: &Block, assigned: &Assigned) {
    let Some(condition) = block.body.get_attribute("condition") else {
        return;
    };
    if !References::of(name, &condition.value).foreign.is_empty() {
        // That has been told.
        return;
    }
    let mut own = Map::new();
    own.insert(name.to_owned(), assigned.value.clone());
    let scope = Scope::root([("var".to_owned(), Value::Object(own))].into());
    let result = match decoder.evaluator.value(&condition.value, &scope) {
        Ok(result) => result,
        Err(fault) => return decoder.report_fault(fault),
    };
    let wrong = |detail: String| format!("Invalid variable validation result; {detail}");
    match value::flag(&result) {
        Some(true) => {}
        Some(false) => {
            let rule = decoder.evaluator.source.problem(block.ident.span(), "");
            decoder.add(Problem {
                message: format!(
                    "Invalid value for {} variable; {}",
                    assigned.origin,
                    message(decoder, block).unwrap_or_default().trim()
                ),
                hint: format!(
                    "This was checked by the validation rule at {}:{},{}-{}.",
                    rule.file, rule.line, rule.column, rule.end_column
                ),
                ..assigned.place.clone()
            });
        }
        None if result.is_null() => decoder.report(
            condition.value.span(),
            wrong(
                "Validation condition expression must return either true or false, not null."
                    .into(),
            ),
            "",
        ),
        None => decoder.report(
            condition.value.span(),
            wrong(format!(
                "Invalid validation condition result value: bool required, but have {}.",
                value::type_name(&result)
            )),
            "",
        ),
    }
}
