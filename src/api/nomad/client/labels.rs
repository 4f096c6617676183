//! `/v1/client/metadata`: labels of a machine that are changed while its agent runs.

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{super::query::Query, of_node};
use crate::{Api, body::Raw, error::Error};
use client::Labels;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Request {
    meta: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    meta: BTreeMap<String, String>,
    dynamic: BTreeMap<String, Option<String>>,
    #[serde(rename = "Static")]
    configured: BTreeMap<String, String>,
}

impl From<Labels> for Answer {
    fn from(labels: Labels) -> Self {
        Self {
            meta: labels.all,
            dynamic: labels.changed,
            configured: labels.configured,
        }
    }
}

/// `GET /v1/client/metadata`
pub(super) async fn read(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let labels = of_node(&api, &query)?.labels();
    query.json(&Answer::from(labels))
}

/// `PUT /v1/client/metadata`
pub(super) async fn change(
    State(api): State<Api>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: Request = body.json()?;
    let changes = request.meta.unwrap_or_default();
    if changes.is_empty() {
        return Err(Error::bad_request("missing required Meta object"));
    }
    for key in changes.keys() {
        if key.is_empty() {
            return Err(Error::bad_request("metadata keys must not be empty"));
        }
        if !key.split('.').all(is_identifier) {
            return Err(Error::bad_request(format!(
                "{key:?} is invalid; metadata keys must be valid dotted hcl identifiers"
            )));
        }
    }
    let labels = of_node(&api, &query)?.relabel(changes)?;
    query.json(&Answer::from(labels))
}

/// Whether job files can name it: a letter or `_`, then letters, digits, `_` and `-`.
fn is_identifier(text: &str) -> bool {
    let mut letters = text.chars();
    let first = letters.next();
    first.is_some_and(|letter| letter.is_alphabetic() || letter == '_')
        && letters.all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::is_identifier;

    #[test]
    fn keys_are_names_that_job_files_can_have() {
        for (key, good) in [("rack", true), ("a-1_b", true), ("1a", false), ("", false)] {
            assert_eq!(is_identifier(key), good, "{key}");
        }
        assert!(!is_identifier("a b"));
    }
}
