//! Networks of the host that ports ask for by name: addresses of this machine's loopback interface,
//! all of which are its own.

use crate::harness::{
    Agent,
    agent::{Mode, TRIVET},
    http,
};
use reqwest::Method;
use serde_json::Value;

/// Two networks beside 127.0.0.1, and one that this machine has no address of.
const NETWORKS: &str = r#"
client {
  host_network "public" {
    cidr           = "127.0.0.2/32"
    reserved_ports = "22"
  }
  host_network "private" {
    interface = "lo"
    cidr      = "127.0.0.3/32"
  }
  host_network "elsewhere" { cidr = "203.0.113.77/32" }
}
"#;

/// A server on the port of that name.
fn server(port: &str) -> String {
    format!(
        r#"
    task "{port}" {{
      driver = "raw_exec"
      service {{
        name = "web-{port}"
        port = "{port}"
        tags = ["urlprefix-/{port}"]
        check {{
          type     = "http"
          path     = "/health"
          interval = "1s"
          timeout  = "10s"
        }}
      }}
      config {{
        command = "{TRIVET}"
        args    = ["echo", "-listen", "${{NOMAD_ADDR_{port}}}", "-text", "{port}"]
      }}
      resources {{ memory = 20 }}
    }}"#
    )
}

/// A job with servers on these ports, each with its lines.
fn job(id: &str, ports: &[(&str, String)]) -> String {
    let lines = ports
        .iter()
        .map(|(name, lines)| format!("port \"{name}\" {{\n{lines}\n}}\n"));
    let (lines, servers): (String, String) = (
        lines.collect(),
        ports.iter().map(|(name, _)| server(name)).collect(),
    );
    format!("job \"{id}\" {{\ngroup \"web\" {{\nnetwork {{\n{lines}}}\n{servers}\n}}\n}}\n")
}

/// Why nothing of a job is placed.
async fn unplaced(agent: &Agent, hcl: &str) -> Value {
    let answer = agent.register(hcl).await;
    let eval = answer["EvalID"].as_str().expect("an evaluation").to_owned();
    agent
        .wait(&format!("/v1/evaluation/{eval}"), |eval| {
            let metrics = &eval["FailedTGAllocs"]["web"];
            metrics.is_object().then(|| metrics.clone())
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_port_number_is_given_on_each_network_of_the_host() {
    let agent = Agent::start_with(Mode::Dev, NETWORKS).await;
    let said = agent.said();
    let absent = "`client.host_network \"elsewhere\"`: this machine has no address like that";
    assert!(said.contains(absent), "{said}");
    let nodes = http::get(&agent.url("http", "/v1/nodes")).await;
    let id = nodes[0]["ID"].as_str().expect("an id");
    let node = http::get(&agent.url("http", &format!("/v1/node/{id}"))).await;
    let networks = &node["NodeResources"]["NodeNetworks"];
    assert_eq!(networks[0]["Device"], "lo", "{networks}");
    let addresses = networks[0]["Addresses"].as_array().expect("addresses");
    let shown: Vec<String> = addresses
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().expect("a text");
            [
                text("Alias"),
                text("Family"),
                text("Address"),
                text("ReservedPorts"),
            ]
            .join(" ")
        })
        .collect();
    let expected = [
        "default ipv4 127.0.0.1 ",
        "private ipv4 127.0.0.3 ",
        "public ipv4 127.0.0.2 22",
    ];
    assert_eq!(shown, expected);
    assert_eq!(node["HostNetworks"]["private"]["Interface"], "lo", "{node}");

    let number = agent.own_port(0);
    let fixed = |network: &str| format!("static = {number}\nhost_network = \"{network}\"");
    let ports = [
        ("own", format!("static = {number}")),
        ("public", fixed("public")),
        ("private", fixed("private")),
        ("any", "host_network = \"private\"".to_owned()),
    ];
    agent.register(&job("web", &ports)).await;
    for (port, address) in [
        ("own", "127.0.0.1"),
        ("public", "127.0.0.2"),
        ("private", "127.0.0.3"),
        ("any", "127.0.0.3"),
    ] {
        // The check passes where the service says that it is.
        let path = format!("/v1/health/service/web-{port}?passing");
        let (at, given) = agent
            .wait_catalog(&path, |entries| {
                let service = &entries[0]["Service"];
                let address = service["Address"].as_str()?.to_owned();
                Some((address, service["Port"].as_u64()?))
            })
            .await;
        assert_eq!((&*at, given == u64::from(number)), (address, port != "any"));
        let url = format!("http://{address}:{given}/");
        let (_, text) = http::send(Method::GET, &url, None).await;
        assert_eq!(text, port, "{url}");
        let routed = agent.url("ingress", &format!("/{port}"));
        let (_, text) = http::send(Method::GET, &routed, None).await;
        assert_eq!(text, port, "{routed}");
    }

    let again = unplaced(&agent, &job("again", &[("p", fixed("public"))])).await;
    let exhausted = format!("network: reserved port collision p={number}");
    assert_eq!(again["DimensionExhausted"][&*exhausted], 1, "{again}");
    let ssh = "static = 22\nhost_network = \"public\"".to_owned();
    let kept = unplaced(&agent, &job("kept", &[("ssh", ssh)])).await;
    let exhausted = "network: reserved port collision ssh=22";
    assert_eq!(kept["DimensionExhausted"][exhausted], 1, "{kept}");
    let missing = unplaced(&agent, &job("missing", &[("p", fixed("elsewhere"))])).await;
    let filtered = "missing host network \"elsewhere\" for port \"p\"";
    assert_eq!(missing["ConstraintFiltered"][filtered], 1, "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_network_is_told_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("a.hcl");
    let text = "client {\n  network_interface = \"none0\"\n  host_network \"a\" {\n    cidr = \"10.0.0.0\"\n  }\n}\n";
    std::fs::write(&file, text).expect("a file");
    let output = tokio::process::Command::new(TRIVET)
        .args(["agent", "-dev", "-config"])
        .arg(&file)
        .output()
        .await
        .expect("the program runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    for start in [
        ":2,3: `client.network_interface` is `none0`, and this machine has no such interface",
        ":4,5: `client.host_network \"a\".cidr` is `10.0.0.0`; it must be ranges of addresses",
    ] {
        assert!(said.contains(start), "{start}: {said}");
    }
}
