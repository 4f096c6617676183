//! Values as JSON.

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use crate::error::Error;

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// On one line.
    Compact,
    /// Indented by four spaces, with a line end.
    Pretty,
}

/// A value as a body.
///
/// # Errors
/// When it cannot be written as JSON.
pub(crate) fn encode<T: Serialize>(value: &T, layout: Layout) -> Result<Vec<u8>, Error> {
    write(value, layout).map_err(|error| Error::internal(error.to_string()))
}

fn write<T: Serialize>(value: &T, layout: Layout) -> serde_json::Result<Vec<u8>> {
    if layout == Layout::Compact {
        return serde_json::to_vec(value);
    }
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut text, formatter,
    ))?;
    text.push(b'\n');
    Ok(text)
}

/// A body of JSON as an answer.
pub(crate) fn answer(body: impl Into<Bytes>) -> Response {
    let body: Bytes = body.into();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
