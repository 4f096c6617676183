//! Bad input gets a clear message and the right exit code, and changes nothing.

use crate::harness::{
    Agent, Echo,
    command::{self, Output, trivet},
    http,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Runs `job run` on `text` and asserts that nothing was registered.
async fn refused(agent: &Agent, text: &str) -> Output {
    std::fs::write(agent.dir().join("bad.nomad"), text).expect("a job file");
    let output = trivet(agent, &["job", "run", "bad.nomad"]).await;
    assert_eq!(output.code, 1, "{}", output.text());
    let jobs = http::get(&agent.url("http", "/v1/jobs")).await;
    assert_eq!(jobs, json!([]), "nothing was registered");
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_file_gets_every_problem_with_its_place() {
    let agent = Agent::start().await;
    let output = refused(&agent, "job \"x\" {\n  group \"g\" {\n    task \"t\" {\n").await;
    assert!(
        output.stderr.contains("bad.nomad:"),
        "a syntax error has its place: {}",
        output.text()
    );

    let text = r#"job "x" {
  colour = "red"
  group "g" {
    cuont = 2
    task "t" {
      driver = "raw_exec"
      cofnig {
        command = "/bin/true"
      }
    }
  }
}
"#;
    let output = refused(&agent, text).await;
    for (place, word) in [("2,3", "colour"), ("4,5", "cuont"), ("7,7", "cofnig")] {
        let found = output
            .stderr
            .lines()
            .any(|line| line.contains(&format!("bad.nomad:{place}")) && line.contains(word));
        assert!(found, "{word} at {place} is missing in\n{}", output.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_on_a_missing_port_label_names_the_label() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 1)
        .hcl()
        .replace("port \"http\" {", "port \"other\" {");
    let output = refused(&agent, &job).await;
    assert!(
        output.stderr.contains("http") && output.stderr.contains("port"),
        "{}",
        output.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_node_can_run_waits_and_says_why() {
    let agent = Agent::start().await;
    // Without a deployment, which would be waited for.
    let waiting = |id| Echo {
        update: "max_parallel = 0".into(),
        ..Echo::new(id, 1)
    };
    let unknown = waiting("nodriver")
        .hcl()
        .replace("\"raw_exec\"", "\"warp\"");
    std::fs::write(agent.dir().join("nodriver.nomad"), unknown).expect("a job file");
    let output = trivet(&agent, &["job", "run", "nodriver.nomad"]).await;
    assert_eq!(
        output.code,
        2,
        "not everything could be placed: {}",
        output.text()
    );
    assert!(
        output.stdout.contains("missing drivers"),
        "{}",
        output.stdout
    );

    let big = Echo {
        memory: 100_000_000,
        ..waiting("big")
    };
    let output = big.command(&agent, &["job", "run"]).await;
    assert_eq!(output.code, 2, "{}", output.text());
    assert!(
        output
            .stdout
            .contains("Dimension \"memory\" exhausted on 1 nodes"),
        "{}",
        output.stdout
    );
    let plan = big.command(&agent, &["job", "plan"]).await;
    assert!(
        plan.stdout.contains("Failed to place all allocations"),
        "{}",
        plan.text()
    );

    let jobs = http::get(&agent.url("http", "/v1/jobs")).await;
    let pending = jobs
        .as_array()
        .expect("jobs")
        .iter()
        .all(|job| job["Status"] == "pending");
    assert!(pending, "{jobs}");
    let allocs = http::get(&agent.url("http", "/v1/allocations")).await;
    assert_eq!(allocs, json!([]));
}

async fn failed_events(agent: &Agent, id: &str) -> Vec<String> {
    agent
        .wait(&format!("/v1/job/{id}/allocations"), |allocs| {
            let alloc = allocs
                .as_array()?
                .iter()
                .find(|alloc| alloc["ClientStatus"] == "failed")?;
            let states = alloc["TaskStates"].as_object()?;
            let events = states
                .values()
                .flat_map(|state| state["Events"].as_array())
                .flatten();
            Some(
                events
                    .map(|e| {
                        format!(
                            "{}: {}",
                            e["Type"].as_str().unwrap_or(""),
                            e["DisplayMessage"].as_str().unwrap_or("")
                        )
                    })
                    .collect(),
            )
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_artifact_fails_the_task_with_its_source() {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 1);
    job.task = "artifact {\n source = \"/no/such/file.tar.gz\"\n }".into();
    let text = job.hcl().replace("attempts = 20", "attempts = 0");
    agent.register(&text).await;
    let events = failed_events(&agent, "web").await;
    let told = events.iter().any(|event| {
        event.starts_with("Failed Artifact Download") && event.contains("/no/such/file")
    });
    assert!(told, "{events:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_another_program_holds_is_named() {
    let agent = Agent::start().await;
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("an address").port();
    let job = Echo {
        static_port: Some(port),
        ..Echo::new("web", 1)
    };
    let text = job.hcl().replace("attempts = 20", "attempts = 0");
    agent.register(&text).await;
    let events = failed_events(&agent, "web").await;
    let told = events.iter().any(|event| {
        event.starts_with("Setup Failure")
            && event.contains(&port.to_string())
            && event.contains("in use")
    });
    assert!(told, "{events:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_index_changes_nothing() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    let before = http::get(&agent.url("http", "/v1/job/web")).await;
    let mut changed = job.clone();
    changed.text = "two".into();
    let output = changed
        .command(&agent, &["job", "run", "-check-index", "1"])
        .await;
    assert_eq!(output.code, 1, "{}", output.text());
    assert!(
        output.stderr.contains("Job not updated"),
        "{}",
        output.text()
    );
    let after = http::get(&agent.url("http", "/v1/job/web")).await;
    assert_eq!(before["Version"], after["Version"]);
    assert_eq!(before["JobModifyIndex"], after["JobModifyIndex"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_answers_bad_requests_with_the_right_status() {
    let agent = Agent::start().await;
    let check = async |method: Method, path: &str, body: Option<Value>, status: u16, text: &str| {
        let (got, answer) = http::send(method, &agent.url("http", path), body.as_ref()).await;
        assert_eq!(got.as_u16(), status, "{path}: {answer}");
        assert!(answer.contains(text), "{path}: {answer}");
    };
    check(Method::GET, "/v1/job/none", None, 404, "job not found").await;
    check(Method::GET, "/v1/nowhere", None, 404, "").await;
    check(
        Method::GET,
        "/v1/jobs?index=x&wait=1s",
        None,
        400,
        "Invalid index",
    )
    .await;
    check(Method::DELETE, "/v1/jobs", None, 405, "Invalid method").await;
    check(
        Method::PUT,
        "/v1/jobs",
        Some(json!({"Job": {"ID": "a b"}})),
        500,
        "space",
    )
    .await;
    let invalid = json!({"Job": {"ID": "j", "Type": "batch", "TaskGroups": [
        {"Name": "g", "Count": 1, "Tasks": [{"Name": "t"}, {"Name": "t", "Driver": "raw_exec"}]}]}});
    check(
        Method::PUT,
        "/v1/jobs",
        Some(invalid.clone()),
        500,
        "Missing task driver",
    )
    .await;
    check(Method::PUT, "/v1/jobs", Some(invalid), 500, "redefines").await;
    assert_eq!(http::get(&agent.url("http", "/v1/jobs")).await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reads_outside_the_allocation() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    let alloc = job.running(&agent, 1).await[0]["ID"]
        .as_str()
        .expect("an id")
        .to_owned();
    for path in [
        "../../../../../etc/passwd",
        "alloc/../../../../../../etc/passwd",
    ] {
        let url = agent.url("http", &format!("/v1/client/fs/cat/{alloc}?path={path}"));
        let (status, body) = http::send(Method::GET, &url, None).await;
        assert!(
            !status.is_success() && !body.contains("root:"),
            "{path}: {status} {body}"
        );
    }
    // A task may write a symlink; reading through it must not leave the directory either.
    let link = agent
        .dir()
        .join("data/alloc")
        .join(&alloc)
        .join("server/local/way-out");
    std::os::unix::fs::symlink("/etc/passwd", &link).expect("a link");
    let url = agent.url(
        "http",
        &format!("/v1/client/fs/cat/{alloc}?path=server/local/way-out"),
    );
    let (status, body) = http::send(Method::GET, &url, None).await;
    assert!(
        !status.is_success() && !body.contains("root:"),
        "{status} {body}"
    );
}

#[tokio::test]
async fn a_configuration_gets_every_problem_and_the_agent_does_not_start() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(
        dir.path().join("a.hcl"),
        "dat_dir = \"/x\"\nserver {\n  encrypted = \"k\"\n}\n",
    )
    .expect("a file");
    let output = command::run(&["agent", "-config", "a.hcl"], None, dir.path()).await;
    assert_eq!(output.code, 1, "{}", output.text());
    for place in [
        "a.hcl:1,1: unknown key `dat_dir`",
        "a.hcl:3,3: unknown key `server.encrypted`",
    ] {
        assert!(output.stderr.contains(place), "{}", output.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_another_agent_is_refused_and_nobody_else_reads_it() {
    let mut agent = Agent::start().await;
    let output = command::run(
        &["agent", "-dev", "-config", "agent.hcl"],
        None,
        agent.dir(),
    )
    .await;
    assert_eq!(output.code, 1, "{}", output.text());
    assert!(
        output.stderr.contains("another agent uses this directory"),
        "{}",
        output.text()
    );
    for name in ["raft", "client"] {
        let metadata = std::fs::metadata(agent.dir().join("data").join(name)).expect("a directory");
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
        assert_eq!(mode & 0o777, 0o700, "{name}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_listener_names_the_option_to_change() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("an address").port();
    let dir = tempfile::tempdir().expect("a directory");
    let file = format!(
        "data_dir = \"{}\"\nports {{\n http = 0\n rpc = 0\n catalog = 0\n dns = 0\n ingress = {port}\n ingress_admin = 0\n}}\n",
        dir.path().join("data").display()
    );
    std::fs::write(dir.path().join("a.hcl"), file).expect("a file");
    let output = command::run(&["agent", "-dev", "-config", "a.hcl"], None, dir.path()).await;
    assert_eq!(output.code, 1, "{}", output.text());
    assert!(output.stderr.contains("ports.ingress"), "{}", output.text());
    assert!(
        output.stderr.contains(&port.to_string()),
        "{}",
        output.text()
    );
}

#[tokio::test]
async fn a_command_without_an_agent_says_where_it_looked() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = command::run(&["job", "status"], Some("http://127.0.0.1:1"), dir.path()).await;
    assert_eq!(output.code, 1, "{}", output.text());
    assert!(output.stderr.contains("127.0.0.1:1"), "{}", output.text());
    let output = command::run(&["job", "rnu"], None, dir.path()).await;
    assert_ne!(output.code, 0, "{}", output.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_built_says_so() {
    let agent = Agent::start().await;
    for (listener, path) in [("http", "/v1/plugin/csi/x"), ("catalog", "/v1/peerings")] {
        let (status, body) = http::send(Method::GET, &agent.url(listener, path), None).await;
        assert!(
            [StatusCode::NOT_IMPLEMENTED, StatusCode::NOT_FOUND].contains(&status)
                && body.contains("not"),
            "{path}: {status} {body}"
        );
    }
    let apart = "job \"p\" {\n type = \"batch\"\n group \"g\" {\n task \"t\" {\n driver = \"raw_exec\"\n config {\n command = \"/bin/true\"\n }\n resources {\n network {\n mode = \"bridge\"\n }\n }\n }\n }\n}\n";
    std::fs::write(agent.dir().join("apart.nomad"), apart).expect("a job file");
    let output = trivet(&agent, &["job", "run", "apart.nomad"]).await;
    assert_eq!(
        output.code,
        2,
        "registered and not placed: {}",
        output.text()
    );
    let sentence = "a group has one network, so its tasks would not be isolated";
    for place in [
        format!("* network.mode of a task (group g): {sentence}"),
        format!("Constraint \"network.mode of a task: {sentence}"),
    ] {
        assert!(output.stdout.contains(&place), "{place}: {}", output.text());
    }
    let allocs = http::get(&agent.url("http", "/v1/allocations")).await;
    assert_eq!(allocs, json!([]), "nothing was placed");
}
