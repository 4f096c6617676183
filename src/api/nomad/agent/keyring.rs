//! The keys that seal what servers of all regions tell each other.

use axum::{Router, extract::State, response::Response, routing::get};
use mesh::gossip::KeyChange;
use serde_json::json;

use crate::{
    Api,
    body::Raw,
    error::Error,
    gossip_keys::{Keys, Named},
    nomad::{query::Query, write},
};

/// The endpoints of gossip's keys.
pub(super) fn router() -> Router<Api> {
    let change = |of: fn(String) -> KeyChange| {
        write(
            move |State(api): State<Api>, query: Query, body: Raw| async move {
                let Named { key } = body.json()?;
                changed(&api, &query, of(key)).await
            },
        )
    };
    Router::new()
        .route("/v1/agent/keyring/list", get(list))
        .route("/v1/agent/keyring/install", change(KeyChange::Install))
        .route("/v1/agent/keyring/use", change(KeyChange::Use))
        .route("/v1/agent/keyring/remove", change(KeyChange::Remove))
}

/// `GET /v1/agent/keyring/list`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    changed(&api, &query, KeyChange::List).await
}

async fn changed(api: &Api, query: &Query, change: KeyChange) -> Result<Response, Error> {
    let keys = Keys::gather(api.server().change_keys(change).await);
    match keys.refusal() {
        Some(refusal) => Err(Error::internal(refusal)),
        None => query.json(&json!({
            "Messages": {},
            "Keys": keys.keys,
            "NumNodes": keys.servers,
        })),
    }
}
