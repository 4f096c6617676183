//! Agents on machines of their own, as far as the network goes, between which packets are dropped:
//! nothing is closed and nothing refused, it only becomes silent. Each test needs root and the
//! programs `ip` and `nft`, and skips, loudly, without.

use crate::{
    cluster::{
        copies, has_key, leader as leader_of, leads, led, led_by_another, put_key, same_everywhere,
        take_leader, written,
    },
    harness::{
        Agent, DEADLINE, Echo,
        agent::{Mode, Room, namespace},
        dns, eventually, http,
        load::{Load, none_failed},
    },
    needs::{need, need_root},
    walkthrough::targets,
};
use nix::unistd::Pid;
use reqwest::StatusCode;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::{Command, Output},
};

/// A bridge in the network of the test, and a namespace for each member, linked to it. Gone when
/// dropped.
struct Lan {
    ip: PathBuf,
    nft: PathBuf,
    number: u8,
    members: Vec<u8>,
}

impl Lan {
    /// A network of so many members; none where there can be none.
    fn new(number: u8, members: u8) -> Option<Self> {
        let (ip, nft) = (need("ip", "iproute2")?, need("nft", "nftables")?);
        if !need_root() {
            return None;
        }
        let mut lan = Self {
            ip,
            nft,
            number,
            members: Vec::new(),
        };
        let (bridge, own) = (lan.bridge(), format!("{}/24", lan.address(1)));
        // What a test that was killed has left.
        lan.quietly(&["link", "del", &bridge]);
        lan.ip(&["link", "add", &bridge, "type", "bridge"]);
        lan.ip(&["address", "add", &own, "dev", &bridge]);
        lan.ip(&["link", "set", &bridge, "up"]);
        for member in 2..members + 2 {
            lan.add(member);
        }
        Some(lan)
    }

    fn add(&mut self, member: u8) {
        let (bridge, name) = (self.bridge(), namespace(self.number, member));
        let outside = format!("{bridge}v{member}");
        let address = format!("{}/24", self.address(member));
        self.ip(&["netns", "add", &name]);
        self.members.push(member);
        self.ip(&[
            "link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &name,
        ]);
        self.ip(&["link", "set", &outside, "master", &bridge, "up"]);
        self.ip(&["-n", &name, "address", "add", &address, "dev", "eth0"]);
        for link in ["lo", "eth0"] {
            self.ip(&["-n", &name, "link", "set", link, "up"]);
        }
    }

    fn bridge(&self) -> String {
        format!("tvl{}", self.number)
    }

    fn address(&self, member: u8) -> String {
        format!("10.177.{}.{member}", self.number)
    }

    fn quietly(&self, args: &[&str]) -> Output {
        Command::new(&self.ip).args(args).output().expect("ip runs")
    }

