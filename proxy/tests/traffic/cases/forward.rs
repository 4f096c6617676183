//! Requests on their way to a target and back.

use std::collections::BTreeMap;

use proxy::Config;
use proxy::route::{
    Block, Command, Condition, Definition, Origin, Rewrite, Rule, Split, Table, Test, parse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::{Client, get};
use crate::running::lines;

#[tokio::test]
async fn routes_decide_and_no_route_is_404() {
    let (a, b) = (
        Backend::start("a", Behavior::Name).await,
        Backend::start("b", Behavior::Name).await,
    );
    let proxy = Running::start(config()).await;
    assert_eq!(get(proxy.address, "/").await.status(), 404);
    let text = format!(
        "route add a /a http://{}/\nroute add b any/b http://{}/",
        a.address, b.address
    );
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut client = Client::connect(proxy.address).await;
    assert_eq!(client.get("/a/1").await.text(), "a");
    assert_eq!(client.get("/b").await.text(), "b");
    // The connection stays usable over an answer of the proxy's own.
    let missing = client.get("/c").await;
    assert_eq!((missing.status(), missing.body.len()), (404, 0));
    assert!(missing.header("server").is_empty(), "{}", missing.head);
    assert_eq!(client.get("/a").await.text(), "a");
    // A body that nobody reads ends the connection, and the answer says so.
    client
        .send("POST /c HTTP/1.1\r\nHost: any\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    let refused = client.receive().await.unwrap();
    assert_eq!(
        (refused.status(), refused.header("connection")),
        (404, vec!["close"])
    );
}

#[tokio::test]
async fn targets_take_exact_turns() {
    let mut backends = Vec::new();
    for _ in 0..6 {
        backends.push(Backend::start("x", Behavior::Name).await);
    }
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let proxy = Running::to(config(), &addresses).await;
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..60 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    let counts: Vec<usize> = backends.iter().map(Backend::requests).collect();
    assert_eq!(counts, [10; 6]);
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let backend = Backend::start("a", Behavior::Name).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "a");
    }
    assert_eq!((backend.requests(), backend.connections()), (20, 1));
}

