//! Programs in a root of their own: what they see, what they may do, what they are held to, and
//! that nothing is left of them. Each test needs root and skips, loudly, without.

use crate::{
    harness::{Agent, agent::Mode, command, eventually, http},
    needs::{need_cores, need_root},
};
use serde_json::Value;

async fn run(agent: &Agent, job: &str, more: &str, script: &str) -> Value {
    let hcl = format!(
        r#"
job "{job}" {{
  type = "batch"
  group "g" {{
    restart {{ attempts = 0 }}
    reschedule {{ attempts = 0 }}
    task "main" {{
      driver = "exec"
      {more}
      config {{
        command = "sh"
        args    = ["-c", <<EOS
{script}
EOS
        ]
      }}
      resources {{
        cpu    = 50
        memory = 32
      }}
    }}
  }}
}}
"#
    );
    agent.register(&hcl).await;
    agent
        .wait(&format!("/v1/job/{job}/allocations"), |allocs| {
            let alloc = &allocs.as_array()?.first()?;
            let status = alloc["ClientStatus"].as_str()?;
            ["complete", "failed", "running"]
                .contains(&status)
                .then(|| (*alloc).clone())
        })
        .await
}

async fn output(agent: &Agent, alloc: &Value) -> String {
    let id = alloc["ID"].as_str().expect("an id");
    agent
        .wait(&format!("/v1/allocation/{id}"), |alloc| {
            (alloc["ClientStatus"] != "running").then_some(())
        })
        .await;
    let path = format!("/v1/client/fs/logs/{id}?task=main&type=stdout&plain=true");
    let answer = http::client()
        .get(agent.url("http", &path))
        .send()
        .await
        .expect("an answer");
    answer.text().await.expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_task_sees_itself_and_little_else() {
    if !need_root() {
        return;
    }
    let agent = Agent::start().await;
    let script = "echo pid $$\necho user $(id -un)\necho root $(ls /)\necho env $NOMAD_TASK_DIR $NOMAD_ALLOC_DIR\n\
                  cat /etc/shadow >/dev/null 2>&1 || echo no shadow\ntouch /etc/x 2>/dev/null || echo no etc\n\
                  mkdir /local/mnt; mount -t tmpfs none /local/mnt 2>/dev/null || echo no mount\n\
                  unshare -U true 2>/dev/null || echo no unshare\ngrep -E 'NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\n\\t'; echo\n\
                  echo secret > /secrets/s && cat /secrets/s\necho shared > /alloc/data/d && echo dev $(ls /dev | tr '\\n' ' ')\n\
                  echo x > /proc/sys/kernel/hostname 2>/dev/null || echo no sys\necho processes $(ls -d /proc/[0-9]* | wc -l)";
    let alloc = run(&agent, "see", "", script).await;
    let text = output(&agent, &alloc).await;
    let line = |start: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(start));
        lines
            .next()
            .unwrap_or_else(|| panic!("no `{start}` in {text}"))
            .trim()
            .to_owned()
    };
    assert_eq!(line("pid"), "1");
    assert_eq!(line("user"), "nobody");
    let root = line("root");
    assert!(
        root.contains("alloc bin dev etc") && !root.contains("root"),
        "{root}"
    );
    assert_eq!(line("env"), "/local /alloc");
    for refusal in [
        "no shadow",
        "no etc",
        "no mount",
        "no unshare",
        "no sys",
        "secret",
    ] {
        assert!(
            text.lines().any(|line| line == refusal),
            "{refusal}: {text}"
        );
    }
    assert_eq!(line("NoNewPrivs:1Seccomp:"), "2");
    assert!(line("dev").contains("null ptmx pts"), "{text}");
    let count: u32 = line("processes").parse().expect("a number");
    assert!(count < 10, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_task_runs_on_the_cores_that_it_asks_for() {
    if !need_root() || !need_cores(2) {
        return;
    }
    let agent = Agent::start().await;
    let task = |name: &str, driver: &str| {
        format!(
            "task \"{name}\" {{\n driver = \"{driver}\"\n config {{\n command = \"sh\"\n args = [\"-c\", \"echo $NOMAD_CPU_CORES \
             $(grep Cpus_allowed_list /proc/self/status)\"]\n }}\n resources {{\n cores = 1\n memory = 32\n }}\n }}\n"
        )
    };
    let hcl = format!(
        "job \"cores\" {{\n type = \"batch\"\n group \"g\" {{\n {}{} }}\n}}",
        task("a", "exec"),
        task("b", "raw_exec")
    );
    agent.register(&hcl).await;
    let alloc = agent
        .wait("/v1/job/cores/allocations", |allocs| {
            let alloc = allocs.as_array()?.first()?;
            (alloc["ClientStatus"] == "complete").then(|| alloc.clone())
        })
        .await;
    let id = alloc["ID"].as_str().expect("an id");
    for (task, core) in [("a", "0"), ("b", "1")] {
        let path = format!("/v1/client/fs/logs/{id}?task={task}&type=stdout&plain=true");
        let (_, text) = http::send(reqwest::Method::GET, &agent.url("http", &path), None).await;
        assert_eq!(
            text,
            format!("{core} Cpus_allowed_list: {core}\n"),
            "{task}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_too_much_memory_ends_a_task_and_is_told() {
    if !need_root() {
        return;
    }
    let agent = Agent::start().await;
    let alloc = run(
        &agent,
        "hungry",
        "",
        "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done",
    )
    .await;
    let id = alloc["ID"].as_str().expect("an id");
    let ended = agent
        .wait(&format!("/v1/allocation/{id}"), |alloc| {
            (alloc["ClientStatus"] == "failed").then(|| alloc.clone())
        })
        .await;
    let events = ended["TaskStates"]["main"]["Events"].to_string();
    assert!(
        events.contains("OOM Killed") && events.contains("Signal: 9"),
        "{events}"
    );
    // The user `root` is not for tasks.
    let refused = run(&agent, "root", "user = \"root\"", "true").await;
    let events = refused["TaskStates"]["main"]["Events"].to_string();
    assert!(events.contains("is disallowed"), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_task_outlives_the_agent_and_leaves_nothing() {
    if !need_root() {
        return;
    }
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let script = "trap 'exit 0' INT; sleep 1000 & echo up; while :; do sleep 0.05; done";
    let alloc = run(&agent, "stay", "kill_timeout = \"5s\"", script).await;
    let id = alloc["ID"].as_str().expect("an id").to_owned();
    eventually("its output", || async {
        let path = format!("/v1/client/fs/logs/{id}?task=main&type=stdout&plain=true");
        let answer = http::client().get(agent.url("http", &path)).send().await;
        let text = answer.map_err(|error| error.to_string())?.text().await;
        let text = text.map_err(|error| error.to_string())?;
        if text == "up\n" { Ok(()) } else { Err(text) }
    })
    .await;
    agent.kill().await;
    agent.start_again().await;
    // What is counted for its control groups.
    agent
        .wait(&format!("/v1/client/allocation/{id}/stats"), |stats| {
            let usage = &stats["Tasks"]["main"]["ResourceUsage"];
            (usage["MemoryStats"]["Usage"].as_u64()? > 0).then_some(())
        })
        .await;
    let inside = command::trivet(
        &agent,
        &[
            "alloc",
            "exec",
            "-i=false",
            "-t=false",
            &id,
            "sh",
            "-c",
            "id -un; ls /local; echo oops >&2; exit 3",
        ],
    )
    .await;
    assert_eq!(
        (inside.code, inside.stdout.as_str()),
        (3, "nobody\n"),
        "{inside:?}"
    );
    assert_eq!(inside.stderr, "oops\n");
    command::trivet(&agent, &["job", "stop", "-purge", "-detach", "stay"])
        .await
        .ok();
    eventually("nothing left", || async {
        let processes = agent.task_processes();
        let mounts =
            std::fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let of_agent = mounts
            .lines()
            .filter(|line| line.contains(&*agent.dir().to_string_lossy()))
            .count();
        if processes.is_empty() && of_agent == 0 {
            Ok(())
        } else {
            Err(format!("{processes:?}, {of_agent} mounts"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_root_a_volume_of_the_host_is_mounted_and_kept() {
    if !need_root() {
        return;
    }
    let volume = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(
        volume.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .expect("a mode");
    std::fs::write(volume.path().join("before"), "old\n").expect("a file");
    let more = format!(
        "client {{\n host_volume \"data\" {{\n path = \"{0}\"\n }}\n host_volume \"certs\" {{\n path = \"{0}\"\n \
         read_only = true\n }}\n}}\n",
        volume.path().display()
    );
    let agent = Agent::start_with(Mode::Dev, &more).await;
    let node = http::get(&agent.url("http", "/v1/nodes")).await;
    assert_eq!(node[0]["HostVolumes"]["certs"]["ReadOnly"], true, "{node}");
    let hcl = |source: &str| {
        format!(
            r#"
job "{source}" {{
  type = "batch"
  group "g" {{
    restart {{ attempts = 0 }}
    reschedule {{ attempts = 0 }}
    volume "v" {{
      type   = "host"
      source = "{source}"
    }}
    task "main" {{
      driver = "exec"
      volume_mount {{
        volume      = "v"
        destination = "/srv/v"
      }}
      config {{
        command = "sh"
        args    = ["-c", "cat /srv/v/before; echo new > /srv/v/after"]
      }}
      resources {{ memory = 32 }}
    }}
  }}
}}
"#
        )
    };
    for source in ["data", "certs"] {
        let text = hcl(source);
        agent.register(&text).await;
    }
    agent
        .wait("/v1/job/data/allocations", |allocs| {
            (allocs[0]["ClientStatus"] == "complete").then_some(())
        })
        .await;
    let kept = std::fs::read_to_string(volume.path().join("after")).expect("a file");
    assert_eq!(kept, "new\n");
    // Nobody may write to the other one, and the job did not say that it only reads.
    let evaluation = agent
        .wait("/v1/job/certs/evaluations", |evals| {
            let failed = &evals
                .as_array()?
                .iter()
                .find(|eval| !eval["FailedTGAllocs"]["g"].is_null())?;
            Some(failed["FailedTGAllocs"]["g"]["ConstraintFiltered"].to_string())
        })
        .await;
    assert!(
        evaluation.contains("missing compatible host volumes"),
        "{evaluation}"
    );
}
