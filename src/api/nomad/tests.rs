use axum::body::Body;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

use crate::tests::{Fixture, LONG, ask, job};

const NODE: &str = "00000000-0000-4000-8000-000000000001";
const MISSING: &str = "00000000-0000-4000-8000-00000000dead";

#[tokio::test]
async fn a_job_posted_as_json_is_there_with_its_defaults() {
    let fixture = Fixture::start().await;
    let written = fixture.register("web").await;
    assert_eq!(written["EvalID"].as_str().unwrap().len(), 36);
    assert_eq!(written["EvalCreateIndex"], written["Index"]);
    assert_eq!(written["JobModifyIndex"], written["Index"]);

    let read = fixture.get("/v1/job/web").await;
    assert_eq!(read.status, 200);
    assert_eq!(Some(read.index()), written["Index"].as_u64());
    assert_eq!(read.header("x-nomad-knownleader"), "true");
    assert_eq!(read.header("x-nomad-lastcontact"), "0");
    let read = read.json();
    assert_eq!(read["Priority"], 50);
    assert_eq!(read["Region"], "global");
    assert_eq!(read["TaskGroups"][0]["Count"], 2);
    assert!(read["SubmitTime"].as_i64().unwrap() > 0);

    let list = fixture.get("/v1/jobs").await.json();
    assert_eq!(list[0]["ID"], "web");
    assert_eq!(list[0]["JobSummary"]["Namespace"], "default");
    assert_eq!(fixture.get("/v1/jobs?prefix=x").await.json(), json!([]));
    assert_eq!(
        fixture.get("/v1/jobs?namespace=other").await.json(),
        json!([])
    );

    let eval = written["EvalID"].as_str().unwrap();
    let eval = fixture
        .get(&format!("/v1/evaluation/{eval}?related=true"))
        .await;
    assert_eq!(eval.json()["JobID"], "web");
    for (path, expected) in [
        ("/v1/job/web/allocations", json!([])),
        ("/v1/job/web/deployments", json!([])),
        ("/v1/job/web/deployment", Value::Null),
    ] {
        assert_eq!(fixture.get(path).await.json(), expected, "{path}");
    }
    let evals = fixture.get("/v1/job/web/evaluations").await.json();
    assert_eq!(evals.as_array().unwrap().len(), 1);
    let summary = fixture.get("/v1/job/web/summary").await.json();
    assert_eq!(summary["JobID"], "web");
}

#[tokio::test]
async fn bad_registrations_change_nothing() {
    let fixture = Fixture::start().await;
    let named = |id: &str| json!({ "Job": job(id) });
    let mut unknown_driver = named("web");
    unknown_driver["Job"]["TaskGroups"][0]["Count"] = json!(-1);
    let mut elsewhere = named("web");
    elsewhere["Job"]["Namespace"] = json!("other");
    let mut far = named("web");
    far["Job"]["Region"] = json!("mars");
    for (uri, body, expected) in [
        ("/v1/jobs", "".to_owned(), (400, "Request body is empty")),
        ("/v1/jobs", "{".to_owned(), (400, "EOF")),
        ("/v1/jobs", "{}".to_owned(), (400, "Job must be specified")),
        (
            "/v1/jobs",
            r#"{"Job":{}}"#.to_owned(),
            (400, "Job ID must be specified"),
        ),
        (
            "/v1/jobs",
            r#"{"Job":{"ID":7}}"#.to_owned(),
            (400, "invalid type"),
        ),
        (
            "/v1/job/other",
            named("web").to_string(),
            (400, "Job ID does not match name"),
        ),
        (
            "/v1/jobs",
            unknown_driver.to_string(),
            (500, "1 error occurred"),
        ),
        (
            "/v1/jobs",
            elsewhere.to_string(),
            (500, "nonexistent namespace"),
        ),
        ("/v1/jobs", far.to_string(), (500, "No path to region")),
        (
            "/v1/jobs?region=mars",
            named("web").to_string(),
            (500, "No path to region"),
        ),
    ] {
        let answer = ask(&fixture.jobs, "PUT", uri, body.clone()).await;
        let (status, text) = answer.refusal();
        assert_eq!(status, expected.0, "{body}: {text}");
        assert!(text.contains(expected.1), "{body}: {text}");
    }
    assert_eq!(fixture.get("/v1/jobs").await.json(), json!([]));
}

