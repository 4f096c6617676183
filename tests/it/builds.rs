//! Two builds in one cluster: this one, and a later one that has a command and a field more.

use crate::{
    cluster::{Addresses, alive, answered, leader, led, pids, same_everywhere, transfer},
    harness::{
        Agent, Echo,
        agent::{TRIVET, later_build},
        command::trivet,
        eventually, http,
    },
    rolling::{Ingress, Steady, balanced, clients_of, nothing_was_lost, restart, writer},
    walkthrough::targets,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The later build, or a line that says how to make it.
fn need_later_build() -> Option<PathBuf> {
    let found = later_build();
    if found.is_none() {
        let text =
            "\nSKIPPED: needs a later build beside `trivet`: `.ci/run` says how it is made\n";
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).ok();
    }
    found
}

/// Replaces the program of an agent and restarts it, as an upgrade does.
async fn upgrade(agent: &mut Agent, program: &Path) {
    agent.set_program(program);
    restart(agent).await;
}

/// Upgrades a server, and waits until it is one of three again.
async fn upgrade_server(server: &mut Agent, program: &Path, writer: &Steady) {
    upgrade(server, program).await;
    alive(server, 3).await;
    writer.more(10).await;
}

async fn upgrade_client(client: &mut Agent, program: &Path, load: &Steady) {
    load.more(20).await;
    upgrade(client, program).await;
    targets(client, "web", 4).await;
}

/// Makes this server the leader of all, and asks it for what only the later build knows. A busy
/// machine may make another one the leader meanwhile.
async fn noted_by(servers: &[Agent], to: usize) -> (StatusCode, String) {
    let address = servers[to].address("rpc").to_string();
    eventually("it leads all the time", async || {
        if led(&servers[to]).await != address {
            trivet(&servers[to], &transfer(&address)).await;
        }
        let answer = put_note(&servers[to], "ours").await;
        match leader(&servers[to]).await {
            still if still == address => Ok(answer),
            other => Err(format!("{other} leads")),
        }
    })
    .await
}

/// The rows of all nodes in the copy of a server.
async fn nodes(server: &Agent) -> Result<Vec<Value>, String> {
    let list = answered(&server.url("http", "/v1/nodes?stale")).await?;
    let mut rows = Vec::new();
    for stub in list.as_array().expect("a list") {
        let id = stub["ID"].as_str().expect("an id");
        rows.push(answered(&server.url("http", &format!("/v1/node/{id}?stale"))).await?);
    }
    Ok(rows)
}

/// What the servers keep of nodes as notes, as soon as all of them keep the same.
async fn notes(servers: &[Agent], wanted: &[Option<&str>]) {
    for server in servers {
        eventually("the notes of nodes", async || {
            let rows = nodes(server).await?;
            let mut found: Vec<_> = rows.iter().map(|row| row["Note"].as_str()).collect();
            found.sort_unstable();
            (found == wanted)
                .then_some(())
                .ok_or_else(|| format!("{found:?}"))
        })
        .await;
    }
}

/// Writes what only the later build knows.
async fn put_note(server: &Agent, note: &str) -> (StatusCode, String) {
    let rows = nodes(server).await.expect("nodes");
    let id = rows[0]["ID"].as_str().expect("an id");
    let url = server.url("http", &format!("/v1/node/{id}/note"));
    http::send(Method::PUT, &url, Some(&json!(note))).await
}

/// Waits until the tables of all servers are the same.
async fn same_tables(servers: &[Agent]) {
    for path in [
        "/v1/jobs?stale",
        "/v1/job/web/versions?stale",
        "/v1/evaluations?stale",
        "/v1/deployments?stale",
        "/v1/allocations?stale&resources=true&task_states=true",
        "/v1/nodes?stale&resources=true",
    ] {
        same_everywhere(servers, "http", path).await;
    }
    for row in nodes(&servers[0]).await.expect("nodes") {
        let id = row["ID"].as_str().expect("an id");
        same_everywhere(servers, "http", &format!("/v1/node/{id}?stale")).await;
    }
    same_everywhere(servers, "catalog", "/v1/session/list?stale").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_later_build_two_builds_go_together_and_nothing_is_lost() {
    let Some(later) = need_later_build() else {
        return;
    };
    let addresses = Addresses::new();
    let mut servers = addresses.start_fixed().await;
    let mut clients = clients_of(&addresses).await;
    let job = Echo::new("web", 4);
    job.run(&clients[0]).await;
    let processes = pids(&[&clients[0], &clients[1]]);
    for client in &clients {
        targets(client, "web", 4).await;
    }
    let load = balanced([Ingress::of(&clients[0]), Ingress::of(&clients[1])]);
    let writer = writer(servers.iter().chain(&clients));

    // One server and one client of the later build, and it leads: nodes that are registered with
    // it say more than the others would keep.
    upgrade_server(&mut servers[0], &later, &writer).await;
    upgrade_client(&mut clients[0], &later, &load).await;
    let (status, text) = noted_by(&servers, 0).await;
    assert!(!status.is_success(), "{status}: {text}");
    assert!(
        text.contains("version 4 of its rules and the request needs 5"),
        "{text}"
    );
    writer.more(10).await;
    restart(&mut clients[0]).await;
    targets(&clients[0], "web", 4).await;
    notes(&servers, &[None, None]).await;
    same_tables(&servers).await;

    // The same with one of this build as the leader, who has no such request.
    let (status, text) = noted_by(&servers, 1).await;
    assert_eq!(status, StatusCode::NOT_IMPLEMENTED, "{text}");
    writer.more(10).await;
    same_tables(&servers).await;

    // All servers know the new rules, but one agent does not yet.
    upgrade_server(&mut servers[1], &later, &writer).await;
    upgrade_server(&mut servers[2], &later, &writer).await;
    writer.more(10).await;
    notes(&servers, &[None, None]).await;
    upgrade_client(&mut clients[1], &later, &load).await;
    let said = Some("from its agent");
    notes(&servers, &[said, said]).await;
    let (status, text) = put_note(&servers[2], "ours").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    notes(&servers, &[said, Some("ours")]).await;
    same_tables(&servers).await;

    // Who goes back to this build is refused, and has lost nothing when it is later again.
    servers[2].stop().await;
    servers[2].set_program(Path::new(TRIVET));
    let refusal = servers[2].refuses_to_start().await;
    assert!(
        refusal.contains("that wrote it, or a newer one"),
        "{refusal}"
    );
    servers[2].set_program(&later);
    servers[2].start_again().await;
    alive(&servers[2], 3).await;
    notes(&servers, &[said, Some("ours")]).await;

    load.more(50).await;
    writer.more(10).await;
    nothing_was_lost(load, writer, &servers).await;
    assert_eq!(pids(&[&clients[0], &clients[1]]), processes);
    assert_eq!(job.running(&servers[0], 4).await.len(), 4);
}
