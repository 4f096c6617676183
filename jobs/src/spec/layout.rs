//! The canonical layout of HCL: two blanks for each level, equals signs and comments of
//! neighboring lines below each other, one blank between words. Nothing but blanks changes, so
//! comments and empty lines stay.
//!
//! A line has up to three cells: what leads, from the equals sign on if it sets an argument and
//! closes what it opens, and a comment at its end. The first is indented, the others are aligned
//! with those of the lines around them.

use super::problem::{Problem, Source};
use super::syntax;
use super::syntax::tokens::{Kind, tokens};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// Blanks of one level.
const INDENT: usize = 2;

/// The text in canonical layout.
///
/// # Errors
/// Every syntax error of the text: what cannot be read is not laid out anew.
pub fn format(text: &str, file_name: &str) -> Result<String, Vec<Problem>> {
    let source = Source::new(file_name, text);
    super::parse::check_size(&source).map_err(|problem| vec![problem])?;
    let read = syntax::read(&source);
    if !read.problems.is_empty() {
        return Err(read.problems);
    }
    let mut layout = Layout::new(text);
    let lines = layout.lines();
    layout.indent(&lines);
    layout.space(&lines);
    layout.align(&lines, |line| &line.assign);
    layout.align(&lines, |line| &line.comment);
    Ok(layout.write())
}

/// A token and the blanks before it.
struct Piece<'t> {
    kind: Kind,
    text: &'t str,
    blanks: usize,
}

/// The cells of a line: ranges of pieces, empty where there is none.
struct Line {
    lead: Range<usize>,
    assign: Range<usize>,
    comment: Range<usize>,
}

struct Layout<'t> {
    pieces: Vec<Piece<'t>>,
}

impl<'t> Layout<'t> {
    fn new(text: &'t str) -> Self {
        let mut end = 0;
        let pieces = tokens(text)
            .into_iter()
            .map(|token| {
                let blanks = token.span.start - end;
                end = token.span.end;
                Piece {
                    kind: token.kind,
                    text: text.get(token.span).unwrap_or_default(),
                    blanks,
                }
            })
            .collect();
        Self { pieces }
    }

    fn cell(&self, cell: &Range<usize>) -> &[Piece<'t>] {
        self.pieces.get(cell.clone()).unwrap_or_default()
    }

    /// How many more brackets are open behind a cell.
    fn change(&self, cell: &Range<usize>) -> i64 {
        let changes = self
            .cell(cell)
            .iter()
            .map(|piece| i64::from(syntax::change(piece.kind)));
        changes.sum()
    }

    fn columns(&self, cell: &Range<usize>) -> usize {
        self.cell(cell)
            .iter()
            .map(|piece| piece.blanks + piece.text.graphemes(true).count())
            .sum()
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut start = 0;
        for (at, piece) in self.pieces.iter().enumerate() {
            let ends = match piece.kind {
                Kind::Newline => true,
                Kind::Comment => piece.text.ends_with('\n'),
                _ => false,
            };
            if ends {
                lines.push(self.line(start..at + 1));
                start = at + 1;
            } else if piece.kind == Kind::End && at > start {
                lines.push(self.line(start..at));
            }
        }
        lines
    }

    fn line(&self, mut lead: Range<usize>) -> Line {
        let mut comment = lead.end..lead.end;
        let last = self.cell(&lead).last();
        if lead.len() > 1 && last.is_some_and(|piece| piece.kind == Kind::Comment) {
            lead.end -= 1;
            comment.start -= 1;
        }
        let equals = self
            .cell(&lead)
            .iter()
            .skip(1)
            .position(|piece| piece.kind == Kind::Equals);
        let mut assign = lead.end..lead.end;
        if let Some(at) = equals {
            let right = lead.start + 1 + at..lead.end;
            if self.change(&right) == 0 {
                lead.end = right.start;
                assign = right;
            }
        }
        Line {
            lead,
            assign,
            comment,
        }
    }

    /// Indents each line by the brackets that were left open before it. Several that are opened on
    /// one line are one level, which ends with the last of them.
    fn indent(&mut self, lines: &[Line]) {
        let mut levels: Vec<i64> = Vec::new();
        for line in lines {
            let lead = self.cell(&line.lead);
            let before_text = lead
                .iter()
                .position(|piece| piece.kind == Kind::OpenHeredoc)
                .map_or(line.lead.end, |at| line.lead.start + at);
            let change = self.change(&(line.lead.start..before_text)) + self.change(&line.assign);
            let is_empty = lead
                .first()
                .is_some_and(|piece| piece.kind == Kind::Newline);
            let depth = if is_empty {
                0
            } else if change > 0 {
                levels.push(change);
                levels.len() - 1
            } else {
                close(&mut levels, -change);
                levels.len()
            };
            if let Some(first) = self.pieces.get_mut(line.lead.start) {
                first.blanks = INDENT * depth;
            }
        }
    }

    /// Sets the blanks between the tokens of each cell.
    fn space(&mut self, lines: &[Line]) {
        for line in lines {
            for cell in [&line.lead, &line.assign] {
                for at in cell.start + 1..cell.end {
                    let kind = |at: Option<usize>| {
                        at.filter(|at| cell.contains(at))
                            .and_then(|at| self.pieces.get(at))
                    };
                    let around = Around {
                        before: kind(at.checked_sub(2)).map(|piece| piece.kind),
                        left: kind(Some(at - 1)),
                        right: kind(Some(at)),
                    };
                    let blanks = usize::from(around.is_spaced());
                    if let Some(piece) = self.pieces.get_mut(at) {
                        piece.blanks = blanks;
                    }
                }
            }
        }
    }

