//! Never two processes of one task: agent and supervisors are killed at every step of a launch and
//! at random, and what the agent keeps is damaged under live tasks.
//!
//! Each task takes a lock in its allocation's directory and hands it to a child of its own; a
//! second run that comes while anything of the first lives finds the lock taken and leaves a mark.

use crate::harness::{
    Agent, DEADLINE,
    agent::{Mode, Room, no_process_left},
    eventually, http,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use sys::faults;

/// How many kills the random test makes.
const KILLS_VARIABLE: &str = "TRIVET_TEST_KILLS";
const KILLS: u64 = 30;

const SCRIPT: &str = "exec 9>$NOMAD_ALLOC_DIR/data/lock; \
    flock -n 9 || { echo second >> $NOMAD_ALLOC_DIR/data/second; exit 1; }; \
    sleep 36000 & echo $$ > $NOMAD_ALLOC_DIR/data/up; wait";

async fn run(agent: &Agent, id: &str) {
    let job = json!({"Job": {
        "ID": id, "Type": "service", "Datacenters": ["*"],
        "TaskGroups": [{"Name": "g",
            "RestartPolicy": {"Attempts": 100_000, "Interval": 3_600_000_000_000_i64, "Delay": 0, "Mode": "fail"},
            "EphemeralDisk": {"SizeMB": 10},
            "Tasks": [{
                "Name": "t", "Driver": "raw_exec",
                "Config": {"command": "/bin/sh", "args": ["-c", SCRIPT]},
                "LogConfig": {"MaxFiles": 1, "MaxFileSizeMB": 1},
                "Resources": {"CPU": 1, "MemoryMB": 10}}]}],
    }});
    put(agent, &job).await;
}

/// Registers a job with an agent that may die of it: then it is registered again later.
async fn put(agent: &Agent, job: &Value) {
    let url = agent.url("http", "/v1/jobs");
    if let Ok(answer) = http::client().put(url).json(job).send().await {
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

/// Waits until the task of the job `job` was started again.
async fn has_restarted(agent: &Agent) {
    agent
        .wait("/v1/job/job/allocations", |allocs| {
            let restarts = &allocs.as_array()?.first()?["TaskStates"]["t"]["Restarts"];
            (restarts.as_u64()? > 0).then_some(())
        })
        .await;
}

fn alloc_dir(agent: &Agent, alloc_id: &str) -> PathBuf {
    agent
        .dir()
        .join("data/alloc")
        .join(alloc_id)
        .join("alloc/data")
}

/// Waits until the job's one allocation runs, and answers with its id and the process of its task.
async fn up(agent: &Agent, id: &str) -> (String, Pid) {
    let path = format!("/v1/job/{id}/allocations");
    eventually("a running task", async || {
        let allocs = http::get(&agent.url("http", &path)).await;
        let wanted =
            |alloc: &&Value| alloc["DesiredStatus"] == "run" && alloc["ClientStatus"] == "running";
        let rows = allocs.as_array().map_or(&[][..], Vec::as_slice);
        let running: Vec<&Value> = rows.iter().filter(wanted).collect();
        let [alloc] = running[..] else {
            return Err(format!("{} run: {allocs}", running.len()));
        };
        let alloc_id = alloc["ID"].as_str().expect("an id").to_owned();
        let text = fs::read_to_string(alloc_dir(agent, &alloc_id).join("up"));
        let pid = text
            .unwrap_or_default()
            .trim()
            .parse()
            .map_err(|_| "not up yet")?;
        // The file may be that of an earlier run.
        let lives = sleepers(agent)
            .into_iter()
            .any(|sleeper| parent(sleeper) == Some(pid));
        lives
            .then_some((alloc_id, Pid::from_raw(pid)))
            .ok_or_else(|| format!("process {pid} is gone"))
    })
    .await
}

fn parent(pid: Pid) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// The children of tasks, one per run that lives.
fn sleepers(agent: &Agent) -> Vec<Pid> {
    let processes = agent.task_processes().into_iter();
    processes
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
        })
        .collect()
}

/// Supervisors work in the run directory.
fn supervisors(agent: &Agent) -> Vec<Pid> {
    let run_dir = agent.dir().join("data/client/run");
    let run_dir = fs::canonicalize(run_dir).expect("a run directory");
    let processes = agent.task_processes().into_iter();
    processes
        .filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == run_dir))
        .collect()
}

