//! Templates of tasks: rendered before the start, and again whenever what they read changes. The
//! tokens of tasks, which are given in the same way.

use crate::{
    cluster::Addresses,
    harness::{
        Agent, Echo,
        agent::Mode,
        command::{Output, trivet},
        eventually, http,
    },
    walkthrough::targets,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, SystemTime},
};

/// A job whose template answers with what `data` gives, as `TEXT`.
fn job(id: &str, data: &str, more: &str) -> Echo {
    let mut job = Echo::new(id, 1);
    job.text = "${TEXT}".into();
    job.task = format!(
        r#"
      kill_timeout = "5s"
      template {{
        data        = <<-EOT
        {data}
        EOT
        destination = "secrets/text.env"
        env         = true
        splay       = "0s"
        {more}
      }}
"#
    );
    job
}

/// Waits until the job answers with `text`.
async fn answers(agent: &Agent, job: &Echo, text: &str) {
    let url = agent.url("ingress", &format!("/{}", job.id));
    let url = &url;
    eventually(text, || async move {
        let (_, body) = http::send(Method::GET, url, None).await;
        if body == text { Ok(()) } else { Err(body) }
    })
    .await;
}

async fn set_key(agent: &Agent, key: &str, value: &str) {
    let url = agent.url("catalog", &format!("/v1/kv/{key}"));
    let set = reqwest::Client::new()
        .put(url)
        .body(value.to_owned())
        .send()
        .await;
    assert!(set.expect("an answer").status().is_success());
}

