//! Jobs that never run themselves: launched at set times, by hand, and with what a request gives.

use crate::harness::{Agent, command::trivet, http};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A job that is launched each second.
const EVERY_SECOND: &str = r#"
job "tick" {
  type = "batch"
  periodic {
    crons            = ["* * * * * * *"]
    prohibit_overlap = true
    time_zone        = "Europe/Berlin"
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo ${NOMAD_JOB_PARENT_ID} launched ${NOMAD_JOB_ID}"]
      }
      resources {
        cpu    = 10
        memory = 10
      }
    }
  }
}
"#;

/// A job that shows what its launch was given.
const SHOW: &str = r#"
job "show" {
  type = "batch"
  parameterized {
    payload       = "required"
    meta_required = ["color"]
    meta_optional = ["size"]
  }
  group "g" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "t" {
      driver = "raw_exec"
      dispatch_payload {
        file = "deep/input.txt"
      }
      config {
        command = "/bin/sh"
        args    = ["-c", "cat local/deep/input.txt; echo $NOMAD_META_color [$NOMAD_META_size]; exit $CODE"]
      }
      env {
        CODE = "${NOMAD_META_size}"
      }
      resources {
        cpu    = 10
        memory = 10
      }
    }
  }
}
"#;

/// The children of a job, when there are as many.
async fn children(agent: &Agent, parent: &str, count: usize) -> Vec<Value> {
    let path = format!("/v1/jobs?prefix={parent}/");
    agent
        .wait(&path, |jobs| {
            let jobs = jobs.as_array()?;
            (jobs.len() >= count).then(|| jobs.clone())
        })
        .await
}

