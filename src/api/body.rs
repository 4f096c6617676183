//! Bodies within bounds: of size, and of the time that a sender may take.

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{FromRequest, Request},
    http::StatusCode,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use jobs::wire::Shape;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

use super::error::Error;

/// Longest body of a request, bytes: a job file of the longest kept length, escaped, and its job.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body, still as it came.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) Bytes);

impl<S: Sync> FromRequest<S> for Raw {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        read(request.into_body()).await.map(Self)
    }
}

impl Raw {
    /// The first JSON value of the body; what stands behind it is ignored, and so are keys whose value
    /// is null.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.optional_json()?
            .ok_or_else(|| Error::bad_request("Request body is empty"))
    }

    /// As [`Raw::json`], with the keys of `shape` in any case.
    pub(crate) fn json_of<T: DeserializeOwned>(&self, shape: &Shape) -> Result<T, Error> {
        let mut value = self
            .value()?
            .ok_or_else(|| Error::bad_request("Request body is empty"))?;
        shape.restore_case(&mut value);
        decode(value)
    }

    /// As [`Raw::json`]; none for an empty body.
    pub(crate) fn optional_json<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.value()?.map(decode).transpose()
    }

    /// The first value of the body without keys whose value is null.
    fn value(&self) -> Result<Option<Value>, Error> {
        let first = serde_json::Deserializer::from_slice(&self.0)
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
        std::str::from_utf8(&self.0)
            .map_err(|_| Error::bad_request("the request body is not valid UTF-8"))
    }
}

fn decode<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| Error::bad_request(error.to_string()))
}

async fn read(body: Body) -> Result<Bytes, Error> {
    let too_large = || {
        let message = format!("the request body is larger than {BODY_BYTES_MAX} bytes");
        Error::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |bytes| bytes > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Err(_) => Err(Error::new(
            StatusCode::REQUEST_TIMEOUT,
            "the request body took too long",
        )),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Error::bad_request(error.to_string())),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Removes keys without a value: writers in Go send `null` for every list and map that is not set. The
/// depth is bounded by the parser.
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
        Raw(Bytes::copy_from_slice(text.as_bytes())).optional_json()
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
}
