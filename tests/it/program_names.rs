//! The program under the name of one that it stands in for.

use crate::{
    harness::{
        Agent, DEADLINE,
        agent::{Mode, TRIVET},
        eventually, http,
    },
    secured::Authority,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    time::timeout,
};

/// What a client's test suite writes for the agent that it starts.
const SUITE: &str = r#"{
  "name": "node-suite", "region": "global", "data_dir": "DIR", "log_level": "DEBUG",
  "disable_update_check": true, "enable_debug": true, "bind_addr": "127.0.0.1",
  "ports": {"http": 0, "rpc": 0, "serf": 0},
  "server": {"enabled": true, "bootstrap_expect": 1},
  "client": {"enabled": false, "options": {"driver.raw_exec.enable": "1"}},
  "vault": {"enabled": false}, "telemetry": {"disable_hostname": true}
}"#;

/// The program under another name.
pub(crate) struct Named {
    child: Child,
    /// Listener name to its address, as it printed it.
    pub(crate) listeners: BTreeMap<String, SocketAddr>,
    /// What it said on standard error.
    log: PathBuf,
    /// Where it was started.
    pub(crate) dir: TempDir,
}

impl Named {
    /// Starts it with a configuration file and further arguments, as `PROGRAM agent -config=FILE`.
    async fn start(program: &str, config: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        let data = path("data").display().to_string();
        std::fs::write(path("agent.json"), config.replace("DIR", &data)).expect("a file");
        let config = format!("-config={}", path("agent.json").display());
        let own = ["agent", &config];
        let arguments: Vec<&str> = own.into_iter().chain(arguments.iter().copied()).collect();
        Self::run(program, dir, &arguments, &[]).await
    }

    /// Starts it in a directory with arguments and variables.
    pub(crate) async fn run(
        program: &str,
        dir: TempDir,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let path = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink(TRIVET, path(program)).expect("a link");
        let log = path("agent.log");
        let mut child = Command::new(path(program))
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .kill_on_drop(true)
            .spawn()
            .expect("the program");
        let listeners = timeout(DEADLINE, banner(&mut child)).await;
        let listeners = listeners.unwrap_or_else(|_| panic!("{} did not start", read(&log)));
        assert!(!listeners.is_empty(), "it ended: {}", read(&log));
        Self {
            listeners,
            child,
            log,
            dir,
        }
    }

    fn url(&self, path: &str) -> String {
        self.url_of("http", path)
    }

