//! Job files and versions of jobs, from the command line to the running task.

use crate::harness::{
    Agent, DEADLINE, Echo,
    agent::Mode,
    command::{run, run_with, trivet},
    dns, http,
};
use hickory_proto::rr::RecordType;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

/// A job that places nothing, of some priority.
fn idle(priority: u32) -> String {
    format!(
        r#"
job "web" {{
  priority = {priority}
  group "app" {{
    count = 0
    scaling {{
      min = 0
      max = 3
    }}
    task "t" {{
      driver = "raw_exec"
      config {{
        command = "true"
      }}
    }}
  }}
}}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_named_compared_and_reverted_to_by_name() {
    let agent = Agent::start().await;
    for priority in [50, 60] {
        agent.register(&idle(priority)).await;
    }
    let tag = async |args: &[&str]| trivet(&agent, &[&["job", "tag"], args].concat()).await;
    let named = tag(&[
        "apply",
        "-name",
        "golden",
        "-version",
        "0",
        "-description",
        "as it was",
        "web",
    ]);
    assert_eq!(
        named.await.ok().stdout,
        "Job version 0 tagged with name \"golden\"\n"
    );
    for (args, text) in [
        (&["apply", "web"][..], "A version tag name is required"),
        (
            &["apply", "-name", "x", "-version", "abc", "web"],
            "Error parsing version",
        ),
        (
            &["apply", "-name", "x", "nope"],
            "No job(s) with prefix or ID \"nope\" found",
        ),
        (
            &["apply", "-name", "x", "-version", "9", "web"],
            "job \"web\" version 9 not found",
        ),
        (
            &["apply", "-name", "golden", "web"],
            "tag \"golden\" already exists on a different version of job \"web\"",
        ),
        (
            &["unset", "-name", "x", "web"],
            "tag \"x\" not found on job \"web\"",
        ),
    ] {
        let refused = tag(args).await;
        assert_eq!(refused.code, 1, "{args:?}");
        assert!(
            refused.stderr.contains(text),
            "no `{text}` in {}",
            refused.stderr
        );
    }
    // Many versions later it is still there.
    for priority in 70..80 {
        agent.register(&idle(priority)).await;
    }
    let history = trivet(&agent, &["job", "history", "web"]).await.ok().stdout;
    assert!(
        history.contains("Version         = 0\n")
            && history.contains("Tag Name        = golden\nTag Description = as it was"),
        "{history}"
    );
    let base = ["job", "history", "-p", "-version", "11"];
    for more in [["-diff-tag", "golden"], ["-diff-version", "0"]] {
        let compared = trivet(&agent, &[&base[..], &more, &["web"]].concat())
            .await
            .ok();
        assert!(
            compared.stdout.contains("\"50\" => \"79\""),
            "{}",
            compared.stdout
        );
    }
    let unknown = trivet(
        &agent,
        &["job", "history", "-p", "-diff-tag", "nope", "web"],
    )
    .await;
    assert!(unknown.code == 1 && unknown.stderr.contains("tag \"nope\" not found"));
    let alone = trivet(&agent, &["job", "history", "-diff-version", "0", "web"]).await;
    assert!(
        alone.stderr.contains("can only be used with -p"),
        "{}",
        alone.stderr
    );

    trivet(&agent, &["job", "revert", "-detach", "web", "golden"])
        .await
        .ok();
    let now = http::get(&agent.url("http", "/v1/job/web")).await;
    assert_eq!(
        (&now["Version"], &now["Priority"], &now["VersionTag"]),
        (&json!(12), &json!(50), &Value::Null)
    );
    let unset = tag(&["unset", "-name", "golden", "web"]).await.ok();
    assert_eq!(unset.stdout, "Tag \"golden\" removed from job \"web\"\n");
    let gone = trivet(&agent, &["job", "revert", "web", "golden"]).await;
    assert!(
        gone.stderr
            .contains("version tag golden not found for job web"),
        "{}",
        gone.stderr
    );
    let path = agent.url("http", "/v1/job/web/versions/latest/tag");
    let answer = http::put(&path, &json!({"Latest": true, "Description": "d"})).await;
    assert_eq!(
        (&answer["Name"], &answer["Description"]),
        (&json!("latest"), &json!("d"))
    );
    let now = http::get(&agent.url("http", "/v1/job/web")).await;
    assert_eq!(now["VersionTag"]["Name"], "latest");
    assert_eq!(now["VersionTag"]["TaggedTime"], answer["TaggedTime"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_keep_to_the_policy_and_leave_events() {
    let agent = Agent::start().await;
    agent.register(&idle(50)).await;
    let none = trivet(&agent, &["job", "scaling-events", "web"]).await.ok();
    assert_eq!(none.stdout, "No events found\n");
    for (args, text) in [
        (
            &["web", "4"][..],
            "group count was greater than scaling policy maximum: 4 > 3",
        ),
        (&["web", "nope", "1"], "Group nope not found within job"),
        (&["web", "x"], "Failed to convert count string to int"),
    ] {
        let refused = trivet(&agent, &[&["job", "scale"], args].concat()).await;
        assert!(
            refused.code == 1 && refused.stderr.contains(text),
            "no `{text}` in {}",
            refused.stderr
        );
    }
    trivet(&agent, &["job", "scale", "-detach", "web", "app", "0"])
        .await
        .ok();
    let events = trivet(&agent, &["job", "scaling-events", "web"]).await.ok();
    let lines: Vec<&str> = events.stdout.lines().collect();
    assert!(
        lines.len() == 2
            && lines[0].starts_with("Task Group  Count  PrevCount  Date")
            && lines[1].starts_with("app         0      0          "),
        "{}",
        events.stdout
    );
    let policies = http::get(&agent.url("http", "/v1/scaling/policies?job=web")).await;
    assert_eq!(policies.as_array().map(Vec::len), Some(1), "{policies}");
    let id = policies[0]["ID"].as_str().expect("an id");
    let policy = http::get(&agent.url("http", &format!("/v1/scaling/policy/{id}"))).await;
    assert_eq!((&policy["Min"], &policy["Max"]), (&json!(0), &json!(3)));
    assert_eq!(
        policy["Target"],
        json!({"Namespace": "default", "Job": "web", "Group": "app"})
    );
    let missing = agent.url("http", "/v1/scaling/policy/nope");
    let (status, _) = http::send(Method::GET, &missing, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_for_run_time_gets_its_value_when_the_task_starts() {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 1);
    // The configuration is read a second time, so what is meant literally is escaped twice.
    job.text = "${NOMAD_JOB_NAME} $$${NOMAD_JOB_NAME} $HOME %%%{x} ${OWN}".into();
    job.task = r#"
      env {
        OWN = "at ${node.datacenter} of ${NOMAD_GROUP_NAME}, ${unknown} and $${NOMAD_JOB_NAME}"
      }
    "#
    .into();
    job.service = r#"meta { where = "${node.datacenter}-${NOMAD_ALLOC_INDEX}-${nope}" }"#.into();
    job.run(&agent).await;
    let (_, body) = http::send(Method::GET, &agent.url("ingress", "/web"), None).await;
    assert_eq!(
        body,
        "web ${NOMAD_JOB_NAME} $HOME %{x} at dc1 of web, ${unknown} and web"
    );
    let entries = http::get(&agent.url("catalog", "/v1/health/service/web")).await;
    assert_eq!(entries[0]["Service"]["Meta"]["where"], "dc1-0-${nope}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_texts_are_parsed_with_values_and_all_problems() {
    let agent = Agent::start().await;
    let url = agent.url("http", "/v1/jobs/parse");
    let text = "variable \"n\" {\n type = number\n}\njob \"a\" {\n group \"g\" {\n count = var.n\n task \"t\" {\n driver = \"raw_exec\"\n}\n}\n}";
    let body = json!({"JobHCL": text, "Variables": "n = 3\nother = 1\n"});
    let parsed = http::put(&url, &body).await;
    assert_eq!(parsed["TaskGroups"][0]["Count"], 3);
    assert_eq!(parsed["Priority"], Value::Null);
    let mut body = body;
    body["Canonicalize"] = true.into();
    let parsed = http::put(&url, &body).await;
    assert_eq!(parsed["Priority"], 50);
    assert_eq!(parsed["TaskGroups"][0]["RestartPolicy"]["Attempts"], 2);

    let refused = async |body: Value| {
        let (status, text) = http::send(Method::PUT, &url, Some(&body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
        text
    };
    let bad = "job \"a\" {\n type = [1\n colour = 3\n group \"g\" {\n cuont = 1\n}\n}\n";
    assert_eq!(
        refused(json!({"JobHCL": bad})).await,
        "Failed to parse job: input.hcl:3,2-8: Missing item separator; Expected a comma to mark the beginning of the next item. Is the closing bracket (\"]\") missing?\n\
         input.hcl:3,2-8: Unsupported argument; An argument named \"colour\" is not expected here.\n\
         input.hcl:5,2-7: Unsupported argument; An argument named \"cuont\" is not expected here. Did you mean \"count\"?"
    );
    assert!(
        refused(json!({"JobHCL": text, "hclv1": true}))
            .await
            .starts_with("HCLv1 job files are not read any more")
    );
    assert_eq!(refused(json!({"JobHCL": ""})).await, "Job spec is empty");
    let (status, body) = http::send(
        Method::PUT,
        &agent.url("http", "/v1/validate/job"),
        Some(&json!({"Job": {"ID": "a b", "Priority": 1000, "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "t"}]}]}})),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert!(
        answer["ValidationErrors"]
            .as_array()
            .is_some_and(|all| all.len() >= 3),
        "{answer:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_is_inspected_as_it_was_written() {
    let agent = Agent::start().await;
    let text = include_str!("../../jobs/tests/spec/published/everything.nomad");
    let parse = json!({"JobHCL": text, "Canonicalize": true});
    let expected = http::put(&agent.url("http", "/v1/jobs/parse"), &parse).await;
    agent.register(text).await;
    let id = expected["ID"].as_str().expect("an id");
    let inspect = trivet(&agent, &["job", "inspect", id]).await.ok();
    let mut shown: Value = serde_json::from_str(&inspect.stdout).expect("JSON");
    let job = shown["Job"].as_object_mut().expect("a job");
    // What only the servers know.
    for key in [
        "CreateIndex",
        "JobModifyIndex",
        "ModifyIndex",
        "Status",
        "SubmitTime",
        "Version",
    ] {
        job.insert(key.to_owned(), expected[key].clone());
    }
    assert_eq!(shown["Job"], expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_laid_out_and_examples_written_without_an_agent() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    let ugly = "job \"a\" {\ntype=\"batch\" # kind\n}\n";
    let fine = "job \"a\" {\n  type = \"batch\" # kind\n}\n";
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).expect("a file");
    let read = |name: &str| std::fs::read_to_string(path.join(name)).expect("a file");
    std::fs::create_dir(path.join("deep")).expect("a directory");
    for name in ["ugly.nomad", "deep/ugly.hcl", "ugly.txt"] {
        write(name, ugly);
    }
    write("fine.nomad", fine);
    let checked = run(&["fmt", "-check"], None, path).await;
    assert_eq!((checked.code, checked.stdout.as_str()), (1, "ugly.nomad\n"));
    assert_eq!(read("ugly.nomad"), ugly);
    let shown = run(
        &["fmt", "-list=false", "-write=false", "ugly.nomad"],
        None,
        path,
    )
    .await;
    assert_eq!((shown.code, shown.stdout.as_str()), (0, fine));
    let all = run(&["fmt", "-recursive"], None, path).await;
    assert_eq!(
        (all.code, all.stdout.as_str()),
        (0, "deep/ugly.hcl\nugly.nomad\n")
    );
    assert_eq!(
        (read("ugly.nomad"), read("deep/ugly.hcl")),
        (fine.into(), fine.into())
    );
    assert_eq!(
        run(&["fmt", "-check", "-recursive"], None, path).await.code,
        0
    );
    write("bad.nomad", "job = \na : 1\n");
    let bad = run(&["fmt", "bad.nomad", "ugly.txt", "none.nomad"], None, path).await;
    assert_eq!(bad.code, 1);
    for text in [
        "bad.nomad:1,7-8: Invalid expression",
        "bad.nomad:2,3-4: Argument or block definition required",
        "Only .nomad and .hcl files can be processed using fmt: ugly.txt",
        "No file or directory at none.nomad",
    ] {
        assert!(bad.stderr.contains(text), "no `{text}` in {}", bad.stderr);
    }
    for args in [&[][..], &["-short"], &["-connect"], &["-connect", "-short"]] {
        let name = format!("example{}.nomad.hcl", args.concat());
        run(&[&["job", "init"], args, &[&name]].concat(), None, path)
            .await
            .ok();
        assert_eq!(
            run(&["fmt", "-check", &name], None, path).await.code,
            0,
            "{name}"
        );
        run(&["job", "run", "-output", &name], None, path)
            .await
            .ok();
    }
    let again = run(&["job", "init", "fine.nomad"], None, path).await;
    assert!(again.code == 1 && again.stderr.contains("Job 'fine.nomad' already exists"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nearest_value_of_a_variable_counts_and_only_named_files_are_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("a file");
    };
    write(
        "a.nomad",
        r#"variable "n" { default = 1 }
job "a" {
  group "g" {
    count = var.n
    task "t" { driver = "raw_exec" }
  }
}
"#,
    );
    write("x.auto.vars", "n = 9\n");
    write("three", "n = 3\n");
    write("four", "n = 4\n");
    let environment = [("NOMAD_VAR_n", "2".to_owned())];
    for (values, variables, expected) in [
        (&[][..], &[][..], 1),
        (&[], &environment, 2),
        (&["-var-file", "three"], &environment, 3),
        (&["-var-file=three", "-var-file=four"], &environment, 4),
        (&["-var", "n=5", "-var-file", "three"], &environment, 5),
    ] {
        let args = [&["job", "run", "-output"], values, &["a.nomad"]].concat();
        let printed = run_with(&args, variables, dir.path()).await.ok();
        let job: Value = serde_json::from_str(&printed.stdout).expect("JSON");
        assert_eq!(job["Job"]["TaskGroups"][0]["Count"], expected, "{values:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_files_that_are_kept_as_variables_are_examples_too() {
    let agent = Agent::start().await;
    let none = trivet(&agent, &["job", "init", "-list-templates"]).await;
    assert!(none.code == 1 && none.stderr.contains("No variables in nomad/job-templates"));
    for (name, item) in [("web", "template"), ("broken", "text")] {
        let url = agent.url("http", &format!("/v1/var/nomad/job-templates/{name}"));
        let mut items = serde_json::Map::new();
        items.insert(item.into(), "job \"web\" {}\n".into());
        http::put(&url, &json!({ "Items": items })).await;
    }
    let list = trivet(&agent, &["job", "init", "-list-templates"])
        .await
        .ok();
    assert!(
        list.stdout.ends_with(":\n  broken\n  web\n"),
        "{}",
        list.stdout
    );
    trivet(&agent, &["job", "init", "-template", "web", "kept.nomad"])
        .await
        .ok();
    let written = std::fs::read_to_string(agent.dir().join("kept.nomad")).expect("a file");
    assert_eq!(written, "job \"web\" {}\n");
    for (name, text) in [
        ("broken", "missing a template field"),
        ("none", "Variable not found"),
    ] {
        let refused = trivet(&agent, &["job", "init", "-template", name, "x.nomad"]).await;
        assert!(
            refused.code == 1 && refused.stderr.contains(text),
            "{}",
            refused.stderr
        );
    }
}

/// A job whose services, tags and checks say what only their node knows: one group for the
/// catalog, checked at `port` of the test, and one that keeps its service to the jobs API.
fn referring(port: u16) -> String {
    format!(
        r#"
job "refer" {{
  meta {{
    tier = "front"
    verb = "HEAD"
  }}
  group "web" {{
    service {{
      name = "${{NOMAD_META_tier}}-${{node.datacenter}}"
      port = "{port}"
      tags = ["rack-${{meta.rack}}", "${{attr.kernel.name}}", "v${{NOMAD_ALLOC_INDEX}}", "${{unknown}}"]
      check {{
        name     = "as ${{NOMAD_JOB_NAME}}"
        type     = "http"
        method   = "${{NOMAD_META_verb}}"
        path     = "/${{NOMAD_META_tier}}/${{node.datacenter}}/${{meta.rack}}"
        interval = "1s"
        timeout  = "10s"
        header {{
          X-Kernel = ["${{attr.kernel.name}} of ${{NOMAD_GROUP_NAME}}"]
        }}
      }}
      check {{
        name     = "script"
        type     = "script"
        task     = "sleeper"
        command  = "/bin/sh"
        args     = ["-c", "test ${{node.datacenter}}-${{meta.rack}}-${{NOMAD_META_tier}} = dc1-r1-front"]
        interval = "1s"
        timeout  = "10s"
      }}
    }}
    task "sleeper" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sleep"
        args    = ["600"]
      }}
    }}
  }}
  group "own" {{
    service {{
      provider = "nomad"
      name     = "own-${{NOMAD_META_tier}}"
      port     = "{port}"
      tags     = ["b", "rack-${{meta.rack}}"]
    }}
    task "sleeper" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sleep"
        args    = ["600"]
      }}
    }}
  }}
}}
"#
    )
}

/// Answers one request and tells what it was: the first line, and the line that begins so.
async fn asked(listener: &tokio::net::TcpListener, header: &str) -> (String, String) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let mut head = Vec::new();
    // Who asked may have given up meanwhile.
    while let Ok(Some(line)) = lines.next_line().await {
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    write.write_all(answer).await.ok();
    let line = |start: &str| {
        let is_it = |line: &&String| line.to_lowercase().starts_with(start);
        head.iter().find(is_it).cloned().unwrap_or_default()
    };
    (head.first().cloned().unwrap_or_default(), line(header))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn references_of_services_get_their_values_on_the_node() {
    let more = "client {\n  meta {\n    rack = \"r1\"\n  }\n}\n";
    let agent = Agent::start_with(Mode::Dev, more).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    agent.register(&referring(port)).await;
    let (request, header) = timeout(DEADLINE, asked(&listener, "x-kernel"))
        .await
        .expect("a check in time");
    assert_eq!(request, "HEAD /front/dc1/r1 HTTP/1.1");
    let (_, value) = header.split_once(": ").expect("a header");
    assert_eq!(value, "linux of web");
    let answering = tokio::spawn(async move {
        loop {
            asked(&listener, "x-kernel").await;
        }
    });
    // The check by a script passes only when its references had values.
    let entry = agent
        .wait_catalog("/v1/health/service/front-dc1?passing", |entries| {
            entries.get(0).cloned()
        })
        .await;
    assert_eq!(
        entry["Service"]["Tags"],
        json!(["rack-r1", "linux", "v0", "${unknown}"])
    );
    let checks = entry["Checks"].as_array().expect("checks").iter();
    let names: Vec<&Value> = checks.map(|check| &check["Name"]).collect();
    assert!(names.contains(&&json!("as refer")), "{names:?}");

    // What a job keeps to itself has an API of its own.
    let services =
        async |query: &str| http::get(&agent.url("http", &format!("/v1/services{query}"))).await;
    let all = json!([{"Namespace": "default", "Services": [
        {"ServiceName": "own-front", "Tags": ["b", "rack-r1"]}
    ]}]);
    agent
        .wait("/v1/services", |own| (*own == all).then_some(()))
        .await;
    for query in ["", "?namespace=*", "?namespace=default", "?prefix=own"] {
        assert_eq!(services(query).await, all, "{query}");
    }
    assert_eq!(services("?prefix=front").await, json!([]));
    // The catalog and DNS know nothing of it.
    let catalog = http::get(&agent.url("catalog", "/v1/catalog/services")).await;
    assert!(
        catalog.get("front-dc1").is_some() && catalog.get("own-front").is_none(),
        "{catalog}"
    );
    for path in [
        "/v1/catalog/service/own-front",
        "/v1/health/service/own-front",
        "/v1/health/checks/own-front",
    ] {
        assert_eq!(
            http::get(&agent.url("catalog", path)).await,
            json!([]),
            "{path}"
        );
    }
    let asked = dns::ask(
        agent.address("dns"),
        "own-front.service.consul.",
        RecordType::SRV,
    )
    .await;
    assert!(asked.answers.is_empty(), "{asked:?}");
    let service = agent.url("http", "/v1/service/own-front");
    let instances = http::get(&service).await;
    let alloc = http::get(&agent.url("http", "/v1/job/refer/allocations")).await;
    let alloc = alloc.as_array().expect("allocations").iter();
    let alloc = alloc
        .clone()
        .find(|alloc| alloc["TaskGroup"] == "own")
        .expect("one")
        .clone();
    let instance = &instances[0];
    for (key, value) in [
        ("ServiceName", &json!("own-front")),
        ("Namespace", &json!("default")),
        ("JobID", &json!("refer")),
        ("AllocID", &alloc["ID"]),
        ("NodeID", &alloc["NodeID"]),
        ("Datacenter", &json!("dc1")),
        ("Tags", &json!(["b", "rack-r1"])),
        ("Address", &json!("127.0.0.1")),
        ("Port", &json!(port)),
    ] {
        assert_eq!(&instance[key], value, "{key}");
    }
    let filtered = async |filter: &str| {
        let (_, body) = http::send(Method::GET, &format!("{service}?filter={filter}"), None).await;
        serde_json::from_str::<Value>(&body).expect("JSON")
    };
    assert_eq!(filtered("%22b%22%20in%20Tags").await, instances);
    assert_eq!(filtered("%22c%22%20in%20Tags").await, json!([]));
    assert_eq!(
        http::get(&agent.url("http", "/v1/service/none")).await,
        json!([])
    );
    let id = alloc["ID"].as_str().expect("an id");
    let instance_id = instance["ID"].as_str().expect("an id");
    let reference = format!("refer   127.0.0.1:{port}");
    for (args, code, texts) in [
        (
            &["service", "list"][..],
            0,
            &["Service Name  Tags", "own-front     [b,rack-r1]"][..],
        ),
        (
            &["service", "info", "own"],
            0,
            &["Job ID  Address", &reference, "[b,rack-r1]", &id[..8]],
        ),
        (
            &["service", "info", "-verbose", "own-front"],
            0,
            &[instance_id, id, "Datacenter   = dc1"],
        ),
        (
            &["service", "info", "none"],
            1,
            &["No service registrations with prefix \"none\" found"],
        ),
        (
            &["service", "delete", "own-front", instance_id],
            1,
            &["the registration goes with its allocation", id],
        ),
        (
            &["service", "delete", "own-front", "none"],
            1,
            &["service registration not found"],
        ),
        (&["alloc", "checks", id], 0, &["Status of "]),
        (&["alloc", "pause", id], 1, &["tasks are not paused"]),
    ] {
        let output = trivet(&agent, args).await;
        assert_eq!(output.code, code, "{args:?}: {}", output.text());
        for text in texts {
            assert!(output.text().contains(text), "{text}: {}", output.text());
        }
    }
    // Once the job is stopped, nothing is left of it.
    trivet(&agent, &["job", "stop", "-detach", "refer"])
        .await
        .ok();
    agent
        .wait("/v1/services", |names| (*names == json!([])).then_some(()))
        .await;
    answering.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_pools_and_misfits_are_told() {
    let agent = Agent::start().await;
    agent.register(&idle(50)).await;
    let list = trivet(&agent, &["scaling", "policy", "list"])
        .await
        .ok()
        .stdout;
    assert!(
        list.starts_with("ID        Enabled  Type        Target\n")
            && list.contains("  true     horizontal  Namespace:default,Job:web,Group:app"),
        "{list}"
    );
    let id = list
        .lines()
        .nth(1)
        .and_then(|line| line.get(..8))
        .expect("an id");
    let info = trivet(&agent, &["scaling", "policy", "info", id])
        .await
        .ok();
    assert!(
        info.stdout
            .contains("Min     = 0\nMax     = 3\n\nPolicy:\n<empty>"),
        "{}",
        info.stdout
    );
    for args in [&["none"][..], &["x"], &[]] {
        let refused = trivet(&agent, &[&["scaling", "policy", "info"], args].concat()).await;
        assert_eq!(refused.code, 1, "{args:?}");
    }
    let none = trivet(&agent, &["scaling", "policy", "list", "-job", "none"])
        .await
        .ok();
    assert_eq!(none.stdout, "No policies found\n");

    let pool = async |args: &[&str]| trivet(&agent, &[&["node", "pool"], args].concat()).await;
    assert_eq!(
        pool(&["list"]).await.ok().stdout,
        "Name     Description\nall      Node pool with all nodes in the cluster.\ndefault  Default node pool.\n"
    );
    assert!(
        pool(&["info", "def"])
            .await
            .ok()
            .stdout
            .starts_with("Name        = default\n")
    );
    for name in ["all", "default"] {
        assert!(
            pool(&["nodes", name])
                .await
                .ok()
                .stdout
                .contains("eligible")
        );
        assert!(pool(&["jobs", name]).await.ok().stdout.contains("web "));
    }
    let missing = pool(&["nodes", "nope"]).await;
    assert!(
        missing
            .stderr
            .contains("No node pool with prefix \"nope\" found")
    );
    let (status, _) = http::send(Method::GET, &agent.url("http", "/v1/node/pool/nope"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    // Everything of the wrong type at once, the same by the API and from a file.
    let posted = json!({"Job": {"ID": "bad", "Priority": "high",
        "TaskGroups": [{"Name": "g", "Count": [], "Tasks": [{"Name": 7}]}]}});
    let (status, told) =
        http::send(Method::PUT, &agent.url("http", "/v1/jobs"), Some(&posted)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    std::fs::write(agent.dir().join("bad.json"), posted.to_string()).expect("a file");
    let refused = trivet(&agent, &["job", "run", "-json", "bad.json"]).await;
    assert_eq!(refused.code, 1);
    for text in [
        "Priority: invalid type: string \"high\", expected i64",
        "TaskGroups[0].Count: invalid type: sequence, expected i64",
        "TaskGroups[0].Tasks[0].Name: invalid type: integer `7`, expected a string",
    ] {
        assert!(
            told.contains(&format!("Job.{text}")),
            "no `{text}` in {told}"
        );
        assert!(
            refused.stderr.contains(text),
            "no `{text}` in {}",
            refused.stderr
        );
    }
    assert!(told.starts_with("3 errors occurred:") && refused.stderr.contains("bad.json:1,"));
}
