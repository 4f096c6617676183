//! One service of this agent, whose readers wait for it to become another one.

use std::hash::Hasher as _;

use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::response::Response;
use mesh::wire::AgentService;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::all_services;
use crate::consul::Catalog;
use crate::consul::query::{Query, json as answer};
use crate::error::Error;

/// A service and a number that its content has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Hashed {
    #[serde(flatten)]
    service: AgentService,
    content_hash: String,
}

pub(super) async fn service(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let asked = query.parameters.get("hash");
    let end = Instant::now() + query.wait_with_jitter(&catalog);
    let mut snapshots = catalog.snapshots.clone();
    loop {
        snapshots.mark_unchanged();
        let found = all_services(&catalog).remove(id.as_str());
        let Some(service) = found else {
            return Err(Error::not_found(format!("unknown service ID: {id}")));
        };
        let content_hash = hash(&service)?;
        let is_news = asked != Some(content_hash.as_str());
        if is_news || Instant::now() >= end || query.is_stopping() {
            return reply(&query, service, content_hash);
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() {
                return reply(&query, service, content_hash);
            },
            () = sleep_until(end) => {}
            () = query.stopped() => {}
        }
    }
}

fn reply(query: &Query, service: AgentService, content_hash: String) -> Result<Response, Error> {
    let header = HeaderValue::from_str(&content_hash);
    let mut response = answer(
        query,
        &Hashed {
            service,
            content_hash,
        },
    )?;
    if let Ok(header) = header {
        response
            .headers_mut()
            .insert("x-consul-contenthash", header);
    }
    Ok(response)
}

fn hash(service: &AgentService) -> Result<String, Error> {
    let text = serde_json::to_vec(service).map_err(|error| Error::internal(error.to_string()))?;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(&text);
    Ok(format!("{:016x}", hasher.finish()))
}
