//! Heads of requests: bad ones, slow ones, long ones, several at once, and clients that say no
//! more.

use std::time::Duration;

use proxy::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::{Client, Message};

/// No test here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that comes until the connection ends.
async fn rest(client: &mut Client) -> String {
    let mut seen = std::mem::take(&mut client.rest);
    let read = timeout(PATIENCE, client.stream.read_to_end(&mut seen)).await;
    drop(read.expect("the connection ends in time"));
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn a_client_that_says_no_more_gets_its_answer() {
    let backend = Backend::start("a", Behavior::Held).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    for _ in 0..10 {
        let mut client = Client::connect(proxy.address).await;
        client.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
        client.stream.shutdown().await.unwrap();
        // The end of the client's side is there before the answer.
        backend.request_arrived().await;
        backend.permits.add_permits(1);
        let seen = rest(&mut client).await;
        assert!(
            seen.starts_with("HTTP/1.1 200") && seen.ends_with("\r\n\r\na"),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn requests_that_were_sent_ahead_are_answered_in_order() {
    let backend = Backend::start("a", Behavior::Head).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    let many: String = (0..20)
        .map(|at| {
            let body = "x".repeat(at % 3);
            format!(
                "POST /{at} HTTP/1.1\r\nHost: any\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        })
        .collect();
    // In one piece, and in pieces that cut heads and bodies anywhere.
    client.send(&many).await;
    let answer = async |client: &mut Client, at: usize| {
        let answer = timeout(PATIENCE, client.receive())
            .await
            .expect("an answer in time");
        let seen = answer.expect("an answer").text();
        assert!(
            seen.starts_with(&format!("POST /{at} HTTP/1.1\r\n")),
            "{at}: {seen}"
        );
    };
    for at in 0..20 {
        answer(&mut client, at).await;
    }
    for piece in many.as_bytes().chunks(37) {
        client.stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    for at in 0..20 {
        answer(&mut client, at).await;
    }
    assert_eq!(backend.requests(), 40);
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_reaches_no_target() {
    let backend = Backend::start("a", Behavior::Head).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    for wrong in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    ] {
        let mut client = Client::connect(proxy.address).await;
        client.send(wrong).await;
        let answer = rest(&mut client).await;
        let head = Message {
            head: answer.clone(),
            body: Vec::new(),
        };
        assert_eq!(head.status(), 400, "{wrong}: {answer}");
        assert_eq!(head.header("connection"), ["close"], "{wrong}");
        assert!(head.header("server").is_empty(), "{wrong}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{wrong}: {answer}");
    }
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn a_length_that_is_said_twice_goes_on_once() {
    let backend = Backend::start("a", Behavior::Head).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    for lengths in [
        "Content-Length: 3, 3",
        "Content-Length: 3\r\nContent-Length: 3",
    ] {
        let mut client = Client::connect(proxy.address).await;
        client
            .send(&format!(
                "POST / HTTP/1.1\r\nHost: any\r\n{lengths}\r\n\r\nabcGET /next HTTP/1.1\r\nHost: any\r\n\r\n"
            ))
            .await;
        let first = client.receive().await.unwrap();
        let seen = Message {
            head: first.text(),
            body: Vec::new(),
        };
        assert_eq!(seen.header("content-length"), ["3"], "{lengths}");
        let next = client.receive().await.unwrap().text();
        assert!(next.starts_with("GET /next"), "{lengths}: {next}");
    }
    // The bound on bodies holds for such a length too.
    let config = Config {
        request_body_max: Some(10),
        ..config()
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    client
        .send("POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 11, 11\r\n\r\n")
        .await;
    assert_eq!(client.receive().await.unwrap().status(), 413);
}

#[tokio::test]
async fn names_match_with_a_port_and_a_last_dot() {
    let backend = Backend::start("a", Behavior::Name).await;
    let proxy = Running::start(config()).await;
    let text = format!("route add a shop.io/ http://{}/", backend.address);
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut client = Client::connect(proxy.address).await;
    for host in ["shop.io", "shop.io.", "shop.io:1234", "SHOP.io.:80"] {
        client
            .send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(client.receive().await.unwrap().status(), 200, "{host}");
    }
}

#[tokio::test]
async fn a_head_has_one_deadline_however_it_trickles() {
    let backend = Backend::start("a", Behavior::Name).await;
    let config = Config {
        head_timeout: Duration::from_millis(300),
        ..config()
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    // A connection may rest before a request for longer than a head may take.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(client.get("/").await.text(), "a");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(client.get("/").await.text(), "a");
    let (mut reader, mut writer) = client.stream.into_split();
    let trickle = tokio::spawn(async move {
        let head = "GET / HTTP/1.1\r\nHost: any\r\nX: ";
        let mut sent = writer.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            sent = writer.write_all(b"x").await;
        }
    });
    let mut seen = Vec::new();
    let read = timeout(PATIENCE, reader.read_to_end(&mut seen)).await;
    assert!(read.is_ok(), "the connection is still open");
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(seen.starts_with("HTTP/1.1 408 "), "{seen}");
    trickle.abort();
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn a_head_has_a_largest_size() {
    let backend = Backend::start("a", Behavior::Name).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    let head = |bytes: usize| {
        let line = format!("X: {}\r\n", "x".repeat(995));
        let lines = line.repeat(bytes / line.len());
        format!("GET / HTTP/1.1\r\nHost: any\r\n{lines}\r\n")
    };
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..3 {
        client.send(&head(60 << 10)).await;
        assert_eq!(client.receive().await.unwrap().status(), 200);
    }
    client.send(&head(200 << 10)).await;
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(backend.requests(), 3);
}

#[tokio::test]
async fn a_body_may_be_slow_and_long() {
    let backend = Backend::start("a", Behavior::Echo).await;
    let config = Config {
        head_timeout: Duration::from_millis(100),
        ..config()
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..2 {
        client
            .send("POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 100000\r\n\r\n")
            .await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.send(&"x".repeat(10_000)).await;
        }
        assert_eq!(client.receive().await.unwrap().body.len(), 100_000);
    }
}
