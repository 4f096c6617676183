//! Looks at a text that the parser refuses: what is wrong with it, in each argument and block on
//! its own, and which parts are intact.

use super::tokens::{Kind, Token, tokens};
use crate::spec::problem::{Problem, Source};
use std::collections::BTreeMap;
use std::ops::Range;

/// Problems after which the rest of a text is not looked at.
const MOST_PROBLEMS: usize = 50;

/// Blocks and expressions inside each other.
const DEEPEST: usize = 64;

/// What is wrong with a text.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    /// Arguments and blocks that cannot be read, in order.
    pub(super) damaged: Vec<Range<usize>>,
    /// Blocks that are not closed at the end.
    pub(super) unclosed: usize,
    /// True when something besides the insides of a `job` is damaged, which anything may refer to.
    pub(super) is_wide: bool,
}

/// Looks at a whole file.
pub(super) fn file(source: &Source<'_>) -> Findings {
    let mut checker = Checker::new(source);
    checker.body(None);
    checker.findings
}

/// Looks at one expression.
pub(super) fn expression(source: &Source<'_>) -> Vec<Problem> {
    let mut checker = Checker::new(source);
    checker.line_breaks.push(false);
    let read = checker.expression().and_then(|()| {
        if checker.peek() == Kind::End {
            return Ok(());
        }
        checker.fail(
            "Extra characters after expression; An expression was successfully parsed, but extra characters were found after it.",
            "",
        )
    });
    drop(read);
    checker.findings.problems
}

/// An argument or block that was given up; its problem has been noted.
#[derive(Debug)]
pub(super) struct GivenUp;

pub(super) type Read<T = ()> = Result<T, GivenUp>;

/// The block whose body is being read.
struct Opened<'t> {
    name: &'t str,
    brace: Range<usize>,
}

pub(super) struct Checker<'s> {
    source: &'s Source<'s>,
    /// Comments are left out: those with a line break became one.
    tokens: Vec<Token>,
    at: usize,
    pub(super) findings: Findings,
    /// Whether line breaks count here, innermost last.
    pub(super) line_breaks: Vec<bool>,
    pub(super) depth: usize,
    /// Name of the outermost block being read.
    top: Option<String>,
    /// A block that seems to have been closed too late: the brace that did it is indented less.
    suspect: Option<Range<usize>>,
}

impl<'s> Checker<'s> {
    fn new(source: &'s Source<'s>) -> Self {
        let text = source.text;
        let mut all = tokens(text);
        all.retain_mut(|token| {
            if token.kind != Kind::Comment {
                return true;
            }
            token.kind = Kind::Newline;
            text.get(token.span.clone())
                .is_some_and(|comment| comment.ends_with('\n'))
        });
        Self {
            source,
            tokens: all,
            at: 0,
            findings: Findings::default(),
            line_breaks: vec![true],
            depth: 0,
            top: None,
            suspect: None,
        }
    }

    /// The next token that counts here.
    pub(super) fn token(&mut self) -> Token {
        let skip = self.line_breaks.last() == Some(&false);
        while let Some(token) = self.tokens.get(self.at) {
            if !(skip && token.kind == Kind::Newline) {
                return token.clone();
            }
            self.at += 1;
        }
        let end = self.source.text.len();
        Token {
            kind: Kind::End,
            span: end..end,
        }
    }

    pub(super) fn peek(&mut self) -> Kind {
        self.token().kind
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.token();
        self.at += 1;
        token
    }

    /// Takes the next token if it is of this kind.
    pub(super) fn take(&mut self, kind: Kind) -> bool {
        let is_it = self.peek() == kind;
        if is_it {
            self.at += 1;
        }
        is_it
    }

