//! Users who write, swap, delete and read keys and jobs through all agents of a cluster at once,
//! and write down what they asked and what came of it.

use super::history::{Call, Operation, Outcome, Value};
use crate::harness::{DEADLINE, eventually, http};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// Users of keys.
const KEY_USERS: usize = 6;
/// Users of jobs.
const JOB_USERS: usize = 3;
/// So many operations are asked before all users go over to other registers: the more of unknown
/// outcome there are on one, the longer its order is looked for.
const OPERATIONS_PER_ROUND: u64 = 256;
/// Registers of each kind that are in use at a time.
const KEYS_PER_ROUND: u64 = 4;
const JOBS_PER_ROUND: u64 = 2;
/// How long a user waits for an answer; what comes later may still be carried out.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two operations of a user: the servers have other tests' neighbors.
const PAUSE: Duration = Duration::from_millis(10);

/// The APIs of one agent.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// URL of the jobs API.
    pub(super) jobs: String,
    /// URL of the catalog API.
    pub(super) catalog: String,
}

/// What can be written and swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Register {
    /// A key; the swap is `?cas`.
    Key(u64),
    /// A job; the swap is a registration with `EnforceIndex`.
    Job(u64),
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(number) => write!(f, "linear/{number}"),
            Self::Job(number) => write!(f, "linear-{number}"),
        }
    }
}

/// What an agent answered, as far as it did.
enum Answer {
    Text(StatusCode, String),
    /// It was never sent.
    Unsent,
    /// Nobody knows what became of it.
    Lost,
}

/// A value, and the index of the write that it came by; 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    value: Value,
    index: u64,
}

/// How a register is asked for over HTTP.
struct Asked {
    request: RequestBuilder,
    outcome: fn(StatusCode, &str) -> Outcome,
}

