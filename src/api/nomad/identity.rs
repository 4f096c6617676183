//! The keys with which everybody can check who a task is.

use axum::{
    Json, Router,
    extract::State,
    http::header::CACHE_CONTROL,
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{Api, error::Error};

/// How long readers may keep the keys: a new one signs as soon as it is there.
const CACHED: &str = "max-age=60";

/// The endpoints of the keys, and of where they are.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/.well-known/jwks.json", get(keys))
        .route("/.well-known/openid-configuration", get(discovery))
}

/// `GET /.well-known/jwks.json`
async fn keys(State(api): State<Api>) -> Result<Response, Error> {
    let server = api.server();
    let keys = server.identity_keys(&server.snapshot())?.into_iter();
    let keys: Value = keys
        .map(|key| {
            json!({
                "use": "sig", "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": key.id,
                "x": URL_SAFE_NO_PAD.encode(key.bytes),
            })
        })
        .collect();
    Ok(([(CACHE_CONTROL, CACHED)], Json(json!({"keys": keys}))).into_response())
}

/// `GET /.well-known/openid-configuration`: only where the servers are told by what URL others
/// reach them.
async fn discovery(State(api): State<Api>) -> Result<Response, Error> {
    let server = api.server();
    let issuer = server.identity_issuer().ok_or_else(|| {
        Error::not_found("OIDC Discovery endpoint disabled: set `server { oidc_issuer = \"URL\" }`")
    })?;
    let found = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
    });
    Ok(([(CACHE_CONTROL, CACHED)], Json(found)).into_response())
}
