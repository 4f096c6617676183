//! The keys that seal what servers tell each other.

use axum::extract::State;
use axum::response::Response;
use jobs::spec::list_errors;
use mesh::gossip::KeyChange;
use serde_json::json;

use crate::body::Raw;
use crate::consul::Catalog;
use crate::consul::query::{Query, json as answer};
use crate::error::Error;
use crate::gossip_keys::{Keys, Named};

/// `GET /v1/operator/keyring`
pub(super) async fn list(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let found = changed(&catalog, KeyChange::List).await?;
    let pool = |is_wide: bool| {
        json!({
            "WAN": is_wide,
            "Datacenter": catalog.agent().datacenter,
            "Segment": "",
            "Messages": {},
            "Keys": found.keys,
            "PrimaryKeys": found.primary,
            "NumNodes": found.servers,
        })
    };
    // Servers have one keyring, whomever they tell something.
    let pools = match query.parameters.has("local-only") {
        true => vec![pool(false)],
        false => vec![pool(true), pool(false)],
    };
    answer(&query, &pools)
}

pub(super) async fn install(
    State(catalog): State<Catalog>,
    _query: Query,
    raw: Raw,
) -> Result<(), Error> {
    change(&catalog, KeyChange::Install, &raw).await
}

pub(super) async fn use_key(
    State(catalog): State<Catalog>,
    _query: Query,
    raw: Raw,
) -> Result<(), Error> {
    change(&catalog, KeyChange::Use, &raw).await
}

pub(super) async fn remove(
    State(catalog): State<Catalog>,
    _query: Query,
    raw: Raw,
) -> Result<(), Error> {
    change(&catalog, KeyChange::Remove, &raw).await
}

async fn change(catalog: &Catalog, of: fn(String) -> KeyChange, raw: &Raw) -> Result<(), Error> {
    let named: Named = serde_json::from_slice(raw.bytes())
        .map_err(|error| Error::bad_request(format!("Request decode failed: {error}")))?;
    changed(catalog, of(named.key)).await.map(drop)
}

async fn changed(catalog: &Catalog, change: KeyChange) -> Result<Keys, Error> {
    let found = Keys::gather(catalog.server().change_keys(change).await);
    if found.keys.is_empty() {
        let node = &catalog.agent().node_name;
        let problem = format!("{node}: Keyring is empty (encryption not enabled)");
        return Err(Error::internal(list_errors(&[problem])));
    }
    match found.refusal() {
        Some(refusal) => Err(Error::internal(list_errors(&[refusal]))),
        None => Ok(found),
    }
}
