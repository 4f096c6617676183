//! HTTP/2 on both sides, and calls of gRPC with it.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use proxy::certs::Tls;
use proxy::{Config, Listener};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::backend::{Backend, Behavior};
use crate::client::read_message;
use crate::running::Running;
use crate::secured::{connect, connector, pair, store};

/// A server of calls: it answers each message with itself, and its path in a trailer.
struct Server {
    address: SocketAddr,
    serving: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let path = request.uri().path().to_owned();
                        let head = Response::builder()
                            .header("content-type", "application/grpc")
                            .body(())
                            .unwrap();
                        let mut send = respond.send_response(head, false).unwrap();
                        let mut body = request.into_body();
                        while let Some(Ok(message)) = body.data().await {
                            body.flow_control().release_capacity(message.len()).unwrap();
                            send.send_data(message, false).unwrap();
                        }
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        trailers.insert("x-path", path.parse().unwrap());
                        send.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    Server {
        address,
        serving: serving.abort_handle(),
    }
}

async fn client<S>(stream: S) -> SendRequest<Bytes>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

/// Head, body and trailers of the answer to a request.
async fn ask(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
    messages: &[&'static str],
) -> (Response<()>, String, HeaderMap) {
    let ends = messages.is_empty();
    let (answer, mut send) = client.send_request(request, ends).unwrap();
    for (at, message) in (1..).zip(messages) {
        let last = at == messages.len();
        send.send_data(Bytes::from_static(message.as_bytes()), last)
            .unwrap();
    }
    let (head, mut body) = answer.await.unwrap().into_parts();
    let mut text = String::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        text.push_str(str::from_utf8(&data).unwrap());
    }
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    (Response::from_parts(head, ()), text, trailers)
}