    pub(super) fn text(&self, token: &Token) -> &'s str {
        self.source.text.get(token.span.clone()).unwrap_or_default()
    }

    /// Notes a problem at the next token and gives up.
    pub(super) fn fail<T>(&mut self, message: &str, hint: &str) -> Read<T> {
        let span = self.token().span;
        self.fail_at(span, message, hint)
    }

    pub(super) fn fail_at<T>(&mut self, span: Range<usize>, message: &str, hint: &str) -> Read<T> {
        self.note(span, message, hint);
        Err(GivenUp)
    }

    fn note(&mut self, mut span: Range<usize>, message: &str, hint: &str) {
        // A line break is shown as the column behind the line.
        let text = self.source.text.get(span.clone()).unwrap_or_default();
        let is_break = text.ends_with('\n') || text.is_empty();
        if is_break {
            span.end = span.start;
        }
        if self.findings.problems.len() < MOST_PROBLEMS {
            let mut problem = self.source.problem(Some(span), message);
            problem.end_column += usize::from(is_break);
            hint.clone_into(&mut problem.hint);
            self.findings.problems.push(problem);
        }
    }

    /// Goes one level deeper for `read`.
    pub(super) fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Read) -> Read {
        if self.depth >= DEEPEST {
            return self.fail(
                &format!("Nested too deep; Blocks and expressions may stand in each other {DEEPEST} deep."),
                "",
            );
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Reads a body up to the brace that closes it, or a file up to its end.
    fn body(&mut self, opened: Option<&Opened<'_>>) {
        let mut known: BTreeMap<&'s str, Range<usize>> = BTreeMap::new();
        while self.findings.problems.len() < MOST_PROBLEMS {
            let token = self.token();
            match token.kind {
                Kind::Newline => self.at += 1,
                Kind::End => {
                    if let Some(opened) = opened {
                        self.unclosed(opened);
                    }
                    return;
                }
                Kind::CloseBrace if opened.is_some() => {
                    self.at += 1;
                    self.compare_indents(opened, &token);
                    return;
                }
                _ => {
                    if opened.is_none() {
                        self.top = (token.kind == Kind::Name).then(|| self.text(&token).to_owned());
                    }
                    let start = self.at;
                    if self.item(&token, &mut known).is_err() {
                        self.recover(start, opened.is_none());
                    }
                }
            }
        }
    }

    fn unclosed(&mut self, opened: &Opened<'_>) {
        self.findings.unclosed += 1;
        let end = self.source.text.len();
        let swallowed = |span: &Range<usize>| span.end == end;
        if self.findings.unclosed > 1 || self.findings.damaged.last().is_some_and(swallowed) {
            return;
        }
        let hint = match self.suspect.take() {
            Some(brace) => {
                let (line, column) = self.source.place(brace.start);
                format!(
                    "By its indentation, the closing brace at {line},{column} belongs to a block further out."
                )
            }
            None => String::new(),
        };
        self.note(
            opened.brace.clone(),
            &format!("Unclosed configuration block; There is no closing brace for this \"{}\" block before the end of the file.", opened.name),
            &hint,
        );
    }

    /// Remembers the first brace that closes a block which is indented more.
    fn compare_indents(&mut self, opened: Option<&Opened<'_>>, close: &Token) {
        let Some(opened) = opened else { return };
        let (open_line, _) = self.source.place(opened.brace.start);
        let (close_line, _) = self.source.place(close.span.start);
        if open_line != close_line
            && self.suspect.is_none()
            && self.indent(close.span.start) < self.indent(opened.brace.start)
        {
            self.suspect = Some(close.span.clone());
        }
    }

    /// Bytes of blanks before the first character of the line at an offset.
    fn indent(&self, offset: usize) -> usize {
        let before = self.source.text.get(..offset).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.source.text.get(start..).unwrap_or_default();
        line.len() - line.trim_start_matches([' ', '\t']).len()
    }

    /// One argument or block.
    fn item(&mut self, first: &Token, known: &mut BTreeMap<&'s str, Range<usize>>) -> Read {
        if first.kind != Kind::Name {
            let (message, hint) = match first.kind {
                Kind::OpenQuote => (
                    "Invalid argument name; Argument names must not be quoted.",
                    "",
                ),
                Kind::CloseBrace => (
                    "Argument or block definition required; This closing brace has no block to close.",
                    "",
                ),
                _ => self.stray(first),
            };
            return self.fail(message, hint);
        }
        self.at += 1;
        let name = self.text(first);
        match self.peek() {
            Kind::Equals => {
                self.at += 1;
                self.expression()?;
                self.end_of_item("argument", "An argument definition must end with a newline.")?;
                if let Some(earlier) = known.get(name) {
                    let (line, column) = self.source.place(earlier.start);
                    let message = format!(
                        "Attribute redefined; The argument \"{name}\" was already set at {}:{line},{column}-{}. Each argument may be set only once.",
                        self.source.file,
                        column + name.chars().count(),
                    );
                    return self.fail_at(first.span.clone(), &message, "");
                }
                known.insert(name, first.span.clone());
                Ok(())
            }
            Kind::OpenQuote | Kind::OpenBrace | Kind::Name => self.block(name),
            Kind::Colon => self.fail(
                "Argument or block definition required; An argument or block definition is required here.",
                "To set an argument, use the equals sign \"=\".",
            ),
            _ => self.fail_at(
                first.span.clone(),
                "Argument or block definition required; An argument or block definition is required here.",
                "To set an argument, use the equals sign \"=\" to introduce the argument value.",
            ),
        }
    }

    /// What to say of a character that stands nowhere in the language, or not here.
    pub(super) fn stray(&self, token: &Token) -> (&'static str, &'static str) {
        if token.kind != Kind::Invalid {
            return (
                "Argument or block definition required; An argument or block definition is required here.",
                "",
            );
        }
        match self.text(token) {
            ";" => (
                "Invalid character; The \";\" character is not valid.",
                "Use newlines to separate arguments and blocks, and commas to separate items in collection values.",
            ),
            "'" => (
                "Invalid character; Single quotes are not valid.",
                "Use double quotes (\") to enclose strings.",
            ),
            "`" => (
                "Invalid character; The \"`\" character is not valid.",
                "For a string of several lines use a heredoc, like \"<<EOT\".",
            ),
            "“" | "”" | "„" => (
                "Invalid character; \"Curly quotes\" are not valid here.",
                "Use straight quotes (\").",
            ),
            "&" => (
                "Unsupported operator; Bitwise operators are not supported.",
                "Did you mean boolean AND (\"&&\")?",
            ),
            "|" => (
                "Unsupported operator; Bitwise operators are not supported.",
                "Did you mean boolean OR (\"||\")?",
            ),
            "~" | "^" => (
                "Unsupported operator; Bitwise operators are not supported.",
                "",
            ),
            _ => (
                "Invalid character; This character is not used within the language.",
                "",
            ),
        }
    }

    fn end_of_item(&mut self, noun: &str, rule: &str) -> Read {
        let token = self.token();
        match token.kind {
            Kind::Newline => {
                self.at += 1;
                Ok(())
            }
            Kind::End => Ok(()),
            Kind::Comma => self.fail(
                &format!("Unexpected comma after {noun}; Definitions must be separated by newlines, not commas."),
                "",
            ),
            Kind::Invalid => {
                let (message, hint) = self.stray(&token);
                self.fail(message, hint)
            }
            _ => self.fail(&format!("Missing newline after {noun}; {rule}"), ""),
        }
    }

    /// Labels, braces and body of a block whose name has been read.
    fn block(&mut self, name: &'s str) -> Read {
        loop {
            let token = self.token();
            match token.kind {
                Kind::OpenBrace => break,
                Kind::Name => self.at += 1,
                Kind::OpenQuote => self.label()?,
                Kind::Equals => {
                    return self.fail(
                        "Invalid block definition; The equals sign \"=\" indicates an argument definition, and must not be used when defining a block.",
                        "",
                    );
                }
                Kind::Newline => {
                    return self.fail(
                        "Invalid block definition; The content of a block must begin on the line of its header.",
                        "Place the opening brace (\"{\") on this line.",
                    );
                }
                _ => {
                    return self.fail(
                        "Invalid block definition; Either a quoted string block label or an opening brace (\"{\") is expected here.",
                        "",
                    );
                }
            }
        }
        let brace = self.next().span;
        let opened = Opened { name, brace };
        self.deeper(|checker| match checker.peek() {
            Kind::Newline | Kind::End | Kind::CloseBrace => {
                checker.body(Some(&opened));
                Ok(())
            }
            _ => checker.short_body(),
        })?;
        if self.peek() == Kind::End {
            return Ok(());
        }
        self.end_of_item(
            "block definition",
            "A block definition must end with a newline.",
        )
    }

    /// The one argument of a block on a single line.
    fn short_body(&mut self) -> Read {
        let token = self.token();
        if token.kind != Kind::Name {
            let (message, hint) = self.stray(&token);
            return self.fail(message, hint);
        }
        self.at += 1;
        let name = self.text(&token);
        match self.peek() {
            Kind::Equals => self.at += 1,
            Kind::OpenQuote | Kind::OpenBrace | Kind::Name => {
                return self.fail_at(
                    token.span,
                    "Argument definition required; A single-line block definition can contain only a single argument.",
                    &format!("If you meant to define argument \"{name}\", use an equals sign to assign it a value; a nested block goes on a line of its own."),
                );
            }
            _ => {
                return self.fail_at(
                    token.span,
                    "Argument or block definition required; An argument or block definition is required here.",
                    "To set an argument, use the equals sign \"=\" to introduce the argument value.",
                );
            }
        }
        self.expression()?;
        let token = self.token();
        match token.kind {
            Kind::CloseBrace => {
                self.at += 1;
                Ok(())
            }
            Kind::Invalid => {
                let (message, hint) = self.stray(&token);
                self.fail(message, hint)
            }
            Kind::Newline | Kind::End => self.fail(
                "Invalid single-argument block definition; An argument on the line of its block's header makes a single-line block, which must be closed on that line.",
                "",
            ),
            _ => self.fail(
                "Invalid single-argument block definition; A single-line block definition can include only one argument.",
                "Use the multi-line block syntax with one argument definition per line.",
            ),
        }
    }

    /// A label in quotes.
    fn label(&mut self) -> Read {
        self.at += 1;
        loop {
            let token = self.token();
            match token.kind {
                Kind::CloseQuote => {
                    self.at += 1;
                    return Ok(());
                }
                Kind::QuotedText => {
                    self.escapes(&token)?;
                    self.at += 1;
                }
                Kind::OpenInterpolation | Kind::OpenDirective => {
                    return self.fail(
                        "Invalid string literal; Template sequences are not allowed in this string.",
                        "Template sequences are not allowed in labels: use the arguments \"id\" and \"name\", or a dynamic block.",
                    );
                }
                _ => return self.open_text(&token),
            }
        }
    }

    /// What is wrong with a text in quotes that does not go on here.
    pub(super) fn open_text<T>(&mut self, token: &Token) -> Read<T> {
        match token.kind {
            Kind::QuotedNewline => self.fail(
                "Invalid multi-line string; Quoted strings may not be split over multiple lines.",
                "Is a closing quote missing? For several lines use \"\\n\" or a heredoc.",
            ),
            Kind::End => self.fail(
                "Unterminated string literal; The closing quote mark is missing.",
                "",
            ),
            _ => self.fail(
                "Invalid string literal; This item is not valid in a string literal.",
                "",
            ),
        }
    }

    /// Goes on behind the item that begins at token `start` and cannot be read.
    ///
    /// A line belongs to the item while it is indented more, or while brackets of the item are open
    /// and it closes one.
    fn recover(&mut self, start: usize, is_top: bool) {
        let Some(first) = self.tokens.get(start) else {
            return;
        };
        let begin = first.span.start;
        let indent = self.indent(begin);
        let line = |token: &Token| token.kind == Kind::Newline;
        let behind = self.tokens.get(start..self.at).unwrap_or_default();
        let failed = behind
            .iter()
            .rposition(line)
            .map_or(self.at, |at| start + at + 1);
        self.line_breaks.truncate(1);
        self.at = start;
        let mut open = 0_usize;
        let mut line_begins = false;
        while let Some(token) = self.tokens.get(self.at) {
            let kind = token.kind;
            if kind == Kind::End {
                break;
            }
            if line_begins && kind != Kind::Newline && self.at >= failed {
                let closes = matches!(
                    kind,
                    Kind::CloseBrace | Kind::CloseBracket | Kind::CloseParen | Kind::CloseHeredoc
                );
                let here = self.indent(token.span.start);
                let goes_on = open > 0 && (here > indent || (here == indent && closes));
                if !goes_on && !in_text(kind) {
                    break;
                }
            }
            match change(kind) {
                1 => open += 1,
                -1 if open == 0 && kind == Kind::CloseBrace && self.at >= failed && !is_top => {
                    break;
                }
                -1 => open = open.saturating_sub(1),
                _ => {}
            }
            line_begins = kind == Kind::Newline;
            self.at += 1;
            if line_begins && open == 0 && self.at > failed {
                break;
            }
        }
        // Whatever was wrong, the next item is another one.
        if self.at <= start {
            self.at = start + 1;
        }
        let end = self
            .tokens
            .get(self.at)
            .map_or(self.source.text.len(), |token| token.span.start);
        self.findings.damaged.push(begin..end);
        if is_top || self.top.as_deref() != Some("job") {
            self.findings.is_wide = true;
        }
    }
}

/// True for pieces of a text, whose indentation says nothing.
fn in_text(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::HeredocText | Kind::CloseHeredoc | Kind::QuotedText
    )
}

/// How many more brackets are open behind a token.
pub(in crate::spec) fn change(kind: Kind) -> i32 {
    match kind {
        Kind::OpenBrace
        | Kind::OpenBracket
        | Kind::OpenParen
        | Kind::OpenInterpolation
        | Kind::OpenDirective => 1,
        Kind::CloseBrace | Kind::CloseBracket | Kind::CloseParen | Kind::CloseSequence => -1,
        _ => 0,
    }
}