/// What a write of a key answers.
fn of_key(status: StatusCode, text: &str) -> Outcome {
    match (status, text.trim()) {
        (StatusCode::OK, "true") => Outcome::Done,
        (StatusCode::OK, "false") => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

/// What a registration of a job answers.
fn of_job(status: StatusCode, text: &str) -> Outcome {
    if status == StatusCode::OK {
        Outcome::Done
    } else if text.starts_with("Enforcing job modify index") {
        Outcome::Refused
    } else {
        Outcome::Unknown
    }
}

impl Register {
    fn url(self, door: &Door) -> String {
        match self {
            Self::Key(_) => format!("{}/v1/kv/{self}", door.catalog),
            Self::Job(_) => format!("{}/v1/job/{self}", door.jobs),
        }
    }

    fn read(self, http: &Client, door: &Door) -> RequestBuilder {
        http.get(format!("{}?consistent", self.url(door)))
    }

    /// What a read found; none for an answer that says nothing.
    fn seen(self, status: StatusCode, text: &str) -> Option<Seen> {
        let absent = Seen {
            value: None,
            index: 0,
        };
        match (status, self) {
            (StatusCode::NOT_FOUND, _) => Some(absent),
            (StatusCode::OK, Self::Key(_)) => {
                let rows: Json = serde_json::from_str(text).ok()?;
                let value = BASE64.decode(rows[0]["Value"].as_str()?).ok()?;
                Some(Seen {
                    value: Some(String::from_utf8(value).ok()?.parse().ok()?),
                    index: rows[0]["ModifyIndex"].as_u64()?,
                })
            }
            (StatusCode::OK, Self::Job(_)) => {
                let job: Json = serde_json::from_str(text).ok()?;
                Some(Seen {
                    value: Some(job["Meta"]["value"].as_str()?.parse().ok()?),
                    index: job["JobModifyIndex"].as_u64()?,
                })
            }
            _ => None,
        }
    }

    /// Asks to hold `new`, only as long as the index is this one if there is one.
    fn write(self, http: &Client, door: &Door, new: Value, index: Option<u64>) -> Asked {
        let cas = index.map_or_else(String::new, |index| format!("?cas={index}"));
        let (request, outcome): (_, fn(_, &_) -> _) = match (self, new) {
            (Self::Key(_), Some(value)) => {
                let request = http.put(format!("{}{cas}", self.url(door)));
                (request.body(value.to_string()), of_key)
            }
            (Self::Key(_), None) => (http.delete(format!("{}{cas}", self.url(door))), of_key),
            (Self::Job(_), Some(value)) => {
                let body = registration(&self.to_string(), value, index);
                let request = http.put(format!("{}/v1/jobs", door.jobs)).json(&body);
                (request, of_job)
            }
            (Self::Job(_), None) => (
                http.delete(format!("{}?purge=true", self.url(door))),
                of_job,
            ),
        };
        Asked { request, outcome }
    }
}

/// A job that runs nothing and carries the value.
fn registration(id: &str, value: u64, index: Option<u64>) -> Json {
    let task = json!({"Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"}});
    let group = json!({"Name": "g", "Count": 0, "Tasks": [task]});
    let job = json!({
        "ID": id, "Name": id, "Type": "batch", "Datacenters": ["*"], "TaskGroups": [group],
        "Meta": {"value": value.to_string()},
    });
    json!({"Job": job, "EnforceIndex": index.is_some(), "JobModifyIndex": index.unwrap_or(0)})
}

/// What all users have together.
struct Shared {
    doors: Vec<Door>,
    start: Instant,
    stops: AtomicBool,
    /// Operations that were asked.
    asked: AtomicU64,
    /// Operations whose outcome is known.
    known: AtomicU64,
    next_value: AtomicU64,
    written: Mutex<Written>,
}

/// What was written down.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Operations by register.
    pub(super) histories: BTreeMap<Register, Vec<Operation>>,
    /// Indexes that a value was read with; a value is written once, so there is one.
    pub(super) indexes: BTreeMap<(Register, u64), Vec<u64>>,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).expect("a short history")
    }

    fn write_down(&self, register: Register, operation: Operation) {
        if operation.is_known() {
            self.known.fetch_add(1, Ordering::Relaxed);
        }
        let mut written = self.written.lock().expect("no panic holds it");
        let history = written.histories.entry(register).or_default();
        history.push(operation);
    }

    fn write_down_index(&self, register: Register, seen: Seen) {
        let Some(value) = seen.value else { return };
        let mut written = self.written.lock().expect("no panic holds it");
        let indexes = written.indexes.entry((register, value)).or_default();
        if !indexes.contains(&seen.index) {
            indexes.push(seen.index);
        }
    }
}

/// Users at work; they end when dropped.
pub(super) struct Users {
    shared: Arc<Shared>,
    running: JoinSet<()>,
}

impl Users {
    pub(super) fn start(doors: Vec<Door>, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            doors,
            start: Instant::now(),
            stops: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            known: AtomicU64::new(0),
            next_value: AtomicU64::new(1),
            written: Mutex::default(),
        });
        let mut running = JoinSet::new();
        for number in 0..KEY_USERS + JOB_USERS {
            let user = User::new(Arc::clone(&shared), number, seed);
            running.spawn(user.run());
        }
        Self { shared, running }
    }

    /// Waits until so many more operations were answered.
    pub(super) async fn more(&self, count: u64) {
        let known = || self.shared.known.load(Ordering::Relaxed);
        let target = known() + count;
        eventually("answers to the users", async || {
            let known = known();
            let is_there = known >= target;
            is_there
                .then_some(())
                .ok_or_else(|| format!("{known} of {target}"))
        })
        .await;
    }

    /// Ends their work, reads every register once more, and answers with what was written down.
    pub(super) async fn stop(mut self) -> Written {
        self.shared.stops.store(true, Ordering::Relaxed);
        while let Some(ended) = self.running.join_next().await {
            ended.expect("a user does not panic");
        }
        let registers: Vec<Register> = {
            let written = self.shared.written.lock().expect("no panic holds it");
            written.histories.keys().copied().collect()
        };
        let mut last = User::new(Arc::clone(&self.shared), KEY_USERS + JOB_USERS, 0);
        for register in registers {
            let start = Instant::now();
            while last.read(register).await.is_none() {
                assert!(
                    start.elapsed() < DEADLINE,
                    "{register} is not read at the end"
                );
            }
        }
        let mut written = self.shared.written.lock().expect("no panic holds it");
        std::mem::take(&mut written)
    }
}

