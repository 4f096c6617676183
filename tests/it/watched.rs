//! Keys that are watched, and locks that programs run under.

use crate::harness::{Agent, command::trivet, eventually, http};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_print_or_hand_on_what_they_see() {
    let agent = Agent::start().await;
    let none = trivet(&agent, &["watch", "-type=key", "-key=w"]).await.ok();
    assert_eq!(none.stdout, "null\n");
    trivet(&agent, &["kv", "put", "w", "1"]).await.ok();
    let handler = "cat > seen; echo $CONSUL_INDEX >> seen; exit 3";
    let ended = trivet(&agent, &["watch", "-type=key", "-key=w", handler]).await;
    assert_eq!(ended.code, 1);
    assert_eq!(ended.stderr, "Error executing handler: exit status 3\n");
    let seen = std::fs::read_to_string(agent.dir().join("seen")).expect("it was run");
    let (row, index) = seen.trim_end().rsplit_once('\n').expect("two lines");
    let row: serde_json::Value = serde_json::from_str(row).expect("JSON");
    assert_eq!(row["Value"], "MQ==");
    assert_eq!(row["ModifyIndex"].to_string(), index);
    let services = trivet(&agent, &["watch", "-type=services"]).await.ok();
    assert!(
        services.stdout.contains("\"consul\": []"),
        "{}",
        services.stdout
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_and_semaphores_guard_programs() {
    let agent = Agent::start().await;
    let lock = async |more: &[&str]| {
        let args = [&["lock"], more].concat();
        trivet(&agent, &args).await
    };
    let ran = lock(&["-verbose", "l", "echo held $CONSUL_LOCK_HELD"]).await;
    assert_eq!(
        ran.ok().stdout,
        "Setting up lock at path: l/.lock\nAttempting lock acquisition\nStarting handler\nheld true\n\
         Child terminated, releasing lock\nCleanup succeeded\n"
    );
    let failed = lock(&["-child-exit-code", "l", "exit 7"]).await;
    assert_eq!(failed.code, 2);
    assert_eq!(failed.stderr, "Error running handler: exit status 7\n");
    let shared = lock(&["-n", "2", "-shell=false", "s", "echo", "in"]).await;
    assert_eq!(shared.ok().stdout, "in\n");
    let keys = http::send(Method::GET, &agent.url("catalog", "/v1/kv/?keys"), None).await;
    assert_eq!(keys.1, "[]", "both were cleaned up");

    // Somebody else holds it.
    let url = |path: &str| agent.url("catalog", path);
    let session = http::put(&url("/v1/session/create"), &json!({})).await;
    let session = session["ID"].as_str().expect("an id").to_owned();
    let path = format!("/v1/kv/l/.lock?acquire={session}&flags=3304740253564472344");
    assert_eq!(http::put(&url(&path), &json!(null)).await, json!(true));
    let late = lock(&["-try=1s", "l", "echo never"]).await;
    assert_eq!((late.code, late.stdout.as_str()), (1, ""));
    assert_eq!(
        late.stderr,
        "Shutdown triggered or timeout during lock acquisition\n"
    );
    let waiting = lock(&["l", "echo mine"]);
    let release = async {
        eventually("it waits", async || {
            let sessions = http::get(&url("/v1/session/list")).await;
            let count = sessions.as_array().map_or(0, Vec::len);
            (count == 2)
                .then_some(())
                .ok_or_else(|| sessions.to_string())
        })
        .await;
        let path = format!("/v1/kv/l/.lock?release={session}&flags=3304740253564472344");
        http::put(&url(&path), &json!(null)).await;
    };
    let (ran, ()) = tokio::join!(waiting, release);
    assert_eq!(ran.ok().stdout, "mine\n");
}
