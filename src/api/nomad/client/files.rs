//! Files of an allocation.

use axum::{
    body::Body,
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use jobs::wire::AllocFileInfo;
use std::io;
use tokio_util::io::ReaderStream;

use super::of_alloc;
use crate::{Api, error::Error, nomad::query::Query};
use client::FileInfo;
use sys::clock;

/// A place in a file that a query may name.
pub(super) fn offset(query: &Query) -> Result<u64, Error> {
    let complaint = "offset must be a number from 0 to 9223372036854775807";
    Ok(query.number("offset", complaint)?.unwrap_or(0))
}

/// The path of a file that a query must name.
pub(super) fn file_path(query: &Query) -> Result<String, Error> {
    let path = query.get("path").map(str::to_owned);
    path.ok_or_else(|| Error::bad_request("must provide a file name"))
}

fn info(file: FileInfo) -> AllocFileInfo {
    AllocFileInfo {
        name: file.name,
        is_dir: file.is_dir,
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        file_mode: file.mode,
        mod_time: clock::timestamp(file.modified),
        content_type: String::new(),
    }
}

/// `GET /v1/client/fs/ls/:alloc`
pub(super) async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let client = of_alloc(&api, &id)?;
    let path = query.get("path").unwrap_or("/").to_owned();
    let files = client.list(&id, &path).await?;
    query.json(&files.into_iter().map(info).collect::<Vec<_>>())
}

/// `GET /v1/client/fs/stat/:alloc`
pub(super) async fn stat(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let path = file_path(&query)?;
    let client = of_alloc(&api, &id)?;
    let file = client.stat(&id, &path).await?;
    query.json(&info(file))
}

/// `GET /v1/client/fs/cat/:alloc`
pub(super) async fn cat(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    content(&api, id, &query, 0, None).await
}

/// `GET /v1/client/fs/readat/:alloc`
pub(super) async fn read_at(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let offset = offset(&query)?;
    let complaint = "limit must be given and a number";
    let limit: Option<i64> = query.number("limit", complaint)?;
    let limit = limit.ok_or_else(|| Error::bad_request(complaint))?;
    // Clients that want all the rest say −1.
    let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0);
    content(&api, id, &query, offset, limit).await
}

async fn content(
    api: &Api,
    id: String,
    query: &Query,
    offset: u64,
    limit: Option<u64>,
) -> Result<Response, Error> {
    let path = file_path(query)?;
    let client = of_alloc(api, &id)?;
    let reader = client.read(&id, &path, offset, limit).await?;
    // The file is whatever a task wrote: a browser must not take it for a page of ours.
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(reader))).into_response())
}

/// `GET /v1/client/allocation/:id/snapshot`
pub(super) async fn snapshot(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let client = of_alloc(&api, &id)?;
    let pieces = client.snapshot(&id).await?;
    let pieces = stream::unfold(
        (pieces, query.stopping()),
        |(mut pieces, stopping)| async move {
            let piece = tokio::select! {
                piece = pieces.recv() => piece?,
                () = stopping.0.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
            };
            Some((piece, (pieces, stopping)))
        },
    );
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
