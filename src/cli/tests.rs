//! Whole commands against a server of fixed answers.

use super::{Global, Output, Refusal, Request, parse, run_to};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

/// Answers by `METHOD path`, each with a status.
type Answers = BTreeMap<String, (u16, String)>;

/// A server of fixed answers on a port chosen by the system.
struct Fake {
    address: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Fake {
    async fn start(answers: &[(&str, u16, Value)]) -> Self {
        let answers: Answers = answers
            .iter()
            .map(|(key, status, body)| {
                let text = match body {
                    Value::String(text) if *status != 200 => text.clone(),
                    other => other.to_string(),
                };
                ((*key).to_owned(), (*status, text))
            })
            .collect();
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let log = Arc::clone(&asked);
        let handler = move |method: Method, uri: Uri, body: String| {
            let key = format!("{method} {}", uri.path());
            let full = format!("{method} {uri}");
            let body = serde_json::from_str(&body).unwrap_or(Value::Null);
            log.lock().push((full, body));
            let answer = answers.get(&key).cloned();
            async move {
                let mut headers = HeaderMap::new();
                headers.insert("x-nomad-index", "7".parse().unwrap());
                match answer {
                    Some((status, text)) => (StatusCode::from_u16(status).unwrap(), headers, text),
                    None => (
                        StatusCode::NOT_FOUND,
                        headers,
                        format!("no answer for {key}"),
                    ),
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(handler);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    fn requests(&self) -> Vec<String> {
        self.asked
            .lock()
            .iter()
            .map(|(line, _)| line.clone())
            .collect()
    }

    fn body(&self, start: &str) -> Value {
        let asked = self.asked.lock();
        let found = asked.iter().find(|(line, _)| line.starts_with(start));
        found.map(|(_, body)| body.clone()).unwrap_or_default()
    }
}

/// What a command printed and its exit code.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    code: u8,
    out: String,
    err: String,
}

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

async fn call(address: &str, line: &str) -> Outcome {
    let invocation = parse(words(&format!("trivet {line}"))).unwrap();
    let super::Command::Request(request) = invocation.command else {
        panic!("`{line}` is no request");
    };
    call_request(address, request, invocation.global).await
}

async fn call_request(address: &str, request: Request, global: Global) -> Outcome {
    let out: Arc<Mutex<Vec<u8>>> = Arc::default();
    let err: Arc<Mutex<Vec<u8>>> = Arc::default();
    let output = Output::to(out.clone(), err.clone(), false);
    let global = Global {
        address: Some(address.to_owned()),
        ..global
    };
    let code = run_to("trivet".into(), global, request, output).await;
    let text = |buffer: &Mutex<Vec<u8>>| String::from_utf8(buffer.lock().clone()).unwrap();
    Outcome {
        code,
        out: text(&out),
        err: text(&err),
    }
}

fn refused(line: &str) -> Refusal {
    parse(words(&format!("trivet {line}"))).unwrap_err()
}

/// A job file in JSON, in a directory that lives as long as the test.
fn job_file() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.json");
    let job = json!({"Job": {"ID": "web", "Name": "web", "Type": "service",
        "TaskGroups": [{"Name": "app", "Tasks": [{"Name": "t", "Driver": "raw_exec"}]}]}});
    std::fs::write(&path, job.to_string()).unwrap();
    let path = path.display().to_string();
    (dir, path)
}

#[test]
fn called_as_the_catalog_s_program_validate_checks_definitions() {
    let parse = |line: &str| {
        let words = line.split(' ').map(OsString::from);
        parse(words).map(|invocation| invocation.command)
    };
    let command = parse("/usr/bin/consul validate /etc/consul.d").unwrap();
    assert!(
        matches!(command, super::Command::ValidateServices(_)),
        "{command:?}"
    );
    let command = parse("trivet consul validate /etc/consul.d").unwrap();
    assert!(
        matches!(command, super::Command::ValidateServices(_)),
        "{command:?}"
    );
    let command = parse("trivet validate job.nomad").unwrap();
    assert!(matches!(command, super::Command::Request(_)), "{command:?}");
    for line in [
        "consul agent -dev -nonsense",
        "trivet consul agent -dev -nonsense",
    ] {
        let command = parse(line).unwrap();
        let super::Command::CatalogAgent(arguments) = command else {
            panic!("{line}: {command:?}");
        };
        assert_eq!(arguments.given, ["-dev", "-nonsense"]);
    }
    assert!(parse("trivet agent -nonsense").is_err());
}

#[test]
fn wrong_arguments_end_with_one_and_plans_with_255() {
    assert_eq!(refused("job run").code, 1);
    assert_eq!(refused("job run -nonsense x").code, 1);
    assert_eq!(refused("job plan").code, 255);
    assert_eq!(refused("plan").code, 255);
    let help = refused("job run -help");
    assert!(help.is_help && help.code == 0);
    assert!(help.text.contains("--check-index"), "{}", help.text);
}

/// Commands about jobs and deployments with the flags that are published for them, and arguments.
const FLAGS: &[(&str, &str, &str)] = &[
    (
        "job init",
        "-short -connect -template=a -list-templates",
        "",
    ),
    (
        "job run",
        "-detach -verbose -check-index=7 -output -json -hcl2-strict=false -var=a=b -var-file=f \
         -eval-priority=7 -policy-override -preserve-counts -preserve-resources \
         -consul-namespace=n -vault-namespace=n -ui",
        "web.nomad",
    ),
    (
        "job plan",
        "-diff=false -verbose -json -json-output -t={{.}} -hcl2-strict=false -var=a=b -var-file=f \
         -policy-override -vault-namespace=n",
        "web.nomad",
    ),
    (
        "job validate",
        "-json -hcl2-strict=false -var=a=b -var-file=f -vault-namespace=n",
        "web.nomad",
    ),
    (
        "job status",
        "-short -evals -all-allocs -verbose -json -t={{.}} -ui",
        "web",
    ),
    ("job allocs", "-all -verbose -json -t={{.}}", "web"),
    (
        "job deployments",
        "-all -latest -verbose -json -t={{.}}",
        "web",
    ),
    ("job history", "-p -full -version=7 -json -t={{.}}", "web"),
    ("job history -p", "-diff-tag=a -diff-version=7", "web"),
    ("job inspect", "-version=7 -json -hcl -t={{.}}", "web"),
    ("job inspect -hcl", "-with-vars", "web"),
    ("job scale", "-check-index=7 -detach -verbose", "web g 7"),
    ("job scaling-events", "-verbose", "web"),
    ("job revert", "-detach -verbose", "web 7"),
    ("job promote", "-group=g -detach -verbose", "web"),
    (
        "job dispatch",
        "-meta=a=b -detach -verbose -id-prefix-template=a -idempotency-token=a -priority=7 -ui",
        "web",
    ),
    ("job periodic force", "-detach -verbose", "web"),
    ("job eval", "-force-reschedule -detach -verbose", "web"),
    (
        "job stop",
        "-purge -global -detach -yes -verbose -eval-priority=7 -no-shutdown-delay",
        "web other",
    ),
    ("job start", "-detach -verbose", "web other"),
    (
        "job restart",
        "-all-tasks -reschedule -batch-size=2 -batch-wait=1s -group=g -task=t -on-error=fail \
         -no-shutdown-delay -yes -verbose",
        "web",
    ),
    ("job action -job=web", "-group=g -task=t -alloc=a", "flush"),
    ("job tag apply", "-name=a -version=7 -description=d", "web"),
    ("job tag unset", "-name=a", "web"),
    (
        "fmt",
        "-check -list=false -write=false -recursive",
        "web.nomad",
    ),
    ("deployment list", "-filter=a -json -t={{.}} -verbose", ""),
    (
        "deployment status",
        "-json -t={{.}} -verbose -monitor -wait=2s -ui",
        "d",
    ),
    ("deployment fail", "-detach -verbose", "d"),
    ("deployment pause", "-verbose", "d"),
    ("deployment resume", "-detach -verbose", "d"),
    ("deployment promote", "-group=g -detach -verbose", "d"),
];

#[test]
fn every_published_flag_of_jobs_is_known() {
    let known = |line: &str| parse(line.split_whitespace().map(OsString::from)).is_ok();
    let mut unknown = Vec::new();
    for (command, flags, arguments) in FLAGS {
        for flag in flags.split_whitespace() {
            // Flags go before the arguments and behind them, long ones by one dash and by two.
            let is_long = flag.split('=').next().is_some_and(|name| name.len() > 2);
            let dash = if is_long { "-" } else { "" };
            for line in [
                format!("trivet {command} {flag} {arguments}"),
                format!("trivet {command} {dash}{flag} {arguments}"),
                format!("trivet {command} {arguments} {flag}"),
            ] {
                if !known(&line) {
                    unknown.push(line);
                }
            }
        }
    }
    assert_eq!(unknown, Vec::<String>::new());
    for command in [
        "init",
        "run x",
        "plan x",
        "validate x",
        "inspect x",
        "stop x",
    ] {
        assert!(known(&format!("trivet {command}")), "{command}");
    }
}

#[test]
fn the_name_of_the_program_is_its_own() {
    let invocation = parse(words("/usr/bin/nomad status")).unwrap();
    assert_eq!(invocation.program, "nomad");
    let invocation = parse(words("trivet nomad status")).unwrap();
    assert_eq!(invocation.program, "trivet nomad");
    assert_eq!(super::called(&invocation.program), "nomad");
    let refusal = parse(words("trivet nomad job run -nonsense x")).unwrap_err();
    assert!(
        refusal.text.contains("Usage: trivet nomad job run"),
        "{}",
        refusal.text
    );
}

#[test]
fn long_running_commands_only_have_their_arguments_read() {
    let line = "trivet agent -dev -config a.hcl -config b -data-dir /d -log-level DEBUG";
    let super::Command::Agent(arguments) = parse(words(line)).unwrap().command else {
        panic!("no agent");
    };
    assert!(arguments.dev);
    assert_eq!(arguments.config.len(), 2);
    assert_eq!(arguments.discovery, super::DiscoveryFlags::default());
    let line = "trivet agent -consul-server-auto-join -consul-client-auto-join=false -consul-server-service-name s -dev";
    let super::Command::Agent(arguments) = parse(words(line)).unwrap().command else {
        panic!("no agent");
    };
    let flags = super::DiscoveryFlags {
        consul_server_auto_join: Some(true),
        consul_client_auto_join: Some(false),
        consul_server_service_name: Some("s".to_owned()),
        ..super::DiscoveryFlags::default()
    };
    assert_eq!((arguments.dev, arguments.discovery), (true, flags));
    let line = "trivet echo -listen :80 -delay 50ms -error-rate 0.5 -header A=b -drain 2s -while bad -only /a";
    let super::Command::Echo(arguments) = parse(words(line)).unwrap().command else {
        panic!("no echo");
    };
    assert_eq!(arguments.delay.as_millis(), 50);
    assert_eq!(arguments.header, [("A".to_owned(), "b".to_owned())]);
    assert_eq!(arguments.while_there, Some(std::path::PathBuf::from("bad")));
    let line = "trivet supervise -x --y z";
    let super::Command::Supervise(arguments) = parse(words(line)).unwrap().command else {
        panic!("no supervisor");
    };
    assert_eq!(arguments.args, words("-x --y z"));
}

#[tokio::test]
async fn run_detached_registers_and_returns() {
    let fake = Fake::start(&[(
        "PUT /v1/jobs",
        200,
        json!({"EvalID": "3f2a91c0-0000-4000-8000-000000000001", "JobModifyIndex": 7, "Warnings": "careful"}),
    )])
    .await;
    let (_dir, path) = job_file();
    let line = format!("job run -detach -check-index 41 -json {path}");
    let outcome = call(&fake.address, &line).await;
    assert_eq!(
        outcome,
        Outcome {
            code: 0,
            out:
                "Job Warnings:\ncareful\n\nJob registration successful\nEvaluation ID: 3f2a91c0-0000-4000-8000-000000000001\n"
                    .into(),
            err: String::new(),
        }
    );
    let body = fake.body("PUT /v1/jobs");
    assert_eq!(body["EnforceIndex"], true);
    assert_eq!(body["JobModifyIndex"], 41);
    assert_eq!(body["Job"]["ID"], "web");
    assert_eq!(body["Submission"]["Format"], "json");
}

#[tokio::test]
async fn run_follows_the_evaluation_and_the_deployment() {
    let deployment = json!({"ID": "9d0be1aa-0000-4000-8000-000000000001", "JobID": "web", "Status": "successful",
        "StatusDescription": "Deployment completed successfully"});
    let eval = json!({"ID": "3f2a91c0-0000-4000-8000-000000000001", "JobID": "web", "Status": "complete",
        "DeploymentID": "9d0be1aa-0000-4000-8000-000000000001", "CreateIndex": 5});
    let allocs = json!([{"ID": "51c8e77d-0000-4000-8000-000000000001", "NodeID": "7ab3c2ff-0000-4000-8000-000000000001", "TaskGroup": "app",
        "DesiredStatus": "run", "CreateIndex": 6}]);
    let fake = Fake::start(&[
        (
            "PUT /v1/jobs",
            200,
            json!({"EvalID": "3f2a91c0-0000-4000-8000-000000000001"}),
        ),
        (
            "GET /v1/evaluation/3f2a91c0-0000-4000-8000-000000000001",
            200,
            eval,
        ),
        (
            "GET /v1/evaluation/3f2a91c0-0000-4000-8000-000000000001/allocations",
            200,
            allocs,
        ),
        (
            "GET /v1/deployment/9d0be1aa-0000-4000-8000-000000000001",
            200,
            deployment,
        ),
    ])
    .await;
    let (_dir, path) = job_file();
    let outcome = call(&fake.address, &format!("job run -json {path}")).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for expected in [
        "Monitoring evaluation \"3f2a91c0\"",
        "Evaluation triggered by job \"web\"",
        "Evaluation within deployment: \"9d0be1aa\"",
        "Allocation \"51c8e77d\" created: node \"7ab3c2ff\", group \"app\"",
        "Evaluation status changed: \"pending\" -> \"complete\"",
        "Evaluation \"3f2a91c0\" finished with status \"complete\"",
        "Monitoring deployment \"9d0be1aa\"",
        "Description = Deployment completed successfully",
    ] {
        assert!(
            outcome.out.contains(expected),
            "{expected}\n{}",
            outcome.out
        );
    }
}

#[tokio::test]
async fn placement_failures_end_with_two() {
    let eval = json!({"ID": "3f2a91c0-0000-4000-8000-000000000001", "JobID": "web", "Status": "complete",
        "FailedTGAllocs": {"app": {"NodesEvaluated": 1, "NodesExhausted": 1}}});
    let fake = Fake::start(&[
        (
            "PUT /v1/jobs",
            200,
            json!({"EvalID": "3f2a91c0-0000-4000-8000-000000000001"}),
        ),
        (
            "GET /v1/evaluation/3f2a91c0-0000-4000-8000-000000000001",
            200,
            eval,
        ),
        (
            "GET /v1/evaluation/3f2a91c0-0000-4000-8000-000000000001/allocations",
            200,
            json!([]),
        ),
    ])
    .await;
    let (_dir, path) = job_file();
    let outcome = call(&fake.address, &format!("run -json {path}")).await;
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(
        outcome.out.contains("failed to place all allocations"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_deployment_that_fails_ends_with_one() {
    let eval = json!({"ID": "3f2a91c0-0000-4000-8000-000000000001", "JobID": "web", "Status": "complete",
        "DeploymentID": "9d0be1aa-0000-4000-8000-000000000001"});
    let failed =
        json!({"ID": "9d0be1aa-0000-4000-8000-000000000001", "JobID": "web", "Status": "failed"});
    let fake = Fake::start(&[
        (
            "PUT /v1/jobs",
            200,
            json!({"EvalID": "3f2a91c0-0000-4000-8000-000000000001"}),
        ),
        (
            "GET /v1/evaluation/3f2a91c0-0000-4000-8000-000000000001",
            200,
            eval,
        ),
        (
            "GET /v1/evaluation/3f2a91c0-0000-4000-8000-000000000001/allocations",
            200,
            json!([]),
        ),
        (
            "GET /v1/deployment/9d0be1aa-0000-4000-8000-000000000001",
            200,
            failed,
        ),
    ])
    .await;
    let (_dir, path) = job_file();
    let outcome = call(&fake.address, &format!("job run -json {path}")).await;
    assert_eq!(outcome.code, 1, "{outcome:?}");
}

#[tokio::test]
async fn a_changed_job_is_not_updated_against_its_index() {
    let fake = Fake::start(&[(
        "PUT /v1/jobs",
        500,
        json!("Enforcing job modify index 41: job exists with conflicting job modify index: 50"),
    )])
    .await;
    let (_dir, path) = job_file();
    let line = format!("job run -check-index 41 -json {path}");
    let outcome = call(&fake.address, &line).await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.err,
        "Enforcing job modify index 41: job exists with conflicting job modify index: 50\nJob not updated\n"
    );
}

#[tokio::test]
async fn plan_tells_by_its_code() {
    let (_dir, path) = job_file();
    for (kind, code) in [("Place", 1), ("Ignore", 0)] {
        let annotations = json!({"DesiredTGUpdates": {"app": {kind: 1}}});
        let answer = json!({"JobModifyIndex": 41, "Annotations": annotations,
            "Diff": {"Type": "Edited", "ID": "web"}});
        let fake = Fake::start(&[("PUT /v1/job/web/plan", 200, answer)]).await;
        let outcome = call(&fake.address, &format!("job plan -json {path}")).await;
        assert_eq!(outcome.code, code, "{outcome:?}");
        assert!(outcome.out.starts_with(
            "+/- Job: \"web\"\n\nScheduler dry-run:\n- All tasks successfully allocated.\n\nJob Modify Index: 41\n"
        ), "{}", outcome.out);
        assert!(
            outcome
                .out
                .contains(&format!("\ntrivet job run -check-index 41 {path}\n")),
            "{}",
            outcome.out
        );
        assert_eq!(fake.body("PUT /v1/job/web/plan")["Diff"], true);
    }
    let fake = Fake::start(&[("PUT /v1/job/web/plan", 500, json!("no"))]).await;
    let outcome = call(&fake.address, &format!("plan -json {path}")).await;
    assert_eq!(outcome.code, 255);
    assert_eq!(
        outcome.err,
        "Error during plan: Unexpected response code: 500 (no)\n"
    );
    let outcome = call(&fake.address, "plan -json /nonexistent").await;
    assert_eq!(outcome.code, 255);
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_named() {
    // A port that nobody else gets and that does not listen.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", socket.local_addr().unwrap());
    let outcome = call(&address, "job status").await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains(&format!(
            "Error querying jobs: cannot reach the agent at {address}"
        )),
        "{}",
        outcome.err
    );
    assert!(outcome.err.contains("refused"), "{}", outcome.err);
}

#[tokio::test]
async fn lookups_say_what_is_missing_or_ambiguous() {
    let two = json!([{"ID": "web-1", "Type": "service"}, {"ID": "web-2", "Type": "service"}]);
    let fake = Fake::start(&[
        ("GET /v1/jobs", 200, two),
        ("GET /v1/allocations", 200, json!([])),
        ("GET /v1/deployments", 200, json!([])),
    ])
    .await;
    for (line, text) in [
        ("job status web", "Prefix matched multiple jobs"),
        (
            "alloc status 7ab3",
            "No allocation(s) with prefix or id \"7ab3\" found",
        ),
        (
            "alloc status 7",
            "Identifier must contain at least two characters.",
        ),
        (
            "deployment status 7ab3",
            "Deployment ID \"7ab3\" matched no deployments",
        ),
    ] {
        let outcome = call(&fake.address, line).await;
        assert_eq!(outcome.code, 1, "{line}");
        assert!(outcome.err.contains(text), "{line}: {}", outcome.err);
    }
}

#[tokio::test]
async fn structured_output_is_the_object_itself() {
    let job = json!({"ID": "web", "Namespace": "default", "Type": "service", "Periodic": null});
    let fake = Fake::start(&[
        ("GET /v1/jobs", 200, json!([job])),
        ("GET /v1/job/web", 200, job.clone()),
    ])
    .await;
    let outcome = call(&fake.address, "job status -json web").await;
    assert_eq!(serde_json::from_str::<Value>(&outcome.out).unwrap(), job);
    assert!(
        outcome.out.contains("\n    \"ID\": \"web\""),
        "{}",
        outcome.out
    );
    let outcome = call(&fake.address, "job status -t {{.ID}}/{{.Type}} web").await;
    assert_eq!(outcome.out, "web/service\n");
    let outcome = call(&fake.address, "job inspect web").await;
    assert!(
        outcome.out.starts_with("{\n    \"Job\": {"),
        "{}",
        outcome.out
    );
}

#[tokio::test]
async fn stop_deregisters_in_the_namespace_of_the_job() {
    let fake = Fake::start(&[
        (
            "GET /v1/jobs",
            200,
            json!([{"ID": "web", "Namespace": "team", "Type": "service"}]),
        ),
        (
            "DELETE /v1/job/web",
            200,
            json!({"EvalID": "000000e1-0000-4000-8000-000000000001"}),
        ),
    ])
    .await;
    let outcome = call(&fake.address, "job stop -detach -purge web").await;
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (0, "000000e1-0000-4000-8000-000000000001\n")
    );
    let requests = fake.requests();
    let deleted = requests.iter().find(|line| line.starts_with("DELETE"));
    assert_eq!(
        deleted.unwrap(),
        "DELETE /v1/job/web?purge=true&global=false&namespace=team"
    );
}

#[tokio::test]
async fn scale_finds_the_only_group() {
    let fake = Fake::start(&[
        (
            "GET /v1/jobs",
            200,
            json!([{"ID": "web", "Type": "service"}]),
        ),
        (
            "GET /v1/job/web/scale",
            200,
            json!({"JobID": "web", "TaskGroups": {"app": {}}}),
        ),
        (
            "PUT /v1/job/web/scale",
            200,
            json!({"EvalID": "000000e1-0000-4000-8000-000000000001"}),
        ),
    ])
    .await;
    let outcome = call(&fake.address, "job scale -detach web 5").await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(
        outcome.out,
        "Job scale successful\nEvaluation ID: 000000e1-0000-4000-8000-000000000001\n"
    );
    let body = fake.body("PUT /v1/job/web/scale");
    assert_eq!(body["Count"], 5);
    assert_eq!(body["Target"], json!({"Job": "web", "Group": "app"}));
}

#[tokio::test]
async fn logs_are_copied_as_they_are() {
    let alloc = json!({"ID": "51c8e77d-0000-4000-8000-000000000001", "Namespace": "default", "TaskGroup": "app",
        "TaskStates": {"server": {"State": "running"}}});
    let fake = Fake::start(&[
        ("GET /v1/allocations", 200, json!([alloc])),
        (
            "GET /v1/allocation/51c8e77d-0000-4000-8000-000000000001",
            200,
            alloc.clone(),
        ),
        (
            "GET /v1/client/fs/logs/51c8e77d-0000-4000-8000-000000000001",
            200,
            json!("line 1"),
        ),
    ])
    .await;
    let outcome = call(&fake.address, "alloc logs -stderr 51c8").await;
    assert_eq!((outcome.code, outcome.err.as_str()), (0, "\"line 1\""));
    let requests = fake.requests();
    let asked = requests.iter().find(|line| line.contains("/fs/logs/"));
    assert!(
        asked
            .unwrap()
            .contains("task=server&type=stderr&follow=false&plain=true"),
        "{asked:?}"
    );
    let outcome = call(&fake.address, "alloc logs 51c8 nosuch").await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .err
            .contains("Could not find task named: nosuch, found: server")
    );
}

#[tokio::test]
async fn init_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.nomad.hcl").display().to_string();
    let first = call("http://127.0.0.1:1", &format!("job init {path}")).await;
    assert_eq!(first.out, format!("Example job file written to {path}\n"));
    let second = call("http://127.0.0.1:1", &format!("job init -short {path}")).await;
    assert_eq!(second.code, 1);
    assert_eq!(second.err, format!("Job '{path}' already exists\n"));
}

#[tokio::test]
async fn version_needs_no_agent() {
    let outcome = call("http://127.0.0.1:1", "-version").await;
    assert_eq!(outcome.code, 0);
    assert!(outcome.out.starts_with("Trivet v"));
    let outcome = call("http://127.0.0.1:1", "version -format=json").await;
    let shown: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(shown["Version"], env!("CARGO_PKG_VERSION"), "{shown}");
    let outcome = call("http://127.0.0.1:1", "version -format=xml").await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("Unknown format: xml"),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn a_share_of_nothing_goes_back_to_equal_turns() {
    let row = json!({"service": "web", "host": "", "path": "/w", "src": "/w",
        "dst": "http://127.0.0.1:9/", "opts": "", "cmd": "route add", "weight": 0.5});
    let fake = Fake::start(&[
        ("GET /v1/trivet/routes", 200, json!([row])),
        ("PUT /v1/trivet/route/weight", 200, json!({"Version": 1})),
    ])
    .await;
    let outcome = call(&fake.address, "route list").await;
    assert!(
        outcome
            .out
            .ends_with("web      /w      http://127.0.0.1:9/  50.00%  <none>\n")
    );
    let outcome = call(&fake.address, "route weight web /w 0 -tags canary,v2").await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(
        fake.body("PUT"),
        json!({"Service": "web", "Src": "/w", "Weight": null, "Tags": ["canary", "v2"]})
    );
}

#[tokio::test]
async fn keys_are_written_and_read_with_the_published_texts() {
    let pair = json!([{"LockIndex": 0, "Key": "a/1", "Flags": 7, "Value": "aGVsbG8=",
        "CreateIndex": 15, "ModifyIndex": 24}]);
    let fake = Fake::start(&[
        ("PUT /v1/kv/a/1", 200, json!(true)),
        ("PUT /v1/kv/held", 200, json!(false)),
        ("GET /v1/kv/a/1", 200, pair.clone()),
        ("GET /v1/kv/a/", 200, pair),
        ("DELETE /v1/kv/a/1", 200, json!(true)),
        ("DELETE /v1/kv/held", 200, json!(false)),
    ])
    .await;
    let session = "-session 3f2a91c0-0000-4000-8000-000000000001";
    let detailed = "CreateIndex      15\nFlags            7\nKey              a/1\nLockIndex        0\n\
                    ModifyIndex      24\nSession          -\nValue            hello\n";
    for (line, code, text) in [
        (
            "put a/1 hello",
            0,
            "Success! Data written to: a/1\n".to_owned(),
        ),
        (
            "put /a/1 hello",
            0,
            "Success! Data written to: a/1\n".to_owned(),
        ),
        (
            "put -cas -modify-index=5 held x",
            1,
            "Error! Did not write to held: CAS failed\n".to_owned(),
        ),
        (
            &format!("put -acquire {session} a/1 x"),
            0,
            "Success! Lock acquired on: a/1\n".to_owned(),
        ),
        (
            &format!("put -acquire {session} held x"),
            1,
            "Error! Did not acquire lock\n".to_owned(),
        ),
        (
            &format!("put -release {session} a/1"),
            0,
            "Success! Lock released on: a/1\n".to_owned(),
        ),
        (
            "put -release a/1",
            1,
            "Error! Missing -session (required with -acquire and -release)\n".to_owned(),
        ),
        ("get a/1", 0, "hello\n".to_owned()),
        ("get -base64 a/1", 0, "aGVsbG8=\n".to_owned()),
        ("get -detailed a/1", 0, detailed.to_owned()),
        ("get -recurse a/", 0, "a/1:hello\n".to_owned()),
        ("get none", 1, "Error! No key exists at: none\n".to_owned()),
        ("get -recurse none", 0, String::new()),
        ("get", 1, "Error! Missing KEY argument\n".to_owned()),
        ("delete a/1", 0, "Success! Deleted key: a/1\n".to_owned()),
        (
            "delete -cas -modify-index 5 held",
            1,
            "Error! Did not delete key held: CAS failed\n".to_owned(),
        ),
        (
            "delete -recurse a/1",
            0,
            "Success! Deleted keys with prefix: a/1\n".to_owned(),
        ),
        (
            "delete -recurse -cas a",
            1,
            "Cannot specify both -cas and -recurse!\n".to_owned(),
        ),
    ] {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let line = format!("kv {command} -http-addr {} {rest}", fake.address);
        let outcome = call(&fake.address, &line).await;
        assert_eq!(
            (outcome.code, format!("{}{}", outcome.out, outcome.err)),
            (code, text),
            "{line}"
        );
    }
    let asked = fake.requests();
    assert!(
        asked.contains(&"PUT /v1/kv/a/1?flags=0".to_owned()),
        "{asked:?}"
    );
    assert!(
        asked.contains(&"PUT /v1/kv/held?flags=0&cas=5".to_owned()),
        "{asked:?}"
    );
}

#[tokio::test]
async fn files_for_the_catalog_are_hcl_or_json() {
    let fake = Fake::start(&[
        ("PUT /v1/config", 200, json!(true)),
        ("PUT /v1/agent/service/register", 200, json!(null)),
    ])
    .await;
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let hcl = put(
        "resolver.hcl",
        "Kind = \"service-resolver\"\nName = \"web\"\nDefaultSubset = \"v1\"\n\
         Subsets = {\n  v1 = { Filter = \"Service.Meta.v == 1\" }\n}\n",
    );
    let splits = put(
        "splitter.hcl",
        "kind = \"service-splitter\"\nname = \"web\"\nsplits = [\n  { weight = 90 },\n  \
         { weight = 10, service = \"new\" },\n]\n",
    );
    let posted = r#"{"Kind":"service-defaults","Name":"web","Timeout":9007199254740993}"#;
    let json_file = put("defaults.json", posted);
    let wrong = put("wrong.hcl", "Kind = \"mesh\"\nName = var.name\n");
    let service = put("web.hcl", "service {\n  name = \"web\"\n  port = 80\n}\n");
    for (command, rest, code, text) in [
        (
            "config write",
            &hcl,
            0,
            "Config entry written: service-resolver/web\n",
        ),
        (
            "config write",
            &splits,
            0,
            "Config entry written: service-splitter/web\n",
        ),
        (
            "config write",
            &json_file,
            0,
            "Config entry written: service-defaults/web\n",
        ),
        (
            "config write",
            &wrong,
            1,
            "wrong.hcl:2,1: `Name` is an expression",
        ),
        (
            "services register",
            &service,
            0,
            "Registered service: web\n",
        ),
    ] {
        let line = format!("{command} -http-addr {} {rest}", fake.address);
        let outcome = call(&fake.address, &line).await;
        assert_eq!(outcome.code, code, "{line}: {}{}", outcome.out, outcome.err);
        let said = format!("{}{}", outcome.out, outcome.err);
        assert!(said.contains(text), "{line}: {said}");
    }
    let bodies: Vec<Value> = fake
        .asked
        .lock()
        .iter()
        .map(|(_, body)| body.clone())
        .collect();
    assert_eq!(
        bodies,
        [
            json!({"Kind": "service-resolver", "Name": "web", "DefaultSubset": "v1",
                "Subsets": {"v1": {"Filter": "Service.Meta.v == 1"}}}),
            json!({"kind": "service-splitter", "name": "web",
                "splits": [{"weight": 90}, {"weight": 10, "service": "new"}]}),
            serde_json::from_str(posted).unwrap(),
            json!({"Name": "web", "port": 80}),
        ]
    );
}
