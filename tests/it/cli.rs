//! The command line against a running agent.

use crate::harness::{Agent, Echo, command::trivet, eventually, http};
use serde_json::{Value, json};

/// Waits until the ingress answers with `text`: the instance of before leaves once the new one is
/// healthy, which the end of the deployment does not wait for.
async fn answers(agent: &Agent, text: &str) {
    let url = agent.url("ingress", "/web");
    eventually(text, || async {
        let (_, body) = http::send(reqwest::Method::GET, &url, None).await;
        (body == text).then_some(()).ok_or(body)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_shows_the_evaluation_the_deployment_and_its_end() {
    let agent = Agent::start().await;
    let run = Echo::new("web", 2)
        .command(&agent, &["job", "run"])
        .await
        .ok();
    for line in [
        "Monitoring evaluation",
        "Evaluation triggered by job \"web\"",
        "Allocation \"",
        "group \"web\"",
        "Evaluation status changed: \"pending\" -> \"complete\"",
        "Monitoring deployment",
        "Description = Deployment completed successfully",
        "Task Group  Desired  Placed  Healthy  Unhealthy  Progress Deadline",
    ] {
        assert!(run.stdout.contains(line), "no `{line}` in\n{}", run.stdout);
    }
    let status = trivet(&agent, &["job", "status", "web"]).await.ok();
    for line in [
        "ID            = web",
        "Type          = service",
        "Status        = running",
        "Summary\nTask Group  Queued  Starting  Running  Failed  Complete  Lost  Unknown",
        "Latest Deployment",
        "Allocations\nID        Node ID   Task Group  Version  Desired  Status",
    ] {
        assert!(
            status.stdout.contains(line),
            "no `{line}` in\n{}",
            status.stdout
        );
    }
    let jobs = trivet(&agent, &["status"]).await.ok();
    assert!(
        jobs.stdout.contains("web") && jobs.stdout.starts_with("ID"),
        "{}",
        jobs.stdout
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_job_walks_through_plan_history_revert_and_inspect() {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 1);
    let plan = job.command(&agent, &["job", "plan"]).await;
    assert_eq!(plan.code, 1, "{}", plan.text());
    assert!(
        plan.stdout.contains("+ Job: \"web\"") && plan.stdout.contains("(1 create)"),
        "{}",
        plan.stdout
    );
    job.command(&agent, &["job", "run"]).await.ok();
    let plan = job.command(&agent, &["job", "plan"]).await;
    assert_eq!(plan.code, 0, "nothing would change: {}", plan.text());

    job.text = "two".into();
    let plan = job.command(&agent, &["job", "plan"]).await;
    assert_eq!(plan.code, 1, "{}", plan.text());
    assert!(
        plan.stdout.contains("(1 create/destroy update)"),
        "{}",
        plan.stdout
    );
    let index = plan
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("Job Modify Index: "))
        .expect("an index")
        .to_owned();
    job.command(&agent, &["job", "run", "-check-index", &index])
        .await
        .ok();
    answers(&agent, "two").await;

    let history = trivet(&agent, &["job", "history", "web"]).await.ok();
    let versions: Vec<&str> = history
        .stdout
        .lines()
        .filter(|line| line.starts_with("Version"))
        .collect();
    assert_eq!(versions.len(), 2, "{}", history.stdout);
    trivet(&agent, &["job", "revert", "web", "0"]).await.ok();
    answers(&agent, "one").await;
    let inspect = trivet(&agent, &["job", "inspect", "web"]).await.ok();
    let inspected: Value = serde_json::from_str(&inspect.stdout).expect("JSON");
    assert_eq!(inspected["Job"]["Version"], 2);
    let running = trivet(&agent, &["job", "start", "web"]).await;
    assert!(
        running.code == 1 && running.stderr.contains("Job \"web\" has not been stopped"),
        "{}",
        running.text()
    );
    trivet(&agent, &["job", "stop", "web"]).await.ok();
    let started = trivet(&agent, &["job", "start", "nosuch", "web"]).await;
    assert!(
        started.code == 1 && started.stderr.contains("\"nosuch\""),
        "{}",
        started.text()
    );
    // What ran before runs again.
    answers(&agent, "one").await;
    let source = trivet(&agent, &["job", "inspect", "-hcl", "web"])
        .await
        .ok();
    assert!(source.stdout.contains("job \"web\""), "{}", source.text());
    job.command(&agent, &["job", "validate"]).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allocation_shows_its_state_files_and_logs_and_restarts() {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 1);
    job.task = "env {\n GREETING = \"moin\"\n }".into();
    job.run(&agent).await;
    let id = job.running(&agent, 1).await[0]["ID"]
        .as_str()
        .expect("an id")
        .to_owned();
    let short = &id[..8];
    let status = trivet(&agent, &["alloc", "status", short]).await.ok();
    for line in [
        "Name                = web.web[0]",
        "Client Status       = running",
        "Task \"server\" is \"running\"",
        "Task started by client",
        "Recent Events:",
    ] {
        assert!(
            status.stdout.contains(line),
            "no `{line}` in\n{}",
            status.stdout
        );
    }
    let verbose = trivet(&agent, &["alloc", "status", "-verbose", short]).await;
    let verbose = verbose.ok().stdout;
    let took = verbose
        .lines()
        .find_map(|line| line.strip_prefix("Allocation Time"));
    assert!(
        took.is_some_and(|took| took.ends_with('s') && !took.ends_with(" 0s")),
        "{verbose}"
    );
    let listing = trivet(&agent, &["alloc", "fs", short, "/"]).await.ok();
    assert!(
        listing.stdout.contains("alloc/") && listing.stdout.contains("server/"),
        "{}",
        listing.stdout
    );
    let logs = trivet(&agent, &["alloc", "logs", "-stderr", short]).await;
    assert_eq!(logs.code, 0, "{}", logs.text());

    trivet(&agent, &["alloc", "restart", short]).await.ok();
    let state = agent
        .wait(&format!("/v1/allocation/{id}"), |alloc| {
            let state = &alloc["TaskStates"]["server"];
            (state["Restarts"] == 1 && state["State"] == "running").then(|| state.clone())
        })
        .await;
    assert_eq!(state["Failed"], false);

    trivet(&agent, &["alloc", "stop", "-detach", short])
        .await
        .ok();
    let path = "/v1/job/web/allocations";
    let replaced = agent
        .wait(path, |allocs| {
            let new = allocs
                .as_array()?
                .iter()
                .find(|alloc| alloc["ID"] != id.as_str())?;
            (new["ClientStatus"] == "running").then(|| new["ID"].clone())
        })
        .await;
    assert_ne!(replaced, id.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_members_and_the_agent_describe_themselves() {
    let agent = Agent::start().await;
    let nodes = trivet(&agent, &["node", "status"]).await.ok();
    assert!(
        nodes.stdout.starts_with("ID") && nodes.stdout.contains("ready"),
        "{}",
        nodes.stdout
    );
    let list = http::get(&agent.url("http", "/v1/nodes")).await;
    let id = list[0]["ID"].as_str().expect("an id");
    let node = trivet(&agent, &["node", "status", &id[..8]]).await.ok();
    assert!(node.stdout.contains("raw_exec"), "{}", node.stdout);
    let members = trivet(&agent, &["server", "members"]).await.ok();
    assert!(
        members.stdout.contains("alive") && members.stdout.contains("Leader"),
        "{}",
        members.stdout
    );
    let info = trivet(&agent, &["agent-info"]).await.ok();
    assert!(info.stdout.contains("raft"), "{}", info.stdout);
    let secret = http::get(&agent.url("http", &format!("/v1/node/{id}"))).await;
    assert_eq!(
        secret["SecretID"], "",
        "the node's secret is nobody's business"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_and_templates_are_there_for_scripts() {
    let agent = Agent::start().await;
    Echo::new("web", 1).run(&agent).await;
    let json = trivet(&agent, &["job", "status", "-json", "web"])
        .await
        .ok();
    assert!(
        serde_json::from_str::<Value>(&json.stdout).is_ok(),
        "{}",
        json.stdout
    );
    let nodes = trivet(&agent, &["node", "status", "-json"]).await.ok();
    assert!(
        serde_json::from_str::<Value>(&nodes.stdout).is_ok(),
        "{}",
        nodes.stdout
    );
    let list = trivet(
        &agent,
        &["deployment", "list", "-t", "{{range .}}{{.JobID}}{{end}}"],
    )
    .await
    .ok();
    assert_eq!(list.stdout.trim(), "web");
    let other = [
        "deployment",
        "list",
        "-json",
        "-filter",
        "JobID == \"other\"",
    ];
    let other = trivet(&agent, &other).await.ok();
    assert_eq!(other.stdout.trim(), "[]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_writes_an_example_that_validates_and_never_overwrites() {
    let agent = Agent::start().await;
    trivet(&agent, &["job", "init"]).await.ok();
    trivet(&agent, &["job", "validate", "example.nomad.hcl"])
        .await
        .ok();
    let again = trivet(&agent, &["job", "init"]).await;
    assert_eq!(again.code, 1, "{}", again.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_cannot_drive_the_terminal_of_whoever_lists_them() {
    let agent = Agent::start().await;
    let id = "evil\u{1b}[2J\nweb-running";
    let job = json!({"Job": {"ID": id, "Name": "n\u{9b}31m", "Type": "batch", "TaskGroups": [{
        "Name": "g\u{7}", "Count": 0, "Tasks": [{"Name": "t\r", "Driver": "raw_exec",
            "Config": {"command": "/bin/true"}}]}]}});
    http::put(&agent.url("http", "/v1/jobs"), &job).await;
    for arguments in [
        &["job", "status"][..],
        &["job", "status", "evil"],
        &["status", "evil"],
        &["job", "history", "evil"],
        &["job", "inspect", "evil"],
        &["job", "status", "-json", "evil"],
        &["eval", "list"],
        &["job", "promote", "evil"],
        &["alloc", "logs", "-job", "evil"],
    ] {
        let output = trivet(&agent, arguments).await;
        let text = output.text();
        let hostile = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(hostile, None, "{arguments:?}: {text:?}");
        assert!(
            !text.lines().any(|line| line.starts_with("web-running")),
            "{arguments:?}: {text}"
        );
    }
    let listed = trivet(&agent, &["job", "status"]).await;
    assert!(
        listed.stdout.contains("evil\\x1b[2J\\nweb-running"),
        "{}",
        listed.stdout
    );
}

/// A job that names a command for its task.
const WITH_ACTION: &str = r#"
job "acting" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sleep"
        args    = ["1000"]
      }
      action "greet" {
        command = "/bin/sh"
        args    = ["-c", "read name; echo hello $name of $NOMAD_TASK_NAME; exit 3"]
      }
      resources {
        cpu    = 10
        memory = 10
      }
    }
  }
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_of_a_job_runs_inside_its_task() {
    let agent = Agent::start().await;
    std::fs::write(agent.dir().join("acting.nomad"), WITH_ACTION).expect("a job file");
    trivet(&agent, &["job", "run", "-detach", "acting.nomad"])
        .await
        .ok();
    agent
        .wait("/v1/job/acting/allocations", |allocs| {
            (allocs.get(0)?["ClientStatus"] == "running").then_some(())
        })
        .await;
    let listed = http::get(&agent.url("http", "/v1/job/acting/actions")).await;
    assert_eq!(listed[0]["Name"], "greet");
    assert_eq!(listed[0]["TaskName"], "t");
    assert_eq!(listed[0]["TaskGroupName"], "g");
    assert_eq!(listed[0]["Args"][0], "-c");
    let act = async |args: &[&str]| {
        trivet(
            &agent,
            &[&["job", "action", "-job", "acting"], args].concat(),
        )
        .await
    };
    // Nobody types a name.
    let done = act(&["-group", "g", "-task", "t", "greet"]).await;
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (3, "hello of t\n"),
        "{}",
        done.text()
    );
    for (args, text) in [
        (&["nothing"][..], "task \"t\" has no action \"nothing\""),
        (&["-task", "u", "greet"], "Could not find task named: u"),
    ] {
        let refused = act(args).await;
        assert!(
            refused.code == 1 && refused.stderr.contains(text),
            "{text}: {}",
            refused.text()
        );
    }
}
