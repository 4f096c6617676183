//! The second pass over the configuration of a driver: what a job file left for run time gets its
//! value on the node, when the task starts.
//!
//! Texts are templates of the language, with its operators and a few of its functions; `$${` and
//! `%%{` stand for what follows their first character. Unlike in other fields, a name that is
//! unknown is a problem.

use super::evaluate::{Budget, Evaluator, Names};
use super::problem::Source;
use super::scope::Scope;
use crate::model::TaskConfig;
use hcl_edit::Span;
use hcl_edit::template::{Element, Template};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Why a text of a driver's configuration has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// No variable of that name exists.
    #[error(
        "unknown variable `${{{name}}}` (to pass it on as it is, write `$$${{{name}}}` in the job file)"
    )]
    UnknownVariable {
        /// The name as written.
        name: String,
    },
    /// The text is no template, or one that cannot be computed.
    #[error("`{text}`: {detail}")]
    Invalid {
        /// The whole text.
        text: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// The configuration with a value for every `${…}` and `%{…}` in its texts, at any depth.
///
/// `variables` are those of the task, which `env["…"]` has under any name; `lookup` knows them, and
/// the facts of the node such as `attr.cpu.arch`, by their names.
///
/// # Errors
/// Every text that cannot be resolved.
pub fn resolve(
    config: &TaskConfig,
    variables: &BTreeMap<String, String>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<TaskConfig, Vec<Unresolved>> {
    let environment: Map<String, Value> = variables
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    let mut resolver = Resolver {
        scope: Scope::root([("env".to_owned(), Value::Object(environment))].into()),
        names: Names { lookup },
        budget: Budget::new(),
        problems: Vec::new(),
    };
    let resolved = config
        .iter()
        .map(|(key, value)| (key.clone(), resolver.value(value)))
        .collect();
    if resolver.problems.is_empty() {
        Ok(resolved)
    } else {
        Err(resolver.problems)
    }
}

struct Resolver<'a> {
    scope: Scope<'a>,
    names: Names<'a>,
    /// Of all texts together.
    budget: Budget,
    problems: Vec<Unresolved>,
}

impl Resolver<'_> {
    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(key, item)| {
                    let key = match self.text(key) {
                        Value::String(key) => key,
                        _ => key.clone(),
                    };
                    (key, self.value(item))
                })
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// The value of a text; null after a problem.
    fn text(&mut self, text: &str) -> Value {
        if !text.contains("${") && !text.contains("%{") {
            return Value::from(text);
        }
        match self.template(text) {
            Ok(value) => value,
            Err(problem) => {
                self.problems.push(problem);
                Value::Null
            }
        }
    }

    fn template(&self, text: &str) -> Result<Value, Unresolved> {
        let invalid = |detail: String| Unresolved::Invalid {
            text: text.to_owned(),
            detail,
        };
        let template = hcl_edit::parser::parse_template(text).map_err(|error| {
            invalid(format!(
                "{} at its character {}; to pass \"${{\" or \"%{{\" on as they are, write \"$$${{\" and \"%%%{{\" in the job file",
                error.message(),
                error.location().column()
            ))
        })?;
        let source = Source::new("", text);
        let evaluator = Evaluator::at_run_time(&source, self.names, &self.budget);
        let result = match alone(&template) {
            Some(expr) => evaluator.value(expr, &self.scope),
            None => evaluator.text(&template, &self.scope).map(Value::String),
        };
        result.map_err(|fault| match fault.unknown {
            Some(name) => Unresolved::UnknownVariable { name },
            None => {
                let place = fault.span.map(|span| source.place(span.start));
                let column = place.map_or(1, |(_, column)| column);
                invalid(format!("{} (at its character {column})", fault.message))
            }
        })
    }
}

/// The expression of `${…}` alone, which has the value of the expression, whatever its type.
fn alone(template: &Template) -> Option<&hcl_edit::expr::Expression> {
    let mut elements = template.iter();
    match (elements.next(), elements.next()) {
        (Some(Element::Interpolation(part)), None) if part.expr.span().is_some() => {
            Some(&part.expr)
        }
        _ => None,
    }
}
