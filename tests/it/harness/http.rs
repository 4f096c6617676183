//! HTTP as a test speaks it.

use super::DEADLINE;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::{sync::Once, time::Duration};
use tokio::time::Instant;

/// A client without connections of its own; TLS is set up once per process.
///
/// It trusts no authority: reading those of the system takes tens of milliseconds, and a test makes
/// a client for each of hundreds of requests.
pub(crate) fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
    });
    reqwest::Client::builder()
        .timeout(DEADLINE)
        .tls_certs_only([])
        .build()
        .expect("a client")
}

/// Status and body of one request.
pub(crate) async fn send(method: Method, url: &str, body: Option<&Value>) -> (StatusCode, String) {
    let mut request = client().request(method, url);
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request
        .send()
        .await
        .unwrap_or_else(|error| panic!("{url}: {error:?}"));
    let status = response.status();
    (status, response.text().await.expect("a body"))
}

/// The JSON of a GET that must succeed.
pub(crate) async fn get(url: &str) -> Value {
    let (status, body) = send(Method::GET, url, None).await;
    assert_eq!(status, StatusCode::OK, "{url}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{url}: {error}: {body}"))
}

/// The JSON of a PUT that must succeed.
pub(crate) async fn put(url: &str, body: &Value) -> Value {
    let (status, text) = send(Method::PUT, url, Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{url}: {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// Repeats a blocking query until `wanted` finds something.
pub(crate) async fn wait_until<T>(
    url: &str,
    index_header: &str,
    wanted: impl FnMut(&Value) -> Option<T>,
) -> T {
    wait_within(url, index_header, DEADLINE, wanted).await
}

/// As [`wait_until`], for what may take longer than anything in a test.
pub(crate) async fn wait_within<T>(
    url: &str,
    index_header: &str,
    limit: Duration,
    mut wanted: impl FnMut(&Value) -> Option<T>,
) -> T {
    let client = client();
    let start = Instant::now();
    let mut index = 0u64;
    loop {
        let separator = if url.contains('?') { '&' } else { '?' };
        let asked = format!("{url}{separator}index={index}&wait=5s");
        let response = client
            .get(&asked)
            .send()
            .await
            .unwrap_or_else(|e| panic!("{asked}: {e:?}"));
        let header = response
            .headers()
            .get(index_header)
            .and_then(|value| value.to_str().ok());
        index = header.and_then(|value| value.parse().ok()).unwrap_or(0);
        let text = response.text().await.expect("a body");
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if let Some(found) = wanted(&body) {
            return found;
        }
        assert!(
            start.elapsed() < limit,
            "{url} never showed what was wanted; last: {text}"
        );
    }
}
