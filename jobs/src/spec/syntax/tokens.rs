//! The tokens of an HCL text, with nothing left out but blanks: for whoever looks at a text that
//! the parser refuses, or at how it is laid out.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spec) enum Kind {
    /// A line break that ends an argument or a block.
    Newline,
    /// `# …` and `// …` with their line break, `/* … */` without.
    Comment,
    Name,
    Number,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    OpenParen,
    CloseParen,
    OpenQuote,
    CloseQuote,
    /// `<<EOT` with its line break.
    OpenHeredoc,
    /// The line that ends a heredoc, without its line break.
    CloseHeredoc,
    /// Plain text between quotes.
    QuotedText,
    /// Plain text of a heredoc, up to the end of a line at most.
    HeredocText,
    /// Where a line breaks between quotes, which none may; of no length.
    QuotedNewline,
    /// `${`
    OpenInterpolation,
    /// `%{`
    OpenDirective,
    /// The `}` that ends one of them.
    CloseSequence,
    Equals,
    Dot,
    Comma,
    Ellipsis,
    Arrow,
    Question,
    Colon,
    DoubleColon,
    Bang,
    Minus,
    /// `* / % + == != < > <= >= && ||`
    Operator,
    /// What the language does not know.
    Invalid,
    /// Behind the last character.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::spec) struct Token {
    pub(in crate::spec) kind: Kind,
    /// Bytes of the text.
    pub(in crate::spec) span: Range<usize>,
}

/// What the text is at some place.
enum Mode {
    /// Arguments, blocks and expressions.
    Code,
    /// An expression between `${` or `%{` and `}`, with so many braces open inside it.
    Sequence(usize),
    Quoted,
    /// A heredoc that ends with this word.
    Heredoc(Range<usize>),
}

/// All tokens of a text; the last is [`Kind::End`].
pub(in crate::spec) fn tokens(text: &str) -> Vec<Token> {
    let mut scanner = Scanner {
        text,
        at: 0,
        modes: vec![Mode::Code],
        tokens: Vec::new(),
    };
    while scanner.at < text.len() {
        match scanner.modes.last() {
            Some(Mode::Quoted) => scanner.quoted(),
            Some(Mode::Heredoc(marker)) => {
                let marker = marker.clone();
                scanner.heredoc(&marker);
            }
            _ => scanner.code(),
        }
    }
    scanner.push(Kind::End, 0);
    scanner.tokens
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    modes: Vec<Mode>,
    tokens: Vec<Token>,
}

/// Marks of several characters, longer ones before their beginnings.
const MARKS: [(&str, Kind); 31] = [
    ("...", Kind::Ellipsis),
    ("==", Kind::Operator),
    ("!=", Kind::Operator),
    (">=", Kind::Operator),
    ("<=", Kind::Operator),
    ("&&", Kind::Operator),
    ("||", Kind::Operator),
    ("::", Kind::DoubleColon),
    ("=>", Kind::Arrow),
    ("\r\n", Kind::Newline),
    ("\n", Kind::Newline),
    ("[", Kind::OpenBracket),
    ("]", Kind::CloseBracket),
    ("(", Kind::OpenParen),
    (")", Kind::CloseParen),
    (".", Kind::Dot),
    (",", Kind::Comma),
    ("*", Kind::Operator),
    ("/", Kind::Operator),
    ("%", Kind::Operator),
    ("+", Kind::Operator),
    ("<", Kind::Operator),
    (">", Kind::Operator),
    ("-", Kind::Minus),
    ("=", Kind::Equals),
    ("!", Kind::Bang),
    ("?", Kind::Question),
    (":", Kind::Colon),
    ("{", Kind::OpenBrace),
    ("\"", Kind::OpenQuote),
    ("}", Kind::CloseBrace),
];