    pub(crate) fn url_of(&self, listener: &str, path: &str) -> String {
        format!("http://{}{path}", self.listeners[listener])
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().expect("it runs")).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Asks it to stop; what it said.
    pub(crate) async fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let ended = timeout(DEADLINE, self.child.wait()).await;
        let ended = ended.expect("an end in time").expect("a status");
        assert!(ended.success(), "{ended}");
        read(&self.log)
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Reads which listeners there are until the agent takes work, or ends.
async fn banner(child: &mut Child) -> BTreeMap<String, SocketAddr> {
    let stdout = child.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let mut listeners = BTreeMap::new();
    while let Some(line) = lines.next_line().await.expect("a line") {
        if line.contains(" started!") {
            break;
        }
        let pair = line.trim().split_once(": ");
        if let Some((name, Ok(address))) = pair.map(|(name, text)| (name, text.parse())) {
            listeners.insert(name.to_owned(), address);
        }
    }
    // The rest is read, so that writing it never blocks.
    tokio::spawn(async move { lines.into_inner().read_to_end(&mut Vec::new()).await });
    listeners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_the_scheduler_it_starts_only_jobs() {
    let arguments = [
        "-node=other",
        "-network-interface",
        "lo",
        "-network-speed",
        "10",
        "-meta",
        "a=b",
    ];
    let agent = Named::start("nomad", SUITE, &arguments).await;
    let names: Vec<&str> = agent.listeners.keys().map(String::as_str).collect();
    assert_eq!(names, ["http", "rpc", "serf"]);
    for path in ["/v1/metrics", "/.well-known/jwks.json"] {
        let (status, text) = http::send(Method::GET, &agent.url(path), None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
    }
    let own = http::get(&agent.url("/v1/agent/self")).await;
    assert_eq!(own["member"]["Name"], "other.global", "{own}");
    let said = agent.stop().await;
    for key in ["vault", "-network-speed"] {
        let warning = format!("`{key}` is known and not acted on");
        assert!(said.contains(&warning), "{warning}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_configured_runs_under_any_name() {
    let config = SUITE.replace(
        "\"vault\"",
        "\"catalog\": {\"enabled\": true}, \"dns\": {\"enabled\": true}, \"vault\"",
    );
    let ports = "\"http\": 0, \"catalog\": 0, \"dns\": 0,";
    let agent = Named::start("nomad", &config.replace("\"http\": 0,", ports), &[]).await;
    let names: Vec<&str> = agent.listeners.keys().map(String::as_str).collect();
    assert_eq!(names, ["catalog", "dns", "http", "rpc", "serf"]);
    agent.stop().await;
}

/// A server that says its name and the path, registered with the agent as an instance of `web`.
async fn instance(agent: &Agent, name: &'static str, tags: &[&str], check: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let told = move |uri: axum::http::Uri| async move { format!("{name} {uri}") };
        let router = axum::Router::new().fallback(told);
        axum::serve(listener, router).await.expect("it serves");
    });
    let service = json!({
        "ID": name, "Name": "web", "Address": "127.0.0.1", "Port": address.port(), "Tags": tags,
        "Check": {"CheckID": format!("check-{name}"), "TTL": "1h", "Status": check},
    });
    put(agent, "/v1/agent/service/register", &service).await;
    address
}

async fn put(agent: &Agent, path: &str, body: &Value) {
    let sent = http::send(Method::PUT, &agent.url("catalog", path), Some(body)).await;
    assert_eq!(sent.0, StatusCode::OK, "{path}: {}", sent.1);
}

impl Named {
    /// Waits until the ingress answers a path so.
    async fn answers(&self, path: &str, expected: &str) {
        eventually(expected, async || {
            let (status, text) = http::send(Method::GET, &self.url_of("ingress", path), None).await;
            let seen = format!("{} {text}", status.as_u16());
            if seen == expected { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    /// Makes sure that the first problem of the ingress speaks of this.
    async fn has_problem(&self, wanted: &str) {
        let problems = http::get(&self.url_of("ingress_admin", "/api/problems")).await;
        let first = problems[0].as_str();
        assert!(
            first.is_some_and(|text| text.contains(wanted)),
            "{problems}"
        );
    }
}

/// Waits until so many instances of a service are in the catalog and pass all their checks.
async fn passing(agent: &Agent, service: &str, count: usize) {
    let path = format!("/v1/health/service/{service}");
    agent
        .wait_catalog(&path, |rows| {
            let rows = rows.as_array()?;
            let passes = |row: &Value| {
                let checks = row["Checks"].as_array().cloned().unwrap_or_default();
                checks.iter().all(|check| check["Status"] == "passing")
            };
            (rows.len() == count && rows.iter().all(passes)).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_the_ingress_it_carries_what_a_catalog_elsewhere_knows() {
    let agent = Agent::start_with(Mode::Durable, "ingress { enabled = false }").await;
    let tags = ["p-/web strip=/web register=shopfront", "v1"];
    instance(&agent, "one", &tags, "passing").await;
    instance(&agent, "two", &tags, "warning").await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("fabio.properties");
    // The file says one address of the catalog, the variable another, and the flag the right one.
    let text = "registry.consul.addr = 192.0.2.1:1\n\
                registry.consul.tagprefix = p-\n\
                registry.consul.kvpath = /my/routes\n\
                registry.consul.register.name = edge\n\
                registry.consul.register.tags = a,b\n\
                registry.consul.register.addr = 127.0.0.1:0\n\
                registry.timeout = 3s\n\
                proxy.addr = 127.0.0.1:0, 127.0.0.1:0;proto=prometheus\n\
                proxy.deregistergraceperiod = 1h\n\
                proxy.shutdownwait = \\\n  5s\n";
    std::fs::write(&file, text).expect("a file");
    let catalog = agent.address("catalog").to_string();
    let cfg = file.display().to_string();
    let arguments = [
        "-cfg",
        &cfg,
        "--registry.consul.addr",
        &catalog,
        "-insecure",
        "-ui.path=/fabio",
    ];
    let variables = [
        ("FABIO_REGISTRY_CONSUL_ADDR", "192.0.2.2:2"),
        ("ui_addr", "127.0.0.1:0"),
        ("proxy_strategy", "rr"),
    ];
    let edge = Named::run("fabio", dir, &arguments, &variables).await;
    let names: Vec<&str> = edge.listeners.keys().map(String::as_str).collect();
    assert_eq!(names, ["ingress", "ingress_admin", "metrics"]);

    // Only the instance whose check passes gets requests.
    edge.answers("/web/x?y=z", "200 one /x?y=z").await;
    for _ in 0..4 {
        edge.answers("/web/", "200 one /").await;
    }
    edge.answers("/other", "404 ").await;
    // It is a service there, by its own name and by that which a route asks for.
    passing(&agent, "edge", 1).await;
    passing(&agent, "shopfront", 1).await;
    let rows = http::get(&agent.url("catalog", "/v1/catalog/service/edge")).await;
    let admin = edge.listeners["ingress_admin"];
    assert_eq!(rows[0]["ServicePort"], admin.port(), "{rows}");
    assert_eq!(rows[0]["ServiceAddress"], "127.0.0.1");
    assert_eq!(rows[0]["ServiceTags"], json!(["a", "b"]));
    let id = rows[0]["ServiceID"].as_str().expect("an id");
    assert!(
        id.starts_with("edge-") && id.ends_with(&format!("-{}", admin.port())),
        "{id}"
    );

    // Texts of operators are keys there, written there or through the admin address.
    let url = edge.url_of("ingress_admin", "/fabio/api/manual/team");
    let one = http::get(&edge.url_of("ingress_admin", "/fabio/api/routes")).await;
    let target = one[0]["dst"].as_str().expect("a target").to_owned();
    let line = format!("route add extra /extra {target}\n");
    let body = json!({"value": line, "version": "0"});
    let sent = http::send(Method::PUT, &url, Some(&body)).await;
    assert_eq!(sent.0, StatusCode::OK, "{}", sent.1);
    edge.answers("/extra", "200 one /extra").await;
    let again = http::send(Method::PUT, &url, Some(&body)).await;
    assert_eq!(again.0, StatusCode::CONFLICT, "{}", again.1);
    let paths = http::get(&edge.url_of("ingress_admin", "/fabio/api/paths")).await;
    assert_eq!(paths, json!(["team"]));
    let key = agent.url("catalog", "/v1/kv/my/routes/team?raw");
    let kept = http::client().get(key).send().await.expect("an answer");
    assert_eq!(kept.text().await.expect("text"), line);
    let page = agent.url("catalog", "/v1/kv/fabio/noroute.html");
    let sent = http::client().put(page).body("<p>none</p>").send().await;
    assert!(sent.expect("an answer").status().is_success());
    edge.answers("/other", "404 <p>none</p>").await;
    let (status, metrics) = http::send(Method::GET, &edge.url_of("metrics", "/"), None).await;
    assert!(
        status.is_success()
            && [
                "trivet_ingress_attempts_total{",
                "fabio_route_count{service=\"web\"",
                "\nfabio_notfound "
            ]
            .iter()
            .all(|name| metrics.contains(name)),
        "{metrics}"
    );

    // What its check says counts at once, and so does what is gone.
    put(&agent, "/v1/agent/check/pass/check-two", &Value::Null).await;
    eventually("both of them", async || {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..4 {
            let url = edge.url_of("ingress", "/web/");
            seen.insert(http::send(Method::GET, &url, None).await.1);
        }
        (seen.len() == 2)
            .then_some(())
            .ok_or_else(|| format!("{seen:?}"))
    })
    .await;
    put(&agent, "/v1/agent/service/deregister/one", &Value::Null).await;
    edge.answers("/web/", "200 two /").await;

    // When it stops, it is taken out first, and serves on for the grace.
    edge.signal(Signal::SIGTERM);
    passing(&agent, "edge", 0).await;
    passing(&agent, "shopfront", 0).await;
    edge.answers("/web/", "200 two /").await;
    let (status, _) = http::send(Method::GET, &edge.url_of("ingress_admin", "/health"), None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let said = edge.stop().await;
    for key in ["insecure", "registry.timeout"] {
        let warning = format!("`{key}` is not acted on: ");
        assert!(said.contains(&warning), "{warning}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_the_ingress_it_is_asked_over_tls() {
    let agent = Agent::start_with(Mode::Durable, "ingress { enabled = false }").await;
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let put = |authority: &Authority, dir: &Path| {
        let (certificate, key) = authority.issue("localhost");
        let whole = dir.join("certificates/own.new");
        std::fs::write(&whole, format!("{certificate}\n{key}")).expect("a file");
        std::fs::rename(&whole, whole.with_extension("pem")).expect("a file");
    };
    std::fs::create_dir(dir.path().join("certificates")).expect("a directory");
    put(&authority, dir.path());
    let source = format!(
        "cs=own;type=path;cert={}/certificates;refresh=1s",
        dir.path().display()
    );
    let catalog = agent.address("catalog").to_string();
    let arguments = [
        "-registry.consul.addr",
        &catalog,
        "-registry.consul.register.addr=127.0.0.1:0",
        "-registry.consul.register.checkTLSSkipVerify",
        "-proxy.cs",
        &source,
        "-proxy.addr=127.0.0.1:0,127.0.0.1:0;proto=prometheus;cs=own",
        "-ui.addr=127.0.0.1:0;cs=own",
    ];
    let edge = Named::run("fabio", dir, &arguments, &[]).await;
    let secured = |listener: &str, path: &str| {
        let port = edge.listeners[listener].port();
        format!("https://localhost:{port}{path}")
    };
    // The check of its own service asks over TLS, and takes whatever certificate there is.
    passing(&agent, "fabio", 1).await;
    let client = authority.client(None);
    for (listener, path) in [
        ("ingress_admin", "/health"),
        ("ingress_admin", "/api/version"),
        ("metrics", "/metrics"),
    ] {
        let answer = client.get(secured(listener, path)).send().await;
        let status = answer.expect("an answer").status();
        assert_eq!(status, StatusCode::OK, "{listener} {path}");
        let plain = http::client().get(edge.url_of(listener, path)).send().await;
        assert!(plain.is_err(), "{listener} {path}");
    }
    let page = client.get(secured("ingress_admin", "/api/routes"));
    let page = page.header("origin", "https://evil.example").send().await;
    assert_eq!(page.expect("an answer").status(), StatusCode::FORBIDDEN);
    let next = Authority::new();
    put(&next, edge.dir.path());
    eventually("another certificate", async || {
        let url = secured("ingress_admin", "/health");
        let answer = next.client(None).get(url).send().await;
        answer.map(drop).map_err(|error| error.to_string())
    })
    .await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_the_ingress_it_takes_routes_from_a_file() {
    let agent = Agent::start().await;
    let one = instance(&agent, "one", &[], "passing").await;
    let two = instance(&agent, "two", &[], "passing").await;
    let dir = tempfile::tempdir().expect("a directory");
    let (routes, page) = (dir.path().join("routes"), dir.path().join("page"));
    std::fs::write(&routes, format!("route add a / http://{one}/\n")).expect("a file");
    std::fs::write(&page, "nothing here").expect("a file");
    let own = |key: &str, path: &Path| format!("-registry.file.{key}={}", path.display());
    let (own_routes, own_page) = (own("path", &routes), own("noroutehtmlpath", &page));
    let arguments = [
        "-registry.backend=file",
        &own_routes,
        &own_page,
        "-proxy.addr=127.0.0.1:0",
        "-ui.addr=127.0.0.1:0",
        "-ui.access=ro",
    ];
    let edge = Named::run("fabio", dir, &arguments, &[]).await;
    edge.answers("/x", "200 one /x").await;
    let text = format!("route add a /a http://{two}/\nnonsense\n");
    std::fs::write(edge.dir.path().join("routes"), text).expect("a file");
    edge.answers("/a/x", "200 two /a/x").await;
    edge.answers("/x", "404 nothing here").await;
    edge.has_problem("line 2").await;
    let body = json!({"value": "", "version": "0"});
    let url = edge.url_of("ingress_admin", "/api/manual");
    let (status, text) = http::send(Method::PUT, &url, Some(&body)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_the_ingress_it_takes_routes_from_a_server() {
    let backend = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = backend.local_addr().expect("an address");
    // What is asked for last, and the answer.
    let (asked, mut asks) = tokio::sync::watch::channel(String::new());
    let add = |path: &str| {
        let dst = format!("http://{target}/");
        json!({"cmd": "route add", "service": "web", "src": path, "dst": dst, "weight": 0})
    };
    let (answer, answers) = tokio::sync::watch::channel((StatusCode::OK, json!([add("/one")])));
    tokio::spawn(async move {
        let router = axum::Router::new().fallback(move |uri: axum::http::Uri| {
            if uri.path() == "/routes" {
                asked.send_replace(uri.to_string());
            }
            let (status, body) = answers.borrow().clone();
            async move {
                match uri.path() {
                    "/routes" => (status, body.to_string()),
                    path => (StatusCode::OK, format!("web {path}")),
                }
            }
        });
        axum::serve(backend, router).await.expect("it serves");
    });
    let host = format!("-registry.custom.host={target}");
    let arguments = [
        "-registry.backend=custom",
        "-registry.custom.scheme=http",
        "-registry.custom.path=routes",
        "-registry.custom.queryparams=env=prod",
        "-registry.custom.pollinterval=1s",
        &host,
        "-proxy.addr=127.0.0.1:0",
        "-ui.addr=127.0.0.1:0",
    ];
    let dir = tempfile::tempdir().expect("a directory");
    let edge = Named::run("fabio", dir, &arguments, &[]).await;
    edge.answers("/one", "200 web /one").await;
    assert_eq!(*asks.borrow_and_update(), "/routes?env=prod");
    answer.send_replace((StatusCode::OK, json!([add("/two"), {"cmd": "route what"}])));
    edge.answers("/two", "200 web /two").await;
    edge.answers("/one", "404 ").await;
    edge.has_problem("line 2").await;
    // While it has no answer, its last word counts.
    answer.send_replace((StatusCode::INTERNAL_SERVER_ERROR, json!([])));
    for _ in 0..2 {
        asks.borrow_and_update();
        let more = timeout(DEADLINE, asks.changed()).await;
        more.expect("it asks on").expect("the server runs");
    }
    edge.answers("/two", "200 web /two").await;
    let said = edge.stop().await;
    assert_eq!(said.matches("routes stay as they are").count(), 1, "{said}");
    for line in [
        format!("routes: + route add web /one http://{target}/"),
        format!("routes: - route add web /one http://{target}/"),
        format!("routes: + route add web /two http://{target}/"),
    ] {
        assert_eq!(said.matches(&line).count(), 1, "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_the_ingress_it_says_all_that_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("fabio");
    std::os::unix::fs::symlink(TRIVET, &program).expect("a link");
    let ran = async |arguments: &[&str]| {
        let ran = Command::new(&program).args(arguments).output().await;
        let ran = ran.expect("the program");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
    };
    let wrong = [
        "-proxy.port=1",
        "-proxy.cs=cs=a;type=vault;cert=x",
        "-ui.access=none",
    ];
    let (code, _, said) = ran(&wrong).await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "`proxy.port`",
        "no vault is asked here",
        "`ui.access` is `none`",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for flag in ["-v", "-version", "--version"] {
        let (code, said, _) = ran(&[flag]).await;
        assert_eq!(code, Some(0));
        assert!(said.contains(env!("CARGO_PKG_VERSION")), "{flag}: {said}");
    }
    let (code, said, _) = ran(&["-help"]).await;
    assert_eq!(code, Some(0));
    assert!(
        said.contains("registry.consul.addr = localhost:8500"),
        "{said}"
    );
    let (code, _, said) = ran(&["-cfg", "/nowhere"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot read `/nowhere`"), "{said}");
}
