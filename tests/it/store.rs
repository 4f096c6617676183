//! The key-value store of a running agent.

use crate::harness::{Agent, agent::Mode, command::trivet, eventually, http};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_knows_the_catalog() {
    let agent = Agent::start().await;
    let register = [
        "services",
        "register",
        "-name=web",
        "-port",
        "80",
        "-tag=v1",
    ];
    let registered = trivet(&agent, &register).await.ok();
    assert_eq!(registered.stdout, "Registered service: web\n");
    eventually("the service", || async {
        let listed = trivet(&agent, &["catalog", "services", "-tags"]).await.ok();
        if listed.stdout.contains("web         v1\n") {
            Ok(())
        } else {
            Err(listed.stdout)
        }
    })
    .await;
    let nodes = trivet(&agent, &["catalog", "nodes", "-service", "web"]).await;
    let nodes = nodes.ok().stdout;
    assert!(
        nodes.starts_with("Node ") && nodes.lines().count() == 2,
        "{nodes}"
    );
    let members = trivet(&agent, &["members"]).await.ok().stdout;
    assert!(members.contains("alive   server"), "{members}");
    let on = ["maint", "-enable", "-service", "web", "-reason", "upgrade"];
    let on = trivet(&agent, &on).await.ok();
    assert_eq!(
        on.stdout,
        "Service maintenance is now enabled for \"web\"\n"
    );
    let shown = trivet(&agent, &["maint"]).await.ok().stdout;
    assert!(
        shown.contains("  ID:     web\n  Reason: upgrade\n"),
        "{shown}"
    );
    let off = trivet(&agent, &["maint", "-disable", "-service=web"]).await;
    off.ok();
    let fired = trivet(&agent, &["event", "-name=deploy", "now"]).await.ok();
    assert!(fired.stdout.starts_with("Event ID: "), "{}", fired.stdout);
    let info = trivet(&agent, &["info"]).await.ok().stdout;
    assert!(info.contains("consul:\n\t"), "{info}");
    let gone = trivet(&agent, &["services", "deregister", "-id=web"]).await;
    assert_eq!(gone.ok().stdout, "Deregistered service: web\n");
    let refused = trivet(&agent, &["exec", "uptime", "-p"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("`uptime -p`"), "{}", refused.stderr);
    let key = trivet(&agent, &["keygen"]).await.ok().stdout;
    assert_eq!(key.trim().len(), 44, "{key}");
    let dcs = trivet(&agent, &["catalog", "datacenters"]).await.ok();
    assert_eq!(dcs.stdout, "dc1\n");
    let node = http::get(&agent.url("catalog", "/v1/agent/self")).await;
    let node = node["Config"]["NodeName"]
        .as_str()
        .expect("a name")
        .to_owned();
    let far = trivet(&agent, &["rtt", &node, &node]).await.ok().stdout;
    let expected = format!("Estimated {node} <-> {node} rtt: 0.020 ms (using LAN coordinates)\n");
    assert_eq!(far, expected);
    let short = trivet(&agent, &["debug", "-duration=1s"]).await;
    assert_eq!(short.code, 1);
    let least = "duration must be longer than 10s";
    assert!(short.stderr.contains(least), "{}", short.stderr);
}
