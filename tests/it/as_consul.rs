//! The program under the name of the catalog that it stands in for.

use crate::{
    harness::{agent::TRIVET, dns, eventually, http},
    program_names::Named,
    secured::Authority,
};
use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{os::unix::fs::symlink, path::Path, time::Duration};
use tempfile::TempDir;
use tokio::{process::Command, time::interval};

/// What a published file of a server says, with ports that nobody has.
const SERVER: &str = r#"
datacenter = "East"
data_dir = "DIR/data"
node_name = "first"
server = true
bootstrap_expect = 1
bind_addr = "127.0.0.1"
encrypt = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
enable_local_script_checks = true
ports {
  http = 0
  dns = 0
  server = 0
  grpc = -1
}
performance {
  raft_multiplier = 1
}
service {
  name = "web"
  port = 80
  address = "10.1.1.1"
  check {
    args = ["true"]
    interval = "1h"
    status = "passing"
  }
}
"#;

fn write(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    let text = text.replace("DIR", &dir.path().display().to_string());
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

async fn server(text: &str, arguments: &[&str]) -> Named {
    let dir = tempfile::tempdir().expect("a directory");
    let file = write(&dir, "server.hcl", text);
    let own = ["agent", "-config-file", &file];
    let arguments: Vec<&str> = own.into_iter().chain(arguments.iter().copied()).collect();
    Named::run("consul", dir, &arguments, &[]).await
}

/// Runs the command line by the same name against an agent.
async fn consul(agent: &Named, arguments: &[&str]) -> String {
    let ran = Command::new(agent.dir.path().join("consul"))
        .args(arguments)
        .env("CONSUL_HTTP_ADDR", agent.url_of("catalog", ""))
        .output()
        .await
        .expect("the program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&ran.stdout), text(&ran.stderr));
    assert!(ran.status.success(), "{arguments:?}: {stdout}{stderr}");
    stdout
}

/// Waits until a service has so many instances in the catalog that an agent answers from.
async fn instances(agent: &Named, service: &str, count: usize) -> Value {
    let url = agent.url_of("catalog", &format!("/v1/health/service/{service}"));
    http::wait_until(&url, "x-consul-index", |rows| {
        (rows.as_array()?.len() == count).then(|| rows.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_the_catalog_and_nothing_else() {
    // One agent alone: what a node leaves on its machine is told apart by its id.
    let id = "-node-id=f1f2f3f4-0000-4000-8000-00000000000A";
    let agent = server(SERVER, &["-ui", id]).await;
    let names: Vec<&str> = agent.listeners.keys().map(String::as_str).collect();
    assert_eq!(names, ["catalog", "dns", "rpc"]);
    let own = http::get(&agent.url_of("catalog", "/v1/agent/self")).await;
    assert_eq!(own["Config"]["NodeName"], "first", "{own}");
    assert_eq!(own["Config"]["Datacenter"], "east", "{own}");
    let id = "f1f2f3f4-0000-4000-8000-00000000000a";
    assert_eq!(own["Config"]["NodeID"], id, "{own}");
    let stats = &own["Stats"];
    assert_eq!(stats["consul"]["leader"], "true", "{stats}");
    assert_eq!(stats["raft"]["state"], "Leader", "{stats}");
    assert_eq!(stats["raft"]["num_peers"], "0", "{stats}");
    assert_eq!(
        stats["build"]["version"], own["Config"]["Version"],
        "{stats}"
    );
    let leader = http::get(&agent.url_of("catalog", "/v1/status/leader")).await;
    assert_eq!(leader, agent.listeners["rpc"].to_string());

    // What its file defines, in the API and by name.
    let rows = instances(&agent, "web", 1).await;
    assert_eq!(rows[0]["Service"]["Address"], "10.1.1.1", "{rows}");
    let name = "web.service.east.consul.";
    let answer = dns::ask(agent.listeners["dns"], name, RecordType::A).await;
    assert_eq!(answer.answers.len(), 1, "{answer:?}");

    // Its command line.
    consul(&agent, &["kv", "put", "a/b", "value"]).await;
    assert_eq!(consul(&agent, &["kv", "get", "a/b"]).await, "value\n");
    let members = consul(&agent, &["members"]).await;
    assert!(members.contains("first"), "{members}");
    let version = consul(&agent, &["version", "-format=json"]).await;
    let version: Value = serde_json::from_str(&version).expect("an object");
    assert_eq!(version["Version"], own["Config"]["Version"], "{version}");
    assert_eq!(version["Trivet"], env!("CARGO_PKG_VERSION"));
    let version = consul(&agent, &["version"]).await;
    assert!(version.starts_with("Consul v1."), "{version}");

    // What changes in its file is taken over.
    let file = agent.dir.path().join("server.hcl");
    let text = std::fs::read_to_string(&file).expect("the file");
    let text = text.replace("name = \"web\"", "name = \"shop\"");
    std::fs::write(&file, text).expect("the file");
    agent.signal(Signal::SIGHUP);
    instances(&agent, "shop", 1).await;
    instances(&agent, "web", 0).await;

    let said = agent.stop().await;
    for name in ["encrypt", "performance", "ui_config.enabled"] {
        let note = format!("`{name}` is not acted on: ");
        assert!(said.contains(&note), "{note}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_beside_the_servers_is_told_them_and_registers_with_them() {
    let first = server(SERVER, &[]).await;
    let dir = tempfile::tempdir().expect("a directory");
    let join = format!("-retry-join={}", first.listeners["rpc"]);
    let data = dir.path().join("data").display().to_string();
    let arguments = [
        "agent",
        "-node=second",
        "-datacenter=east",
        "-bind=127.0.0.1",
        "-http-port=0",
        "-dns-port=0",
        "-data-dir",
        &data,
        &join,
    ];
    let second = Named::run("consul", dir, &arguments, &[]).await;
    let names: Vec<&str> = second.listeners.keys().map(String::as_str).collect();
    assert_eq!(names, ["catalog", "dns"]);
    let service = json!({"Name": "api", "Port": 81, "Check": {"TTL": "1h", "Status": "passing"}});
    let url = second.url_of("catalog", "/v1/agent/service/register");
    let (status, text) = http::send(Method::PUT, &url, Some(&service)).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let rows = instances(&first, "api", 1).await;
    assert_eq!(rows[0]["Node"]["Node"], "second", "{rows}");
    // It answers from its own copy what was registered at the other one.
    instances(&second, "web", 1).await;
    let members = consul(&first, &["members"]).await;
    assert!(members.contains("second"), "{members}");
    consul(&second, &["leave"]).await;
    eventually("one member", async || {
        let members = consul(&first, &["members"]).await;
        match members.lines().find(|line| line.starts_with("second")) {
            Some(line) if line.contains("alive") => Err(members),
            _ => Ok(()),
        }
    })
    .await;
    first.stop().await;
}

/// Writes a certificate for a name, and what a published file says of it.
fn certified(dir: &TempDir, authority: &Authority, name: &str) -> String {
    let (certificate, key) = authority.issue(name);
    let files = [
        ("ca_file", "ca.pem", authority.pem.as_str()),
        ("cert_file", "agent.pem", &certificate),
        ("key_file", "agent-key.pem", &key),
    ];
    let lines = files.map(|(setting, file, text)| {
        let path = write(dir, file, text);
        format!("    {setting} = \"{path}\"\n")
    });
    format!(
        "tls {{\n  defaults {{\n{}    verify_incoming = true\n    verify_outgoing = true\n  }}\n}}\n",
        lines.concat()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_know_each_other_by_the_certificates_of_the_original() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("a directory");
    let tls = certified(&dir, &authority, "server.east.consul");
    let file = write(&dir, "server.hcl", &format!("{SERVER}{tls}"));
    let first = Named::run("consul", dir, &["agent", "-config-file", &file], &[]).await;

    let dir = tempfile::tempdir().expect("a directory");
    let tls = certified(&dir, &authority, "client.east.consul");
    let text = format!(
        "datacenter = \"east\" node_name = \"second\" data_dir = \"DIR/data\"\n\
         bind_addr = \"127.0.0.1\" retry_join = [\"{}\"]\nports {{ http = 0 dns = 0 }}\n{tls}",
        first.listeners["rpc"]
    );
    let file = write(&dir, "client.hcl", &text);
    let second = Named::run("consul", dir, &["agent", "-config-file", &file], &[]).await;
    instances(&second, "web", 1).await;
    let members = consul(&first, &["members"]).await;
    assert!(members.contains("second"), "{members}");
    let said = first.stop().await + &second.stop().await;
    assert!(
        !said.contains("connections between agents are plain"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_wrong_with_its_files_is_said_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("consul");
    symlink(TRIVET, &program).expect("a link");
    let file = write(&dir, "a.hcl", "servr = true\nacl {\n  enabled = true\n}\n");
    let ran = async |arguments: &[&str]| {
        let ran = Command::new(&program).args(arguments).output().await;
        let ran = ran.expect("the program");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ran.status.code(), text(&ran.stdout) + &text(&ran.stderr))
    };
    let agent = ran(&["agent", "-config-file", &file, "-sever"]).await;
    let validated = ran(&["validate", &file]).await;
    for (code, said) in [&agent, &validated] {
        assert_eq!(*code, Some(1), "{said}");
        for part in [
            "a.hcl:1,1: unknown key `servr`",
            "a.hcl:3,3: `acl.enabled` is refused",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert!(agent.1.contains("there is no flag `-sever`"), "{}", agent.1);
    let whole = write(&dir, "b.hcl", SERVER);
    let (code, said) = ran(&["validate", &whole]).await;
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "Configuration is valid!\n")
    );
    let (code, said) = ran(&["agent", "-help"]).await;
    assert_eq!(code, Some(0));
    assert!(said.contains("ports.http = NUMBER"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_it_is_captured_into_an_archive() {
    let agent = server(SERVER, &[]).await;
    let output = agent.dir.path().join("captured");
    let name = output.display().to_string();
    let words = ["debug", "-duration=10s", "-interval=5s", "-output", &name];
    let reloads = async {
        let mut again = interval(Duration::from_millis(500));
        loop {
            again.tick().await;
            agent.signal(Signal::SIGHUP);
        }
    };
    let said = tokio::select! {
        said = consul(&agent, &words) => said,
        () = reloads => String::new(),
    };
    let archive = output.with_extension("tar.gz");
    assert!(said.contains(&archive.display().to_string()), "{said}");
    let listed = command_output(
        "tar",
        &["-xzf", &archive.display().to_string()],
        agent.dir.path(),
    )
    .await;
    assert_eq!(listed, "");
    let read = |file: &str| {
        let path = output.join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let about: Value = serde_json::from_str(&read("index.json")).expect("an object");
    assert_eq!(about["Duration"], "10s", "{about}");
    let own: Value = serde_json::from_str(&read("agent.json")).expect("an object");
    assert_eq!(own["Config"]["NodeName"], "first", "{own}");
    let members: Value = serde_json::from_str(&read("members.json")).expect("a list");
    assert_eq!(members[0]["Name"], "first", "{members}");
    let host: Value = serde_json::from_str(&read("host.json")).expect("an object");
    assert!(host["Memory"].is_object(), "{host}");
    // A look at the beginning, and one after each pause.
    let metrics = read("metrics.json");
    let looks: Vec<Value> = metrics
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    assert!((2..=3).contains(&looks.len()), "{metrics}");
    assert!(looks.iter().all(|look| look["Gauges"].is_array()));
    let log = read("consul.log");
    assert!(log.contains("the configuration was read again"), "{log}");
    agent.stop().await;
}

/// What a program of the machine prints.
async fn command_output(program: &str, arguments: &[&str], dir: &Path) -> String {
    let ran = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .output()
        .await;
    let ran = ran.expect("the program");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8_lossy(&ran.stdout).into_owned()
}
