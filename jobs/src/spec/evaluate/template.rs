use super::literals::{Literals, strips};
use super::{Evaluator, Fault};
use crate::spec::scope::Scope;
use crate::spec::value;
use hcl_edit::Span;
use hcl_edit::template::{Directive, Element, Template};

/// How the literal parts of a text are read.
#[derive(Clone, Copy, Default)]
pub(super) struct Layout<'l> {
    /// Those of a heredoc whose lines lose their indentation.
    indented: Option<&'l Literals>,
    /// The text stands in quotes.
    quoted: bool,
    /// Inside a directive: there the parser has left the text as it is.
    nested: bool,
    /// A marker before the text eats the white space at its start.
    trims_start: bool,
    /// A marker behind the text eats the white space at its end.
    trims_end: bool,
}

impl<'l> Layout<'l> {
    /// A text in quotes.
    pub(super) fn quoted() -> Self {
        Self {
            quoted: true,
            ..Self::default()
        }
    }

    /// A heredoc whose lines lose their indentation.
    pub(super) fn indented(literals: &'l Literals) -> Self {
        Self {
            indented: Some(literals),
            ..Self::default()
        }
    }

    fn inside(self, trims_start: bool, trims_end: bool) -> Self {
        Self {
            nested: true,
            trims_start,
            trims_end,
            ..self
        }
    }

    /// Literal text with the white space that it keeps between its neighbors. A marker reaches to
    /// the end of its line and no further.
    fn literal(self, text: &str, eaten_before: bool, eaten_behind: bool) -> String {
        let mut text = if self.nested && self.quoted {
            unescaped(text)
        } else {
            text.to_owned()
        };
        if eaten_before {
            let end = text.find('\n').map_or(text.len(), |at| at + 1);
            let (line, rest) = text.split_at(end);
            text = format!("{}{rest}", line.trim_start());
        }
        if eaten_behind {
            let body = text.strip_suffix('\n').unwrap_or(&text);
            let start = body.rfind('\n').map_or(0, |at| at + 1);
            let (before, line) = text.split_at(start);
            text = format!("{before}{}", line.trim_end());
        }
        text
    }
}

impl Evaluator<'_> {
    pub(super) fn template(
        &self,
        template: &Template,
        scope: &Scope<'_>,
        layout: Layout<'_>,
        out: &mut String,
    ) -> Result<(), Fault> {
        let elements: Vec<&Element> = template.iter().collect();
        for (index, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(text) => {
                    if let Some(literals) = layout.indented {
                        out.push_str(literals.at(text.span()));
                        continue;
                    }
                    let before = match index.checked_sub(1).and_then(|at| elements.get(at)) {
                        Some(element) => strips(element).1,
                        None => layout.trims_start,
                    };
                    let behind = match elements.get(index + 1) {
                        Some(element) => strips(element).0,
                        None => layout.trims_end,
                    };
                    out.push_str(&layout.literal(text.value(), before, behind));
                }
                Element::Interpolation(part)
                    if self.is_file() && self.is_run_time(&part.expr, scope) =>
                {
                    let (starts, ends) = strips(element);
                    if starts || ends {
                        let name = self.source.slice(part.expr.span().unwrap_or_default());
                        out.push_str(&format!("${{{}}}", name.trim()));
                    } else {
                        out.push_str(self.source.slice(part.span().unwrap_or_default()));
                    }
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
                Element::Directive(directive) => self.directive(directive, scope, layout, out)?,
            }
        }
        Ok(())
    }

    fn directive(
        &self,
        directive: &Directive,
        scope: &Scope<'_>,
        layout: Layout<'_>,
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
                    (None, _) => return Err(super::no_condition(&test, cond.span())),
                };
                self.template(template, scope, layout.inside(trim_start, trim_end), out)
            }
            Directive::For(directive) => {
                let intro = &directive.for_expr;
                let pairs = self.pairs(&intro.collection_expr, scope)?;
                for (key, value) in pairs {
                    let mut names = vec![(intro.value_var.as_str().to_owned(), value)];
                    if let Some(name) = &intro.key_var {
                        names.push((name.as_str().to_owned(), key));
                    }
                    let inside = layout.inside(
                        intro.strip.strip_end(),
                        directive.endfor_expr.strip.strip_start(),
                    );
                    let before = out.len();
                    self.template(&intro.template, &scope.inner(names), inside, out)?;
                    self.charge(out.len() - before, intro.collection_expr.span())?;
                }
                Ok(())
            }
        }
    }
}

/// The text of a quoted string with its escapes taken for what they mean; what is none stays.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        out.push_str(before);
        let mut letters = behind.chars();
        let hex = |digits: usize| {
            let digits = behind.get(1..=digits)?;
            char::from_u32(u32::from_str_radix(digits, 16).ok()?)
        };
        let (letter, length) = match letters.next() {
            Some('n') => (Some('\n'), 1),
            Some('r') => (Some('\r'), 1),
            Some('t') => (Some('\t'), 1),
            Some(same @ ('"' | '\\')) => (Some(same), 1),
            Some('u') => (hex(4), 5),
            Some('U') => (hex(8), 9),
            _ => (None, 0),
        };
        match letter {
            Some(letter) => {
                out.push(letter);
                rest = behind.get(length..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = behind;
            }
        }
    }
    out + rest
}
