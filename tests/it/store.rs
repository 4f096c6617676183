//! The key-value store of a running agent.

use crate::harness::{Agent, agent::Mode, command::trivet, http};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_outlive_the_agent_and_move_by_export_and_import() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    for (key, value) in [("app/a", "1"), ("app/b c", "two words"), ("other", "")] {
        trivet(&agent, &["kv", "put", key, value]).await.ok();
    }
    let exported = trivet(&agent, &["kv", "export", "app/"]).await.ok().stdout;
    let before = http::get(&agent.url("catalog", "/v1/kv/?recurse")).await;
    agent.stop().await;
    agent.start_again().await;
    let after = http::get(&agent.url("catalog", "/v1/kv/?recurse")).await;
    assert_eq!(before, after);

    let deleted = trivet(&agent, &["kv", "delete", "-recurse", ""]).await.ok();
    assert_eq!(deleted.stdout, "Success! Deleted keys with prefix: \n");
    std::fs::write(agent.dir().join("keys.json"), exported).expect("a file");
    let imported = trivet(&agent, &["kv", "import", "-prefix", "new", "@keys.json"]).await;
    assert_eq!(
        imported.ok().stdout,
        "Imported: new/app/a\nImported: new/app/b c\n"
    );
    let listed = trivet(&agent, &["kv", "get", "-recurse"]).await.ok();
    assert_eq!(listed.stdout, "new/app/a:1\nnew/app/b c:two words\n");
    let names = trivet(&agent, &["kv", "get", "-keys", "new/"]).await.ok();
    assert_eq!(names.stdout, "new/app/\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_the_agent_s_node_locks_a_key() {
    let agent = Agent::start().await;
    let url = |path: &str| agent.url("catalog", path);
    let made = http::put(&url("/v1/session/create"), &json!({"Name": "it"})).await;
    let session = made["ID"].as_str().expect("an id").to_owned();
    let sessions = http::get(&url("/v1/session/list")).await;
    assert_eq!(
        sessions[0]["NodeChecks"],
        json!(["serfHealth"]),
        "{sessions}"
    );
    let acquire = format!("/v1/kv/lock?acquire={session}");
    assert_eq!(http::put(&url(&acquire), &json!("held")).await, json!(true));
    let held = http::get(&url("/v1/kv/lock")).await;
    assert_eq!(held[0]["Session"], session);
    // The view that every agent holds has none of it.
    let (_, node) = http::send(Method::GET, &url("/v1/catalog/nodes"), None).await;
    assert!(!node.contains(&session), "{node}");
    http::put(
        &url(&format!("/v1/session/destroy/{session}")),
        &json!(null),
    )
    .await;
    let free = http::get(&url("/v1/kv/lock")).await;
    assert_eq!(free[0].get("Session"), None, "{free}");
}
