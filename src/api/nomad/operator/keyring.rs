//! The keys that variables are encrypted with.

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::{delete, get},
};
use jobs::{model::RootKeyKind, state::Table, wire};
use serde_json::json;

use crate::{
    Api,
    error::Error,
    nomad::{query::Query, row_id::RowId, write},
};
use server::{Snapshot, log::watch::Topic};

/// The endpoints of root keys.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/operator/keyring/keys", get(list))
        .route("/v1/operator/keyring/rotate", write(rotate))
        .route("/v1/operator/keyring/key/{id}", delete(remove))
}

/// `GET /v1/operator/keyring/keys`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| snapshot.jobs.table_index(Table::RootKeys);
    let view = |snapshot: &Snapshot| {
        let keys = snapshot.jobs.root_keys();
        let keys: Vec<wire::RootKeyMeta> = keys.map(|key| (&**key).into()).collect();
        Ok(keys)
    };
    let topics = [Topic::Jobs(Table::RootKeys)];
    api.read(&query, topics, index_of, view).await
}

/// `PUT /v1/operator/keyring/rotate`
async fn rotate(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    if let Some(algorithm) = query.get("algo")
        && algorithm != wire::RootKeyMeta::ALGORITHM
    {
        return Err(Error::bad_request(format!(
            "unknown algorithm {algorithm:?}: this version knows {:?} only",
            wire::RootKeyMeta::ALGORITHM
        )));
    }
    if query.get("publish_time").is_some_and(|time| time != "0") {
        return Err(Error::absent("publishing a root key before its use"));
    }
    let key = api.server().rotate_root_key(query.flag("full")?).await?;
    let response = wire::RootKeyRotateResponse {
        key: (&*key).into(),
        index: key.create_index,
    };
    query.written(key.create_index, &response)
}

/// `DELETE /v1/operator/keyring/key/:id`
async fn remove(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<RootKeyKind>>,
    query: Query,
) -> Result<Response, Error> {
    let force = query.flag("force")?;
    let index = api.server().remove_root_key(id, force).await?;
    query.written(index, &json!({ "Index": index }))
}
