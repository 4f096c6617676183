//! Values of input variables from outside the file.

use super::{Assigned, Declaration, Declarations, PREFIX};
use crate::spec::decode::Decoder;
use crate::spec::evaluate::{Budget, Evaluator};
use crate::spec::json_form;
use crate::spec::problem::{Problem, Source, nearest};
use crate::spec::scope::Scope;
use crate::spec::syntax::{self, json_problem};
use crate::spec::{VariableFile, Variables};
use hcl_edit::Span;
use hcl_edit::structure::Structure;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::Range;

type Values = BTreeMap<String, Assigned>;

/// Values from outside, the strongest source last.
pub(super) fn values(
    decoder: &mut Decoder<'_, '_>,
    given: &Variables,
    declarations: &Declarations<'_>,
) -> Values {
    let mut values = BTreeMap::new();
    for (key, text) in &given.environment {
        let declared = key
            .strip_prefix(PREFIX)
            .and_then(|name| declarations.get_key_value(name));
        if let Some((name, declaration)) = declared {
            let from = Text {
                name,
                text,
                origin: "env",
                file: format!("<value for var.{name} from env>"),
                summary: "Invalid value for variable",
            };
            from.take(decoder, declaration, &mut values);
        }
    }
    for file in &given.files {
        from_file(decoder, file, given, declarations, &mut values);
    }
    for (name, text) in &given.flags {
        match declarations.get(name) {
            Some(declaration) => {
                let from = Text {
                    name,
                    text,
                    origin: "cmd",
                    file: format!("<value for var.{name} from arguments>"),
                    summary: "Invalid argument value for -var variable",
                };
                from.take(decoder, declaration, &mut values);
            }
            None if given.tolerate_undeclared => {}
            None => decoder.report(
                None,
                format!("Undefined -var variable; A \"{name}\" variable was passed in the command line but was not found in known variables."),
                undeclared(name, declarations),
            ),
        }
    }
    values
}

/// What to do about a value without a declaration.
fn undeclared(name: &str, declarations: &Declarations<'_>) -> String {
    match nearest(name, declarations.keys().map(String::as_str)) {
        Some(known) => format!("Did you mean \"{known}\"?"),
        None => format!("Declare it in the job file: variable \"{name}\" {{}}."),
    }
}

/// A value as text, from a flag or the environment.
struct Text<'t> {
    name: &'t str,
    text: &'t str,
    origin: &'static str,
    /// What messages call the place.
    file: String,
    summary: &'static str,
}

impl Text<'_> {
    fn take(
        &self,
        decoder: &mut Decoder<'_, '_>,
        declaration: &Declaration<'_>,
        values: &mut Values,
    ) {
        let source = Source::new(&self.file, self.text);
        let value = match self.read(&source, declaration, decoder.evaluator.budget()) {
            Ok(value) => value,
            Err(problems) => {
                problems
                    .into_iter()
                    .for_each(|problem| decoder.add(problem));
                // Given, if badly: it does not count as unset too.
                declaration.declared_type.blank()
            }
        };
        let assigned = Assigned {
            value,
            origin: self.origin,
            place: source.problem(Some(0..self.text.len()), ""),
        };
        values.insert(self.name.to_owned(), assigned);
    }

    fn read(
        &self,
        source: &Source<'_>,
        declaration: &Declaration<'_>,
        budget: &Budget,
    ) -> Result<Value, Vec<Problem>> {
        let all = Some(0..self.text.len());
        let value = if declaration.declared_type.is_raw_text() {
            Value::from(self.text)
        } else {
            let expr = syntax::read_expression(source)?;
            Evaluator::constant(source, budget)
                .value(&expr, &Scope::default())
                .map_err(|fault| {
                    vec![source.problem(fault.span.or_else(|| all.clone()), fault.message)]
                })?
        };
        declaration.declared_type.convert(value).map_err(|detail| {
            let message = format!(
                "{}; The value for {} is not compatible with the variable's type constraint: {detail}.",
                self.summary, self.name
            );
            vec![source.problem(all, message)]
        })
    }
}

/// A variable file being read.
struct Reader<'r> {
    source: Source<'r>,
    declarations: &'r Declarations<'r>,
    tolerate_undeclared: bool,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn take(
        &mut self,
        name: &str,
        span: Option<Range<usize>>,
        value_span: Option<Range<usize>>,
        value: Value,
        values: &mut Values,
    ) {
        let Some(declaration) = self.declarations.get(name) else {
            if !self.tolerate_undeclared {
                let message = format!(
                    "Undefined variable; A \"{name}\" variable was set but was not found in known variables."
                );
                let mut problem = self.source.problem(span, message);
                problem.hint = undeclared(name, self.declarations);
                self.problems.push(problem);
            }
            return;
        };
        let value = declaration.declared_type.convert(value).unwrap_or_else(|detail| {
            let message = format!("Invalid value for variable; The value for {name} is not compatible with the variable's type constraint: {detail}.");
            self.problems.push(self.source.problem(value_span.clone(), message));
            declaration.declared_type.blank()
        });
        let assigned = Assigned {
            value,
            origin: "varfile",
            place: self.source.problem(value_span, ""),
        };
        values.insert(name.to_owned(), assigned);
    }

    /// `name = value` lines; declarations do not belong here.
    fn hcl(&mut self, budget: &Budget, values: &mut Values) {
        let read = syntax::read(&self.source);
        self.problems.extend(read.problems);
        let Some(body) = read.body else {
            return;
        };
        let text = read.text.as_deref().unwrap_or(self.source.text);
        let source = Source::new(&self.source.file, text);
        let evaluator = Evaluator::constant(&source, budget);
        for structure in body.iter() {
            match structure {
                Structure::Attribute(attribute) => {
                    match evaluator.value(&attribute.value, &Scope::default()) {
                        Ok(value) => self.take(
                            attribute.key.as_str(),
                            attribute.key.span(),
                            attribute.value.span(),
                            value,
                            values,
                        ),
                        Err(fault) if fault.is_known => {}
                        Err(fault) => self
                            .problems
                            .push(source.problem(fault.span, fault.message)),
                    }
                }
                Structure::Block(block) => self.problems.push(source.problem(
                    block.ident.span(),
                    "Variable declaration in a .var file; A variable file holds only values: name = value.",
                )),
            }
        }
    }

    fn json(&mut self, values: &mut Values) {
        let map = match serde_json::from_str::<Map<String, Value>>(self.source.text) {
            Ok(map) => map,
            Err(error) => {
                self.problems.push(json_problem(&self.source, &error));
                return;
            }
        };
        let entries = match json_form::locate(self.source.text).map(|located| located.item) {
            Some(json_form::Item::Map(entries)) => entries,
            _ => Vec::new(),
        };
        for (name, value) in map {
            let place = entries.iter().rfind(|(key, _)| key.text == name);
            let span = place.map(|(key, _)| key.span.clone());
            let value_span = place.map(|(_, value)| value.span.clone());
            self.take(&name, span, value_span, value, values);
        }
    }
}

fn from_file(
    decoder: &mut Decoder<'_, '_>,
    file: &VariableFile,
    given: &Variables,
    declarations: &Declarations<'_>,
    values: &mut Values,
) {
    let mut reader = Reader {
        source: Source::new(&file.name, &file.text),
        declarations,
        tolerate_undeclared: given.tolerate_undeclared,
        problems: Vec::new(),
    };
    if file.text.trim_start().starts_with('{') {
        reader.json(values);
    } else {
        reader.hcl(decoder.evaluator.budget(), values);
    }
    reader
        .problems
        .into_iter()
        .for_each(|problem| decoder.add(problem));
}
