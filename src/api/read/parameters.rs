//! The parameters of a query string.

use jobs::model::{Index, Span};
use std::{str::FromStr, time::Duration};

use super::wait::Asked;
use crate::error::Error;

/// Longest wait, whatever a query names.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// The wait of a query that names none.
const WAIT_DEFAULT: Duration = Duration::from_secs(300);
/// Longest name or value of a parameter, bytes.
const PARAMETER_BYTES_MAX: usize = 16 * 1024;

/// The parameters as written, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Takes a query string apart.
    ///
    /// # Errors
    /// 400 for a parameter that no handler could use: one with a NUL byte, or a very long one.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        let parameters = Self(pairs.into_owned().collect());
        for (name, value) in &parameters.0 {
            if name.contains('\0') || value.contains('\0') {
                return Err(Error::bad_request(format!(
                    "parameter {name:?} holds a NUL byte"
                )));
            }
            if name.len().max(value.len()) > PARAMETER_BYTES_MAX {
                return Err(Error::bad_request(format!(
                    "a parameter is longer than {PARAMETER_BYTES_MAX} bytes"
                )));
            }
        }
        Ok(parameters)
    }

    /// The parameters as a query string, in the order of their names.
    pub(crate) fn sorted(&self) -> String {
        self.without(&[])
    }

    /// As [`Parameters::sorted`], without some of them.
    pub(crate) fn without(&self, names: &[&str]) -> String {
        let wanted = self.0.iter();
        let wanted = wanted.filter(|(name, _)| !names.contains(&name.as_str()));
        let mut pairs: Vec<&(String, String)> = wanted.collect();
        pairs.sort_by(|one, other| one.0.cmp(&other.0));
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish()
    }

    /// Every value of a parameter, empty ones too.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter, empty or not.
    pub(crate) fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Whether a parameter is there, empty or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// A parameter that is not empty.
    pub(crate) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// A number; `complaint` is the text of the refusal.
    pub(crate) fn number<T: FromStr>(
        &self,
        name: &str,
        complaint: &'static str,
    ) -> Result<Option<T>, Error> {
        self.get(name)
            .map(|text| text.parse().map_err(|_| Error::bad_request(complaint)))
            .transpose()
    }

    /// A switch: none when it is not named, on when it stands there without a value; `complaint`
    /// gives the text of the refusal.
    pub(crate) fn switch(
        &self,
        name: &str,
        complaint: impl FnOnce(&str) -> Error,
    ) -> Result<Option<bool>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some("" | "1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(Some(false)),
            Some(other) => Err(complaint(other)),
        }
    }

    /// A duration from 0 as clients in Go write it; `complaint` is the text of the refusal.
    pub(crate) fn duration(
        &self,
        name: &str,
        complaint: &'static str,
    ) -> Result<Option<Duration>, Error> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        match Span::parse(text) {
            Ok(span) if span >= Span::ZERO => Ok(Some(span.to_std())),
            Ok(_) | Err(_) => Err(Error::bad_request(complaint)),
        }
    }

    /// What a reader waits for: nothing unless it names an index.
    pub(crate) fn asked(&self) -> Result<Asked, Error> {
        let index: Option<Index> = self.number("index", "Invalid index")?;
        let wait = self.duration("wait", "Invalid wait time")?;
        Ok(Asked {
            index: index.unwrap_or(0),
            wait: match wait {
                None | Some(Duration::ZERO) => WAIT_DEFAULT,
                Some(wait) => wait.min(WAIT_MAX),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Asked, Error> {
        Parameters::parse(text)?.asked()
    }

    #[test]
    fn waits_have_a_default_and_a_limit() {
        for (text, seconds) in [
            ("", 300),
            ("wait=", 300),
            ("wait=0s", 300),
            ("wait=30s", 30),
            ("wait=60000ms", 60),
            ("wait=%2B2s", 2),
            ("wait=2h", 600),
            ("wait=2000000h", 600),
        ] {
            assert_eq!(asked(text).unwrap().wait.as_secs(), seconds, "{text}");
        }
        for bad in ["30", "soon", "-1s", "s", "1x", "1..5s", "9999999999999h"] {
            let refused = Error::bad_request("Invalid wait time");
            assert_eq!(asked(&format!("wait={bad}")).unwrap_err(), refused, "{bad}");
        }
    }

    #[test]
    fn a_bad_index_is_refused() {
        let refused = Error::bad_request("Invalid index");
        assert_eq!(asked("index=x").unwrap_err(), refused);
        assert_eq!(asked("index=-1").unwrap_err(), refused);
        assert_eq!(asked("index=18446744073709551616").unwrap_err(), refused);
        assert_eq!(asked("index=18446744073709551615").unwrap().index, u64::MAX);
    }

    #[test]
    fn what_no_handler_could_use_is_refused() {
        assert!(Parameters::parse("path=a%00b").is_err());
        assert!(Parameters::parse("a%00b=").is_err());
        let long = "a".repeat(PARAMETER_BYTES_MAX + 1);
        assert!(Parameters::parse(&format!("path={long}")).is_err());
        assert!(Parameters::parse("path=a%0Ab&empty").is_ok());
    }
}
