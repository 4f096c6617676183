//! Files that describe a variable to be stored, in HCL.

use crate::{model::Timestamp, wire::Variable};
use hcl_edit::{
    expr::{Expression, ObjectKey},
    structure::{Body, Structure},
    template::Element,
};
use std::collections::BTreeMap;

/// Why a text describes no variable: every problem at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoredVariableError(String);

/// Reads the description of a variable: `namespace`, `path`, `items` as a block or an object, and
/// what the server sets.
///
/// # Errors
/// [`StoredVariableError`] with every problem.
pub fn parse_stored_variable(text: &str) -> Result<Variable, StoredVariableError> {
    let body: Body = text
        .parse()
        .map_err(|error: hcl_edit::parser::Error| StoredVariableError(error.to_string()))?;
    let mut reading = Reading::default();
    for structure in &body {
        match structure {
            Structure::Attribute(attribute) => {
                reading.attribute(attribute.key.as_str(), &attribute.value);
            }
            Structure::Block(block) if block.ident.as_str() == "items" => {
                let attributes = block.body.attributes();
                let items = attributes.map(|item| (item.key.to_string(), &item.value));
                reading.items(items);
            }
            Structure::Block(block) => reading.unknown(block.ident.as_str()),
        }
    }
    if reading.problems.is_empty() {
        Ok(reading.variable)
    } else {
        Err(StoredVariableError(reading.problems.join("\n")))
    }
}

/// A variable as far as it was read, and what was wrong on the way.
#[derive(Debug, Default)]
struct Reading {
    variable: Variable,
    problems: Vec<String>,
}

impl Reading {
    fn attribute(&mut self, key: &str, value: &Expression) {
        match key {
            "namespace" => self.variable.namespace = self.text(key, value),
            "path" => self.variable.path = self.text(key, value),
            "create_index" => self.variable.create_index = self.number(key, value),
            "modify_index" => self.variable.modify_index = self.number(key, value),
            "create_time" => self.variable.create_time = self.time(key, value),
            "modify_time" => self.variable.modify_time = self.time(key, value),
            "items" => match value.as_object() {
                Some(object) => {
                    let named = object.iter();
                    let named: Option<Vec<(String, &Expression)>> = named
                        .map(|(key, value)| Some((name(key)?, value.expr())))
                        .collect();
                    match named {
                        Some(items) => self.items(items.into_iter()),
                        None => self
                            .problems
                            .push("names of items must be plain texts".into()),
                    }
                }
                None => self.problems.push("items must be an object".into()),
            },
            key => self.unknown(key),
        }
    }

    fn items<'a>(&mut self, items: impl Iterator<Item = (String, &'a Expression)>) {
        let read: BTreeMap<String, String> = items
            .map(|(name, value)| {
                let value = self.text(&name, value);
                (name, value)
            })
            .collect();
        self.variable.items = Some(read);
    }

    fn unknown(&mut self, key: &str) {
        self.problems.push(format!(
            "{key} is not known: a variable has namespace, path, items, and what the server sets"
        ));
    }

    fn text(&mut self, key: &str, value: &Expression) -> String {
        plain(value).unwrap_or_else(|| {
            self.problems.push(format!("{key} must be a plain text"));
            String::new()
        })
    }

    fn number(&mut self, key: &str, value: &Expression) -> u64 {
        let number = value.as_number().and_then(|number| number.as_u64());
        number.unwrap_or_else(|| {
            self.problems.push(format!("{key} must be a whole number"));
            0
        })
    }

    fn time(&mut self, key: &str, value: &Expression) -> Timestamp {
        let nanos = self.number(key, value);
        Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

fn name(key: &ObjectKey) -> Option<String> {
    match key {
        ObjectKey::Ident(ident) => Some(ident.to_string()),
        ObjectKey::Expression(key) => plain(key),
    }
}

/// The text that an expression is; that of a number or a switch is how it is written.
fn plain(value: &Expression) -> Option<String> {
    match value {
        Expression::String(text) => Some(text.as_str().to_owned()),
        Expression::Number(number) => Some(number.value().to_string()),
        Expression::Bool(switch) => Some(switch.value().to_string()),
        Expression::HeredocTemplate(heredoc) => {
            let elements = heredoc.template.iter();
            let literals = elements.map(|element| match element {
                Element::Literal(literal) => Some(literal.as_str()),
                _ => None,
            });
            literals.collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_a_block_or_an_object() {
        let block = parse_stored_variable("path = \"a/b\"\nitems {\n  one = \"1\"\n  two = 2\n}\n");
        let object =
            parse_stored_variable("path = \"a/b\"\nitems = { one = 1, \"two\" = \"2\" }\n");
        let block = block.unwrap();
        assert_eq!(block, object.unwrap());
        assert_eq!(block.items.unwrap()["two"], "2");
        let heredoc = parse_stored_variable("items {\n  t = <<END\nline\nEND\n}\n").unwrap();
        assert_eq!(heredoc.items.unwrap()["t"], "line\n");
    }

    #[test]
    fn every_problem_is_told() {
        let text = "pathh = \"a\"\nmodify_index = \"x\"\nlock {}\nitems { a = [1] }\n";
        assert_eq!(
            parse_stored_variable(text).unwrap_err().to_string(),
            "pathh is not known: a variable has namespace, path, items, and what the server sets
modify_index must be a whole number
lock is not known: a variable has namespace, path, items, and what the server sets
a must be a plain text"
        );
        let error = parse_stored_variable("items = 3").unwrap_err().to_string();
        assert_eq!(error, "items must be an object");
    }
}
