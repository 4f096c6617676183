//! Jobs of `/bin/true` on a whole agent.

use super::Options;
use crate::{
    harness::{
        Agent,
        agent::{Mode, Room},
        http,
    },
    process, task_start,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep},
};

/// Pause between two looks at the jobs.
const LOOK: Duration = Duration::from_millis(500);
/// Longer than the allocator keeps pages that nobody uses.
const SETTLE: Duration = Duration::from_secs(12);
/// Jobs of which each is submitted when the one before has ended.
const SINGLE_JOBS: usize = 50;

pub(super) async fn run(options: &Options, dir: &Path) {
    println!(
        "\n{} x {} one-task raw_exec batch jobs of /bin/true, {} connections, durable log, data directory below {}\n",
        options.rounds,
        options.jobs,
        options.connections,
        dir.display()
    );
    let group = Group::enter();
    let agent = Agent::start_below(dir, Mode::Durable, "", Room::Free, |_| ()).await;
    let group = group.map(Group::leave);
    println!(
        "start when idle, placed to running: {:.1} ms at the median\n",
        start_latency(&agent).await
    );
    println!(
        "| round | accepted/s | placed/s | finished/s | agent CPU ms/job | CPU ms/job in all |"
    );
    println!("|---|---|---|---|---|---|");
    let mut memory = Vec::new();
    let mut rates = Vec::new();
    for round in 0..options.rounds {
        rates.push(measure(&agent, options, round, group.as_ref()).await);
        if round == 0 {
            memory.push(settled_memory(&agent).await);
        }
    }
    memory.push(settled_memory(&agent).await);
    if let ([first, .., last], [before, after]) = (&rates[..], &memory[..]) {
        let jobs = options.jobs * (options.rounds - 1);
        println!(
            "\nlast round / first round: {:.2}; memory of the agent after the first round {:.1} MiB, {:.1} KiB per further finished job",
            last / first,
            *before as f64 / 1024.0,
            (*after as f64 - *before as f64) / jobs as f64,
        );
    }
}

async fn measure(agent: &Agent, options: &Options, round: usize, group: Option<&Group>) -> f64 {
    let jobs = options.jobs;
    let cpu_before = process::cpu_time(agent.pid());
    let all_before = group.map(Group::cpu);
    let (start, since_epoch) = (Instant::now(), process::now_ns());
    submit(agent, options, round).await;
    let accepted = start.elapsed();
    until_all_complete(agent, jobs, round, start).await;
    let cpu = process::cpu_time(agent.pid()) - cpu_before;
    let all = group.map(Group::cpu).zip(all_before);
    let (placed, finished) = last_times(agent, round).await;
    let rate = |time: i64| jobs as f64 / ((time - since_epoch) as f64 / 1e9);
    let per_job = |cpu: Duration| cpu.as_secs_f64() * 1e3 / jobs as f64;
    let in_all = all.map_or_else(String::new, |(after, before)| {
        format!("{:.2}", per_job(after - before))
    });
    println!(
        "| {round} | {:.0} | {:.0} | {:.0} | {:.2} | {} |",
        jobs as f64 / accepted.as_secs_f64(),
        rate(placed),
        rate(finished),
        per_job(cpu),
        in_all,
    );
    rate(finished)
}

/// Median from the creation of an allocation to its task's start, milliseconds, by the agent's
/// clock.
async fn start_latency(agent: &Agent) -> f64 {
    let mut times = Vec::new();
    for number in 0..SINGLE_JOBS {
        let id = format!("single-{number}");
        http::put(&agent.url("http", "/v1/jobs"), &job(&id)).await;
        let path = format!("/v1/job/{id}/allocations");
        let alloc = agent
            .wait(&path, |allocs| {
                let alloc = allocs.as_array()?.first()?;
                (alloc["ClientStatus"] == "complete").then(|| alloc.clone())
            })
            .await;
        times.push(task_start::placed_to_started(&alloc));
    }
    task_start::median(&mut times)
}

