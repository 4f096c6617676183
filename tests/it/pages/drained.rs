//! A node that is emptied in its page: the question, how far it is, what it waits for, and its end.

use super::browser::Browser;
use crate::harness::{Agent, Echo, agent::Mode, http};
use serde_json::{Value, json};

/// The rows of what a drain waits for.
const WAITED: &str = "[aria-label=\"What the drain waits for\"] tbody tr";

async fn node_named(server: &Agent, name: &str) -> Value {
    let nodes = http::get(&server.url("http", "/v1/nodes")).await;
    let mut nodes = nodes.as_array().expect("nodes").iter();
    let id = nodes.find(|node| node["Name"] == name).expect("the node")["ID"].clone();
    let path = format!("/v1/node/{}", id.as_str().expect("an id"));
    http::get(&server.url("http", &path)).await
}

fn name_of(agent: &Agent) -> String {
    format!("node-{}", agent.ports().0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_chromium_a_node_of_two_is_drained() {
    let server = Agent::start_with(
        Mode::Server,
        "server {\n  enabled = true\n  bootstrap_expect = 1\n}\n",
    )
    .await;
    let Some(page) = Browser::at(&server).await else {
        return;
    };
    let join = format!(
        "client {{\n  servers = [\"{}\"]\n}}\n",
        server.address("rpc")
    );
    let (one, mut other) = tokio::join!(
        Agent::start_with(Mode::Client, &join),
        Agent::start_with(Mode::Client, &join)
    );
    let mut web = Echo::new("web", 4);
    web.group =
        "migrate {\n max_parallel = 1\n min_healthy_time = \"0s\"\n healthy_deadline = \"30s\"\n }"
            .into();
    web.run(&one).await;
    web.deployment(&one, 0, "successful").await;
    // A batch job that goes on until somebody ends it, there.
    let node = node_named(&server, &name_of(&one)).await;
    let id = node["ID"].as_str().expect("an id");
    let only = json!({"LTarget": "${node.unique.id}", "RTarget": id, "Operand": "="});
    let long = json!({"Job": {
        "ID": "long", "Type": "batch", "Constraints": [only],
        "TaskGroups": [{"Name": "g", "Tasks": [{
            "Name": "t", "Driver": "raw_exec",
            "Config": {"command": "/bin/sleep", "args": ["1000"]},
            "Resources": {"CPU": 20, "MemoryMB": 16},
        }]}],
    }});
    http::put(&server.url("http", "/v1/jobs"), &long).await;
    let runs = |allocs: &Value| {
        let alloc = allocs.as_array()?.first()?;
        (alloc["ClientStatus"] == "running").then_some(())
    };
    server.wait("/v1/job/long/allocations", runs).await;

    page.open(&format!("/clients/{id}")).await;
    page.wait_text("long").await;
    page.press("Drain").await;
    page.paste("dialog input[name=deadline]", "soon").await;
    page.press("Drain").await;
    page.wait("document.querySelector('dialog [role=alert]').innerText.includes('such as 90s')")
        .await;
    page.paste("dialog input[name=deadline]", "20m").await;
    page.click("dialog input[name=system]").await;
    page.paste("dialog input[name=message]", "new disks").await;
    let command = "trivet node drain -enable -yes -deadline 20m -ignore-system -m 'new disks' ";
    page.confirm(command, "Drain").await;

    // Services move one at a time; what ends by itself is waited for, and the page says so.
    page.wait("document.querySelector('main .pills').innerText.includes('draining')")
        .await;
    page.wait_text("Why: new disks").await;
    page.wait_text("Allocations of system jobs stay.").await;
    page.wait(&format!(
        "document.querySelectorAll('{WAITED}').length === 1 \
         && document.querySelector('{WAITED}').innerText.includes('its tasks to end by themselves')"
    ))
    .await;
    page.wait("/^([1-4]) of \\d allocations (has|have) left. In (19m|20m)/m.test(document.querySelector('section[aria-label=Drain]').innerText)")
        .await;
    page.wait("Number(document.querySelector('section[aria-label=Drain] [role=meter]').getAttribute('aria-valuenow')) >= 50")
        .await;
    web.passing(&one, 4).await;
    let node = node_named(&server, &name_of(&one)).await;
    assert_eq!(node["DrainStrategy"]["Deadline"], 1_200_000_000_000_u64);
    assert_eq!(node["DrainStrategy"]["IgnoreSystemJobs"], true);
    page.go("/topology").await;
    page.wait_text("draining").await;
    page.go("/").await;
    page.wait_text("is draining").await;

    // Without patience it is over soon, and takes nothing until it may.
    page.go(&format!("/clients/{id}")).await;
    page.press("Change the drain").await;
    page.choose("dialog select[name=patience]", "force").await;
    let command = "trivet node drain -enable -yes -force -ignore-system -m 'new disks' ";
    page.confirm(command, "Change").await;
    page.wait_text("complete").await;
    page.wait("document.querySelector('section[aria-label=Drain]') === null")
        .await;
    page.wait("[...document.querySelectorAll('dt')].find((own) => own.innerText === 'Last drain').nextSibling.innerText.endsWith('new disks')")
        .await;
    let node = node_named(&server, &name_of(&one)).await;
    assert_eq!(node["LastDrain"]["Status"], "complete", "{node}");
    page.press("Make eligible").await;
    page.confirm("trivet node eligibility -enable ", "Make eligible")
        .await;
    page.wait("document.querySelector('main .pills').innerText.includes('eligible')")
        .await;

    // One that waits for ever is given up.
    let node = node_named(&server, &name_of(&other)).await;
    let id = node["ID"].as_str().expect("an id");
    page.go(&format!("/clients/{id}")).await;
    page.press("Drain").await;
    page.choose("dialog select[name=patience]", "none").await;
    page.confirm("trivet node drain -enable -yes -no-deadline ", "Drain")
        .await;
    page.press("Stop the drain").await;
    page.confirm("trivet node drain -disable -yes ", "Stop the drain")
        .await;
    page.wait("document.querySelector('section[aria-label=Drain]') === null")
        .await;
    let node = node_named(&server, &name_of(&other)).await;
    assert_eq!(node["DrainStrategy"], Value::Null);
    assert_eq!(node["SchedulingEligibility"], "eligible");

    // A node that is gone is forgotten.
    other.kill().await;
    page.wait("document.querySelector('main .pills').innerText.includes('down')")
        .await;
    page.press("Purge").await;
    page.confirm("curl -X PUT 'http://", "Purge").await;
    page.wait("location.pathname === '/ui/topology'").await;
    page.wait("document.querySelectorAll('main .node').length === 1")
        .await;
    page.end_clean();
}
