//! A real server in this process, asked over its routers, and one real listener.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use jobs::model::{Node, NodeCpu, NodeDisk, NodeMemory, NodeResources};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower::ServiceExt as _;

use super::{Access, Api, Bodies, Common, Facts, fabio, jobs_router, serve};
use rpc::transport::Listener;
use server::{Config, Server, events::Start};
use sys::callers::{Callers, Cap};

/// Longer than anything here may take on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A server that decides nothing: what is written stays as it was written.
pub(crate) struct Fixture {
    pub(crate) api: Api,
    pub(crate) jobs: Router,
    pub(crate) admin: Router,
    pub(crate) proxy: proxy::Handle,
    /// Canceled when the ingress of this API is to have its routes.
    pub(crate) routed: CancellationToken,
    /// Canceled when the agent of this API is to begin to stop.
    pub(crate) stopping: CancellationToken,
    /// Not run, unless a test asks for one that [leads](Self::leading).
    server: Option<Server>,
    _running: Option<AbortOnDropHandle<()>>,
    _directory: tempfile::TempDir,
}

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("(absent)", |value| value.to_str().unwrap())
    }

    pub(crate) fn index(&self) -> u64 {
        self.header("x-nomad-index").parse().unwrap()
    }

    /// The status and the text of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        assert!(
            self.header("content-type").starts_with("text/plain"),
            "{}",
            self.header("content-type")
        );
        (self.status.as_u16(), &self.body)
    }
}

pub(crate) async fn ask(router: &Router, method: &str, uri: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .body(body.into())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(json!({})).await
    }

    /// With more of a configuration that the API shows.
    pub(crate) async fn start_with(shown: Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let rpc_address = listener.local_addr().to_string();
        let config = Config {
            data_dir: directory.path().to_owned(),
            name: "one".into(),
            datacenter: "dc1".into(),
            region: "global".into(),
            rpc_address: rpc_address.clone(),
            lease: Config::LEASE,
            gc: jobs::control::GcLimits::default(),
            oidc_issuer: None,
            cluster: server::ClusterConfig::default(),
            serves_alone: false,
            tuning: server::Tuning::default(),
        };
        let server = Server::start(config, listener).await.unwrap();
        let ingress = proxy::Config {
            listeners: vec![proxy::Listener::http("127.0.0.1:0".parse().unwrap())],
            ..proxy::Config::default()
        };
        let proxy = proxy::Proxy::bind(ingress).unwrap().handle();
        let facts = Facts {
            name: "one".into(),
            region: "global".into(),
            datacenter: "dc1".into(),
            version: "0.1.0".into(),
            rpc_address,
            node_id: None,
            config: config_with(shown),
            ingress: json!({ "Strategy": "rr" }),
            names: None,
            admin_is_read_only: false,
            told: super::ToldFigures::default(),
            routed: CancellationToken::new(),
            stopping: CancellationToken::new(),
        };
        let (routed, stopping) = (facts.routed.clone(), facts.stopping.clone());
        let api = Api::new(server.handle(), None, Some(proxy.clone()), facts);
        Self {
            jobs: jobs_router(api.clone(), None),
            admin: fabio::router(api.clone()),
            api,
            proxy,
            routed,
            stopping,
            server: Some(server),
            _running: None,
            _directory: directory,
        }
    }

    /// With a server that leads, so that entries are followed.
    pub(crate) async fn leading() -> Self {
        let mut fixture = Self::start().await;
        let server = fixture.server.take().unwrap();
        // Who follows before it leads is told to begin anew.
        let mut early = server.handle().events(Start::Next);
        let running = tokio::spawn(server.run(std::future::pending()));
        fixture._running = Some(AbortOnDropHandle::new(running));
        assert!(early.next().await.is_none());
        fixture
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        ask(&self.jobs, "GET", uri, Body::empty()).await
    }

    pub(crate) async fn put(&self, uri: &str, body: &Value) -> Answer {
        ask(&self.jobs, "PUT", uri, body.to_string()).await
    }

    /// Registers a job and answers with what came back.
    pub(crate) async fn register(&self, id: &str) -> Value {
        let answer = self.put("/v1/jobs", &json!({ "Job": job(id) })).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    pub(crate) async fn add_node(&self, id: &str) {
        self.add_node_in(id, "machine", "dc1").await;
    }

    pub(crate) async fn add_node_in(&self, id: &str, name: &str, datacenter: &str) {
        let node = Node {
            id: id.parse().unwrap(),
            name: name.into(),
            secret_id: "s3cret".to_owned().into(),
            datacenter: datacenter.into(),
            node_pool: "default".into(),
            http_addr: "127.0.0.1:4646".into(),
            node_resources: NodeResources {
                cpu: NodeCpu {
                    cpu_shares: 1000,
                    ..NodeCpu::default()
                },
                memory: NodeMemory { memory_mb: 1000 },
                disk: NodeDisk { disk_mb: 1000 },
                ..NodeResources::default()
            },
            ..Node::default()
        };
        let command = jobs::state::Command::UpsertNode(Box::new(node));
        let (_, outcome) = self.api.server().propose(command).await.unwrap();
        outcome.unwrap();
    }
}

