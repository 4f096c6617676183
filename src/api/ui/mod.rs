//! The web UI: the files of `ui/`, which stand in the program, and the answers around them.
//!
//! Every address below `/ui/` that is no file is a page, and gets the frame that shows it. Nothing
//! of another origin is needed or allowed.

mod files;
mod redirects;
#[cfg(test)]
mod tests;

pub(super) use redirects::{of_catalog, of_ingress};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use files::File;

use super::{Api, encoding::takes_gzip, error::Error};

/// What the pages may load and do: what comes from here, and no text that became a script. The
/// terminal of a task needs a web socket to here too, which older browsers do not take for the same
/// origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// A browser asks each time whether a file is still as it has it.
const CACHING: &str = "no-cache";
/// Folders of files: what is not in them is no page either.
const FOLDERS: [&str; 3] = ["core/", "parts/", "pages/"];
/// The frame of every page.
const FRAME: &str = "index.html";

/// Makes the router of the web UI, with absolute paths.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/ui", get(base))
        .route("/ui/", get(frame))
        .route("/ui/{*path}", get(page))
        .method_not_allowed_fallback(async || Error::method())
        .with_state(api)
}

async fn base(State(api): State<Api>, uri: Uri) -> Response {
    if !is_enabled(&api) {
        return off();
    }
    let query = uri.query().map(|query| format!("?{query}"));
    let target = format!("/ui/{}", query.unwrap_or_default());
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response()
}

async fn frame(State(api): State<Api>, headers: HeaderMap) -> Response {
    answer(&api, FRAME, &headers)
}

async fn page(State(api): State<Api>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    answer(&api, &path, &headers)
}

/// Whether the configuration leaves the web UI on.
fn is_enabled(api: &Api) -> bool {
    let config = &api.facts().config;
    config.get("UI").is_none_or(|ui| ui["Enabled"] != false)
}

fn off() -> Response {
    Error::not_found("the web UI of this agent is switched off (`ui.enabled`)").into_response()
}

fn answer(api: &Api, path: &str, headers: &HeaderMap) -> Response {
    if !is_enabled(api) {
        return off();
    }
    let is_in_folder = FOLDERS.iter().any(|folder| path.starts_with(folder));
    let file = match files::file(path) {
        None if is_in_folder => return StatusCode::NOT_FOUND.into_response(),
        None => files::file(FRAME),
        found => found,
    };
    match file {
        Some(file) => served(file, headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn served(file: &'static File, asked: &HeaderMap) -> Response {
    let with_gzip = asked
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .any(takes_gzip);
    let tag = file.tag();
    let is_known = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .any(|own| matches!(own.trim(), "*") || own.trim().trim_start_matches("W/") == tag);
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else if with_gzip {
        let encoding = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
        (encoding, file.compressed()).into_response()
    } else {
        file.bytes.into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, file.content_type()),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, CACHING),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    let vary = HeaderValue::from_name(header::ACCEPT_ENCODING);
    headers.append(header::VARY, vary);
    response
}
