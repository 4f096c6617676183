//! A Fabio beside the agent, pointed at its catalog API: the program itself where it is installed,
//! and a double that makes the same requests everywhere.

use crate::harness::{Agent, DEADLINE, agent::Mode, eventually, http};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path, process::Stdio};
use tokio::{net::TcpListener, time::timeout};

async fn put(agent: &Agent, path: &str, body: Value) -> (StatusCode, String) {
    http::send(Method::PUT, &agent.url("catalog", path), Some(&body)).await
}

/// A server that answers everything, registered as `web` with a route and a check.
async fn registered(agent: &Agent) -> tokio::task::JoinHandle<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = tokio::spawn(async move {
        let router = axum::Router::new().fallback(|| async { "from web" });
        axum::serve(listener, router).await.expect("it serves");
    });
    let service = json!({
        "ID": "web-1", "Name": "web", "Address": "127.0.0.1", "Port": address.port(),
        "Tags": ["urlprefix-/web strip=/web", "v1"],
        "check": {"http": format!("http://{address}/"), "interval": "1s", "timeout": "3s"},
    });
    let done = put(agent, "/v1/agent/service/register", service).await;
    assert_eq!(done.0, StatusCode::OK, "{}", done.1);
    served
}

/// The double: what the program asks for, by its rules.
struct Double<'a> {
    agent: &'a Agent,
    index: String,
}

impl Double<'_> {
    /// An answer with its index, waiting for a newer one.
    async fn read(&mut self, path: &str) -> (StatusCode, Value) {
        let url = self.agent.url(
            "catalog",
            &format!("{path}consistent=&index={}", self.index),
        );
        let answer = timeout(DEADLINE, http::client().get(url).send()).await;
        let answer = answer.expect("an answer in time").expect("an answer");
        let index = answer.headers().get("x-consul-index").expect("an index");
        self.index = index.to_str().expect("text").to_owned();
        assert_ne!(self.index, "0", "{path}");
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Source and address of each route, of services that pass.
    async fn routes(&mut self) -> BTreeSet<String> {
        let (status, checks) = self.read("/v1/health/state/any?").await;
        assert_eq!(status, StatusCode::OK);
        let checks = checks.as_array().expect("checks").clone();
        let is_routed = |check: &&Value| {
            let tags = check["ServiceTags"].as_array().cloned().unwrap_or_default();
            let mut tags = tags.iter().filter_map(Value::as_str);
            check["Status"] == "passing" && tags.any(|tag| tag.starts_with("urlprefix-"))
        };
        let names: BTreeSet<&str> = checks
            .iter()
            .filter(is_routed)
            .filter_map(|check| check["ServiceName"].as_str())
            .collect();
        let mut routes = BTreeSet::new();
        for name in names {
            let path = format!("/v1/catalog/service/{name}?consistent=");
            let rows = http::get(&self.agent.url("catalog", &path)).await;
            for row in rows.as_array().expect("rows") {
                let address = row["ServiceAddress"].as_str().expect("an address");
                let port = row["ServicePort"].as_u64().expect("a port");
                let tags = row["ServiceTags"].as_array().expect("tags");
                let sources = tags.iter().filter_map(Value::as_str);
                let sources = sources.filter_map(|tag| tag.strip_prefix("urlprefix-"));
                routes.extend(sources.map(|tag| {
                    let source = tag.split(' ').next().unwrap_or_default();
                    format!("{source} http://{address}:{port}/")
                }));
            }
        }
        routes
    }
}

