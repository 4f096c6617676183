use super::{Evaluator, Fault};
use crate::spec::scope::Scope;
use crate::spec::value;
use hcl_edit::Span;
use hcl_edit::template::{Directive, Element, Strip, Template};

impl Evaluator<'_> {
    pub(super) fn template(
        &self,
        template: &Template,
        scope: &Scope<'_>,
        out: &mut String,
    ) -> Result<(), Fault> {
        let elements: Vec<&Element> = template.iter().collect();
        for (index, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(text) => {
                    let mut text = text.value().as_str();
                    let before = index.checked_sub(1).and_then(|at| elements.get(at));
                    if before.is_some_and(|element| strips(element).1) {
                        text = text.trim_start();
                    }
                    if elements
                        .get(index + 1)
                        .is_some_and(|element| strips(element).0)
                    {
                        text = text.trim_end();
                    }
                    out.push_str(text);
                }
                Element::Interpolation(part)
                    if !self.constant && self.is_run_time(&part.expr, scope) =>
                {
                    out.push_str(self.source.slice(part.span().unwrap_or_default()));
                }
                Element::Interpolation(part) => {
                    let value = self.value(&part.expr, scope)?;
                    let text = value::text(&value).ok_or_else(|| {
                        let detail = if value.is_null() {
                            "The expression result is null. Cannot include a null value in a string template."
                        } else {
                            "Cannot include the given value in a string template: string required."
                        };
                        Fault::new(part.expr.span(), format!("Invalid template interpolation value; {detail}"))
                    })?;
                    self.charge(text.len(), part.expr.span())?;
                    out.push_str(&text);
                }
                Element::Directive(directive) => self.directive(directive, scope, out)?,
            }
        }
        Ok(())
    }

    fn directive(
        &self,
        directive: &Directive,
        scope: &Scope<'_>,
        out: &mut String,
    ) -> Result<(), Fault> {
        match directive {
            Directive::If(choice) => {
                let cond = &choice.if_expr.cond_expr;
                let test = self.value(cond, scope)?;
                let (trim_start, template, trim_end) = match (value::flag(&test), &choice.else_expr)
                {
                    (Some(true), other) => (
                        choice.if_expr.strip.strip_end(),
                        &choice.if_expr.template,
                        match other {
                            Some(other) => other.strip.strip_start(),
                            None => choice.endif_expr.strip.strip_start(),
                        },
                    ),
                    (Some(false), Some(other)) => (
                        other.strip.strip_end(),
                        &other.template,
                        choice.endif_expr.strip.strip_start(),
                    ),
                    (Some(false), None) => return Ok(()),
                    (None, _) => {
                        return Err(Fault::new(
                            cond.span(),
                            "Incorrect condition type; The condition expression must be of type bool.",
                        ));
                    }
                };
                let mut text = String::new();
                self.template(template, scope, &mut text)?;
                out.push_str(trimmed(&text, trim_start, trim_end));
                Ok(())
            }
            Directive::For(directive) => {
                let intro = &directive.for_expr;
                let pairs = self.pairs(&intro.collection_expr, scope)?;
                for (key, value) in pairs {
                    let mut names = vec![(intro.value_var.as_str().to_owned(), value)];
                    if let Some(name) = &intro.key_var {
                        names.push((name.as_str().to_owned(), key));
                    }
                    let mut text = String::new();
                    self.template(&intro.template, &scope.inner(names), &mut text)?;
                    self.charge(text.len(), intro.collection_expr.span())?;
                    out.push_str(trimmed(
                        &text,
                        intro.strip.strip_end(),
                        directive.endfor_expr.strip.strip_start(),
                    ));
                }
                Ok(())
            }
        }
    }
}

/// Whether an element eats the white space before and after it.
fn strips(element: &Element) -> (bool, bool) {
    let both = |strip: Strip| (strip.strip_start(), strip.strip_end());
    match element {
        Element::Literal(_) => (false, false),
        Element::Interpolation(part) => both(part.strip),
        Element::Directive(directive) => match directive.as_ref() {
            Directive::If(part) => (
                part.if_expr.strip.strip_start(),
                part.endif_expr.strip.strip_end(),
            ),
            Directive::For(part) => (
                part.for_expr.strip.strip_start(),
                part.endfor_expr.strip.strip_end(),
            ),
        },
    }
}

fn trimmed(text: &str, start: bool, end: bool) -> &str {
    let text = if start { text.trim_start() } else { text };
    if end { text.trim_end() } else { text }
}
