//! Snapshots of what users wrote into the catalog: taken and brought back.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::query::{Query, add_index_headers};
use super::{Catalog, only};
use crate::body::Large;
use crate::error::Error;
use server::catalog_archive::{self, ArchiveError};
use sys::archive::{self, Meta, Servers};

/// Version of what an archive says of itself.
const VERSION: u32 = 1;

pub(super) fn router() -> Router<Catalog> {
    let both = get(save).put(restore);
    Router::new().route("/v1/snapshot", only(both, "OPTIONS,GET,PUT"))
}

async fn save(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    if !query.is_stale() {
        catalog.server().read_barrier().await?;
    }
    let snapshot = catalog.server().snapshot();
    let index = snapshot.index;
    let meta = meta(&catalog, index);
    let packed = blocking(move || {
        let state = catalog_archive::saved(&snapshot)?;
        let size = state.len() as u64;
        archive::pack(&Meta { size, ..meta }, &state)
            .map_err(archive::Error::Compression)
            .map_err(ArchiveError::from)
    });
    let mut response = Body::from(packed.await?).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/x-gzip");
    headers.insert(header::CONTENT_TYPE, kind);
    // It is as short as it gets.
    headers.insert(
        header::CONTENT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    add_index_headers(headers, &catalog, &query, index);
    Ok(response)
}

fn meta(catalog: &Catalog, index: u64) -> Meta {
    let term = catalog.server().raft_metrics().term;
    let now = jiff::Timestamp::now().as_millisecond();
    let servers = catalog.server().voters().into_iter();
    let servers = servers.map(|voter| archive::Server {
        suffrage: 0,
        id: voter.address.clone(),
        address: voter.address,
    });
    Meta {
        version: VERSION,
        id: format!("{term}-{index}-{now}"),
        index,
        term,
        peers: None,
        configuration: Servers {
            servers: servers.collect(),
        },
        configuration_index: 1,
        size: 0,
    }
}

async fn restore(
    State(catalog): State<Catalog>,
    _query: Query,
    Large(body): Large,
) -> Result<(), Error> {
    let rows = blocking(move || {
        let archive = archive::unpack(body.bytes())?;
        catalog_archive::rows(&archive.state)
    });
    let rows = rows.await?;
    catalog
        .server()
        .restore_catalog(rows)
        .await
        .map_err(refused)
}

/// Carries out what takes long, beside everything else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|_| Error::internal("the snapshot could not be worked on"))?;
    done.map_err(refused)
}

fn refused(error: ArchiveError) -> Error {
    match error {
        ArchiveError::Propose(error) => error.into(),
        other => Error::internal(other.to_string()),
    }
}
