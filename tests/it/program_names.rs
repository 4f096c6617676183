//! The program under the name of one that it stands in for.

use crate::harness::{DEADLINE, agent::TRIVET, http};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Method, StatusCode};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// What a client's test suite writes for the agent that it starts.
const SUITE: &str = r#"{
  "name": "node-suite", "region": "global", "data_dir": "DIR", "log_level": "DEBUG",
  "disable_update_check": true, "enable_debug": true, "bind_addr": "127.0.0.1",
  "ports": {"http": 0, "rpc": 0, "serf": 20003},
  "server": {"enabled": true, "bootstrap_expect": 1},
  "client": {"enabled": false, "options": {"driver.raw_exec.enable": "1"}},
  "vault": {"enabled": false}, "telemetry": {"disable_hostname": true}
}"#;

/// An agent under another name.
struct Named {
    child: Child,
    /// Listener name to its address, as it printed it.
    listeners: BTreeMap<String, SocketAddr>,
    /// What it said on standard error.
    log: PathBuf,
    _dir: TempDir,
}

impl Named {
    /// Starts it with a configuration file and further arguments, as `PROGRAM agent -config=FILE`.
    async fn start(program: &str, config: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink(TRIVET, path(program)).expect("a link");
        let data = path("data").display().to_string();
        std::fs::write(path("agent.json"), config.replace("DIR", &data)).expect("a file");
        let log = path("agent.log");
        let mut child = Command::new(path(program))
            .arg("agent")
            .arg(format!("-config={}", path("agent.json").display()))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .kill_on_drop(true)
            .spawn()
            .expect("the program");
        let listeners = timeout(DEADLINE, banner(&mut child)).await;
        Self {
            listeners: listeners.unwrap_or_else(|_| panic!("{} did not start", read(&log))),
            child,
            log,
            _dir: dir,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listeners["http"])
    }

    /// Asks it to stop; what it said.
    async fn stop(mut self) -> String {
        let pid = i32::try_from(self.child.id().expect("it runs")).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
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
        if line.contains("agent started") {
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
    let arguments = ["-node=other", "-network-interface", "lo", "-meta", "a=b"];
    let agent = Named::start("nomad", SUITE, &arguments).await;
    let names: Vec<&str> = agent.listeners.keys().map(String::as_str).collect();
    assert_eq!(names, ["http", "rpc"]);
    for path in ["/v1/metrics", "/.well-known/jwks.json"] {
        let (status, text) = http::send(Method::GET, &agent.url(path), None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
    }
    let own = http::get(&agent.url("/v1/agent/self")).await;
    assert_eq!(own["member"]["Name"], "other.global", "{own}");
    let said = agent.stop().await;
    for key in [
        "vault",
        "-network-interface",
        "client.options",
        "ports.serf",
    ] {
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
    assert_eq!(names, ["catalog", "dns", "http", "rpc"]);
    agent.stop().await;
}
