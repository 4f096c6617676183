//! The ingress of a whole agent: its listeners, their certificates, and changes of both while it
//! runs.

use crate::harness::{Agent, DEADLINE, agent::Mode, command::trivet, eventually, http};
use axum::http::Uri;
use nix::sys::signal::{Signal, kill};
use reqwest::{Method, StatusCode};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
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
    let port = agent.own_port(0);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_has_ended_is_told_to_operators() {
    let mut wanted = rcgen::CertificateParams::new(["old.io".to_owned()]).expect("a name");
    wanted.not_before = rcgen::date_time_ymd(2001, 1, 1);
    wanted.not_after = rcgen::date_time_ymd(2001, 3, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    let made = wanted.self_signed(&key).expect("a certificate");
    let directory = tempfile::tempdir().expect("a directory");
    let pem = directory.path().join("old.pem");
    std::fs::write(&pem, made.pem() + &key.serialize_pem()).expect("a file");
    let block = format!(
        "ingress {{\n  listener \"127.0.0.1:0\" {{ cs = \"own\" }}\n  certificates \"own\" {{\n    type = \"path\"\n    cert = \"{}\"\n  }}\n}}",
        directory.path().display()
    );
    let agent = Agent::start_with(Mode::Durable, &block).await;
    let sentence = "the certificate `old.pem` of the source `own`, for `old.io`, ended on Thu, 01 Mar 2001 00:00:00 GMT";
    let problems = http::get(&agent.url("ingress_admin", "/api/problems")).await;
    assert_eq!(problems, json!([sentence]));
    let metrics = agent.url("ingress_admin", "/metrics");
    let (_, metrics) = http::send(Method::GET, &metrics, None).await;
    let line = "trivet_ingress_certificate_expiry_timestamp_seconds{source=\"own\",certificate=\"old.pem\",host=\"old.io\"} 983404800\n";
    assert!(metrics.contains(line), "{metrics}");
    eventually("a word in the log", async || {
        let said = agent.said();
        said.contains(sentence).then_some(()).ok_or(said)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_the_ingress_come_from_a_directory_or_from_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |page: &str| {
        let file = directory.path().join("new");
        std::fs::write(&file, page).expect("a file");
        std::fs::rename(&file, directory.path().join("4xx.html")).expect("a file");
    };
    write("<p>lost</p>");
    let place = directory.path().display().to_string();
    let block = format!("ingress {{\n  error_pages = \"{place}\"\n}}");
    let agent = Agent::start_with(Mode::Durable, &block).await;
    let page = async |expected: &str| {
        eventually(expected, async || {
            let url = agent.url("ingress", "/nowhere");
            let (status, page) = http::send(Method::GET, &url, None).await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            (page == expected).then_some(()).ok_or(page)
        })
        .await;
    };
    page("<p>lost</p>").await;
    write("<p>gone</p>");
    page("<p>gone</p>").await;
    // From the agent's own store, where there is no key yet.
    let keys = agent.url("catalog", "/v1/kv/pages");
    let file = agent.dir().join("agent.hcl");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    std::fs::write(&file, text.replace(&place, &keys)).expect("a configuration");
    kill(agent.pid(), Signal::SIGHUP).expect("the agent runs");
    page("").await;
    let put = http::client().put(format!("{keys}/404.html"));
    let put = put.body("<p>by key</p>").send().await.expect("an answer");
    assert_eq!(put.status(), StatusCode::OK);
    page("<p>by key</p>").await;
}

/// What the ingress answers.
async fn answered(agent: &Agent, path: &str) -> Result<String, String> {
    let answer = http::client().get(agent.url("ingress", path)).send().await;
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    Ok(format!("{} {text}", status.as_u16()))
}

/// Waits until the ingress answers so.
async fn answers(agent: &Agent, path: &str, expected: &str) {
    eventually(expected, async || {
        let seen = answered(agent, path).await?;
        if seen == expected { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_targets_names_of_the_ingress_and_rewritten_paths() {
    let agent = Agent::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let served = tokio::spawn(async move {
        let told = |uri: Uri| async move { format!("from {uri}") };
        let router = axum::Router::new().fallback(told);
        axum::serve(listener, router).await.expect("it serves");
    });
    let put = async |listener: &str, path: &str, body: Value| {
        let sent = http::send(Method::PUT, &agent.url(listener, path), Some(&body)).await;
        assert_eq!(sent.0, StatusCode::OK, "{path}: {}", sent.1);
    };
    // The address of an instance is a name, and it asks for a name of the ingress.
    let service = json!({
        "ID": "web-1", "Name": "web", "Address": "localhost", "Port": port,
        "Tags": ["urlprefix-/web register=shopfront"],
    });
    put("catalog", "/v1/agent/service/register", service).await;
    answers(&agent, "/web/x", "200 from /web/x").await;
    let own = agent.address("ingress").port();
    agent
        .wait_catalog("/v1/catalog/service/shopfront", |rows| {
            let ports: Vec<u64> = rows
                .as_array()?
                .iter()
                .filter_map(|row| row["ServicePort"].as_u64())
                .collect();
            (ports == [u64::from(own)]).then_some(())
        })
        .await;
    // Names in the text of the operator: one that is known, and one that nobody knows.
    let text = format!(
        "route add named /named http://localhost:{port}/\nroute add gone /gone http://nowhere.invalid:1/\n"
    );
    put(
        "ingress_admin",
        "/api/manual",
        json!({"value": text, "version": "0"}),
    )
    .await;
    answers(&agent, "/named/x", "200 from /named/x").await;
    answers(&agent, "/gone", "404 ").await;
    // It takes a while to find out that nobody knows it.
    eventually("the name that nobody knows", async || {
        let problems = http::get(&agent.url("ingress_admin", "/api/problems")).await;
        let problem = problems[0].as_str().unwrap_or_default();
        let is_told = problem.contains("nowhere.invalid");
        is_told.then_some(()).ok_or_else(|| problems.to_string())
    })
    .await;
    // A router rewrites the path.
    let defaults = json!({"Kind": "service-defaults", "Name": "web", "Protocol": "http"});
    put("catalog", "/v1/config", defaults).await;
    let router = json!({
        "Kind": "service-router", "Name": "web",
        "Routes": [{
            "Match": {"HTTP": {"PathPrefix": "/web/old"}},
            "Destination": {"PrefixRewrite": "/new/"},
        }],
    });
    put("catalog", "/v1/config", router).await;
    answers(&agent, "/web/old/x?y=z", "200 from /new/x?y=z").await;
    answers(&agent, "/web/other", "200 from /web/other").await;
    let tested = trivet(&agent, &["route", "test", "/web/old/x"]).await.ok();
    assert!(
        tested.stdout.contains("Path    /new/x"),
        "{}",
        tested.text()
    );
    // When nobody asks for it any more, the name is gone.
    let path = "/v1/agent/service/deregister/web-1";
    put("catalog", path, Value::Null).await;
    agent
        .wait_catalog("/v1/catalog/service/shopfront", |rows| {
            rows.as_array()?.is_empty().then_some(())
        })
        .await;
    served.abort();
}
