//! Request paths: one form to match routes against, one form to send on.

use std::borrow::Cow;

use super::definition::{Options, Rewrite};

/// The path of a request, cleaned for matching: percent-decoded once, repeated slashes collapsed,
/// dot segments removed.
#[derive(Debug)]
pub struct RequestPath<'a> {
    raw: &'a str,
    decoded: Cow<'a, [u8]>,
    /// Set if cleaning changed more than the encoding, so that the raw form must not be sent on: it
    /// could mean another place to the target than it meant to the matcher.
    cleaned: Option<String>,
}

impl<'a> RequestPath<'a> {
    /// Cleans the path part of a request target, without its query.
    pub fn new(raw: &'a str) -> RequestPath<'a> {
        if !raw.contains('%') && !raw.contains("//") && !raw.contains("/.") {
            return RequestPath {
                raw,
                decoded: Cow::Borrowed(raw.as_bytes()),
                cleaned: None,
            };
        }
        let decoded = decode(raw.as_bytes());
        let clean = remove_dots(&decoded);
        let cleaned = (clean != decoded).then(|| encode(&clean));
        RequestPath {
            raw,
            decoded: Cow::Owned(clean),
            cleaned,
        }
    }

    /// The form that routes are matched against.
    pub fn decoded(&self) -> &[u8] {
        &self.decoded
    }

    /// The path as it goes on if no option changes it.
    pub fn sent(&self) -> &str {
        self.cleaned.as_deref().unwrap_or(self.raw)
    }

    /// The path to send on under a target's options; `None` if it is the one that came in.
    pub fn forwarded(&self, options: &Options) -> Option<String> {
        if options.strip.is_none() && options.prepend.is_none() {
            return self.cleaned.clone();
        }
        let base = self.cleaned.as_deref().unwrap_or(self.raw);
        let mut path = match &options.strip {
            None => base.to_owned(),
            Some(strip) => match (
                base.strip_prefix(strip.as_str()),
                self.decoded.strip_prefix(strip.as_bytes()),
            ) {
                (Some(rest), _) => rest.to_owned(),
                (None, Some(rest)) => encode(rest),
                (None, None) => base.to_owned(),
            },
        };
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        if let Some(prepend) = &options.prepend {
            path.insert_str(0, prepend);
        }
        Some(path)
    }
}

impl Rewrite {
    /// The path with the beginning replaced; none if it begins otherwise. One slash at the seam is
    /// enough.
    pub(super) fn of(&self, path: &RequestPath<'_>) -> Option<String> {
        let begins = |text: &[u8]| {
            let start = text.get(..self.prefix.len())?;
            let is_same = if self.ignores_case {
                start.eq_ignore_ascii_case(self.prefix.as_bytes())
            } else {
                start == self.prefix.as_bytes()
            };
            is_same.then_some(self.prefix.len())
        };
        let sent = path.sent();
        let rest = match begins(sent.as_bytes()).and_then(|end| sent.get(end..)) {
            Some(rest) => rest.to_owned(),
            None => encode(&path.decoded()[begins(path.decoded())?..]),
        };
        let seam = if rest.starts_with('/') { "/" } else { "" };
        let start = self.replacement.strip_suffix(seam);
        Some(format!("{}{rest}", start.unwrap_or(&self.replacement)))
    }
}

/// Decodes `%XX`; anything else behind a percent sign stays as it is.
fn decode(raw: &[u8]) -> Vec<u8> {
    let digit = |at: usize| raw.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        match (raw[at], digit(at + 1), digit(at + 2)) {
            // Two hexadecimal digits are less than 256.
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// Collapses slashes and resolves `.` and `..`; a trailing slash stays.
fn remove_dots(path: &[u8]) -> Vec<u8> {
    if path.first() != Some(&b'/') {
        return path.to_vec();
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut trailing = false;
    for segment in path.split(|byte| *byte == b'/') {
        trailing = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if trailing || out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Encodes every byte that may not stand in a path as it is.
fn encode(path: &[u8]) -> String {
    use std::fmt::Write;

    let mut out = String::with_capacity(path.len());
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(byte) {
            out.push(char::from(*byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Options, RequestPath, Rewrite};

    fn forms(raw: &str) -> (String, String) {
        let path = RequestPath::new(raw);
        let decoded = String::from_utf8_lossy(path.decoded()).into_owned();
        let sent = path
            .forwarded(&Options::default())
            .unwrap_or_else(|| raw.to_owned());
        (decoded, sent)
    }

    #[test]
    fn the_beginning_of_a_path_is_replaced() {
        for (prefix, replacement, path, expected) in [
            ("/old", "/new", "/old/x", Some("/new/x")),
            ("/old", "/", "/old/x", Some("/x")),
            ("/old", "/", "/old", Some("/")),
            ("/old/", "/", "/old/x", Some("/x")),
            ("/old", "/new/", "/old/x", Some("/new/x")),
            ("/old", "/new", "/older", Some("/newer")),
            ("/", "/v2/", "/x%2Fy", Some("/v2/x%2Fy")),
            ("/a b", "/c", "/a%20b/x y", Some("/c/x%20y")),
            ("/old", "/new", "/x/../old/y", Some("/new/y")),
            ("/old", "/new", "/OLD/y", None),
            ("/old", "/new", "/ol", None),
        ] {
            let rewrite = |ignores_case| Rewrite {
                prefix: prefix.to_owned(),
                ignores_case,
                replacement: replacement.to_owned(),
            };
            let path = RequestPath::new(path);
            assert_eq!(rewrite(false).of(&path).as_deref(), expected, "{path:?}");
            let any = rewrite(true).of(&path);
            assert_eq!(any.is_some(), path.decoded() != b"/ol", "{path:?}");
        }
    }

    #[test]
    fn cleaning_keeps_the_raw_form_unless_the_place_changed() {
        for (raw, decoded, sent) in [
            ("/a/b", "/a/b", "/a/b"),
            ("/a%2Fb", "/a/b", "/a%2Fb"),
            ("/%63art", "/cart", "/%63art"),
            ("//cart", "/cart", "/cart"),
            ("/x/../cart/", "/cart/", "/cart/"),
            ("/x/%2e%2e/adm", "/adm", "/adm"),
            ("/../..", "/", "/"),
            ("/a%3Fb", "/a?b", "/a%3Fb"),
            ("/a%2525", "/a%25", "/a%2525"),
            ("/x/./y%20z", "/x/y z", "/x/y%20z"),
            ("/100%", "/100%", "/100%"),
            ("/.well-known/x", "/.well-known/x", "/.well-known/x"),
            ("*", "*", "*"),
        ] {
            assert_eq!(forms(raw), (decoded.to_owned(), sent.to_owned()), "{raw}");
        }
    }
}
