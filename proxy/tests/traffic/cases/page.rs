//! The page for requests without a route.

use super::{Running, config};
use crate::client::Client;

#[tokio::test]
async fn requests_without_a_route_get_the_page() {
    let proxy = Running::start(config()).await;
    let mut client = Client::connect(proxy.address).await;
    assert_eq!(client.get("/").await.text(), "");
    proxy.handle.set_no_route_page("<p>nothing here</p>");
    for _ in 0..2 {
        let answer = client.get("/").await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (404, "<p>nothing here</p>")
        );
        assert_eq!(answer.header("content-type"), ["text/html; charset=utf-8"]);
    }
    client
        .send("HEAD / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
        .await;
    let mut seen = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut client.stream, &mut seen)
        .await
        .unwrap();
    assert!(
        seen.ends_with("\r\n\r\n") && seen.to_ascii_lowercase().contains("content-length: 19\r\n"),
        "{seen}"
    );
    proxy.handle.set_no_route_page("");
    assert_eq!(
        Client::connect(proxy.address).await.get("/").await.text(),
        ""
    );
    // All of them are counted, whoever answered.
    let metrics = proxy.handle.metrics();
    let line = "\ntrivet_ingress_unrouted_total 5\n";
    assert!(metrics.contains(line), "{metrics}");
    let metrics = proxy
        .handle
        .published_metrics("fabio", &proxy::route::PUBLISHED_BOUNDS);
    assert!(metrics.contains("\nfabio_notfound 5\n"), "{metrics}");
}
