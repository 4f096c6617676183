//! Several servers and clients, each a process of its own.

use crate::{
    harness::{
        Agent, DEADLINE, Echo,
        agent::Mode,
        command,
        command::trivet,
        dns, eventually, http,
        load::{Load, failures},
    },
    walkthrough::targets,
};
use nix::sys::signal::{Signal, kill};
use reqwest::{Method, StatusCode};
use rpc::{
    pool::Pool,
    security::{Security, Strangers},
    transport::Call,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU8, Ordering},
};
use tokio::time::Instant;

/// Each cluster has addresses of its own.
static NEXT_CLUSTER: AtomicU8 = AtomicU8::new(1);

/// Addresses of the servers of one cluster, three unless said otherwise.
pub(crate) struct Addresses {
    cluster: u8,
    servers: u8,
}

impl Addresses {
    pub(crate) fn new() -> Self {
        Self::for_servers(3)
    }

    pub(crate) fn for_servers(servers: u8) -> Self {
        let cluster = NEXT_CLUSTER.fetch_add(1, Ordering::Relaxed);
        Self { cluster, servers }
    }

    fn of(&self, agent: u8) -> String {
        format!("127.77.{}.{agent}", self.cluster)
    }

    fn quoted(&self) -> String {
        let all = (1..=self.servers).map(|server| format!("{:?}", self.of(server)));
        all.collect::<Vec<_>>().join(", ")
    }

    /// Configuration of a server that begins with `expect` servers.
    pub(crate) fn server(&self, server: u8, expect: u8) -> String {
        format!(
            "addresses {{ rpc = {:?} }}\nports {{ rpc = 4647 }}\nserver {{\n  enabled = true\n  \
             bootstrap_expect = {expect}\n  server_join {{ retry_join = [{}] }}\n}}\n",
            self.of(server),
            self.quoted()
        )
    }

    /// Configuration of a client that knows all servers.
    pub(crate) fn client(&self) -> String {
        format!("client {{ servers = [{}] }}\n", self.quoted())
    }

    /// Configuration of an agent that is found where it was when it is started again. Clients have
    /// other numbers than servers.
    pub(crate) fn fixed(&self, agent: u8) -> String {
        let listeners = [
            ("http", 4646),
            ("catalog", 8500),
            ("ingress", 9999),
            ("ingress_admin", 9998),
        ];
        let lines = listeners.map(|(name, port)| {
            let address = self.of(agent);
            format!("addresses {{ {name} = {address:?} }}\nports {{ {name} = {port} }}\n")
        });
        lines.concat()
    }

    pub(crate) async fn start_server(&self, server: u8, expect: u8) -> Agent {
        self.start_server_with(server, expect, "").await
    }

    /// A server with further lines of configuration.
    pub(crate) async fn start_server_with(&self, server: u8, expect: u8, more: &str) -> Agent {
        let text = format!("{}{more}", self.server(server, expect));
        Agent::start_with(Mode::Server, &text).await
    }

    /// All servers, which begin together.
    pub(crate) async fn start(&self) -> Vec<Agent> {
        self.start_all(|_| String::new()).await
    }

    /// As [`Addresses::start`]; each is found where it was when it is started again.
    pub(crate) async fn start_fixed(&self) -> Vec<Agent> {
        self.start_all(|server| self.fixed(server)).await
    }

    async fn start_all(&self, more: impl Fn(u8) -> String) -> Vec<Agent> {
        let starting = (1..=self.servers).map(|server| {
            let text = self.server(server, self.servers) + &more(server);
            async move { Agent::start_with(Mode::Server, &text).await }
        });
        futures_util::future::join_all(starting).await
    }

    /// A client that knows all servers.
    pub(crate) async fn start_client(&self) -> Agent {
        Agent::start_with(Mode::Client, &self.client()).await
    }
}

/// Which of the servers leads, as `asked` sees it.
pub(crate) async fn leader(asked: &Agent) -> String {
    let leader = http::get(&asked.url("http", "/v1/status/leader")).await;
    leader.as_str().expect("an address").to_owned()
}

