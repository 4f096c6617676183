//! Files and pages of the web UI, and the headers that keep others out.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
    response::Response,
};
use tower::ServiceExt as _;

use crate::tests::Fixture;

async fn get(router: &Router, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn files_and_pages_are_answered_and_nothing_else() {
    let fixture = Fixture::start().await;
    for (path, status, content_type) in [
        ("/ui/", 200, "text/html; charset=utf-8"),
        (
            "/ui/jobs/web@default/versions",
            200,
            "text/html; charset=utf-8",
        ),
        // Ids and keys look like anything.
        ("/ui/kv/app/config.js", 200, "text/html; charset=utf-8"),
        ("/ui/app.js", 200, "text/javascript; charset=utf-8"),
        ("/ui/core/dom.js", 200, "text/javascript; charset=utf-8"),
        ("/ui/style.css", 200, "text/css; charset=utf-8"),
        ("/ui/icon.svg", 200, "image/svg+xml"),
        ("/ui/pages/none.js", 404, ""),
    ] {
        let response = get(&fixture.jobs, path, &[]).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(header(&response, "content-type"), content_type, "{path}");
        if status == 200 {
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
            let policy = header(&response, "content-security-policy");
            assert!(policy.starts_with("default-src 'none'; script-src 'self'"));
            for directive in policy.split("; ") {
                let (name, sources) = directive.split_once(' ').unwrap();
                let is_narrow = ["'self'", "'none'"].contains(&sources);
                assert!(is_narrow, "{name} allows {sources}");
            }
        }
    }
    let base = get(&fixture.jobs, "/ui?a=b", &[]).await;
    assert_eq!(
        (base.status(), header(&base, "location")),
        (StatusCode::TEMPORARY_REDIRECT, "/ui/?a=b")
    );
}

#[tokio::test]
async fn a_browser_that_has_a_file_is_told_so_and_one_that_expands_gets_it_shorter() {
    let fixture = Fixture::start().await;
    let path = "/ui/style.css";
    let plain = get(&fixture.jobs, path, &[]).await;
    let tag = header(&plain, "etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 16, "{tag}");
    let plain = to_bytes(plain.into_body(), usize::MAX).await.unwrap();
    let short = get(&fixture.jobs, path, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(header(&short, "content-encoding"), "gzip");
    assert_eq!(header(&short, "vary"), "accept-encoding");
    let short = to_bytes(short.into_body(), usize::MAX).await.unwrap();
    assert!(short.len() * 2 < plain.len());
    let mut expanded = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&*short);
    std::io::Read::read_to_end(&mut decoder, &mut expanded).unwrap();
    assert_eq!(expanded, plain);
    let both = format!("\"other\", {tag}");
    for known in [tag.as_str(), both.as_str(), "*"] {
        let again = get(&fixture.jobs, path, &[("if-none-match", known)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(header(&again, "etag"), tag);
        let body = to_bytes(again.into_body(), usize::MAX).await.unwrap();
        assert!(body.is_empty());
    }
}

#[tokio::test]
async fn the_ingress_s_pages_lead_to_the_web_ui() {
    let fixture = Fixture::start_with(serde_json::json!({ "Ports": { "HTTP": 4646 } })).await;
    let host = [("host", "127.0.0.1:9998")];
    let response = get(&fixture.admin, "/ui", &host).await;
    assert_eq!(
        header(&response, "location"),
        "http://127.0.0.1:4646/ui/routes"
    );
}

#[tokio::test]
async fn a_web_ui_that_is_off_says_so() {
    let fixture = Fixture::start_with(serde_json::json!({ "UI": { "Enabled": false } })).await;
    for path in ["/ui", "/ui/", "/ui/jobs", "/ui/app.js"] {
        let response = get(&fixture.jobs, path, &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(body.starts_with(b"the web UI of this agent is switched off"));
    }
}
