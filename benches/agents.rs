//! Many agents on one server: what an entry of the log costs when all of them follow. Real streams
//! over loopback, a durable log, agents that only read and confirm. Prints a table.
//!
//! `cargo bench --bench agents -- [AGENTS] [SECONDS]`

#![expect(
    clippy::print_stdout,
    reason = "a driver program prints its measurements"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement that goes wrong ends the program"
)]

use rpc::{
    message::{Confirmation, Held, Hello, Report, ToClient, ToServer},
    transport::{self, AgentLink, Listener},
};
use server::{Config, Handle, Server};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// What the agents were told.
#[derive(Debug, Default)]
struct Told {
    connected: AtomicUsize,
    messages: AtomicU64,
    confirmations: AtomicU64,
    /// Streams that ended and were opened again.
    reopened: AtomicU64,
}

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let number = |at: usize, otherwise: usize| numbers.get(at).copied().unwrap_or(otherwise);
    let (agents, seconds) = (number(0, 5000), number(1, 10));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(agents, Duration::from_secs(seconds as u64)));
    runtime.shutdown_background();
}

async fn measure(agents: usize, time: Duration) {
    let directory = tempfile::tempdir().unwrap();
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let address = listener.local_addr();
    let config = Config {
        data_dir: directory.path().to_owned(),
        name: "bench".into(),
        datacenter: "dc1".into(),
        region: "global".into(),
        rpc_address: address.to_string(),
        lease: Duration::from_secs(60),
        oidc_issuer: None,
        gc: jobs::control::GcLimits::default(),
        cluster: server::ClusterConfig::default(),
        serves_alone: false,
        tuning: server::Tuning::default(),
    };
    let server = Server::start(config, listener).await.unwrap();
    let handle = server.handle();
    tokio::spawn(server.run(std::future::pending()));

    let told = Arc::new(Told::default());
    let began = Instant::now();
    for number in 0..agents {
        let told = Arc::clone(&told);
        let agent = Simulated {
            address,
            number,
            streams: 0,
            held: Held::default(),
        };
        let link = agent.connect().await.unwrap();
        tokio::spawn(agent.follow(link, told));
    }
    while told.connected.load(Ordering::Relaxed) < agents {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "{agents} agents connected in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    println!();
    println!(
        "| entries that | entries/s | CPU ms/entry | messages/entry | confirmations/entry | last agent told after ms | \
         streams opened again |"
    );
    println!("|---|---|---|---|---|---|---|");
    let writer = Writer::new(address).await;
    row(
        "touch no catalog table",
        &told,
        time,
        agents,
        Entries::Elsewhere(writer),
    )
    .await;
    row(
        "change the catalog",
        &told,
        time,
        agents,
        Entries::Catalog(handle),
    )
    .await;
}

/// Writes entries one after the other.
enum Entries {
    Elsewhere(Writer),
    Catalog(Handle),
}

async fn row(name: &str, told: &Arc<Told>, time: Duration, agents: usize, entries: Entries) {
    let before = (
        told.messages.load(Ordering::Relaxed),
        told.confirmations.load(Ordering::Relaxed),
        cpu(),
        told.reopened.load(Ordering::Relaxed),
    );
    let began = Instant::now();
    let mut count = 0_u64;
    match entries {
        Entries::Elsewhere(mut writer) => {
            while began.elapsed() < time {
                writer.write().await;
                count += 1;
            }
        }
        Entries::Catalog(handle) => {
            while began.elapsed() < time {
                let text = format!("# {count}\n");
                handle.set_route_overrides(text, None).await.unwrap();
                count += 1;
            }
        }
    }
    let took = began.elapsed();
    // What is under way still counts.
    let mut last = told.messages.load(Ordering::Relaxed);
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_millis(500) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = told.messages.load(Ordering::Relaxed);
        if now != last {
            last = now;
            quiet_since = Instant::now();
        }
    }
    let late = quiet_since.duration_since(began).saturating_sub(took);
    let messages = told.messages.load(Ordering::Relaxed) - before.0;
    let confirmations = told.confirmations.load(Ordering::Relaxed) - before.1;
    let per = |value: f64| value / count as f64;
    println!(
        "| {name} | {:.0} | {:.2} | {:.2} × {agents} | {:.2} × {agents} | {} | {} |",
        count as f64 / took.as_secs_f64(),
        per((cpu() - before.2).as_secs_f64() * 1000.0),
        per(messages as f64 / agents as f64),
        per(confirmations as f64 / agents as f64),
        late.as_millis(),
        told.reopened.load(Ordering::Relaxed) - before.3,
    );
}

