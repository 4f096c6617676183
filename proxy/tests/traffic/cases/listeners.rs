//! Several listeners, what they are told of clients, and changes while connections are open.

use std::time::Duration;

use proxy::route::{Table, parse};
use proxy::{Announced, Config, Listener, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{Running, config};
use crate::backend::{Backend, Behavior};
use crate::client::{Client, get, read_message};
use crate::running::lines;

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

/// Everything that comes until the connection ends.
async fn rest(client: &mut Client) -> String {
    let mut seen = Vec::new();
    let end = client.stream.read_to_end(&mut seen);
    let end = timeout(Duration::from_secs(60), end).await;
    end.expect("an end in time").ok();
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn each_listener_has_times_of_its_own() {
    let backend = Backend::start("a", Behavior::Name).await;
    let short = Duration::from_millis(100);
    let config = Config {
        listeners: vec![
            Listener {
                read_timeout: Some(short),
                write_timeout: Some(short),
                idle_timeout: Some(short),
                ..any()
            },
            any(),
        ],
        ..config()
    };
    let proxy = Proxy::bind(config).unwrap();
    let places = proxy.local_addrs();
    let handle = proxy.handle();
    let running = tokio::spawn(proxy.run(std::future::pending()));
    let table = |text: &str| {
        let (definitions, problems) = parse::parse(text);
        assert!(problems.is_empty(), "{problems:?}");
        Table::build(definitions, Some(&handle.table())).0
    };
    drop(handle.swap(table(&lines(&[backend.address]))));

    // Half a head: the hasty listener does not wait for the rest, the other one does.
    let (hasty, patient) = (places[0], places[1]);
    let half = "GET / HTTP/1.1\r\nHost: any\r\n";
    let mut other = Client::connect(patient).await;
    other.send(half).await;
    let mut client = Client::connect(hasty).await;
    client.send(half).await;
    let seen = rest(&mut client).await;
    assert!(!seen.contains(" 200 "), "{seen}");
    other.send("\r\n").await;
    assert_eq!(other.receive().await.unwrap().text(), "a");

    // A connection that rests: by then the other one has rested for longer.
    let mut client = Client::connect(hasty).await;
    assert_eq!(client.get("/").await.text(), "a");
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(other.get("/").await.text(), "a");

    // A client that takes nothing of its answer.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    drop(handle.swap(table(&lines(&[listener.local_addr().unwrap()]))));
    let mut client = Client::connect(hasty).await;
    client.send("GET / HTTP/1.1\r\nHost: any\r\n\r\n").await;
    let (mut target, _) = listener.accept().await.unwrap();
    read_message(&mut target, &mut Vec::new()).await.unwrap();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    target.write_all(head).await.unwrap();
    let part = vec![b'x'; 64 << 10];
    let written = async { while target.write_all(&part).await.is_ok() {} };
    // Without a time of its own it would be a minute.
    let given_up = timeout(Duration::from_secs(30), written).await;
    given_up.expect("the proxy gives the client up");
    running.abort();
}
