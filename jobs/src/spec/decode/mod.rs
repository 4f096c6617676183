//! Bodies to JSON objects of the API.

mod convert;
mod dynamic;
mod free;
mod unknown;

use super::evaluate::{Evaluator, Fault};
use super::problem::Problem;
use super::schema::{Attribute, BlockType, Content, Kind, Schema, Times};
use super::scope::Scope;
use convert::convert;
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{BlockLabel, Body, Structure};
use serde_json::{Map, Value};
use std::ops::Range;

/// Problems after which the rest of a file is not looked at.
const MOST_PROBLEMS: usize = 200;

/// What a block costs of the budget of the expressions, bytes: `dynamic` makes many of one.
const BLOCK_BYTES: usize = 1024;

type Place = Option<Range<usize>>;

/// Turns bodies into JSON objects of the API and collects every problem on the way.
pub(super) struct Decoder<'a, 'e> {
    pub(super) evaluator: &'e Evaluator<'a>,
    pub(super) problems: Vec<Problem>,
    /// Set when parts of the file are left out because they cannot be read: what seems to be
    /// missing may stand there.
    pub(super) is_torn: bool,
}

/// A block about to be decoded: written, or made by `dynamic`.
struct Nested<'b> {
    span: Place,
    labels: Vec<(String, Place)>,
    body: &'b Body,
}

impl Decoder<'_, '_> {
    /// Notes a problem.
    pub(super) fn report(
        &mut self,
        span: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        // What follows from a spent budget is no news.
        if !self.evaluator.budget().is_spent() {
            self.note(span, message.into(), hint.into());
        }
    }

    /// Notes that something is missing, which it may only seem to be.
    pub(super) fn missing(&mut self, span: Place, message: impl Into<String>) {
        if !self.is_torn {
            self.report(span, message, "");
        }
    }

    fn note(&mut self, span: Place, message: String, hint: String) {
        let mut problem = self.evaluator.source.problem(span, message);
        problem.hint = hint;
        self.add(problem);
    }