/// Who leads as far as `asked` knows, once somebody does.
pub(crate) async fn led(asked: &Agent) -> String {
    eventually("a leader", async || match leader(asked).await.as_str() {
        "" => Err("nobody leads".to_owned()),
        leader => Ok(leader.to_owned()),
    })
    .await
}

/// Who leads as far as `asked` knows, once that is not `was` any more.
pub(crate) async fn led_by_another(asked: &Agent, was: &str) -> String {
    eventually("another leader", async || {
        let leader = leader(asked).await;
        let is_another = !leader.is_empty() && leader != was;
        is_another.then_some(leader.clone()).ok_or(leader)
    })
    .await
}

/// Waits until `asked` knows that the server at this address leads.
pub(crate) async fn leads(asked: &Agent, address: &str) {
    eventually("the leader is known", async || {
        let known = leader(asked).await;
        (known == address).then_some(()).ok_or(known)
    })
    .await;
}

/// Takes the leader out of `servers`.
pub(crate) async fn take_leader(servers: &mut Vec<Agent>) -> Agent {
    let leader = led(&servers[0]).await;
    let at = servers
        .iter()
        .position(|server| server.address("rpc").to_string() == leader)
        .expect("one of the servers leads");
    servers.remove(at)
}

pub(crate) async fn put_key(agent: &Agent, key: &str, value: &str) -> (StatusCode, String) {
    let url = agent.url("catalog", &format!("/v1/kv/{key}"));
    let sent = http::client().put(url).body(value.to_owned()).send().await;
    let response = sent.expect("an answer");
    let status = response.status();
    (status, response.text().await.expect("a body"))
}

/// Writes a key, again when the leader was lost over it.
pub(crate) async fn written(agent: &Agent, key: &str, value: &str) {
    eventually(&format!("{key} is written"), async || {
        match put_key(agent, key, value).await {
            (StatusCode::OK, _) => Ok(()),
            (status, text) => Err(format!("{status}: {text}")),
        }
    })
    .await;
}

