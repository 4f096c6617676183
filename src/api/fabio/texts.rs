//! Where the operator's texts are kept, and how they are changed by version.

use futures_util::future::BoxFuture;
use mesh::{
    model::RouteOverrides,
    state::{Command, KeyCondition, PutKey},
};
use server::{self, state::Rejected};
use std::{fmt::Debug, sync::Arc};

use super::super::{Api, error::Error, overrides};

/// Texts that are kept elsewhere, by their paths: the one without a path is at the empty one.
pub trait Texts: Debug + Send + Sync {
    /// The paths of all of them, or why they are not known.
    fn paths(&self) -> BoxFuture<'_, Result<Vec<String>, String>>;

    /// The text at a path with its version; empty and 0 if there is none. Or why it is not known.
    fn text<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(String, u64), String>>;

    /// Sets the text at a path if it has this version still; false if it has not. Or why that was
    /// not done.
    fn set<'a>(
        &'a self,
        path: &'a str,
        text: String,
        version: u64,
    ) -> BoxFuture<'a, Result<bool, String>>;
}

/// Where they are.
#[derive(Debug)]
pub(super) enum Kept {
    /// In the state of this agent's servers.
    Here(Api),
    /// Somewhere else.
    Elsewhere(Arc<dyn Texts>),
    /// The routes do not come from a place that has some.
    Nowhere,
}

/// Why a text is not set where routes come from a file.
const NOWHERE: &str = "routes come from a file or a text here, and no operator's text is kept";

impl Kept {
    /// The paths of all texts.
    pub(super) async fn paths(&self) -> Result<Vec<String>, Error> {
        match self {
            Self::Elsewhere(texts) => texts.paths().await.map_err(Error::internal),
            Self::Nowhere => Ok(Vec::new()),
            Self::Here(api) => {
                let catalog = &api.server().snapshot().mesh;
                let overrides = catalog.route_overrides();
                let mut paths: Vec<&str> = overrides
                    .commands()
                    .filter_map(|(key, _)| key.strip_prefix(RouteOverrides::CONFIG_KEY))
                    .map(|path| path.trim_start_matches('/'))
                    .collect();
                if !overrides::shown(catalog).is_empty() && !paths.contains(&"") {
                    paths.insert(0, "");
                }
                Ok(paths.into_iter().map(str::to_owned).collect())
            }
        }
    }

    /// The text at a path, and its version.
    pub(super) async fn text(&self, path: &str) -> Result<(String, u64), Error> {
        let api = match self {
            Self::Elsewhere(texts) => return texts.text(path).await.map_err(Error::internal),
            Self::Nowhere => return Ok((String::new(), 0)),
            Self::Here(api) => api,
        };
        let catalog = &api.server().snapshot().mesh;
        Ok(match key_of(api, path) {
            Some(key) => {
                let row = catalog.key(&key);
                let text = row.map_or_else(String::new, |row| {
                    String::from_utf8_lossy(&row.value).into_owned()
                });
                (text, row.map_or(0, |row| row.modify_index))
            }
            None => (overrides::shown(catalog), catalog.route_overrides_version()),
        })
    }

    /// Sets the text at a path; false if its version is another one.
    pub(super) async fn set(&self, path: &str, text: String, version: u64) -> Result<bool, Error> {
        let api = match self {
            Self::Elsewhere(texts) => {
                return texts
                    .set(path, text, version)
                    .await
                    .map_err(Error::internal);
            }
            Self::Nowhere => return Err(Error::bad_request(NOWHERE)),
            Self::Here(api) => api,
        };
        let written = match key_of(api, path) {
            Some(key) => {
                let command = PutKey {
                    key,
                    value: text.into_bytes(),
                    flags: 0,
                    condition: KeyCondition::Unchanged(version),
                };
                let (_, outcome) = api.server().propose(Command::PutKey(command)).await?;
                outcome.map(drop)
            }
            None => {
                let written = api.server().set_route_overrides(text, Some(version)).await;
                match written {
                    Ok(_) => Ok(()),
                    Err(server::Error::Rejected(rejected)) => Err(rejected),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        match written {
            Ok(()) => Ok(true),
            Err(Rejected::Mesh(mesh::state::Rejected::IndexMismatch { .. })) => Ok(false),
            Err(rejected) => Err(server::Error::Rejected(rejected).into()),
        }
    }
}

/// The key that an operator's text is kept at. Without a path, that is the text of the catalog,
/// unless somebody keeps one in the key-value store.
fn key_of(api: &Api, path: &str) -> Option<String> {
    let root = RouteOverrides::CONFIG_KEY;
    if !path.is_empty() {
        return Some(format!("{root}/{path}"));
    }
    let catalog = &api.server().snapshot().mesh;
    catalog.key(root).is_some().then(|| root.to_owned())
}
