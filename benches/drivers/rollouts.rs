//! Rollouts under load: how soon a bad canary is gone, how blue becomes green, what retries spare,
//! and many rollouts in a row of which a third is bad.
//!
//! Times are what clients see: from the first failed request that was sent to the last one.

use crate::harness::{
    Agent, DEADLINE, Echo,
    agent::{self, Mode},
    eventually, http,
    load::{self, Load, Request},
};
use futures_util::future::join_all;
use jobs::model::Rollout;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Runs of each row, unless told otherwise.
const RUNS: usize = 30;
/// Rollouts in a row, unless told otherwise.
const ROLLOUTS: usize = 100;
/// Jobs that are judged at the same time.
const SIDE_BY_SIDE: usize = 3;
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
const STABLE: u32 = 2;

/// Words: `runs=`, `rollouts=`.
pub(crate) async fn run(words: &[String]) {
    let number = |key: &str, usual: usize| {
        let given = words.iter().find_map(|word| word.strip_prefix(key));
        given.map_or(usual, |text| text.parse().expect("a number"))
    };
    let (runs, rollouts) = (number("runs=", RUNS), number("rollouts=", ROLLOUTS));
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    if runs > 0 {
        verdicts(&agent, runs).await;
        conditions(&agent).await;
        switches(&agent).await;
        spared(&agent).await;
    }
    if rollouts > 0 {
        in_a_row(&agent, rollouts).await;
    }
    agent.stop().await;
}

/// Stable instances, and a job whose next version is a canary with these labels.
pub(crate) async fn with_canary(agent: &Agent, id: &str, meta: &str, update: &str) -> Echo {
    let mut job = Echo::new(id, STABLE);
    "old".clone_into(&mut job.text);
    job.service = format!("meta {{\n {meta}\n }}");
    job.update = format!(
        "max_parallel = {STABLE}\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"20s\"\nprogress_deadline = \"30s\"\n{update}"
    );
    job.run(agent).await;
    job.deployment(agent, 0, "successful").await;
    job
}

pub(crate) fn labels(steps: &str, hold: &str) -> String {
    format!(
        "rollout_steps = \"{steps}\"\nrollout_hold = \"{hold}\"\nrollout_warmup = \"0s\"\nrollout_latency = \"p50<2x\""
    )
}

pub(crate) fn start(agent: &Agent, id: &str, per_second: u32) -> Load {
    let ingress = agent.address("ingress");
    Load::start(ingress, &format!("/{id}"), per_second, TIMEOUT)
}

/// From the first to the last request that failed.
fn failing_time(requests: &[Request]) -> Duration {
    let failures = load::failures(requests);
    let times = failures.iter().map(|request| request.sent);
    let (first, last) = (times.clone().min(), times.max());
    first
        .zip(last)
        .map_or(Duration::ZERO, |(first, last)| last - first)
}

pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).map_or(f64::NAN, Duration::as_secs_f64)
}

/// How soon a bad canary is gone.
async fn verdicts(agent: &Agent, runs: usize) {
    println!("| requests | share | the canary fails | runs | median | p95 | aim |");
    println!("|---|---|---|---|---|---|---|");
    for (row, (per_second, share, rate, aim)) in [
        (60, "5", "1", "3 s"),
        (100, "5", "0.5", "6 s"),
        (10, "5", "1", "12 s"),
        (10, "25", "1", "5 s"),
    ]
    .into_iter()
    .enumerate()
    {
        let slots = (0..SIDE_BY_SIDE).map(|slot| async move {
            let id = format!("row{row}-{slot}");
            let job = with_canary(agent, &id, &labels(share, "1h"), "canary = 1").await;
            let mut times = Vec::new();
            for version in 1..=runs.div_ceil(SIDE_BY_SIDE) {
                times.push(failing_run(agent, &job, version, (per_second, rate)).await);
            }
            stop(agent, &id).await;
            times
        });
        let mut times: Vec<Duration> = join_all(slots).await.into_iter().flatten().collect();
        let (median, p95) = (percentile(&mut times, 50), percentile(&mut times, 95));
        println!(
            "| {per_second}/s | {share} % | {rate} | {} | {median:.1} s | {p95:.1} s | {aim} |",
            times.len()
        );
    }
    println!();
}

/// One rollout that fails.
async fn failing_run(
    agent: &Agent,
    job: &Echo,
    version: usize,
    (per_second, rate): (u32, &str),
) -> Duration {
    let mut job = job.clone();
    job.text = format!("bad{version}");
    job.args = vec!["-error-rate".into(), rate.into()];
    let load = start(agent, &job.id, per_second);
    load.more(per_second as usize).await;
    job.register(agent).await;
    job.deployment(agent, version as u64, "failed").await;
    // Until nobody meets it any more.
    load.more(2 * per_second as usize).await;
    failing_time(&load.stop().await)
}

