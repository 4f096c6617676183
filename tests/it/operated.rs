//! An agent as its operators use it: prepared queries in DNS, snapshots, its log, reload and leave.

use crate::harness::{
    Agent, DEADLINE, Echo,
    agent::Mode,
    command::{begin, trivet},
    dns, eventually, http,
};
use hickory_proto::rr::{RData, RecordType};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdout},
    time::timeout,
};

async fn put(agent: &Agent, path: &str, body: &Value) {
    let sent = http::send(Method::PUT, &agent.url("catalog", path), Some(body)).await;
    assert!(sent.0.is_success(), "{path}: {sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_query_is_a_name() {
    let agent = Agent::start().await;
    for (node, address) in [("a", "192.0.2.1"), ("b", "192.0.2.2")] {
        let body = json!({
            "Node": node, "Address": address, "NodeMeta": {"rack": node},
            "Service": {"ID": "web", "Service": "web", "Port": 80},
        });
        put(&agent, "/v1/catalog/register", &body).await;
    }
    let query = json!({
        "Name": "in-", "Template": {"Type": "name_prefix_match", "Regexp": "^in-(.*)-(.*)$"},
        "Service": {"Service": "${match(2)}", "NodeMeta": {"rack": "${match(1)}"}}, "DNS": {"TTL": "7s"},
    });
    let made = http::send(
        Method::POST,
        &agent.url("catalog", "/v1/query"),
        Some(&query),
    )
    .await;
    assert!(made.0.is_success(), "{made:?}");
    let answer = eventually("the query is answered", async || {
        let name = "in-b-web.query.consul.";
        let answer = dns::ask(agent.address("dns"), name, RecordType::A).await;
        let first = answer.answers.first().cloned();
        first.ok_or_else(|| format!("{answer:?}"))
    })
    .await;
    assert_eq!(answer.ttl, 7);
    let RData::A(address) = answer.data else {
        panic!("{answer:?}");
    };
    assert_eq!(address.to_string(), "192.0.2.2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_saved_looked_into_and_brought_back() {
    let agent = Agent::start().await;
    trivet(&agent, &["kv", "put", "app/a", "1"]).await.ok();
    let file = agent.dir().join("catalog.snap");
    let file = file.to_str().expect("a name");
    let saved = trivet(&agent, &["snapshot", "save", file]).await.ok();
    assert!(
        saved
            .stdout
            .starts_with("Saved and verified snapshot to index "),
        "{}",
        saved.stdout
    );
    let shown = trivet(&agent, &["snapshot", "inspect", "-kvdetails", file]).await;
    let shown = shown.ok().stdout;
    assert!(
        shown.contains("\n keys ") && shown.contains("\n app/a "),
        "{shown}"
    );
    trivet(&agent, &["kv", "delete", "app/a"]).await.ok();
    let restored = trivet(&agent, &["snapshot", "restore", file]).await.ok();
    assert_eq!(restored.stdout, "Restored snapshot\n");
    let value = trivet(&agent, &["kv", "get", "app/a"]).await.ok();
    assert_eq!(value.stdout, "1\n");
    std::fs::write(file, "junk").expect("a file");
    let refused = trivet(&agent, &["snapshot", "restore", file]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("failed to decompress snapshot"),
        "{}",
        refused.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_followed_while_the_agent_reloads_and_leaves() {
    let mut agent = Agent::start_with(Mode::Durable, "log_level = \"warn\"").await;
    let url = agent.url("catalog", "/v1/agent/monitor?loglevel=debug");
    let mut followed = reqwest::get(&url).await.expect("a stream");
    assert_eq!(followed.status(), 200);
    let reloaded = trivet(&agent, &["reload"]).await.ok();
    assert_eq!(reloaded.stdout, "Configuration reload triggered\n");
    let lines = async {
        let mut text = String::new();
        while !text.contains("the configuration was read again") {
            let piece = followed.chunk().await.expect("it goes on");
            text.push_str(&String::from_utf8_lossy(&piece.expect("more")));
        }
        text
    };
    let text = timeout(DEADLINE, lines).await.expect("it is told");
    assert!(text.contains(" [INFO]  trivet::"), "{text}");

    std::fs::write(agent.dir().join("agent.hcl"), "data_dir = 7").expect("a file");
    let refused = trivet(&agent, &["reload"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("`data_dir` must be a text"),
        "{}",
        refused.stderr
    );
    let left = trivet(&agent, &["leave"]).await.ok();
    assert_eq!(left.stdout, "Graceful leave complete\n");
    assert!(agent.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_restarted_in_batches_and_its_allocations_are_replaced() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 3);
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    let ids = |allocs: &[Value]| -> Vec<String> {
        let mut ids: Vec<_> = allocs.iter().map(|alloc| alloc["ID"].to_string()).collect();
        ids.sort();
        ids
    };
    let before = job.running(&agent, 3).await;

    let restart = ["job", "restart", "-yes", "-batch-size", "50%", "web"];
    let restarted = trivet(&agent, &restart).await.ok();
    for told in [
        "Restarting 3 allocations",
        "Restarting 1st batch of 2 allocations",
        "Restarting 2nd batch of 1 allocations",
        "Restarting running tasks in allocation ",
        "Job restarted successfully!",
    ] {
        assert!(restarted.stdout.contains(told), "{}", restarted.stdout);
    }
    let after = job.running(&agent, 3).await;
    assert_eq!(ids(&after), ids(&before), "where they were");
    for alloc in &after {
        assert_eq!(alloc["TaskStates"]["server"]["Restarts"], 1, "{alloc}");
    }

    let replace = ["job", "restart", "-on-error", "fail", "-reschedule", "web"];
    let replaced = trivet(&agent, &replace).await.ok();
    assert_eq!(
        replaced.stdout.matches(" replaced by ").count(),
        3,
        "{}",
        replaced.stdout
    );
    let new = ids(&job.running(&agent, 3).await);
    assert!(ids(&before).iter().all(|id| !new.contains(id)), "{new:?}");

    for (arguments, said) in [
        (
            &["web"][..],
            "\"ask\" cannot be used when terminal is not interactive",
        ),
        (
            &["-yes", "-batch-size", "0", "web"],
            "must be greater than zero",
        ),
        (
            &["-yes", "-all-tasks", "-task", "t", "web"],
            "cannot be used with -task",
        ),
        (
            &["-yes", "nosuch"],
            "No job(s) with prefix or ID \"nosuch\" found",
        ),
    ] {
        let refused = trivet(&agent, &[&["job", "restart"], arguments].concat()).await;
        assert_eq!(refused.code, 1, "{}", refused.text());
        assert!(refused.stderr.contains(said), "{}", refused.text());
    }
    let none = ["job", "restart", "-yes", "-group", "other", "web"];
    let none = trivet(&agent, &none).await.ok();
    assert_eq!(none.stdout, "No allocations to restart\n");
}

/// What a command prints.
struct Printed {
    output: ChildStdout,
    heard: String,
}

impl Printed {
    fn by(child: &mut Child) -> Self {
        Self {
            output: child.stdout.take().expect("its output"),
            heard: String::new(),
        }
    }

    /// Reads up to that text.
    async fn until(&mut self, text: &str) {
        let reading = async {
            loop {
                if let Some(at) = self.heard.find(text) {
                    self.heard.drain(..at + text.len());
                    return;
                }
                let mut piece = [0; 1024];
                let read = self.output.read(&mut piece).await.expect("what it prints");
                assert_ne!(read, 0, "it ended without {text:?}: {}", self.heard);
                self.heard
                    .push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        };
        let read = timeout(DEADLINE, reading).await;
        assert!(read.is_ok(), "no {text:?} in {:?}", self.heard);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_is_interrupted_asks_back_before_it_ends() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 2);
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    let restart = [
        "job",
        "restart",
        "-yes",
        "-all-tasks",
        "-batch-wait",
        "1h",
        "web",
    ];
    let mut restarting = begin(&agent, &restart);
    let mut printed = Printed::by(&mut restarting);
    let mut input = restarting.stdin.take().expect("its input");
    let id = i32::try_from(restarting.id().expect("it runs")).expect("an id");
    printed.until("Restarting all tasks in allocation").await;
    printed
        .until("Waiting 1h0m0s before restarting the next batch")
        .await;
    for (is_interrupted, answer, outcome) in [
        (true, "maybe\n", "Invalid answer \"maybe\""),
        (false, "no\n", "Going on with the restarts"),
        (true, "yes\n", "Canceling job restart process"),
    ] {
        if is_interrupted {
            kill(Pid::from_raw(id), Signal::SIGINT).expect("a signal");
        }
        printed
            .until("Are you sure you want to stop the restart process? [y/N]")
            .await;
        input.write_all(answer.as_bytes()).await.expect("an answer");
        printed.until(outcome).await;
    }
    let ended = timeout(DEADLINE, restarting.wait()).await.expect("it ends");
    assert!(ended.expect("an end").success());
    let restarts: u64 = (job.running(&agent, 2).await.iter())
        .filter_map(|alloc| alloc["TaskStates"]["server"]["Restarts"].as_u64())
        .sum();
    assert_eq!(restarts, 1, "only the first of the two");

    // Nobody answers: the interrupt was meant.
    let mut alone = begin(&agent, &restart);
    let mut printed = Printed::by(&mut alone);
    let id = i32::try_from(alone.id().expect("it runs")).expect("an id");
    drop(alone.stdin.take());
    printed.until("Waiting 1h0m0s").await;
    kill(Pid::from_raw(id), Signal::SIGINT).expect("a signal");
    let ended = timeout(DEADLINE, alone.wait()).await.expect("it ends");
    assert!(ended.expect("an end").success());
}
