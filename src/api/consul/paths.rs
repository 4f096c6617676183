//! What a path must look like before any handler sees it.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

/// The answer to a path that no handler is to see: one with control characters is refused, one with
/// `//`, `.` or `..` leads to the clean one. None for every other.
pub(super) fn refused(uri: &Uri) -> Option<Response> {
    let path = uri.path();
    if percent_decode_str(path).any(|byte| byte.is_ascii_control()) {
        return Some(StatusCode::BAD_REQUEST.into_response());
    }
    let mut location = clean(path)?;
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    Some(match HeaderValue::try_from(location) {
        Ok(location) => {
            // Who writes comes with the same request.
            let moved = StatusCode::TEMPORARY_REDIRECT;
            (moved, [(header::LOCATION, location)]).into_response()
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    })
}

/// What a part of a path does.
enum Part {
    Nothing,
    Up,
    Name,
}

impl Part {
    fn of(part: &str) -> Self {
        match Cow::from(percent_decode_str(part)).as_ref() {
            b"" | b"." => Self::Nothing,
            b".." => Self::Up,
            _ => Self::Name,
        }
    }
}

/// The path without empty and dot parts; none when it has none of them. A slash at the end stays.
fn clean(path: &str) -> Option<String> {
    let slashes = if path.contains('%') {
        Cow::Owned(path.replace("%2f", "/").replace("%2F", "/"))
    } else {
        Cow::Borrowed(path)
    };
    let inner = slashes.strip_prefix('/').unwrap_or(&slashes);
    let (inner, ends_with_slash) = match inner.strip_suffix('/') {
        Some(inner) => (inner, true),
        None => (inner, false),
    };
    let mut parts = inner.split('/');
    if inner.is_empty() || parts.all(|part| matches!(Part::of(part), Part::Name)) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for part in inner.split('/') {
        match Part::of(part) {
            Part::Nothing => {}
            Part::Up => {
                kept.pop();
            }
            Part::Name => kept.push(part),
        }
    }
    let end = if ends_with_slash && !kept.is_empty() {
        "/"
    } else {
        ""
    };
    Some(format!("/{}{end}", kept.join("/")))
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn only_paths_with_empty_and_dot_parts_are_cleaned() {
        for path in [
            "/",
            "/v1/kv/",
            "/v1/kv/a/b/",
            "/v1/kv/a%2Fb",
            "/v1/kv/a.b/..c",
            "/v1/kv/%20/x",
        ] {
            assert_eq!(clean(path), None, "{path}");
        }
        for (path, cleaned) in [
            ("//v1/kv/a", "/v1/kv/a"),
            ("/v1/kv//a", "/v1/kv/a"),
            ("/v1/kv/%2Fa", "/v1/kv/a"),
            ("/v1/kv/a//", "/v1/kv/a/"),
            ("/v1/kv/a/./b/../c", "/v1/kv/a/c"),
            ("/../..", "/"),
            ("/v1/kv/a/%2e/b/%2E%2e/c", "/v1/kv/a/c"),
        ] {
            assert_eq!(clean(path).as_deref(), Some(cleaned), "{path}");
        }
    }
}
