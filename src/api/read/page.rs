//! Pages of a list: walked in key order, cut at a token.

use jobs::model::{Id, Index, JobId, Kind, Namespace, VariableKey};
use serde::Serialize;

use super::{filter::Filter, parameters::Parameters};
use crate::error::Error;

/// What rows of a list are ordered by, and the token that names the first row of a page.
pub(crate) trait Key: Ord + Sized {
    /// Reads a token.
    fn from_token(token: &str) -> Option<Self>;
    /// Writes a token.
    fn token(&self) -> String;
}

/// An id.
impl<K: Kind> Key for Id<K> {
    fn from_token(token: &str) -> Option<Self> {
        Self::parse(token)
    }

    fn token(&self) -> String {
        self.to_string()
    }
}

/// A namespace and an id; namespaces hold no dot.
impl Key for (Namespace, JobId) {
    fn from_token(token: &str) -> Option<Self> {
        let (namespace, id) = token.split_once('.')?;
        Some((namespace.into(), id.into()))
    }

    fn token(&self) -> String {
        format!("{}.{}", self.0, self.1)
    }
}

/// A namespace and a path.
impl Key for VariableKey {
    fn from_token(token: &str) -> Option<Self> {
        let (namespace, path) = token.split_once('.')?;
        Some(Self {
            namespace: namespace.into(),
            path: path.into(),
        })
    }

    fn token(&self) -> String {
        format!("{}.{}", self.namespace, self.path)
    }
}

/// A namespace and the id of an instance of a service; namespaces hold no dot.
impl Key for (Namespace, String) {
    fn from_token(token: &str) -> Option<Self> {
        let (namespace, id) = token.split_once('.')?;
        Some((namespace.into(), id.to_owned()))
    }

    fn token(&self) -> String {
        format!("{}.{}", self.0, self.1)
    }
}

/// The index of creation and an id.
impl<K: Kind> Key for (Index, Id<K>) {
    fn from_token(token: &str) -> Option<Self> {
        let (index, id) = token.split_once('.')?;
        Some((index.parse().ok()?, Id::parse(id)?))
    }

    fn token(&self) -> String {
        format!("{}.{}", self.0, self.1)
    }
}

/// A part of a list.
#[derive(Debug)]
pub(crate) struct Page<R> {
    /// The rows.
    pub(crate) rows: Vec<R>,
    /// Token of the row behind the last; none at the end.
    pub(crate) next: Option<String>,
}

impl<R> Page<R> {
    /// The page with every row replaced.
    pub(crate) fn map<T>(self, f: impl FnMut(R) -> T) -> Page<T> {
        Page {
            rows: self.rows.into_iter().map(f).collect(),
            next: self.next,
        }
    }
}

/// Which part of a list is asked for.
#[derive(Debug)]
pub(crate) struct Paging<'a> {
    parameters: &'a Parameters,
    /// What the rows must satisfy.
    filter: Option<&'a Filter>,
}

impl<'a> Paging<'a> {
    /// The part that `parameters` name, of the rows that `filter` lets through.
    pub(crate) fn new(parameters: &'a Parameters, filter: Option<&'a Filter>) -> Self {
        Self { parameters, filter }
    }

    /// The page of `rows`: filtered, ordered by `key`, from its token on.
    ///
    /// # Errors
    /// 400 for a parameter or a filter that cannot be used.
    pub(crate) fn page<R: Serialize, K: Key>(
        &self,
        rows: impl Iterator<Item = R>,
        key: impl Fn(&R) -> K,
    ) -> Result<Page<R>, Error> {
        let size: usize = self
            .parameters
            .number("per_page", "Invalid per_page")?
            .filter(|size| *size > 0)
            .unwrap_or(usize::MAX);
        let reverse = self
            .parameters
            .switch("reverse", |other| Error::no_switch("reverse", other))?
            .unwrap_or(false);
        let start = match self.parameters.get("next_token") {
            None => None,
            Some(token) => Some(K::from_token(token).ok_or_else(|| {
                Error::bad_request(format!(
                    "failed to read result page: invalid token {token:?}"
                ))
            })?),
        };
        let mut wanted = Vec::new();
        for row in rows {
            let at = key(&row);
            let is_before = start
                .as_ref()
                .is_some_and(|start| if reverse { at > *start } else { at < *start });
            if !is_before && self.lets_through(&row)? {
                wanted.push((at, row));
            }
        }
        wanted.sort_by(|(a, _), (b, _)| if reverse { b.cmp(a) } else { a.cmp(b) });
        let next = wanted.get(size).map(|(at, _)| at.token());
        let rows = wanted.into_iter().take(size).map(|(_, row)| row).collect();
        Ok(Page { rows, next })
    }

    fn lets_through<R: Serialize>(&self, row: &R) -> Result<bool, Error> {
        let Some(filter) = self.filter else {
            return Ok(true);
        };
        let value =
            serde_json::to_value(row).map_err(|error| Error::internal(error.to_string()))?;
        filter
            .matches(&value)
            .map_err(|error| Error::bad_request(format!("failed to read result page: {error}")))
    }
}