/// User and system time of this process.
fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000)
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// An agent that reads and confirms as one does whose tables are swapped at once, and comes back
/// when its stream ends: where all of them share two cores with the server, an answer to a ping may
/// come too late.
struct Simulated {
    address: SocketAddr,
    number: usize,
    streams: u64,
    held: Held,
}

impl Simulated {
    async fn connect(&self) -> Result<AgentLink, transport::Error> {
        let link = transport::connect(self.address).await?;
        let hello = Hello {
            agent_id: format!("agent-{}", self.number),
            version: env!("CARGO_PKG_VERSION").into(),
            rules: client::RULES,
            data_plane: true,
            stream: self.streams,
            confirmed: self.held.catalog,
            held: self.held,
            ..Hello::default()
        };
        // A stream that ends at once is opened again as one that ends later.
        link.outgoing
            .send(ToServer::Hello(Box::new(hello)))
            .await
            .ok();
        Ok(link)
    }

    async fn follow(mut self, mut link: AgentLink, told: Arc<Told>) {
        loop {
            self.read(&mut link, &told).await;
            told.reopened.fetch_add(1, Ordering::Relaxed);
            self.streams += 1;
            link = loop {
                match self.connect().await {
                    Ok(link) => break link,
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            };
        }
    }

    /// Until the stream ends.
    async fn read(&mut self, link: &mut AgentLink, told: &Told) {
        let mut beat = tokio::time::interval(Duration::from_secs(20));
        loop {
            let message = tokio::select! {
                message = link.incoming.recv() => message,
                _ = beat.tick() => {
                    link.outgoing.send(ToServer::Heartbeat).await.ok();
                    continue;
                }
            };
            let Some(message) = message else { return };
            told.messages.fetch_add(1, Ordering::Relaxed);
            let (at, confirms) = match message {
                ToClient::Welcome { history, .. } => {
                    self.held.history = history;
                    continue;
                }
                ToClient::Catalog { at, .. } => {
                    if self.held.catalog == 0 {
                        told.connected.fetch_add(1, Ordering::Relaxed);
                    }
                    (at, true)
                }
                ToClient::CatalogDelta { at, confirm, .. } => (at, confirm),
                _ => continue,
            };
            self.held.catalog = at.index;
            if confirms {
                told.confirmations.fetch_add(1, Ordering::Relaxed);
                let busy = Vec::new();
                let confirmed = ToServer::Confirmed(Confirmation { at, busy });
                link.outgoing.send(confirmed).await.ok();
            }
        }
    }
}

/// Writes entries that change no table of the catalog.
struct Writer {
    outgoing: mpsc::Sender<ToServer>,
    incoming: mpsc::Receiver<ToClient>,
    number: u64,
}

impl Writer {
    async fn new(address: SocketAddr) -> Self {
        let link = transport::connect(address).await.unwrap();
        let hello = Hello {
            agent_id: "writer".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            rules: client::RULES,
            ..Hello::default()
        };
        link.outgoing
            .send(ToServer::Hello(Box::new(hello)))
            .await
            .unwrap();
        Self {
            outgoing: link.outgoing,
            incoming: link.incoming,
            number: 0,
        }
    }

    async fn write(&mut self) {
        self.number += 1;
        let report = ToServer::Report {
            number: self.number,
            report: Report::Checks(Vec::new()),
        };
        self.outgoing.send(report).await.unwrap();
        loop {
            match self.incoming.recv().await.expect("the stream ended") {
                ToClient::Committed { .. } => return,
                ToClient::Refused { reason, .. } => panic!("refused: {reason}"),
                _ => {}
            }
        }
    }
}