impl<'t> Scanner<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let span = self.at..self.at + length;
        self.at = span.end;
        self.tokens.push(Token { kind, span });
    }

    fn code(&mut self) {
        let rest = self.rest();
        let first = rest.chars().next().unwrap_or_default();
        if first == ' ' || first == '\t' {
            self.at += 1;
        } else if first.is_ascii_digit() {
            self.push(Kind::Number, number_length(rest));
        } else if first.is_alphabetic() || first == '_' {
            self.push(Kind::Name, name_length(rest));
        } else if first == '#' || rest.starts_with("//") {
            let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
            self.push(Kind::Comment, length);
        } else if let Some(behind) = rest.strip_prefix("/*") {
            let length = behind.find("*/").map_or(rest.len(), |at| at + 4);
            self.push(Kind::Comment, length);
        } else if let Some((length, marker)) = self.heredoc_opens(rest) {
            self.push(Kind::OpenHeredoc, length);
            self.modes.push(Mode::Heredoc(marker));
        } else if rest.starts_with("~}") {
            self.close_brace(2);
        } else {
            self.mark(rest, first);
        }
    }

    fn mark(&mut self, rest: &str, first: char) {
        let known = MARKS.iter().find(|(mark, _)| rest.starts_with(mark));
        let Some((mark, kind)) = known else {
            self.push(Kind::Invalid, first.len_utf8());
            return;
        };
        match kind {
            Kind::CloseBrace => self.close_brace(1),
            Kind::OpenBrace => {
                if let Some(Mode::Sequence(open)) = self.modes.last_mut() {
                    *open += 1;
                }
                self.push(Kind::OpenBrace, 1);
            }
            Kind::OpenQuote => {
                self.push(Kind::OpenQuote, 1);
                self.modes.push(Mode::Quoted);
            }
            kind => self.push(*kind, mark.len()),
        }
    }

    /// A closing brace, which may end a `${…}`.
    fn close_brace(&mut self, length: usize) {
        match self.modes.last_mut() {
            Some(Mode::Sequence(0)) => {
                self.modes.pop();
                self.push(Kind::CloseSequence, length);
            }
            Some(Mode::Sequence(open)) => {
                *open -= 1;
                self.push(Kind::CloseBrace, length);
            }
            _ => self.push(Kind::CloseBrace, length),
        }
    }

    /// `<<NAME` or `<<-NAME` at the end of a line: its length, and where the name is.
    fn heredoc_opens(&self, rest: &str) -> Option<(usize, Range<usize>)> {
        let behind = rest.strip_prefix("<<")?;
        let name = behind.strip_prefix('-').unwrap_or(behind);
        let length = name_length(name);
        let tail = name.get(length..)?;
        let first = name.chars().next()?;
        if length == 0 || !(first.is_alphabetic() || first == '_') {
            return None;
        }
        let line_break = if tail.starts_with("\r\n") {
            2
        } else if tail.starts_with('\n') {
            1
        } else {
            return None;
        };
        let start = self.at + rest.len() - name.len();
        let whole = rest.len() - tail.len() + line_break;
        Some((whole, start..start + length))
    }

    /// One token between quotes.
    fn quoted(&mut self) {
        let rest = self.rest();
        if self.sequence(rest) {
            return;
        }
        match rest.chars().next() {
            Some('"') => {
                self.modes.pop();
                self.push(Kind::CloseQuote, 1);
            }
            Some('\n' | '\r') => {
                self.push(Kind::QuotedNewline, 0);
                // Whatever was open on this line, it is not meant to go on behind it.
                while matches!(self.modes.last(), Some(Mode::Quoted | Mode::Sequence(_))) {
                    self.modes.pop();
                }
            }
            _ => {
                let mut length = 0;
                let mut letters = rest.char_indices();
                while let Some((at, letter)) = letters.next() {
                    let behind = rest.get(at..).unwrap_or_default();
                    match letter {
                        '"' | '\n' | '\r' => break,
                        '$' | '%' if opens(behind) => break,
                        '$' | '%' if escapes(behind) => {
                            letters.nth(1);
                            length = at + 3;
                        }
                        '\\' => {
                            length = at + 1;
                            if let Some((at, next)) = letters.next() {
                                if next == '\n' || next == '\r' {
                                    break;
                                }
                                length = at + next.len_utf8();
                            }
                        }
                        letter => length = at + letter.len_utf8(),
                    }
                }
                self.push(Kind::QuotedText, length);
            }
        }
    }

    /// One token of a heredoc.
    fn heredoc(&mut self, marker: &Range<usize>) {
        let rest = self.rest();
        let at_line_start = self.text.get(..self.at).is_some_and(|t| t.ends_with('\n'));
        if at_line_start {
            let line = rest.split_inclusive('\n').next().unwrap_or_default();
            if line.trim() == self.text.get(marker.clone()).unwrap_or_default() {
                self.modes.pop();
                let line = line.strip_suffix('\n').unwrap_or(line);
                self.push(
                    Kind::CloseHeredoc,
                    line.strip_suffix('\r').unwrap_or(line).len(),
                );
                return;
            }
        }
        if self.sequence(rest) {
            return;
        }
        let mut length = 0;
        let mut letters = rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            let behind = rest.get(at..).unwrap_or_default();
            if matches!(letter, '$' | '%') && opens(behind) {
                break;
            }
            if matches!(letter, '$' | '%') && escapes(behind) {
                letters.nth(1);
                length = at + 3;
                continue;
            }
            length = at + letter.len_utf8();
            if letter == '\n' {
                break;
            }
        }
        self.push(Kind::HeredocText, length);
    }

    /// Takes `${` or `%{`, with the mark that strips blanks.
    fn sequence(&mut self, rest: &str) -> bool {
        if !opens(rest) {
            return false;
        }
        let kind = if rest.starts_with('$') {
            Kind::OpenInterpolation
        } else {
            Kind::OpenDirective
        };
        let strips = rest.get(2..).is_some_and(|tail| tail.starts_with('~'));
        self.push(kind, 2 + usize::from(strips));
        self.modes.push(Mode::Sequence(0));
        true
    }
}

