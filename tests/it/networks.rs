//! Networks that groups have for themselves: who reaches whom, what a task sees, and that nothing
//! is left. Each test needs root and the programs `ip` and `nft`, and skips, loudly, without.

use crate::{
    harness::{
        Agent,
        agent::{Mode, TRIVET},
        command, eventually, http,
    },
    needs::{need, need_root},
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The bridge of one test, and what a test that broke has left of it.
struct Machine {
    ip: PathBuf,
    nft: PathBuf,
    bridge: String,
    networks: PathBuf,
}

impl Machine {
    fn ip(&self, args: &[&str]) -> String {
        let output = Command::new(&self.ip).args(args).output().expect("ip runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn tables(&self) -> String {
        let listed = Command::new(&self.nft).args(["list", "tables"]).output();
        String::from_utf8_lossy(&listed.expect("nft runs").stdout).into_owned()
    }

    /// Everything on the machine that belongs to the bridge or to an allocation.
    fn left(&self, alloc: &str) -> Vec<String> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let mut found = Vec::new();
        for (listed, mark) in [
            (self.ip(&["netns", "list"]), alloc),
            (mounts, alloc),
            (self.ip(&["-o", "link", "show"]), &*self.bridge),
            (self.tables(), &*self.bridge),
        ] {
            let lines = listed.lines().filter(|line| line.contains(mark));
            found.extend(lines.map(str::to_owned));
        }
        let kept = std::fs::read_dir(&self.networks).into_iter().flatten();
        found.extend(kept.flatten().map(|one| one.path().display().to_string()));
        found
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(&self.networks).into_iter().flatten() {
            let name = entry.expect("an entry").file_name();
            self.ip(&["netns", "del", &name.to_string_lossy()]);
        }
        self.ip(&["link", "del", &self.bridge]);
        let table = format!("trivet_{}", self.bridge);
        Command::new(&self.nft)
            .args(["delete", "table", "ip", &table])
            .output()
            .ok();
    }
}

/// An agent with a bridge of its own; none where there can be none.
async fn agent(bridge: &str, subnet: &str) -> Option<(Agent, Machine)> {
    agent_with(bridge, subnet, "").await
}

/// As [`agent`], with further lines of the client block.
async fn agent_with(bridge: &str, subnet: &str, lines: &str) -> Option<(Agent, Machine)> {
    let (ip, nft) = (need("ip", "iproute2")?, need("nft", "nftables")?);
    if !need_root() {
        return None;
    }
    let more = format!(
        "client {{\n bridge_network_name = \"{bridge}\"\n bridge_network_subnet = \"{subnet}\"\n \
         bridge_network_hairpin_mode = true\n{lines}}}\n"
    );
    let agent = Agent::start_with(Mode::Durable, &more).await;
    let machine = Machine {
        ip,
        nft,
        bridge: bridge.into(),
        networks: agent.dir().join("data/client/networks"),
    };
    Some((agent, machine))
}

async fn alloc(agent: &Agent, job: &str, status: &str) -> Value {
    agent
        .wait(&format!("/v1/job/{job}/allocations"), |allocs| {
            let mut allocs = allocs.as_array()?.iter();
            let found = allocs.find(|alloc| alloc["ClientStatus"] == status)?;
            Some(found.clone())
        })
        .await
}

async fn log(agent: &Agent, alloc: &str, task: &str) -> String {
    let path = format!("/v1/client/fs/logs/{alloc}?task={task}&type=stdout&plain=true");
    let (_, text) = http::send(reqwest::Method::GET, &agent.url("http", &path), None).await;
    text
}

/// Waits until a page has this text.
async fn says(url: &str, text: &str) {
    eventually(url, || async {
        let answer = http::client().get(url).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        let found = answer.text().await.map_err(|error| error.to_string())?;
        (found == text).then_some(()).ok_or(found)
    })
    .await;
}

/// A server without isolation, and a program in a root of its own that asks it over loopback and
/// through its port of the host.
fn pair(fixed: u16) -> String {
    format!(
        r#"
job "pair" {{
  group "g" {{
    network {{
      mode     = "bridge"
      hostname = "inside-${{NOMAD_GROUP_NAME}}"
      dns {{
        servers  = ["192.0.2.53"]
        searches = ["a.test"]
      }}
      port "http" {{ to = 8080 }}
      port "fixed" {{
        static = {fixed}
        to     = 8080
      }}
    }}
    service {{
      name = "pair"
      port = "http"
      tags = ["urlprefix-/pair"]
      check {{
        type     = "http"
        path     = "/health"
        interval = "1s"
        timeout  = "5s"
      }}
    }}
    task "server" {{
      driver = "raw_exec"
      config {{
        command = "{TRIVET}"
        args    = ["echo", "-listen", "0.0.0.0:${{NOMAD_PORT_http}}", "-text", "hello"]
      }}
      resources {{ memory = 32 }}
    }}
    task "peer" {{
      driver       = "exec"
      kill_timeout = "100ms"
      config {{
        command = "bash"
        args    = ["-c", <<EOS
ask() {{
  until exec 3<>/dev/tcp/$1/$2; do sleep 0.05; done 2>/dev/null
  printf 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
  echo "$1 says $(tail -n 1 <&3)"
}}
echo "name $(cat /proc/sys/kernel/hostname)"
echo "hosts $(tail -n 1 /etc/hosts)"
echo "resolver $(tr '\n' ' ' < /etc/resolv.conf)"
echo "links $(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\n' ' ')"
echo "address $NOMAD_ALLOC_ADDR_http $NOMAD_ALLOC_INTERFACE_http $NOMAD_HOST_ADDR_fixed"
ask 127.0.0.1 8080
echo "end"
sleep 10000
EOS
        ]
      }}
      resources {{ memory = 32 }}
    }}
  }}
}}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_port_leads_inside_from_the_network_that_it_asks_for() {
    let lines = "host_network \"second\" {\n cidr = \"127.0.0.2/32\"\n}\n";
    let Some((mut agent, machine)) = agent_with("tvit9", "172.27.239.0/24", lines).await else {
        return;
    };
    let fixed = agent.own_port(0);
    let own = format!("static = {fixed}\n        to     = 8080");
    let there = format!("{own}\n        host_network = \"second\"");
    let hcl = pair(fixed).replace(&own, &there);
    assert!(hcl.contains("host_network"), "{hcl}");
    agent.register(&hcl).await;
    alloc(&agent, "pair", "running").await;
    let second = format!("127.0.0.2:{fixed}");
    says(&format!("http://{second}/"), "hello").await;
    // Nobody is there on the other address, and it is free for others.
    let refused = tokio::net::TcpStream::connect(("127.0.0.1", fixed)).await;
    let refused = refused.expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    agent.stop().await;
    drop(machine);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_group_has_a_network_of_its_own_and_nothing_is_left_of_it() {
    let Some((mut agent, machine)) = agent("tvit0", "172.27.240.0/24").await else {
        return;
    };
    let fixed = agent.own_port(0);
    agent.register(&pair(fixed)).await;
    let running = alloc(&agent, "pair", "running").await;
    let id = running["ID"].as_str().expect("an id").to_owned();
    // Other programs find it by the host's address and the port that leads inside.
    let (address, port) = agent
        .wait_catalog("/v1/health/service/pair?passing", |entries| {
            let service = &entries[0]["Service"];
            let address = service["Address"].as_str()?.to_owned();
            Some((address, service["Port"].as_u64()?))
        })
        .await;
    assert_eq!(address, "127.0.0.1");
    for url in [
        agent.url("ingress", "/pair"),
        format!("http://127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{fixed}/"),
    ] {
        says(&url, "hello").await;
    }
    let text = eventually("the peer's output", || async {
        let text = log(&agent, &id, "peer").await;
        let is_whole = text.lines().any(|line| line == "end");
        is_whole.then_some(text.clone()).ok_or(text)
    })
    .await;
    for line in [
        "name inside-g",
        "hosts 172.27.240.2 inside-g",
        "links eth0 lo ",
        &format!("address 172.27.240.2:8080 eth0 127.0.0.1:{fixed}"),
        "127.0.0.1 says hello",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(
        text.contains("resolver search a.test nameserver 192.0.2.53 "),
        "{text}"
    );
    let status = agent
        .wait(&format!("/v1/allocation/{id}"), |alloc| {
            let status = &alloc["NetworkStatus"];
            status["Address"].as_str().map(|_| status.clone())
        })
        .await;
    assert_eq!(status["Address"], "172.27.240.2");
    // Commands beside a task without isolation are in the network, too.
    let listed = [
        "alloc",
        "exec",
        "-i=false",
        "-t=false",
        "-task",
        "server",
        &id,
        "cat",
        "/proc/net/dev",
    ];
    let listed = command::trivet(&agent, &listed).await.ok();
    assert!(listed.stdout.contains("eth0:"), "{listed:?}");
    // The agent goes, the network stays; a task that is restarted enters the same one.
    agent.kill().await;
    says(&format!("http://127.0.0.1:{fixed}/"), "hello").await;
    agent.start_again().await;
    command::trivet(&agent, &["alloc", "restart", "-task", "server", &id])
        .await
        .ok();
    agent
        .wait(&format!("/v1/allocation/{id}"), |alloc| {
            let server = &alloc["TaskStates"]["server"];
            let events = server["Events"].as_array()?.iter();
            let starts = events.filter(|event| event["Type"] == "Started").count();
            (starts == 2 && server["State"] == "running").then_some(())
        })
        .await;
    says(&agent.url("ingress", "/pair"), "hello").await;
    command::trivet(&agent, &["job", "stop", "-purge", "-detach", "pair"])
        .await
        .ok();
    eventually("nothing left", || async {
        let left = machine.left(&id);
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    })
    .await;
}

/// A task that says which interfaces it has, and waits.
fn alone(name: &str, mode: &str) -> String {
    format!(
        r#"
job "{name}" {{
  group "g" {{
    network {{ mode = "{mode}" }}
    task "main" {{
      driver = "raw_exec"
      config {{
        command = "sh"
        args    = ["-c", "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '; echo end; exec sleep 10000"]
      }}
      resources {{ memory = 32 }}
    }}
  }}
}}
"#
    )
}

/// The id of the running allocation of [`alone`], and the interfaces that its task sees.
async fn links(agent: &Agent, job: &str) -> (String, String) {
    let running = alloc(agent, job, "running").await;
    let id = running["ID"].as_str().expect("an id").to_owned();
    let text = eventually("its output", || async {
        let text = log(agent, &id, "main").await;
        text.contains("end").then_some(text.clone()).ok_or(text)
    })
    .await;
    (id, text)
}

async fn nothing_left(machine: &Machine, id: &str) {
    eventually("nothing left", || async {
        let left = machine.left(id);
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_addresses_are_few_and_what_an_agent_finds_is_brought_in_order() {
    // The bridge's address, and one more.
    let Some((mut agent, machine)) = agent("tvit1", "172.27.241.0/30").await else {
        return;
    };
    agent.register(&alone("apart", "none")).await;
    let (apart, text) = links(&agent, "apart").await;
    assert_eq!(text, "lo end\n");
    agent.register(&alone("first", "bridge")).await;
    let (first, text) = links(&agent, "first").await;
    assert_eq!(text, "eth0 lo end\n");
    agent.register(&alone("second", "bridge")).await;
    let failed = alloc(&agent, "second", "failed").await;
    let events = failed["TaskStates"]["main"]["Events"].to_string();
    assert!(
        events.contains("no address is left in 172.27.241.0/30"),
        "{events}"
    );
    command::trivet(&agent, &["job", "stop", "-purge", "-detach", "second"])
        .await
        .ok();
    // What belongs to nobody is cleared away by the next agent.
    let nobody = "00000000-0000-4000-8000-000000000001";
    agent.kill().await;
    std::fs::create_dir(machine.networks.join(nobody)).expect("a directory");
    machine.ip(&["netns", "add", nobody]);
    agent.start_again().await;
    eventually("nothing of nobody", || async {
        let namespaces = machine.ip(&["netns", "list"]);
        let is_gone = !namespaces.contains(nobody) && !machine.networks.join(nobody).exists();
        is_gone.then_some(()).ok_or(namespaces)
    })
    .await;
    for id in [&first, &apart] {
        assert!(Path::new("/run/netns").join(id).exists(), "{id}");
    }
    for job in ["first", "apart"] {
        command::trivet(&agent, &["job", "stop", "-purge", "-detach", job])
            .await
            .ok();
    }
    for id in [&first, &apart] {
        nothing_left(&machine, id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_network_that_an_agent_died_over_is_made_anew() {
    let Some((mut agent, machine)) = agent("tvit5", "172.27.245.0/29").await else {
        return;
    };
    agent.kill().await;
    agent.start_with_fault("network.namespace").await;
    agent.register(&alone("half", "bridge")).await;
    agent.ended().await;
    let namespaces = machine.ip(&["netns", "list"]);
    agent.start_again().await;
    let (id, text) = links(&agent, "half").await;
    assert!(namespaces.contains(&id), "{namespaces}");
    assert_eq!(text, "eth0 lo end\n");
    command::trivet(&agent, &["job", "stop", "-purge", "-detach", "half"])
        .await
        .ok();
    nothing_left(&machine, &id).await;
}

/// A plugin that writes down what it is asked, and links the namespace to the host.
const PLUGIN: &str = r#"#!/bin/sh
[ -z "$CNI_COMMAND" ] && { echo "CNI probe plugin v1.2.3" >&2; exit 0; }
here=$(dirname "$0")
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_ARGS $(tr -d '\n')" >> "$here/calls"
link=tvc$(echo "$CNI_CONTAINERID" | tr -d - | cut -c 1-10)
inside=$(basename "$CNI_NETNS")
case $CNI_COMMAND in
ADD)
  ip link add "$link" type veth peer name "$CNI_IFNAME" netns "$inside" &&
  ip addr add 172.27.243.1/24 dev "$link" && ip link set "$link" up &&
  ip -n "$inside" addr add 172.27.243.2/24 dev "$CNI_IFNAME" &&
  ip -n "$inside" link set "$CNI_IFNAME" up || exit 1
  cat <<EOS
{"cniVersion": "1.0.0",
 "interfaces": [{"name": "$link"}, {"name": "$CNI_IFNAME", "sandbox": "$CNI_NETNS"}],
 "ips": [{"address": "172.27.243.2/24", "interface": 1}],
 "dns": {"nameservers": ["192.0.2.77"]}}
EOS
  ;;
DEL) ip link del "$link" 2>/dev/null ;;
esac
exit 0
"#;

/// One that has no address left.
const FULL: &str = r#"#!/bin/sh
echo '{"cniVersion": "1.0.0", "code": 11, "msg": "no address", "details": "the range is full"}'
exit 1
"#;

/// Directories of plugins and of their networks, and the lines that name them.
struct Plugins {
    dir: tempfile::TempDir,
}

impl Plugins {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        for (name, script) in [("probe", PLUGIN), ("full", FULL)] {
            let path = dir.path().join(name);
            std::fs::write(&path, script).expect("a plugin");
            let everybody = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&path, everybody).expect("a program");
        }
        let list = r#"{"name": "probe", "cniVersion": "1.0.0",
            "plugins": [{"type": "probe", "capabilities": {"portMappings": true}}]}"#;
        let full = r#"{"name": "full", "cniVersion": "1.0.0", "type": "full"}"#;
        for (name, text) in [("probe.conflist", list), ("full.conf", full)] {
            std::fs::write(dir.path().join(name), text).expect("a list");
        }
        Self { dir }
    }

    fn lines(&self) -> String {
        let dir = self.dir.path().display();
        format!("cni_path = \"/nonexistent:{dir}\"\n cni_config_dir = \"{dir}\"\n")
    }

    /// What the plugin was asked: command, allocation, arguments, configuration.
    fn calls(&self) -> Vec<(String, String, String, Value)> {
        let text = std::fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        let calls = text.lines().map(|line| {
            let mut words = line.splitn(4, ' ').map(str::to_owned);
            let mut next = || words.next().expect("a word");
            let (command, alloc, args) = (next(), next(), next());
            let input = serde_json::from_str(&next()).expect("a configuration");
            (command, alloc, args, input)
        });
        calls.collect()
    }

    fn commands(&self, alloc: &str) -> Vec<String> {
        let calls = self.calls().into_iter();
        let of_alloc = calls.filter(|(_, of, ..)| of == alloc);
        of_alloc.map(|(command, ..)| command).collect()
    }
}

/// A server in the network that plugins make.
fn plugged(name: &str, network: &str) -> String {
    format!(
        r#"
job "{name}" {{
  group "g" {{
    network {{
      mode = "cni/{network}"
      cni {{
        args = {{ colour = "${{NOMAD_GROUP_NAME}}-blue" }}
      }}
      port "http" {{ to = 8080 }}
    }}
    reschedule {{
      attempts  = 0
      unlimited = false
    }}
    restart {{ attempts = 0 }}
    task "server" {{
      driver = "raw_exec"
      config {{
        command = "{TRIVET}"
        args    = ["echo", "-listen", "${{NOMAD_ALLOC_IP_http}}:8080", "-text", "hello"]
      }}
      resources {{ memory = 32 }}
    }}
  }}
}}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_plugins_make_a_network_and_take_it_away_again() {
    let plugins = Plugins::new();
    let Some((mut agent, machine)) = agent_with("tvit3", "172.27.244.0/24", &plugins.lines()).await
    else {
        return;
    };
    // The node says what it has, and what it has not is not placed.
    agent
        .wait("/v1/nodes", |nodes| {
            let id = nodes[0]["ID"].as_str()?;
            (!id.is_empty()).then_some(())
        })
        .await;
    let own = http::get(&agent.url("http", "/v1/agent/self")).await;
    let node = own["stats"]["client"]["node_id"].as_str().expect("a node");
    let path = format!("/v1/node/{node}");
    let node = agent
        .wait(&path, |node| {
            let version = &node["Attributes"]["plugins.cni.version.probe"];
            (version == "1.2.3").then(|| node.clone())
        })
        .await;
    let networks = node["NodeResources"]["Networks"].as_array();
    let modes: Vec<&Value> = networks
        .expect("networks")
        .iter()
        .map(|one| &one["Mode"])
        .collect();
    assert_eq!(modes, ["host", "cni/full", "cni/probe"]);
    std::fs::write(agent.dir().join("other.nomad"), plugged("other", "other")).expect("a job");
    let planned = command::trivet(&agent, &["job", "plan", "other.nomad"]).await;
    assert!(
        planned.stdout.contains("missing network"),
        "{}",
        planned.text()
    );

    // It is reached at the address that the plugin says.
    agent.register(&plugged("plugged", "probe")).await;
    let running = alloc(&agent, "plugged", "running").await;
    let id = running["ID"].as_str().expect("an id").to_owned();
    says("http://172.27.243.2:8080/", "hello").await;
    let status = agent
        .wait(&format!("/v1/allocation/{id}"), |alloc| {
            let status = &alloc["NetworkStatus"];
            status["Address"].as_str().map(|_| status.clone())
        })
        .await;
    assert_eq!(status["Address"], "172.27.243.2");
    assert_eq!(status["InterfaceName"], "eth0");
    assert_eq!(status["DNS"]["Servers"][0], "192.0.2.77");
    let resolver = machine.networks.join(&id).join("resolv.conf");
    let resolver = std::fs::read_to_string(resolver).expect("a file");
    assert!(resolver.contains("nameserver 192.0.2.77\n"), "{resolver}");
    let (command, _, args, input) = plugins.calls().remove(0);
    assert_eq!(command, "ADD");
    let mut args: Vec<&str> = args.split(';').collect();
    args.sort_unstable();
    let expected = [
        "IgnoreUnknown=true".to_owned(),
        format!("NOMAD_ALLOC_ID={id}"),
        "NOMAD_GROUP_NAME=g".to_owned(),
        "NOMAD_JOB_ID=plugged".to_owned(),
        "NOMAD_NAMESPACE=default".to_owned(),
        "NOMAD_REGION=global".to_owned(),
        "colour=g-blue".to_owned(),
    ];
    assert_eq!(args, expected);
    let ports = &input["runtimeConfig"]["portMappings"];
    let given = http::get(&agent.url("http", &format!("/v1/allocation/{id}"))).await;
    let port = &given["AllocatedResources"]["Shared"]["Ports"][0]["Value"];
    assert_eq!(ports[0]["hostPort"], *port);
    assert_eq!(ports[0]["containerPort"], 8080);
    assert_eq!(ports[1]["protocol"], "udp");

    // What a plugin says of its failure is told, and nothing is left of it.
    agent.register(&plugged("full", "full")).await;
    let failed = alloc(&agent, "full", "failed").await;
    let events = failed["TaskStates"]["server"]["Events"].to_string();
    let told =
        "network `full`: plugin `full` failed at ADD: no address: the range is full (code 11)";
    assert!(events.contains(told), "{events}");
    assert_eq!(
        machine.left(failed["ID"].as_str().expect("an id")).len(),
        1,
        "that of the other"
    );

    // The next agent asks whether it is there, and clears away what belongs to nobody.
    let nobody = "00000000-0000-4000-8000-000000000002";
    agent.kill().await;
    let dir = machine.networks.join(nobody);
    std::fs::create_dir(&dir).expect("a directory");
    let of_id = std::fs::read_to_string(machine.networks.join(&id).join("state"));
    std::fs::write(dir.join("state"), of_id.expect("a file")).expect("a copy");
    agent.start_again().await;
    eventually("the calls of the next agent", || async {
        let found = (plugins.commands(nobody), plugins.commands(&id));
        let (of_nobody, of_id) = (["DEL"].as_slice(), ["ADD", "CHECK"].as_slice());
        let is_whole = found.0 == of_nobody && found.1 == of_id && !dir.exists();
        is_whole.then_some(()).ok_or_else(|| format!("{found:?}"))
    })
    .await;
    says("http://172.27.243.2:8080/", "hello").await;
    for job in ["plugged", "full"] {
        command::trivet(&agent, &["job", "stop", "-purge", "-detach", job])
            .await
            .ok();
    }
    eventually("nothing left", || async {
        let mut left = machine.left(&id);
        let links = machine.ip(&["-o", "link", "show"]);
        left.extend(
            links
                .lines()
                .filter(|line| line.contains("tvc"))
                .map(str::to_owned),
        );
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    })
    .await;
    assert_eq!(plugins.commands(&id), ["ADD", "CHECK", "DEL"]);
}
