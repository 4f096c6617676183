//! The chain of a service, compiled from configuration entries.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use mesh::chain::{Overrides, Request, compile};
use mesh::state::Snapshot;
use mesh::view::Table;
use mesh::wire::ChainAnswer;
use serde::Deserialize;

use super::{Catalog, only, read};
use crate::body::Raw;
use crate::consul::decode::{GoDuration, body_or_default};
use crate::consul::query::{Query, answer_from_server, json};
use crate::error::Error;
use server::log::watch::Topic;

pub(super) fn router() -> Router<Catalog> {
    let path = "/v1/discovery-chain/{*service}";
    Router::new()
        .route("/v1/discovery-chain/", read(missing))
        .route(
            path,
            only(get(of_entries).post(customized), "OPTIONS,GET,POST"),
        )
}

/// What the asker wants otherwise, as it is posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Posted {
    override_protocol: String,
    override_connect_timeout: Option<GoDuration>,
    override_mesh_gateway: PostedGateway,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedGateway {
    mode: String,
}

impl From<Posted> for Overrides {
    fn from(posted: Posted) -> Self {
        Self {
            protocol: posted.override_protocol,
            connect_timeout: posted
                .override_connect_timeout
                .map(GoDuration::of_nanoseconds)
                .unwrap_or_default(),
            gateway_mode: posted.override_mesh_gateway.mode,
        }
    }
}

async fn missing() -> Error {
    Error::bad_request("Missing chain name")
}

async fn of_entries(
    State(catalog): State<Catalog>,
    Path(service): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    answer(&catalog, &service, &query, Overrides::default()).await
}

async fn customized(
    State(catalog): State<Catalog>,
    Path(service): Path<String>,
    query: Query,
    raw: Raw,
) -> Result<Response, Error> {
    let posted: Posted = body_or_default(&raw)?;
    answer(&catalog, &service, &query, posted.into()).await
}

async fn answer(
    catalog: &Catalog,
    service: &str,
    query: &Query,
    overrides: Overrides,
) -> Result<Response, Error> {
    let wanted = query.parameters.value("compile-dc");
    let trust_domain = catalog.server().authority().await?.trust_domain();
    let request = Request {
        service,
        datacenter: wanted.unwrap_or(&catalog.agent().datacenter),
        trust_domain: &trust_domain,
        overrides,
    };
    let show = |snapshot: &Snapshot| {
        let chain = compile(snapshot.view(), &request);
        let chain = chain.map_err(|error| Error::internal(error.to_string()))?;
        let address = snapshot.virtual_address(service);
        let address = address.map(|address| address.to_string());
        json(query, &ChainAnswer::new(&chain, address))
    };
    let topics = [Topic::Mesh(Table::ConfigEntries)];
    let index = |snapshot: &Snapshot| snapshot.table_index(Table::ConfigEntries);
    answer_from_server(catalog, query, topics, index, show).await
}
