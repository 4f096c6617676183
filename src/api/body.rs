//! Bodies within bounds: of size each, of memory together, and of the time that a sender may take.

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{FromRequest, Request},
    http::StatusCode,
};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use jobs::{
    spec::{self, limits},
    wire::{self, Shape},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

use super::error::Error;

/// Longest body of a request, bytes: a job file of the longest kept length, escaped, and its job.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest body of the few requests that carry a whole state, bytes.
pub(crate) const LARGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes that all bodies together may take, over all connections of all listeners.
const ALL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What of that only small bodies may take, so that large ones that arrive slowly keep nobody out.
const SMALL_RESERVE_BYTES: usize = 16 * 1024 * 1024;
/// Longest small body, bytes.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a sender may be silent in the middle of a body.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Memory for bodies that arrive or are worked on; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Bodies(Arc<AtomicUsize>);

/// What one body takes of it; given back when dropped.
#[derive(Debug, Default)]
struct Share {
    of: Bodies,
    bytes: usize,
}

impl Share {
    /// Makes the share as large as a buffer has become.
    fn grow_to(&mut self, bytes: usize) -> Result<(), Error> {
        let more = bytes.saturating_sub(self.bytes);
        let max = if bytes <= SMALL_BYTES_MAX {
            ALL_BYTES_MAX
        } else {
            ALL_BYTES_MAX - SMALL_RESERVE_BYTES
        };
        let used = self.of.0.fetch_add(more, Ordering::Relaxed) + more;
        self.bytes += more;
        if used > max {
            return Err(Error::busy("too many request bodies arrive at once"));
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body, still as it came.
#[derive(Debug)]
pub(crate) struct Raw {
    bytes: Bytes,
    /// Held as long as the bytes are.
    _share: Share,
}

impl<S: Sync> FromRequest<S> for Raw {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        let of = request.extensions().get::<Bodies>().cloned();
        read(request.into_body(), of.unwrap_or_default()).await
    }
}

/// A body that may be longer than others, still as it came.
#[derive(Debug)]
pub(crate) struct Large(pub(crate) Raw);

impl<S: Sync> FromRequest<S> for Large {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        let of = request.extensions().get::<Bodies>().cloned();
        let read = read_up_to(LARGE_BYTES_MAX, request.into_body(), of.unwrap_or_default());
        read.await.map(Self)
    }
}

impl Raw {
    /// What came.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How long it is, bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The first JSON value of the body; what stands behind it is ignored, and so are keys whose
    /// value is null.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.optional_json()?
            .ok_or_else(|| Error::bad_request("Request body is empty"))
    }

    /// As [`Raw::json`], with the keys of `shape` in any case.
    pub(crate) fn json_of<T: DeserializeOwned>(&self, shape: &Shape) -> Result<T, Error> {
        let value = self.value_of(shape)?;
        if let Some(job) = value.get("Job") {
            limits::check_job(job).map_err(|limit| Error::bad_request(limit.to_string()))?;
        }
        serde_json::from_value(value).map_err(|error| {
            let value = self.value_of(shape).unwrap_or_default();
            let misfits = wire::misfits::<T>(value, self.len());
            let lines: Vec<String> = misfits.iter().map(ToString::to_string).collect();
            Error::bad_request(match lines.as_slice() {
                [] => error.to_string(),
                [only] => only.clone(),
                several => spec::list_errors(several),
            })
        })
    }

    /// The first value of the body with the keys of `shape` in any case.
    fn value_of(&self, shape: &Shape) -> Result<Value, Error> {
        let value = self.value()?;
        let mut value = value.ok_or_else(|| Error::bad_request("Request body is empty"))?;
        shape.restore_case(&mut value);
        Ok(value)
    }

    /// As [`Raw::json`]; none for an empty body.
    pub(crate) fn optional_json<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.value()?.map(decode).transpose()
    }

    /// The first value of the body without keys whose value is null.
    fn value(&self) -> Result<Option<Value>, Error> {
        limits::check_text(&self.bytes).map_err(|limit| Error::bad_request(limit.to_string()))?;
        let first = serde_json::Deserializer::from_slice(&self.bytes)
            .into_iter::<Value>()
            .next();
        let Some(value) = first else { return Ok(None) };
        let mut value = value.map_err(|error| Error::bad_request(error.to_string()))?;
        remove_nulls(&mut value);
        if value.is_null() {
            return Ok(None);
        }
        Ok(Some(value))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.bytes)
            .map_err(|_| Error::bad_request("the request body is not valid UTF-8"))
    }
}

