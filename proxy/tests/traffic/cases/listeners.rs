//! Several listeners, what they are told of clients, and changes while connections are open.

use std::time::Duration;

use proxy::{Announced, Config, Listener};

use super::{Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::{Client, get};

fn any() -> Listener {
    Listener::http("127.0.0.1:0".parse().unwrap())
}

#[tokio::test]
async fn listeners_come_and_go_and_connections_stay() {
    let backend = Backend::start("a", Behavior::Name).await;
    let proxy = Running::to(config(), &[backend.address]).await;
    let first = Listener::http("127.0.0.1:0".parse().unwrap());
    let mut kept = Client::connect(proxy.address).await;
    assert_eq!(kept.get("/").await.text(), "a");
    // The same address as configured: settings change, socket and connections stay.
    let changed = Listener {
        idle_timeout: Some(Duration::from_secs(300)),
        ..first
    };
    let became = proxy.handle.listen(vec![changed.clone()]).await;
    assert_eq!(*became[0].local.as_ref().unwrap(), proxy.address);
    assert_eq!(kept.get("/").await.text(), "a");
    assert_eq!(get(proxy.address, "/").await.text(), "a");
    // Another one, and one that is not to be had.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = Listener::http("127.0.0.2:0".parse().unwrap());
    let wanted = vec![
        Listener::http(taken.local_addr().unwrap()),
        changed,
        more.clone(),
    ];
    let became = proxy.handle.listen(wanted).await;
    assert!(became[0].local.is_err());
    assert_eq!(*became[1].local.as_ref().unwrap(), proxy.address);
    let other = *became[2].local.as_ref().unwrap();
    assert_eq!(get(other, "/").await.text(), "a");
    // The first one goes; what is open on it goes on.
    let became = proxy.handle.listen(vec![more]).await;
    assert_eq!(*became[0].local.as_ref().unwrap(), other);
    assert_eq!(kept.get("/").await.text(), "a");
    while tokio::net::TcpStream::connect(proxy.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(kept.get("/").await.text(), "a");
    assert_eq!(get(other, "/").await.text(), "a");
}

#[tokio::test]
async fn the_client_is_whom_a_trusted_proxy_names() {
    let backend = Backend::start("a", Behavior::Head).await;
    let rule = |trusted: &str, is_required| Config {
        listeners: vec![Listener {
            announced: Some(Announced {
                timeout: Duration::from_secs(60),
                trusted: vec![proxy::route::Block::parse(trusted).unwrap()],
                is_required,
            }),
            ..any()
        }],
        ..config()
    };
    let request = "GET / HTTP/1.1\r\nHost: any\r\n\r\n";
    let header = "PROXY TCP4 9.8.7.6 1.2.3.4 1111 80\r\n";
    // Whom the target sees, if the request is let in.
    for (trusted, is_required, sent, seen) in [
        (
            "127.0.0.0/8",
            true,
            format!("{header}{request}"),
            Some("9.8.7.6"),
        ),
        ("127.0.0.0/8", false, request.to_owned(), Some("127.0.0.1")),
        ("127.0.0.0/8", true, request.to_owned(), None),
        ("10.0.0.0/8", true, format!("{header}{request}"), None),
        (
            "127.0.0.0/8",
            false,
            format!("PROXY TCP4 x\r\n{request}"),
            None,
        ),
    ] {
        let proxy = Running::start(rule(trusted, is_required)).await;
        proxy.route(&[backend.address]);
        let mut client = Client::connect(proxy.address).await;
        client.send(&sent).await;
        let answer = client.receive().await;
        let got = answer.map(|mut answer| {
            answer.head = answer.text();
            answer.header("x-real-ip").concat()
        });
        assert_eq!(got.as_deref(), seen, "{trusted} {is_required} {sent}");
    }
    // From somebody else it is no header but a bad request.
    let proxy = Running::start(rule("10.0.0.0/8", false)).await;
    let mut client = Client::connect(proxy.address).await;
    client.send(&format!("{header}{request}")).await;
    assert_eq!(client.receive().await.unwrap().status(), 400);
}
