//! A Consul server beside, where the program is on `PATH`.

use crate::{harness, harness::eventually, process};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// One durable server; killed when dropped.
pub(super) struct Consul {
    pub(super) http: String,
    pub(super) dns: SocketAddr,
    child: Child,
    _dir: TempDir,
}

impl Consul {
    /// Starts it; none, said so, when there is no such program.
    pub(super) async fn start() -> Option<Self> {
        let Some(program) = process::find("consul") else {
            println!("SKIPPED: no `consul` on PATH, so nothing is measured beside\n");
            return None;
        };
        let dir = tempfile::tempdir().expect("a directory");
        let [http, dns, server, gossip] = free_ports();
        let settings = r#"limits { http_max_conns_per_client = 10000 } performance { raft_multiplier = 1 } log_level = "error""#;
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
                settings,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("consul starts");
        let http = format!("http://127.0.0.1:{http}");
        let url = format!("{http}/v1/catalog/services");
        eventually("the peer", || async {
            let answer = harness::http::client().get(&url).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(answer.status().to_string()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        Some(Self {
            http,
            dns: SocketAddr::from((Ipv4Addr::LOCALHOST, dns)),
            child,
            _dir: dir,
        })
    }

    pub(super) fn pid(&self) -> Pid {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        Pid::from_raw(id.expect("it runs"))
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            kill(self.pid(), Signal::SIGKILL).ok();
        }
    }
}

/// Ports that nobody listened on a moment ago.
fn free_ports() -> [u16; 4] {
    let listeners = [(); 4].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}