pub(crate) async fn stop(agent: &Agent, id: &str) {
    let url = agent.url("http", &format!("/v1/job/{id}?purge=true"));
    let (status, text) = http::send(reqwest::Method::DELETE, &url, None).await;
    assert!(status.is_success(), "{text}");
}

/// A rollout under a condition, and how it has to go.
struct Condition {
    what: &'static str,
    steps: &'static str,
    labels: &'static str,
    /// Arguments of the stable version, and of the canary.
    args: [&'static [&'static str]; 2],
    per_minute: u32,
    /// The phase that must be reached, and a part of its sentence.
    reaches: (&'static str, &'static str),
    within: Duration,
}

const CONDITIONS: [Condition; 8] = [
    Condition {
        what: "2 % errors",
        steps: "25",
        labels: "",
        args: [&[], &["-error-rate", "0.02"]],
        per_minute: 6000,
        reaches: ("aborted", "canary failed"),
        within: Duration::from_secs(60),
    },
    Condition {
        what: "dead, 20 requests a minute",
        steps: "25",
        labels: "",
        args: [&[], &["-error-rate", "1"]],
        per_minute: 20,
        reaches: ("aborted", "canary failed"),
        within: Duration::from_secs(120),
    },
    Condition {
        what: "twice as slow, by p50",
        steps: "5",
        labels: "rollout_latency = \"p50<1.3x\"",
        args: [&["-delay", "20ms"], &["-delay", "40ms"]],
        per_minute: 6000,
        reaches: ("aborted", "canary took longer"),
        within: Duration::from_secs(20),
    },
    Condition {
        what: "twice as slow, by p99",
        steps: "5",
        labels: "rollout_latency = \"p99<1.3x\"",
        args: [&["-delay", "20ms"], &["-delay", "40ms"]],
        per_minute: 6000,
        reaches: ("aborted", "canary took longer"),
        within: Duration::from_secs(75),
    },
    Condition {
        what: "1.15 times as slow, limit 1.3",
        steps: "25",
        labels: "rollout_latency = \"p50<1.3x,p99<1.5x\"\nrollout_hold = \"10s\"",
        args: [&["-delay", "40ms"], &["-delay", "46ms"]],
        per_minute: 6000,
        reaches: ("passed", "all steps passed"),
        within: Duration::from_secs(60),
    },
    Condition {
        what: "404 instead of 200",
        steps: "5",
        labels: "",
        args: [&[], &["-status", "404"]],
        per_minute: 6000,
        reaches: ("held", "canary answered 4xx"),
        within: Duration::from_secs(5),
    },
    Condition {
        what: "302 instead of 200, by setting",
        steps: "5",
        labels: "rollout_answers = \"fail\"",
        args: [&[], &["-status", "302"]],
        per_minute: 6000,
        reaches: ("aborted", "canary answered 3xx"),
        within: Duration::from_secs(6),
    },
    Condition {
        what: "both fail half the time",
        steps: "5",
        labels: "",
        args: [&["-error-rate", "0.5"], &["-error-rate", "0.5"]],
        per_minute: 6000,
        reaches: ("held", "both failing"),
        within: Duration::from_secs(20),
    },
];

/// How rollouts go under other conditions; and that they stand still without requests.
async fn conditions(agent: &Agent) {
    println!("| the canary | requests | share | reached | after | within |");
    println!("|---|---|---|---|---|---|");
    for (at, pair) in CONDITIONS.chunks(2).enumerate() {
        let rows = pair.iter().enumerate().map(|(side, condition)| {
            let id = format!("condition{at}-{side}");
            async move { condition.meet(agent, &id).await }
        });
        for row in join_all(rows).await {
            println!("{row}");
        }
    }
    println!("{}\n", silence(agent).await);
}