/// Waits until the copy of the state of one server holds a key.
pub(crate) async fn has_key(server: &Agent, key: &str) {
    let url = server.url("catalog", &format!("/v1/kv/{key}?stale"));
    eventually(&format!("{key} at a server"), async || {
        match http::send(Method::GET, &url, None).await.0 {
            StatusCode::OK => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
}

/// What an agent answers, which needs a leader.
pub(crate) async fn answered(url: &str) -> Result<Value, String> {
    let (status, text) = http::send(Method::GET, url, None).await;
    let value = (status == StatusCode::OK).then(|| serde_json::from_str(&text).expect("JSON"));
    value.ok_or_else(|| format!("{status}: {text}"))
}

/// Waits until a server has a snapshot of its state instead of the beginning of its log.
async fn has_snapshot(server: &Agent) {
    eventually("a snapshot", async || {
        let log = std::fs::read_dir(server.dir().join("data/raft")).expect("its log");
        let names: Vec<_> = log
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        let has = |name: &str| names.iter().any(|own| own == name);
        let is_there = has("snapshot") && !has("00000000000000000001.log");
        is_there.then_some(()).ok_or_else(|| format!("{names:?}"))
    })
    .await;
}

/// The command that makes another server the leader.
pub(crate) fn transfer(to: &str) -> [&str; 5] {
    let verb = "transfer-leadership";
    ["operator", "raft", verb, "-peer-address", to]
}

/// Names of the members that are alive, as `asked` knows them.
pub(crate) async fn alive(asked: &Agent, count: usize) {
    eventually("the members", async || {
        let members = http::get(&asked.url("http", "/v1/agent/members")).await;
        let members = members["Members"].as_array().cloned().unwrap_or_default();
        let alive = members.iter().filter(|member| member["Status"] == "alive");
        match alive.count() {
            found if found == count => Ok(()),
            found => Err(format!("{found} are alive: {members:?}")),
        }
    })
    .await;
}

/// Waits until so many servers vote.
async fn voters(asked: &Agent, count: usize) {
    eventually("the voters", async || {
        let url = asked.url("http", "/v1/operator/raft/configuration");
        let found = answered(&url).await?;
        let servers = found["Servers"].as_array().cloned().unwrap_or_default();
        let votes = servers.iter().filter(|server| server["Voter"] == true);
        match votes.count() {
            votes if votes == count => Ok(()),
            _ => Err(found.to_string()),
        }
    })
    .await;
}

pub(crate) fn pids(agents: &[&Agent]) -> BTreeSet<i32> {
    let pids = agents.iter().flat_map(|agent| agent.task_processes());
    pids.map(nix::unistd::Pid::as_raw).collect()
}

/// Reads the node of a client.
async fn node_of(asked: &Agent, client: &Agent) -> Value {
    let own = http::get(&client.url("http", "/v1/agent/self")).await;
    let id = own["stats"]["client"]["node_id"].as_str().expect("a node");
    http::get(&asked.url("http", &format!("/v1/node/{id}"))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_drained_under_requests_and_none_fails() {
    let addresses = Addresses::new();
    let server = addresses.start_server(1, 1).await;
    let clients = tokio::join!(addresses.start_client(), addresses.start_client());
    let mut job = Echo::new("web", 4);
    job.group = "migrate {\n max_parallel = 1\n min_healthy_time = \"0s\"\n \
                 healthy_deadline = \"30s\"\n }"
        .into();
    job.run(&server).await;
    job.deployment(&server, 0, "successful").await;
    let node = node_of(&server, &clients.0).await;
    let id = node["ID"].as_str().expect("an id").to_owned();
    let on_node = |allocs: &[Value]| allocs.iter().filter(|alloc| alloc["NodeID"] == id).count();
    let before = job.running(&server, 4).await;
    assert!(on_node(&before) > 0, "both nodes have some: {before:?}");

    // Each agent hears of the instances for itself.
    targets(&clients.1, "web", 4).await;
    let load = Load::start(clients.1.address("ingress"), "/web", 50, DEADLINE);
    load.more(20).await;
    let drain = [
        "node",
        "drain",
        "-enable",
        "-yes",
        "-deadline",
        "10m",
        "-m",
        "repairs",
        &id,
    ];
    let drained = trivet(&server, &drain).await.ok();
    for told in [
        format!("Node \"{id}\" drain strategy set"),
        "marked for migration".to_owned(),
        "status running -> complete".to_owned(),
        format!("Drain complete for node {id}"),
        format!("All allocations on node \"{id}\" have stopped"),
    ] {
        assert!(
            drained.stdout.contains(&told),
            "{told} in {}",
            drained.stdout
        );
    }
    job.passing(&server, 4).await;
    load.more(20).await;
    let requests = load.stop().await;
    assert_eq!(failures(&requests).len(), 0, "{:?}", failures(&requests));
    assert_eq!(on_node(&job.running(&server, 4).await), 0);

    // It takes nothing until it is told so, and tells what happened.
    let node = node_of(&server, &clients.0).await;
    assert_eq!(node["SchedulingEligibility"], "ineligible");
    assert_eq!(
        (&node["Drain"], &node["DrainStrategy"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(node["LastDrain"]["Status"], "complete");
    assert_eq!(node["LastDrain"]["Meta"]["message"], "repairs");
    let events = node["Events"].as_array().expect("events").iter();
    let messages: Vec<&str> = events
        .filter_map(|event| event["Message"].as_str())
        .collect();
    for message in ["Node drain strategy set", "Node drain complete"] {
        assert!(messages.contains(&message), "{messages:?}");
    }

    // The other one is told to wait, and is let go.
    let other = node_of(&server, &clients.1).await;
    let other = other["ID"].as_str().expect("an id").to_owned();
    let wait = [
        "node",
        "drain",
        "-enable",
        "-detach",
        "-no-deadline",
        &other,
    ];
    trivet(&server, &wait).await.ok();
    let node = node_of(&server, &clients.1).await;
    assert_eq!(node["DrainStrategy"]["Deadline"], 0);
    let off = trivet(&server, &["node", "drain", "-disable", &other])
        .await
        .ok();
    assert_eq!(
        off.stdout,
        format!("Node \"{other}\" drain strategy unset\n")
    );
    let node = node_of(&server, &clients.1).await;
    assert_eq!(node["SchedulingEligibility"], "eligible");
    assert_eq!(node["LastDrain"]["Status"], "canceled");
    let wrong = trivet(&server, &["node", "drain", &other]).await;
    assert_eq!(wrong.code, 1, "{}", wrong.text());

    // Its labels are changed through any agent, and the servers hear of it.
    let apply = ["node", "meta", "apply", "-node-id", &other, "rack=r7"];
    trivet(&server, &apply).await.ok();
    eventually("the label at the servers", async || {
        let node = node_of(&server, &clients.1).await;
        match &node["Meta"]["rack"] {
            rack if rack == "r7" => Ok(()),
            rack => Err(rack.to_string()),
        }
    })
    .await;
    // The catalog has it, and says of every agent which level of the API it keeps.
    for (pair, count) in [("rack:r7", 1), ("consul-version:1.22.0", 3)] {
        let path = format!("/v1/catalog/nodes?node-meta={pair}");
        clients
            .1
            .wait_catalog(&path, |nodes| {
                (nodes.as_array()?.len() == count).then_some(())
            })
            .await;
    }
    // Other clients of the API name the node in the body alone.
    let url = server.url("http", "/v1/client/metadata");
    let named = json!({"NodeID": other, "Meta": {"row": "a1"}});
    let answer = http::put(&url, &named).await;
    assert_eq!(answer["Dynamic"], json!({"rack": "r7", "row": "a1"}));
    let read = ["node", "meta", "read", "-node-id", &other];
    let read = trivet(&server, &read).await.ok();
    assert!(
        read.stdout.contains("Dynamic Meta\nrack = r7\n"),
        "{}",
        read.stdout
    );

    // A node that is gone is forgotten.
    let mut gone = clients.0;
    gone.kill().await;
    let path = format!("/v1/node/{id}/purge");
    let (status, answer) = http::send(Method::PUT, &server.url("http", &path), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let nodes = http::get(&server.url("http", "/v1/nodes")).await;
    let ids: Vec<&Value> = nodes
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| &node["ID"])
        .collect();
    assert_eq!(ids, [&json!(other)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_goes_on_without_its_leader_and_without_a_client() {
    let addresses = Addresses::new();
    let mut servers = addresses.start().await;
    let clients = tokio::join!(addresses.start_client(), addresses.start_client());
    let job = Echo::new("web", 2);
    // Through a client, which has no server.
    job.run(&clients.0).await;
    let before = job.running(&clients.1, 2).await;
    let processes = pids(&[&clients.0, &clients.1]);
    written(&clients.0, "before", "1").await;

    // What only one machine knows comes from any agent's API.
    let alloc = before[0]["ID"].as_str().expect("an id");
    for asked in [&servers[0], &servers[1], &clients.0, &clients.1] {
        let path = format!("/v1/client/fs/ls/{alloc}?path=/");
        let listed = http::get(&asked.url("http", &path)).await;
        let names = listed.as_array().expect("entries").iter();
        let names: Vec<&str> = names.filter_map(|entry| entry["Name"].as_str()).collect();
        assert!(names.contains(&"alloc"), "{names:?}");
        let (status, stats) = http::send(
            Method::GET,
            &asked.url("http", &format!("/v1/client/allocation/{alloc}/stats")),
            None,
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{stats}");
    }
    let ran = [
        "alloc",
        "exec",
        alloc,
        "/bin/sh",
        "-c",
        "echo from a task; exit 3",
    ];
    let ran = trivet(&servers[2], &ran).await;
    assert_eq!(
        (ran.code, ran.stdout.trim()),
        (3, "from a task"),
        "{}",
        ran.text()
    );

    let mut old = take_leader(&mut servers).await;
    old.kill().await;
    let since = Instant::now();
    // Whoever is asked waits for the next leader.
    let mut refused = 0;
    while put_key(&servers[0], "after", "1").await.0 != StatusCode::OK {
        refused += 1;
        assert!(since.elapsed() < DEADLINE, "{refused} refused");
    }
    eprintln!(
        "leader killed, next write after {:?}, {refused} refused",
        since.elapsed()
    );

    // Nothing was restarted, and the clients found the next leader.
    let after = job.running(&clients.0, 2).await;
    let ids = |allocs: &[Value]| {
        let ids = allocs.iter().map(|alloc| alloc["ID"].to_string());
        ids.collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(&before), ids(&after));
    assert_eq!(pids(&[&clients.0, &clients.1]), processes);
    written(&clients.1, "through a client", "1").await;

    // The killed one comes back and catches up.
    old.start_again().await;
    has_key(&old, "after").await;
    alive(&servers[0], 3).await;
    // Where it was away for long it begins to vote anew.
    voters(&servers[0], 3).await;
    let peers = trivet(&old, &["operator", "raft", "list-peers"]).await.ok();
    assert_eq!(peers.stdout.matches("true").count(), 3, "{}", peers.stdout);
    let now = led(&servers[0]).await;
    leads(&old, &now).await;

    // A client that is gone: its work goes to the other one.
    let mut gone = clients.0;
    gone.kill().await;
    let node = clients.1.url("http", "/v1/nodes");
    let other = eventually("another client", async || {
        let nodes = http::get(&node).await;
        let down = nodes.as_array().expect("nodes").iter();
        let mut down = down.filter(|node| node["Status"] == "down");
        down.next().cloned().ok_or_else(|| nodes.to_string())
    })
    .await;
    eventually("both instances on the client that is left", async || {
        let placed = job.running(&clients.1, 2).await;
        let moved = placed.iter().all(|alloc| alloc["NodeID"] != other["ID"]);
        moved.then_some(()).ok_or_else(|| format!("{placed:?}"))
    })
    .await;
    job.passing(&clients.1, 2).await;
}

/// Values of a key in the copies of all servers.
pub(crate) async fn copies(servers: &[&Agent], key: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    for server in servers {
        let url = server.url("catalog", &format!("/v1/kv/{key}?stale&raw"));
        let (status, text) = http::send(Method::GET, &url, None).await;
        found.push((status == StatusCode::OK).then_some(text));
    }
    found
}

/// Waits until the copies of all servers hold the same.
pub(crate) async fn same_everywhere(servers: &[Agent], listener: &str, path: &str) {
    eventually(path, async || {
        let mut copies = Vec::new();
        for server in servers {
            let (_, text) = http::send(Method::GET, &server.url(listener, path), None).await;
            copies.push(text);
        }
        let is_same = copies.windows(2).all(|pair| pair[0] == pair[1]);
        is_same.then_some(()).ok_or_else(|| copies.join("\n"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_agents_killed_at_once_come_back_as_they_were() {
    let addresses = Addresses::new();
    let mut agents = addresses.start().await;
    let clients = tokio::join!(addresses.start_client(), addresses.start_client());
    agents.extend([clients.0, clients.1]);
    let job = Echo::new("web", 3);
    job.run(&agents[3]).await;
    let before = job.running(&agents[3], 3).await;
    written(&agents[0], "before", "1").await;
    let processes = pids(&[&agents[3], &agents[4]]);
    assert!(processes.len() >= 3, "{processes:?}");

    for agent in &agents {
        kill(agent.pid(), Signal::SIGKILL).expect("it runs");
    }
    for agent in &mut agents {
        agent.ended().await;
    }
    // A majority of the servers is needed before any of them is ready.
    futures_util::future::join_all(agents.iter_mut().map(Agent::start_again)).await;

    let after = job.running(&agents[4], 3).await;
    let ids = |allocs: &[Value]| {
        let ids = allocs.iter().map(|alloc| alloc["ID"].to_string());
        ids.collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(&before), ids(&after));
    assert_eq!(pids(&[&agents[3], &agents[4]]), processes);
    job.passing(&agents[3], 3).await;
    for server in &agents[..3] {
        has_key(server, "before").await;
    }
    written(&agents[4], "after", "1").await;
    // Both ingresses carry requests again.
    for client in &agents[3..] {
        eventually("an answer", async || {
            let url = client.url("ingress", "/web");
            match http::send(Method::GET, &url, None).await {
                (StatusCode::OK, _) => Ok(()),
                (status, text) => Err(format!("{status}: {text}")),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stands_still_is_replaced_and_what_it_took_late_is_whole_or_absent() {
    let addresses = Addresses::new();
    let mut servers = addresses.start().await;
    written(&servers[0], "before", "1").await;
    let old = take_leader(&mut servers).await;
    let was = old.address("rpc").to_string();
    // Nothing is closed: the others only hear nothing any more.
    kill(old.pid(), Signal::SIGSTOP).expect("it runs");
    let late = {
        let url = old.url("catalog", "/v1/kv/late");
        tokio::spawn(async move { http::client().put(url).body("1").send().await })
    };
    written(&servers[0], "meanwhile", "1").await;
    let now = led(&servers[1]).await;
    assert_ne!(now, was);
    kill(old.pid(), Signal::SIGCONT).expect("it stands still");
    leads(&old, &now).await;
    for server in [&old, &servers[0], &servers[1]] {
        has_key(server, "before").await;
        has_key(server, "meanwhile").await;
    }
    // What was asked of it meanwhile is acknowledged and everywhere, or refused and nowhere.
    let late = late.await.expect("no panic").expect("an answer").status();
    written(&old, "end", "1").await;
    for server in [&old, &servers[0], &servers[1]] {
        has_key(server, "end").await;
    }
    let all = copies(&[&old, &servers[0], &servers[1]], "late").await;
    let value = (late == StatusCode::OK).then(|| "1".to_owned());
    assert_eq!(all, vec![value; 3], "{late}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lags_by_a_snapshot_is_sent_it_and_a_minority_writes_nothing() {
    let addresses = Addresses::new();
    let mut servers = addresses.start().await;
    let mut leader = take_leader(&mut servers).await;
    let mut lagging = servers.remove(0);
    let other = &servers[0];
    lagging.kill().await;
    // More than the log keeps beside a snapshot.
    let value = "x".repeat(500_000);
    for key in 0..60 {
        written(other, &format!("k{key}"), &value).await;
    }
    has_snapshot(&leader).await;
    has_snapshot(other).await;
    // Nobody has the entries any more that it lacks.
    lagging.start_again().await;
    has_key(&lagging, "k59").await;
    has_key(&lagging, "k0").await;

    // Where it was away for long it begins to vote anew.
    voters(other, 3).await;

    // So much was written that another one may have come to lead over it.
    let address = leader.address("rpc").to_string();
    if led(other).await != address {
        trivet(other, &transfer(&address)).await.ok();
    }
    leads(&lagging, &address).await;
    leads(other, &address).await;

    // Without a quorum writes are refused, and copies are read.
    leader.kill().await;
    kill(other.pid(), Signal::SIGSTOP).expect("the server runs");
    let (status, text) = put_key(&lagging, "refused", "1").await;
    assert_eq!(
        (status, text.trim()),
        (StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader")
    );
    let jobs = lagging.url("http", "/v1/jobs?stale");
    let read = http::client().get(&jobs).send().await.expect("an answer");
    assert_eq!(read.status(), StatusCode::OK);
    assert_eq!(read.headers()["x-nomad-knownleader"], "false");
    let nodes = lagging.url("catalog", "/v1/catalog/services");
    assert_eq!(
        http::send(Method::GET, &nodes, None).await.0,
        StatusCode::OK
    );
    let name = "consul.service.consul.";
    let ports = dns::srv_ports(lagging.address("dns"), name).await;
    assert!(!ports.is_empty(), "names are answered from the copy");
    kill(other.pid(), Signal::SIGCONT).expect("the server is there");
    let since = Instant::now();
    while put_key(&lagging, "accepted", "1").await.0 != StatusCode::OK {
        assert!(since.elapsed() < DEADLINE, "there is a quorum again");
    }
    let (status, _) = http::send(Method::GET, &other.url("catalog", "/v1/kv/refused"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_join_leave_and_hand_the_leadership_over() {
    let addresses = Addresses::new();
    let first = addresses.start_server(1, 1).await;
    let address = addresses.of(1);
    let joins = |server: u8| {
        format!(
            "addresses {{ rpc = {:?} }}\nports {{ rpc = 4647 }}\nserver {{\n  enabled = true\n  \
             bootstrap_expect = 0\n  retry_join = [{address:?}]\n}}\n",
            addresses.of(server)
        )
    };
    let variable = json!({"Namespace": "default", "Path": "secret", "Items": {"a": "b"}});
    http::put(&first.url("http", "/v1/var/secret"), &variable).await;
    let texts = (joins(2), joins(3));
    let (second, mut third) = tokio::join!(
        Agent::start_with(Mode::Server, &texts.0),
        Agent::start_with(Mode::Server, &texts.1)
    );
    voters(&second, 3).await;

    // The next leader reads what this one encrypted.
    let to = second.address("rpc").to_string();
    trivet(&third, &transfer(&to)).await.ok();
    leads(&first, &to).await;
    leads(&third, &to).await;
    let secret = third.url("http", "/v1/var/secret");
    let read = eventually("what it reads", async || answered(&secret).await).await;
    assert_eq!(read["Items"]["a"], "b");

    // One that does not come back is taken out.
    third.kill().await;
    let members = trivet(&first, &["server", "members"]).await.ok();
    let third_name = format!("node-{}", third.ports().0);
    assert!(members.stdout.contains(&third_name), "{}", members.stdout);
    eventually("the failure", async || {
        let members = http::get(&second.url("http", "/v1/agent/members")).await;
        let members = members["Members"].as_array().cloned().unwrap_or_default();
        let failed = members.iter().any(|member| member["Status"] == "failed");
        if failed {
            Ok(())
        } else {
            Err(format!("{members:?}"))
        }
    })
    .await;
    trivet(&second, &["server", "force-leave", &third_name])
        .await
        .ok();
    voters(&first, 2).await;
    written(&first, "with two", "1").await;
    let unknown = ["operator", "raft", "remove-peer", "-peer-id", "nobody"];
    let refused = trivet(&first, &unknown).await;
    assert!(
        refused
            .text()
            .contains("no server of the cluster is `nobody`"),
        "{}",
        refused.text()
    );
}

/// A block of a configuration file that starts with this line.
fn block(text: &str, head: &str) -> String {
    let lines = text.lines().skip_while(|line| *line != head);
    let mut taken: Vec<&str> = lines.take_while(|line| *line != "}").collect();
    taken.push("}\n");
    taken.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_joins_with_a_token_and_what_it_may_ask_is_in_its_certificate() {
    let addresses = Addresses::new();
    let dir = tempfile::tempdir().expect("a directory");
    let address = addresses.of(1);
    let at = |name: &str| dir.path().join(name).display().to_string();
    let made = ["cluster", "init", "-dir", &at("one"), "-bind", &address];
    let made = command::run(&made, None, dir.path()).await.ok();
    let tokens = made
        .stdout
        .split_whitespace()
        .filter(|word| word.contains('@'));
    let tokens: Vec<&str> = tokens.collect();
    let [for_clients, for_servers] = tokens[..] else {
        panic!("{}", made.stdout);
    };
    let config = std::fs::read_to_string(dir.path().join("one/agent.hcl")).expect("its file");
    let rpc = |server: u8| {
        format!(
            "addresses {{ rpc = {:?} }}\nports {{ rpc = 4647 }}\n",
            addresses.of(server)
        )
    };
    let own = format!(
        "{}{}{}",
        rpc(1),
        block(&config, "server {"),
        block(&config, "tls {")
    );
    let first = Agent::start_with(Mode::Server, &own).await;

    let join = async |token: &str, name: &str| {
        let words = [
            "cluster",
            "join",
            token,
            "-dir",
            &at(name),
            "-bind",
            "127.0.0.1",
        ];
        command::run(&words, None, dir.path()).await
    };

    // A token that nobody made.
    let (token, _) = for_clients.split_once('@').expect("a token");
    let other = if token.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{other}@{address}", &token[..token.len() - 1]);
    let refused = join(&wrong, "two").await;
    assert!(
        refused.text().contains("the token is not known here"),
        "{}",
        refused.text()
    );
    // A server of another authority.
    let (region, _) = token.split_once('.').expect("a region");
    let other = format!("{region}.{}.{}@{address}", "0".repeat(64), "0".repeat(32));
    let refused = join(&other, "two").await;
    assert!(
        refused.text().contains("UnknownIssuer"),
        "{}",
        refused.text()
    );

    join(for_clients, "two").await.ok();
    let config = std::fs::read_to_string(dir.path().join("two/agent.hcl")).expect("its file");
    let blocks = format!("{}{}", block(&config, "client {"), block(&config, "tls {"));
    let client = Agent::start_with(Mode::Client, &blocks).await;
    let job = Echo::new("web", 1);
    job.run(&client).await;
    assert_eq!(job.running(&first, 1).await.len(), 1);

    join(for_servers, "three").await.ok();
    let config = std::fs::read_to_string(dir.path().join("three/agent.hcl")).expect("its file");
    let blocks = format!(
        "{}{}{}",
        rpc(2),
        block(&config, "server {"),
        block(&config, "tls {")
    );
    let _second = Agent::start_with(Mode::Server, &blocks).await;
    alive(&first, 2).await;
    // It was given the key that seals what servers tell each other, and a client was not.
    let keys = ["operator", "gossip", "keyring", "list"];
    eventually("both have the key", async || {
        let keys = trivet(&first, &keys).await.ok().stdout;
        keys.contains("2/2").then_some(()).ok_or(keys)
    })
    .await;
    let of_client = std::fs::read_to_string(dir.path().join("two/agent.hcl")).expect("its file");
    assert!(!of_client.contains("encrypt"), "{of_client}");

    // With the certificate of a client nothing can be asked that only servers may.
    let tls = |name: &str| dir.path().join("two/tls").join(name);
    let (authority, own, key) = (tls("ca.pem"), tls("agent.pem"), tls("agent-key.pem"));
    let security = Security::mutual(
        &authority,
        &own,
        &key,
        "server.global.nomad",
        Strangers::Refused,
    );
    let pool = Pool::new(security.expect("whole files"));
    let server = format!("{address}:4647");
    for call in [
        Call::Members,
        Call::Admit,
        Call::Append,
        Call::Vote,
        Call::Snapshot,
        Call::Elect,
    ] {
        let asked = pool.call(&server, call, Vec::new(), DEADLINE).await;
        let refused = asked.expect_err("the server says no").to_string();
        assert!(refused.contains("403"), "{call:?}: {refused}");
    }
    // Without one, nothing but a certificate.
    let plain = Pool::new(Security::Plain);
    plain
        .call(&server, Call::Members, Vec::new(), DEADLINE)
        .await
        .expect_err("the server speaks TLS only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_leaves_is_waited_for_by_nobody_and_may_come_back() {
    let addresses = Addresses::new();
    let leaves = "leave_on_terminate = true\n";
    let texts = [1, 2, 3].map(|server| format!("{leaves}{}", addresses.server(server, 3)));
    let started = texts
        .iter()
        .map(|text| Agent::start_with(Mode::Server, text));
    let mut servers = futures_util::future::join_all(started).await;
    alive(&servers[0], 3).await;
    let mut first = take_leader(&mut servers).await;
    written(&servers[0], "before", "1").await;

    // The leader is asked to leave, a follower is terminated: the third one goes on alone.
    let url = first.url("catalog", "/v1/agent/leave");
    let (status, text) = http::send(Method::PUT, &url, None).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    first.ended().await;
    let mut second = servers.remove(0);
    let third = &servers[0];
    kill(second.pid(), Signal::SIGTERM).expect("the server runs");
    second.ended().await;
    let peers = async |count: usize| {
        eventually("the servers of the group", async || {
            let url = third.url("http", "/v1/operator/raft/configuration");
            let found = answered(&url).await?;
            let servers = found["Servers"].as_array().cloned().unwrap_or_default();
            (servers.len() == count)
                .then_some(())
                .ok_or_else(|| found.to_string())
        })
        .await;
    };
    peers(1).await;
    written(third, "alone", "1").await;
    let members = trivet(third, &["server", "members"]).await.ok().stdout;
    assert_eq!(members.matches("left").count(), 2, "{members}");

    // They are the same servers when they come back.
    tokio::join!(first.start_again(), second.start_again());
    peers(3).await;
    alive(third, 3).await;
    has_key(&first, "alone").await;
    has_key(&second, "alone").await;
}
