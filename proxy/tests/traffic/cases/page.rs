//! Pages of answers of the proxy's own.

use proxy::ErrorPages;

use super::{Running, config};
use crate::client::{Client, get};
use crate::running::dead_address;

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

fn pages(all: &[(&str, &'static str)]) -> ErrorPages {
    let mut pages = ErrorPages::default();
    for (name, page) in all {
        assert!(pages.add(name, *page), "{name}");
    }
    pages
}

#[tokio::test]
async fn answers_of_the_proxy_s_own_get_the_page_of_their_status() {
    let proxy = Running::start(config()).await;
    let all = [("404.html", "<p>lost</p>"), ("5xx.html", "<p>later</p>")];
    proxy.handle.set_error_pages(pages(&all));
    let gone = dead_address();
    let text = format!(
        "route add a /gone http://{gone}/\nroute add b /in http://{gone}/ opts \"deny=ip:127.0.0.1\""
    );
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut client = Client::connect(proxy.address).await;
    // The connection goes on after the page.
    for _ in 0..2 {
        let answer = client.get("/nowhere").await;
        let seen = (answer.status(), answer.text());
        assert_eq!(seen, (404, "<p>lost</p>".to_owned()));
        assert_eq!(answer.header("content-type"), ["text/html; charset=utf-8"]);
    }
    let answer = get(proxy.address, "/gone").await;
    let seen = (answer.status(), answer.text());
    assert_eq!(seen, (502, "<p>later</p>".to_owned()));
    let answer = get(proxy.address, "/in").await;
    assert_eq!((answer.status(), answer.text()), (403, String::new()));
    assert!(answer.header("content-type").is_empty());
    client
        .send("HEAD /gone HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
        .await;
    let mut seen = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut client.stream, &mut seen)
        .await
        .unwrap();
    assert!(
        seen.ends_with("\r\n\r\n") && seen.to_ascii_lowercase().contains("content-length: 12\r\n"),
        "{seen}"
    );
    // That for requests without a route comes first.
    proxy.handle.set_no_route_page("<p>nothing here</p>");
    let answer = get(proxy.address, "/nowhere").await;
    assert_eq!(answer.text(), "<p>nothing here</p>");
    proxy.handle.set_no_route_page("");
    proxy.handle.set_error_pages(ErrorPages::default());
    let answer = get(proxy.address, "/nowhere").await;
    assert_eq!((answer.status(), answer.text()), (404, String::new()));
}

#[tokio::test]
async fn what_a_target_answers_stays_as_it_is() {
    let backend = crate::backend::Backend::start("a", crate::backend::Behavior::Status(503)).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    proxy
        .handle
        .set_error_pages(pages(&[("503.html", "<p>later</p>")]));
    let answer = get(proxy.address, "/").await;
    assert_eq!(answer.status(), 503);
    assert_ne!(answer.text(), "<p>later</p>");
}
