//! How fast traffic and names are answered while an agent is attacked, and how fast anything is on
//! this machine.

use super::{Agent, dns, raw};
use hickory_proto::rr::RecordType;
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

/// How long a request through the ingress, or a DNS query, may take.
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);
/// Of so many probes at the most one may be late: a machine with much else to do may hold up a
/// process for a moment.
const LATE_ONE_IN: usize = 4;
/// Round trips within this process that change threads as often as a request through the ingress
/// does.
const HOPS: usize = 4;
/// Probes of one look.
const PROBES: usize = 24;
/// Looks of which one must find all in time: what delays traffic delays it at each of them, and a
/// machine that is busy otherwise does not.
const LOOKS: usize = 5;

/// A request through the ingress and a query, and what the machine took for a comparable exchange
/// at the same time.
#[derive(Clone, Copy, Debug)]
struct Probe {
    agent: Duration,
    machine: Duration,
}

impl Probe {
    /// What the agent took beyond what the machine takes for anything.
    fn excess(&self) -> Duration {
        self.agent.saturating_sub(self.machine)
    }
}

/// Probes of a running agent that serves `web`.
#[derive(Debug)]
pub(crate) struct Probes {
    echo: SocketAddr,
}

impl Probes {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let echo = listener.local_addr().expect("an address");
        // A thread of its own, as what the agent does is done by others, too. It ends with its last
        // connection's test, at the latest with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    if byte == *b"q" {
                        return;
                    }
                    if stream.write_all(&byte).is_err() {
                        break;
                    }
                }
            }
        });
        Self { echo }
    }

    /// Fails unless traffic and names are answered in time now, as far as the machine permits.
    pub(crate) async fn assert_in_time(&self, agent: &Agent, what: &str) {
        let mut found = String::new();
        for _ in 0..LOOKS {
            match self.look(agent).await {
                Ok(()) => return,
                Err(late) => found = late,
            }
        }
        panic!("{what}: {found}");
    }

    /// Whether traffic and names are answered in time; what was seen if they are not.
    async fn look(&self, agent: &Agent) -> Result<(), String> {
        let mut seen = Vec::with_capacity(PROBES);
        for _ in 0..PROBES {
            seen.push(self.probe(agent).await);
        }
        seen.sort_by_key(Probe::excess);
        let late = seen
            .iter()
            .filter(|probe| probe.excess() > ANSWERED_WITHIN)
            .count();
        let median = seen[PROBES / 2].excess();
        let is_in_time = median <= ANSWERED_WITHIN && late * LATE_ONE_IN <= PROBES;
        is_in_time
            .then_some(())
            .ok_or_else(|| format!("{late} of {PROBES} are late: {seen:?}"))
    }

    async fn probe(&self, agent: &Agent) -> Probe {
        let (traffic, names, machine) = tokio::join!(
            timed(routed(agent)),
            timed(named(agent)),
            timed(self.exchange()),
        );
        Probe {
            agent: traffic.max(names),
            machine,
        }
    }

    async fn exchange(&self) {
        let mut stream = TcpStream::connect(self.echo).await.expect("a connection");
        for _ in 0..HOPS {
            stream.write_all(b"x").await.expect("room");
            let mut byte = [0];
            stream.read_exact(&mut byte).await.expect("an answer");
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        if let Ok(mut stream) = std::net::TcpStream::connect(self.echo) {
            stream.write_all(b"q").ok();
        }
    }
}

/// One request through the ingress.
pub(crate) async fn routed(agent: &Agent) {
    let ingress = agent.address("ingress");
    let answer = raw::send(ingress, "GET", "/web", &[("host", "localhost")], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// One query by UDP.
pub(crate) async fn named(agent: &Agent) {
    let answer = dns::ask(agent.address("dns"), "web.service.consul.", RecordType::A).await;
    assert_eq!(answer.answers.len(), 1, "{answer:?}");
}

async fn timed(work: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    work.await;
    start.elapsed()
}

/// A line of the agent's status in procfs, such as `VmRSS:`, KiB.
pub(crate) fn memory_kib(agent: &Agent, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()));
    let status = status.expect("the agent runs");
    let found = status.lines().find_map(|row| row.strip_prefix(line));
    let digits = found.and_then(|rest| rest.split_whitespace().next());
    digits
        .and_then(|digits| digits.parse().ok())
        .expect("a number")
}

/// What the agent's memory may grow by from here.
#[derive(Debug)]
pub(crate) struct MemoryCeiling {
    before_kib: u64,
    most_kib: u64,
}

impl MemoryCeiling {
    /// Sets the peak back to what is used now; from there `more_kib` are allowed.
    pub(crate) fn above_now(agent: &Agent, more_kib: u64) -> Self {
        std::fs::write(format!("/proc/{}/clear_refs", agent.pid()), "5").expect("own processes");
        let before_kib = memory_kib(agent, "VmRSS:");
        Self {
            before_kib,
            most_kib: before_kib + more_kib,
        }
    }

    /// Fails when the agent needed more meanwhile.
    pub(crate) fn assert_kept(&self, agent: &Agent, what: &str) {
        let peak = memory_kib(agent, "VmHWM:");
        assert!(
            peak <= self.most_kib,
            "{what}: {peak} KiB at the peak, {} KiB before",
            self.before_kib
        );
    }
}
