//! Data that moves to another node with its allocation.

use crate::{
    cluster::Addresses,
    harness::{Agent, command::trivet, eventually, http},
};
use reqwest::Method;
use serde_json::Value;

/// A task that adds its allocation to what it finds, and waits.
fn job(migrate: bool) -> String {
    format!(
        r#"
job "kept" {{
  group "g" {{
    ephemeral_disk {{
      size    = 150
      migrate = {migrate}
    }}
    reschedule {{
      delay          = "5s"
      delay_function = "constant"
      unlimited      = true
    }}
    task "main" {{
      driver = "raw_exec"
      config {{
        command = "sh"
        args    = ["-c", <<EOS
umask 027
mkdir -p $NOMAD_ALLOC_DIR/data/deep
echo $NOMAD_ALLOC_ID >> $NOMAD_ALLOC_DIR/data/deep/seen
echo $NOMAD_ALLOC_ID >> local/seen
ln -sf data/deep/seen $NOMAD_ALLOC_DIR/data/link
echo $NOMAD_ALLOC_ID >> $NOMAD_SECRETS_DIR/seen
cat $NOMAD_ALLOC_DIR/data/deep/seen local/seen $NOMAD_SECRETS_DIR/seen
stat -c %a $NOMAD_ALLOC_DIR/data/deep/seen
echo end
exec sleep 10000
EOS
        ]
      }}
      resources {{
        cpu    = 20
        memory = 20
      }}
    }}
  }}
}}
"#
    )
}

/// The allocation of the job that runs, and is not one of `others`.
async fn running(server: &Agent, others: &[&str]) -> Value {
    let id = server
        .wait("/v1/job/kept/allocations", |allocs| {
            let mut allocs = allocs.as_array()?.iter();
            let new = |alloc: &&Value| !others.iter().any(|other| alloc["ID"] == *other);
            let found = allocs.find(|alloc| alloc["ClientStatus"] == "running" && new(alloc))?;
            found["ID"].as_str().map(str::to_owned)
        })
        .await;
    http::get(&server.url("http", &format!("/v1/allocation/{id}"))).await
}

fn id(alloc: &Value) -> &str {
    alloc["ID"].as_str().expect("an id")
}

/// What the task has written, once it is whole.
async fn output(server: &Agent, alloc: &str) -> Vec<String> {
    let path = format!("/v1/client/fs/logs/{alloc}?task=main&type=stdout&plain=true");
    eventually("its output", async || {
        let (_, text) = http::send(Method::GET, &server.url("http", &path), None).await;
        let is_whole = text.lines().any(|line| line == "end");
        let lines = text.lines().map(str::to_owned).collect();
        is_whole.then_some(lines).ok_or(text)
    })
    .await
}

async fn drain(server: &Agent, node: &Value) {
    let node = node.as_str().expect("a node");
    let drain = ["node", "drain", "-enable", "-yes", "-detach", node];
    trivet(server, &drain).await.ok();
}

/// The events that say that something is missing.
fn missing(alloc: &Value) -> Vec<String> {
    let events = alloc["TaskStates"]["main"]["Events"].as_array();
    let events = events.expect("events").iter();
    let told = events.filter(|event| event["Type"] == "Task hook message");
    told.map(|event| event["DisplayMessage"].to_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_moves_with_an_allocation_to_another_node_and_starts_empty_without_it() {
    let addresses = Addresses::new();
    let server = addresses.start_server(1, 1).await;
    let mut clients = [
        addresses.start_client().await,
        addresses.start_client().await,
    ];
    server.register(&job(true)).await;
    let first = running(&server, &[]).await;
    let first_id = id(&first).to_owned();
    output(&server, &first_id).await;

    drain(&server, &first["NodeID"]).await;
    let second = running(&server, &[&first_id]).await;
    let second_id = id(&second).to_owned();
    assert_ne!(second["NodeID"], first["NodeID"]);
    assert_eq!(second["PreviousAllocation"], *first_id);
    assert_eq!(missing(&second), [""; 0]);
    let lines = output(&server, &second_id).await;
    let both = [&*first_id, &*second_id];
    let expected = [&both[..], &both, &[&*second_id, "640", "end"]].concat();
    assert_eq!(lines, expected);
    // The first one still has its own, as an archive, too.
    let path = format!("/v1/client/fs/cat/{first_id}?path=main/local/seen");
    let (_, text) = http::send(Method::GET, &server.url("http", &path), None).await;
    assert_eq!(text, format!("{first_id}\n"));
    let path = format!("/v1/client/allocation/{first_id}/snapshot");
    let archive = http::client().get(server.url("http", &path)).send().await;
    let archive = archive.expect("an answer").bytes().await.expect("a body");
    let mut archive = tar::Archive::new(&*archive);
    let entries = archive.entries().expect("entries");
    let names = entries.map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        name.trim_end_matches('/').to_owned()
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    let expected = [
        "alloc/data",
        "alloc/data/deep",
        "alloc/data/deep/seen",
        "alloc/data/link",
        "main/local",
        "main/local/seen",
    ];
    assert_eq!(names, expected);

    // A node that is gone gives nothing, and its allocation is replaced nevertheless.
    let enable = ["node", "eligibility", "-enable"];
    let back = first["NodeID"].as_str().expect("a node");
    let drained = |node: &Value| (node["Drain"] == false).then_some(());
    server.wait(&format!("/v1/node/{back}"), drained).await;
    trivet(&server, &[&enable[..], &[back]].concat()).await.ok();
    let mut gone = None;
    for (place, client) in clients.iter().enumerate() {
        let own = http::get(&client.url("http", "/v1/agent/self")).await;
        if own["stats"]["client"]["node_id"] == second["NodeID"] {
            gone = Some(place);
        }
    }
    clients[gone.expect("its client")].kill().await;
    let third = running(&server, &[&first_id, &second_id]).await;
    assert_eq!(third["NodeID"], first["NodeID"]);
    let told = missing(&third);
    assert!(
        told.len() == 1 && told[0].contains(&second_id) && told[0].contains("No path to node"),
        "{told:?}"
    );
    let third_id = id(&third);
    let lines = output(&server, third_id).await;
    assert_eq!(lines, [third_id, third_id, third_id, "640", "end"]);
}