    /// Notes a problem, once: blocks that `dynamic` makes have the same one each.
    pub(super) fn add(&mut self, problem: Problem) {
        if self.problems.len() < MOST_PROBLEMS && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn report_fault(&mut self, fault: Fault) {
        if !fault.is_known {
            self.note(fault.span, fault.message, fault.hint);
        }
    }

    /// The value of an expression; null after a problem, so that decoding goes on.
    pub(super) fn evaluate(&mut self, expr: &Expression, scope: &Scope<'_>) -> Value {
        match self.evaluator.value(expr, scope) {
            Ok(value) => value,
            Err(fault) => {
                self.report_fault(fault);
                Value::Null
            }
        }
    }

    /// Decodes the body of the block at `owner` by its schema.
    pub(super) fn body(
        &mut self,
        body: &Body,
        owner: Place,
        schema: &Schema,
        scope: &Scope<'_>,
    ) -> Map<String, Value> {
        let mut out = Map::new();
        let mut seen: Vec<(&str, Place)> = Vec::new();
        for structure in body.iter() {
            if self.problems.len() >= MOST_PROBLEMS || self.evaluator.budget().is_spent() {
                break;
            }
            match structure {
                Structure::Attribute(attribute) => {
                    let name = attribute.key.as_str();
                    let span = attribute.key.span();
                    if let Some(known) = schema.attributes.iter().find(|known| known.name == name) {
                        self.attribute(known, &attribute.value, scope, &mut out);
                    } else if let Some(block) =
                        schema.blocks.iter().find(|block| block.name == name)
                    {
                        self.block_as_attribute(
                            block,
                            &attribute.value,
                            span.clone(),
                            scope,
                            &mut out,
                        );
                        if matches!(block.content, Content::Texts(true)) {
                            self.once(block, span, &mut seen);
                        }
                    } else {
                        self.unknown_attribute(name, span, schema);
                    }
                }
                Structure::Block(block) if block.ident.as_str() == "dynamic" => {
                    self.dynamic(block, schema, scope, &mut seen, &mut out);
                }
                Structure::Block(block) => {
                    let span = block.ident.span();
                    let nested = Nested {
                        span: span.clone(),
                        labels: block.labels.iter().map(label).collect(),
                        body: &block.body,
                    };
                    match schema
                        .blocks
                        .iter()
                        .find(|known| known.name == block.ident.as_str())
                    {
                        Some(known) => self.block(known, nested, scope, &mut seen, &mut out),
                        None => self.unknown_block(block.ident.as_str(), span, schema),
                    }
                }
            }
        }
        for attribute in schema.attributes {
            let given = body.iter().any(|structure| {
                matches!(structure, Structure::Attribute(given) if given.key.as_str() == attribute.name)
            });
            if attribute.required && !given {
                self.missing(
                    owner.clone(),
                    format!(
                        "Missing required argument; The argument \"{}\" is required, but no definition was found.",
                        attribute.name
                    ),
                );
            }
        }
        (schema.finish)(&mut out);
        out
    }

    fn attribute(
        &mut self,
        known: &Attribute,
        expr: &Expression,
        scope: &Scope<'_>,
        out: &mut Map<String, Value>,
    ) {
        let value = self.evaluate(expr, scope);
        if value.is_null() {
            return;
        }
        match convert(known.kind, value) {
            Ok(value) => {
                out.insert(known.key.to_owned(), value);
            }
            Err(detail) => {
                self.report(
                    expr.span(),
                    format!("Unsuitable value type; Unsuitable value: {detail}"),
                    "",
                );
            }
        }
    }

    /// Notes a block that may stand only once; false when it already did.
    fn once<'s>(
        &mut self,
        block: &'s BlockType,
        span: Place,
        seen: &mut Vec<(&'s str, Place)>,
    ) -> bool {
        if let Some((_, first)) = seen.iter().find(|(name, _)| *name == block.name) {
            let source = self.evaluator.source;
            let (line, column) = source.place(first.as_ref().map_or(0, |span| span.start));
            let name = block.name;
            self.report(
                span,
                format!(
                    "Duplicate {name} block; Only one {name} block is allowed. Another was defined at {}:{line},{column}.",
                    source.file
                ),
                "",
            );
            return false;
        }
        seen.push((block.name, span));
        true
    }

    fn block<'s>(
        &mut self,
        known: &'s BlockType,
        nested: Nested<'_>,
        scope: &Scope<'_>,
        seen: &mut Vec<(&'s str, Place)>,
        out: &mut Map<String, Value>,
    ) {
        if let Err(fault) = self.evaluator.charge(BLOCK_BYTES, nested.span.clone()) {
            self.report_fault(fault);
            return;
        }
        if known.times == Times::One && !self.once(known, nested.span.clone(), seen) {
            return;
        }
        let expected = usize::from(known.label.is_some());
        let name = known.name;
        if nested.labels.len() < expected {
            self.report(
                nested.span,
                format!("Missing name for {name}; All {name} blocks must have 1 labels (name)."),
                "",
            );
            return;
        }
        if let Some((_, extra)) = nested.labels.get(expected) {
            let detail = if expected == 0 {
                format!("No labels are expected for {name} blocks.")
            } else {
                format!("Only 1 labels (name) are expected for {name} blocks.")
            };
            self.report(
                extra.clone(),
                format!("Extraneous label for {name}; {detail}"),
                "",
            );
            return;
        }
        let mut map = match &known.content {
            Content::Schema(schema) => self.body(nested.body, nested.span.clone(), schema, scope),
            Content::Texts(_) => self.texts(nested.body, scope, Kind::Text),
            Content::Labels => self.labels(nested.body, scope),
            Content::TextLists => self.texts(nested.body, scope, Kind::TextList),
            Content::Free => self.free(nested.body, scope),
        };
        let label = nested.labels.first();
        if let (Some(key), Some((label, _))) = (known.label, label) {
            map.entry(key).or_insert(label.as_str().into());
        }
        if let Content::Schema(schema) = &known.content {
            self.checked(&nested, schema, &map);
        }
        match known.times {
            Times::One => {
                out.insert(known.key.to_owned(), Value::Object(map));
            }
            Times::Many => {
                let list = out
                    .entry(known.key)
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(items) = list {
                    items.push(Value::Object(map));
                }
            }
            Times::Named => {
                let all = out
                    .entry(known.key)
                    .or_insert_with(|| Value::Object(Map::new()));
                if let (Value::Object(all), Some((label, _))) = (all, label) {
                    all.insert(label.clone(), Value::Object(map));
                }
            }
        }
    }

    /// Reports what is wrong with a block as a whole, at the argument that is to blame. What was
    /// reported of an argument alone is not said again.
    fn checked(&mut self, nested: &Nested<'_>, schema: &Schema, map: &Map<String, Value>) {
        let place = |name: &str| {
            let attribute = nested.body.get_attribute(name)?;
            attribute.value.span()
        };
        let is_wrong = |known: &Attribute| {
            let is_written = nested.body.get_attribute(known.name).is_some();
            !map.contains_key(known.key) && (is_written || known.required)
        };
        let is_written = |(name, _): &(&str, &str)| nested.body.get_attribute(name).is_some();
        if schema.attributes.iter().any(is_wrong) || schema.foreign.iter().any(is_written) {
            return;
        }
        for wrong in (schema.check)(&Value::Object(map.clone())) {
            let of_label = nested.labels.first().and_then(|(_, span)| span.clone());
            let of_label = of_label.filter(|_| wrong.argument == "name");
            let span = place(wrong.argument).or(of_label);
            let span = span.or_else(|| nested.span.clone());
            self.report(span, format!("Unsuitable value; {}.", wrong.sentence), "");
        }
    }
}

/// The text of a label and where it stands.
pub(super) fn label(label: &BlockLabel) -> (String, Place) {
    match label {
        BlockLabel::Ident(name) => (name.as_str().to_owned(), name.span()),
        BlockLabel::String(text) => (text.value().clone(), text.span()),
    }
}
