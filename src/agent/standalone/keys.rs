//! The operator's texts in the key-value store of a catalog elsewhere.

use super::super::external::{Error, Listed, Other, escaped};
use api::fabio::Texts;
use futures_util::future::BoxFuture;
use reqwest::Method;

/// Texts at a key and below it.
#[derive(Debug)]
pub(super) struct Keys {
    other: Other,
    root: String,
}

impl Keys {
    /// Those at `root`.
    pub(super) fn new(other: Other, root: &str) -> Self {
        Self {
            other,
            root: root.to_owned(),
        }
    }

    /// The path in the API of the text at a path.
    fn place(&self, path: &str) -> String {
        let parts = self.root.split('/').chain(path.split('/'));
        let parts = parts.filter(|part| !part.is_empty()).map(escaped);
        format!("/v1/kv/{}", parts.collect::<Vec<_>>().join("/"))
    }
}

fn told(error: Error) -> String {
    error.to_string()
}

impl Texts for Keys {
    fn paths(&self) -> BoxFuture<'_, Result<Vec<String>, String>> {
        Box::pin(async {
            let (keys, _) = self.other.keys_after(&self.root, 0).await.map_err(told)?;
            let below = keys.iter().filter_map(|key| {
                let rest = key.key.strip_prefix(&self.root)?;
                let is_own = rest.is_empty() || rest.starts_with('/');
                is_own.then(|| rest.trim_start_matches('/').to_owned())
            });
            Ok(below.collect())
        })
    }

    fn text<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(String, u64), String>> {
        Box::pin(async {
            match self.other.list::<Vec<Listed>>(&self.place(path)).await {
                Ok(keys) => {
                    let first = keys.first();
                    Ok(first.map_or_else(Default::default, |key| (key.text(), key.modify_index)))
                }
                Err(Error::Absent { .. }) => Ok((String::new(), 0)),
                Err(error) => Err(told(error)),
            }
        })
    }

    fn set<'a>(
        &'a self,
        path: &'a str,
        text: String,
        version: u64,
    ) -> BoxFuture<'a, Result<bool, String>> {
        Box::pin(async move {
            let place = format!("{}?cas={version}", self.place(path));
            let sent = self
                .other
                .send(Method::PUT, &place, Some(text.into_bytes()));
            let (answer, _) = sent.await.map_err(told)?;
            Ok(answer.trim_ascii() == b"true")
        })
    }
}