#[tokio::test]
async fn unknown_keys_are_tolerated_and_nulls_are_nothing() {
    let fixture = Fixture::start().await;
    let mut request = json!({
        "Job": job("web"), "SecretID": "x", "Submission": {
            "Source": "job \"web\" {}", "Format": "hcl2", "VariableFlags": null, "Variables": "",
        },
        "WriteRequest": { "Region": "global" },
    });
    request["Job"]["Unheard"] = Value::Null;
    let answer = fixture.put("/v1/jobs", &request).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let submission = fixture.get("/v1/job/web/submission?version=0").await.json();
    assert_eq!(submission["Source"], "job \"web\" {}");
    let missing = fixture.get("/v1/job/web/submission?version=9").await;
    assert_eq!(missing.refusal(), (404, "job source not found"));
    assert_eq!(fixture.get("/v1/job/web/submission").await.refusal().0, 400);
}

#[tokio::test]
async fn an_enforced_index_must_be_the_current_one() {
    let fixture = Fixture::start().await;
    let request =
        |index: u64| json!({ "Job": job("web"), "EnforceIndex": true, "JobModifyIndex": index });
    let answer = fixture.put("/v1/jobs", &request(9999)).await;
    let (status, text) = answer.refusal();
    assert_eq!(status, 500);
    assert!(
        text.starts_with("Enforcing job modify index 9999"),
        "{text}"
    );
    let written = fixture.put("/v1/jobs", &request(0)).await.json();
    let again = fixture.put("/v1/jobs", &request(0)).await;
    assert!(
        again.body.starts_with("Enforcing job modify index 0"),
        "{}",
        again.body
    );
    let index = written["JobModifyIndex"].as_u64().unwrap();
    assert_eq!(fixture.put("/v1/jobs", &request(index)).await.status, 200);
}

#[tokio::test]
async fn what_is_missing_has_the_published_text() {
    let fixture = Fixture::start().await;
    for (uri, text) in [
        ("/v1/job/nope".to_owned(), "job not found"),
        ("/v1/job/nope/summary".to_owned(), "job not found"),
        ("/v1/job/nope/versions".to_owned(), "job versions not found"),
        ("/v1/job/nope/scale".to_owned(), "job not found"),
        (format!("/v1/allocation/{MISSING}"), "alloc not found"),
        (format!("/v1/evaluation/{MISSING}"), "eval not found"),
        (format!("/v1/deployment/{MISSING}"), "deployment not found"),
        (format!("/v1/node/{MISSING}"), "node not found"),
        ("/v1/namespace/other".to_owned(), "Namespace not found"),
    ] {
        let answer = fixture.get(&uri).await;
        assert_eq!(answer.refusal(), (404, text), "{uri}");
        assert!(answer.index() > 0, "{uri}");
    }
    let stop = format!("/v1/client/fs/ls/{MISSING}");
    let answer = fixture.get(&stop).await;
    assert_eq!(answer.refusal().0, 404);
    assert!(
        answer.body.starts_with("Unknown allocation"),
        "{}",
        answer.body
    );
    let answer = ask(&fixture.jobs, "DELETE", "/v1/job/nope", Body::empty()).await;
    assert_eq!(answer.refusal(), (404, "job not found"));
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_say_so() {
    let fixture = Fixture::start().await;
    for (method, uri, status, text) in [
        ("GET", "/v1/nonsense", 404, ""),
        ("GET", "/elsewhere", 404, ""),
        (
            "GET",
            "/v1/plugin/csi/x",
            501,
            "GET /v1/plugin/csi/x is not part of this version of trivet",
        ),
        ("GET", "/v1/quotas", 501, "Nomad Enterprise only endpoint"),
        ("GET", "/v1/acl/policies", 400, "ACL support disabled"),
        (
            "PUT",
            "/v1/node/pools",
            501,
            "changing node pools is not part of this version of trivet",
        ),
        (
            "GET",
            "/v1/metrics?format=text",
            400,
            "format is \"text\"; it must be \"prometheus\", or left out",
        ),
        (
            "PUT",
            "/v1/node/x/quarantine",
            501,
            "PUT /v1/node/x/quarantine is not part of this version of trivet",
        ),
        (
            "PUT",
            "/v1/job/x/services",
            501,
            "/v1/job/x/services is not part of this version of trivet",
        ),
        ("PUT", "/v1/job/x/actions", 405, "Invalid method"),
        ("GET", "/v1/job/x/actions", 404, "job not found"),
        (
            "GET",
            "/v1/job/x/action?allocID=a",
            404,
            "Unknown allocation",
        ),
        (
            "PUT",
            "/v1/job/x/dispatch",
            404,
            "parameterized job not found",
        ),
        ("PUT", "/v1/job/x/periodic/force", 404, "job not found"),
        ("GET", "/v1/job/x/dispatch", 405, "Invalid method"),
        ("GET", "/v1/job/x/dispatch/payload", 404, "job not found"),
        ("PUT", "/v1/nodes", 405, "Invalid method"),
        ("DELETE", "/v1/job/x/plan", 405, "Invalid method"),
        ("PATCH", "/v1/jobs", 405, "Invalid method"),
        ("PUT", "/v1/job/x/summary", 405, "Invalid method"),
        ("GET", "/v1/jobs?index=x", 400, "Invalid index"),
        ("GET", "/v1/jobs?wait=x", 400, "Invalid wait time"),
        (
            "GET",
            "/v1/jobs?filter=(",
            400,
            "failed to create result paginator: ",
        ),
        ("GET", "/v1/job/x?namespace=*", 400, "a wildcard namespace"),
        ("GET", "/v1/job//summary", 400, "Missing job ID"),
    ] {
        let answer = ask(&fixture.jobs, method, uri, Body::empty()).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{method} {uri}: {}",
            answer.body
        );
        assert!(
            answer.body.starts_with(text),
            "{method} {uri}: {}",
            answer.body
        );
        assert!(!text.is_empty() || answer.body.is_empty(), "{method} {uri}");
    }
    let answer = fixture.get("/?a=b").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (307, "/ui/?a=b")
    );
}

