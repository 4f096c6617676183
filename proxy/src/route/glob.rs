//! Host patterns: `*` and `**` any run of characters (dots too, also none), `?` one character,
//! `[abc]` `[a-z]` `[!a]`, `{a,b}`, and a backslash before a character that stands for itself.

use std::net::Ipv6Addr;

/// How many patterns `{a,b}` groups may multiply into.
const ALTERNATIVES_MAX: usize = 64;

/// One element of a pattern without groups.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Run,
    Class {
        negated: bool,
        ranges: Vec<(u8, u8)>,
    },
}

/// A compiled pattern without groups.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    tokens: Vec<Token>,
}

/// Whether the text is a pattern at all; a bracketed IPv6 address is not.
pub(super) fn is_pattern(text: &str) -> bool {
    !is_ipv6_literal(text) && text.contains(['*', '?', '[', '{', '\\'])
}

/// Checks that the text is a plain host or a pattern that can be compiled.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    if is_pattern(text) {
        compile(text).map(drop)
    } else {
        Ok(())
    }
}

fn is_ipv6_literal(text: &str) -> bool {
    text.strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
        .is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok())
}

/// Compiles a pattern into one glob for each combination of its groups.
pub(super) fn compile(text: &str) -> Result<Vec<Glob>, &'static str> {
    let mut globs = Vec::new();
    let mut pending = vec![text.as_bytes().to_vec()];
    while let Some(next) = pending.pop() {
        if globs.len() + pending.len() >= ALTERNATIVES_MAX {
            return Err("too many alternatives");
        }
        match first_group(&next)? {
            Some(group) => {
                for choice in &group.choices {
                    pending.push([&next[..group.start], choice, &next[group.end..]].concat());
                }
            }
            None => globs.push(Glob {
                tokens: tokens(&next)?,
            }),
        }
    }
    Ok(globs)
}

struct Group {
    start: usize,
    end: usize,
    choices: Vec<Vec<u8>>,
}

/// Finds the first `{…}` outside of classes and splits it at its own commas.
fn first_group(text: &[u8]) -> Result<Option<Group>, &'static str> {
    let mut start = None;
    let mut depth = 0usize;
    let mut part = 0;
    let mut choices = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 1,
            b'[' => at = class_end(text, at)?,
            b'{' => {
                depth += 1;
                if depth == 1 {
                    start = Some(at);
                    part = at + 1;
                }
            }
            b',' if depth == 1 => {
                choices.push(text[part..at].to_vec());
                part = at + 1;
            }
            b'}' if depth == 0 => return Err("unexpected `}`"),
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    choices.push(text[part..at].to_vec());
                    return Ok(start.map(|start| Group {
                        start,
                        end: at + 1,
                        choices,
                    }));
                }
            }
            _ => {}
        }
        at += 1;
    }
    if depth > 0 {
        Err("unexpected end of input in `{`")
    } else {
        Ok(None)
    }
}

/// The position of the `]` that ends the class at `start`.
fn class_end(text: &[u8], start: usize) -> Result<usize, &'static str> {
    let first = if text.get(start + 1) == Some(&b'!') {
        start + 2
    } else {
        start + 1
    };
    // A bracket in first place stands for itself.
    (first + 1..text.len())
        .find(|&at| text[at] == b']')
        .ok_or("unexpected end of input in `[`")
}

fn tokens(text: &[u8]) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'*' => {
                if tokens.last() != Some(&Token::Run) {
                    tokens.push(Token::Run);
                }
            }
            b'?' => tokens.push(Token::One),
            b'[' => {
                let end = class_end(text, at)?;
                tokens.push(class(&text[at + 1..end])?);
                at = end;
            }
            b'\\' => {
                at += 1;
                tokens.push(Token::Byte(
                    *text.get(at).ok_or("unexpected end of input after `\\`")?,
                ));
            }
            byte => tokens.push(Token::Byte(byte)),
        }
        at += 1;
    }
    Ok(tokens)
}

fn class(inside: &[u8]) -> Result<Token, &'static str> {
    let (negated, inside) = match inside.strip_prefix(b"!") {
        Some(rest) => (true, rest),
        None => (false, inside),
    };
    let mut ranges = Vec::new();
    let mut rest = inside;
    loop {
        rest = match rest {
            [] => return Ok(Token::Class { negated, ranges }),
            [low, b'-', high, after @ ..] if low <= high => {
                ranges.push((*low, *high));
                after
            }
            [_, b'-', _, ..] => return Err("range out of order"),
            [byte, after @ ..] => {
                ranges.push((*byte, *byte));
                after
            }
        };
    }
}

impl Token {
    fn accepts(&self, byte: u8) -> bool {
        match self {
            Token::Byte(own) => *own == byte,
            Token::One => true,
            Token::Run => false,
            Token::Class { negated, ranges } => {
                ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&byte))
                    != *negated
            }
        }
    }

    fn byte(&self) -> Option<u8> {
        match self {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        }
    }
}

impl Glob {
    /// The fixed text that every match begins with.
    pub(super) fn literal_prefix(&self) -> Vec<u8> {
        self.tokens.iter().map_while(Token::byte).collect()
    }

    /// The fixed text that every match ends with, reversed.
    pub(super) fn reversed_literal_suffix(&self) -> Vec<u8> {
        self.tokens.iter().rev().map_while(Token::byte).collect()
    }

    /// Whether the whole text matches; time is at most pattern length times text length.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        // Where to take up again after the last run: one run needs no deeper backtracking, since an
        // earlier one can only give back what the later one could take as well.
        let mut resume = None;
        loop {
            match self.tokens.get(token) {
                Some(Token::Run) => {
                    resume = Some((token + 1, at));
                    token += 1;
                    continue;
                }
                Some(one) if text.get(at).is_some_and(|byte| one.accepts(*byte)) => {
                    token += 1;
                    at += 1;
                    continue;
                }
                None if at == text.len() => return true,
                _ => {}
            }
            match resume {
                Some((after_run, from)) if from < text.len() => {
                    resume = Some((after_run, from + 1));
                    token = after_run;
                    at = from + 1;
                }
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{check, compile};

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern)
            .unwrap()
            .iter()
            .any(|glob| glob.matches(text.as_bytes()))
    }

    #[test]
    fn runs_span_dots_and_may_be_empty() {
        assert!(matches("*.shop.io", "a.b.shop.io"));
        assert!(matches("*.shop.io", ".shop.io"));
        assert!(!matches("*.shop.io", "shop.io"));
        assert!(matches("a*b**c", "abc"));
        assert!(matches("a*b*c", "axxbyybzzc"));
        assert!(!matches("a*b*c", "axxbyybzz"));
        assert!(matches("*", ""));
    }

    #[test]
    fn classes_groups_and_escapes() {
        assert!(matches("[a-c]x", "bx") && !matches("[a-c]x", "dx"));
        assert!(matches("[!a-c]x", "dx") && !matches("[!a-c]x", "bx"));
        assert!(matches("{a,b{1,2}}.io", "b2.io") && !matches("{a,b{1,2}}.io", "b.io"));
        assert!(matches("\\*.io", "*.io") && !matches("\\*.io", "a.io"));
    }

    #[test]
    fn broken_patterns_are_refused() {
        for pattern in [
            "[",
            "[a",
            "{a,b",
            "a}",
            "a\\",
            "[z-a]",
            "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}",
        ] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert_eq!(check("[::1]:9999"), Ok(()));
    }
}
