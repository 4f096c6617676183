//! From where the other dialects had their pages to those of the web UI.

use axum::{
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};

/// From the catalog's pages; `port` is that of the jobs API.
pub(crate) fn of_catalog(uri: &Uri, headers: &HeaderMap, port: u16) -> Response {
    let rest = uri.path().trim_start_matches("/ui").trim_matches('/');
    to(headers, port, &catalog_page(rest))
}

/// From the ingress's pages.
pub(crate) fn of_ingress(headers: &HeaderMap, port: u16) -> Response {
    to(headers, port, "routes")
}

/// The page for one of the catalog's, whose first part may be a datacenter.
fn catalog_page(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let known = ["services", "nodes", "kv"];
    let parts = match parts.as_slice() {
        [first, rest @ ..] if !known.contains(first) => rest,
        parts => parts,
    };
    match parts {
        ["services", name, ..] => format!("services/{name}"),
        ["nodes", ..] => "topology".to_owned(),
        // A key of its own is edited at its name.
        ["kv", key @ .., "edit"] => format!("kv/{}?key=true", key.join("/")),
        ["kv", key @ ..] => format!("kv/{}", key.join("/")),
        _ => "services".to_owned(),
    }
}

/// To `page` at the host that the request came to.
fn to(headers: &HeaderMap, port: u16, page: &str) -> Response {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let name = host.map_or("localhost", name_of);
    let target = format!("http://{name}:{port}/ui/{page}");
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response()
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_catalog_have_theirs_here() {
        for (path, page) in [
            ("", "services"),
            ("dc1", "services"),
            ("dc1/services", "services"),
            ("dc1/services/web/instances", "services/web"),
            ("services/web", "services/web"),
            ("dc1/nodes/one", "topology"),
            ("dc1/kv", "kv/"),
            ("dc1/kv/a/b/", "kv/a/b/"),
            ("dc1/kv/a/b/edit", "kv/a/b?key=true"),
            ("dc1/intentions", "services"),
        ] {
            assert_eq!(catalog_page(path), page, "{path}");
        }
    }

    #[test]
    fn the_host_stays_and_the_port_changes() {
        for (host, name) in [
            ("127.0.0.1:8500", "127.0.0.1"),
            ("[::1]:8500", "[::1]"),
            ("[::1]", "[::1]"),
            ("agent.example", "agent.example"),
        ] {
            assert_eq!(name_of(host), name);
        }
    }
}