/// True where `${` or `%{` begins.
fn opens(rest: &str) -> bool {
    rest.starts_with("${") || rest.starts_with("%{")
}

/// True where `$${` or `%%{` stands for the text without its first character.
fn escapes(rest: &str) -> bool {
    rest.starts_with("$${") || rest.starts_with("%%{")
}

fn name_length(rest: &str) -> usize {
    rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
        .unwrap_or(rest.len())
}

/// Digits, one point between them, and an exponent.
fn number_length(rest: &str) -> usize {
    let digits = |from: usize| {
        let tail = rest.get(from..).unwrap_or_default();
        tail.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(tail.len())
    };
    let mut length = digits(0);
    if rest.get(length..).is_some_and(|tail| tail.starts_with('.')) && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    let tail = rest.get(length..).unwrap_or_default();
    if let Some(exponent) = tail.strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let power = digits(length + 1 + sign);
        if power > 0 {
            length += 1 + sign + power;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens of a text in short: kind and text.
    fn show(text: &str) -> String {
        tokens(text)
            .iter()
            .map(|token| {
                let piece = text.get(token.span.clone()).unwrap();
                format!("{:?} {piece:?}\n", token.kind)
            })
            .collect()
    }

    #[test]
    fn nothing_but_blanks_lies_between_tokens() {
        for text in [
            "a = \"x ${ {b = \"}\"} } $${y} $$${z} %{ if a ~} \\\" %%{ \"\n",
            "a = <<-EOT\n  x ${b}\n  $${c}\n  EOT\nb = 1.5e3 /* c\n d */ # e\n",
            "a = [1, -2, x...] ; ` ' ü = ö\r\n",
            "a = \"open\n",
            "a = <<EOT\nopen",
            "x = \"\\",
            "<<",
            "a.0.b[*]",
            "$ % ~}",
        ] {
            let mut end = 0;
            for token in tokens(text) {
                let between = text.get(end..token.span.start).unwrap();
                assert!(between.chars().all(|c| c == ' ' || c == '\t'), "{text:?}");
                end = token.span.end;
            }
            assert_eq!(end, text.len(), "{text:?}");
        }
    }

    #[test]
    fn sequences_end_where_their_braces_do() {
        assert_eq!(
            show("\"a${ {b = 1} }c\""),
            "OpenQuote \"\\\"\"\nQuotedText \"a\"\nOpenInterpolation \"${\"\nOpenBrace \"{\"\nName \"b\"\n\
             Equals \"=\"\nNumber \"1\"\nCloseBrace \"}\"\nCloseSequence \"}\"\nQuotedText \"c\"\n\
             CloseQuote \"\\\"\"\nEnd \"\"\n"
        );
    }

    #[test]
    fn a_heredoc_ends_with_its_word_alone_on_a_line() {
        assert_eq!(
            show("<<A\nx A\n A\nb"),
            "OpenHeredoc \"<<A\\n\"\nHeredocText \"x A\\n\"\nCloseHeredoc \" A\"\nNewline \"\\n\"\nName \"b\"\n\
             End \"\"\n"
        );
    }
}
