//! The key-value store. A key is what stands behind `/v1/kv/`, decoded.

mod read;
mod write;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::routing::get;
use percent_encoding::percent_decode_str;

use super::{Catalog, only};
use crate::error::Error;

const PREFIX: &str = "/v1/kv/";

pub(super) fn router() -> Router<Catalog> {
    let methods = || {
        let methods = get(read::read).put(write::put).delete(write::delete);
        only(methods, "OPTIONS,GET,PUT,DELETE")
    };
    Router::new()
        .route(PREFIX, methods())
        .route("/v1/kv/{*key}", methods())
}

/// The key of a request; may be empty.
#[derive(Debug, Clone)]
struct Key(String);

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let key = percent_decode_str(path).decode_utf8();
        let key = key.map_err(|_| Error::bad_request("the key is not valid UTF-8"))?;
        Ok(Self(key.into_owned()))
    }
}

impl Key {
    /// The key of a request that needs one.
    fn required(self) -> Result<String, Error> {
        if self.0.is_empty() {
            return Err(Error::bad_request("Missing key name"));
        }
        Ok(self.0)
    }
}
