//! What only some ask for: users, compressed answers, headers of the proxy's own, a log.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use proxy::auth::{Scheme, Schemes};
use proxy::certs::Tls;
use proxy::{AccessLog, Config, Listener, OwnHeaders};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::backend::{Backend, Behavior};
use crate::client::{Client, read_message};
use crate::running::Running;
use crate::secured::{connect, connector, pair, store};

#[tokio::test]
async fn users_are_let_in_by_name_and_password() {
    let backend = Backend::start("a", Behavior::Name).await;
    let schemes = Arc::new(Schemes::default());
    let set = |text: &str| {
        let (scheme, bad) = Scheme::read("the team", text);
        assert_eq!(bad, []);
        schemes.replace(BTreeMap::from([("team".to_owned(), Arc::new(scheme))]));
    };
    set(&format!("ann:{}", bcrypt::hash("secret", 4).unwrap()));
    let proxy = Running::start(Config {
        schemes: schemes.clone(),
        ..Config::default()
    })
    .await;
    let text = format!(
        "route add a / http://{}/ opts \"auth=team\"",
        backend.address
    );
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut client = Client::connect(proxy.address).await;
    let mut ask = async |credentials: Option<&str>| {
        let header = credentials.map_or_else(String::new, |credentials| {
            let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
            format!("Authorization: Basic {encoded}\r\n")
        });
        client
            .send(&format!("GET / HTTP/1.1\r\nHost: any\r\n{header}\r\n"))
            .await;
        let answer = client.receive().await.unwrap();
        (answer.status(), answer.header("www-authenticate").concat())
    };
    let asked = (401, "Basic realm=\"the team\"".to_owned());
    assert_eq!(ask(None).await, asked);
    assert_eq!(ask(Some("ann:wrong")).await, asked);
    assert_eq!(ask(Some("ann:secret")).await.0, 200);
    assert_eq!(ask(Some("ann:secret")).await.0, 200);
    // Other users count at once.
    set("bob:other");
    assert_eq!(ask(Some("ann:secret")).await, asked);
    assert_eq!(ask(Some("bob:other")).await.0, 200);
    schemes.replace(BTreeMap::new());
    assert_eq!(ask(Some("bob:other")).await, (401, String::new()));
}