impl Condition {
    async fn meet(&self, agent: &Agent, id: &str) -> String {
        let words = |args: &[&str]| args.iter().map(|word| (*word).to_owned()).collect();
        let hold = if self.labels.contains("rollout_hold") {
            ""
        } else {
            "rollout_hold = \"1h\""
        };
        let mut job = Echo::new(id, STABLE);
        job.service = format!(
            "meta {{\n rollout_steps = \"{}\"\n rollout_warmup = \"0s\"\n {hold}\n {}\n }}",
            self.steps, self.labels
        );
        job.update = format!(
            "max_parallel = {STABLE}\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"20s\"\ncanary = 1"
        );
        job.args = words(self.args[0]);
        job.run(agent).await;
        job.deployment(agent, 0, "successful").await;
        "new".clone_into(&mut job.text);
        job.args = words(self.args[1]);
        let ingress = agent.address("ingress");
        let pause = Duration::from_mins(1) / self.per_minute;
        let load = Load::every(ingress, &format!("/{id}"), pause, TIMEOUT);
        // What is usual is known before the canary comes.
        load.more(self.per_minute as usize / 6).await;
        job.register(agent).await;
        let path = format!("/v1/job/{id}/deployment");
        let (phase, part) = self.reaches;
        let reached = |row: &Value| {
            let rollout = row["TaskGroups"]["web"]["Rollout"].clone();
            let rollout: Rollout = serde_json::from_value(rollout).ok()?;
            let is_end = rollout.is_over() || rollout.phase.as_str() == "passed";
            let is_it = rollout.phase.as_str() == phase && rollout.reason.contains(part);
            (is_it || is_end).then_some(rollout)
        };
        let (url, limit) = (agent.url("http", &path), self.within + DEADLINE);
        let rollout = http::wait_within(&url, "x-nomad-index", limit, reached).await;
        load.stop().await;
        stop(agent, id).await;
        let first = rollout.transitions.first().expect("a transition");
        let last = rollout.transitions.last().expect("a transition");
        let after = (last.at - first.at).to_std();
        let is_it = last.phase.as_str() == phase && last.reason.contains(part);
        let verdict = if is_it && after <= self.within {
            ""
        } else {
            " **missed**"
        };
        format!(
            "| {} | {}/min | {} % | {}: {} | {:.1} s{verdict} | {} s |",
            self.what,
            self.per_minute,
            self.steps,
            last.phase.as_str(),
            last.reason,
            after.as_secs_f64(),
            self.within.as_secs(),
        )
    }
}

/// Requests stop in the middle of a step, and come again.
async fn silence(agent: &Agent) -> String {
    let mut job = with_canary(agent, "silent", &labels("25", "1h"), "canary = 1").await;
    "new".clone_into(&mut job.text);
    let reached = async |phase: &str| {
        let path = "/v1/job/silent/deployment";
        agent
            .wait(path, |row| {
                (row["TaskGroups"]["web"]["Rollout"]["Phase"] == phase).then_some(())
            })
            .await;
    };
    let load = start(agent, "silent", 60);
    load.more(60).await;
    job.register(agent).await;
    reached("judging").await;
    load.more(120).await;
    load.stop().await;
    let stopped = Instant::now();
    reached("frozen").await;
    let frozen = stopped.elapsed();
    let load = start(agent, "silent", 60);
    let began = Instant::now();
    reached("judging").await;
    let again = began.elapsed();
    load.stop().await;
    stop(agent, "silent").await;
    format!(
        "| good, requests stop | 60/s, then none | 25 % | frozen, and judging again after {:.1} s | {:.1} s | 2 s |",
        again.as_secs_f64(),
        frozen.as_secs_f64()
    )
}

/// Moves the rollout of a job, and when that was asked for.
pub(crate) async fn act(agent: &Agent, id: &str, act: &str, share: Option<&str>) -> Instant {
    let deployment = http::get(&agent.url("http", &format!("/v1/job/{id}/deployment"))).await;
    let deployment = deployment["ID"].as_str().expect("an id").to_owned();
    let asked = Instant::now();
    let path = format!("/v1/trivet/rollout/{deployment}");
    let asked_for = json!({"Act": act, "Share": share});
    http::put(&agent.url("http", &path), &asked_for).await;
    asked
}

async fn allocations(agent: &Agent, id: &str) -> usize {
    let all = http::get(&agent.url("http", &format!("/v1/job/{id}/allocations"))).await;
    all.as_array().map_or(0, Vec::len)
}

