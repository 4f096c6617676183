//! A cluster that is restarted one agent after the other, as for an update, under requests and
//! writes that never pause.

use crate::{
    cluster::{Addresses, alive, has_key, pids, written},
    harness::{Agent, Echo, agent::Mode, eventually, http},
    walkthrough::targets,
};
use nix::sys::signal::{Signal, kill};
use reqwest::StatusCode;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

/// Pause between two steps of what goes on all the time.
const STEADY_PAUSE: Duration = Duration::from_millis(10);

/// Something that is done again and again while the test goes on.
pub(crate) struct Steady {
    stops: Arc<AtomicBool>,
    turns: Arc<AtomicUsize>,
    running: JoinHandle<Vec<String>>,
}

impl Steady {
    /// Takes one step after the other and keeps what they answer.
    fn start<F>(step: impl Fn(usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Option<String>> + Send,
    {
        let (stops, turns) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (ends, taken) = (Arc::clone(&stops), Arc::clone(&turns));
        let running = tokio::spawn(async move {
            let mut kept = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                kept.extend(step(taken.load(Ordering::Relaxed)).await);
                taken.fetch_add(1, Ordering::Relaxed);
                sleep(STEADY_PAUSE).await;
            }
            kept
        });
        Self {
            stops,
            turns,
            running,
        }
    }

    /// Waits for so many more steps.
    pub(crate) async fn more(&self, count: usize) {
        let target = self.turns.load(Ordering::Relaxed) + count;
        eventually("what is steady goes on", async || {
            let turns = self.turns.load(Ordering::Relaxed);
            let is_there = turns >= target;
            is_there
                .then_some(())
                .ok_or_else(|| format!("{turns} of {target}"))
        })
        .await;
    }

    /// Ends it; what the steps answered, and how many there were.
    async fn stop(self) -> (Vec<String>, usize) {
        self.stops.store(true, Ordering::Relaxed);
        let kept = self.running.await.expect("it does not panic");
        (kept, self.turns.load(Ordering::Relaxed))
    }
}

/// Where an ingress is, and where it says whether it is well.
pub(crate) struct Ingress {
    url: String,
    health: String,
}

impl Ingress {
    pub(crate) fn of(client: &Agent) -> Self {
        Self {
            url: client.url("ingress", "/web"),
            health: client.url("ingress_admin", "/health"),
        }
    }

    async fn is_well(&self, http: &reqwest::Client) -> bool {
        let asked = http.get(&self.health).send().await;
        asked.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }
}

/// Requests to two ingresses by turns, through a balancer that looks first whether the one whose
/// turn it is is well. Keeps those that failed.
pub(crate) fn balanced(ingresses: [Ingress; 2]) -> Steady {
    let ingresses = Arc::new(ingresses);
    Steady::start(move |turn| {
        let ingresses = Arc::clone(&ingresses);
        async move {
            // Each request has a connection of its own.
            let http = http::client();
            let [own, other] = [0, 1].map(|at| &ingresses[(turn + at) % 2]);
            let ingress = if own.is_well(&http).await { own } else { other };
            let answer = http.get(&ingress.url).send().await;
            match answer.map(|answer| answer.status()) {
                Ok(StatusCode::OK) => None,
                outcome => Some(format!("{turn}: {}: {outcome:?}", ingress.url)),
            }
        }
    })
}

/// Writes one key after the other through all agents by turns. Keeps those that were acknowledged.
pub(crate) fn writer<'a>(agents: impl Iterator<Item = &'a Agent>) -> Steady {
    let urls: Vec<String> = agents.map(|agent| agent.url("catalog", "/v1/kv")).collect();
    let http = http::client();
    Steady::start(move |turn| {
        let key = format!("steady/{turn}");
        let url = format!("{}/{key}", urls[turn % urls.len()]);
        let sent = http.put(url).body("1").send();
        async move {
            let is_acknowledged = sent
                .await
                .is_ok_and(|answer| answer.status() == StatusCode::OK);
            is_acknowledged.then_some(key)
        }
    })
}

/// Restarts an agent as the manager of its unit does.
pub(crate) async fn restart(agent: &mut Agent) {
    kill(agent.pid(), Signal::SIGTERM).expect("it runs");
    let status = agent.ended().await;
    assert!(status.success(), "{status}: {}", agent.said());
    agent.start_again().await;
}

/// Keys below a prefix in the copy of a server.
async fn keys_below(server: &Agent, prefix: &str) -> Vec<String> {
    let path = format!("/v1/kv/{prefix}?keys&stale");
    let keys = http::get(&server.url("catalog", &path)).await;
    let keys = keys.as_array().expect("keys").iter();
    keys.filter_map(|key| key.as_str().map(str::to_owned))
        .collect()
}

/// Ends what goes on all the time: no request failed, and every server has what was acknowledged.
pub(crate) async fn nothing_was_lost(load: Steady, writer: Steady, servers: &[Agent]) {
    let (failures, sent) = load.stop().await;
    assert!(
        failures.is_empty(),
        "{} of {sent}: {failures:#?}",
        failures.len()
    );
    let (acknowledged, asked) = writer.stop().await;
    let last = acknowledged.last();
    let last = last.unwrap_or_else(|| panic!("none of {asked} writes was acknowledged"));
    for server in servers {
        has_key(server, last).await;
        let there = keys_below(server, "steady/").await;
        let lost: Vec<_> = (acknowledged.iter())
            .filter(|key| !there.contains(key))
            .collect();
        assert!(lost.is_empty(), "{lost:?} of {}", acknowledged.len());
    }
}

pub(crate) async fn clients_of(addresses: &Addresses) -> [Agent; 2] {
    // Whoever looks at its health learns in time that it stops.
    let grace = "ingress {\n  shutdown_grace = \"2s\"\n}\n";
    let text = |number| addresses.client() + &addresses.fixed(number) + grace;
    let (one, other) = (text(11), text(12));
    let clients = tokio::join!(
        Agent::start_with(Mode::Client, &one),
        Agent::start_with(Mode::Client, &other)
    );
    [clients.0, clients.1]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_all_agents_one_by_one_is_noticed_by_nobody() {
    let addresses = Addresses::new();
    let mut servers = addresses.start_fixed().await;
    let mut clients = clients_of(&addresses).await;
    let job = Echo::new("web", 4);
    job.run(&clients[0]).await;
    let processes = pids(&[&clients[0], &clients[1]]);
    for client in &clients {
        targets(client, "web", 4).await;
    }
    let load = balanced([Ingress::of(&clients[0]), Ingress::of(&clients[1])]);
    let writer = writer(servers.iter().chain(&clients));
    load.more(50).await;
    for server in &mut servers {
        restart(server).await;
        let name = format!("restarted/{}", server.ports().0);
        written(server, &name, "1").await;
        has_key(server, &name).await;
        // The next one goes when this one is one of three again.
        alive(server, 3).await;
        writer.more(10).await;
    }
    for client in &mut clients {
        load.more(20).await;
        restart(client).await;
        targets(client, "web", 4).await;
    }
    load.more(50).await;
    writer.more(10).await;

    nothing_was_lost(load, writer, &servers).await;
    assert_eq!(pids(&[&clients[0], &clients[1]]), processes);
    assert_eq!(job.running(&servers[0], 4).await.len(), 4);
}