    #[track_caller]
    fn ip(&self, args: &[&str]) {
        let output = self.quietly(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {args:?}: {said}");
    }

    #[track_caller]
    fn nft(&self, member: u8, rules: &str) {
        let nft = self.nft.display().to_string();
        let name = namespace(self.number, member);
        self.ip(&["netns", "exec", &name, &nft, rules]);
    }

    /// Drops every packet between a member and others.
    fn cut(&self, member: u8, others: &[u8]) {
        let others: Vec<String> = others.iter().map(|other| self.address(*other)).collect();
        let others = others.join(", ");
        let rules = format!(
            "add table inet cut; \
             add chain inet cut in {{ type filter hook input priority 0 ; }}; \
             add chain inet cut out {{ type filter hook output priority 0 ; }}; \
             add rule inet cut in ip saddr {{ {others} }} drop; \
             add rule inet cut out ip daddr {{ {others} }} drop"
        );
        self.nft(member, &rules);
    }

    fn heal(&self, member: u8) {
        self.nft(member, "delete table inet cut");
    }

    /// Configuration of a member: everything listens on its address.
    fn member(&self, member: u8) -> String {
        let address = self.address(member);
        let listeners = ["http", "rpc", "catalog", "dns", "ingress", "ingress_admin"];
        let listeners = listeners.map(|name| format!("  {name} = {address:?}\n"));
        format!(
            "addresses {{\n{}}}\nports {{ rpc = 4647 }}\nadvertise {{ http = {address:?} }}\n\
             tls {{ rpc = false }}\n",
            listeners.concat()
        )
    }

    fn quoted(&self, servers: &[u8]) -> String {
        let all = servers.iter().map(|server| self.address(*server));
        let all: Vec<String> = all.map(|address| format!("{address:?}")).collect();
        all.join(", ")
    }

    async fn start(&self, mode: Mode, member: u8, more: &str) -> Agent {
        let room = Room::Network {
            lan: self.number,
            member,
        };
        let text = self.member(member) + more;
        Agent::start_in(mode, &text, room).await
    }

    /// Servers that begin together.
    async fn start_servers(&self, servers: &[u8]) -> Vec<Agent> {
        let more = format!(
            "server {{\n  enabled = true\n  bootstrap_expect = {}\n  \
             server_join {{ retry_join = [{}] }}\n}}\n",
            servers.len(),
            self.quoted(servers)
        );
        let starting = servers
            .iter()
            .map(|server| self.start(Mode::Server, *server, &more));
        futures_util::future::join_all(starting).await
    }

    /// A client that knows these servers.
    async fn start_client(&self, member: u8, servers: &[u8]) -> Agent {
        let more = format!("client {{ servers = [{}] }}\n", self.quoted(servers));
        self.start(Mode::Client, member, &more).await
    }

    /// Which member a server is.
    fn member_at(&self, address: &str) -> u8 {
        let found = self
            .members
            .iter()
            .find(|member| address.starts_with(&format!("{}:", self.address(**member))));
        *found.unwrap_or_else(|| panic!("{address} is no member"))
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for member in &self.members {
            self.quietly(&["netns", "del", &namespace(self.number, *member)]);
        }
        self.quietly(&["link", "del", &self.bridge()]);
    }
}

/// A variable of a process.
fn variable(pid: Pid, name: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let found = variables.find_map(|line| line.strip_prefix(format!("{name}=").as_bytes()))?;
    Some(String::from_utf8_lossy(found).into_owned())
}

/// The allocation of each process of the sample workload that runs on these agents.
fn instances(agents: &[&Agent]) -> Vec<(String, Pid)> {
    let processes = agents.iter().flat_map(|agent| agent.task_processes());
    let is_workload = |pid: &Pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"echo")
    };
    let processes = processes.filter(is_workload);
    let mut found: Vec<(String, Pid)> = processes
        .filter_map(|pid| Some((variable(pid, "NOMAD_ALLOC_ID")?, pid)))
        .collect();
    found.sort();
    found
}

/// Exactly the wanted instances run: a process for each, and no other.
async fn wanted_alone(job: &Echo, asked: &Agent, clients: &[&Agent]) {
    let count = usize::try_from(job.count).expect("few");
    eventually("one process for each instance", async || {
        let wanted = job.running(asked, count).await;
        let ids = wanted.iter().filter_map(|alloc| alloc["ID"].as_str());
        let wanted: BTreeSet<String> = ids.map(str::to_owned).collect();
        let running: Vec<String> = instances(clients).into_iter().map(|(id, _)| id).collect();
        let is_same = running.iter().eq(wanted.iter());
        let found = || format!("wanted {wanted:?}, running {running:?}");
        is_same.then_some(()).ok_or_else(found)
    })
    .await;
    job.passing(asked, count).await;
}

/// The node of a client, as the servers have it.
async fn node_id(client: &Agent) -> String {
    let own = http::get(&client.url("http", "/v1/agent/self")).await;
    let id = own["stats"]["client"]["node_id"].as_str();
    id.expect("a node").to_owned()
}

async fn node_is(asked: &Agent, id: &str, status: &str) {
    asked
        .wait(&format!("/v1/node/{id}"), |node| {
            (node["Status"] == status).then_some(())
        })
        .await;
}