/// Waits until a job is over, and answers with what its allocation printed.
async fn output(agent: &Agent, job: &str) -> String {
    let path = format!("/v1/job/{}/allocations", job.replace('/', "%2F"));
    let id = agent
        .wait(&path, |allocs| {
            let alloc = allocs.get(0)?;
            let over = ["complete", "failed"].contains(&alloc["ClientStatus"].as_str()?);
            over.then(|| alloc["ID"].as_str().expect("an id").to_owned())
        })
        .await;
    trivet(agent, &["alloc", "logs", &id]).await.ok().stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_periodic_job_is_launched_at_its_times_and_by_hand() {
    let agent = Agent::start().await;
    std::fs::write(agent.dir().join("tick.nomad"), EVERY_SECOND).expect("a job file");
    let run = trivet(&agent, &["job", "run", "tick.nomad"]).await.ok();
    assert!(
        run.stdout
            .contains("Job registration successful\nApproximate next launch time: ")
            && run.stdout.contains("from now)"),
        "{}",
        run.text()
    );
    let launched = children(&agent, "tick", 2).await;
    for child in &launched {
        assert_eq!(child["ParentID"], "tick", "{child}");
        assert_eq!(child["Periodic"], false, "{child}");
    }
    let first = launched[0]["ID"].as_str().expect("an id");
    assert!(first.starts_with("tick/periodic-"), "{first}");
    assert_eq!(
        output(&agent, first).await,
        format!("tick launched {first}\n")
    );

    let status = trivet(&agent, &["job", "status", "tick"]).await.ok();
    for part in [
        "Periodic             = true",
        "Next Periodic Launch = ",
        "Children Job Summary\nPending  Running  Dead",
        "Previously Launched Jobs",
        first,
    ] {
        assert!(status.stdout.contains(part), "{part}: {}", status.text());
    }
    assert!(!status.stdout.contains("Allocations"), "{}", status.text());
    let list = trivet(&agent, &["job", "status"]).await.ok();
    assert!(list.stdout.contains("batch/periodic"), "{}", list.text());
    let refused = trivet(&agent, &["job", "eval", "tick"]).await;
    assert!(
        refused.code == 1 && refused.stderr.contains("can't evaluate periodic job"),
        "{}",
        refused.text()
    );

    let before = children(&agent, "tick", 2).await.len();
    let forced = trivet(&agent, &["job", "periodic", "force", "tick"])
        .await
        .ok();
    assert!(
        forced.stdout.contains("Monitoring evaluation"),
        "{}",
        forced.text()
    );
    children(&agent, "tick", before + 1).await;
    let stopped = trivet(&agent, &["job", "stop", "tick"]).await.ok();
    assert_eq!(stopped.stdout, "", "there is no evaluation to follow");
    let status = trivet(&agent, &["job", "status", "tick"]).await.ok();
    assert!(
        status
            .stdout
            .contains("Next Periodic Launch = none (job stopped)")
            && status.stdout.contains("dead (stopped)"),
        "{}",
        status.text()
    );
    for (job, text) in [
        ("tick", "failed: it is stopped"),
        (
            "nothing",
            "No periodic job(s) with prefix or ID \"nothing\" found",
        ),
    ] {
        let refused = trivet(&agent, &["job", "periodic", "force", job]).await;
        assert!(
            refused.code == 1 && refused.stderr.contains(text),
            "{}",
            refused.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameterized_job_runs_with_what_each_launch_gives() {
    let agent = Agent::start().await;
    std::fs::write(agent.dir().join("show.nomad"), SHOW).expect("a job file");
    std::fs::write(agent.dir().join("input"), "given\n").expect("a payload");
    let run = trivet(&agent, &["job", "run", "show.nomad"]).await.ok();
    assert_eq!(run.stdout, "Job registration successful\n");
    let dispatch =
        async |args: &[&str]| trivet(&agent, &[&["job", "dispatch"], args].concat()).await;

    let args = [
        "-wait",
        "-meta",
        "color=red",
        "-id-prefix-template",
        "one",
        "show",
        "input",
    ];
    let launched = dispatch(&args).await.ok();
    let id = launched
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("Dispatched Job ID = "))
        .unwrap_or_else(|| panic!("{}", launched.text()))
        .to_owned();
    assert!(id.starts_with("show/dispatch-one-"), "{id}");
    assert_eq!(output(&agent, &id).await, "given\nred []\n");
    let failing = ["-wait", "-meta=color=blue", "-meta=size=3", "show", "input"];
    assert_eq!(dispatch(&failing).await.code, 2, "a launch that fails");

    let path = format!("/v1/job/{}/dispatch/payload", id.replace('/', "%2F"));
    let (status, payload) = http::send(Method::GET, &agent.url("http", &path), None).await;
    assert_eq!((status, payload.as_str()), (StatusCode::OK, "given\n"));

    // However many requests with a token there are at a time, they launch one child.
    let url = agent.url("http", "/v1/job/show/dispatch?idempotency_token=t1");
    let body = json!({"Payload": "eA==", "Meta": {"color": "green"}});
    let answers = futures_util::future::join_all((0..8).map(|_| http::put(&url, &body))).await;
    for answer in &answers {
        assert_eq!(answer["DispatchedJobID"], answers[0]["DispatchedJobID"]);
        assert_eq!(answer["JobCreateIndex"], answers[0]["JobCreateIndex"]);
    }
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer["EvalID"] != "")
            .count(),
        1
    );
    assert_eq!(children(&agent, "show", 3).await.len(), 3);

    let status = trivet(&agent, &["job", "status", "show"]).await.ok();
    for part in [
        "Parameterized = true",
        "Payload           = required\nRequired Metadata = color\nOptional Metadata = size",
        "Parameterized Job Summary",
        "Dispatched Jobs",
        &id,
    ] {
        assert!(status.stdout.contains(part), "{part}: {}", status.text());
    }
    for (args, text) in [
        (
            &["show"][..],
            "Payload is not provided but required by parameterized job",
        ),
        (&["show"], "did not provide required meta keys: [color]"),
        (
            &["-meta=a=b", "-meta=color=x", "show", "input"],
            "unpermitted metadata keys: [a]",
        ),
        (&["-meta=a", "show", "input"], "Error parsing meta value: a"),
        (&["show", "none"], "Error reading input data"),
        (
            &["nothing"],
            "No parameterized job(s) with prefix or ID \"nothing\" found",
        ),
    ] {
        let refused = dispatch(args).await;
        assert!(
            refused.code == 1 && refused.stderr.contains(text),
            "{text}: {}",
            refused.text()
        );
    }

    // It stays what it is until it is purged.
    let other = EVERY_SECOND.replace("job \"tick\"", "job \"show\"");
    std::fs::write(agent.dir().join("other.nomad"), other).expect("a job file");
    let refused = trivet(&agent, &["job", "run", "other.nomad"]).await;
    assert!(
        refused.code == 1
            && refused
                .stderr
                .contains("cannot update non-periodic job to being periodic"),
        "{}",
        refused.text()
    );
}
