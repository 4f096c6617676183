//! HTTP over TLS.

use std::io::ErrorKind;

use proxy::certs::{Tls, Version};
use proxy::{Config, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::read_message;
use crate::secured::{connect, connector, pair, store};

fn secured(tls: Tls) -> Config {
    Config {
        listeners: vec![Listener {
            tls: Some(tls),
            ..Listener::http("127.0.0.1:0".parse().unwrap())
        }],
        ..config()
    }
}

#[tokio::test]
async fn requests_inside_of_tls_are_like_others() {
    let backend = Backend::start("a", Behavior::Head).await;
    let certificate = pair(&["web.io"]);
    let tls = Tls::new(store(std::slice::from_ref(&certificate)));
    let proxy = Running::start(secured(tls)).await;
    proxy.route(&[backend.address]);
    let connector = connector(&[&certificate], None, &["http/1.1"]);
    let mut client = connect(&connector, proxy.address, "web.io").await.unwrap();
    let mut rest = Vec::new();
    for _ in 0..3 {
        client
            .write_all(b"GET /x HTTP/1.1\r\nHost: web.io\r\n\r\n")
            .await
            .unwrap();
        let mut seen = read_message(&mut client, &mut rest).await.unwrap();
        seen.head = seen.text();
        assert_eq!(seen.header("x-forwarded-proto"), ["https"]);
        assert_eq!(seen.header("x-forwarded-port"), ["443"]);
        assert_eq!(
            seen.header("forwarded"),
            ["for=127.0.0.1;proto=https;by=127.0.0.1"]
        );
    }
    assert_eq!((backend.requests(), backend.connections()), (3, 1));
    // The end is told, so that nobody can cut an answer off.
    let last = b"GET /x HTTP/1.1\r\nHost: web.io\r\nConnection: close\r\n\r\n";
    client.write_all(last).await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn large_bodies_pass_through_tls() {
    const BYTES: usize = 3 << 20;
    let backend = Backend::start("a", Behavior::Echo).await;
    let certificate = pair(&["web.io"]);
    let proxy = Running::start(secured(Tls::new(store(std::slice::from_ref(&certificate))))).await;
    proxy.route(&[backend.address]);
    let connector = connector(&[&certificate], None, &[]);
    for length in [BYTES, 60_000] {
        let client = connect(&connector, proxy.address, "web.io").await.unwrap();
        let (mut from, mut to) = tokio::io::split(client);
        let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let head = format!("POST / HTTP/1.1\r\nHost: web.io\r\nContent-Length: {length}\r\n\r\n");
        let sent = async {
            to.write_all(head.as_bytes()).await.unwrap();
            to.write_all(&body).await.unwrap();
            to.flush().await.unwrap();
        };
        let mut rest = Vec::new();
        let (_, answer) = tokio::join!(sent, read_message(&mut from, &mut rest));
        assert!(answer.unwrap().body == body, "{length}");
    }
}

#[tokio::test]
async fn the_name_decides_on_the_certificate_and_replaced_ones_count_at_once() {
    let backend = Backend::start("a", Behavior::Name).await;
    let (web, shop, other) = (pair(&["web.io"]), pair(&["*.shop.io"]), pair(&["web.io"]));
    let certificates = store(&[web.clone(), shop.clone()]);
    let tls = Tls {
        is_strict: true,
        ..Tls::new(certificates.clone())
    };
    let proxy = Running::start(secured(tls)).await;
    proxy.route(&[backend.address]);
    let trusts = |pair| connector(&[pair], None, &[]);
    assert!(
        connect(&trusts(&web), proxy.address, "web.io")
            .await
            .is_ok()
    );
    assert!(
        connect(&trusts(&shop), proxy.address, "a.shop.io")
            .await
            .is_ok()
    );
    let strange = connect(&trusts(&web), proxy.address, "other.io").await;
    assert!(strange.is_err());
    let mut open = connect(&trusts(&web), proxy.address, "web.io")
        .await
        .unwrap();
    assert_eq!(certificates.replace(vec![other.clone()]), []);
    assert!(
        connect(&trusts(&web), proxy.address, "web.io")
            .await
            .is_err()
    );
    assert!(
        connect(&trusts(&other), proxy.address, "web.io")
            .await
            .is_ok()
    );
    // What was open goes on.
    open.write_all(b"GET / HTTP/1.1\r\nHost: web.io\r\n\r\n")
        .await
        .unwrap();
    let answer = read_message(&mut open, &mut Vec::new()).await.unwrap();
    assert_eq!(answer.text(), "a");
}

#[tokio::test]
async fn clients_must_have_a_certificate_where_authorities_are_named() {
    let backend = Backend::start("a", Behavior::Name).await;
    let (server, friend, stranger) = (pair(&["web.io"]), pair(&["me"]), pair(&["me"]));
    let tls = Tls {
        client_authorities: Some(friend.chain.clone()),
        oldest: Version::Tls13,
        ..Tls::new(store(std::slice::from_ref(&server)))
    };
    let proxy = Running::start(secured(tls)).await;
    proxy.route(&[backend.address]);
    for (own, is_let_in) in [
        (Some(&friend), true),
        (Some(&stranger), false),
        (None, false),
    ] {
        let connector = connector(&[&server], own, &[]);
        // The client learns it only when it reads.
        let asked = async {
            let mut client = connect(&connector, proxy.address, "web.io").await?;
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: web.io\r\n\r\n")
                .await?;
            let answer = read_message(&mut client, &mut Vec::new()).await;
            answer.ok_or_else(|| std::io::Error::from(ErrorKind::ConnectionReset))
        };
        assert_eq!(
            asked.await.is_ok(),
            is_let_in,
            "{:?}",
            own.map(|own| &own.name)
        );
    }
}
