//! Tasks in containers of a real daemon, which is started here.

use crate::{
    harness::{Agent, agent::Mode, command, daemon::Daemon, eventually, http},
    needs::need,
};
use serde_json::Value;
use std::path::Path;

async fn agent_of(daemon: &Daemon) -> Agent {
    let settings = format!(
        "plugin \"docker\" {{\n  config {{\n    endpoint = \"{}\"\n    volumes {{ enabled = true }}\n  }}\n}}\n\
         client {{\n  bridge_network_name = \"tvit2\"\n  bridge_network_subnet = \"172.27.242.0/24\"\n}}\n",
        daemon.socket()
    );
    Agent::start_with(Mode::Durable, &settings).await
}

async fn alloc(agent: &Agent, job: &str, status: &str) -> Value {
    agent
        .wait(&format!("/v1/job/{job}/allocations"), |allocs| {
            let all = allocs.as_array()?;
            all.iter()
                .find(|alloc| alloc["ClientStatus"] == status)
                .cloned()
        })
        .await
}

/// What a task's file holds, once it holds something.
async fn log(agent: &Agent, alloc: &Value, stream: &str) -> String {
    let id = alloc["ID"].as_str().expect("an id").to_owned();
    let url = agent.url(
        "http",
        &format!("/v1/client/fs/logs/{id}?task=main&type={stream}&plain=true"),
    );
    eventually("a log", || {
        let url = url.clone();
        async move {
            let answer = http::client()
                .get(&url)
                .send()
                .await
                .map_err(|error| error.to_string())?;
            let is_there = answer.status().is_success();
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if !is_there {
                return Err(text);
            }
            if text.is_empty() {
                Err("nothing yet".into())
            } else {
                Ok(text)
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_docker_a_task_lives_in_a_container_and_nothing_is_left_of_it() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let mut agent = agent_of(&daemon).await;
    agent
        .wait("/v1/nodes", |nodes| {
            (nodes[0]["Drivers"]["docker"]["Healthy"] == true).then_some(())
        })
        .await;
    let script = "echo to-out $NOMAD_TASK_NAME; echo to-err >&2; trap 'exit 7' USR1; while :; do sleep 0.1; done";
    agent
        .register(&format!(
            r#"
job "box" {{
  group "g" {{
    task "main" {{
      driver = "docker"
      user   = "nobody"
      config {{
        image        = "local/shell:1"
        network_mode = "none"
        command      = "sh"
        args         = ["-c", "{script}"]
        labels {{ mine = "yes" }}
      }}
      resources {{
        cpu    = 50
        memory = 40
      }}
    }}
  }}
}}
"#
        ))
        .await;
    let running = alloc(&agent, "box", "running").await;
    let id = running["ID"].as_str().expect("an id").to_owned();
    assert_eq!(log(&agent, &running, "stdout").await, "to-out main\n");
    assert_eq!(log(&agent, &running, "stderr").await, "to-err\n");
    let name = format!("main-{id}");
    let limits = daemon.docker(&[
        "inspect",
        "-f",
        "{{.HostConfig.Memory}} {{.Config.User}} {{.Config.Labels.mine}}",
        &name,
    ]);
    assert_eq!(limits.as_deref(), Some("41943040 nobody yes\n"));
    // The agent goes and comes back; the container does not notice.
    let before = daemon.docker(&["inspect", "-f", "{{.Id}} {{.State.Pid}}", &name]);
    agent.kill().await;
    agent.start_again().await;
    let stats = agent
        .wait(&format!("/v1/client/allocation/{id}/stats"), |stats| {
            let memory = &stats["Tasks"]["main"]["ResourceUsage"]["MemoryStats"];
            (memory["Usage"].as_u64()? > 0).then(|| memory.clone())
        })
        .await;
    assert!(stats["Measured"].to_string().contains("Usage"), "{stats}");
    assert_eq!(
        daemon.docker(&["inspect", "-f", "{{.Id}} {{.State.Pid}}", &name]),
        before
    );
    let script = "id -un; echo oops >&2; exit 3";
    let exec = [
        "alloc", "exec", "-i=false", "-t=false", &id, "sh", "-c", script,
    ];
    let inside = command::trivet(&agent, &exec).await;
    assert_eq!(
        (inside.code, &*inside.stdout, &*inside.stderr),
        (3, "nobody\n", "oops\n")
    );
    let signaled = command::trivet(&agent, &["alloc", "signal", "-s", "SIGUSR1", &id]).await;
    signaled.ok();
    // It is restarted by the policy, and says what it kept.
    let again = agent
        .wait(&format!("/v1/allocation/{id}"), |alloc| {
            (alloc["TaskStates"]["main"]["Restarts"].as_u64()? >= 1).then(|| alloc.clone())
        })
        .await;
    let events = again["TaskStates"]["main"]["Events"].to_string();
    assert!(events.contains("Exit Code: 7"), "{events}");
    let stopped = command::trivet(&agent, &["job", "stop", "-purge", "-detach", "box"]).await;
    stopped.ok();
    if need("ip", "iproute2").is_some() && need("nft", "nftables").is_some() {
        shares_a_network(&agent).await;
    }
    eventually("no container", || async {
        match daemon.docker(&["ps", "-aq"]) {
            Some(left) if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
}

/// A container and a program of the machine find each other over loopback, and others find the
/// container through a port of the host.
async fn shares_a_network(agent: &Agent) {
    agent
        .register(
            r#"
job "shared" {
  group "g" {
    network {
      mode = "bridge"
      port "http" { to = 8080 }
    }
    task "server" {
      driver = "docker"
      config {
        image   = "local/shell:1"
        command = "trivet"
        args    = ["echo", "-listen", "0.0.0.0:8080", "-text", "from-a-container"]
        ports   = ["http"]
      }
      resources { memory = 64 }
    }
    task "main" {
      driver = "raw_exec"
      config {
        command = "bash"
        args    = ["-c", <<EOS
until exec 3<>/dev/tcp/127.0.0.1/8080; do sleep 0.05; done 2>/dev/null
printf 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
tail -n 1 <&3
exec sleep 10000
EOS
        ]
      }
      resources { memory = 32 }
    }
  }
}
"#,
        )
        .await;
    let running = alloc(agent, "shared", "running").await;
    assert_eq!(log(agent, &running, "stdout").await, "from-a-container");
    let id = running["ID"].as_str().expect("an id");
    let whole = http::get(&agent.url("http", &format!("/v1/allocation/{id}"))).await;
    let port = whole["AllocatedResources"]["Shared"]["Ports"][0]["Value"].as_u64();
    let url = format!("http://127.0.0.1:{}/", port.expect("a port"));
    let answer = http::client().get(&url).send().await.expect("an answer");
    assert_eq!(answer.text().await.expect("text"), "from-a-container");
    let stop = ["job", "stop", "-purge", "-detach", "shared"];
    command::trivet(agent, &stop).await.ok();
    eventually("no namespace", || async {
        let is_gone = !Path::new("/run/netns").join(id).exists();
        is_gone
            .then_some(())
            .ok_or_else(|| "it is there".to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_docker_what_cannot_run_says_why() {
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let agent = agent_of(&daemon).await;
    for (job, config, memory, expected) in [
        (
            "lost",
            "image = \"local/none:1\"",
            40,
            "Failed to pull `local/none:1`",
        ),
        (
            "wrong",
            "image = \"local/shell:1\"\ncolour = \"red\"",
            40,
            "no option named `colour`",
        ),
        (
            "hungry",
            "image = \"local/shell:1\"\nnetwork_mode = \"none\"\ncommand = \"sh\"\nargs = [\"-c\", \"x=a; while :; do x=$x$x; done\"]",
            20,
            "OOM Killed",
        ),
    ] {
        agent.register(&format!(
                "job \"{job}\" {{\n type = \"batch\"\n group \"g\" {{\n restart {{ attempts = 0 }}\n reschedule {{ attempts = 0 }}\n \
                 task \"main\" {{\n driver = \"docker\"\n config {{\n {config}\n }}\n resources {{ memory = {memory} }}\n }}\n }}\n}}"
            ),
        )
        .await;
        let failed = alloc(&agent, job, "failed").await;
        let events = failed["TaskStates"]["main"]["Events"].to_string();
        assert!(events.contains(expected), "{job}: {events}");
    }
}
