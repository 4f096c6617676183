//! Where the pages are: their addresses from the command line, and the ways to them from the
//! listeners where the other products have theirs.

use crate::harness::{
    Agent, DEADLINE, Echo,
    agent::{Mode, TRIVET},
    command::{trivet, trivet_with},
    http, raw,
};
use std::{os::unix::fs::PermissionsExt as _, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_each_object_is_printed_and_answers_with_a_page() {
    let agent = Agent::start().await;
    Echo::new("web", 1).run(&agent).await;
    let first = async |path: &str| {
        let rows = http::get(&agent.url("http", path)).await;
        rows[0]["ID"].as_str().expect("an id").to_owned()
    };
    let alloc = first("/v1/allocations").await;
    let node = first("/v1/nodes").await;
    let eval = first("/v1/evaluations").await;
    let deployment = first("/v1/deployments").await;
    let short = |id: &str| id.get(..8).expect("an id").to_owned();
    for (object, path) in [
        (None, "/".to_owned()),
        (Some("routes".to_owned()), "/routes".into()),
        (Some("web".into()), "/jobs/web@default".into()),
        (Some(short(&alloc)), format!("/allocations/{alloc}")),
        (Some(short(&node)), format!("/clients/{node}")),
        (
            Some(short(&eval)),
            format!("/evaluations?currentEval={eval}"),
        ),
        (Some(short(&deployment)), "/jobs/web/deployments".into()),
    ] {
        let mut arguments = vec!["ui"];
        arguments.extend(object.as_deref());
        let told = trivet(&agent, &arguments).await.ok();
        let expected = format!("{}/ui{path}", agent.url("http", ""));
        assert_eq!(told.stdout.trim(), expected, "{object:?}");
        let (status, page) = http::send(reqwest::Method::GET, &expected, None).await;
        assert!(
            status.is_success() && page.contains("<title>Trivet</title>"),
            "{expected}"
        );
    }
    // What is printed is pointed to as well, unless nobody wants that.
    let status = trivet(&agent, &["job", "status", "web"]).await.ok();
    let page = format!("{}/ui/jobs/web@default", agent.url("http", ""));
    let hint = format!("==> View job details and metrics in the Web UI: {page}");
    assert!(status.stderr.contains(&hint), "{}", status.text());
    let none = trivet(&agent, &["ui", "nothing-like-it"]).await;
    assert_eq!(none.code, 1);
    assert!(
        none.stderr.contains("Unable to resolve ID"),
        "{}",
        none.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_opened_by_the_program_of_the_machine() {
    let agent = Agent::start().await;
    let opener = agent.dir().join("xdg-open");
    let opened = agent.dir().join("opened");
    let script = format!("#!/bin/sh\nprintf '%s' \"$*\" > '{}'\n", opened.display());
    std::fs::write(&opener, script).expect("a program");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&opener, mode).expect("a mode");
    let path = format!("{}:/usr/bin:/bin", agent.dir().display());
    let url = agent.url("http", "");
    let variables = [("NOMAD_ADDR", url.as_str()), ("PATH", path.as_str())];
    let told = trivet_with(&agent, &["ui", "-open", "jobs"], &variables)
        .await
        .ok();
    assert!(told.stdout.contains("Opening URL"), "{}", told.text());
    let asked = std::fs::read_to_string(&opened).expect("it was started");
    assert_eq!(asked, format!("{url}/ui/jobs"));
    // Other commands open the page of what they show.
    let web = Echo::new("web", 1);
    web.run(&agent).await;
    for (arguments, page) in [
        (&["job", "status", "-ui"][..], "/jobs"),
        (&["job", "status", "-ui", "web"], "/jobs/web@default"),
    ] {
        std::fs::remove_file(&opened).expect("it is there");
        trivet_with(&agent, arguments, &variables).await.ok();
        let asked = std::fs::read_to_string(&opened).expect("it was started");
        assert_eq!(asked, format!("{url}/ui{page}"), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_other_listeners_lead_to_ours() {
    let agent = Agent::start().await;
    let base = agent.url("http", "");
    for (listener, path, page) in [
        ("http", "/", "/ui/"),
        ("catalog", "/ui", "/ui/services"),
        (
            "catalog",
            "/ui/dc1/services/web/instances",
            "/ui/services/web",
        ),
        (
            "catalog",
            "/ui/dc1/kv/app/name/edit",
            "/ui/kv/app/name?key=true",
        ),
        ("ingress_admin", "/ui", "/ui/routes"),
    ] {
        let address = agent.address(listener);
        let own = address.to_string();
        let answer = raw::send(address, "GET", path, &[("host", &own)], "").await;
        assert_eq!(answer.status, 307, "{listener} {path}: {answer:?}");
        let target = answer.header("location").expect("a place");
        let target = target.strip_prefix(&base).unwrap_or(target);
        assert_eq!(target, page, "{listener} {path}");
        let (status, text) =
            http::send(reqwest::Method::GET, &format!("{base}{target}"), None).await;
        assert!(
            status.is_success() && text.contains("<title>Trivet</title>"),
            "{target}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_an_agent_is_followed_from_a_level_on() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let monitor = |level: &str| {
        let mut command = Command::new(TRIVET);
        command
            .args(["monitor", "-log-level", level])
            .env("CONSUL_HTTP_ADDR", agent.url("catalog", ""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command.spawn().expect("it starts")
    };
    let (mut told, errors) = (monitor("info"), monitor("err"));
    let mut lines = BufReader::new(told.stdout.take().expect("its output")).lines();
    // Whether somebody follows the log already is not known from outside.
    let seen = async {
        while let Some(line) = lines.next_line().await.expect("a line") {
            if line.contains("the configuration was read again") {
                return line;
            }
        }
        panic!("the log ended");
    };
    let reload = async {
        loop {
            trivet(&agent, &["reload"]).await.ok();
        }
    };
    let line = tokio::select! {
        line = timeout(DEADLINE, seen) => line.expect("it is told"),
        () = reload => panic!("it goes on"),
    };
    assert!(line.contains("[INFO]"), "{line}");
    trivet(&agent, &["leave"]).await.ok();
    assert!(agent.ended().await.success());
    let errors = timeout(DEADLINE, errors.wait_with_output()).await;
    let errors = errors.expect("it ends with the agent").expect("its output");
    let errors = String::from_utf8_lossy(&errors.stdout).into_owned();
    assert!(
        !errors.contains("[INFO]") && !errors.contains("[WARN]"),
        "{errors}"
    );
}