fn config_with(more: Value) -> serde_json::Map<String, Value> {
    let mut config = serde_json::Map::from_iter([("Region".to_owned(), "global".into())]);
    if let Value::Object(more) = more {
        config.extend(more);
    }
    config
}

/// A job as a user of the API posts it.
pub(crate) fn job(id: &str) -> Value {
    json!({
        "ID": id, "Name": id, "Type": "service", "Datacenters": ["dc1"],
        "TaskGroups": [{
            "Name": "app", "Count": 2, "Meta": null,
            "Tasks": [{
                "Name": "server", "Driver": "raw_exec",
                "Config": { "command": "/bin/true" },
            }],
        }],
    })
}

async fn listen(
    fixture: &Fixture,
    callers: Callers,
) -> (
    std::net::SocketAddr,
    CancellationToken,
    tokio::task::JoinHandle<()>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let router = fixture.jobs.clone();
    let common = Common {
        access: Access::new(["x".to_owned()], []),
        bodies: Bodies::default(),
    };
    let stopped = stop.clone().cancelled_owned();
    let served = tokio::spawn(serve(
        super::Listener {
            socket: listener.into(),
            tls: None,
            connections_max: 64,
            callers,
            handshake_max: LONG,
        },
        router,
        common,
        stopped,
    ));
    (address, stop, served)
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_told_so_until_it_has_fewer() {
    let fixture = Fixture::start().await;
    let callers = Callers::new(Cap {
        most: Some(2),
        counts_loopback: true,
    });
    let (address, stop, served) = listen(&fixture, callers).await;
    let ask = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        // One that is turned away may have gone already.
        stream.write_all(request).await.ok();
        let mut answer = String::new();
        timeout(LONG, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        answer
    };
    let first = TcpStream::connect(address).await.unwrap();
    let second = TcpStream::connect(address).await.unwrap();
    let refused = ask().await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains("\r\nConnection: close\r\n"), "{refused}");
    assert!(refused.contains("http_max_conns_per_client"), "{refused}");
    drop(first);
    // Its end takes a moment to be seen.
    let again = timeout(LONG, async {
        loop {
            let answer = ask().await;
            if !answer.starts_with("HTTP/1.1 429 ") {
                return answer;
            }
        }
    });
    let again = again.await.unwrap();
    assert!(again.starts_with("HTTP/1.1 200 "), "{again}");
    drop(second);
    stop.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn a_listener_keeps_connections_and_takes_encoded_ids() {
    let fixture = Fixture::start().await;
    fixture.register("a/b").await;
    let (address, stop, served) = listen(&fixture, Callers::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for path in ["/v1/job/a%2Fb/summary", "/v1/job/a%2fb"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        timeout(LONG, stream.read_exact(&mut start))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        let mut rest = Vec::new();
        while !rest.ends_with(b"}") || !is_complete(&rest) {
            rest.push(timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
        }
    }
    stop.cancel();
    timeout(LONG, served).await.unwrap().unwrap();
}

/// True when the JSON behind the head has ended.
fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
    body.is_some_and(|body| serde_json::from_str::<Value>(body).is_ok())
}

#[tokio::test]
async fn a_stopping_listener_answers_those_who_wait() {
    let fixture = Fixture::start().await;
    let index = fixture.register("web").await["Index"].as_u64().unwrap();
    let (address, stop, served) = listen(&fixture, Callers::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/jobs?index={} HTTP/1.1\r\nHost: x\r\n\r\n",
        index + 1000
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    // Wait until the request is really waiting.
    let begun = async {
        while fixture.api.shared.waits.count() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, begun).await.unwrap();
    stop.cancel();
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    timeout(LONG, served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_announced_or_not() {
    let fixture = Fixture::start().await;
    let large = vec![b' '; super::body::BODY_BYTES_MAX + 1];
    let answer = ask(&fixture.jobs, "PUT", "/v1/jobs", large.clone()).await;
    assert_eq!(answer.refusal().0, 413);
    let pieces = large
        .chunks(1 << 20)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
        .collect::<Vec<_>>();
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let answer = ask(&fixture.jobs, "PUT", "/v1/jobs", body).await;
    assert_eq!(answer.refusal().0, 413);
}
