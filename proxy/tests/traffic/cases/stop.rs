//! The end of the proxy.

use std::time::Duration;

use proxy::{Config, Listener};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::Client;

#[tokio::test]
async fn stopping_finishes_requests_and_closes_the_rest() {
    let backend = Backend::start("a", Behavior::Held).await;
    // An address of its own: no other test takes its port when it is free again.
    let config = Config {
        listeners: vec![Listener::http("127.0.0.79:0".parse().unwrap())],
        ..config()
    };
    let mut proxy = Running::to(config, &[backend.address]).await;
    let mut idle = Client::connect(proxy.address).await;
    backend.permits.add_permits(1);
    assert_eq!(idle.get("/").await.status(), 200);
    let mut busy = Client::connect(proxy.address).await;
    busy.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
    backend.request_arrived().await;
    backend.request_arrived().await;
    proxy.stop();
    // The idle connection ends while the busy one is still open.
    assert_eq!(idle.stream.read(&mut [0; 1]).await.unwrap(), 0);
    backend.permits.add_permits(1);
    assert_eq!(busy.receive().await.unwrap().text(), "a");
    proxy.ended.await.unwrap().unwrap();
    assert!(TcpStream::connect(proxy.address).await.is_err());
}

#[tokio::test]
async fn stopping_is_bounded() {
    let backend = Backend::start("a", Behavior::Silent).await;
    let config = Config {
        stop_timeout: Duration::from_millis(50),
        ..config()
    };
    let mut proxy = Running::to(config, &[backend.address]).await;
    let mut busy = Client::connect(proxy.address).await;
    busy.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
    backend.request_arrived().await;
    proxy.stop();
    proxy.ended.await.unwrap().unwrap();
    assert!(busy.receive().await.is_none());
}

#[tokio::test]
async fn before_it_stops_connections_end_with_their_answers() {
    let backend = Backend::start("a", Behavior::Name).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    let mut kept = Client::connect(proxy.address).await;
    assert_ne!(kept.get("/").await.header("connection"), ["close"]);
    proxy.handle.leave();
    for mut client in [kept, Client::connect(proxy.address).await] {
        let answer = client.get("/").await;
        assert_eq!((answer.text().as_str(), answer.status()), ("a", 200));
        assert_eq!(answer.header("connection"), ["close"]);
        assert_eq!(client.stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
