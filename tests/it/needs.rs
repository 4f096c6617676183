//! Tests that need a program that not every machine has. Each skips, loudly, where it is missing.

use crate::harness::{Agent, consul::Consul, dns, eventually, http, programs};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The program, or a line that says what is missing.
pub(crate) fn need(program: &str, package: &str) -> Option<PathBuf> {
    let found = programs::find(program);
    if found.is_none() {
        // Straight to the terminal's stream: captured output of a passing test is never shown.
        let text = format!("\nSKIPPED: needs `{program}` (Debian package {package})\n");
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).ok();
    }
    found
}

const TODO_JAVA: &str = r#"
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

public class Todo {
    public static void main(String[] args) throws Exception {
        int port = Integer.getInteger("todo.http.port");
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.createContext("/", exchange -> {
            boolean todo = exchange.getRequestURI().getPath().equals("/todo");
            exchange.getResponseHeaders().add("X-Where", args[0]);
            exchange.sendResponseHeaders(todo ? 204 : 200, -1);
            exchange.close();
        });
        server.start();
    }
}
"#;

fn jar(dir: &Path, javac: &Path, jar: &Path) -> PathBuf {
    std::fs::write(dir.join("Todo.java"), TODO_JAVA).expect("a source file");
    let compiled = Command::new(javac)
        .args(["-d", ".", "Todo.java"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .status()
        .expect("javac starts");
    assert!(compiled.success());
    let classes = std::fs::read_dir(dir)
        .expect("a directory")
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".class"));
    let packed = Command::new(jar)
        .args(["--create", "--file", "todo.jar", "--main-class", "Todo"])
        .args(classes)
        .current_dir(dir)
        .status()
        .expect("jar starts");
    assert!(packed.success());
    dir.join("todo.jar")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_java_the_walkthrough_s_own_shape_runs_a_jar() {
    let (Some(javac), Some(packer)) = (
        need("javac", "default-jdk-headless"),
        need("jar", "default-jdk-headless"),
    ) else {
        return;
    };
    let agent = Agent::start().await;
    let jar = jar(agent.dir(), &javac, &packer);
    // A task-level service, an unnamed check, and the network block behind the task.
    let text = format!(
        r#"
job "todo" {{
  datacenters = ["dc1"]
  group "todo" {{
    count = 2
    task "todo" {{
      driver = "java"
      artifact {{
        source = "{jar}"
      }}
      config {{
        jar_path    = "local/todo.jar"
        jvm_options = ["-Xmx64m", "-Dtodo.http.port=${{NOMAD_PORT_http}}"]
        args        = ["${{NOMAD_IP_http}}:${{NOMAD_PORT_http}}"]
      }}
      resources {{
        cpu    = 100
        memory = 128
      }}
      service {{
        name = "todo"
        port = "http"
        tags = ["urlprefix-/todo"]
        check {{
          type     = "http"
          path     = "/"
          interval = "2s"
          timeout  = "10s"
        }}
      }}
    }}
    network {{
      port "http" {{}}
    }}
  }}
}}
"#,
        jar = jar.display()
    );
    // The driver is found out while the agent runs.
    agent
        .wait("/v1/nodes", |nodes| {
            (nodes[0]["Drivers"]["java"]["Healthy"] == true).then_some(())
        })
        .await;
    agent.register(&text).await;
    crate::walkthrough::targets(&agent, "todo", 2).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let response = http::client()
            .request(Method::GET, agent.url("ingress", "/todo"))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        seen.insert(
            response.headers()["x-where"]
                .to_str()
                .expect("text")
                .to_owned(),
        );
    }
    assert_eq!(seen.len(), 2, "both instances answer: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_redis_the_example_answers_a_ping() {
    if need("redis-server", "redis-server").is_none() {
        return;
    }
    let agent = Agent::start().await;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/examples/redis.nomad");
    let text = std::fs::read_to_string(example).expect("the example");
    agent.register(&text).await;
    let port = agent
        .wait_catalog("/v1/health/service/redis?passing", |entries| {
            entries[0]["Service"]["Port"].as_u64()
        })
        .await;
    let answer = eventually("a pong", || async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut socket = tokio::net::TcpStream::connect(format!("127.0.0.1:{port}"))
            .await
            .map_err(|error| error.to_string())?;
        socket
            .write_all(b"PING\r\n")
            .await
            .map_err(|error| error.to_string())?;
        let mut answer = [0; 7];
        socket
            .read_exact(&mut answer)
            .await
            .map_err(|error| error.to_string())?;
        Ok(answer)
    })
    .await;
    assert_eq!(&answer, b"+PONG\r\n");
}

