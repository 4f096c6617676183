//! HTTP/2 on both sides, and calls of gRPC with it.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use proxy::certs::Tls;
use proxy::{Config, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::backend::{Backend, Behavior};
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
}

#[tokio::test]
async fn calls_that_go_nowhere_have_a_status_of_their_own() {
    let proxy = Running::start(Config::default()).await;
    let gone = crate::running::dead_address().await;
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
}
