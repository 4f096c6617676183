//! Variables of a running agent.

use crate::harness::{Agent, agent::Mode, command::trivet, eventually, http};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::Path;

/// True when a file below `dir` has these bytes.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(dir).expect("a directory");
    entries.into_iter().any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let found = std::fs::read(&path).unwrap_or_default();
        found.windows(bytes.len()).any(|part| part == bytes)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_are_encrypted_at_rest_and_outlive_the_agent_and_their_key() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let secret = "correct-horse-battery-staple";
    let item = format!("password={secret}");
    let keyring = agent.url("http", "/v1/operator/keyring/keys");
    eventually("the first root key", || async {
        let keys = http::get(&keyring).await;
        let is_there = keys[0]["State"] == "active";
        is_there.then_some(()).ok_or_else(|| keys.to_string())
    })
    .await;
    let put = trivet(&agent, &["var", "put", "app/db", "user=web", &item]).await;
    let written: Value = serde_json::from_str(&put.ok().stdout).expect("JSON");
    assert_eq!(written["Items"]["password"], secret);
    agent.stop().await;
    assert!(!holds(&agent.dir().join("data"), secret.as_bytes()));
    agent.start_again().await;

    let args = ["var", "get", "-item", "password", "app/db"];
    assert_eq!(trivet(&agent, &args).await.ok().stdout, secret);
    let shown = trivet(&agent, &["var", "get", "-out", "table", "app/db"]).await;
    let shown = shown.ok().stdout;
    assert!(shown.contains("user     = web"), "{shown}");

    // A full rotation leaves nothing that needs the old key.
    let list = ["operator", "root", "keyring", "list", "-verbose"];
    let before = trivet(&agent, &list).await.ok().stdout;
    let old = before.lines().nth(1).expect("a key")[..36].to_owned();
    let rotated = ["operator", "root", "keyring", "rotate", "-now", "-full"];
    trivet(&agent, &rotated).await.ok();
    let remove = ["operator", "root", "keyring", "remove", &old];
    let removed = trivet(&agent, &remove).await.ok().stdout;
    assert_eq!(removed, format!("Removed encryption key {old}\n"));
    assert_eq!(trivet(&agent, &args).await.ok().stdout, secret);
    let index = |text: &Value| text["ModifyIndex"].as_u64();
    let kept = http::get(&agent.url("http", "/v1/var/app/db")).await;
    assert_eq!(
        index(&kept),
        index(&written),
        "a rotation changes no variable"
    );

    // Lists have no contents.
    let listed = http::get(&agent.url("http", "/v1/vars?prefix=app/")).await;
    assert_eq!(listed[0]["Path"], "app/db");
    assert_eq!(listed[0].get("Items"), None, "{listed}");
    trivet(&agent, &["var", "purge", "app/db"]).await.ok();
    let gone = trivet(&agent, &["var", "get", "app/db"]).await;
    assert_eq!(
        (gone.code, gone.stderr.as_str()),
        (1, "Variable not found\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_does_not_know_the_newest_version_is_told_what_is_there() {
    let agent = Agent::start().await;
    let url = |query: &str| agent.url("http", &format!("/v1/var/app{query}"));
    let items = |value: &str| json!({"Items": {"k": value}});
    let first = http::put(&url("?cas=0"), &items("one")).await;
    let (status, body) = http::send(Method::PUT, &url("?cas=0"), Some(&items("two"))).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let found: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(found["Items"]["k"], "one");
    assert_eq!(found["ModifyIndex"], first["ModifyIndex"]);
    let told = trivet(&agent, &["var", "put", "app", "k=two"]).await;
    assert_eq!(told.code, 1);
    assert!(
        told.stderr.contains("Check-and-Set conflict"),
        "{}",
        told.stderr
    );
    trivet(&agent, &["var", "put", "-force", "app", "k=two"])
        .await
        .ok();

    for (path, body, complaint) in [
        ("/v1/var/", items("x"), "missing variable path"),
        ("/v1/var/a.b", items("x"), "invalid path \"a.b\""),
        (
            "/v1/var/a",
            json!({}),
            "variable missing required Items object",
        ),
        ("/v1/var/a?cas=x", items("x"), "can not parse cas"),
        (
            "/v1/var/nomad/x",
            items("x"),
            "only paths at \"nomad/jobs\"",
        ),
        ("/v1/var/a", items(&"x".repeat(65_536)), "limited to 64KiB"),
        (
            "/v1/var/a?namespace=other",
            items("x"),
            "nonexistent namespace \"other\"",
        ),
        (
            "/v1/var/a?cas=0&lock-renew",
            items("x"),
            "CAS can't be used with lock operations",
        ),
        (
            "/v1/var/a?lock-acquire&lock-renew",
            items("x"),
            "multiple lock operations",
        ),
    ] {
        let (status, said) = http::send(Method::PUT, &agent.url("http", path), Some(&body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {said}");
        assert!(said.contains(complaint), "{path}: {said}");
    }
    let (status, said) = http::send(Method::GET, &agent.url("http", "/v1/var/none"), None).await;
    assert_eq!(
        (status, said.as_str()),
        (StatusCode::NOT_FOUND, "variable not found")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_while_its_variable_is_locked_and_only_then() {
    let agent = Agent::start().await;
    let url = |query: &str| agent.url("http", &format!("/v1/var/leader{query}"));
    let acquire = json!({"Items": {"who": "me"}, "Lock": {"TTL": "10s", "LockDelay": "1s"}});
    let locked = http::put(&url("?lock-acquire"), &acquire).await;
    let id = locked["Lock"]["ID"].as_str().expect("an id").to_owned();
    assert_eq!(locked["Lock"]["TTL"], "10s");

    // Nobody else writes it, removes it, locks it or unlocks it.
    let other = json!({"Items": {"who": "other"}});
    let stranger = json!({"Lock": {"ID": "stranger"}});
    for (method, query, body) in [
        (Method::PUT, "", &other),
        (Method::PUT, "?lock-acquire", &other),
        (Method::PUT, "?lock-release", &stranger),
        (Method::PUT, "?lock-renew", &stranger),
        (Method::DELETE, "", &other),
    ] {
        let (status, said) = http::send(method.clone(), &url(query), Some(body)).await;
        assert_eq!(status, StatusCode::CONFLICT, "{method} {query}: {said}");
        assert!(!said.contains(r#""me""#), "{said}");
    }
    let mine = json!({"Items": {"who": "still me"}, "Lock": {"ID": id}});
    http::put(&url(""), &mine).await;
    let refused = ["var", "lock", "-early-return", "leader", "touch", "ran"];
    trivet(&agent, &refused).await.ok();
    assert!(!agent.dir().join("ran").exists());

    let held = json!({"Lock": {"ID": id}});
    http::put(&url("?lock-renew"), &held).await;
    http::put(&url("?lock-release"), &held).await;
    let runs = ["var", "lock", "-ttl", "10s", "leader", "touch", "ran"];
    trivet(&agent, &runs).await.ok();
    assert!(agent.dir().join("ran").exists());
    let free = http::get(&url("")).await;
    assert_eq!(free.get("Lock"), None, "{free}");
    assert_eq!(
        free["Items"]["who"], "still me",
        "a lock without items keeps them"
    );
    let failing = trivet(&agent, &["var", "lock", "leader", "exit", "3"]).await;
    assert_eq!(failing.code, 1);
    assert!(
        failing.stderr.contains("exit status: 3"),
        "{}",
        failing.stderr
    );
}