/// A target that answers every request with one text of a type.
async fn texts(content_type: &'static str, text: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let text = text.clone();
            tokio::spawn(async move {
                let mut rest = Vec::new();
                while read_message(&mut stream, &mut rest).await.is_some() {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nETag: \"x\"\r\nContent-Length: {}\r\n\r\n",
                        text.len()
                    );
                    stream.write_all((head + &text).as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn answers_are_compressed_as_the_client_likes() {
    let text = "trivet ".repeat(4000);
    let (page, image) = (
        texts("text/html; charset=utf-8", text.clone()).await,
        texts("image/png", text.clone()).await,
    );
    let proxy = Running::start(Config {
        compressed_types: Some("^text/|json".to_owned()),
        ..Config::default()
    })
    .await;
    let lines = format!("route add a / http://{page}/\nroute add b /image http://{image}/");
    drop(proxy.handle.swap(proxy.table(&lines)));
    for (path, accept, coding) in [
        ("/", "gzip", Some("gzip")),
        ("/", "gzip, zstd", Some("zstd")),
        ("/", "gzip, deflate, br", Some("br")),
        ("/", "deflate", None),
        ("/image", "gzip", None),
    ] {
        let mut client = Client::connect(proxy.address).await;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: any\r\nAccept-Encoding: {accept}\r\nConnection: close\r\n\r\n"
        );
        client.send(&request).await;
        let mut seen = Vec::new();
        client.stream.read_to_end(&mut seen).await.unwrap();
        let end = seen
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap()
            + 4;
        let head = String::from_utf8(seen[..end].to_vec())
            .unwrap()
            .to_ascii_lowercase();
        let body = &seen[end..];
        assert_eq!(
            head.contains("\r\nvary: accept-encoding\r\n"),
            path == "/",
            "{head}"
        );
        let Some(coding) = coding else {
            assert!(!head.contains("content-encoding"), "{head}");
            assert_eq!(body, text.as_bytes());
            continue;
        };
        assert!(
            head.contains(&format!("\r\ncontent-encoding: {coding}\r\n")),
            "{head}"
        );
        assert!(head.contains("\r\netag: w/\"x\"\r\n"), "{head}");
        let body = unchunked(body);
        assert!(body.len() < text.len() / 10, "{} bytes", body.len());
        let mut decoded = String::new();
        if coding == "gzip" {
            flate2::read::GzDecoder::new(&*body)
                .read_to_string(&mut decoded)
                .unwrap();
        } else if coding == "br" {
            brotli::Decompressor::new(&*body, 4096)
                .read_to_string(&mut decoded)
                .unwrap();
        } else {
            decoded = String::from_utf8(zstd::stream::decode_all(&*body).unwrap()).unwrap();
        }
        assert!(decoded == text);
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let size = usize::from_str_radix(str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return content;
        }
        content.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}

#[tokio::test]
async fn headers_of_the_proxy_s_own_cannot_be_forged() {
    let backend = Backend::start("a", Behavior::Head).await;
    let certificate = pair(&["web.io"]);
    let plain = Listener::http("127.0.0.1:0".parse().unwrap());
    let secured = Listener {
        address: "127.0.0.2:0".parse().unwrap(),
        tls: Some(Tls::new(store(std::slice::from_ref(&certificate)))),
        ..plain.clone()
    };
    let proxy = Running::start(Config {
        listeners: vec![plain.clone(), secured.clone()],
        own_headers: OwnHeaders {
            client_ip: Some("X-Client".to_owned()),
            request_id: Some("X-Request-Id".to_owned()),
            tls: Some(("X-Secure".to_owned(), "yes".to_owned())),
            transport_security: Some("max-age=60; includeSubdomains".to_owned()),
            by: Some([203, 0, 113, 9].into()),
        },
        ..Config::default()
    })
    .await;
    proxy.route(&[backend.address]);
    let request = "GET / HTTP/1.1\r\nHost: web.io\r\nX-Client: 6.6.6.6\r\nX-Request-Id: mine\r\nX-Secure: yes\r\n\r\n";
    let mut client = Client::connect(proxy.address).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        client.send(request).await;
        let mut seen = client.receive().await.unwrap();
        assert!(seen.header("strict-transport-security").is_empty());
        seen.head = seen.text();
        assert_eq!(seen.header("x-client"), ["127.0.0.1"]);
        assert!(seen.header("x-secure").is_empty(), "{}", seen.head);
        assert_eq!(
            seen.header("forwarded"),
            ["for=127.0.0.1;proto=http;by=203.0.113.9"]
        );
        ids.push(seen.header("x-request-id").concat());
    }
    assert!(ids[0] != ids[1] && ids[0].len() == 36, "{ids:?}");
    let listening = proxy.handle.listen(vec![plain, secured]).await;
    let address = *listening[1].local.as_ref().unwrap();
    let connector = connector(&[&certificate], None, &[]);
    let mut client = connect(&connector, address, "web.io").await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut seen = read_message(&mut client, &mut Vec::new()).await.unwrap();
    assert_eq!(
        seen.header("strict-transport-security"),
        ["max-age=60; includeSubdomains"]
    );
    seen.head = seen.text();
    assert_eq!(seen.header("x-secure"), ["yes"]);
}

#[tokio::test]
async fn every_request_is_written_down() {
    let backend = Backend::start("a", Behavior::Name).await;
    let format = "$request_method $request_uri $response_status $response_body_size $upstream_addr $upstream_service $header.X-A";
    let (log, mut lines) = AccessLog::new(format).unwrap();
    let proxy = Running::start(Config {
        access_log: Some(Arc::new(log)),
        ..Config::default()
    })
    .await;
    let text = format!(
        "route add a /a http://{0}/\nroute add b /b http://{0}/ opts \"deny=ip:127.0.0.1\"",
        backend.address
    );
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut client = Client::connect(proxy.address).await;
    for (path, expected) in [
        (
            "/a?x=1",
            format!("GET /a?x=1 200 1 {} a q\\x22", backend.address),
        ),
        ("/b", format!("GET /b 403 0 {} b q\\x22", backend.address)),
        ("/c", "GET /c 404 0   q\\x22".to_owned()),
    ] {
        client
            .send(&format!(
                "GET {path} HTTP/1.1\r\nHost: any\r\nX-A: q\"\r\n\r\n"
            ))
            .await;
        client.receive().await.unwrap();
        assert_eq!(lines.recv().await.unwrap(), expected + "\n");
    }
}

#[tokio::test]
async fn a_request_that_its_client_leaves_is_written_down_too() {
    let backend = Backend::start("a", Behavior::Silent).await;
    let (log, mut lines) = AccessLog::new("$request_uri $response_status").unwrap();
    let config = Config {
        access_log: Some(Arc::new(log)),
        ..Config::default()
    };
    let proxy = Running::to(config, &[backend.address]).await;
    let mut client = Client::connect(proxy.address).await;
    client.send("GET /a HTTP/1.1\r\nHost: any\r\n\r\n").await;
    backend.request_arrived().await;
    // It ends with a reset, not with the end of what it says.
    socket2::SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let line = timeout(Duration::from_secs(60), lines.recv()).await;
    assert_eq!(line.unwrap().unwrap(), "/a 499\n");
}
