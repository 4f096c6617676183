use std::fmt;
use std::ops::Range;

/// One thing that is wrong with a job file, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// Base name of the file.
    pub file: String,
    /// Line of the first character, from 1; 0 when no place is to blame.
    pub line: usize,
    /// Column of the first character, from 1, in characters.
    pub column: usize,
    /// Line of the end.
    pub end_line: usize,
    /// Column behind the last character.
    pub end_column: usize,
    /// Summary and detail, parted by `; `.
    pub message: String,
    /// What to do about it; empty for nothing to add.
    pub hint: String,
}

impl fmt::Display for Problem {
    /// One line: `web.nomad:12,5-10: Summary; Detail Hint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str("<nil>: ")?;
        } else if self.line == self.end_line {
            write!(
                f,
                "{}:{},{}-{}: ",
                self.file, self.line, self.column, self.end_column
            )?;
        } else {
            write!(
                f,
                "{}:{},{}-{},{}: ",
                self.file, self.line, self.column, self.end_line, self.end_column
            )?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " {}", self.hint)?;
        }
        Ok(())
    }
}

/// A text with the offsets of its lines, to tell places in it.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) file: String,
    pub(super) text: &'a str,
    line_starts: Vec<usize>,
    origin: Option<Origin<'a>>,
}

/// What a text was made of, when it is not what was written.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    /// What was written.
    pub(super) source: &'a Source<'a>,
    /// Offsets in the made text, in rising order, and what of the written one stands from there on.
    pub(super) places: Vec<(usize, Range<usize>)>,
}

impl Origin<'_> {
    /// What was written at an offset of the made text.
    fn span(&self, offset: usize) -> Option<Range<usize>> {
        let behind = self.places.partition_point(|(start, _)| *start <= offset);
        let (_, span) = self.places.get(behind.checked_sub(1)?)?;
        Some(span.clone())
    }
}

impl<'a> Source<'a> {
    /// A text that was made of another one: its problems are told at the places of that.
    pub(super) fn made(text: &'a str, origin: Origin<'a>) -> Self {
        let mut source = Self::new(&origin.source.file, text);
        source.origin = Some(origin);
        source
    }

    /// The same places, with another text of the same layout.
    pub(super) fn with_text(&self, text: &'a str) -> Self
    where
        Self: Sized,
    {
        let mut source = Self::new(&self.file, text);
        source.origin = self.origin.as_ref().map(|origin| Origin {
            source: origin.source,
            places: origin.places.clone(),
        });
        source
    }

    pub(super) fn new(file: &str, text: &'a str) -> Self {
        let base = file.rsplit('/').next().unwrap_or(file);
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            file: base.to_owned(),
            text,
            line_starts,
            origin: None,
        }
    }

    /// The text of a span; empty when the span does not lie in this text.
    pub(super) fn slice(&self, span: Range<usize>) -> &'a str {
        self.text.get(span).unwrap_or_default()
    }

    /// Line and column, both from 1, of a byte offset.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        if let Some(origin) = &self.origin {
            return origin
                .source
                .place(origin.span(offset).map_or(0, |span| span.start));
        }
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|index| self.line_starts.get(index))
            .copied()
            .unwrap_or(0);
        let column = self
            .text
            .get(start..offset)
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        (line.max(1), column)
    }

    /// A problem at a span; without one it has no place.
    pub(super) fn problem(
        &self,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> Problem {
        let mut problem = Problem {
            file: self.file.clone(),
            message: message.into(),
            ..Problem::default()
        };
        if let Some(origin) = &self.origin {
            let span = span.and_then(|span| origin.span(span.start));
            return origin.source.problem(span, problem.message);
        }
        if let Some(span) = span {
            (problem.line, problem.column) = self.place(span.start);
            (problem.end_line, problem.end_column) = self.place(span.end);
        }
        problem
    }
}

/// The known name that a misspelt one most likely means.
pub(super) fn nearest<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    known
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(distance, _)| *distance < 3)
        .min()
        .map(|(_, name)| name)
}

/// Characters to insert, delete or replace to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    // Names are short; longer ones are never a misspelling of a known one.
    const LONGEST: usize = 64;
    if a.len() > LONGEST || b.len() > LONGEST {
        return LONGEST;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut previous = i;
        let mut fresh = vec![i + 1];
        for (right, above) in b.iter().zip(row.iter().skip(1)) {
            let cost = previous + usize::from(left != *right);
            let beside = fresh.last().copied().unwrap_or(0);
            fresh.push(cost.min(above + 1).min(beside + 1));
            previous = *above;
        }
        row = fresh;
    }
    row.last().copied().unwrap_or(0)
}
