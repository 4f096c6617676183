//! What a path must look like before any handler sees it.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

/// Refuses control characters, and sends clients with `//`, `.` or `..` in a path to the clean one.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    if decoded.iter().any(u8::is_ascii_control) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    match clean(path) {
        None => next.run(request).await,
        Some(mut location) => {
            if let Some(query) = request.uri().query() {
                location.push('?');
                location.push_str(query);
            }
            match HeaderValue::try_from(location) {
                Ok(location) => {
                    let moved = StatusCode::MOVED_PERMANENTLY;
                    (moved, [(header::LOCATION, location)]).into_response()
                }
                Err(_) => StatusCode::BAD_REQUEST.into_response(),
            }
        }
    }
}

/// The path without empty and dot parts; none when it has none of them. A slash at the end stays.
fn clean(path: &str) -> Option<String> {
    let is_plain = |part: &str| {
        let decoded: Vec<u8> = percent_decode_str(part).collect();
        !matches!(decoded.as_slice(), b"" | b"." | b"..")
    };
    let slashes = path.replace("%2f", "%2F").replace("%2F", "/");
    let inner = slashes.strip_prefix('/').unwrap_or(&slashes);
    let (inner, ends_with_slash) = match inner.strip_suffix('/') {
        Some(inner) => (inner, true),
        None => (inner, false),
    };
    if inner.is_empty() || inner.split('/').all(is_plain) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for part in inner.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
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
        ] {
            assert_eq!(clean(path).as_deref(), Some(cleaned), "{path}");
        }
    }
}
