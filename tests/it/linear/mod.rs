//! What many users of keys and jobs see at once, while servers are killed and stand still, is what
//! one machine could have shown them that does one thing after the other.
//!
//! `TRIVET_TEST_LINEAR=300` goes on for so many seconds instead of [`SECONDS`].

mod checker;
mod history;
mod users;

use crate::{
    cluster::{Addresses, led, led_by_another, same_everywhere},
    harness::{Agent, eventually},
};
use history::{Call, Operation, Outcome};
use nix::sys::signal::{Signal, kill};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep};
use users::{Door, Register, Users, Written};

/// The variable that says for how many seconds the faults go on.
const SECONDS_VARIABLE: &str = "TRIVET_TEST_LINEAR";
/// Seconds without it; each fault happens once in any case.
const SECONDS: u64 = 20;
/// Operations that have to be answered before each fault.
const BEFORE: u64 = 200;
/// Operations that have to be answered while a fault lasts.
const MEANWHILE: u64 = 60;

/// What befalls the servers.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// kill -9; it starts again when another one leads.
    LeaderKilled,
    /// It stands still until another one leads, and does not know that it does not.
    LeaderStandsStill,
    /// It goes on before anybody or after somebody noticed.
    LeaderStumbles,
    /// kill -9; it starts again when users were served without it.
    FollowerKilled,
    /// It goes on when users were served without it.
    FollowerStandsStill,
    /// The leader is alone and goes on being asked.
    FollowersStandStill,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::LeaderKilled,
        Self::FollowerStandsStill,
        Self::LeaderStandsStill,
        Self::FollowersStandStill,
        Self::LeaderStumbles,
        Self::FollowerKilled,
    ];

    /// Lets it happen and end. The leader is the first of the servers.
    async fn befall(self, servers: &mut [Agent], users: &Users, for_a_while: Duration) {
        let [leader, one, other] = servers else {
            panic!("there are three servers");
        };
        let was = leader.address("rpc").to_string();
        match self {
            Self::LeaderKilled => {
                leader.kill().await;
                led_by_another(one, &was).await;
                users.more(MEANWHILE).await;
                leader.start_again().await;
            }
            Self::LeaderStandsStill => {
                kill(leader.pid(), Signal::SIGSTOP).expect("it runs");
                led_by_another(one, &was).await;
                users.more(MEANWHILE).await;
                kill(leader.pid(), Signal::SIGCONT).expect("it stands still");
            }
            Self::LeaderStumbles => stand_still(&[leader], for_a_while).await,
            Self::FollowerKilled => {
                one.kill().await;
                users.more(MEANWHILE).await;
                one.start_again().await;
            }
            Self::FollowerStandsStill => {
                kill(one.pid(), Signal::SIGSTOP).expect("it runs");
                users.more(MEANWHILE).await;
                kill(one.pid(), Signal::SIGCONT).expect("it stands still");
            }
            Self::FollowersStandStill => stand_still(&[one, other], for_a_while).await,
        }
    }
}

/// Servers stand still for this long; there is nothing that could be waited for.
async fn stand_still(servers: &[&Agent], for_a_while: Duration) {
    for server in servers {
        kill(server.pid(), Signal::SIGSTOP).expect("it runs");
    }
    sleep(for_a_while).await;
    for server in servers {
        kill(server.pid(), Signal::SIGCONT).expect("it stands still");
    }
}

fn door(agent: &Agent) -> Door {
    Door {
        jobs: agent.url("http", ""),
        catalog: agent.url("catalog", ""),
    }
}

/// Puts the leader first.
async fn leader_first(servers: &mut [Agent]) {
    let at = eventually("one of the servers leads", async || {
        let address = led(&servers[0]).await;
        let has = |server: &Agent| server.address("rpc").to_string() == address;
        servers.iter().position(has).ok_or(address)
    })
    .await;
    servers.swap(0, at);
}

/// How often each kind of operation had an outcome.
fn counts(histories: &BTreeMap<Register, Vec<Operation>>) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for (register, history) in histories {
        for operation in history {
            let name = match (register, operation.call, operation.outcome) {
                (_, _, Outcome::Unknown) => "unknown",
                (_, Call::Read, _) => "reads",
                (Register::Key(_), Call::Write(Some(_)), _) => "writes of keys",
                (Register::Job(_), Call::Write(Some(_)), _) => "writes of jobs",
                (_, Call::Write(None), _) => "deletes",
                (_, Call::Swap { .. }, Outcome::Refused) => "refused swaps",
                (Register::Key(_), Call::Swap { .. }, _) => "swaps of keys",
                (Register::Job(_), Call::Swap { .. }, _) => "swaps of jobs",
            };
            *counts.entry(name).or_insert(0) += 1;
        }
    }
    counts
}

/// Enough was done that a fault of the servers could have shown.
fn assert_enough(counts: &BTreeMap<&'static str, usize>) {
    for (name, least) in [
        ("reads", 400),
        ("writes of keys", 80),
        ("writes of jobs", 30),
        ("deletes", 40),
        ("swaps of keys", 80),
        ("swaps of jobs", 30),
        ("refused swaps", 10),
    ] {
        let found = counts.get(name).copied().unwrap_or_default();
        assert!(
            found >= least,
            "{found} {name}, {least} are needed: {counts:?}"
        );
    }
}

fn assert_in_order(written: &Written) {
    for (register, history) in &written.histories {
        if let Err(violation) = checker::check(history) {
            panic!("{register} was not one register: {violation}");
        }
    }
    for ((register, value), indexes) in &written.indexes {
        assert!(indexes.len() == 1, "{register}: {value} at {indexes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_jobs_are_registers_whatever_befalls_the_servers() {
    let seconds = std::env::var(SECONDS_VARIABLE).ok();
    let seconds = seconds
        .and_then(|text| text.parse().ok())
        .unwrap_or(SECONDS);
    let addresses = Addresses::new();
    let mut servers = addresses.start_fixed().await;
    let clients = tokio::join!(addresses.start_client(), addresses.start_client());
    let doors = servers.iter().chain([&clients.0, &clients.1]).map(door);
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);

    let users = Users::start(doors.collect(), seed);
    let start = Instant::now();
    let mut befallen = 0;
    for fault in Fault::ALL.iter().cycle() {
        if befallen >= Fault::ALL.len() && start.elapsed().as_secs() >= seconds {
            break;
        }
        users.more(BEFORE).await;
        leader_first(&mut servers).await;
        let for_a_while = Duration::from_millis(300 + random.next_u64() % 2_700);
        println!("{:?}: {fault:?}, {for_a_while:?}", start.elapsed());
        fault.befall(&mut servers, &users, for_a_while).await;
        befallen += 1;
    }
    users.more(BEFORE).await;
    let written = users.stop().await;
    let counts = counts(&written.histories);
    println!("{befallen} faults in {:?}: {counts:?}", start.elapsed());
    assert_in_order(&written);
    assert_enough(&counts);
    same_everywhere(&servers, "catalog", "/v1/kv/linear/?recurse&stale").await;
    same_everywhere(&servers, "http", "/v1/jobs?stale&prefix=linear-").await;
}
