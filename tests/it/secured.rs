//! APIs over TLS: that of the catalog, and that of the operators of the ingress.

use crate::harness::{
    Agent,
    agent::Mode,
    command::{trivet, trivet_with},
    eventually, http,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, client::conn::http2, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::{Signal, kill};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::{Certificate, Client, Identity, StatusCode};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An authority.
pub(crate) struct Authority {
    /// Its certificate.
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// A certificate and its key.
    pub(crate) fn issue(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        (made.pem(), key.serialize_pem())
    }

    /// Somebody who trusts this authority alone.
    pub(crate) fn client(&self, identity: Option<&(String, String)>) -> Client {
        // The provider is set up.
        drop(http::client());
        let trusted = Certificate::from_pem(self.pem.as_bytes()).expect("a certificate");
        let mut client = Client::builder().tls_certs_only([trusted]);
        if let Some((certificate, key)) = identity {
            let pem = format!("{certificate}\n{key}");
            client = client.identity(Identity::from_pem(pem.as_bytes()).expect("an identity"));
        }
        client.build().expect("a client")
    }
}

/// What a client that can speak HTTP/2 is answered; it does.
async fn over_http2(
    authority: &Authority,
    address: SocketAddr,
    (host, path): (&str, &str),
) -> Response<Bytes> {
    let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("an authority");
    let config = ClientConfig::builder().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TcpStream::connect(address).await.expect("a connection");
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = connected.await.expect("they agree");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("they speak HTTP/2");
    tokio::spawn(connection);
    let url = format!("https://{host}:{}{path}", address.port());
    let request = Request::get(url).body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.expect("a request")).await;
    let (head, body) = answer.expect("an answer").into_parts();
    let body = body.collect().await.expect("a body");
    Response::from_parts(head, body.to_bytes())
}

