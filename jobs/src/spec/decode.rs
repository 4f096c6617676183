use super::evaluate::{Evaluator, Fault};
use super::problem::{Problem, nearest};
use super::schema::{Attribute, BlockType, Content, Kind, Schema};
use super::scope::Scope;
use super::value;
use crate::wire::Duration;
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Block, BlockLabel, Body, Structure};
use serde_json::{Map, Value};
use std::ops::Range;

/// Problems after which the rest of a file is not looked at.
const MOST_PROBLEMS: usize = 200;

type Place = Option<Range<usize>>;

/// Turns bodies into JSON objects of the API and collects every problem on the way.
pub(super) struct Decoder<'a, 'e> {
    pub(super) evaluator: &'e Evaluator<'a>,
    pub(super) problems: Vec<Problem>,
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
        if self.problems.len() < MOST_PROBLEMS {
            let mut problem = self.evaluator.source.problem(span, message);
            problem.hint = hint.into();
            self.problems.push(problem);
        }
    }

    pub(super) fn report_fault(&mut self, fault: Fault) {
        self.report(fault.span, fault.message, fault.hint);
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
            if self.problems.len() >= MOST_PROBLEMS {
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
                self.report(
                    owner.clone(),
                    format!(
                        "Missing required argument; The argument \"{}\" is required, but no definition was found.",
                        attribute.name
                    ),
                    "",
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

    fn unknown_attribute(&mut self, name: &str, span: Place, schema: &Schema) {
        if schema.refused.contains(&name) {
            self.report(span, not_supported("argument", name), "");
            return;
        }
        let message =
            format!("Unsupported argument; An argument named \"{name}\" is not expected here.");
        let hint = nearest(name, schema.attributes.iter().map(|known| known.name))
            .map(|known| format!("Did you mean \"{known}\"?"))
            .or_else(|| {
                nearest(name, schema.blocks.iter().map(|known| known.name))
                    .map(|known| format!("Did you mean to define a block of type \"{known}\"?"))
            });
        self.report(span, message, hint.unwrap_or_default());
    }

    fn unknown_block(&mut self, name: &str, span: Place, schema: &Schema) {
        if schema.refused.contains(&name) {
            self.report(span, not_supported("block", name), "");
            return;
        }
        let message =
            format!("Unsupported block type; Blocks of type \"{name}\" are not expected here.");
        let hint = if schema.attributes.iter().any(|known| known.name == name) {
            Some(format!(
                "Did you mean to define argument \"{name}\"? If so, use the equals sign to assign it a value."
            ))
        } else {
            nearest(name, schema.blocks.iter().map(|known| known.name))
                .map(|known| format!("Did you mean \"{known}\"?"))
        };
        self.report(span, message, hint.unwrap_or_default());
    }

    /// `meta = {…}`, which is good for some blocks and a mistake for the others.
    fn block_as_attribute(
        &mut self,
        block: &BlockType,
        expr: &Expression,
        span: Place,
        scope: &Scope<'_>,
        out: &mut Map<String, Value>,
    ) {
        if !matches!(block.content, Content::Texts(true)) {
            self.report(
                span,
                format!(
                    "Unsupported argument; An argument named \"{}\" is not expected here.",
                    block.name
                ),
                format!("Did you mean to define a block of type \"{}\"?", block.name),
            );
            return;
        }
        match self.evaluate(expr, scope) {
            Value::Null => {}
            Value::Object(map) => {
                let mut texts = Map::new();
                for (key, item) in map {
                    match value::text(&item) {
                        Some(text) => {
                            texts.insert(key, text.into());
                        }
                        None => self.report(
                            expr.span(),
                            format!("Unsuitable value type; Unsuitable value: element \"{key}\": string required"),
                            "",
                        ),
                    }
                }
                out.insert(block.key.to_owned(), Value::Object(texts));
            }
            _ => self.report(
                expr.span(),
                "Unsuitable value type; Unsuitable value: map of string required",
                "",
            ),
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
        if !known.many && !self.once(known, nested.span.clone(), seen) {
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
            Content::Schema(schema) => self.body(nested.body, nested.span, schema, scope),
            Content::Texts(_) => self.texts(nested.body, scope, Kind::Text),
            Content::TextLists => self.texts(nested.body, scope, Kind::TextList),
            Content::Free => self.free(nested.body, scope, true),
            Content::Known => api_keys(self.free(nested.body, scope, false)),
        };
        if let (Some(key), Some((label, _))) = (known.label, nested.labels.into_iter().next()) {
            map.entry(key).or_insert(Value::String(label));
        }
        if known.many {
            let list = out
                .entry(known.key)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(items) = list {
                items.push(Value::Object(map));
            }
        } else {
            out.insert(known.key.to_owned(), Value::Object(map));
        }
    }

    /// Any attributes, each of one kind.
    fn texts(&mut self, body: &Body, scope: &Scope<'_>, kind: Kind) -> Map<String, Value> {
        let mut out = Map::new();
        for structure in body.iter() {
            match structure {
                Structure::Attribute(attribute) => {
                    let key = attribute.key.as_str();
                    let value = self.evaluate(&attribute.value, scope);
                    if value.is_null() {
                        continue;
                    }
                    match convert(kind, value) {
                        Ok(value) => {
                            out.insert(key.to_owned(), value);
                        }
                        Err(detail) => self.report(
                            attribute.value.span(),
                            format!("Unsuitable value type; Unsuitable value: {detail}"),
                            "",
                        ),
                    }
                }
                Structure::Block(block) => self.report(
                    block.ident.span(),
                    format!(
                        "Unexpected \"{}\" block; Blocks are not allowed here.",
                        block.ident.as_str()
                    ),
                    "",
                ),
            }
        }
        out
    }

    /// Any attributes and blocks; blocks become lists of objects, nested by their labels.
    fn free(&mut self, body: &Body, scope: &Scope<'_>, wrap: bool) -> Map<String, Value> {
        let mut out = Map::new();
        for structure in body.iter() {
            match structure {
                Structure::Attribute(attribute) => {
                    let value = match self.evaluate(&attribute.value, scope) {
                        object @ Value::Object(_) if wrap => Value::Array(vec![object]),
                        other => other,
                    };
                    out.insert(attribute.key.as_str().to_owned(), value);
                }
                Structure::Block(block) => {
                    let mut value = Value::Object(self.free(&block.body, scope, false));
                    for name in block.labels.iter().rev() {
                        let mut outer = Map::new();
                        outer.insert(label(name).0, Value::Array(vec![value]));
                        value = Value::Object(outer);
                    }
                    let list = out
                        .entry(block.ident.as_str())
                        .or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(items) = list {
                        items.push(value);
                    }
                }
            }
        }
        out
    }

    /// `dynamic "port" { for_each = …  content { … } }`: one block for each element.
    fn dynamic<'s>(
        &mut self,
        block: &Block,
        schema: &'s Schema,
        scope: &Scope<'_>,
        seen: &mut Vec<(&'s str, Place)>,
        out: &mut Map<String, Value>,
    ) {
        let span = block.ident.span();
        let Some((name, name_span)) = block.labels.first().map(label) else {
            self.report(
                span,
                "Missing name for dynamic; All dynamic blocks must have 1 labels (name).",
                "",
            );
            return;
        };
        let Some(known) = schema.blocks.iter().find(|known| known.name == name) else {
            self.unknown_block(&name, name_span, schema);
            return;
        };
        let Some(for_each) = block.body.get_attribute("for_each") else {
            self.report(
                span,
                "Missing required argument; The argument \"for_each\" is required, but no definition was found.",
                "",
            );
            return;
        };
        let Some(content) = block.body.get_blocks("content").next() else {
            self.report(span, "Missing dynamic content block; A dynamic block must have a nested block of type \"content\".", "");
            return;
        };
        let iterator = match block
            .body
            .get_attribute("iterator")
            .map(|attribute| &attribute.value)
        {
            Some(Expression::Variable(name)) => name.as_str().to_owned(),
            Some(other) => {
                self.report(
                    other.span(),
                    "Invalid expression; A single variable name is required here.",
                    "",
                );
                return;
            }
            None => name,
        };
        let collection = self.evaluate(&for_each.value, scope);
        let Some(pairs) = value::pairs(&collection) else {
            // After a problem in the expression itself there is nothing to add.
            if self.problems.is_empty() || !collection.is_null() {
                self.report(
                    for_each.value.span(),
                    "Invalid dynamic for_each value; Cannot use a value of this type in for_each. An iterable collection is required.",
                    "",
                );
            }
            return;
        };
        for (key, item) in pairs {
            let mut pair = Map::new();
            pair.insert("key".into(), key);
            pair.insert("value".into(), item);
            if let Err(fault) = self
                .evaluator
                .charge(Value::Object(pair.clone()), for_each.value.span())
            {
                self.report_fault(fault);
                return;
            }
            let inner = scope.inner([(iterator.clone(), Value::Object(pair))]);
            let labels = match block.body.get_attribute("labels") {
                None => Vec::new(),
                Some(attribute) => {
                    match convert(Kind::TextList, self.evaluate(&attribute.value, &inner)) {
                        Ok(Value::Array(labels)) => labels
                            .iter()
                            .filter_map(value::text)
                            .map(|label| (label, attribute.value.span()))
                            .collect(),
                        _ => {
                            self.report(
                                attribute.value.span(),
                                "Invalid dynamic block label; A list of strings is required.",
                                "",
                            );
                            return;
                        }
                    }
                }
            };
            let nested = Nested {
                span: content.ident.span(),
                labels,
                body: &content.body,
            };
            self.block(known, nested, &inner, seen, out);
        }
    }
}

fn not_supported(what: &str, name: &str) -> String {
    format!("Not supported yet; {what} \"{name}\" is not supported yet by this version.")
}

/// The text of a label and where it stands.
pub(super) fn label(label: &BlockLabel) -> (String, Place) {
    match label {
        BlockLabel::Ident(name) => (name.as_str().to_owned(), name.span()),
        BlockLabel::String(text) => (text.value().clone(), text.span()),
    }
}

/// The value as an attribute's kind, or what is required.
fn convert(kind: Kind, value: Value) -> Result<Value, String> {
    match kind {
        Kind::Text => value::text(&value)
            .map(Value::String)
            .ok_or_else(|| "string required".into()),
        Kind::Whole => match value::whole(&value) {
            Some(number) => Ok(number.into()),
            None if value::number(&value).is_some() => Err("a whole number is required".into()),
            None => Err("a number is required".into()),
        },
        Kind::Flag => value::flag(&value)
            .map(Value::Bool)
            .ok_or_else(|| "bool required".into()),
        Kind::Duration => match &value {
            Value::Number(number) => number
                .as_i64()
                .map(Value::from)
                .ok_or_else(|| "a whole number of nanoseconds is required".into()),
            Value::String(text) => Duration::parse(text)
                .map(|duration| duration.0.into())
                .map_err(|error| error.to_string()),
            _ => Err("a duration such as \"30s\" is required".into()),
        },
        Kind::TextList => match value {
            Value::Array(items) => items
                .iter()
                .map(|item| value::text(item).map(Value::String))
                .collect::<Option<Vec<_>>>()
                .map(Value::Array)
                .ok_or_else(|| "list of string required".into()),
            _ => Err("list of string required".into()),
        },
    }
}

/// Names such as `link_url` as the API writes them: `LinkUrl`.
fn api_keys(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter()
        .map(|(key, value)| {
            let mut name = String::new();
            for word in key.split('_') {
                let mut letters = word.chars();
                name.extend(letters.next().into_iter().flat_map(char::to_uppercase));
                name.push_str(letters.as_str());
            }
            let value = match value {
                Value::Array(items) => items
                    .into_iter()
                    .map(|item| match item {
                        Value::Object(map) => Value::Object(api_keys(map)),
                        other => other,
                    })
                    .collect(),
                other => other,
            };
            (name, value)
        })
        .collect()
}