/// Blue becomes green and goes back, again and again.
async fn switches(agent: &Agent) {
    const PER_SECOND: u32 = 800;
    const REQUESTS: usize = 50_000;
    let meta = "rollout_steps = \"0,100\"\nrollout_hold = \"1h\"\nrollout_bake = \"10m\"";
    let mut job = with_canary(agent, "green", meta, &format!("canary = {STABLE}")).await;
    "new".clone_into(&mut job.text);
    job.register(agent).await;
    agent
        .wait("/v1/job/green/deployment", |row| {
            (row["TaskGroups"]["web"]["Rollout"]["Phase"] == "judging").then_some(())
        })
        .await;
    let placed = allocations(agent, "green").await;
    let load = start(agent, "green", PER_SECOND);
    load.more(500).await;
    let mut asked = Vec::new();
    while load.ended() < REQUESTS {
        let word = if asked.len() % 2 == 0 { "next" } else { "back" };
        asked.push(act(agent, "green", word, None).await);
        load.more(2500).await;
    }
    let requests = load.stop().await;
    let late = asked.iter().enumerate().map(|(at, asked_at)| {
        let wanted = if at % 2 == 0 { "new" } else { "old" };
        let until = asked.get(at + 1);
        let wrong = requests.iter().filter(|own| {
            own.sent >= *asked_at
                && until.is_none_or(|until| own.sent < *until)
                && own.outcome.as_deref() != Ok(wanted)
        });
        let last = wrong.map(|own| own.sent - *asked_at).max();
        last.unwrap_or_default()
    });
    let mut late: Vec<Duration> = late.collect();
    println!("| switches | requests | failed | in force, median | most | placed for it |");
    println!("|---|---|---|---|---|---|");
    println!(
        "| {} | {} | {} | {:.3} s | {:.3} s | {} |\n",
        late.len(),
        requests.len(),
        load::failures(&requests).len(),
        percentile(&mut late, 50),
        percentile(&mut late, 100),
        allocations(agent, "green").await - placed,
    );
    stop(agent, "green").await;
}

/// Clients that are spared by retries.
async fn spared(agent: &Agent) {
    const PER_SECOND: u32 = 400;
    const REQUESTS: usize = 10_000;
    println!(
        "| the canary | requests | failed | retries, of those allowed | canary's failed attempts | from the first to the verdict |"
    );
    println!("|---|---|---|---|---|---|");
    for (at, (what, args)) in [("resets", ["-reset-rate", "1"]), ("refuses", ["", ""])]
        .into_iter()
        .enumerate()
    {
        let id = format!("spared{at}");
        let mut job = with_canary(agent, &id, &labels("5", "1h"), "canary = 1").await;
        let route = if what == "refuses" {
            format!("beside{at}")
        } else {
            job.args = args.map(str::to_owned).to_vec();
            id.clone()
        };
        if what == "refuses" {
            job.group = format!(
                "service {{\n name = \"{route}\"\n port = \"http\"\n tags = [\"urlprefix-/{route}\"]\n }}"
            );
            job.register(agent).await;
            job.deployment(agent, 0, "successful").await;
            job.group = job.group.replace("port = \"http\"", "port = \"1\"");
        }
        "new".clone_into(&mut job.text);
        // The service may be new, and requests that come before it would be nobody's.
        routed(agent, &route).await;
        let began = Instant::now();
        let load = start(agent, &route, PER_SECOND);
        load.more(400).await;
        job.register(agent).await;
        let failed = agent
            .wait(&format!("/v1/job/{id}/deployment"), |row| {
                (row["Status"] == "failed").then(|| row.clone())
            })
            .await;
        while load.ended() < REQUESTS {
            load.more(1000).await;
        }
        let requests = load.stop().await;
        let failures = load::failures(&requests);
        if let Some(first) = failures.first() {
            let at = first.sent - began;
            println!("{what}: after {at:?}: {:?}", first.outcome);
        }
        let rollout = failed["TaskGroups"]["web"]["Rollout"].clone();
        let rollout: Rollout = serde_json::from_value(rollout).expect("a rollout");
        let last = rollout.transitions.last().expect("a transition");
        let evidence = last.evidence.first().expect("evidence");
        println!(
            "| {what} | {} | {} | {} of {} | {} | {:.2} s |",
            requests.len(),
            failures.len(),
            retries(agent, &route).await,
            requests.len() as u64 / 5 + 10 * began.elapsed().as_secs(),
            evidence.canary_bad,
            (last.at - evidence.since).to_std().as_secs_f64(),
        );
        stop(agent, &id).await;
    }
    println!();
}

/// Waits until the ingress has all instances of a service.
async fn routed(agent: &Agent, service: &str) {
    eventually("the routes", || async {
        let routes = http::get(&agent.url("ingress_admin", "/api/routes")).await;
        let all = routes.as_array().into_iter().flatten();
        let own = all.filter(|route| route["service"] == service).count();
        if own == STABLE as usize {
            Ok(())
        } else {
            Err(routes.to_string())
        }
    })
    .await;
}

/// How often requests of a service were given to another instance.
async fn retries(agent: &Agent, service: &str) -> u64 {
    let url = agent.url("http", &format!("/v1/trivet/traffic?service={service}"));
    let told = http::get(&url).await;
    let rows = told["Rows"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["Retries"].as_u64()).sum()
}

