use super::convert::convert;
use super::{Decoder, Place, label};
use crate::model::RolloutPolicy;
use crate::spec::schema::{BlockType, Content, Kind};
use crate::spec::scope::Scope;
use crate::spec::value;
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Body, Structure};
use serde_json::{Map, Value};

impl Decoder<'_, '_> {
    /// `meta = {…}`, which is good for some blocks and a mistake for the others.
    pub(super) fn block_as_attribute(
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

    /// Any attributes, each of one kind.
    pub(super) fn texts(
        &mut self,
        body: &Body,
        scope: &Scope<'_>,
        kind: Kind,
    ) -> Map<String, Value> {
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

    /// The labels of a service. What some of them say of canaries is checked here, where its place
    /// is known; what is put in later is checked when all of it is.
    pub(super) fn labels(&mut self, body: &Body, scope: &Scope<'_>) -> Map<String, Value> {
        let labels = self.texts(body, scope, Kind::Text);
        let mut policy = RolloutPolicy::default();
        for structure in body.iter() {
            let Structure::Attribute(attribute) = structure else {
                continue;
            };
            let key = attribute.key.as_str();
            let text = labels.get(key).and_then(Value::as_str);
            let Some(text) = text.filter(|text| !text.contains("${")) else {
                continue;
            };
            if key.starts_with(RolloutPolicy::PREFIX)
                && let Err(problem) = policy.set(key, text)
            {
                let place = attribute.value.span();
                self.report(place, format!("Unsuitable value; {problem}."), "");
            }
        }
        labels
    }

    /// Any attributes and blocks; blocks become lists of objects, nested by their labels.
    pub(super) fn free(&mut self, body: &Body, scope: &Scope<'_>) -> Map<String, Value> {
        let mut out = Map::new();
        for structure in body.iter() {
            match structure {
                Structure::Attribute(attribute) => {
                    // What is written as an object is as good as a block.
                    let written = matches!(attribute.value, Expression::Object(_));
                    let value = match self.evaluate(&attribute.value, scope) {
                        object @ Value::Object(_) if written => Value::Array(vec![object]),
                        other => other,
                    };
                    out.insert(attribute.key.as_str().to_owned(), value);
                }
                Structure::Block(block) => {
                    let mut value = Value::Object(self.free(&block.body, scope));
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
}
