//! The ingress of a whole agent: its listeners, their certificates, and changes of both while it
//! runs.

use crate::harness::{Agent, DEADLINE, agent::Mode, eventually};
use nix::sys::signal::{Signal, kill};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Writes a certificate for a host with its key, and makes a client that trusts no other.
fn certificate(path: &Path, host: &str) -> TlsConnector {
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).expect("a certificate");
    let pem = made.cert.pem();
    // Whole at once: the directory is looked at while it is written.
    let whole = path.with_extension("new");
    std::fs::write(&whole, pem.clone() + &made.signing_key.serialize_pem()).expect("a file");
    std::fs::rename(&whole, path).expect("a file");
    let mut roots = RootCertStore::empty();
    let own = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    roots.add(own).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn open(
    connector: &TlsConnector,
    address: SocketAddr,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = host.to_owned().try_into().expect("a name");
    connector.connect(name, tcp).await
}

/// The first line of the answer to a request on a connection that stays open.
async fn ask(stream: &mut TlsStream<TcpStream>, host: &str) -> String {
    let request = format!("GET /nowhere HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("an open connection");
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let read = timeout(DEADLINE, stream.read_buf(&mut seen)).await;
        assert_ne!(read.expect("an answer in time").expect("an answer"), 0);
    }
    let text = String::from_utf8(seen).expect("text");
    text.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_and_certificates_change_while_connections_stay() {
    let certificates = tempfile::tempdir().expect("a directory");
    let place = |name: &str| certificates.path().join(name);
    let first = certificate(&place("a.pem"), "a.io");
    let sources = format!(
        "certificates \"own\" {{\n    type = \"path\"\n    cert = \"{}\"\n    refresh = \"1s\"\n  }}",
        certificates.path().display()
    );
    let secured = "listener \"127.0.0.1:0\" {\n    proto = \"https\"\n    cs = \"own\"\n  }";
    let block = format!("ingress {{\n  no_route_status = 410\n  {secured}\n  {sources}\n}}");
    let agent = Agent::start_with(Mode::Durable, &block).await;
    let address = agent.address("ingress");
    let mut kept = open(&first, address, "a.io").await.expect("TLS");
    assert_eq!(ask(&mut kept, "a.io").await, "HTTP/1.1 410 Gone");

    // Another certificate.
    let second = certificate(&place("b.pem"), "b.io");
    eventually("the second certificate", async || {
        let opened = open(&second, address, "b.io").await;
        opened.map(drop).map_err(|error| error.to_string())
    })
    .await;

    // Another listener, and one that is not to be had, which keeps nothing else out.
    let port = agent.ports().1;
    let more = format!(
        "proxy_addr = \":{port};proto=tcp, {};proto=http\"",
        agent.address("http")
    );
    let file = agent.dir().join("agent.hcl");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    let text = text.replace("no_route_status", &format!("{more}\n  no_route_status"));
    std::fs::write(&file, text).expect("a configuration");
    kill(agent.pid(), Signal::SIGHUP).expect("the agent runs");
    let added = SocketAddr::new(address.ip(), port);
    eventually("the second listener", async || {
        let opened = TcpStream::connect(added).await;
        opened.map(drop).map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(ask(&mut kept, "a.io").await, "HTTP/1.1 410 Gone");
    assert!(open(&first, address, "a.io").await.is_ok());

    // A file that cannot be used changes nothing.
    std::fs::write(&file, "ingress { colour = 1 }").expect("a configuration");
    kill(agent.pid(), Signal::SIGHUP).expect("the agent runs");
    let log = agent.dir().join("agent.log");
    eventually("the refusal", async || {
        let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
        let is_told = text.contains("unknown key `ingress.colour`");
        is_told.then_some(()).ok_or(text)
    })
    .await;
    assert!(TcpStream::connect(added).await.is_ok());
    assert_eq!(ask(&mut kept, "a.io").await, "HTTP/1.1 410 Gone");
}
