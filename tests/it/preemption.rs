//! Jobs that take the room of less important ones, when operators want that.

use crate::harness::{Agent, agent::Mode, command::trivet, eventually, http};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const CONFIG: &str = "/v1/operator/scheduler/configuration";

/// A job that holds a port; it takes a while to stop.
fn holder(id: &str, priority: i32, port: u16) -> String {
    format!(
        r#"
job "{id}" {{
  priority = {priority}

  group "app" {{
    network {{
      port "http" {{
        static = {port}
      }}
    }}

    task "server" {{
      driver = "raw_exec"

      config {{
        command = "/bin/sleep"
        args    = ["600"]
      }}

      resources {{
        cpu    = 50
        memory = 32
      }}
    }}
  }}
}}
"#
    )
}

async fn get(agent: &Agent, path: &str) -> Value {
    http::get(&agent.url("http", path)).await
}

async fn write(agent: &Agent, name: &str, text: &str) -> String {
    let path = agent.dir().join(name);
    std::fs::write(&path, text).expect("a job file");
    path.to_str().expect("UTF-8").to_owned()
}

/// The only allocation of the job with that desired status.
async fn alloc(agent: &Agent, job: &str, desired: &str) -> Value {
    eventually(&format!("{job} has one to {desired}"), async || {
        let list = get(agent, &format!("/v1/job/{job}/allocations")).await;
        let rows = list.as_array().cloned().unwrap_or_default();
        let found = rows.into_iter().find(|row| row["DesiredStatus"] == desired);
        found.ok_or_else(|| list.to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_takes_the_port_of_a_less_important_one_and_gives_it_back() {
    let agent = Agent::start().await;
    let port = agent.own_port(0);
    let low = write(&agent, "low.nomad", &holder("low", 20, port)).await;
    let high = write(&agent, "high.nomad", &holder("high", 60, port)).await;
    trivet(&agent, &["job", "run", "-detach", &low]).await.ok();
    let evicted = alloc(&agent, "low", "run").await["ID"]
        .as_str()
        .expect("an id")
        .to_owned();
    let before = trivet(&agent, &["job", "plan", &high]).await;
    assert!(
        before.stdout.contains("reserved port collision") && !before.stdout.contains("Preemptions"),
        "{}",
        before.stdout
    );

    let set = &["operator", "scheduler", "set-config"];
    let switch = [&set[..], &["-preempt-service-scheduler=true"]].concat();
    let changed = trivet(&agent, &switch).await.ok();
    assert_eq!(changed.stdout, "Scheduler configuration updated!\n");
    let plan = trivet(&agent, &["job", "plan", &high]).await;
    assert_eq!(plan.code, 1);
    let expected = format!(
        "+ Job: \"high\"
+ Task Group: \"app\" (1 create)
  + Task: \"server\" (forces create)

Scheduler dry-run:
- All tasks successfully allocated.

Preemptions:

Alloc ID                              Job ID  Task Group
{evicted}  low     app
Job Modify Index: 0
"
    );
    assert!(plan.stdout.starts_with(&expected), "{}", plan.stdout);

    trivet(&agent, &["job", "run", "-detach", &high]).await.ok();
    let newcomer = alloc(&agent, "high", "run").await;
    assert_eq!(newcomer["PreemptedAllocations"], json!([evicted]));
    let id = newcomer["ID"].as_str().expect("an id");
    let old = get(&agent, &format!("/v1/allocation/{evicted}")).await;
    assert_eq!(old["PreemptedByAllocation"], id);
    let shown = trivet(&agent, &["alloc", "status", &evicted])
        .await
        .ok()
        .stdout;
    for line in [
        "Desired Status      = evict".to_owned(),
        format!("Desired Description = Preempted by alloc ID {id}"),
    ] {
        assert!(shown.contains(&line), "no `{line}` in {shown}");
    }
    let eval = newcomer["EvalID"].as_str().expect("an id");
    let shown = trivet(&agent, &["eval", "status", eval]).await.ok().stdout;
    assert!(shown.contains("Preempted Allocations\n"), "{shown}");
    agent
        .wait("/v1/job/low/evaluations", |evals| {
            let mut evals = evals.as_array()?.iter();
            let is_it = |eval: &Value| eval["TriggeredBy"] == "preemption";
            evals.any(is_it).then_some(())
        })
        .await;

    // The port comes back with the end of the more important one.
    trivet(&agent, &["job", "stop", "-purge", "high"])
        .await
        .ok();
    let back = eventually("low runs again", async || {
        let row = alloc(&agent, "low", "run").await;
        if row["ClientStatus"] == "running" {
            Ok(row)
        } else {
            Err(row.to_string())
        }
    })
    .await;
    assert_ne!(back["ID"], evicted.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_the_servers_schedule_is_changed_kept_and_obeyed() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let url = agent.url("http", CONFIG);
    let first = get(&agent, CONFIG).await;
    assert_eq!(first["SchedulerConfig"]["ModifyIndex"], 1);
    let mut wanted = first["SchedulerConfig"].clone();
    assert_eq!(wanted["PreemptionConfig"]["SystemSchedulerEnabled"], true);
    assert_eq!(wanted["PreemptionConfig"]["ServiceSchedulerEnabled"], false);
    wanted["SchedulerAlgorithm"] = "spread".into();
    wanted["RejectJobRegistration"] = true.into();
    let put = async |query: &str, body: &Value| {
        http::send(Method::PUT, &format!("{url}{query}"), Some(body)).await
    };
    let (status, stale) = put("?cas=7", &wanted).await;
    assert_eq!(status, StatusCode::OK);
    assert!(stale.contains("\"Updated\":false"), "{stale}");
    let (_, done) = put("?cas=1", &wanted).await;
    assert!(done.contains("\"Updated\":true"), "{done}");
    for (key, value, text) in [
        (
            "SchedulerAlgorithm",
            json!("pile"),
            "invalid scheduler algorithm: pile",
        ),
        (
            "NodeLimitForFeasibilityChecks",
            json!(5),
            "every node is looked at",
        ),
    ] {
        let mut wrong = wanted.clone();
        wrong[key] = value;
        let (status, refused) = put("", &wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
        assert!(refused.contains(text), "{refused}");
    }

    let file = write(&agent, "web.nomad", &holder("web", 50, 1)).await;
    let refused = trivet(&agent, &["job", "run", &file]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains(
            "Job registration, dispatch, and scale are disabled by the scheduler configuration"
        ),
        "{}",
        refused.stderr
    );

    agent.stop().await;
    agent.start_again().await;
    let kept = trivet(&agent, &["operator", "scheduler", "get-config"])
        .await
        .ok()
        .stdout;
    for line in [
        "Scheduler Algorithm               = spread",
        "Reject Job Registration           = true",
        "Preemption System Scheduler       = true",
    ] {
        assert!(kept.contains(line), "no `{line}` in {kept}");
    }

    // Nothing is decided while the broker pauses.
    let set = ["operator", "scheduler", "set-config"];
    let pause = ["-reject-job-registration=false", "-pause-eval-broker=true"];
    trivet(&agent, &[&set[..], &pause].concat()).await.ok();
    let text = holder("web", 50, 1).replace("static = 1", "");
    let text = text.replace("memory = 32", "memory = 32\n memory_max = 64");
    let file = write(&agent, "web.nomad", &text).await;
    let run = trivet(&agent, &["job", "run", "-detach", &file]).await.ok();
    assert!(
        run.stdout.contains("memory_max value will be ignored"),
        "{}",
        run.stdout
    );
    let evals = get(&agent, "/v1/job/web/evaluations").await;
    assert_eq!(evals[0]["Status"], "pending");
    assert_eq!(get(&agent, "/v1/job/web/allocations").await, json!([]));
    trivet(&agent, &[&set[..], &["-pause-eval-broker=false"]].concat())
        .await
        .ok();
    let alloc = alloc(&agent, "web", "run").await;
    let path = format!("/v1/allocation/{}", alloc["ID"].as_str().expect("an id"));
    let given = &get(&agent, &path).await["AllocatedResources"]["Tasks"]["server"]["Memory"];
    assert_eq!(given, &json!({"MemoryMB": 32, "MemoryMaxMB": 0}));
}