fn call(path: &str) -> Request<()> {
    Request::post(format!("http://calls.io{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

#[tokio::test]
async fn http2_is_spoken_with_tls_and_without() {
    let backend = Backend::start("a", Behavior::Head).await;
    let certificate = pair(&["web.io"]);
    let tls = Tls::new(store(std::slice::from_ref(&certificate)));
    for tls in [None, Some(tls)] {
        let is_tls = tls.is_some();
        let config = Config {
            listeners: vec![Listener {
                tls,
                ..Listener::http("127.0.0.1:0".parse().unwrap())
            }],
            ..Config::default()
        };
        let proxy = Running::start(config).await;
        proxy.route(&[backend.address]);
        let mut client = if is_tls {
            let connector = connector(&[&certificate], None, &["h2"]);
            client(connect(&connector, proxy.address, "web.io").await.unwrap()).await
        } else {
            client(TcpStream::connect(proxy.address).await.unwrap()).await
        };
        for path in ["/a?b=c", "/missing/../x"] {
            let scheme = if is_tls { "https" } else { "http" };
            let request = Request::get(format!("{scheme}://web.io{path}"))
                .body(())
                .unwrap();
            let (head, seen, _) = ask(&mut client, request, &[]).await;
            assert_eq!(head.status(), 200, "{seen}");
            let seen = seen.to_ascii_lowercase();
            assert!(seen.contains("\r\nhost: web.io\r\n"), "{seen}");
            assert!(seen.contains("\r\nx-forwarded-host: web.io\r\n"), "{seen}");
            assert!(
                seen.contains(&format!("\r\nx-forwarded-proto: {scheme}\r\n")),
                "{seen}"
            );
        }
    }
}

#[tokio::test]
async fn calls_go_on_with_their_messages_and_trailers() {
    let server = server().await;
    let proxy = Running::start(Config::default()).await;
    let text = format!(
        "route add c /pkg.Echo/ grpc://{0}\nroute add d other.io/pkg.Other/ http://{0} opts \"proto=h2c\"",
        server.address
    );
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut client = client(TcpStream::connect(proxy.address).await.unwrap()).await;
    for _ in 0..3 {
        let (head, text, trailers) = ask(&mut client, call("/pkg.Echo/Say"), &["one", "two"]).await;
        assert_eq!((head.status().as_u16(), text.as_str()), (200, "onetwo"));
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["x-path"], "/pkg.Echo/Say");
    }
    // The host of a call may be named apart from its authority.
    let (head, _, _) = ask(&mut client, call("/pkg.Other/Say"), &["x"]).await;
    assert_eq!(head.headers()["grpc-status"], "5");
    let mut named = call("/pkg.Other/Say");
    named
        .headers_mut()
        .insert("dsthost", "other.io".parse().unwrap());
    let (_, text, _) = ask(&mut client, named, &["x"]).await;
    assert_eq!(text, "x");
    called(&proxy, &[("NotFound", 1), ("OK", 4)]).await;
}

/// Waits until so many calls have ended with each status, and none with another one.
async fn called(proxy: &Running, expected: &[(&str, u64)]) {
    let all: u64 = expected.iter().map(|(_, count)| count).sum();
    let counted = async {
        loop {
            let calls = proxy.handle.published_calls();
            if calls.times.values().sum::<u64>() >= all {
                return calls;
            }
            tokio::task::yield_now().await;
        }
    };
    let counted = tokio::time::timeout(std::time::Duration::from_secs(60), counted).await;
    let statuses = counted.expect("they are counted").statuses.into_iter();
    let seen: Vec<(&str, u64)> = statuses.map(|(name, spent)| (name, spent.count)).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn calls_that_go_nowhere_have_a_status_of_their_own() {
    let proxy = Running::start(Config::default()).await;
    let gone = crate::running::dead_address();
    let text = format!(
        "route add c /gone/ grpc://{gone}\nroute add d /in/ grpc://{gone} opts \"allow=ip:1.1.1.1\""
    );
    let text = text + &format!("\nroute add e /plain http://{gone}/");
    drop(proxy.handle.swap(proxy.table(&text)));
    let mut client = client(TcpStream::connect(proxy.address).await.unwrap()).await;
    let plain = Request::get("http://any.io/plain").body(()).unwrap();
    let (head, _, _) = ask(&mut client, plain, &[]).await;
    assert_eq!(head.status(), 502);
    for (path, status) in [("/x/Y", "5"), ("/gone/X", "14"), ("/in/X", "7")] {
        let (head, _, _) = ask(&mut client, call(path), &["x"]).await;
        assert_eq!(head.status(), 200, "{path}");
        assert_eq!(head.headers()["grpc-status"], status, "{path}");
    }
    let statuses = [("NotFound", 1), ("PermissionDenied", 1), ("Unavailable", 1)];
    called(&proxy, &statuses).await;
}

/// Requests without a body go the short way, and others that of the library.
const WAYS: [proxy::Library; 2] = [proxy::Library::Doubtful, proxy::Library::All];

async fn on(library: proxy::Library) -> Running {
    Running::start(Config {
        library,
        threads: 1,
        ..Config::default()
    })
    .await
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://any.io{path}"))
        .body(())
        .unwrap()
}

#[tokio::test]
async fn plain_requests_are_answered_alike_on_both_ways() {
    let behaviors = [
        ("head", Behavior::Head),
        ("name", Behavior::Name),
        ("echo", Behavior::Echo),
        ("halves", Behavior::Halves),
        ("own", Behavior::Status(418)),
    ];
    for library in WAYS {
        let mut backends = Vec::new();
        let mut text = String::new();
        for (name, behavior) in behaviors.clone() {
            let backend = Backend::start(name, behavior).await;
            text += &format!("route add {name} /{name} http://{}/\n", backend.address);
            backends.push(backend);
        }
        let gone = crate::running::dead_address();
        text += &format!("route add name /name http://{gone}/\n");
        let proxy = on(library).await;
        drop(proxy.handle.swap(proxy.table(&text)));
        let mut client = client(TcpStream::connect(proxy.address).await.unwrap()).await;
        // One of the two targets is not there.
        for _ in 0..4 {
            let (head, text, _) = ask(&mut client, get("/name"), &[]).await;
            assert_eq!((head.status().as_u16(), text.as_str()), (200, "name"));
            assert_eq!(head.headers()["content-length"], "4");
            assert!(head.headers().contains_key("date"));
            assert!(!head.headers().contains_key("connection"));
        }
        let mut only_head = get("/name");
        *only_head.method_mut() = http::Method::HEAD;
        let (head, text, _) = ask(&mut client, only_head, &[]).await;
        assert_eq!((head.status().as_u16(), text.as_str()), (200, ""));
        let mut crumbs = get("/head?x=y");
        for cookie in ["a=1", "b=2"] {
            let value = cookie.parse().unwrap();
            crumbs.headers_mut().append("cookie", value);
        }
        let (_, seen, _) = ask(&mut client, crumbs, &[]).await;
        let seen = seen.to_ascii_lowercase();
        assert!(seen.starts_with("get /head?x=y http/1.1\r\n"), "{seen}");
        if matches!(library, proxy::Library::Doubtful) {
            assert!(seen.contains("\r\ncookie: a=1; b=2\r\n"), "{seen}");
        }
        backends[3].permits.add_permits(1);
        let (head, text, _) = ask(&mut client, get("/halves"), &[]).await;
        assert_eq!(
            (head.status().as_u16(), text.as_str()),
            (200, "firstsecond")
        );
        let (head, text, _) = ask(&mut client, get("/own"), &[]).await;
        assert_eq!((head.status().as_u16(), text.as_str()), (418, "own"));
        let (head, text, _) = ask(&mut client, get("/missing"), &[]).await;
        assert_eq!((head.status().as_u16(), text.as_str()), (404, ""));
        let mut post = get("/echo");
        *post.method_mut() = http::Method::POST;
        // The target reads no chunks.
        let length = "6".parse().unwrap();
        post.headers_mut().insert("content-length", length);
        let (head, text, _) = ask(&mut client, post, &["one", "two"]).await;
        assert_eq!((head.status().as_u16(), text.as_str()), (200, "onetwo"));
        // All of them are counted, whatever way they went.
        let answered = || -> u64 {
            let table = proxy.handle.table();
            let targets = table.routes().flat_map(proxy::route::Route::targets);
            targets
                .map(|target| target.meter().read().outcomes[..5].iter().sum::<u64>())
                .sum()
        };
        // The last one may have been answered just now.
        let counted = async {
            while answered() < 9 {
                tokio::task::yield_now().await;
            }
        };
        let counted = tokio::time::timeout(std::time::Duration::from_secs(60), counted).await;
        assert!(counted.is_ok() && answered() == 9, "{}", answered());
    }
}

/// A target that answers with `start` of a longer body, and then as `end` says.
async fn large(bytes: usize, is_whole: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_message(&mut stream, &mut Vec::new()).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok();
            let sent = if is_whole { bytes } else { bytes / 2 };
            let body: Vec<u8> = (0..sent).map(|at| (at % 251) as u8).collect();
            stream.write_all(&body).await.ok();
        }
    });
    address
}

