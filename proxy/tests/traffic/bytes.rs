//! Connections that are passed on as bytes.

use std::net::SocketAddr;
use std::time::Duration;

use proxy::certs::Tls;
use proxy::route::Table;
use proxy::{Config, Listener, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::backend::{Backend, Behavior};
use crate::client::read_message;
use crate::running::{Running, dead_address};
use crate::secured::{connect, connector, pair, store};

/// A server that reads to the end, and then answers with its name and what it read.
struct Sink {
    address: SocketAddr,
    listening: AbortHandle,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn sink(name: &'static str) -> Sink {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listening = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                stream.read_to_end(&mut seen).await.ok();
                let answer = [name.as_bytes(), b":", &seen].concat();
                stream.write_all(&answer).await.ok();
            });
        }
    });
    Sink {
        address,
        listening: listening.abort_handle(),
    }
}

/// What comes back of some bytes and their end.
async fn said(address: SocketAddr, bytes: &[u8]) -> String {
    answered(TcpStream::connect(address).await.unwrap(), bytes).await
}

async fn answered(mut client: TcpStream, bytes: &[u8]) -> String {
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn config(protocol: Protocol, tls: Option<Tls>) -> Config {
    Config {
        listeners: vec![Listener {
            protocol,
            tls,
            ..Listener::http("127.0.0.1:0".parse().unwrap())
        }],
        ..Config::default()
    }
}

fn swap(proxy: &Running, text: &str) {
    let (definitions, problems) = proxy::route::parse::parse(text);
    assert_eq!(problems, []);
    let (table, _) = Table::build(definitions, Some(&proxy.handle.table()));
    drop(proxy.handle.swap(table));
}

#[tokio::test]
async fn the_port_decides_and_one_way_may_end_before_the_other() {
    let (one, two, gone) = (sink("one").await, sink("two").await, dead_address());
    let proxy = Running::start(config(Protocol::Tcp, None)).await;
    let port = proxy.address.port();
    // Nobody's port: the connection ends.
    assert_eq!(said(proxy.address, b"").await, "");
    swap(
        &proxy,
        &format!(
            "route add a :{port} tcp://{}\nroute add b :{port} tcp://{gone}\nroute add c :{port} tcp://{}\n",
            one.address, two.address
        ),
    );
    let mut names = Vec::new();
    for _ in 0..6 {
        let answer = said(proxy.address, b"hello").await;
        let (name, text) = answer.split_once(':').unwrap();
        assert_eq!(text, "hello");
        names.push(name.to_owned());
    }
    // A target that cannot be reached has another in its place.
    assert!(names.contains(&"one".to_owned()) && names.contains(&"two".to_owned()));
    // What came of them is counted: passed, refused, and given to another.
    let counted = counted(&proxy, |counts| counts[0].0 + counts[2].0 == 6).await;
    let (passed, refused, _, retries) = counted[1];
    assert!(
        passed == 0 && refused > 0 && refused == retries,
        "{counted:?}"
    );
    let figures = ["tcp.conn", "tcp.noroute", "tcp.connfail", "tcp_sni.conn"];
    let figures = figures.map(|name| proxy.figure(name));
    assert_eq!(figures, [7, 1, refused, 0]);
    // Five bytes each time, and nine back.
    let metrics = proxy.handle.published_metrics("fabio", &[]);
    let sum = |way: &str| {
        let lines = metrics.lines();
        let lines = lines.filter(|line| line.starts_with(&format!("fabio_route_{way}{{")));
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum::<u64>()
    };
    assert_eq!((sum("tx"), sum("rx")), (30, 54), "{metrics}");
}

/// Of each target passed, refused, failed and repeated connections, as soon as they are `enough`.
async fn counted(
    proxy: &Running,
    enough: impl Fn(&[(u64, u64, u64, u64)]) -> bool,
) -> Vec<(u64, u64, u64, u64)> {
    let wait = async {
        loop {
            let table = proxy.handle.table();
            let targets = table.routes().flat_map(proxy::route::Route::targets);
            let counts: Vec<_> = targets
                .map(|target| {
                    let own = target.meter().read();
                    let [.., refused, failed, _, passed] = own.outcomes;
                    (passed, refused, failed, own.retries)
                })
                .collect();
            if enough(&counts) {
                return counts;
            }
            tokio::task::yield_now().await;
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(30), wait).await;
    counted.expect("it is counted")
}

#[tokio::test]
async fn a_connection_that_its_target_resets_counts_as_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Running::start(config(Protocol::Tcp, None)).await;
    let port = proxy.address.port();
    swap(&proxy, &format!("route add a :{port} tcp://{address}\n"));
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    // It is passed on by now.
    client.write_all(b"x").await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    stream.set_zero_linger().unwrap();
    drop(stream);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0);
    counted(&proxy, |counts| counts == [(0, 0, 1, 0)]).await;
}

