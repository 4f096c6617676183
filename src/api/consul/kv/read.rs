//! One key, all keys with a prefix, or the names of keys.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mesh::state::Snapshot;
use mesh::wire::KvPair;

use super::Key;
use crate::consul::Catalog;
use crate::consul::query::{Query, answer_from_server, json};
use crate::error::Error;
use server::log::watch::Topic;

/// Says that a value is not what it looks like to a browser.
const RAW_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox"),
    ),
];

pub(super) async fn read(
    State(catalog): State<Catalog>,
    key: Key,
    query: Query,
) -> Result<Response, Error> {
    if query.parameters.has("keys") {
        names(&catalog, &key.0, &query).await
    } else if query.parameters.has("recurse") {
        below(&catalog, &key.0, &query).await
    } else {
        one(&catalog, key.required()?, &query).await
    }
}

async fn one(catalog: &Catalog, key: String, query: &Query) -> Result<Response, Error> {
    let index = |snapshot: &Snapshot| snapshot.key_index(&key);
    let view = |snapshot: &Snapshot| {
        let Some(entry) = snapshot.key(&key) else {
            return Ok(StatusCode::NOT_FOUND.into_response());
        };
        if query.parameters.has("raw") {
            return Ok((RAW_HEADERS, entry.value.clone()).into_response());
        }
        json(query, &[KvPair::from(entry.as_ref())])
    };
    answer_from_server(catalog, query, [Topic::Key(key.clone())], index, view).await
}

async fn below(catalog: &Catalog, prefix: &str, query: &Query) -> Result<Response, Error> {
    let view = |snapshot: &Snapshot| {
        let entries = snapshot.keys_below(prefix);
        let pairs: Vec<KvPair> = entries.map(|entry| entry.as_ref().into()).collect();
        if pairs.is_empty() {
            return Ok(StatusCode::NOT_FOUND.into_response());
        }
        json(query, &pairs)
    };
    answer_below(catalog, prefix, query, view).await
}

async fn names(catalog: &Catalog, prefix: &str, query: &Query) -> Result<Response, Error> {
    // The second spelling is that of early clients.
    let separator = query.parameters.get("separator");
    let separator = separator.or_else(|| query.parameters.get("seperator"));
    let view = |snapshot: &Snapshot| {
        let keys = snapshot.keys_below(prefix).map(|entry| entry.key.as_str());
        let mut names: Vec<&str> = keys.map(|key| rolled_up(key, prefix, separator)).collect();
        // They are in order, so equal ones are neighbors.
        names.dedup();
        // A page that looks into an empty folder is not refused: browsers note refusals as errors.
        let is_refused = !prefix.is_empty() && !query.parameters.has("optional");
        if names.is_empty() && is_refused {
            return Ok(StatusCode::NOT_FOUND.into_response());
        }
        json(query, &names)
    };
    answer_below(catalog, prefix, query, view).await
}

async fn answer_below(
    catalog: &Catalog,
    prefix: &str,
    query: &Query,
    view: impl FnOnce(&Snapshot) -> Result<Response, Error>,
) -> Result<Response, Error> {
    let index = |snapshot: &Snapshot| snapshot.prefix_index(prefix);
    let topic = Topic::KeysBelow(prefix.to_owned());
    answer_from_server(catalog, query, [topic], index, view).await
}

/// The key up to the first separator behind the prefix, or all of it.
fn rolled_up<'a>(key: &'a str, prefix: &str, separator: Option<&str>) -> &'a str {
    let cut = separator.and_then(|separator| {
        let found = key.get(prefix.len()..)?.find(separator)?;
        key.get(..prefix.len() + found + separator.len())
    });
    cut.unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::rolled_up;

    #[test]
    fn names_end_at_the_first_separator_behind_the_prefix() {
        for (key, prefix, separator, name) in [
            ("a/b/c", "", Some("/"), "a/"),
            ("a/b/c", "a/", Some("/"), "a/b/"),
            ("a/b/c", "a/b/", Some("/"), "a/b/c"),
            ("a/b/c", "a", Some("/"), "a/"),
            ("a/b/c", "a/", None, "a/b/c"),
            ("a--b--c", "a", Some("--"), "a--"),
            ("a/b", "a/", Some("x"), "a/b"),
        ] {
            assert_eq!(rolled_up(key, prefix, separator), name, "{key} {prefix}");
        }
    }
}