/// True for root; otherwise prints what is missing.
pub(crate) fn need_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        std::io::Write::write_all(&mut std::io::stderr(), b"\nSKIPPED: needs root\n").ok();
    }
    is_root
}

/// True with that many processors; otherwise prints what is missing.
pub(crate) fn need_cores(count: usize) -> bool {
    let found = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if found < count {
        let text = format!("\nSKIPPED: needs {count} processors\n");
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).ok();
    }
    found >= count
}

/// A process that is ended when dropped.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_dnsmasq_names_are_found_through_a_forwarder() {
    let Some(dnsmasq) = need("dnsmasq", "dnsmasq-base") else {
        return;
    };
    let agent = Agent::start().await;
    let service = json!({"Name": "web", "Port": 8080, "Address": "192.0.2.7", "Tags": ["v1"]});
    http::put(
        &agent.url("catalog", "/v1/agent/service/register"),
        &service,
    )
    .await;
    let names = agent.address("dns");
    eventually("the name itself", || async {
        match dns::srv_ports(names, "web.service.consul.")
            .await
            .as_slice()
        {
            [8080] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let forwarder = SocketAddr::from(([127, 0, 0, 1], agent.own_port(0)));
    let started = Command::new(dnsmasq)
        .args([
            "--no-daemon",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
        ])
        .args(["--user=", "--group=", "--pid-file="])
        .args([
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            "--no-negcache",
        ])
        .arg(format!("--port={}", forwarder.port()))
        .arg(format!("--server=/consul/127.0.0.1#{}", names.port()))
        .arg(format!(
            "--rev-server=192.0.2.0/24,127.0.0.1#{}",
            names.port()
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _ended = Ended(started.expect("dnsmasq starts"));
    eventually("the forwarder", || async {
        let asked = tokio::net::TcpStream::connect(forwarder).await;
        asked.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let ask = |name: &'static str, kind| dns::ask(forwarder, name, kind);
    let found = ask("web.service.consul.", RecordType::SRV).await;
    assert_eq!(dns::ports_of(&found), [8080]);
    let address = ask("v1.web.service.consul.", RecordType::A).await;
    assert_eq!(address.answers[0].data.to_string(), "192.0.2.7");
    let reverse = ask("7.2.0.192.in-addr.arpa.", RecordType::PTR).await;
    let name = reverse.answers[0].data.to_string();
    assert_eq!(name, "web.service.dc1.consul.");
    let missing = ask("none.service.consul.", RecordType::A).await;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    let empty = ask("web.service.consul.", RecordType::AAAA).await;
    assert_eq!(empty.metadata.response_code, ResponseCode::NoError);
    assert!(empty.answers.is_empty(), "{empty:?}");
    let by_tcp = dns::ask_by_tcp(forwarder, "web.service.consul.", RecordType::A).await;
    assert_eq!(by_tcp.answers.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_consul_instances_are_shown_by_a_real_one() {
    let Some(consul) = need("consul", "consul, from its vendor") else {
        return;
    };
    let consul = Consul::start(&consul).await;
    let entries = || async {
        let (status, body) = match http::client()
            .get(consul.url("/v1/health/service/web?passing"))
            .send()
            .await
        {
            Ok(answer) => (answer.status(), answer.text().await.unwrap_or_default()),
            Err(error) => return Err(error.to_string()),
        };
        let list: serde_json::Value =
            serde_json::from_str(&body).map_err(|_| format!("{status} {body}"))?;
        list.as_array().map(Vec::len).ok_or(body)
    };
    let count = |wanted: usize| async move {
        match entries().await {
            Ok(count) if count == wanted => Ok(()),
            Ok(count) => Err(format!("{count} instances")),
            Err(error) => Err(error),
        }
    };
    let block = format!(
        "consul {{\n  address = \"{}\"\n  ingress = true\n}}",
        consul.http()
    );
    let agent = Agent::start_with(crate::harness::agent::Mode::Dev, &block).await;
    let job = crate::harness::Echo::new("web", 2);
    job.register(&agent).await;
    eventually("the instances", || count(2)).await;
    let ports = dns::srv_ports(consul.dns(), "web.service.consul.").await;
    assert_eq!(ports.len(), 2, "{ports:?}");
    // Another one, that the agent has nothing to do with, beside them on the ingress.
    let foreign = json!({"Name": "foreign", "Port": agent.address("http").port(), "Address": "127.0.0.1",
        "Tags": ["urlprefix-/v1/status/leader"]});
    http::put(&consul.url("/v1/agent/service/register"), &foreign).await;
    for path in ["/web", "/v1/status/leader"] {
        eventually("the route", || async {
            let (status, body) = http::send(Method::GET, &agent.url("ingress", path), None).await;
            let is_there = status == StatusCode::OK;
            is_there
                .then_some(())
                .ok_or_else(|| format!("{path}: {status} {body}"))
        })
        .await;
    }
    let stop = ["job", "stop", "-detach", "web"];
    crate::harness::command::trivet(&agent, &stop).await.ok();
    eventually("the end of the instances", || count(0)).await;
}

/// An entry that splits the requests of a service by the version in its labels.
const SPLITTER: &str = "Kind = \"service-splitter\"\nName = \"web\"\nSplits = [\n  { Weight = 90, ServiceSubset = \"v1\" },\n  { Weight = 10, ServiceSubset = \"v2\" },\n]\n";
const RESOLVER: &str = "Kind = \"service-resolver\"\nName = \"web\"\nSubsets = {\n  v1 = { Filter = \"Service.Meta.version == 1\" }\n  v2 = { Filter = \"Service.Meta.version == 2\" }\n}\n";
const DEFAULTS: &str = "Kind = \"service-defaults\"\nName = \"web\"\nProtocol = \"http\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_consul_a_splitter_of_its_command_line_is_obeyed() {
    let Some(consul) = need("consul", "consul, from its vendor") else {
        return;
    };
    let agent = Agent::start().await;
    let mut job =
        crate::rollout::with_canary(&agent, "web", 2, "version = \"1\"", "canary = 1", |_| ())
            .await;
    job.service = "meta {\n version = \"2\"\n rollout_judge = \"off\"\n }".into();
    job.register(&agent).await;
    job.passing(&agent, 3).await;
    for (name, entry) in [
        ("defaults", DEFAULTS),
        ("resolver", RESOLVER),
        ("splitter", SPLITTER),
    ] {
        let file = agent.dir().join(name).with_extension("hcl");
        std::fs::write(&file, entry).expect("a file");
        let written = Command::new(&consul)
            .args(["config", "write"])
            .arg(format!("-http-addr={}", agent.address("catalog")))
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .expect("consul starts");
        let said = String::from_utf8_lossy(&written.stderr).into_owned();
        assert!(written.status.success(), "{name}: {said}");
    }
    crate::rollout::in_force(&agent, 0.1).await;
    let seen = crate::harness::load::spread(&agent.url("ingress", "/web"), 200).await;
    assert!((19..=21).contains(&seen["new"]), "{seen:?}");
    let shown = crate::harness::command::trivet(&agent, &["route", "list"])
        .await
        .ok();
    assert!(shown.stdout.contains("10.00%"), "{}", shown.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_nomad_labels_of_rollouts_pass_its_validation() {
    let Some(nomad) = need("nomad", "nomad, from its vendor") else {
        return;
    };
    let agent = Agent::start().await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/examples/todo-judged.nomad");
    for words in [&["job", "validate"][..], &["job", "run", "-detach"]] {
        let said = Command::new(&nomad)
            .args(words)
            .arg(&file)
            .env("NOMAD_ADDR", agent.url("http", ""))
            .stdin(Stdio::null())
            .output()
            .expect("nomad starts");
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "{words:?}: {text}");
    }
}
