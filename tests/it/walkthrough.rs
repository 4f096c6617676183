//! The published walkthrough: run, scale, register, route, stop.

use crate::harness::{
    Agent, Echo,
    agent::{TRIVET, no_process_left},
    command::{self, trivet},
    dns, eventually, http, load,
};
use reqwest::{Method, StatusCode};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/examples");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_example_answers_on_the_ingress() {
    let agent = Agent::start().await;
    let run = trivet(&agent, &["job", "run", &format!("{EXAMPLES}/todo.nomad")])
        .await
        .ok();
    assert!(
        run.stdout.contains("finished with status \"complete\""),
        "{}",
        run.text()
    );

    let status = eventually("the route", || async {
        let (status, body) = http::send(Method::GET, &agent.url("ingress", "/todo"), None).await;
        if status == StatusCode::NOT_FOUND {
            Err(body)
        } else {
            Ok(status)
        }
    })
    .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_of_a_canary_that_judges_itself() {
    let agent = Agent::start().await;
    let text = std::fs::read_to_string(format!("{EXAMPLES}/todo-judged.nomad")).expect("a file");
    // Sooner than people look.
    let quick = text
        .replace("\"20s\"", "\"1s\"")
        .replace("\"3s\"", "\"0s\"")
        .replace("shutdown_delay = \"2s\"", "")
        .replace("= \"2s\"", "= \"1s\"");
    std::fs::write(agent.dir().join("todo.nomad"), quick).expect("a file");
    let run = |more: &'static [&'static str]| {
        let words = [&["job", "run", "-detach"], more, &["todo.nomad"]].concat();
        let agent = &agent;
        async move { trivet(agent, &words).await.ok() }
    };
    let job = Echo::new("todo", 3);
    run(&[]).await;
    job.deployment(&agent, 0, "successful").await;
    targets(&agent, "todo", 3).await;
    let timeout = std::time::Duration::from_secs(10);
    let load = load::Load::start(agent.address("ingress"), "/todo", 60, timeout);
    run(&["-var", "text=new"]).await;
    job.deployment(&agent, 1, "successful").await;
    job.running(&agent, 3).await;
    let requests = load.stop().await;
    let failures = load::failures(&requests);
    assert!(failures.is_empty(), "{:?}", failures.first());
    let status = trivet(&agent, &["rollout", "status", "todo"]).await.ok();
    assert!(status.stdout.contains("passed"), "{}", status.stdout);

    let load = load::Load::start(agent.address("ingress"), "/todo", 60, timeout);
    run(&["-var", "text=bad", "-var", "error_rate=1"]).await;
    job.deployment(&agent, 2, "failed").await;
    load.stop().await;
    let why = trivet(&agent, &["deployment", "why", "todo"]).await.ok();
    let said = "web: aborted: canary failed ";
    assert!(why.stdout.starts_with(said), "{}", why.stdout);
    job.running(&agent, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_port_cannot_scale_and_plan_says_which_dimension_is_exhausted() {
    let agent = Agent::start().await;
    let mut job = Echo {
        static_port: Some(agent.own_port(0)),
        ..Echo::new("todo", 1)
    };
    job.run(&agent).await;
    job.count = 5;
    let plan = job.command(&agent, &["job", "plan"]).await;
    assert_eq!(
        plan.code,
        1,
        "allocations would be created: {}",
        plan.text()
    );
    for line in [
        "+/- Job: \"todo\"",
        "(4 create, 1 in-place update)",
        "forces create",
        "- WARNING: Failed to place all allocations.",
        "Task Group \"web\" (failed to place 4 allocations):",
        "* Resources exhausted on 1 nodes",
        "* Dimension \"network: reserved port collision http=",
        "Job Modify Index: ",
    ] {
        assert!(
            plan.stdout.contains(line),
            "no `{line}` in\n{}",
            plan.stdout
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_instances_share_the_requests_exactly_and_leave_nothing_behind() {
    let agent = Agent::start().await;
    let mut job = Echo::new("todo", 1);
    job.text = "${NOMAD_ALLOC_INDEX}".into();
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    trivet(&agent, &["job", "scale", "-detach", "todo", "web", "5"])
        .await
        .ok();
    job.count = 5;
    job.passing(&agent, 5).await;

    let ports = eventually("five SRV answers", || async {
        let ports = dns::srv_ports(agent.address("dns"), "todo.service.consul.").await;
        if ports.len() == 5 {
            Ok(ports)
        } else {
            Err(format!("{ports:?}"))
        }
    })
    .await;
    assert!(
        ports.windows(2).all(|pair| pair[0] < pair[1]),
        "five different ports: {ports:?}"
    );
    let tagged = dns::srv_ports(agent.address("dns"), "_todo._tcp.service.consul.").await;
    assert_eq!(tagged, ports);

    targets(&agent, "todo", 5).await;
    let seen = load::spread(&agent.url("ingress", "/todo/x"), 100).await;
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert!(seen.values().all(|&count| count == 20), "{seen:?}");

    trivet(&agent, &["job", "stop", "-detach", "todo"])
        .await
        .ok();
    no_process_left(&agent.dir().join("data")).await;
    targets(&agent, "todo", 0).await;
    let (status, _) = http::send(Method::GET, &agent.url("ingress", "/todo/x"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // Its end is told after its last process is gone.
    agent
        .wait_catalog("/v1/catalog/services", |services| {
            services.get("todo").is_none().then_some(())
        })
        .await;
    let ports = dns::srv_ports(agent.address("dns"), "todo.service.consul.").await;
    assert!(ports.is_empty(), "{ports:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_job_runs_to_its_end_and_its_output_can_be_read() {
    let agent = Agent::start().await;
    let run = trivet(
        &agent,
        &["job", "run", "-detach", &format!("{EXAMPLES}/batch.nomad")],
    )
    .await;
    run.ok();
    let jobs = http::get(&agent.url("http", "/v1/jobs")).await;
    let id = jobs[0]["ID"].as_str().expect("a job").to_owned();
    let alloc = agent
        .wait(&format!("/v1/job/{id}/allocations"), |allocs| {
            let alloc = allocs.get(0)?;
            (alloc["ClientStatus"] == "complete").then(|| alloc.clone())
        })
        .await;
    agent
        .wait(&format!("/v1/job/{id}"), |job| {
            (job["Status"] == "dead").then_some(())
        })
        .await;
    let logs = trivet(
        &agent,
        &["alloc", "logs", alloc["ID"].as_str().expect("an id")],
    )
    .await
    .ok();
    assert!(!logs.stdout.trim().is_empty());
    let status = trivet(&agent, &["job", "status", &id]).await.ok();
    assert!(
        status.stdout.contains("Status        = dead"),
        "{}",
        status.stdout
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_runs_a_job_file_and_ctrl_c_stops_everything() {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    use std::process::Stdio;
    use tokio::io::{AsyncBufReadExt, BufReader};

    let dir = tempfile::tempdir().expect("a directory");
    let job = Echo::new("hello", 2);
    let file = dir.path().join("hello.nomad");
    std::fs::write(&file, job.hcl()).expect("a job file");
    let ports = "ports {\n http = 0\n rpc = 0\n catalog = 0\n dns = 0\n ingress = 0\n ingress_admin = 0\n}\n";
    std::fs::write(dir.path().join("ports.hcl"), ports).expect("a configuration");
    let mut child = tokio::process::Command::new(TRIVET)
        .args(["dev", "-config", "ports.hcl", "hello.nomad"])
        .current_dir(dir.path())
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut url = None;
    let reading = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if let Some(at) = line.find("http://")
                && line.contains("/hello")
            {
                url = line.get(at..).map(|rest| rest.trim().to_owned());
            }
            if line.contains("Ctrl-C") {
                break;
            }
        }
    };
    tokio::time::timeout(crate::harness::DEADLINE, reading)
        .await
        .expect("it tells where to go");
    let url = url.expect("a URL of the service");
    eventually("an answer at the URL", || async {
        let (status, body) = http::send(Method::GET, &url, None).await;
        let is_it = (status, body.as_str()) == (StatusCode::OK, "one");
        is_it
            .then_some(())
            .ok_or_else(|| format!("{status} {body}"))
    })
    .await;

    let pid = i32::try_from(child.id().expect("it runs")).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
    let ended = tokio::time::timeout(crate::harness::DEADLINE, child.wait()).await;
    assert!(
        ended
            .expect("it stops in time")
            .expect("a status")
            .success()
    );
    no_process_left(dir.path()).await;
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .expect("a directory")
        .flatten()
        .collect();
    assert_eq!(left.len(), 2, "only the two files are left: {left:?}");
}

#[tokio::test]
async fn the_binary_says_its_version_without_an_agent() {
    let dir = tempfile::tempdir().expect("a directory");
    let version = command::run(&["version"], None, dir.path()).await.ok();
    assert!(
        version.stdout.contains(env!("CARGO_PKG_VERSION")),
        "{}",
        version.stdout
    );
}

/// Waits until the ingress has exactly `count` targets of `service`.
pub(crate) async fn targets(agent: &Agent, service: &str, count: usize) {
    eventually("the routes", || async {
        let routes = http::get(&agent.url("ingress_admin", "/api/routes")).await;
        let of_service = routes.as_array().map_or(0, |all| {
            all.iter().filter(|r| r["service"] == service).count()
        });
        if of_service == count {
            Ok(())
        } else {
            Err(routes.to_string())
        }
    })
    .await;
}
