//! Files and logs as streams of frames.

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures_util::stream;
use jobs::wire::StreamFrame;
use std::{convert::Infallible, time::Duration};
use tokio::{sync::mpsc, time::timeout};

use super::{
    files::{file_path, offset},
    of_alloc,
};
use crate::{Api, error::Error, listener::Stopping, nomad::query::Query};
use client::{Frame, LogStream, Origin, Range};

/// How long a stream may be silent before it says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What part of a file a query asks for; `follow` is what counts when it does not say.
pub(crate) fn range(query: &Query, follow: bool) -> Result<Range, Error> {
    let origin = match query.get("origin") {
        None | Some("start") => Origin::Start,
        Some("end") => Origin::End,
        Some(_) => return Err(Error::bad_request("origin must be start or end")),
    };
    Ok(Range {
        origin,
        offset: offset(query)?,
        follow: query.switch("follow", follow)?,
    })
}

/// `GET /v1/client/fs/stream/:alloc`
pub(super) async fn stream(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let path = file_path(&query)?;
    let range = range(&query, true)?;
    let client = of_alloc(&api, &id)?.clone();
    let plain = query.flag("plain")?;
    let frames = client.stream(&id, &path, range).await?;
    Ok(respond(frames, plain, query.stopping()))
}

/// `GET /v1/client/fs/logs/:alloc`
pub(super) async fn logs(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let client = of_alloc(&api, &id)?;
    let task = query
        .get("task")
        .ok_or_else(|| Error::bad_request("must provide task name"))?;
    let output = match query.get("type") {
        Some("stdout") => LogStream::Stdout,
        Some("stderr") => LogStream::Stderr,
        _ => return Err(Error::bad_request("must provide log type (stdout/stderr)")),
    };
    let range = range(&query, false)?;
    let plain = query.flag("plain")?;
    let frames = client.logs(&id, task, output, range).await?;
    Ok(respond(frames, plain, query.stopping()))
}

fn respond(frames: mpsc::Receiver<Frame>, plain: bool, stopping: Stopping) -> Response {
    let pieces = stream::unfold(
        (frames, stopping),
        move |(mut frames, stopping)| async move {
            let piece = tokio::select! {
                piece = next(&mut frames, plain) => piece?,
                () = stopping.0.cancelled() => return None,
            };
            Some((Ok::<_, Infallible>(piece), (frames, stopping)))
        },
    );
    let content_type = if plain {
        "text/plain; charset=utf-8"
    } else {
        "application/json"
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

/// The next piece of the body; none at the end.
async fn next(frames: &mut mpsc::Receiver<Frame>, plain: bool) -> Option<Bytes> {
    loop {
        match timeout(HEARTBEAT, frames.recv()).await {
            Ok(None) => return None,
            Ok(Some(frame)) if plain && frame.data.is_empty() => {}
            Ok(Some(frame)) if plain => return Some(frame.data.into()),
            Ok(Some(frame)) => return encode(frame),
            Err(_) if plain => {}
            Err(_) => return Some(Bytes::from_static(b"{}")),
        }
    }
}

fn encode(frame: Frame) -> Option<Bytes> {
    let frame = StreamFrame {
        file: frame.file,
        offset: i64::try_from(frame.offset).unwrap_or(i64::MAX),
        data: BASE64.encode(&frame.data),
        file_event: frame.event.to_owned(),
    };
    serde_json::to_vec(&frame).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &str) -> Frame {
        Frame {
            file: "alloc/logs/web.stdout.0".into(),
            offset: 7,
            data: data.into(),
            event: "",
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_follow_each_other_and_silence_is_filled() {
        let (sender, mut frames) = mpsc::channel(4);
        sender.send(frame("hello\n")).await.unwrap();
        let first = next(&mut frames, false).await.unwrap();
        assert_eq!(
            first,
            r#"{"File":"alloc/logs/web.stdout.0","Offset":7,"Data":"aGVsbG8K"}"#
        );
        assert_eq!(next(&mut frames, false).await.unwrap(), "{}");
        drop(sender);
        assert_eq!(next(&mut frames, false).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn plain_streams_carry_nothing_but_data() {
        let (sender, mut frames) = mpsc::channel(4);
        let event = Frame {
            event: "file truncated",
            ..frame("")
        };
        sender.send(event).await.unwrap();
        sender.send(frame("text")).await.unwrap();
        drop(sender);
        assert_eq!(next(&mut frames, true).await.unwrap(), "text");
        assert_eq!(next(&mut frames, true).await, None);
    }
}
