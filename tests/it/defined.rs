//! Services and checks that files of the machine define.

use crate::harness::{Agent, agent::Mode, command::trivet, eventually, http};
use nix::sys::signal::{Signal, kill};
use reqwest::{Method, StatusCode};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_define_services_and_are_read_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let define = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("a file");
    };
    define(
        "web.hcl",
        "service {\n  name = \"web\"\n  port = 80\n  tags = [\"v1\"]\n  check {\n    args = [\"/bin/sh\", \"-c\", \"echo well\"]\n    interval = \"1s\"\n  }\n}\n",
    );
    define(
        "beat.json",
        r#"{"check": {"name": "beat", "ttl": "1h", "status": "passing"}}"#,
    );
    let more = format!(
        "catalog {{\n  definitions = [\"{}\"]\n  enable_local_script_checks = true\n}}",
        dir.path().display()
    );
    let mut agent = Agent::start_with(Mode::Durable, &more).await;
    let output = agent
        .wait_catalog("/v1/health/service/web?passing", |found| {
            let checks = found[0]["Checks"].as_array()?;
            let own = checks.iter().find(|check| check["Type"] == "script")?;
            Some(own["Output"].clone())
        })
        .await;
    assert_eq!(output, "well\n");
    let script = json!({"Name": "s", "Args": ["/bin/true"], "Interval": "1s"});
    let url = agent.url("catalog", "/v1/agent/check/register");
    let refused = http::send(Method::PUT, &url, Some(&script)).await;
    assert_eq!(refused.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(refused.1.contains("enable_script_checks"), "{}", refused.1);

    define("web.hcl", "service {\n  name = \"api\"\n  port = 81\n}\n");
    kill(agent.pid(), Signal::SIGHUP).expect("the agent runs");
    agent
        .wait_catalog("/v1/catalog/services", |services| {
            (services.get("web").is_none() && services.get("api").is_some()).then_some(())
        })
        .await;
    define("web.hcl", "service {\n  prot = 1\n}\nother = 2\n");
    let refused = trivet(&agent, &["reload"]).await;
    assert_eq!(refused.code, 1);
    for problem in ["`prot` is no setting", "`other` is neither of"] {
        assert!(refused.stderr.contains(problem), "{}", refused.stderr);
    }
    let services = http::get(&agent.url("catalog", "/v1/agent/services")).await;
    assert_eq!(services["api"]["Port"], 81, "{services}");
    let path = dir.path().to_str().expect("a path");
    let checked = trivet(&agent, &["validate-services", path]).await;
    assert_eq!(checked.code, 1);
    define("web.hcl", "service {\n  name = \"api\"\n}\n");
    let checked = trivet(&agent, &["validate-services", path]).await.ok();
    assert_eq!(checked.stdout, "Configuration is valid!\n");
    agent.stop().await;
    agent.start_again().await;
    eventually("the files count again", async || {
        let services = http::get(&agent.url("catalog", "/v1/agent/services")).await;
        let is_there = services["api"]["Port"] == 0;
        is_there.then_some(()).ok_or_else(|| services.to_string())
    })
    .await;
}