/// Waits until the task of the job's one allocation has an event that reads so.
async fn told(agent: &Agent, job: &str, text: &str) -> Value {
    let path = format!("/v1/job/{job}/allocations");
    agent
        .wait(&path, |allocs| {
            let alloc = allocs.get(0)?;
            let events = alloc["TaskStates"]["server"]["Events"].as_array()?;
            let mut texts = events
                .iter()
                .filter_map(|one| one["DisplayMessage"].as_str());
            texts.any(|one| one.contains(text)).then(|| alloc.clone())
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_variables_are_there_when_a_task_starts() {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 1);
    job.text = "${W0}, ${W1}".into();
    job.task = r#"
      template {
        data        = <<-EOT
          {{- range $at, $word := env "WORDS" | split "," }}
          W{{ $at }}="{{ $word | toUpper }} of {{ env "NOMAD_GROUP_NAME" }}"
          {{- end }}
        EOT
        destination = "secrets/words.env"
        perms       = "0600"
        env         = true
      }
      template {
        data            = "on [[ env \"NOMAD_PORT_http\" ]] {{ untouched }}"
        destination     = "local/deep/port"
        left_delimiter  = "[["
        right_delimiter = "]]"
      }
      env {
        WORDS = "one,two"
      }
"#
    .into();
    job.run(&agent).await;
    let (_, body) = http::send(Method::GET, &agent.url("ingress", "/web"), None).await;
    assert_eq!(body, "ONE of web, TWO of web");
    let alloc = job.running(&agent, 1).await[0]["ID"]
        .as_str()
        .expect("an id")
        .to_owned();
    let file = trivet(&agent, &["alloc", "fs", &alloc, "server/local/deep/port"])
        .await
        .ok();
    let port = file.stdout.strip_prefix("on ");
    let port = port.and_then(|rest| rest.strip_suffix(" {{ untouched }}"));
    assert!(
        port.is_some_and(|port| port.parse::<u16>().is_ok()),
        "{}",
        file.stdout
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_waits_for_a_key_and_restarts_when_it_changes() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let web = job("web", "TEXT={{ key \"app/text\" }}", "");
    web.register(&agent).await;
    told(&agent, "web", "Missing: kv.block(app/text)").await;
    set_key(&agent, "app/text", "one").await;
    answers(&agent, &web, "one").await;
    for value in ["two", "three"] {
        set_key(&agent, "app/text", value).await;
    }
    answers(&agent, &web, "three").await;
    let alloc = told(
        &agent,
        "web",
        "Template with change_mode restart re-rendered",
    )
    .await;
    assert_eq!(alloc["TaskStates"]["server"]["Failed"], json!(false));
    // An agent that comes back finds that nothing changed: only the next value starts the task.
    let stopped = SystemTime::now();
    agent.stop().await;
    agent.start_again().await;
    answers(&agent, &web, "three").await;
    set_key(&agent, "app/text", "four").await;
    answers(&agent, &web, "four").await;
    // A start is told when the task may answer already; that it is wanted is told before.
    let restarts = |allocs: &[Value]| {
        let events = allocs[0]["TaskStates"]["server"]["Events"].as_array();
        let later = events.expect("events").iter().filter(|event| {
            let at = Duration::from_nanos(event["Time"].as_u64().expect("a time"));
            SystemTime::UNIX_EPOCH + at > stopped && event["Type"] == "Restart Signaled"
        });
        later.count()
    };
    let seen = eventually("the restart", || async {
        let seen = restarts(&web.running(&agent, 1).await);
        if seen > 0 {
            Ok(seen)
        } else {
            Err(String::new())
        }
    })
    .await;
    assert_eq!(seen, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_reads_its_variables_and_the_services_of_others() {
    let agent = Agent::start().await;
    Echo::new("db", 2).run(&agent).await;
    let data = "TEXT=\"{{ with nomadVar \"nomad/jobs/web\" }}{{ .user }}/{{ .password.Value }}{{ end }} {{ service \"db\" | len }} \
                {{ range nomadServices }}{{ if ne .Name \"web\" }}{{ .Name }} {{ end }}{{ end }}\"";
    let web = job("web", data, "");
    web.register(&agent).await;
    told(&agent, "web", "Missing: nomad.var.block(nomad/jobs/web)").await;
    trivet(
        &agent,
        &["var", "put", "nomad/jobs/web", "user=me", "password=x"],
    )
    .await
    .ok();
    answers(&agent, &web, "me/x 2 db ").await;
    trivet(
        &agent,
        &[
            "var",
            "put",
            "-force",
            "nomad/jobs/web",
            "user=you",
            "password=y",
        ],
    )
    .await
    .ok();
    answers(&agent, &web, "you/y 2 db ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_send_signals_and_run_scripts_in_the_task() {
    let agent = Agent::start().await;
    set_key(&agent, "a", "1").await;
    let script = r#"
job "notes" {
  group "web" {
    task "server" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "trap 'echo signal >> local/notes' USR1; echo begin >> local/notes; while true; do sleep 0.05; done"]
      }
      template {
        data          = "{{ key \"a\" }}"
        destination   = "local/signal"
        change_mode   = "signal"
        change_signal = "SIGUSR1"
        splay         = "0s"
      }
      template {
        data        = "{{ keyOrDefault \"b\" \"none\" }}"
        destination = "local/script"
        change_mode = "script"
        splay       = "0s"
        change_script {
          command = "/bin/sh"
          args    = ["-c", "echo script $(cat local/script) >> local/notes"]
        }
      }
      template {
        data        = "{{ key \"a\" }}"
        destination = "local/noop"
        change_mode = "noop"
      }
      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
"#;
    agent.register(script).await;
    let started = told(&agent, "notes", "Task started by client").await;
    let alloc = started["ID"].as_str().expect("an id").to_owned();
    let url = format!("/v1/client/fs/cat/{alloc}?path=server/local/notes");
    let url = &agent.url("http", &url);
    let notes = async |wanted: &str| {
        eventually(wanted, || async move {
            let (_, read) = http::send(Method::GET, url, None).await;
            if read == wanted { Ok(()) } else { Err(read) }
        })
        .await;
    };
    notes("begin\n").await;
    set_key(&agent, "a", "2").await;
    notes("begin\nsignal\n").await;
    set_key(&agent, "b", "new").await;
    notes("begin\nsignal\nscript new\n").await;
    told(&agent, "notes", "Template successfully ran script /bin/sh").await;
    eventually("the template that nobody is told of", || async {
        let noop = trivet(&agent, &["alloc", "fs", &alloc, "server/local/noop"]).await;
        let noop = noop.ok().stdout;
        (noop == "2").then_some(()).ok_or(noop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_template_fails_its_task_with_the_reason() {
    let agent = Agent::start().await;
    let web = job("web", "{{ secret \"a\" }}", "");
    web.register(&agent).await;
    let alloc = told(&agent, "web", "Template failed: secrets/text.env: ").await;
    let path = format!("/v1/allocation/{}", alloc["ID"].as_str().expect("an id"));
    agent
        .wait(&path, |alloc| {
            (alloc["TaskStates"]["server"]["Failed"] == true).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_gets_the_tokens_that_it_asks_for() {
    let issuer = "https://trivet.example.com";
    let config = format!("server {{\n oidc_issuer = \"{issuer}/\"\n}}");
    let agent = Agent::start_with(Mode::Dev, &config).await;
    let mut web = Echo::new("web", 1);
    web.text = "${NOMAD_TOKEN} ${NOMAD_UNIX_ADDR}".into();
    web.task = r#"
      kill_timeout = "5s"
      identity {
        env  = true
        file = true
      }
      identity {
        name = "cloud"
        aud  = ["example.com"]
        file = true
        ttl  = "1h"
      }
"#
    .into();
    web.run(&agent).await;
    let (_, told) = http::send(Method::GET, &agent.url("ingress", "/web"), None).await;
    let (token, socket) = told.split_once(' ').expect("both");
    let part = |token: &str, at: usize| -> Value {
        let part = token.split('.').nth(at).expect("three parts");
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let claims = part(token, 1);
    assert_eq!(claims["sub"], "global:default:web:web:server:default");
    assert_eq!(claims["iss"], issuer);
    let path = "/.well-known/openid-configuration";
    let found = http::get(&agent.url("http", path)).await;
    assert_eq!(found["issuer"], issuer);
    assert_eq!(found["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
    let keys = http::get(&agent.url("http", "/.well-known/jwks.json")).await;
    assert_eq!(keys["keys"][0]["kid"], part(token, 0)["kid"]);
    assert_eq!(keys["keys"][0]["alg"], "EdDSA");
    // Files of secrets are for the task alone.
    let alloc = web.running(&agent, 1).await[0]["ID"]
        .as_str()
        .expect("an id")
        .to_owned();
    let shown = trivet(
        &agent,
        &["alloc", "fs", &alloc, "server/secrets/nomad_token"],
    )
    .await;
    assert_ne!(shown.code, 0);
    let secrets = agent
        .dir()
        .join(format!("data/alloc/{alloc}/server/secrets"));
    let read = |name: &str| std::fs::read_to_string(secrets.join(name)).expect("a file");
    assert_eq!(read("nomad_token"), token);
    let cloud = part(&read("nomad_cloud.jwt"), 1);
    assert_eq!(cloud["aud"], json!(["example.com"]));
    let (issued, expires) = (cloud["iat"].as_u64(), cloud["exp"].as_u64());
    assert_eq!(issued.expect("a time") + 3600, expires.expect("a time"));

    // The API answers in the task, to those who show its token.
    let path = secrets.join("api.sock");
    assert_eq!(socket, format!("unix://{}", path.display()));
    let found = std::fs::symlink_metadata(&path).expect("a socket");
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let jobs = asked_at(&agent, socket, token).await.ok();
    assert!(jobs.stdout.contains("web"), "{}", jobs.stdout);
    for (token, status) in [
        ("", "401 (a token of a task is needed here"),
        ("x", "403 (the token is none of a task)"),
        (
            &read("nomad_cloud.jwt"),
            "403 (the token is for somebody else",
        ),
    ] {
        let refused = asked_at(&agent, socket, token).await;
        assert_eq!(refused.code, 1, "{}", refused.text());
        assert!(refused.text().contains(status), "{}", refused.text());
    }
}

/// What `job status` prints at a task's socket.
async fn asked_at(agent: &Agent, socket: &str, token: &str) -> Output {
    let words = ["job", "status", "-address", socket, "-token", token];
    trivet(agent, &words).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_reaches_an_agent_without_a_server_also_after_its_restart() {
    let addresses = Addresses::for_servers(1);
    let server = addresses.start().await.remove(0);
    let mut client = addresses.start_client().await;
    let mut web = Echo::new("web", 1);
    web.text = "${NOMAD_TOKEN} ${NOMAD_UNIX_ADDR}".into();
    web.task = "identity {\n env = true\n}\n".into();
    web.run(&server).await;
    targets(&client, "web", 1).await;
    let (_, told) = http::send(Method::GET, &client.url("ingress", "/web"), None).await;
    let (token, socket) = told.split_once(' ').expect("both");
    let jobs = asked_at(&client, socket, token).await.ok();
    assert!(jobs.stdout.contains("web"), "{}", jobs.stdout);
    client.kill().await;
    let gone = asked_at(&client, socket, token).await;
    assert_eq!(gone.code, 1, "{}", gone.text());
    client.start_again().await;
    eventually("the socket answers", async || {
        let jobs = asked_at(&client, socket, token).await;
        let is_there = jobs.code == 0 && jobs.stdout.contains("web");
        is_there.then_some(()).ok_or_else(|| jobs.text())
    })
    .await;
    targets(&client, "web", 1).await;
    let (_, again) = http::send(Method::GET, &client.url("ingress", "/web"), None).await;
    assert_eq!(again, told, "the task went on");
}