/// A control group that counts the CPU of the agent and of everything that it starts, also of what
/// it does not wait for.
struct Group {
    path: PathBuf,
    before: PathBuf,
}

impl Group {
    /// Puts this process into a group of its own, so that an agent is born in it; none where that
    /// is not allowed.
    fn enter() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let mount = PathBuf::from(mount.split(' ').nth(4)?);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let before = mount.join(own);
        let path = before.join(format!("trivet-bench-{}", std::process::id()));
        fs::create_dir_all(&path).ok()?;
        fs::write(path.join("cgroup.procs"), "0").ok()?;
        Some(Self { path, before })
    }

    /// Takes this process out again.
    fn leave(self) -> Self {
        fs::write(self.before.join("cgroup.procs"), "0").expect("the group of before");
        self
    }

    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.path.join("cpu.stat")).expect("counters");
        let usage = stat
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "));
        Duration::from_micros(usage.and_then(|text| text.parse().ok()).expect("a number"))
    }
}

/// Waits for the end with few questions: a list of all jobs costs the agent as much as several
/// jobs.
async fn until_all_complete(agent: &Agent, wanted: usize, round: usize, start: Instant) {
    let url = agent.url("http", &format!("/v1/jobs?prefix=b{round}-"));
    loop {
        let jobs = http::get(&url).await;
        let jobs = jobs.as_array().map_or(&[][..], Vec::as_slice);
        let complete = |job: &&Value| {
            job["JobSummary"]["Summary"]["g"]["Complete"]
                .as_u64()
                .is_some_and(|count| count > 0)
        };
        let done = jobs.iter().filter(complete).count();
        if done >= wanted {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "only {done} finished"
        );
        sleep(LOOK).await;
    }
}

/// When the last allocation of the round was placed, and when the servers took note of the last
/// end; nanoseconds since the epoch, by the agent.
async fn last_times(agent: &Agent, round: usize) -> (i64, i64) {
    let allocs = http::get(&agent.url("http", "/v1/allocations?task_states=false")).await;
    let prefix = format!("b{round}-");
    let of_round = |field: &str| {
        let rows = allocs.as_array().map_or(&[][..], Vec::as_slice);
        rows.iter()
            .filter(|row| {
                row["JobID"]
                    .as_str()
                    .is_some_and(|id| id.starts_with(&prefix))
            })
            .filter_map(|row| row[field].as_i64())
            .max()
            .expect("the round has allocations")
    };
    (of_round("CreateTime"), of_round("ModifyTime"))
}

/// Anonymous resident memory in KiB once the allocator has given back what it gives back.
async fn settled_memory(agent: &Agent) -> u64 {
    sleep(SETTLE).await;
    process::anonymous_kib(agent.pid())
}

async fn submit(agent: &Agent, options: &Options, round: usize) {
    let next = Arc::new(Mutex::new(0..options.jobs));
    let url = agent.url("http", "/v1/jobs");
    let mut workers = JoinSet::new();
    for _ in 0..options.connections {
        let (next, url) = (Arc::clone(&next), url.clone());
        workers.spawn(async move {
            let client = http::client();
            loop {
                let Some(number) = next.lock().await.next() else {
                    return;
                };
                let job = job(&format!("b{round}-{number:04}"));
                let response = client.put(&url).json(&job).send().await.expect("an answer");
                assert!(response.status().is_success(), "{}", response.status());
                response.bytes().await.expect("a body");
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.expect("a worker does not panic");
    }
}

fn job(id: &str) -> Value {
    json!({"Job": {
        "ID": id, "Type": "batch", "Datacenters": ["*"],
        "TaskGroups": [{"Name": "g", "Tasks": [{
            "Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"},
            "Resources": {"CPU": 1, "MemoryMB": 10},
            "LogConfig": {"MaxFiles": 1, "MaxFileSizeMB": 1}}],
            "EphemeralDisk": {"SizeMB": 10}}],
    }})
}