#[tokio::test]
async fn a_reader_is_woken_by_the_change_it_waits_for() {
    let fixture = Fixture::start().await;
    fixture.register("web").await;
    let index = fixture.get("/v1/jobs").await.index();
    let uri = format!("/v1/jobs?index={index}&wait=5m");
    let reading = fixture.get(&uri);
    tokio::pin!(reading);
    let early = timeout(Duration::from_millis(50), &mut reading).await;
    assert!(early.is_err(), "nothing changed and yet it returned");
    let (answer, _) = tokio::join!(timeout(LONG, reading), fixture.register("api"));
    let answer = answer.unwrap();
    assert!(answer.index() > index);
    assert_eq!(answer.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_reader_that_waits_in_vain_gets_what_there_is() {
    let fixture = Fixture::start().await;
    fixture.register("web").await;
    let index = fixture.get("/v1/job/web").await.index();
    let answer = timeout(
        LONG,
        fixture.get(&format!("/v1/job/web?index={index}&wait=20ms")),
    )
    .await;
    let answer = answer.unwrap();
    assert_eq!((answer.status.as_u16(), answer.index()), (200, index));
    assert_eq!(answer.json()["ID"], "web");
    // Others' changes do not end the wait, and a missing object can be waited for.
    let waiting = fixture.get("/v1/job/later?index=1000000&wait=20ms");
    assert_eq!(
        timeout(LONG, waiting).await.unwrap().refusal(),
        (404, "job not found")
    );
}

#[tokio::test]
async fn lists_come_in_pages_and_filtered() {
    let fixture = Fixture::start().await;
    for id in ["a", "b", "c"] {
        fixture.register(id).await;
    }
    let ids = |answer: &Value| -> Vec<String> {
        let rows = answer.as_array().unwrap().iter();
        rows.map(|row| row["ID"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = fixture.get("/v1/jobs?per_page=2").await;
    assert_eq!(ids(&first.json()), ["a", "b"]);
    assert_eq!(first.header("x-nomad-nexttoken"), "default.c");
    let rest = fixture
        .get("/v1/jobs?per_page=2&next_token=default.c")
        .await;
    assert_eq!(ids(&rest.json()), ["c"]);
    assert_eq!(rest.header("x-nomad-nexttoken"), "(absent)");
    let found = fixture.get("/v1/jobs?filter=ID%20%3D%3D%20b").await;
    assert_eq!(ids(&found.json()), ["b"]);

    let evals = fixture.get("/v1/evaluations?per_page=1&reverse=true").await;
    assert_eq!(evals.json()[0]["JobID"], "c");
    let token = evals.header("x-nomad-nexttoken").to_owned();
    let uri = format!("/v1/evaluations?per_page=1&reverse=true&next_token={token}");
    assert_eq!(fixture.get(&uri).await.json()[0]["JobID"], "b");
    assert_eq!(
        fixture
            .get("/v1/evaluations?next_token=x")
            .await
            .refusal()
            .0,
        400
    );
    let count = fixture.get("/v1/evaluations/count?job=a").await.json();
    assert_eq!(count["Count"], 1);
}

#[tokio::test]
async fn versions_are_compared_reverted_and_marked() {
    let fixture = Fixture::start().await;
    fixture.register("web").await;
    let mut changed = job("web");
    changed["TaskGroups"][0]["Count"] = json!(5);
    assert_eq!(
        fixture
            .put("/v1/jobs", &json!({ "Job": changed }))
            .await
            .status,
        200
    );
    let versions = fixture.get("/v1/job/web/versions?diffs=true").await.json();
    assert_eq!(versions["Versions"][0]["Version"], 1);
    assert_eq!(versions["Versions"][1]["Version"], 0);
    assert_eq!(versions["Diffs"].as_array().unwrap().len(), 1);
    assert_eq!(versions["Diffs"][0]["Type"], "Edited");

    let body = json!({ "JobID": "web", "JobVersion": 0, "Stable": true });
    assert_eq!(fixture.put("/v1/job/web/stable", &body).await.status, 200);
    let answer = fixture.put("/v1/job/other/stable", &body).await;
    assert_eq!(answer.refusal(), (400, "Job ID does not match"));
    let versions = fixture.get("/v1/job/web/versions").await.json();
    assert_eq!(versions["Versions"][1]["Stable"], true);

    let body = json!({ "JobID": "web", "JobVersion": 0 });
    let answer = fixture.put("/v1/job/web/revert", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let now = fixture.get("/v1/job/web").await.json();
    assert_eq!(
        (&now["Version"], &now["TaskGroups"][0]["Count"]),
        (&json!(2), &json!(2))
    );
}

#[tokio::test]
async fn a_plan_changes_nothing_and_says_what_would() {
    let fixture = Fixture::start().await;
    let body = json!({ "Job": job("web"), "Diff": true });
    let plan = fixture.put("/v1/job/web/plan", &body).await;
    assert_eq!(plan.status, 200, "{}", plan.body);
    let plan = plan.json();
    assert_eq!(plan["JobModifyIndex"], 0);
    assert_eq!(plan["Diff"]["Type"], "Added");
    assert!(plan["Annotations"]["DesiredTGUpdates"].is_object());
    // There is no node.
    assert!(plan["FailedTGAllocs"]["app"].is_object(), "{plan}");
    assert_eq!(fixture.get("/v1/jobs").await.json(), json!([]));
    let answer = fixture.put("/v1/job/other/plan", &body).await;
    assert_eq!(answer.refusal(), (400, "Job ID does not match"));
}

#[tokio::test]
async fn counts_are_scaled_and_bounded() {
    let fixture = Fixture::start().await;
    fixture.register("web").await;
    let body = |count: i64, group: &str| json!({ "Count": count, "Target": { "Job": "web", "Group": group } });
    let answer = fixture.put("/v1/job/web/scale", &body(4, "app")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let status = fixture.get("/v1/job/web/scale").await.json();
    assert_eq!(status["TaskGroups"]["app"]["Desired"], 4);
    assert_eq!(status["TaskGroups"]["app"]["Events"][0]["PreviousCount"], 2);
    for (count, group) in [(-1, "app"), (1_000_000, "app"), (1, "nope"), (1, "")] {
        let answer = fixture.put("/v1/job/web/scale", &body(count, group)).await;
        assert_eq!(answer.refusal().0, 400, "{count} {group}");
    }
}

#[tokio::test]
async fn a_job_is_stopped_and_purged() {
    let fixture = Fixture::start().await;
    fixture.register("web").await;
    let answer = ask(&fixture.jobs, "DELETE", "/v1/job/web", Body::empty()).await;
    assert_eq!(answer.json()["EvalID"].as_str().unwrap().len(), 36);
    assert_eq!(fixture.get("/v1/job/web").await.json()["Stop"], true);
    let uri = "/v1/job/web?purge=true&eval_priority=101";
    assert_eq!(
        ask(&fixture.jobs, "DELETE", uri, Body::empty())
            .await
            .refusal()
            .0,
        400
    );
    let answer = ask(
        &fixture.jobs,
        "DELETE",
        "/v1/job/web?purge=true",
        Body::empty(),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(fixture.get("/v1/job/web").await.refusal().0, 404);
}

#[tokio::test]
async fn job_files_are_read_and_jobs_validated() {
    let fixture = Fixture::start().await;
    let text = "job \"web\" {\n group \"app\" {\n task \"server\" {\n driver = \"raw_exec\"\n \
                config {\n command = \"true\"\n }\n }\n }\n}\n";
    let parsed = fixture
        .put("/v1/jobs/parse", &json!({ "JobHCL": text }))
        .await;
    assert_eq!(parsed.json()["ID"], "web");
    let parsed = json!({ "JobHCL": text, "Canonicalize": true });
    let parsed = fixture.put("/v1/jobs/parse", &parsed).await;
    assert_eq!(parsed.json()["Priority"], 50);
    let answer = fixture
        .put("/v1/jobs/parse", &json!({ "JobHCL": "" }))
        .await;
    assert_eq!(answer.refusal(), (400, "Job spec is empty"));
    let secret = r#"job "x" { meta { a = file("/etc/passwd") } }"#;
    for text in ["job \"web\" {", "nonsense = 1", secret] {
        let answer = fixture
            .put("/v1/jobs/parse", &json!({ "JobHCL": text }))
            .await;
        let (status, text) = answer.refusal();
        assert_eq!(status, 400);
        assert!(text.starts_with("Failed to parse job: "), "{text}");
        assert!(!text.contains("root:"), "{text}");
    }

    let valid = fixture
        .put("/v1/validate/job", &json!({ "Job": job("web") }))
        .await;
    assert_eq!(valid.json()["Error"], "");
    let mut bad = job("web");
    bad["TaskGroups"] = json!([]);
    let invalid = fixture
        .put("/v1/validate/job", &json!({ "Job": bad }))
        .await;
    assert_eq!(invalid.status, 200);
    assert!(
        !invalid.json()["ValidationErrors"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn nodes_show_no_secret_and_change_their_eligibility() {
    let fixture = Fixture::start().await;
    fixture.add_node(NODE).await;
    let list = fixture.get("/v1/nodes?prefix=0000&resources=true").await;
    assert_eq!(list.json()[0]["Address"], "127.0.0.1");
    assert_eq!(list.json()[0]["NodeResources"]["Cpu"]["CpuShares"], 1000);
    let node = fixture.get(&format!("/v1/node/{NODE}")).await;
    assert!(!node.body.contains("s3cret"), "{}", node.body);
    let uri = format!("/v1/node/{NODE}/eligibility");
    let answer = fixture
        .put(&uri, &json!({ "Eligibility": "ineligible" }))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let node = fixture.get(&format!("/v1/node/{NODE}")).await.json();
    assert_eq!(node["SchedulingEligibility"], "ineligible");
    for body in [json!({}), json!({ "Eligibility": "maybe" })] {
        assert_eq!(fixture.put(&uri, &body).await.refusal().0, 400);
    }
    let uri = format!("/v1/node/{NODE}/allocations");
    assert_eq!(fixture.get(&uri).await.json(), json!([]));
}

#[tokio::test]
async fn rows_are_found_by_the_start_of_their_id() {
    let fixture = Fixture::start().await;
    fixture.register("web").await;
    fixture.add_node(NODE).await;
    let search = |context: &str, prefix: &str| json!({ "Context": context, "Prefix": prefix });
    let found = fixture.put("/v1/search", &search("all", "we")).await.json();
    assert_eq!(found["Matches"]["jobs"], json!(["web"]));
    assert_eq!(found["Truncations"]["nodes"], false);
    let found = fixture
        .put("/v1/search", &search("nodes", "0000"))
        .await
        .json();
    assert_eq!(found["Matches"], json!({ "nodes": [NODE] }));
    let answer = fixture.put("/v1/search", &search("planets", "")).await;
    assert_eq!(answer.refusal().0, 400);
}

#[tokio::test]
async fn the_agent_tells_who_it_is() {
    let fixture = Fixture::start().await;
    let this = fixture.get("/v1/agent/self").await.json();
    assert_eq!(this["config"]["Region"], "global");
    assert_eq!(this["member"]["Name"], "one.global");
    assert_eq!(this["stats"]["nomad"]["leader"], "true");
    let leader = fixture.get("/v1/status/leader").await.json();
    assert!(leader.as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(
        fixture.get("/v1/status/peers").await.json(),
        json!([leader])
    );
    assert_eq!(fixture.get("/v1/regions").await.json(), json!(["global"]));
    let namespaces = fixture.get("/v1/namespaces").await.json();
    assert_eq!(namespaces[0]["Name"], "default");
    let members = fixture.get("/v1/agent/members").await.json();
    assert_eq!(members["Members"][0]["Status"], "alive");
    let tags = &members["Members"][0]["Tags"];
    assert_eq!(tags["build"], jobs::wire::API_VERSION);
    assert_eq!(tags[jobs::wire::OWN_VERSION_TAG], "0.1.0");
    let raft = fixture.get("/v1/operator/raft/configuration").await.json();
    assert_eq!(raft["Servers"][0]["Leader"], true);
    let health = fixture.get("/v1/agent/health").await;
    assert_eq!(
        health.json(),
        json!({ "server": { "ok": true, "message": "ok" } })
    );
    let health = fixture.get("/v1/agent/health?type=client").await;
    assert_eq!(health.status, 500);
    assert_eq!(health.json()["client"]["ok"], false);
    let health = fixture.get("/v1/operator/autopilot/health").await;
    assert_eq!(health.json()["Healthy"], true);
    let pretty = fixture.get("/v1/regions?pretty").await.body;
    assert_eq!(pretty, "[\n    \"global\"\n]\n");
}

#[tokio::test]
async fn deployment_writes_check_their_body() {
    let fixture = Fixture::start().await;
    let uri = |action: &str| format!("/v1/deployment/{action}/{MISSING}");
    let other = json!({ "DeploymentID": "other", "All": true, "Pause": true });
    for action in ["promote", "pause", "fail", "allocation-health"] {
        let answer = fixture.put(&uri(action), &other).await;
        assert_eq!(
            answer.refusal(),
            (400, "Deployment ID does not match"),
            "{action}"
        );
    }
    let answer = ask(&fixture.jobs, "PUT", &uri("fail"), Body::empty()).await;
    assert_eq!(answer.refusal(), (404, "deployment not found"));
    let both = json!({ "DeploymentID": MISSING, "All": true, "Groups": ["a"] });
    assert_eq!(fixture.put(&uri("promote"), &both).await.refusal().0, 400);
    let missing = json!({ "DeploymentID": MISSING, "All": true });
    assert_eq!(
        fixture.put(&uri("promote"), &missing).await.refusal().0,
        404
    );
}

#[tokio::test]
async fn route_weights_edit_the_overrides() {
    let fixture = Fixture::start().await;
    let weight = |weight: Value| json!({ "Service": "todo", "Src": "/todo", "Weight": weight, "Tags": ["canary"] });
    let uri = "/v1/trivet/route/weight";
    let answer = fixture.put(uri, &weight(json!(0.2))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let overrides = fixture.get("/v1/trivet/routes/overrides").await;
    assert_eq!(
        overrides.body,
        "route weight todo /todo weight 0.2 tags \"canary\"\n"
    );
    let version = overrides.index();
    let text = "# nothing\n";
    let stale = "/v1/trivet/routes/overrides?version=1";
    assert_eq!(
        ask(&fixture.jobs, "PUT", stale, text).await.refusal().0,
        409
    );
    let current = format!("/v1/trivet/routes/overrides?version={version}");
    assert_eq!(ask(&fixture.jobs, "PUT", &current, text).await.status, 200);
    let answer = fixture.put(uri, &weight(Value::Null)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        fixture.get("/v1/trivet/routes/overrides").await.body,
        "# nothing\n"
    );
    assert_eq!(fixture.put(uri, &weight(json!(2))).await.refusal().0, 400);
    assert_eq!(fixture.get("/v1/trivet/routes").await.json(), json!([]));
}

/// Too long paths and too large offsets are the client part's to refuse.
#[tokio::test]
async fn parameters_that_name_no_place_in_a_file_are_refused() {
    let fixture = Fixture::start().await;
    for parameters in [
        "path=a%00b&limit=1",
        "path=a&limit=1&offset=-1",
        "path=a&limit=18446744073709551616",
        "limit=1",
    ] {
        for action in ["readat", "cat", "stream"] {
            let answer = fixture
                .get(&format!("/v1/client/fs/{action}/none?{parameters}"))
                .await;
            let only_read_at = parameters.contains("limit=18") || parameters.contains("offset");
            if action != "readat" && only_read_at {
                continue;
            }
            assert_eq!(answer.status, 400, "{action} {parameters}: {}", answer.body);
        }
    }
}