/// No run has found another one alive, and one lives now.
async fn assert_one(agent: &Agent, id: &str, what: &str) {
    eventually("one run", || async {
        let (alloc_id, _) = up(agent, id).await;
        let mark = fs::read_to_string(alloc_dir(agent, &alloc_id).join("second"));
        assert!(
            mark.is_err(),
            "{what}: two at once: {mark:?}\n{}",
            log(agent)
        );
        let sleepers = sleepers(agent);
        assert!(sleepers.len() <= 1, "{what}: {sleepers:?}\n{}", log(agent));
        // The one that was seen may have been about to end with its supervisor.
        let lives = sleepers.len() == 1;
        lives.then_some(()).ok_or_else(|| format!("{what}: none"))
    })
    .await;
}

fn log(agent: &Agent) -> String {
    fs::read_to_string(agent.dir().join("agent.log")).unwrap_or_default()
}

async fn purge(agent: &Agent, id: &str) {
    let url = agent.url("http", &format!("/v1/job/{id}?purge=true"));
    http::send(reqwest::Method::DELETE, &url, None).await;
    no_process_left(agent.dir()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_killed_at_any_step_of_a_launch_leaves_one_process() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    for place in ["launch.recorded", "launch.sent", "launch.greeted"] {
        agent.stop().await;
        agent.start_with_fault(place).await;
        run(&agent, "job").await;
        agent.ended().await;
        agent.start_again().await;
        run(&agent, "job").await;
        assert_one(&agent, "job", place).await;
        purge(&agent, "job").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_killed_at_any_step_leaves_one_process() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let places = [
        "fork.received",
        "supervisor.read",
        "supervisor.locked",
        "supervisor.bound",
        "supervisor.spawned",
        "supervisor.greeted",
    ];
    for place in places {
        agent.stop().await;
        agent.start_with_fault(place).await;
        run(&agent, "job").await;
        has_restarted(&agent).await;
        agent.kill().await;
        agent.start_again().await;
        assert_one(&agent, "job", place).await;
        purge(&agent, "job").await;
    }
}

/// An end that was heard of, or told, when agent or supervisor died is neither lost nor told twice
/// as a start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_step_of_an_end_does_not_lose_the_exit_code() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    for place in ["exit.heard", "exit.recorded"] {
        agent.stop().await;
        agent.start_with_fault(place).await;
        let job = json!({"Job": {
            "ID": place, "Type": "batch", "Datacenters": ["*"],
            "TaskGroups": [{"Name": "g",
                "RestartPolicy": {"Attempts": 0, "Interval": 3_600_000_000_000_i64, "Delay": 0, "Mode": "fail"},
                "ReschedulePolicy": {"Attempts": 0, "Unlimited": false},
                "Tasks": [{"Name": "t", "Driver": "raw_exec",
                    "Config": {"command": "/bin/sh", "args": ["-c", "echo run >> $NOMAD_ALLOC_DIR/data/runs; exit 7"]},
                    "Resources": {"CPU": 1, "MemoryMB": 10}}]}],
        }});
        put(&agent, &job).await;
        agent.ended().await;
        agent.start_again().await;
        let path = format!("/v1/job/{place}/allocations");
        let alloc = agent
            .wait(&path, |allocs| {
                let alloc = allocs.as_array()?.first()?;
                (alloc["ClientStatus"] == "failed").then(|| alloc.clone())
            })
            .await;
        let codes: Vec<i64> = alloc["TaskStates"]["t"]["Events"]
            .as_array()
            .expect("events")
            .iter()
            .filter(|event| event["Type"] == "Terminated")
            .filter_map(|event| event["ExitCode"].as_i64())
            .collect();
        assert_eq!(codes, [7], "{place}: {alloc}");
        let alloc_id = alloc["ID"].as_str().expect("an id");
        let runs = fs::read_to_string(alloc_dir(&agent, alloc_id).join("runs"));
        assert_eq!(runs.expect("a file"), "run\n", "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_kills_of_agent_and_supervisor_never_leave_two_processes() {
    let kills = std::env::var(KILLS_VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(KILLS);
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    run(&agent, "job").await;
    up(&agent, "job").await;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for number in 0..kills {
        let which = random(3);
        if which != 0 {
            for pid in supervisors(&agent) {
                kill(pid, Signal::SIGKILL).ok();
            }
        }
        // A new run comes into being meanwhile.
        tokio::time::sleep(Duration::from_micros(random(20_000))).await;
        if which != 1 {
            agent.kill().await;
            agent.start_again().await;
        }
        if random(4) == 0 {
            assert_one(&agent, "job", &format!("kill {number}")).await;
        }
    }
    assert_one(&agent, "job", "the last kill").await;
    purge(&agent, "job").await;
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Removed,
    Emptied,
    Halved,
    CutAtEnd,
    Flipped,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_under_live_tasks_never_leave_a_process_that_nobody_knows() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    for damage in [
        Damage::Removed,
        Damage::Emptied,
        Damage::Halved,
        Damage::CutAtEnd,
        Damage::Flipped,
    ] {
        // A job of its own each time: a failed allocation delays the next one of its job.
        let id = format!("{damage:?}").to_lowercase();
        run(&agent, &id).await;
        let (alloc_id, _) = up(&agent, &id).await;
        agent.kill().await;
        let file = agent
            .dir()
            .join("data/client/allocs")
            .join(format!("{alloc_id}.assignment"));
        let mut content = fs::read(&file).expect("a file");
        match damage {
            Damage::Removed => fs::remove_file(&file).expect("a file"),
            Damage::Emptied => fs::write(&file, "").expect("a file"),
            Damage::Halved => fs::write(&file, &content[..content.len() / 2]).expect("a file"),
            Damage::CutAtEnd => fs::write(&file, &content[..content.len() - 3]).expect("a file"),
            Damage::Flipped => {
                let middle = content.len() / 2;
                content[middle] ^= 0xff;
                fs::write(&file, &content).expect("a file");
            }
        }
        agent.start_again().await;
        match damage {
            // Started anew, or the same one goes on.
            Damage::Removed | Damage::CutAtEnd => {
                assert_one(&agent, &id, &format!("{damage:?}")).await;
            }
            Damage::Emptied | Damage::Halved | Damage::Flipped => {
                settled_after(&agent, &alloc_id, damage, &file).await;
            }
        }
        purge(&agent, &id).await;
    }
}

/// Either the allocation failed with a sentence that names the file, or what is left of the file
/// was enough to go on.
async fn settled_after(agent: &Agent, alloc_id: &str, damage: Damage, file: &Path) {
    let name = file
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let path = format!("/v1/allocation/{alloc_id}");
    let alloc = agent
        .wait(&path, |alloc| {
            let is_over = alloc["ClientStatus"] == "failed";
            let goes_on = matches!(damage, Damage::Halved) && sleepers(agent).len() == 1;
            (is_over || goes_on).then(|| alloc.clone())
        })
        .await;
    if alloc["ClientStatus"] == "failed" {
        let events = alloc["TaskStates"]["t"]["Events"].to_string();
        assert!(
            events.contains(&name) && events.contains("damaged"),
            "{damage:?}: {events}"
        );
        eventually("the name in the log", async || {
            let log = log(agent);
            log.contains(&name).then_some(()).ok_or(log)
        })
        .await;
    }
    let mark = alloc_dir(agent, alloc_id).join("second");
    assert!(!mark.exists(), "{damage:?}: two at once");
    assert!(
        sleepers(agent).len() <= 1,
        "{damage:?}: {:?}",
        sleepers(agent)
    );
}

/// A mounted file system; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).expect("a directory");
        let options = format!("size={size},mode=755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_full_disk_does_not_leave_a_second_process() {
    let mut mounted = None;
    let mut agent = Agent::start_below(
        &std::env::temp_dir(),
        Mode::Durable,
        "",
        Room::Free,
        |dir| {
            mounted = Mounted::tmpfs(&dir.join("data"), "20m");
        },
    )
    .await;
    let Some(_mounted) = mounted else {
        println!("SKIPPED: needs root to mount a file system");
        return;
    };
    run(&agent, "job").await;
    let (alloc_id, first) = up(&agent, "job").await;
    let filler = agent.dir().join("data/filler");
    let fill = Command::new("dd")
        .args(["if=/dev/zero", "bs=512", "status=none"])
        .arg(format!("of={}", filler.display()))
        .stderr(std::process::Stdio::null())
        .status();
    assert!(!fill.expect("dd runs").success(), "the disk is full");
    // Whoever ends it, it is to be started again, and that cannot be kept.
    kill(first, Signal::SIGKILL).expect("it runs");
    let gone = async {
        while !sleepers(&agent).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, gone)
        .await
        .expect("its children end with it");
    agent.kill().await;
    fs::remove_file(&filler).expect("a file");
    agent.start_again().await;
    assert_one(&agent, "job", "space again").await;
    let (same, _) = up(&agent, "job").await;
    assert_eq!(same, alloc_id);
    purge(&agent, "job").await;
}

/// What makes an agent impatient with its supervisors.
const IMPATIENT: (&str, &str) = (faults::PATIENCE, "1000");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_that_hangs_while_the_agent_is_away_leaves_one_process() {
    for without in ["", "cgroups"] {
        let mut agent = Agent::start_with(Mode::Durable, "").await;
        agent.stop().await;
        agent.start_with_faults(&[(faults::WITHOUT, without)]).await;
        run(&agent, "job").await;
        let (_, first) = up(&agent, "job").await;
        agent.kill().await;
        for pid in supervisors(&agent) {
            kill(pid, Signal::SIGSTOP).expect("it runs");
        }
        agent
            .start_with_faults(&[(faults::WITHOUT, without), IMPATIENT])
            .await;
        // Nobody can look after the first one any more.
        eventually("the end of the first run", async || {
            let lives = parent(first).is_some();
            (!lives).then_some(()).ok_or_else(|| log(&agent))
        })
        .await;
        assert_one(&agent, "job", without).await;
        purge(&agent, "job").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greeting_that_comes_too_late_leaves_one_process() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    for (place, without) in [
        ("supervisor.bound", ""),
        ("supervisor.spawned", ""),
        ("supervisor.spawned", "cgroups"),
    ] {
        agent.stop().await;
        let hangs = [(faults::HANGS, place), (faults::WITHOUT, without)];
        agent
            .start_with_faults(&[hangs[0], hangs[1], IMPATIENT])
            .await;
        run(&agent, "job").await;
        has_restarted(&agent).await;
        agent.kill().await;
        agent.start_with_faults(&[IMPATIENT]).await;
        assert_one(&agent, "job", place).await;
        purge(&agent, "job").await;
    }
}

/// Supervisors are started one by one when none can be forked, and a task that scatters its
/// processes is ended as a whole when there are no control groups to find them by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_start_and_end_without_fork_server_and_control_groups() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    agent.stop().await;
    agent
        .start_with_faults(&[(faults::WITHOUT, "cgroups,fork-server")])
        .await;
    let scatter = "(sleep 36000 &); setsid sleep 36000 & \
        (setsid sh -c 'sleep 36000 & exit' &); sleep 36000 & echo $$ > $NOMAD_ALLOC_DIR/data/up; wait";
    let job = |id: &str| {
        json!({"Job": {
            "ID": id, "Type": "service", "Datacenters": ["*"],
            "TaskGroups": [{"Name": "g", "Tasks": [{
                "Name": "t", "Driver": "raw_exec", "KillTimeout": 100_000_000,
                "Config": {"command": "/bin/sh", "args": ["-c", scatter]},
                "Resources": {"CPU": 1, "MemoryMB": 10}}]}],
        }})
    };
    put(&agent, &job("stopped")).await;
    up(&agent, "stopped").await;
    let parents: Vec<_> = supervisors(&agent).into_iter().map(parent).collect();
    let own = Some(agent.pid().as_raw());
    assert!(parents.contains(&own), "{parents:?} without {own:?}");
    purge(&agent, "stopped").await;
    assert!(
        agent
            .control_group()
            .is_none_or(|group| !group.path().exists())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_agent_takes_the_control_group_over_and_the_last_one_removes_it() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let Some(group) = agent.control_group() else {
        println!("SKIPPED: needs control groups");
        return;
    };
    run(&agent, "job").await;
    up(&agent, "job").await;
    agent.kill().await;
    assert!(!group.processes().is_empty());
    agent.start_again().await;
    assert_eq!(agent.control_group().as_ref(), Some(&group));
    assert_one(&agent, "job", "one group").await;
    agent.stop().await;
    assert!(!group.processes().is_empty(), "the task goes on");
    agent.start_again().await;
    purge(&agent, "job").await;
    agent.kill().await;
    assert!(group.path().exists(), "nobody was left to remove it");
    agent.start_again().await;
    agent.stop().await;
    assert!(!group.path().exists(), "{group:?} is left");
}

/// Runs a batch job to its end: the supervisor that it had, and how often it was restarted.
async fn batch(agent: &Agent, id: &str) -> (i32, u64) {
    let job = json!({"Job": {
        "ID": id, "Type": "batch", "Datacenters": ["*"],
        "TaskGroups": [{"Name": "g", "Tasks": [{
            "Name": "t", "Driver": "raw_exec",
            "Config": {"command": "/bin/sh", "args": ["-c", "echo $PPID > $NOMAD_ALLOC_DIR/data/supervisor"]},
            "Resources": {"CPU": 1, "MemoryMB": 10}}]}],
    }});
    put(agent, &job).await;
    let alloc = agent
        .wait(&format!("/v1/job/{id}/allocations"), |allocs| {
            let alloc = allocs.as_array()?.first()?;
            (alloc["ClientStatus"] == "complete").then(|| alloc.clone())
        })
        .await;
    let file = alloc_dir(agent, alloc["ID"].as_str().expect("an id")).join("supervisor");
    let supervisor = fs::read_to_string(file).expect("a file");
    let restarts = alloc["TaskStates"]["t"]["Restarts"].as_u64();
    (
        supervisor.trim().parse().expect("a process"),
        restarts.expect("a number"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_serves_one_task_after_the_other_and_may_be_killed_in_between() {
    let agent = Agent::start_with(Mode::Durable, "").await;
    let (mut last, _) = batch(&agent, "first").await;
    // It waits for a second; a busy machine may need longer for the next job.
    let mut number = 0;
    let served_again = async {
        loop {
            number += 1;
            let (supervisor, restarts) = batch(&agent, &format!("again-{number}")).await;
            assert_eq!(restarts, 0);
            if supervisor == last {
                return;
            }
            last = supervisor;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, served_again).await;
    waited.expect("a supervisor serves another task");
    kill(Pid::from_raw(last), Signal::SIGKILL).ok();
    let (supervisor, restarts) = batch(&agent, "after").await;
    assert!(supervisor != last && restarts == 0);
}