/// The routes of the agent's own ingress, in the same form.
async fn own_routes(agent: &Agent) -> BTreeSet<String> {
    let rows = http::get(&agent.url("ingress_admin", "/api/routes")).await;
    let rows = rows.as_array().cloned().unwrap_or_default();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let line = |row: &Value| format!("{} {}", text(row, "src"), text(row, "dst"));
    rows.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_double_of_fabio_finds_the_routes_that_the_ingress_has() {
    let agent = Agent::start_with(Mode::Durable, "").await;
    let own = http::get(&agent.url("catalog", "/v1/agent/self")).await;
    assert_eq!(own["Config"]["Datacenter"], "dc1");
    let mut double = Double {
        agent: &agent,
        index: "0".into(),
    };
    assert_eq!(double.routes().await, BTreeSet::new());
    let served = registered(&agent).await;
    // Each answer waits for a change.
    let routes = loop {
        let routes = double.routes().await;
        if !routes.is_empty() {
            break routes;
        }
    };
    eventually("the route of the ingress", async || {
        let own = own_routes(&agent).await;
        (own == routes)
            .then_some(())
            .ok_or_else(|| format!("{own:?}, not {routes:?}"))
    })
    .await;

    // Overrides: the prefix is waited for before there is a key.
    let mut keys = Double {
        agent: &agent,
        index: "0".into(),
    };
    let (status, _) = keys.read("/v1/kv/fabio/config?recurse=&").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let waiting = keys.read("/v1/kv/fabio/config?recurse=&");
    let url = agent.url("catalog", "/v1/kv/fabio/config/team?cas=0");
    let write = http::client()
        .put(&url)
        .body("route del web\nnonsense\n")
        .send();
    let ((status, rows), written) = tokio::join!(waiting, write);
    assert_eq!(
        written.expect("an answer").text().await.expect("text"),
        "true"
    );
    assert_eq!(
        (status, &rows[0]["Key"]),
        (StatusCode::OK, &json!("fabio/config/team"))
    );
    let again = http::client()
        .put(&url)
        .body("")
        .send()
        .await
        .expect("an answer");
    assert_eq!(again.text().await.expect("text"), "false");
    // The ingress obeys the same keys; the line that is none keeps nothing else out.
    eventually("the override", async || {
        let own = own_routes(&agent).await;
        own.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{own:?}"))
    })
    .await;
    let problems = http::get(&agent.url("ingress_admin", "/api/problems")).await;
    let problem = problems[0].as_str().unwrap_or_default().to_owned();
    assert!(
        problem.starts_with("key `fabio/config/team` line 2: "),
        "{problems}"
    );
    let manual = http::get(&agent.url("ingress_admin", "/api/manual/team")).await;
    assert_eq!(manual["value"], "route del web\nnonsense\n");

    // Its own registration, with a check of its own kind.
    let service = json!({
        "ID": "fabio-host-9998", "Name": "fabio", "Address": "127.0.0.1", "Port": 9998, "Tags": [],
        "Namespace": "",
        "Checks": [{"CheckID": "fabio-host-9998-ttl", "TTL": "15s", "DeregisterCriticalServiceAfter": "1m0s"}],
    });
    assert_eq!(
        put(&agent, "/v1/agent/service/register", service).await.0,
        StatusCode::OK
    );
    let passing = json!({ "Status": "passing", "Output": "" });
    let update = put(
        &agent,
        "/v1/agent/check/update/fabio-host-9998-ttl",
        passing,
    )
    .await;
    assert_eq!(update.0, StatusCode::OK, "{}", update.1);
    let gone = put(
        &agent,
        "/v1/agent/service/deregister/fabio-host-9998",
        Value::Null,
    )
    .await;
    assert_eq!(gone.0, StatusCode::OK, "{}", gone.1);
    served.abort();
}

/// The program on the path, or a line that says that it is missing.
fn program() -> Option<std::path::PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut places = path.split(':').map(|dir| Path::new(dir).join("fabio"));
    let found = places.find(|file| file.is_file());
    if found.is_none() {
        let text = "\nSKIPPED: needs `fabio` on the path\n";
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).ok();
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_fabio_it_routes_what_the_catalog_has() {
    let Some(program) = program() else { return };
    let agent = Agent::start_with(Mode::Durable, "").await;
    let _served = registered(&agent).await;
    let (proxy, admin) = (agent.own_port(0), agent.own_port(1));
    let _fabio = tokio::process::Command::new(program)
        .args([
            "-registry.consul.addr",
            &agent.address("catalog").to_string(),
        ])
        .args(["-proxy.addr", &format!("127.0.0.1:{proxy}")])
        .args(["-ui.addr", &format!("127.0.0.1:{admin}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("fabio starts");
    let url = format!("http://127.0.0.1:{proxy}/web/x");
    eventually("an answer through fabio", async || {
        let answer = http::client().get(&url).send().await;
        let text = answer.map_err(|error| error.to_string())?.text().await;
        let text = text.map_err(|error| error.to_string())?;
        (text == "from web").then_some(()).ok_or(text)
    })
    .await;
}
