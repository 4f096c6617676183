//! Expressions and texts: where they end, and what is missing in them.

use super::check::{Checker, Read};
use super::tokens::{Kind, Token};
use crate::spec::problem::nearest;

const KEEP_INTERPOLATION: &str =
    "To keep \"${\" as it is, for a shell or the client, write \"$${\".";
const KEEP_DIRECTIVE: &str = "To keep \"%{\" as it is, write \"%%{\".";

impl Checker<'_> {
    /// An expression with its operators.
    pub(super) fn expression(&mut self) -> Read {
        self.deeper(|checker| {
            checker.operands()?;
            if !checker.take(Kind::Question) {
                return Ok(());
            }
            checker.expression()?;
            if !checker.take(Kind::Colon) {
                return checker.fail(
                    "Missing false expression in conditional; The conditional operator (...?...:...) requires a false expression, delimited by a colon.",
                    "",
                );
            }
            checker.expression()
        })
    }

    fn operands(&mut self) -> Read {
        loop {
            while matches!(self.peek(), Kind::Minus | Kind::Bang) {
                self.next();
            }
            self.term()?;
            self.traversals()?;
            if !matches!(self.peek(), Kind::Operator | Kind::Minus) {
                return Ok(());
            }
            self.next();
        }
    }

    fn term(&mut self) -> Read {
        let token = self.token();
        match token.kind {
            Kind::OpenParen => {
                self.next();
                self.line_breaks.push(false);
                self.expression()?;
                if !self.take(Kind::CloseParen) {
                    return self.fail(
                        "Unbalanced parentheses; Expected a closing parenthesis to terminate the expression.",
                        "",
                    );
                }
                self.line_breaks.pop();
                Ok(())
            }
            Kind::Number => {
                self.next();
                Ok(())
            }
            Kind::Name => {
                self.next();
                while self.take(Kind::DoubleColon) {
                    if !self.take(Kind::Name) {
                        return self.fail(
                            "Missing function name; The symbol :: must be followed by the name of a function.",
                            "",
                        );
                    }
                }
                if self.peek() == Kind::OpenParen {
                    return self.call(&token);
                }
                Ok(())
            }
            Kind::OpenQuote => self.quoted(),
            Kind::OpenHeredoc => self.heredoc(&token),
            Kind::OpenBracket => self.list(&token),
            Kind::OpenBrace => self.object(&token),
            Kind::End => self.fail(
                "Missing expression; Expected the start of an expression, but found the end of the file.",
                "",
            ),
            Kind::Newline => self.fail(
                "Invalid expression; Expected the start of an expression, but found the end of the line.",
                "",
            ),
            Kind::Invalid => {
                let (message, hint) = self.stray(&token);
                self.fail(message, hint)
            }
            _ => self.fail(
                &format!(
                    "Invalid expression; Expected the start of an expression, but found \"{}\".",
                    self.text(&token)
                ),
                "",
            ),
        }
    }

    fn traversals(&mut self) -> Read {
        loop {
            match self.peek() {
                Kind::Dot => {
                    self.next();
                    let token = self.token();
                    match token.kind {
                        Kind::Name | Kind::Number => {
                            self.next();
                        }
                        Kind::Operator if self.text(&token) == "*" => {
                            self.next();
                        }
                        _ => {
                            return self.fail(
                                "Invalid attribute name; An attribute name is required after a dot.",
                                "",
                            );
                        }
                    }
                }
                Kind::OpenBracket => {
                    self.next();
                    self.line_breaks.push(false);
                    let token = self.token();
                    if token.kind == Kind::Operator && self.text(&token) == "*" {
                        self.next();
                    } else {
                        self.expression()?;
                    }
                    if !self.take(Kind::CloseBracket) {
                        return self.fail(
                            "Missing close bracket on index; The index operator must end with a closing bracket (\"]\").",
                            "",
                        );
                    }
                    self.line_breaks.pop();
                }
                _ => return Ok(()),
            }
        }
    }

    /// The arguments of a function.
    fn call(&mut self, name: &Token) -> Read {
        self.next();
        self.line_breaks.push(false);
        loop {
            if self.take(Kind::CloseParen) {
                break;
            }
            self.expression()?;
            match self.peek() {
                Kind::Comma => {
                    self.next();
                }
                Kind::CloseParen => {}
                Kind::Ellipsis => {
                    self.next();
                    if self.peek() != Kind::CloseParen {
                        return self.fail(
                            "Missing closing parenthesis; An expanded function argument (with ...) must be immediately followed by closing parentheses.",
                            "",
                        );
                    }
                }
                Kind::End => {
                    return self.fail_at(
                        name.span.clone(),
                        "Unterminated function call; There is no closing parenthesis for this function call before the end of the file.",
                        "",
                    );
                }
                _ => {
                    return self.fail(
                        "Missing argument separator; A comma is required to separate each function argument from the next.",
                        "",
                    );
                }
            }
        }
        self.line_breaks.pop();
        Ok(())
    }

    fn is_for(&mut self) -> bool {
        let token = self.token();
        token.kind == Kind::Name && self.text(&token) == "for"
    }

    fn list(&mut self, open: &Token) -> Read {
        self.next();
        self.line_breaks.push(false);
        if self.is_for() {
            self.for_expression(Kind::CloseBracket)?;
            self.line_breaks.pop();
            return Ok(());
        }
        loop {
            if self.take(Kind::CloseBracket) {
                break;
            }
            self.expression()?;
            match self.peek() {
                Kind::Comma => {
                    self.next();
                }
                Kind::CloseBracket => {}
                Kind::End => {
                    return self.fail_at(
                        open.span.clone(),
                        "Unterminated tuple constructor expression; There is no corresponding closing bracket before the end of the file.",
                        "",
                    );
                }
                _ => {
                    return self.fail(
                        "Missing item separator; Expected a comma to mark the beginning of the next item.",
                        "Is the closing bracket (\"]\") missing?",
                    );
                }
            }
        }
        self.line_breaks.pop();
        Ok(())
    }

    fn object(&mut self, open: &Token) -> Read {
        self.next();
        self.line_breaks.push(false);
        let is_for = self.is_for();
        self.line_breaks.pop();
        if is_for {
            self.line_breaks.push(false);
            self.for_expression(Kind::CloseBrace)?;
            self.line_breaks.pop();
            return Ok(());
        }
        self.line_breaks.push(true);
        loop {
            while self.take(Kind::Newline) {}
            if self.take(Kind::CloseBrace) {
                break;
            }
            self.unclosed_object(open)?;
            self.expression()?;
            self.unclosed_object(open)?;
            match self.peek() {
                Kind::Equals | Kind::Colon => {
                    self.next();
                }
                Kind::Newline | Kind::Comma => {
                    return self.fail(
                        "Missing attribute value; Expected an attribute value, introduced by an equals sign (\"=\").",
                        "",
                    );
                }
                _ => {
                    return self.fail(
                        "Missing key/value separator; Expected an equals sign (\"=\") to mark the beginning of the attribute value.",
                        "A name with periods or spaces needs quotes.",
                    );
                }
            }
            self.expression()?;
            match self.peek() {
                Kind::Newline | Kind::Comma => {
                    self.next();
                }
                Kind::CloseBrace => {}
                Kind::End => self.unclosed_object(open)?,
                _ => {
                    return self.fail(
                        "Missing attribute separator; Expected a newline or comma to mark the beginning of the next attribute.",
                        "",
                    );
                }
            }
        }
        self.line_breaks.pop();
        Ok(())
    }

    fn unclosed_object(&mut self, open: &Token) -> Read {
        if self.peek() == Kind::End {
            return self.fail_at(
                open.span.clone(),
                "Unterminated object constructor expression; There is no corresponding closing brace before the end of the file.",
                "",
            );
        }
        Ok(())
    }

    /// The names, the collection and the colon of a loop; ends in front of what it yields.
    fn for_head(&mut self, summary: &str) -> Read {
        self.next();
        if !self.take(Kind::Name) {
            return self.fail(
                &format!("{summary}; A variable name is required after 'for'."),
                "",
            );
        }
        if self.take(Kind::Comma) && !self.take(Kind::Name) {
            return self.fail(
                &format!("{summary}; A variable name for the value is required after the comma."),
                "",
            );
        }
        let token = self.token();
        if token.kind != Kind::Name || self.text(&token) != "in" {
            return self.fail(
                &format!("{summary}; The 'in' keyword is required after the names."),
                "",
            );
        }
        self.next();
        self.expression()
    }

    fn for_expression(&mut self, close: Kind) -> Read {
        const SUMMARY: &str = "Invalid 'for' expression";
        self.for_head(SUMMARY)?;
        if !self.take(Kind::Colon) {
            return self.fail(
                &format!("{SUMMARY}; A colon is required after the collection expression."),
                "",
            );
        }
        self.expression()?;
        if self.take(Kind::Arrow) {
            self.expression()?;
        }
        self.take(Kind::Ellipsis);
        let token = self.token();
        if token.kind == Kind::Name && self.text(&token) == "if" {
            self.next();
            self.expression()?;
        }
        if !self.take(close) {
            return self.fail(
                &format!("{SUMMARY}; Extra characters after the end of the 'for' expression."),
                "",
            );
        }
        Ok(())
    }

    /// A text between quotes.
    fn quoted(&mut self) -> Read {
        self.next();
        let mut open: Vec<&str> = Vec::new();
        loop {
            let token = self.token();
            match token.kind {
                Kind::CloseQuote => {
                    self.directives_end(&open)?;
                    self.next();
                    return Ok(());
                }
                Kind::QuotedText => {
                    self.escapes(&token)?;
                    self.next();
                }
                Kind::OpenInterpolation => self.interpolation()?,
                Kind::OpenDirective => self.directive(&mut open)?,
                _ => return self.open_text(&token),
            }
        }
    }

    /// A text of several lines.
    fn heredoc(&mut self, start: &Token) -> Read {
        self.next();
        let mut open: Vec<&str> = Vec::new();
        loop {
            match self.peek() {
                Kind::CloseHeredoc => {
                    self.directives_end(&open)?;
                    self.next();
                    return Ok(());
                }
                Kind::HeredocText => {
                    self.next();
                }
                Kind::OpenInterpolation => self.interpolation()?,
                Kind::OpenDirective => self.directive(&mut open)?,
                _ => {
                    let marker = self
                        .text(start)
                        .trim_start_matches(['<', '-'])
                        .trim()
                        .to_owned();
                    return self.fail_at(
                        start.span.clone(),
                        &format!("Unterminated template string; No line with \"{marker}\" alone ends this text before the end of the file."),
                        "",
                    );
                }
            }
        }
    }

    /// `${…}`
    fn interpolation(&mut self) -> Read {
        self.next();
        self.line_breaks.push(false);
        let before = self.findings.problems.len();
        let inner = self.expression();
        if inner.is_err() {
            self.hint_escape(before, KEEP_INTERPOLATION);
            return inner;
        }
        if self.peek() != Kind::CloseSequence {
            let token = self.token();
            return match token.kind {
                Kind::End | Kind::QuotedNewline | Kind::QuotedText => self.fail(
                    "Unclosed template interpolation sequence; There is no closing brace for this interpolation sequence.",
                    KEEP_INTERPOLATION,
                ),
                _ => self.fail(
                    "Extra characters after interpolation expression; Expected a closing brace to end the interpolation expression, but found extra characters.",
                    KEEP_INTERPOLATION,
                ),
            };
        }
        self.next();
        self.line_breaks.pop();
        Ok(())
    }

    /// The problem just noted gets the hint that the sequence may not have been meant as one.
    fn hint_escape(&mut self, before: usize, hint: &str) {
        if let Some(problem) = self.findings.problems.get_mut(before)
            && problem.hint.is_empty()
        {
            hint.clone_into(&mut problem.hint);
        }
    }

    /// `%{ if … }` and its kin; `open` holds those that wait for their end.
    fn directive(&mut self, open: &mut Vec<&str>) -> Read {
        const KEYWORDS: [&str; 5] = ["if", "else", "endif", "for", "endfor"];
        self.next();
        self.line_breaks.push(false);
        let token = self.token();
        if token.kind != Kind::Name {
            return self.fail(
                "Invalid template directive; A template directive keyword (\"if\", \"for\", etc) is expected at the beginning of a %{ sequence.",
                KEEP_DIRECTIVE,
            );
        }
        let word = self.text(&token);
        let before = self.findings.problems.len();
        let inner = match word {
            "if" => {
                self.next();
                open.push("if");
                self.expression()
            }
            "for" => {
                open.push("for");
                self.for_head("Invalid 'for' directive")
            }
            "else" | "endif" | "endfor" => {
                let wanted = if word == "endfor" { "for" } else { "if" };
                if open.last() != Some(&wanted) {
                    return self.fail(
                        &format!("Unexpected {word} directive; There is no {wanted} directive that this one belongs to."),
                        "",
                    );
                }
                if word != "else" {
                    open.pop();
                }
                self.next();
                Ok(())
            }
            _ => {
                let hint = match nearest(word, KEYWORDS) {
                    Some(known) => format!("Did you mean \"{known}\"? {KEEP_DIRECTIVE}"),
                    None => KEEP_DIRECTIVE.to_owned(),
                };
                return self.fail(
                    &format!("Invalid template control keyword; \"{word}\" is not a valid template control keyword."),
                    &hint,
                );
            }
        };
        if inner.is_err() {
            self.hint_escape(before, KEEP_DIRECTIVE);
            return inner;
        }
        if !self.take(Kind::CloseSequence) {
            return self.fail(
                &format!("Extra characters in {word} marker; Expected a closing brace to end the sequence, but found extra characters."),
                KEEP_DIRECTIVE,
            );
        }
        self.line_breaks.pop();
        Ok(())
    }

    fn directives_end(&mut self, open: &[&str]) -> Read {
        match open.last() {
            Some(word) => self.fail(
                &format!("Unexpected end of template; The {word} directive of this text has no end{word}."),
                "",
            ),
            None => Ok(()),
        }
    }

    /// Looks at the backslashes of a text in quotes.
    pub(super) fn escapes(&mut self, token: &Token) -> Read {
        let text = self.text(token);
        let mut letters = text.char_indices();
        while let Some((at, letter)) = letters.next() {
            if letter != '\\' {
                continue;
            }
            let digits = |count: usize| {
                let tail = text.get(at + 2..).unwrap_or_default();
                let number: String = tail.chars().take(count).collect();
                let fits = number.len() == count && number.chars().all(|c| c.is_ascii_hexdigit());
                fits && u32::from_str_radix(&number, 16).is_ok_and(|n| char::from_u32(n).is_some())
            };
            let next = letters.next().map(|(_, next)| next);
            let (is_known, detail) = match next {
                Some('n' | 'r' | 't' | '"' | '\\') => (true, ""),
                Some('u') => (
                    digits(4),
                    "\"\\u\" must be followed by the four hexadecimal digits of a character.",
                ),
                Some('U') => (
                    digits(8),
                    "\"\\U\" must be followed by the eight hexadecimal digits of a character.",
                ),
                _ => (
                    false,
                    "A backslash must be followed by n, r, t, u, U, a quote or a backslash.",
                ),
            };
            if !is_known {
                let start = token.span.start + at;
                let length = 1 + next.map_or(0, char::len_utf8);
                return self.fail_at(
                    start..start + length,
                    &format!("Invalid escape sequence; {detail}"),
                    "For a plain backslash write \"\\\\\".",
                );
            }
        }
        Ok(())
    }
}
