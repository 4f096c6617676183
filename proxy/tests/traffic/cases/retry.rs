//! Targets that fail.

use std::time::Duration;

use proxy::Config;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::{Client, get, post};
use crate::running::dead_address;

#[tokio::test]
async fn a_dead_target_fails_no_request() {
    let (a, b) = (
        Backend::start("a", Behavior::Name).await,
        Backend::start("b", Behavior::Name).await,
    );
    let proxy = Running::to(config(), &[a.address, dead_address(), b.address]).await;
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..60 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    for _ in 0..6 {
        // Nothing was sent to the dead one, so a POST may go elsewhere too.
        assert_eq!(post(proxy.address, "x").await.status(), 200);
    }
    assert_eq!(a.requests() + b.requests(), 66);
}

#[tokio::test]
async fn a_killed_target_fails_no_get() {
    let (a, b) = (
        Backend::start("a", Behavior::Name).await,
        Backend::start("b", Behavior::Name).await,
    );
    let proxy = Running::to(config(), &[a.address, b.address]).await;
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    drop(a);
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "b");
    }
}

#[tokio::test]
async fn a_broken_connection_is_made_good_for_get_but_never_for_post() {
    let (bad, good) = (
        Backend::start("bad", Behavior::Close).await,
        Backend::start("good", Behavior::Name).await,
    );
    let config = Config {
        // It is asked all the time.
        eject_after: 0,
        ..config()
    };
    let proxy = Running::to(config, &[bad.address, good.address]).await;
    for _ in 0..10 {
        assert_eq!(get(proxy.address, "/").await.text(), "good");
    }
    let (bad_before, good_before) = (bad.requests(), good.requests());
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(post(proxy.address, "x").await.status());
    }
    let failed = answers.iter().filter(|status| **status == 502).count();
    // Each POST was seen once, by one or the other.
    assert_eq!(bad.requests() - bad_before, failed, "{answers:?}");
    assert_eq!(good.requests() - good_before, answers.len() - failed);
    assert!(failed > 0);
}

#[tokio::test]
async fn a_kept_connection_that_just_closed_is_replaced() {
    let backend = Backend::start("a", Behavior::OneThenClose).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status(), 200);
    }
}

#[tokio::test]
async fn a_large_body_is_not_sent_twice() {
    const BYTES: usize = 1 << 20;
    let (a, b) = (
        Backend::start("a", Behavior::Close).await,
        Backend::start("b", Behavior::Close).await,
    );
    let proxy = Running::to(config(), &[a.address, b.address]).await;
    let mut client = Client::connect(proxy.address).await;
    let body = "x".repeat(BYTES);
    client
        .send(&format!(
            "PUT / HTTP/1.1\r\nHost: any\r\nContent-Length: {BYTES}\r\n\r\n{body}"
        ))
        .await;
    assert_eq!(client.receive().await.unwrap().status(), 502);
    assert_eq!(a.requests() + b.requests(), 1);
}

#[tokio::test]
async fn with_all_targets_dead_it_is_502() {
    let proxy = Running::to(config(), &[dead_address(), dead_address()]).await;
    let answer = get(proxy.address, "/").await;
    assert_eq!(answer.status(), 502);
    assert!(answer.header("server").is_empty());
}

#[tokio::test]
async fn silence_is_504_and_not_repeated() {
    let (a, b) = (
        Backend::start("a", Behavior::Silent).await,
        Backend::start("b", Behavior::Silent).await,
    );
    let config = Config {
        response_timeout: Some(Duration::from_millis(100)),
        ..config()
    };
    let proxy = Running::to(config, &[a.address, b.address]).await;
    assert_eq!(get(proxy.address, "/").await.status(), 504);
    // Who was asked may read it later than the answer comes.
    a.request_arrived().await;
    assert_eq!(a.requests() + b.requests(), 1);
}

/// A target whose queue of connections is full: what is sent to it is answered by nobody. The
/// connections keep it so.
async fn full_queue() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // The system takes one more than it was asked for.
    for _ in 0..2 {
        waiting.push(TcpStream::connect(address).await.unwrap());
    }
    (listener, waiting)
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_given_up_in_time() {
    let (full, _waiting) = full_queue().await;
    let address = full.local_addr().unwrap();
    let alive = Backend::start("a", Behavior::Name).await;
    let config = Config {
        connect_timeout: Duration::from_millis(50),
        retries: 1,
        ..config()
    };
    let proxy = Running::to(config.clone(), &[address, alive.address]).await;
    for _ in 0..4 {
        // Nothing was sent, so anything may go elsewhere.
        assert_eq!(post(proxy.address, "x").await.text(), "a");
    }
    let proxy = Running::to(config, &[address]).await;
    assert_eq!(get(proxy.address, "/").await.status(), 504);
}

#[tokio::test]
async fn retries_are_bounded() {
    let mut dead = Vec::new();
    for _ in 0..4 {
        dead.push(dead_address());
    }
    let alive = Backend::start("a", Behavior::Name).await;
    dead.push(alive.address);
    let proxy = Running::to(
        Config {
            retries: 1,
            ..config()
        },
        &dead,
    )
    .await;
    assert_eq!(get(proxy.address, "/").await.status(), 502);
    assert_eq!(alive.requests(), 0);
}
