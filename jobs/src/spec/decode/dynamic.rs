use super::convert::convert;
use super::{Decoder, Nested, Place, label};
use crate::spec::schema::{Kind, Schema};
use crate::spec::scope::Scope;
use crate::spec::value;
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::structure::Block;
use serde_json::{Map, Value};

impl Decoder<'_, '_> {
    /// `dynamic "port" { for_each = …  content { … } }`: one block for each element.
    pub(super) fn dynamic<'s>(
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
            self.missing(
                span,
                "Missing required argument; The argument \"for_each\" is required, but no definition was found.",
            );
            return;
        };
        let Some(content) = block.body.get_blocks("content").next() else {
            self.missing(span, "Missing dynamic content block; A dynamic block must have a nested block of type \"content\".");
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
        let collection = match self.evaluator.value(&for_each.value, scope) {
            Ok(collection) => collection,
            Err(fault) => return self.report_fault(fault),
        };
        let Ok(pairs) = value::pairs(collection) else {
            self.report(
                for_each.value.span(),
                "Invalid dynamic for_each value; Cannot use a value of this type in for_each. An iterable collection is required.",
                "",
            );
            return;
        };
        for (key, item) in pairs {
            let mut pair = Map::new();
            pair.insert("key".into(), key);
            pair.insert("value".into(), item);
            if self.evaluator.budget().is_spent() {
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