fn decode<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| Error::bad_request(error.to_string()))
}

async fn read(body: Body, of: Bodies) -> Result<Raw, Error> {
    read_up_to(BODY_BYTES_MAX, body, of).await
}

async fn read_up_to(bytes_max: usize, body: Body, of: Bodies) -> Result<Raw, Error> {
    let too_large = || {
        let message = format!("the request body is larger than {bytes_max} bytes");
        Error::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    let mut body = body;
    let mut share = Share { of, bytes: 0 };
    let mut bytes = BytesMut::new();
    let end = Instant::now() + BODY_TIMEOUT;
    loop {
        let patience = end.min(Instant::now() + SILENCE_MAX);
        let frame = match timeout_at(patience, body.frame()).await {
            Err(_) => {
                return Err(Error::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "the request body took too long",
                ));
            }
            Ok(Some(Err(error))) => return Err(Error::bad_request(error.to_string())),
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > bytes_max {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
        share.grow_to(bytes.capacity())?;
    }
    Ok(Raw {
        bytes: bytes.freeze(),
        _share: share,
    })
}

/// Removes keys without a value: writers in Go send `null` for every list and map that is not set.
/// The depth is bounded by the parser.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(remove_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Option<Value>, Error> {
        let raw = Raw {
            bytes: Bytes::copy_from_slice(text.as_bytes()),
            _share: Share::default(),
        };
        raw.optional_json()
    }

    #[test]
    fn the_first_value_counts_and_nulls_are_as_if_absent() {
        let value = decode(r#"{"A":null,"B":{"C":null,"D":[{"E":null}]}} trailing"#);
        assert_eq!(value.unwrap(), Some(serde_json::json!({"B": {"D": [{}]}})));
        assert_eq!(decode("").unwrap(), None);
        assert_eq!(decode(" \n").unwrap(), None);
        assert_eq!(decode("null").unwrap(), None);
        assert!(decode("{").is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(decode(&deep).is_err());
    }

    /// A body of which `bytes` arrive, and then nothing for ever.
    fn partial(bytes: usize) -> Body {
        use futures_util::{StreamExt as _, stream};
        use std::convert::Infallible;
        let pieces = stream::iter((0..bytes / 4096).map(|_| Ok::<_, Infallible>(vec![b' '; 4096])));
        Body::from_stream(pieces.chain(stream::pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_share_one_budget_and_small_ones_have_a_reserve() {
        let bodies = Bodies::default();
        let mut arriving = tokio::task::JoinSet::new();
        for _ in 0..100 {
            arriving.spawn(read(partial(BODY_BYTES_MAX / 2), bodies.clone()));
        }
        // The refused ones end at once, the others when nothing has come for a while.
        let (mut refused, mut late, mut most) = (0, 0, 0);
        while let Some(ended) = arriving.join_next().await {
            most = most.max(bodies.0.load(Ordering::Relaxed));
            if refused == 0 {
                let small = read(Body::from(vec![b' '; SMALL_BYTES_MAX / 2]), bodies.clone());
                assert!(small.await.is_ok(), "a small body was refused");
            }
            let status = ended.unwrap().unwrap_err().status();
            match status.as_u16() {
                503 => refused += 1,
                408 => late += 1,
                other => panic!("{other}"),
            }
        }
        assert!(refused > 50 && late > 5, "{refused} refused, {late} late");
        assert!(most <= ALL_BYTES_MAX, "{most}");
        assert_eq!(bodies.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn more_values_than_a_request_needs_are_refused_before_they_are_read() {
        let many = format!("[{}0]", "{},".repeat(limits::OBJECTS_MAX + 1));
        assert!(decode(&many).is_err());
    }
}