#[tokio::test]
async fn targets_learn_about_the_client() {
    let backend = Backend::start("a", Behavior::Head).await;
    let proxy = Running::start(config()).await;
    let text = format!(
        "route add a /p http://{}/?a=1 opts \"strip=/p prepend=/q host=dst\"",
        backend.address
    );
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut client = Client::connect(proxy.address).await;
    let request = "GET /p/x%20y?b=2 HTTP/1.1\r\nHost: shop.io:99\r\nConnection: X-Forwarded-For, X-Private\r\n\
                   X-Forwarded-For: 1.2.3.4\r\nX-Private: 1\r\nTe: trailers\r\n\r\n";
    client.send(request).await;
    let mut seen = client.receive().await.unwrap();
    seen.head = seen.text();
    assert!(
        seen.head.starts_with("GET /q/x%20y?a=1&b=2 HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    assert_eq!(seen.header("host"), [backend.address.to_string()]);
    assert_eq!(seen.header("x-forwarded-for"), ["1.2.3.4, 127.0.0.1"]);
    assert_eq!(seen.header("x-forwarded-host"), ["shop.io:99"]);
    assert_eq!(seen.header("x-forwarded-port"), ["99"]);
    assert_eq!(seen.header("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.header("x-forwarded-prefix"), ["/p"]);
    assert_eq!(seen.header("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(
        seen.header("forwarded"),
        ["for=127.0.0.1;proto=http;by=127.0.0.1"]
    );
    assert!(
        seen.header("x-private").is_empty() && seen.header("te").is_empty(),
        "{}",
        seen.head
    );
}

#[tokio::test]
async fn forwarding_headers_of_strangers_go_no_further() {
    let backend = Backend::start("a", Behavior::Head).await;
    for (trusted, names, proto) in [
        ("10.0.0.0/8", "127.0.0.1", "http"),
        ("127.0.0.0/8", "6.6.6.6, 127.0.0.1", "https"),
    ] {
        let config = Config {
            trusted_proxies: vec![Block::parse(trusted).unwrap()],
            ..config()
        };
        let proxy = Running::start(config).await;
        let text = format!(
            "route add a / http://{0}/\nroute add b /in http://{0}/ opts \"deny=ip:6.6.6.6\"",
            backend.address
        );
        drop(proxy.handle.swap(proxy.table(&text)));
        let mut client = Client::connect(proxy.address).await;
        let told = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Real-Ip: 6.6.6.6\r\n\
                    X-Forwarded-Prefix: /forged\r\nForwarded: for=6.6.6.6\r\nX-Other: 1\r\n\r\n";
        client
            .send(&format!("GET / HTTP/1.1\r\nHost: any\r\n{told}"))
            .await;
        let mut seen = client.receive().await.unwrap();
        seen.head = seen.text();
        assert_eq!(seen.header("x-forwarded-for"), [names], "{trusted}");
        assert_eq!(seen.header("x-forwarded-proto"), [proto]);
        assert_eq!(seen.header("x-other"), ["1"]);
        let is_forged = seen.head.contains("6.6.6.6") || seen.head.contains("/forged");
        assert_eq!(is_forged, proto == "https", "{}", seen.head);
        // What is not believed lets nobody in or out.
        client
            .send(&format!("GET /in HTTP/1.1\r\nHost: any\r\n{told}"))
            .await;
        let status = client.receive().await.unwrap().status();
        assert_eq!(status, if is_forged { 403 } else { 200 });
        // Requests that say nothing go on as ever.
        assert_eq!(client.get("/").await.status(), 200);
    }
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    const BYTES: usize = 8 << 20;
    let backend = Backend::start("a", Behavior::Echo).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    let body: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    let mut client = Client::connect(proxy.address).await;
    client
        .send(&format!(
            "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: {BYTES}\r\n\r\n"
        ))
        .await;
    client.stream.write_all(&body).await.unwrap();
    let answer = client.receive().await.unwrap();
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
}

#[tokio::test]
async fn an_answer_streams_while_it_is_made() {
    let backend = Backend::start("a", Behavior::Halves).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    for accept in ["*/*", "text/event-stream"] {
        let mut client = Client::connect(proxy.address).await;
        client
            .send(&format!(
                "GET / HTTP/1.1\r\nHost: any\r\nAccept: {accept}\r\n\r\n"
            ))
            .await;
        let mut seen = Vec::new();
        for part in ["first", "second"] {
            while !String::from_utf8_lossy(&seen).contains(part) {
                assert_ne!(client.stream.read_buf(&mut seen).await.unwrap(), 0);
            }
            if part == "first" {
                backend.permits.add_permits(1);
            }
        }
    }
}

#[tokio::test]
async fn a_rule_rewrites_the_beginning_of_a_path() {
    let backend = Backend::start("a", Behavior::Head).await;
    let proxy = Running::start(config()).await;
    let text = format!(
        "route add web / http://{}/ opts \"prepend=/p\"",
        backend.address
    );
    let (mut definitions, _) = parse::parse(&text);
    let rewrite = Rewrite {
        prefix: "/old".to_owned(),
        ignores_case: false,
        replacement: "/new".to_owned(),
    };
    let rule = Rule {
        conditions: vec![Condition::Path(Test::Prefix("/old".to_owned()))],
        parts: Vec::new(),
        rewrite: Some(rewrite),
    };
    definitions.push(Definition {
        origin: Origin::Split {
            service: "web".to_owned(),
            route: String::new(),
        },
        command: Command::Split(Split {
            service: "web".to_owned(),
            parts: Vec::new(),
            rules: vec![rule],
        }),
    });
    drop(proxy.handle.swap(Table::build(definitions, None).0));
    let mut client = Client::connect(proxy.address).await;
    for (path, expected) in [
        ("/old/x%20y?b=2", "GET /p/new/x%20y?b=2 "),
        ("/x/../old", "GET /p/new "),
        ("/older", "GET /p/newer "),
        ("/other?old", "GET /p/other?old "),
    ] {
        let seen = client.get(path).await.text();
        assert!(seen.starts_with(expected), "{path}: {seen}");
    }
}

#[tokio::test]
async fn upgraded_connections_carry_bytes_both_ways() {
    let backend = Backend::start("a", Behavior::Upgrade).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    let request = "GET /ws HTTP/1.1\r\nHost: any\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(request).await;
    let switched = client.receive().await.unwrap();
    assert_eq!(switched.status(), 101, "{}", switched.head);
    for text in ["one", "two"] {
        client.send(text).await;
        let mut echo = [0; 3];
        client.stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, text.as_bytes());
    }
    // It is counted as long as it is open.
    assert_eq!(proxy.figure("ws.conn"), 1);
    drop(client);
    let closed = async {
        while proxy.figure("ws.conn") > 0 {
            tokio::task::yield_now().await;
        }
    };
    let closed = tokio::time::timeout(std::time::Duration::from_secs(30), closed);
    closed.await.expect("it is closed");
}

#[tokio::test]
async fn too_large_a_body_is_refused() {
    let backend = Backend::start("a", Behavior::Echo).await;
    let config = Config {
        request_body_max: Some(10),
        ..config()
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    client
        .send("POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 11\r\n\r\n")
        .await;
    assert_eq!(client.receive().await.unwrap().status(), 413);
    assert_eq!(backend.requests(), 0);
    let mut client = Client::connect(proxy.address).await;
    client.send("POST / HTTP/1.1\r\nHost: any\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n").await;
    assert_eq!(client.receive().await.unwrap().status(), 413);
    assert_eq!(
        crate::client::post(proxy.address, "1234567890")
            .await
            .text(),
        "1234567890"
    );
}

#[tokio::test]
async fn random_choice_reaches_all() {
    let (a, b) = (
        Backend::start("a", Behavior::Name).await,
        Backend::start("b", Behavior::Name).await,
    );
    let config = Config {
        strategy: proxy::Strategy::Random,
        ..config()
    };
    let proxy = Running::start(config).await;
    drop(
        proxy
            .handle
            .swap(proxy.table(&lines(&[a.address, b.address]))),
    );
    let mut client = Client::connect(proxy.address).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..200 {
        *counts.entry(client.get("/").await.text()).or_default() += 1;
    }
    // Fewer than 40 of 200 has a chance of 10^-18.
    assert!(counts.values().all(|count| *count >= 40), "{counts:?}");
}
