//! Connections to targets on the short way, and connections of clients at its ends.

use std::time::Duration;

use proxy::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::backend::{Backend, Behavior};
use crate::client::{Client, get};
use crate::running::Running;

/// No test here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

fn one_thread() -> Config {
    Config {
        threads: 1,
        // However long the machine pauses, none has waited for too long.
        upstream_idle_timeout: 10 * PATIENCE,
        ..Config::default()
    }
}

async fn rest(client: &mut Client) -> String {
    let mut seen = std::mem::take(&mut client.rest);
    let read = timeout(PATIENCE, client.stream.read_to_end(&mut seen)).await;
    read.expect("the connection ends in time").unwrap();
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn connections_to_targets_outlive_those_of_clients() {
    let backend = Backend::start("a", Behavior::Name).await;
    let proxy = Running::to(one_thread(), &[backend.address]).await;
    for _ in 0..10 {
        let mut client = Client::connect(proxy.address).await;
        client
            .send("GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
            .await;
        let seen = rest(&mut client).await;
        assert!(
            seen.contains("Connection: close") && seen.ends_with("\r\n\r\na"),
            "{seen}"
        );
    }
    assert_eq!((backend.requests(), backend.connections()), (10, 1));
}

#[tokio::test]
async fn idle_connections_to_targets_end_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config {
        upstream_idle_timeout: Duration::from_millis(50),
        ..one_thread()
    };
    let proxy = Running::to(config, &[listener.local_addr().unwrap()]).await;
    let request = tokio::spawn(async move { get(proxy.address, "/").await });
    let (mut target, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        target.read_buf(&mut bytes).await.unwrap();
    }
    target
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    let answer = request.await.unwrap();
    assert_eq!(answer.status(), 204);
    // Nobody asks for it again.
    let end = timeout(PATIENCE, target.read_u8())
        .await
        .expect("it ends in time");
    assert!(end.is_err());
}

/// Answers a request before it has read it, and reads it then.
async fn answer_early(listener: TcpListener, request_bytes: usize) -> (TcpStream, usize) {
    let (mut target, _) = listener.accept().await.unwrap();
    target.readable().await.unwrap();
    target
        .write_all(b"HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\n\r\nmuch")
        .await
        .unwrap();
    let mut read = 0;
    let mut buffer = vec![0; 4096];
    while read < request_bytes {
        read += target.read(&mut buffer).await.unwrap();
    }
    (target, read)
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_read() {
    const BYTES: usize = 60_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Running::to(one_thread(), &[listener.local_addr().unwrap()]).await;
    let target = tokio::spawn(answer_early(listener, BYTES));
    let mut client = Client::connect(proxy.address).await;
    let body = "x".repeat(BYTES);
    client
        .send(&format!(
            "POST / HTTP/1.1\r\nHost: any\r\nContent-Length: {BYTES}\r\n\r\n{body}"
        ))
        .await;
    let answer = timeout(PATIENCE, client.receive()).await.unwrap().unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (413, "much"));
    drop(target.await.unwrap());
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    const BYTES: usize = 4 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Running::to(one_thread(), &[listener.local_addr().unwrap()]).await;
    let target = tokio::spawn(async move {
        let (mut target, _) = listener.accept().await.unwrap();
        target.readable().await.unwrap();
        let body: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
        target.write_all(head.as_bytes()).await.unwrap();
        target.write_all(&body).await.unwrap();
        target
    });
    let mut client = Client::connect(proxy.address).await;
    client
        .send("GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
        .await;
    let mut seen = Vec::new();
    let mut buffer = [0; 1 << 16];
    loop {
        let read = timeout(PATIENCE, client.stream.read(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        if read == 0 {
            break;
        }
        seen.extend_from_slice(&buffer[..read]);
        tokio::task::yield_now().await;
    }
    drop(target.await.unwrap());
    let start = seen.len() - BYTES;
    assert!(
        seen[start..]
            .iter()
            .enumerate()
            .all(|(at, byte)| *byte == (at % 251) as u8)
    );
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_its_target() {
    let backend = Backend::start("a", Behavior::Silent).await;
    let proxy = Running::to(one_thread(), &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
    backend.request_arrived().await;
    // It ends with a reset, not with the end of what it says.
    socket2::SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let drained = timeout(PATIENCE, proxy.handle.swap(proxy.table(""))).await;
    assert!(drained.expect("it drains in time").is_complete());
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let backend = Backend::start("a", Behavior::Name).await;
    let config = Config {
        client_timeout: Duration::from_millis(100),
        ..one_thread()
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    client
        .send("POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 9\r\n\r\nabc")
        .await;
    let seen = rest(&mut client).await;
    assert!(seen.starts_with("HTTP/1.1 408 "), "{seen}");
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn connections_that_wait_in_the_queue_are_served_at_the_stop() {
    let backend = Backend::start("a", Behavior::Held).await;
    let config = Config {
        connections_max: 1,
        ..one_thread()
    };
    let mut proxy = Running::to(config, &[backend.address]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(proxy.address).await;
        client.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
        clients.push(client);
    }
    // One is served, and the others wait to be accepted.
    backend.request_arrived().await;
    proxy.stop();
    backend.permits.add_permits(3);
    for client in &mut clients {
        let answer = timeout(PATIENCE, client.receive()).await.unwrap();
        assert_eq!(answer.expect("an answer").text(), "a");
    }
    proxy.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn no_more_connections_are_open_than_may_be() {
    let backend = Backend::start("a", Behavior::Name).await;
    let config = Config {
        connections_max: 1,
        ..one_thread()
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let mut first = Client::connect(proxy.address).await;
    assert_eq!(first.get("/").await.status(), 200);
    let mut second = Client::connect(proxy.address).await;
    second.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
    for _ in 0..20 {
        assert_eq!(first.get("/").await.status(), 200);
    }
    assert_eq!(backend.requests(), 21);
    // It waits in the system's queue, and has its turn.
    drop(first);
    let answer = timeout(PATIENCE, second.receive()).await.unwrap();
    assert_eq!(answer.expect("an answer").status(), 200);
}
