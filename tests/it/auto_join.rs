//! Servers and clients that find each other through a catalog elsewhere, here another agent's.

use crate::{
    cluster::alive,
    harness::{Agent, Echo, agent::Mode, eventually, http},
};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

/// The block of who finds others in the catalog at an address, with further lines.
fn elsewhere(address: impl std::fmt::Display, more: &str) -> String {
    format!("consul {{\n  address = \"{address}\"\n  {more}\n}}\n")
}

fn server(expect: u8) -> String {
    format!("server {{\n  enabled = true\n  bootstrap_expect = {expect}\n}}\n")
}

/// Waits until so many instances of a service with a tag are there and pass their checks.
async fn passing(catalog: &Agent, service: &str, tag: &str, count: usize) -> Vec<Value> {
    let path = format!("/v1/health/service/{service}?passing&tag={tag}");
    catalog
        .wait_catalog(&path, |rows| {
            let rows = rows.as_array()?;
            (rows.len() == count).then(|| rows.clone())
        })
        .await
}

/// Waits until the nodes that an agent knows are these many and ready.
async fn nodes(agent: &Agent, count: usize) {
    eventually("the nodes", async || {
        let nodes = http::get(&agent.url("http", "/v1/nodes")).await;
        let all = nodes.as_array().cloned().unwrap_or_default();
        let ready = all.iter().filter(|node| node["Status"] == "ready").count();
        (all.len() == count && ready == count)
            .then_some(())
            .ok_or_else(|| nodes.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_and_clients_need_only_the_address_of_a_catalog() {
    let mut catalog = Agent::start().await;
    let block = elsewhere(catalog.address("catalog"), "tags = [\"blue\"]");
    let text = server(3) + &block;
    let started = [(); 3].map(|()| Agent::start_with(Mode::Server, &text));
    let client = Agent::start_with(Mode::Client, &block);
    let (mut servers, client) = tokio::join!(futures_util::future::join_all(started), client);
    alive(&servers[0], 3).await;
    nodes(&servers[0], 1).await;
    let job = Echo::new("web", 1);
    job.register(&client).await;
    job.running(&servers[0], 1).await;

    // Each is where it says, and is looked after there.
    let of_servers = passing(&catalog, "nomad", "rpc", 3).await;
    let mut places: Vec<String> = of_servers
        .iter()
        .map(|row| {
            let service = &row["Service"];
            assert_eq!(service["Tags"], json!(["rpc", "blue"]), "{row}");
            assert_eq!(service["Meta"]["external-source"], "nomad", "{row}");
            let address = service["Address"].as_str().expect("an address");
            format!("{address}:{}", service["Port"])
        })
        .collect();
    places.sort();
    let mut expected: Vec<String> = servers
        .iter()
        .map(|server| server.address("rpc").to_string())
        .collect();
    expected.sort();
    assert_eq!(places, expected);
    passing(&catalog, "nomad", "http", 3).await;
    passing(&catalog, "nomad", "serf", 3).await;
    let of_client = passing(&catalog, "nomad-client", "http", 1).await;
    let port = client.address("http").port();
    assert_eq!(of_client[0]["Service"]["Port"], port);
    passing(&catalog, "web", "urlprefix-/web", 1).await;

    // One that is stopped takes itself out; the others are as they were.
    let mut gone = servers.remove(0);
    gone.stop().await;
    catalog
        .wait_catalog("/v1/catalog/service/nomad", |rows| {
            (rows.as_array()?.len() == 6).then_some(())
        })
        .await;
    gone.start_again().await;
    alive(&gone, 3).await;
    passing(&catalog, "nomad", "rpc", 3).await;

    // Without the catalog the cluster is the same.
    catalog.stop().await;
    let scaled = Echo::new("web", 2);
    scaled.register(&servers[0]).await;
    scaled.running(&gone, 2).await;
    alive(&servers[1], 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_to_servers_of_its_own_region() {
    let catalog = Agent::start().await;
    let block = elsewhere(catalog.address("catalog"), "");
    let north = format!("region = \"north\"\n{}{block}", server(1));
    let north = Agent::start_with(Mode::Server, &north).await;
    passing(&catalog, "nomad", "rpc", 1).await;
    // Its server comes later than it, and has not been checked when it is there.
    let text = server(1) + &block;
    let (mut own, client) = tokio::join!(
        Agent::start_with(Mode::Server, &text),
        Agent::start_with(Mode::Client, &block)
    );
    nodes(&own, 1).await;
    nodes(&north, 0).await;
    let said = client.said();
    let before = own.address("rpc");
    assert!(said.contains(&format!("servers=\"{before}\"")), "{said}");
    assert!(!said.contains(&north.address("rpc").to_string()), "{said}");

    // Nobody but the catalog knows where its server went.
    own.stop().await;
    own.start_again().await;
    let job = Echo::new("web", 1);
    job.register(&own).await;
    job.running(&own, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_does_not_answer_is_named_once_and_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    // As published files of a course have it.
    let block = elsewhere(
        address,
        "server_service_name = \"nomad\"\n  client_service_name = \"nomad-client\"\n  \
         auto_advertise = true\n  server_auto_join = true\n  client_auto_join = true",
    );
    let asking = async {
        let mut asked = 0;
        while asked < 4 {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            let mut question = vec![0; 1024];
            let length = connection.read(&mut question).await.expect("a question");
            let question = String::from_utf8_lossy(&question[..length]).into_owned();
            // Both who registers the agent and who registers allocations ask for this.
            if question.starts_with("GET /v1/agent/services ") {
                asked += 1;
            }
        }
    };
    let (agent, ()) = tokio::join!(Agent::start_with(Mode::Dev, &block), asking);
    let job = Echo::new("web", 1);
    job.register(&agent).await;
    job.running(&agent, 1).await;
    let said = agent.said();
    let sentence = "this agent is not registered in the external catalog";
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
    assert!(!said.contains("is known and not acted on"), "{said}");
}
