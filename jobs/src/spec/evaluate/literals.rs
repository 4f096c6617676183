//! The literal texts of a heredoc whose lines lose their indentation.

use crate::spec::problem::Source;
use hcl_edit::Span;
use hcl_edit::template::{Directive, Element, Strip, Template};
use std::{collections::BTreeMap, ops::Range};

/// Where each literal begins in the source, to its text without the indentation that the lines of
/// the heredoc share and without what markers beside it eat.
///
/// A line counts with the white space that it has left when markers have eaten theirs: one that
/// begins with `%{~` has none, and the whole heredoc keeps its indentation. Lines of white space
/// alone do not count.
pub(super) struct Literals {
    texts: BTreeMap<usize, String>,
}

/// A piece of the heredoc: a literal up to the end of its line, or something that is none.
enum Piece {
    Literal { start: usize, text: String },
    Other,
}

impl Literals {
    /// Those of a heredoc.
    pub(super) fn of(template: &Template, source: &Source<'_>) -> Self {
        let mut pieces = Vec::new();
        walk(template, source, (false, false), &mut pieces);
        flush(&mut pieces);
        let mut texts: BTreeMap<usize, String> = BTreeMap::new();
        for piece in pieces {
            if let Piece::Literal { start, text } = piece {
                texts.entry(start).or_default().push_str(&text);
            }
        }
        Self { texts }
    }

    /// The text of the literal at a place.
    pub(super) fn at(&self, span: Option<Range<usize>>) -> &str {
        span.and_then(|span| self.texts.get(&span.start))
            .map_or("", String::as_str)
    }
}

/// Collects the pieces in order. `trims` tells whether the directive around the template eats at
/// its start and at its end.
fn walk(template: &Template, source: &Source<'_>, trims: (bool, bool), pieces: &mut Vec<Piece>) {
    let elements: Vec<&Element> = template.iter().collect();
    for (index, element) in elements.iter().enumerate() {
        match element {
            Element::Literal(text) => {
                let earlier = index.checked_sub(1).and_then(|at| elements.get(at));
                let before = earlier.map_or(trims.0, |element| strips(element).1);
                let behind = (elements.get(index + 1)).map_or(trims.1, |next| strips(next).0);
                literal(
                    text.span().unwrap_or_default(),
                    source,
                    (before, behind),
                    pieces,
                );
            }
            Element::Interpolation(_) => pieces.push(Piece::Other),
            Element::Directive(directive) => match directive.as_ref() {
                Directive::If(part) => {
                    pieces.push(Piece::Other);
                    let (first, last) = (&part.if_expr, &part.endif_expr);
                    let starts = first.strip.strip_end();
                    let ends = last.strip.strip_start();
                    if let Some(other) = &part.else_expr {
                        let between = (starts, other.strip.strip_start());
                        walk(&first.template, source, between, pieces);
                        pieces.push(Piece::Other);
                        let rest = (other.strip.strip_end(), ends);
                        walk(&other.template, source, rest, pieces);
                    } else {
                        walk(&first.template, source, (starts, ends), pieces);
                    }
                    pieces.push(Piece::Other);
                }
                Directive::For(part) => {
                    pieces.push(Piece::Other);
                    let trims = (
                        part.for_expr.strip.strip_end(),
                        part.endfor_expr.strip.strip_start(),
                    );
                    walk(&part.for_expr.template, source, trims, pieces);
                    pieces.push(Piece::Other);
                }
            },
        }
    }
}

/// The lines of one literal, as they stand in the file.
fn literal(
    span: Range<usize>,
    source: &Source<'_>,
    (before, behind): (bool, bool),
    pieces: &mut Vec<Piece>,
) {
    let start = span.start;
    let text = source.slice(span).replace("$${", "${").replace("%%{", "%{");
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if before && let Some(first) = lines.first_mut() {
        *first = first.trim_start();
    }
    if behind && let Some(last) = lines.last_mut() {
        *last = last.trim_end();
    }
    pieces.extend(lines.into_iter().map(|line| Piece::Literal {
        start,
        text: line.to_owned(),
    }));
}

/// Takes the indentation that all lines share from each of them.
fn flush(pieces: &mut [Piece]) {
    let mut shared: Option<usize> = None;
    let mut firsts = Vec::new();
    let mut begins = true;
    for (at, piece) in pieces.iter().enumerate() {
        if begins {
            let spaces = match piece {
                Piece::Literal { text, .. } if text.trim().is_empty() && text.ends_with('\n') => {
                    None
                }
                Piece::Literal { text, .. } => {
                    firsts.push(at);
                    Some(
                        text.chars()
                            .take_while(|letter| letter.is_whitespace())
                            .count(),
                    )
                }
                Piece::Other => Some(0),
            };
            shared = [shared, spaces].into_iter().flatten().min();
        }
        begins = matches!(piece, Piece::Literal { text, .. } if text.ends_with('\n'));
    }
    let shared = shared.unwrap_or(0);
    for at in firsts {
        if let Some(Piece::Literal { text, .. }) = pieces.get_mut(at) {
            *text = text.chars().skip(shared).collect();
        }
    }
}

/// Whether an element eats the white space before and after it.
pub(super) fn strips(element: &Element) -> (bool, bool) {
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