    /// Places the same cell of neighboring lines below each other, one blank behind the longest of
    /// what stands before it.
    fn align(&mut self, lines: &[Line], cell: impl Fn(&Line) -> &Range<usize>) {
        let width = |layout: &Self, line: &Line| -> usize {
            let before = line.lead.start..cell(line).start;
            layout.columns(&before)
        };
        for chain in lines.chunk_by(|a, b| cell(a).is_empty() == cell(b).is_empty()) {
            let widest = chain.iter().map(|line| width(self, line)).max();
            for line in chain.iter().filter(|line| !cell(line).is_empty()) {
                let blanks = widest.unwrap_or(0) - width(self, line) + 1;
                if let Some(first) = self.pieces.get_mut(cell(line).start) {
                    first.blanks = blanks;
                }
            }
        }
    }

    fn write(&self) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            out.extend(std::iter::repeat_n(' ', piece.blanks));
            out.push_str(piece.text);
        }
        out
    }
}

/// Ends as many brackets, and the levels that they were the last of.
fn close(levels: &mut Vec<i64>, mut brackets: i64) {
    while brackets > 0
        && let Some(open) = levels.last_mut()
    {
        if *open > brackets {
            *open -= brackets;
            return;
        }
        brackets -= *open;
        levels.pop();
    }
}

/// Two tokens that follow each other, and the kind of the one before them in their cell.
struct Around<'p, 't> {
    before: Option<Kind>,
    left: Option<&'p Piece<'t>>,
    right: Option<&'p Piece<'t>>,
}

impl Around<'_, '_> {
    /// True when a blank belongs between the two.
    fn is_spaced(&self) -> bool {
        let (Some(left), Some(right)) = (self.left, self.right) else {
            return false;
        };
        let (l, r) = (left.kind, right.kind);
        let closes = |kind: Kind| syntax::change(kind) < 0;
        match (l, r) {
            (_, Kind::Newline)
            | (Kind::Name, Kind::OpenParen | Kind::DoubleColon)
            | (Kind::DoubleColon, Kind::Name)
            | (Kind::Dot, _)
            | (_, Kind::Dot | Kind::Comma | Kind::Ellipsis) => false,
            (Kind::Comma, _) => true,
            // Texts have the blanks that are written in them.
            (Kind::QuotedText | Kind::HeredocText | Kind::OpenQuote | Kind::OpenHeredoc, _)
            | (_, Kind::QuotedText | Kind::HeredocText | Kind::CloseQuote | Kind::CloseHeredoc) => {
                false
            }
            // `for x in [y]`: that is no index.
            (Kind::Name, _) if left.text == "in" && self.before == Some(Kind::Name) => true,
            (Kind::Name | Kind::Number, Kind::OpenBracket) => false,
            (l, Kind::OpenBracket) if closes(l) => false,
            (Kind::Bang, _) => false,
            (Kind::Minus, _) => self.is_subtraction(),
            (Kind::OpenBrace, Kind::CloseBrace) => false,
            (Kind::OpenBrace, _) | (_, Kind::CloseBrace) => true,
            // An object alone in `${ … }` keeps its braces apart from those around it.
            (Kind::OpenInterpolation | Kind::OpenDirective, Kind::OpenBrace)
            | (Kind::CloseBrace, Kind::CloseSequence) => true,
            (Kind::CloseSequence, Kind::OpenInterpolation | Kind::OpenDirective) => false,
            (l, r) => syntax::change(l) <= 0 && !closes(r),
        }
    }

    /// True for a minus between two values: one behind an opening bracket, a separator or another
    /// operator is a sign.
    fn is_subtraction(&self) -> bool {
        !matches!(
            self.before,
            None | Some(
                Kind::OpenParen
                    | Kind::OpenBrace
                    | Kind::OpenBracket
                    | Kind::Equals
                    | Kind::Colon
                    | Kind::Comma
                    | Kind::Question
                    | Kind::Operator
                    | Kind::Minus
                    | Kind::Bang
            )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let once = format(text, "test.hcl").unwrap();
        assert_eq!(once, expected);
        assert_eq!(format(&once, "test.hcl").unwrap(), once, "not stable");
    }

    #[test]
    fn levels_equals_signs_and_comments_line_up() {
        check(
            "job \"a\"{\n# one\n a=1 # x\n    long_name   =  [1,2,\n3 ]\nb = -1 - 2 // y\n\n\n\n c = {}\n}",
            "job \"a\" {\n  # one\n  a = 1 # x\n  long_name = [1, 2,\n  3]\n  b = -1 - 2 // y\n\n\n\n  c = {}\n}",
        );
        check(
            "a=1 # x\nlonger = \"b\" # y\nc   = 3\n",
            "a      = 1   # x\nlonger = \"b\" # y\nc      = 3\n",
        );
    }

    #[test]
    fn texts_stay_as_they_are() {
        check(
            "a=<<EOT\n x   ${ b+1 }\n   EOT\nc = \"  ${ {d=1} }$${ e }\"\n",
            "a = <<EOT\n x   ${b + 1}\n   EOT\nc = \"  ${ { d = 1 } }$${ e }\"\n",
        );
    }

    #[test]
    fn blanks_follow_what_they_stand_between() {
        check(
            "a=[for x in [1]:x if !b] /* c */\nd = e[ 0 ].f\ng=max( 1 ,g...)\nh=i?-1:j - k\n",
            "a = [for x in [1] : x if !b] /* c */\nd = e[0].f\ng = max(1, g...)\nh = i ? -1 : j - k\n",
        );
        check("x {a=1}\ny{ }\n", "x { a = 1 }\ny {}\n");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let problems = format("a = \nb = ]\n", "test.hcl").unwrap_err();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            lines.len() == 2 && lines[1].starts_with("test.hcl:2,5-6: Invalid expression"),
            "{lines:?}"
        );
    }
}