/// The ways in which a version is bad, as arguments of the program. One that resets half of its
/// connections is none: those that are kept carry all requests.
const WAYS: [(&str, &[&str]); 5] = [
    ("fails", &["-error-rate", "1"]),
    ("fails half", &["-error-rate", "0.5"]),
    ("resets", &["-reset-rate", "1"]),
    ("is slow", &["-delay", "100ms"]),
    ("does not start", &["-text"]),
];

/// Many rollouts in a row.
async fn in_a_row(agent: &Agent, rollouts: usize) {
    const PER_SECOND: u32 = 200;
    let update = "canary = 1\nauto_promote = true";
    let mut job = with_canary(agent, "row", &labels("25,50", "1s"), update).await;
    // The same sequence each time.
    let mut seed: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    let mut tally = Row::default();
    for version in 1..=rollouts {
        let way = (random(3) == 0).then(|| WAYS[random(WAYS.len())]);
        job.text = format!("v{version}");
        job.args = way.map_or_else(Vec::new, |(_, args)| {
            args.iter().map(|word| (*word).to_owned()).collect()
        });
        let load = start(agent, "row", PER_SECOND);
        load.more(20).await;
        job.register(agent).await;
        let path = "/v1/job/row/deployment";
        let end = agent
            .wait(path, |row| {
                let is_own = row["JobVersion"].as_u64() == Some(version as u64);
                let is_over = row["Status"] == "failed" || row["Status"] == "successful";
                (is_own && is_over).then(|| row.clone())
            })
            .await;
        load.more(40).await;
        tally.add(way.map(|(name, _)| name), &end, &load.stop().await);
    }
    tally.print();
    // What is left: the instances of the last good version, and nothing else.
    let mut last = job.clone();
    last.args = Vec::new();
    "last".clone_into(&mut last.text);
    // Without requests nothing passes.
    let load = start(agent, "row", PER_SECOND);
    last.register(agent).await;
    last.deployment(agent, rollouts as u64 + 1, "successful")
        .await;
    load.stop().await;
    last.running(agent, STABLE as usize).await;
    let routes = http::get(&agent.url("ingress_admin", "/api/routes")).await;
    let routes = routes.as_array().map_or(0, Vec::len);
    stop(agent, "row").await;
    agent
        .wait("/v1/job/row/allocations", |all| {
            let all = all.as_array()?;
            let ended = |own: &Value| own["ClientStatus"] != "running";
            all.iter().all(ended).then_some(())
        })
        .await;
    agent::no_process_left(agent.dir()).await;
    println!("\nAt the end: {routes} routes of {STABLE} instances; after the stop no process.");
}

/// What came of rollouts.
#[derive(Default)]
struct Row {
    good: (usize, usize),
    bad: (usize, usize),
    requests: usize,
    failed: usize,
    /// Failed although no bad canary could be met.
    failed_beyond: usize,
    times: Vec<Duration>,
    wrong: Vec<String>,
}

impl Row {
    fn add(&mut self, way: Option<&str>, end: &Value, requests: &[Request]) {
        let failures = load::failures(requests);
        self.requests += requests.len();
        self.failed += failures.len();
        let is_promoted = end["Status"] == "successful";
        let (sum, is_right) = match way {
            None => (&mut self.good, is_promoted),
            Some(_) => (&mut self.bad, !is_promoted),
        };
        sum.0 += 1;
        sum.1 += usize::from(is_right);
        if !is_right {
            let what = way.unwrap_or("good");
            self.wrong
                .push(format!("{what}: {}", end["StatusDescription"]));
        }
        // Only answers of a canary that fails reach a client: everything else is asked again.
        let is_met = way.is_some_and(|way| way.starts_with("fails"));
        if is_met {
            self.times.push(failing_time(requests));
        } else {
            self.failed_beyond += failures.len();
            let shown = failures
                .first()
                .map(|own| format!("{way:?}: {:?}", own.outcome));
            self.wrong.extend(shown);
        }
    }

    fn print(mut self) {
        println!(
            "| good | promoted | bad | aborted | requests | failed | of them beyond the canary's own | failing for, median | most |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        let median = percentile(&mut self.times, 50);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {median:.1} s | {:.1} s |",
            self.good.0,
            self.good.1,
            self.bad.0,
            self.bad.1,
            self.requests,
            self.failed,
            self.failed_beyond,
            percentile(&mut self.times, 100),
        );
        for wrong in self.wrong {
            println!("- {wrong}");
        }
    }
}
