//! Tests that need a program that not every machine has. Each skips, loudly, where it is missing.

use crate::harness::{Agent, eventually, http};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The program, or a line that says what is missing.
pub(crate) fn need(program: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path
        .split(':')
        .map(|dir| Path::new(dir).join(program))
        .find(|file| file.is_file());
    if found.is_none() {
        // Straight to the terminal's stream: captured output of a passing test is never shown.
        let text = format!("\nSKIPPED: needs `{program}` (Debian package {package})\n");
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).ok();
    }
    found
}

const TODO_JAVA: &str = r#"
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

public class Todo {
    public static void main(String[] args) throws Exception {
        int port = Integer.getInteger("todo.http.port");
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.createContext("/", exchange -> {
            boolean todo = exchange.getRequestURI().getPath().equals("/todo");
            exchange.getResponseHeaders().add("X-Where", args[0]);
            exchange.sendResponseHeaders(todo ? 204 : 200, -1);
            exchange.close();
        });
        server.start();
    }
}
"#;

fn jar(dir: &Path, javac: &Path, jar: &Path) -> PathBuf {
    std::fs::write(dir.join("Todo.java"), TODO_JAVA).expect("a source file");
    let compiled = Command::new(javac)
        .args(["-d", ".", "Todo.java"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .status()
        .expect("javac starts");
    assert!(compiled.success());
    let classes = std::fs::read_dir(dir)
        .expect("a directory")
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".class"));
    let packed = Command::new(jar)
        .args(["--create", "--file", "todo.jar", "--main-class", "Todo"])
        .args(classes)
        .current_dir(dir)
        .status()
        .expect("jar starts");
    assert!(packed.success());
    dir.join("todo.jar")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_java_the_walkthrough_s_own_shape_runs_a_jar() {
    let (Some(javac), Some(packer)) = (
        need("javac", "default-jdk-headless"),
        need("jar", "default-jdk-headless"),
    ) else {
        return;
    };
    let agent = Agent::start().await;
    let jar = jar(agent.dir(), &javac, &packer);
    // A task-level service, an unnamed check, and the network block behind the task.
    let text = format!(
        r#"
job "todo" {{
  datacenters = ["dc1"]
  group "todo" {{
    count = 2
    task "todo" {{
      driver = "java"
      artifact {{
        source = "{jar}"
      }}
      config {{
        jar_path    = "local/todo.jar"
        jvm_options = ["-Xmx64m", "-Dtodo.http.port=${{NOMAD_PORT_http}}"]
        args        = ["${{NOMAD_IP_http}}:${{NOMAD_PORT_http}}"]
      }}
      resources {{
        cpu    = 100
        memory = 128
      }}
      service {{
        name = "todo"
        port = "http"
        tags = ["urlprefix-/todo"]
        check {{
          type     = "http"
          path     = "/"
          interval = "2s"
          timeout  = "2s"
        }}
      }}
    }}
    network {{
      port "http" {{}}
    }}
  }}
}}
"#,
        jar = jar.display()
    );
    // The driver is found out while the agent runs.
    agent
        .wait("/v1/nodes", |nodes| {
            (nodes[0]["Drivers"]["java"]["Healthy"] == true).then_some(())
        })
        .await;
    let parsed = http::put(
        &agent.url("http", "/v1/jobs/parse"),
        &json!({"JobHCL": text}),
    )
    .await;
    http::put(&agent.url("http", "/v1/jobs"), &json!({"Job": parsed})).await;
    crate::walkthrough::targets(&agent, "todo", 2).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let response = http::client()
            .request(Method::GET, agent.url("ingress", "/todo"))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        seen.insert(
            response.headers()["x-where"]
                .to_str()
                .expect("text")
                .to_owned(),
        );
    }
    assert_eq!(seen.len(), 2, "both instances answer: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needs_redis_the_example_answers_a_ping() {
    if need("redis-server", "redis-server").is_none() {
        return;
    }
    let agent = Agent::start().await;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/examples/redis.nomad");
    let text = std::fs::read_to_string(example).expect("the example");
    let parsed = http::put(
        &agent.url("http", "/v1/jobs/parse"),
        &json!({"JobHCL": text}),
    )
    .await;
    http::put(&agent.url("http", "/v1/jobs"), &json!({"Job": parsed})).await;
    let port = agent
        .wait_catalog("/v1/health/service/redis?passing", |entries| {
            entries[0]["Service"]["Port"].as_u64()
        })
        .await;
    let answer = eventually("a pong", || async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut socket = tokio::net::TcpStream::connect(format!("127.0.0.1:{port}"))
            .await
            .map_err(|error| error.to_string())?;
        socket
            .write_all(b"PING\r\n")
            .await
            .map_err(|error| error.to_string())?;
        let mut answer = [0; 7];
        socket
            .read_exact(&mut answer)
            .await
            .map_err(|error| error.to_string())?;
        Ok(answer)
    })
    .await;
    assert_eq!(&answer, b"+PONG\r\n");
}

/// True for root; otherwise prints what is missing.
pub(crate) fn need_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        std::io::Write::write_all(&mut std::io::stderr(), b"\nSKIPPED: needs root\n").ok();
    }
    is_root
}
