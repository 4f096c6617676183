//! A Consul server beside, where the program is on the machine.

use super::{eventually, http};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// What measurements need: no limit that they meet, and quick elections.
const SETTINGS: &str = r#"limits { http_max_conns_per_client = 10000 } performance { raft_multiplier = 1 } log_level = "error""#;

/// One durable server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Consul {
    child: Child,
    http: SocketAddr,
    dns: SocketAddr,
    _dir: TempDir,
}

impl Consul {
    /// Starts it and waits until it leads.
    pub(crate) async fn start(program: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let [http, dns, server, gossip] = free_ports();
        let child = Command::new(program)
            .args([
                "agent",
                "-server",
                "-bootstrap-expect=1",
                "-bind=127.0.0.1",
                "-client=127.0.0.1",
            ])
            .arg(format!("-data-dir={}", dir.path().display()))
            .arg(format!("-http-port={http}"))
            .arg(format!("-dns-port={dns}"))
            .arg(format!("-server-port={server}"))
            .arg(format!("-serf-lan-port={gossip}"))
            .args([
                "-serf-wan-port=-1",
                "-grpc-port=-1",
                "-grpc-tls-port=-1",
                "-hcl",
                SETTINGS,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("consul starts");
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let consul = Self {
            child,
            http: local(http),
            dns: local(dns),
            _dir: dir,
        };
        let services = consul.url("/v1/catalog/services");
        eventually("a leader of the peer", || async {
            let answer = http::client().get(&services).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(answer.status().to_string()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        consul
    }

    /// Where its HTTP API is.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it answers names.
    pub(crate) fn dns(&self) -> SocketAddr {
        self.dns
    }

    /// The URL of a path of its API.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        kill(self.pid(), Signal::SIGKILL).ok();
        self.child.wait().ok();
    }
}

/// Ports that nobody listened on a moment ago.
fn free_ports() -> [u16; 4] {
    let listeners = [(); 4].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}