struct User {
    shared: Arc<Shared>,
    number: usize,
    http: Client,
    random: ChaCha8Rng,
}

impl User {
    fn new(shared: Arc<Shared>, number: usize, seed: u64) -> Self {
        Self {
            shared,
            number,
            http: http::client(),
            random: ChaCha8Rng::seed_from_u64(seed ^ number as u64),
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    async fn run(mut self) {
        while !self.shared.stops.load(Ordering::Relaxed) {
            let register = self.register();
            self.step(register).await;
            sleep(PAUSE).await;
        }
    }

    fn register(&mut self) -> Register {
        let round = self.shared.asked.load(Ordering::Relaxed) / OPERATIONS_PER_ROUND;
        if self.number < KEY_USERS {
            Register::Key(round * KEYS_PER_ROUND + self.below(KEYS_PER_ROUND))
        } else {
            Register::Job(round * JOBS_PER_ROUND + self.below(JOBS_PER_ROUND))
        }
    }

    async fn step(&mut self, register: Register) {
        match self.below(10) {
            0..3 => {
                self.read(register).await;
            }
            3..5 => {
                let value = self.value();
                self.write(register, value).await;
            }
            5 => self.write(register, None).await,
            _ => self.swap(register).await,
        }
    }

    fn value(&self) -> Value {
        Some(self.shared.next_value.fetch_add(1, Ordering::Relaxed))
    }

    fn door(&mut self) -> Door {
        let at = self.random.next_u64() as usize % self.shared.doors.len();
        self.shared.doors[at].clone()
    }

    async fn read(&mut self, register: Register) -> Option<Seen> {
        let door = self.door();
        let asked = self.shared.now();
        let answer = self.send(register.read(&self.http, &door)).await;
        let Answer::Text(status, text) = answer else {
            return None;
        };
        let seen = register.seen(status, &text)?;
        self.write_down(register, asked, Call::Read, Outcome::Found(seen.value));
        self.shared.write_down_index(register, seen);
        Some(seen)
    }

    async fn write(&mut self, register: Register, new: Value) {
        let door = self.door();
        let asked = register.write(&self.http, &door, new, None);
        self.ask(register, Call::Write(new), asked).await;
    }

    /// Reads a value and swaps it, each through another agent.
    async fn swap(&mut self, register: Register) {
        let Some(seen) = self.read(register).await else {
            return;
        };
        let may_delete = matches!(register, Register::Key(_)) && seen.value.is_some();
        let new = if may_delete && self.below(4) == 0 {
            None
        } else {
            self.value()
        };
        let door = self.door();
        let asked = register.write(&self.http, &door, new, Some(seen.index));
        let expected = seen.value;
        self.ask(register, Call::Swap { expected, new }, asked)
            .await;
    }

    async fn ask(&mut self, register: Register, call: Call, asked: Asked) {
        let since = self.shared.now();
        let outcome = match self.send(asked.request).await {
            Answer::Text(status, text) => (asked.outcome)(status, &text),
            Answer::Lost => Outcome::Unknown,
            Answer::Unsent => return,
        };
        self.write_down(register, since, call, outcome);
    }

    fn write_down(&self, register: Register, asked: u64, call: Call, outcome: Outcome) {
        let operation = Operation {
            user: self.number,
            asked,
            answered: self.shared.now(),
            call,
            outcome,
        };
        self.shared.write_down(register, operation);
    }

    async fn send(&self, request: RequestBuilder) -> Answer {
        self.shared.asked.fetch_add(1, Ordering::Relaxed);
        let asking = async {
            let response = request.timeout(PATIENCE).send().await?;
            let status = response.status();
            Ok((status, response.text().await?))
        };
        match asking.await {
            Ok((status, text)) => Answer::Text(status, text),
            Err(error) if reqwest::Error::is_connect(&error) => Answer::Unsent,
            Err(_) => Answer::Lost,
        }
    }
}