#[tokio::test]
async fn large_answers_flow_as_the_client_reads_and_half_ones_do_not_end() {
    const BYTES: usize = 2 << 20;
    let (whole, half) = (large(BYTES, true).await, large(BYTES, false).await);
    for library in WAYS {
        let proxy = on(library).await;
        let text = format!("route add a /whole http://{whole}/\nroute add b /half http://{half}/");
        drop(proxy.handle.swap(proxy.table(&text)));
        let mut client = client(TcpStream::connect(proxy.address).await.unwrap()).await;
        for (path, is_whole) in [("/whole", true), ("/half", false), ("/whole", true)] {
            let (answer, _) = client.send_request(get(path), true).unwrap();
            let mut body = answer.await.unwrap().into_body();
            let mut seen = Vec::new();
            let ended = loop {
                tokio::task::yield_now().await;
                match body.data().await {
                    Some(Ok(data)) => {
                        body.flow_control().release_capacity(data.len()).unwrap();
                        seen.extend_from_slice(&data);
                    }
                    Some(Err(_)) => break false,
                    None => break true,
                }
            };
            assert_eq!((ended, seen.len() == BYTES), (is_whole, is_whole), "{path}");
            let is_right = |(at, byte): (usize, &u8)| *byte == (at % 251) as u8;
            assert!(seen.iter().enumerate().all(is_right));
        }
    }
}

#[tokio::test]
async fn a_request_that_its_client_leaves_is_left_and_others_go_on() {
    let (silent, name) = (
        Backend::start("silent", Behavior::Silent).await,
        Backend::start("name", Behavior::Name).await,
    );
    for library in WAYS {
        let mut proxy = on(library).await;
        let text = format!(
            "route add s /silent http://{}/\nroute add n /name http://{}/",
            silent.address, name.address
        );
        drop(proxy.handle.swap(proxy.table(&text)));
        let mut client = client(TcpStream::connect(proxy.address).await.unwrap()).await;
        let (waiting, mut send) = client.send_request(get("/silent"), true).unwrap();
        silent.request_arrived().await;
        let (head, _, _) = ask(&mut client, get("/name"), &[]).await;
        assert_eq!(head.status(), 200);
        send.send_reset(h2::Reason::CANCEL);
        drop(waiting);
        let drained = tokio::time::timeout(
            std::time::Duration::from_secs(60),
            proxy.handle.swap(proxy.table("")),
        );
        assert!(drained.await.expect("it drains in time").is_complete());
        // The connection is told to end at the stop, and ends.
        proxy.stop();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), &mut proxy.ended);
        ended.await.expect("it ends in time").unwrap().unwrap();
    }
}

#[tokio::test]
async fn pages_of_the_proxy_s_own_go_in_frames() {
    for library in WAYS {
        let proxy = on(library).await;
        let gone = crate::running::dead_address();
        proxy.route(&[gone]);
        let mut pages = proxy::ErrorPages::default();
        assert!(pages.add("502.html", "<p>later</p>"));
        proxy.handle.set_error_pages(pages);
        let mut client = client(TcpStream::connect(proxy.address).await.unwrap()).await;
        for messages in [&[][..], &["one"]] {
            let mut request = Request::post("http://web.io/").body(()).unwrap();
            request
                .headers_mut()
                .insert("content-type", "text/plain".parse().unwrap());
            let (head, text, _) = ask(&mut client, request, messages).await;
            assert_eq!(
                (head.status().as_u16(), text.as_str()),
                (502, "<p>later</p>")
            );
            assert_eq!(head.headers()["content-type"], "text/html; charset=utf-8");
        }
    }
}
