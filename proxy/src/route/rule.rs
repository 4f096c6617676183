//! Which requests go to a version whatever its share is.

use regex::bytes::{Regex, RegexBuilder};

/// How much memory a compiled expression may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What is asked of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A header, by its name in small letters.
    Header(String, Test),
    /// A cookie.
    Cookie(String, Test),
    /// A parameter of the query, as it was sent.
    Query(String, Test),
    /// The path, as it is matched.
    Path(Test),
    /// One of these methods.
    Method(Vec<String>),
    /// The other way round.
    Not(Box<Condition>),
}

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is there.
    Present,
    /// It is this.
    Exact(String),
    /// It begins like this.
    Prefix(String),
    /// It ends like this.
    Suffix(String),
    /// This is somewhere in it.
    Contains(String),
    /// An expression is about all of it.
    Like(Pattern),
}

/// A regular expression that is compared with a whole value, in time that grows with its length.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    fn new(expression: &str) -> Result<Pattern, String> {
        let whole = format!("^(?:{expression})$");
        let built = RegexBuilder::new(&whole)
            .size_limit(PATTERN_BYTES_MAX)
            .build();
        built.map(Pattern).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                format!("`{expression}` takes more than {PATTERN_BYTES_MAX} bytes of memory")
            }
            _ => format!("`{expression}` is no regular expression"),
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Test {
    /// A regular expression for the whole value.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub fn like(expression: &str) -> Result<Test, String> {
        Pattern::new(expression).map(Test::Like)
    }

    /// The same, for letters of either case.
    ///
    /// # Errors
    /// If the expression that this takes is too large.
    pub fn in_any_case(&self) -> Result<Test, String> {
        let expression = match self {
            Test::Present => return Ok(Test::Present),
            Test::Exact(text) => regex::escape(text),
            Test::Prefix(text) => format!("{}.*", regex::escape(text)),
            Test::Suffix(text) => format!(".*{}", regex::escape(text)),
            Test::Contains(text) => format!(".*{}.*", regex::escape(text)),
            Test::Like(pattern) => pattern.0.as_str().to_owned(),
        };
        Test::like(&format!("(?is){expression}"))
    }

    fn holds(&self, value: Option<&[u8]>) -> bool {
        let Some(value) = value else { return false };
        match self {
            Test::Present => true,
            Test::Exact(text) => value == text.as_bytes(),
            Test::Prefix(text) => value.starts_with(text.as_bytes()),
            Test::Suffix(text) => value.ends_with(text.as_bytes()),
            Test::Contains(text) => {
                text.is_empty() || memchr::memmem::find(value, text.as_bytes()).is_some()
            }
            Test::Like(pattern) => pattern.0.is_match(value),
        }
    }
}

/// What of a request rules and keys are about.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, decoded.
    pub path: &'a [u8],
    /// The query without its question mark; may be empty.
    pub query: &'a str,
    /// The first value of a header, by its name in small letters.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers may hold secrets.
        f.debug_struct("Facts").finish_non_exhaustive()
    }
}

impl<'a> Facts<'a> {
    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        let mut pairs = (self.header)("cookie")?.split(|byte| *byte == b';');
        pairs.find_map(|pair| {
            let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
            value.strip_prefix(b"=")
        })
    }

    fn parameter(&self, name: &str) -> Option<&'a [u8]> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value.as_bytes())
        })
    }
}

impl Condition {
    /// Whether a request is as asked.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Condition::Header(name, test) => test.holds((facts.header)(name)),
            Condition::Cookie(name, test) => test.holds(facts.cookie(name)),
            Condition::Query(name, test) => test.holds(facts.parameter(name)),
            Condition::Path(test) => test.holds(Some(facts.path)),
            Condition::Method(methods) => methods.iter().any(|method| method == facts.method),
            Condition::Not(other) => !other.holds(facts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Condition, Facts, Test};

    #[test]
    fn conditions_ask_of_every_part_of_a_request() {
        let lines: [(&str, &[u8]); 2] = [("x-canary", b"insider"), ("cookie", b"a=1; beta=yes;c")];
        let header = |name: &str| {
            let mut lines = lines.iter();
            lines.find(|(own, _)| *own == name).map(|(_, value)| *value)
        };
        let facts = Facts {
            method: "GET",
            path: b"/shop/cart",
            query: "debug=1&empty&x=y",
            header: &header,
        };
        let text = |text: &str| text.to_owned();
        let canary = |test| Condition::Header(text("x-canary"), test);
        for (condition, expected) in [
            (canary(Test::Present), true),
            (canary(Test::Exact(text("insider"))), true),
            (canary(Test::Exact(text("inside"))), false),
            (canary(Test::Prefix(text("in"))), true),
            (canary(Test::Suffix(text("ider"))), true),
            (canary(Test::Contains(text("side"))), true),
            (canary(Test::like("in[a-z]+").unwrap()), true),
            (canary(Test::like("in|out").unwrap()), false),
            (
                canary(Test::Exact(text("INSIDER")).in_any_case().unwrap()),
                true,
            ),
            (
                canary(Test::Prefix(text("INS")).in_any_case().unwrap()),
                true,
            ),
            (
                canary(Test::Suffix(text("INS")).in_any_case().unwrap()),
                false,
            ),
            (
                canary(Test::Contains(text("SIDE")).in_any_case().unwrap()),
                true,
            ),
            (
                canary(Test::like("INS.*").unwrap().in_any_case().unwrap()),
                true,
            ),
            (Condition::Header(text("x-other"), Test::Present), false),
            (
                Condition::Cookie(text("beta"), Test::Exact(text("yes"))),
                true,
            ),
            (Condition::Cookie(text("eta"), Test::Present), false),
            (Condition::Cookie(text("c"), Test::Present), false),
            (
                Condition::Query(text("debug"), Test::Exact(text("1"))),
                true,
            ),
            (Condition::Query(text("empty"), Test::Exact(text(""))), true),
            (Condition::Query(text("y"), Test::Present), false),
            (Condition::Path(Test::Prefix(text("/shop/"))), true),
            (Condition::Method(vec![text("POST")]), false),
            (
                Condition::Not(Box::new(Condition::Method(vec![text("POST")]))),
                true,
            ),
        ] {
            assert_eq!(condition.holds(&facts), expected, "{condition:?}");
        }
    }

    #[test]
    fn expressions_that_cannot_be_used_are_refused() {
        for wrong in ["(", "a{999999}{999}", "(?=x)"] {
            assert!(Test::like(wrong).is_err(), "{wrong}");
        }
    }
}