fn put(dir: &Path, (certificate, key): &(String, String)) {
    std::fs::write(dir.join("cert.pem"), certificate).expect("a file");
    std::fs::write(dir.join("key.pem"), key).expect("a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalog_is_answered_over_tls_by_certificates_that_may_change() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (first, second) = (Authority::new(), Authority::new());
    put(dir.path(), &first.issue("localhost"));
    std::fs::write(at("ca.pem"), &first.pem).expect("a file");
    let more = format!(
        "ports {{ https = 0 }}\ntls {{\n  cert_file = \"{}\"\n  key_file = \"{}\"\n}}\n",
        at("cert.pem"),
        at("key.pem")
    );
    let agent = Agent::start_with(Mode::Durable, &more).await;
    let url = |path: &str| format!("https://localhost:{}{path}", agent.address("https").port());

    let client = first.client(None);
    let key = client.put(url("/v1/kv/a")).body("x").send().await;
    let key = key.expect("an answer");
    assert_eq!(key.text().await.expect("a body"), "true");
    let read = http::get(&agent.url("catalog", "/v1/kv/a")).await;
    assert_eq!(read[0]["Value"], "eA==");
    let page = client
        .get(url("/v1/kv/a"))
        .header("origin", "https://evil.example");
    let page = page.send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    let own = url("");
    let page = client
        .get(url("/v1/kv/a"))
        .header("origin", own.trim_end_matches('/'));
    assert_eq!(
        page.send().await.expect("an answer").status(),
        StatusCode::OK
    );
    let strange = second.client(None).get(url("/v1/kv/a")).send().await;
    assert!(strange.is_err(), "{strange:?}");

    let key = ("localhost", "/v1/kv/a?raw");
    let answer = over_http2(&first, agent.address("https"), key).await;
    assert_eq!(
        (answer.status(), &answer.body()[..]),
        (StatusCode::OK, &b"x"[..])
    );

    // The command line, by flags and by the environment.
    let address = url("");
    let shown = trivet(
        &agent,
        &[
            "kv",
            "get",
            "-http-addr",
            &address,
            "-ca-file",
            &at("ca.pem"),
            "a",
        ],
    )
    .await;
    assert_eq!(shown.ok().stdout, "x\n");
    let refused = trivet(&agent, &["kv", "get", "-http-addr", &address, "a"]).await;
    assert_eq!(refused.code, 1, "{}", refused.text());
    let host = format!("localhost:{}", agent.address("https").port());
    let environment = [
        ("CONSUL_HTTP_ADDR", host.as_str()),
        ("CONSUL_HTTP_SSL", "true"),
        ("CONSUL_CACERT", &at("ca.pem")),
    ];
    let shown = trivet_with(&agent, &["kv", "get", "a"], &environment).await;
    assert_eq!(shown.ok().stdout, "x\n");
    let blind = [&environment[..2], &[("CONSUL_HTTP_SSL_VERIFY", "false")]].concat();
    let shown = trivet_with(&agent, &["kv", "get", "a"], &blind).await;
    assert_eq!(shown.ok().stdout, "x\n");

    // A certificate that cannot be used changes nothing; another one counts for new connections.
    std::fs::write(at("cert.pem"), "nothing").expect("a file");
    let refused = trivet(&agent, &["reload"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("cert.pem"), "{}", refused.stderr);
    let still = first.client(None).get(url("/v1/kv/a")).send().await;
    assert_eq!(still.expect("an answer").status(), StatusCode::OK);
    put(dir.path(), &second.issue("localhost"));
    let file = agent.dir().join("agent.hcl");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let verified = format!(
        "tls {{\n  verify_incoming = true\n  ca_file = \"{}\"\n",
        at("ca.pem")
    );
    std::fs::write(&file, text.replace("tls {\n", &verified)).expect("a file");
    kill(agent.pid(), Signal::SIGHUP).expect("the agent runs");
    let known = second.client(Some(&first.issue("client")));
    eventually("the other certificate", async || {
        let answer = known.get(url("/v1/kv/a")).send().await;
        answer.map_err(|error| format!("{error:?}")).map(drop)
    })
    .await;
    let unknown = second.client(None).get(url("/v1/kv/a")).send().await;
    assert!(unknown.is_err(), "{unknown:?}");
    // A connection from before goes on.
    let old = client.get(url("/v1/kv/a")).send().await.expect("an answer");
    assert_eq!(old.status(), StatusCode::OK);
}

/// Puts a certificate of an authority and its key where a source finds it, whole at once.
fn put_whole(file: &Path, (certificate, key): &(String, String)) {
    let whole = file.with_extension("new");
    std::fs::write(&whole, format!("{certificate}\n{key}")).expect("a file");
    std::fs::rename(&whole, file).expect("a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_address_of_the_ingress_is_answered_over_tls() {
    let dir = tempfile::tempdir().expect("a directory");
    let [first, second, third] = [Authority::new(), Authority::new(), Authority::new()];
    for (name, authority) in [("one", &first), ("two", &third)] {
        std::fs::create_dir(dir.path().join(name)).expect("a directory");
        let file = dir.path().join(name).join("own.pem");
        put_whole(&file, &authority.issue("localhost"));
    }
    let block = format!(
        "ingress {{\n  admin_cs = \"own\"\n  certificates \"own\" {{\n    type = \"path\"\n    \
         cert = \"{}/one\"\n    refresh = \"1s\"\n  }}\n}}\n",
        dir.path().display()
    );
    let agent = Agent::start_with(Mode::Durable, &block).await;
    let address = agent.address("ingress_admin");
    let url = |path: &str| format!("https://localhost:{}{path}", address.port());
    let client = first.client(None);
    let status =
        async |request: reqwest::RequestBuilder| request.send().await.expect("an answer").status();
    assert_eq!(status(client.get(url("/health"))).await, StatusCode::OK);
    let manual = client.put(url("/api/manual/team"));
    let manual = manual.body(r##"{"value": "# ours\n", "version": "0"}"##);
    assert_eq!(status(manual).await, StatusCode::OK);
    let plain = http::client().get(agent.url("ingress_admin", "/health"));
    assert!(plain.send().await.is_err());

    // Pages of others are refused here as everywhere.
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("host", "rebound.example"),
    ] {
        let page = client.get(url("/api/routes")).header(name, value);
        assert_eq!(status(page).await, StatusCode::FORBIDDEN, "{name}");
    }
    let own = url("");
    let page = client.get(url("/api/routes"));
    let page = page.header("origin", own.trim_end_matches('/'));
    assert_eq!(status(page).await, StatusCode::OK);
    let page = over_http2(&first, address, ("edge.localhost", "/ui")).await;
    let http = agent.address("http").port();
    let expected = format!("http://edge.localhost:{http}/ui/routes");
    assert_eq!(page.headers()[header::LOCATION], expected);

    // Another certificate, and one of another source after the configuration was read again.
    let trusts = async |authority: &Authority| {
        let opened = authority.client(None).get(url("/health")).send().await;
        opened.map(drop).map_err(|error| error.to_string())
    };
    assert!(trusts(&second).await.is_err());
    put_whole(&dir.path().join("one/own.pem"), &second.issue("localhost"));
    eventually("the second certificate", async || trusts(&second).await).await;
    let file = agent.dir().join("agent.hcl");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    let text = text.replace(
        &format!("{}/one", dir.path().display()),
        &format!("{}/two", dir.path().display()),
    );
    std::fs::write(&file, text).expect("a configuration");
    kill(agent.pid(), Signal::SIGHUP).expect("the agent runs");
    eventually("the third certificate", async || trusts(&third).await).await;
}