#[tokio::test]
async fn targets_are_told_whose_connection_it_is() {
    let server = sink("a").await;
    let proxy = Running::start(config(Protocol::Tcp, None)).await;
    let port = proxy.address.port();
    for (form, begins) in [
        ("true", "a:PROXY TCP4 127.0.0.1 127.0.0.1 "),
        ("v2", "a:\r\n\r\n\0\r\nQUIT\n!"),
    ] {
        swap(
            &proxy,
            &format!(
                "route add a :{port} tcp://{} opts \"pxyproto={form}\"",
                server.address
            ),
        );
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(begins.as_bytes()),
            "{}",
            answer.escape_ascii()
        );
        assert!(answer.ends_with(b"hello"));
    }
    // Only from where it may.
    swap(
        &proxy,
        &format!(
            "route add a :{port} tcp://{} opts \"deny=ip:127.0.0.1\"",
            server.address
        ),
    );
    assert_eq!(said(proxy.address, b"").await, "");
}

#[tokio::test]
async fn tls_may_end_here_or_go_on_as_it_is() {
    let server = sink("a").await;
    let (own, theirs) = (pair(&["web.io"]), pair(&["db.io", "x.wild.io"]));
    // It ends here.
    let tls = Tls::new(store(std::slice::from_ref(&own)));
    let proxy = Running::start(config(Protocol::Tcp, Some(tls.clone()))).await;
    let port = proxy.address.port();
    swap(
        &proxy,
        &format!("route add a :{port} tcp://{}", server.address),
    );
    let trusting = connector(&[&own, &theirs], None, &[]);
    let mut client = connect(&trusting, proxy.address, "web.io").await.unwrap();
    client.write_all(b"inside").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"a:inside");

    // It goes on to a server that has the certificate.
    let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = behind.local_addr().unwrap();
    let acceptor = acceptor(&theirs);
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = behind.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                stream.write_all(b"from behind").await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
    });
    let web = Backend::start("web", Behavior::Name).await;
    let routes = format!(
        "route add db db.io/ tcp://{address} opts \"proto=tcp\"\nroute add w *.wild.io/ tcp://{address}\n\
         route add web web.io/ http://{}/\n",
        web.address
    );
    for protocol in [Protocol::TcpSni, Protocol::HttpsTcpSni] {
        let tls = (protocol == Protocol::HttpsTcpSni).then(|| tls.clone());
        let proxy = Running::start(config(protocol, tls)).await;
        swap(&proxy, &routes);
        for host in ["db.io", "x.wild.io"] {
            let mut client = connect(&trusting, proxy.address, host).await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"from behind", "{protocol:?} {host}");
        }
        if protocol == Protocol::HttpsTcpSni {
            let mut client = connect(&trusting, proxy.address, "web.io").await.unwrap();
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: web.io\r\n\r\n")
                .await
                .unwrap();
            let answer = read_message(&mut client, &mut Vec::new()).await.unwrap();
            assert_eq!(answer.text(), "web");
        } else {
            // Without a route, and without TLS: the connection ends.
            assert!(
                connect(&trusting, proxy.address, "nobody.io")
                    .await
                    .is_err()
            );
            assert_eq!(said(proxy.address, b"GET / HTTP/1.1\r\n\r\n").await, "");
        }
    }
    serving.abort();
}

fn acceptor(pair: &proxy::certs::Pair) -> TlsAcceptor {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&pair.chain).unwrap()],
            PrivateKeyDer::from_pem_slice(&pair.key).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(std::sync::Arc::new(config))
}

#[tokio::test]
async fn routes_open_and_close_ports_of_their_own() {
    let (one, two) = (sink("one").await, sink("two").await);
    // An address of its own: no other test takes its ports.
    let own = "127.0.0.77";
    let mut config = config(Protocol::TcpDynamic, None);
    config.listeners[0].address = SocketAddr::new(own.parse().unwrap(), 0);
    let proxy = Running::start(config).await;
    let port = 7777;
    let at = |host: &str| SocketAddr::new(host.parse().unwrap(), port);
    swap(
        &proxy,
        &format!(
            "route add a :{port} tcp://{}\nroute add b {own}:{port} tcp://{}\nroute add c :1 http://{0}/\n",
            one.address, two.address
        ),
    );
    let patience = Duration::from_secs(60);
    // No other connection than this one is made, so that below all that were before have ended.
    let opened = async {
        loop {
            match TcpStream::connect(at(own)).await {
                Ok(opened) => return opened,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    let opened = tokio::time::timeout(patience, opened).await.unwrap();
    assert_eq!(answered(opened, b"x").await, "two:x");
    // A connection that is open goes on when the port closes; those before it have ended.
    let table = proxy.handle.table();
    let until = async |is_carried: bool| {
        let reached = async {
            while table.upstreams().any(|upstream| upstream.in_flight() > 0) != is_carried {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(patience, reached).await.unwrap();
    };
    until(false).await;
    let mut open = TcpStream::connect(at(own)).await.unwrap();
    open.write_all(b"long").await.unwrap();
    until(true).await;
    swap(&proxy, &format!("route add a :1 http://{}/", one.address));
    let closed = async {
        while TcpStream::connect(at(own)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(patience, closed).await.unwrap();
    open.shutdown().await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "two:long");
}