fn on_node(allocs: &[Value], id: &str) -> usize {
    let there = allocs.iter().filter(|alloc| alloc["NodeID"] == id);
    there.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_client_that_is_cut_off_serves_on_and_gives_its_work_back() {
    let Some(lan) = Lan::new(1, 5) else { return };
    let servers = [2, 3, 4];
    let own = lan.start_servers(&servers).await;
    let clients = tokio::join!(lan.start_client(5, &servers), lan.start_client(6, &servers));
    let (cut, other) = (&clients.0, &clients.1);
    let job = Echo::new("web", 4);
    // Others reach it.
    let text = job.hcl().replace("127.0.0.1:$", "0.0.0.0:$");
    own[0].register(&text).await;
    job.passing(&own[0], 4).await;
    let id = node_id(cut).await;
    let before = job.running(&own[0], 4).await;
    assert!((1..4).contains(&on_node(&before, &id)), "{before:?}");
    let processes = instances(&[cut]);
    for client in [cut, other] {
        targets(client, "web", 4).await;
    }

    let load = Load::start(cut.address("ingress"), "/web", 25, DEADLINE);
    load.more(20).await;
    lan.cut(5, &servers);
    node_is(&own[0], &id, "down").await;
    let moved = eventually("the work runs elsewhere", async || {
        let allocs = job.running(&own[0], 4).await;
        let is_moved = on_node(&allocs, &id) == 0;
        is_moved
            .then_some(allocs.clone())
            .ok_or_else(|| format!("{allocs:?}"))
    })
    .await;
    assert_eq!(moved.len(), 4);
    job.passing(&own[0], 4).await;
    // It knows nothing of that: its tasks go on, and it answers with what it knew.
    assert_eq!(instances(&[cut]), processes);
    load.more(50).await;
    let ports = dns::srv_ports(cut.address("dns"), "web.service.consul.").await;
    assert_eq!(ports.len(), 4, "{ports:?}");
    let (status, text) = put_key(cut, "cut-off", "1").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    assert_eq!(instances(&[cut]), processes);

    lan.heal(5);
    node_is(&own[0], &id, "ready").await;
    wanted_alone(&job, &own[0], &[cut, other]).await;
    targets(cut, "web", 4).await;
    load.more(50).await;
    wanted_alone(&job, &own[0], &[cut, other]).await;
    written(cut, "back", "1").await;
    let requests = load.stop().await;
    none_failed(&requests);
}

/// Waits until all servers know the same leader.
async fn one_leader(servers: &[Agent]) {
    eventually("one leader", async || {
        let mut known = BTreeSet::new();
        for server in servers {
            known.insert(led(server).await);
        }
        (known.len() == 1)
            .then_some(())
            .ok_or_else(|| format!("{known:?}"))
    })
    .await;
}

/// What is refused is nowhere, once what was acknowledged behind it is everywhere.
async fn absent(servers: &[Agent], key: &str) {
    let servers: Vec<&Agent> = servers.iter().collect();
    assert_eq!(copies(&servers, key).await, vec![None; 3], "{key}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_servers_that_are_cut_off_lose_nothing_and_refuse_what_they_cannot_keep() {
    let Some(lan) = Lan::new(2, 3) else { return };
    let members = [2, 3, 4];
    let mut servers = lan.start_servers(&members).await;
    written(&servers[0], "whole", "1").await;

    // A follower: the others go on.
    let leader = take_leader(&mut servers).await;
    let follower = servers.remove(0);
    let address = follower.address("rpc").to_string();
    let member = lan.member_at(&address);
    let without = |member: u8| {
        let others = members.iter().filter(|other| **other != member);
        others.copied().collect::<Vec<u8>>()
    };
    lan.cut(member, &without(member));
    for server in [&leader, &servers[0]] {
        let key = format!("without a follower {}", server.ports().0);
        written(server, &key, "1").await;
    }
    let (status, text) = put_key(&follower, "by a follower", "1").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    lan.heal(member);
    written(&follower, "with the follower", "1").await;
    servers.extend([leader, follower]);
    one_leader(&servers).await;
    for server in &servers {
        has_key(server, "with the follower").await;
        for other in &servers[..2] {
            has_key(server, &format!("without a follower {}", other.ports().0)).await;
        }
    }
    absent(&servers, "by a follower").await;

    // The leader: the others have another one, and it stops.
    let leader = take_leader(&mut servers).await;
    let was = leader.address("rpc").to_string();
    let member = lan.member_at(&was);
    lan.cut(member, &without(member));
    let refused = put_key(&leader, "by the old leader", "1");
    let (refused, now) = tokio::join!(refused, led_by_another(&servers[0], &was));
    assert_eq!(
        refused.0,
        StatusCode::INTERNAL_SERVER_ERROR,
        "{}",
        refused.1
    );
    leads(&servers[1], &now).await;
    eventually("the old leader knows that it does not lead", async || {
        let known = leader_of(&leader).await;
        known.is_empty().then_some(()).ok_or(known)
    })
    .await;
    for server in &servers {
        let key = format!("without the leader {}", server.ports().0);
        written(server, &key, "1").await;
    }
    lan.heal(member);
    written(&leader, "with the old leader", "1").await;
    servers.push(leader);
    one_leader(&servers).await;
    for server in &servers {
        has_key(server, "with the old leader").await;
        for other in &servers[..2] {
            has_key(server, &format!("without the leader {}", other.ports().0)).await;
        }
    }
    absent(&servers, "by the old leader").await;
    absent(&servers, "by a follower").await;
    same_everywhere(&servers, "catalog", "/v1/kv/?recurse&stale").await;
    same_everywhere(&servers, "http", "/v1/jobs?stale").await;
}
