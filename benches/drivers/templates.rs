//! Templates that read one key: from its write to the last file that has its value.

use crate::{
    harness::{Agent, agent::Mode, eventually, http},
    process, task_start,
};
use serde_json::{Value, json};
use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Tasks, each of which has as many templates as one of [`PER_TASK`].
const TASKS: usize = 100;
/// One each is what a fleet does that reads one key; ten each are a thousand templates.
const PER_TASK: [usize; 2] = [1, 10];
/// Writes of the key that are measured.
const WRITES: usize = 10;
/// Milliseconds within which the templates of a hundred tasks are rendered.
const GOAL_MS: f64 = 500.0;
const KEY: &str = "bench/value";

pub(crate) async fn run() {
    println!(
        "{TASKS} raw_exec tasks on one agent, durable log, templates of one line with `key \"{KEY}\"`, `change_mode = \"noop\"`, `splay = \"0s\"` and\n\
         otherwise the usual waits (50 ms of calm); {WRITES} writes of the key, from the request to the time of the last file that has its value\n"
    );
    println!("| templates | median ms | most ms | agent CPU ms per write |\n|---|---|---|---|");
    for per_task in PER_TASK {
        let (mut times, cpu) = measure(per_task).await;
        let middle = task_start::median(&mut times);
        let most = task_start::percentile(&times, 100);
        println!(
            "| {} | {middle:.0} | {most:.0} | {cpu:.0} |",
            TASKS * per_task
        );
        if per_task == 1 {
            let met = if most <= GOAL_MS { "met" } else { "missed" };
            println!("| goal of {GOAL_MS:.0} ms for {TASKS} tasks: {met} | | | |");
        }
    }
}

/// Milliseconds of each write, and the agent's CPU time of one.
async fn measure(per_task: usize) -> (Vec<f64>, f64) {
    let agent = Agent::start_with(Mode::Durable, "").await;
    set(&agent, "0").await;
    http::put(&agent.url("http", "/v1/jobs"), &job(per_task)).await;
    let allocs = agent
        .wait("/v1/job/templates/allocations", |allocs| {
            let allocs = allocs.as_array()?;
            let are_running = allocs
                .iter()
                .all(|alloc| alloc["ClientStatus"] == "running");
            (allocs.len() == TASKS && are_running).then(|| allocs.clone())
        })
        .await;
    let files: Vec<PathBuf> = allocs
        .iter()
        .flat_map(|alloc| {
            let id = alloc["ID"].as_str().expect("an id");
            let local = agent.dir().join("data/alloc").join(id).join("t/local");
            (0..per_task).map(move |number| local.join(name(number)))
        })
        .collect();
    all_have(&files, "0").await;
    let before = process::cpu_time(agent.pid());
    let mut times = Vec::new();
    for number in 1..=WRITES {
        let value = number.to_string();
        let asked = process::now_ns();
        set(&agent, &value).await;
        all_have(&files, &value).await;
        let last = files.iter().map(|file| written(file)).max();
        times.push((last.expect("a file") - asked) as f64 / 1e6);
    }
    let cpu = process::cpu_time(agent.pid()) - before;
    (times, cpu.as_secs_f64() * 1e3 / WRITES as f64)
}

async fn set(agent: &Agent, value: &str) {
    let url = agent.url("catalog", &format!("/v1/kv/{KEY}"));
    let answer = http::client().put(url).body(value.to_owned()).send().await;
    assert!(answer.expect("an answer").status().is_success());
}

/// Waits until every file holds the value. What is measured is the time of the files, so looking
/// late costs nothing.
async fn all_have(files: &[PathBuf], value: &str) {
    let wanted = &format!("value {value}");
    for file in files {
        eventually("a template is rendered", || async move {
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
            (text == *wanted).then_some(()).ok_or(text)
        })
        .await;
    }
}

/// When a file was written last, nanoseconds since the epoch.
fn written(file: &Path) -> i64 {
    let found = std::fs::metadata(file).expect("a file");
    found.mtime() * 1_000_000_000 + found.mtime_nsec()
}

fn name(number: usize) -> String {
    format!("value-{number}")
}

fn job(per_task: usize) -> Value {
    let templates: Vec<Value> = (0..per_task)
        .map(|number| {
            json!({
                "EmbeddedTmpl": format!("value {{{{ key \"{KEY}\" }}}}"),
                "DestPath": format!("local/{}", name(number)),
                "ChangeMode": "noop", "Splay": 0,
            })
        })
        .collect();
    let task = json!({
        "Driver": "raw_exec", "Config": {"command": "/bin/sleep", "args": ["1000000"]},
        "KillTimeout": 100_000_000, "Templates": templates,
        "Resources": {"CPU": 1, "MemoryMB": 10},
    });
    let mut job = task_start::job("templates", "service", &task);
    job["Job"]["TaskGroups"][0]["Count"] = json!(TASKS);
    job
}
