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
    let (ip, nft) = (need("ip", "iproute2")?, need("nft", "nftables")?);
    if !need_root() {
        return None;
    }
    let more = format!(
        "client {{\n bridge_network_name = \"{bridge}\"\n bridge_network_subnet = \"{subnet}\"\n \
         bridge_network_hairpin_mode = true\n}}\n"
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_addresses_are_few_and_what_an_agent_finds_is_brought_in_order() {
    // The bridge's address, and one more.
    let Some((mut agent, machine)) = agent("tvit1", "172.27.241.0/30").await else {
        return;
    };
    let links = async |agent: &Agent, job: &str| {
        let running = alloc(agent, job, "running").await;
        let id = running["ID"].as_str().expect("an id").to_owned();
        let text = eventually("its output", || async {
            let text = log(agent, &id, "main").await;
            text.contains("end").then_some(text.clone()).ok_or(text)
        })
        .await;
        (id, text)
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
        eventually("nothing left", || async {
            let left = machine.left(id);
            left.is_empty()
                .then_some(())
                .ok_or_else(|| format!("{left:?}"))
        })
        .await;
    }
}
