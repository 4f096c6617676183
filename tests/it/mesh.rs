//! The mesh of a running agent: intentions, certificates, and names of proxies.

use crate::harness::{Agent, agent::Mode, command::trivet, dns, eventually, http};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_says_who_may_talk_to_whom() {
    let agent = Agent::start().await;
    let made = trivet(&agent, &["intention", "create", "web", "db"]).await;
    assert_eq!(made.ok().stdout, "Created: web => db (allow)\n");
    let shown = trivet(&agent, &["connect", "ca", "get-config"])
        .await
        .ok()
        .stdout;
    assert!(
        shown.starts_with("{\n\t\"Provider\": \"consul\","),
        "{shown}"
    );
    let file = agent.dir().join("ca.json");
    let wanted = shown.replace("\"LeafCertTTL\": \"72h\"", "\"LeafCertTTL\": \"24h\"");
    assert_ne!(wanted, shown);
    std::fs::write(&file, wanted).expect("a file");
    let file = file.to_str().expect("a path");
    let set = ["connect", "ca", "set-config", "-config-file", file];
    assert_eq!(
        trivet(&agent, &set).await.ok().stdout,
        "Configuration updated!\n"
    );
    let shown = trivet(&agent, &["connect", "ca", "get-config"])
        .await
        .ok()
        .stdout;
    assert!(shown.contains("\"LeafCertTTL\": \"24h\""), "{shown}");
    let twice = trivet(&agent, &["intention", "create", "-deny", "web", "db"]).await;
    assert_eq!(twice.code, 1);
    assert!(
        twice
            .stderr
            .contains(r#"Sources[1] defines "web" more than once"#),
        "{}",
        twice.stderr
    );
    let replaced = ["intention", "create", "-replace", "-deny", "web", "db"];
    assert_eq!(trivet(&agent, &replaced).await.ok().stdout, "");
    let api = ["intention", "create", "-meta", "a=b", "api", "*"];
    trivet(&agent, &api).await.ok();
    std::fs::write(
        agent.dir().join("one.json"),
        r#"{"SourceName":"f1","DestinationName":"f2","Action":"allow"}"#,
    )
    .expect("a file");
    let from_file = trivet(&agent, &["intention", "create", "-file", "one.json"]).await;
    assert_eq!(from_file.ok().stdout, "Created: f1 => f2 (allow)\n");
    let listed = trivet(&agent, &["intention", "list"]).await.ok().stdout;
    let rows: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().skip(1).collect())
        .collect();
    assert_eq!(
        rows[1..],
        [
            ["f1", "allow", "f2", "9"],
            ["web", "deny", "db", "9"],
            ["api", "allow", "*", "6"]
        ]
    );
    let matched = trivet(&agent, &["intention", "match", "db"]).await;
    assert_eq!(matched.ok().stdout, "web => db (deny)\napi => * (allow)\n");
    let of_source = trivet(&agent, &["intention", "match", "-source", "web"]).await;
    assert_eq!(of_source.ok().stdout, "web => db (deny)\n");
    let denied = trivet(&agent, &["intention", "check", "web", "db"]).await;
    assert_eq!((denied.code, denied.stdout.as_str()), (1, "Denied\n"));
    let allowed = trivet(&agent, &["intention", "check", "f1", "f2"]).await;
    assert_eq!(allowed.ok().stdout, "Allowed\n");
    let shown = trivet(&agent, &["intention", "get", "api", "*"])
        .await
        .ok()
        .stdout;
    assert!(shown.contains("Meta[a]:      b\n"), "{shown}");
    let none = trivet(&agent, &["intention", "get", "nope", "db"]).await;
    assert_eq!(
        none.stderr,
        "Intention not found with source \"nope\" and destination \"db\"\n"
    );
    for _ in 0..2 {
        let deleted = trivet(&agent, &["intention", "delete", "web", "db"]).await;
        assert_eq!(deleted.ok().stdout, "Intention deleted.\n");
    }
    let entry = http::get(&agent.url("catalog", "/v1/config/service-intentions")).await;
    assert_eq!(entry.as_array().map(Vec::len), Some(2), "{entry}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_outlives_the_agent_and_its_key_is_nowhere() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let roots = "/v1/connect/ca/roots";
    let before = http::get(&agent.url("catalog", roots)).await;
    let leaf = http::get(&agent.url("catalog", "/v1/agent/connect/ca/leaf/web")).await;
    assert_eq!(leaf["Service"], "web");
    agent.stop().await;
    let mut open = vec![agent.dir().to_path_buf()];
    let mut files = 0;
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory").flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
                continue;
            }
            let Ok(bytes) = std::fs::read(entry.path()) else {
                continue;
            };
            files += 1;
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("PRIVATE KEY"), "{}", entry.path().display());
            // The form in which keys are kept starts so.
            let pkcs8 = [0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48];
            let is_plain = bytes.windows(pkcs8.len()).any(|part| part == pkcs8);
            assert!(!is_plain, "{}", entry.path().display());
        }
    }
    assert!(files > 0, "the agent wrote nothing");
    agent.start_again().await;
    let after = http::get(&agent.url("catalog", roots)).await;
    assert_eq!(before, after);
    let renewed = http::get(&agent.url("catalog", "/v1/agent/connect/ca/leaf/web")).await;
    assert_eq!(renewed["ServiceURI"], leaf["ServiceURI"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_comes_with_its_service_and_is_found_by_name() {
    let agent = Agent::start().await;
    let url = |path: &str| agent.url("catalog", path);
    let check = json!({"TTL": "10m", "Status": "passing"});
    let sidecar = json!({"Port": 21_007, "Checks": [check]});
    let service = json!({"Name": "web", "Port": 8080, "Connect": {"SidecarService": sidecar}});
    http::put(&url("/v1/agent/service/register"), &service).await;
    let bare = json!({"Name": "db", "Port": 5432, "Connect": {"SidecarService": {}}});
    http::put(&url("/v1/agent/service/register"), &bare).await;
    let names = agent.address("dns");
    eventually("the name of the proxy", || async {
        match dns::srv_ports(names, "web.connect.consul.")
            .await
            .as_slice()
        {
            [21_007] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    eventually("the name of the service", || async {
        match dns::srv_ports(names, "web.service.consul.")
            .await
            .as_slice()
        {
            [8080] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let services = http::get(&url("/v1/agent/services")).await;
    let proxy = &services["db-sidecar-proxy"];
    assert_eq!(
        (&proxy["Kind"], &proxy["Port"]),
        (&json!("connect-proxy"), &json!(21_000))
    );
    assert_eq!(proxy["Proxy"]["DestinationServiceID"], "db");
    assert_eq!(proxy["Proxy"]["LocalServicePort"], 5432);
    let checks = http::get(&url("/v1/agent/checks")).await;
    assert_eq!(
        checks["service:db-sidecar-proxy:1"]["Name"],
        "Connect Sidecar Listening"
    );
    assert_eq!(checks["service:db-sidecar-proxy:2"]["Type"], "alias");
    let connect = http::get(&url("/v1/health/connect/web")).await;
    assert_eq!(
        connect[0]["Service"]["ID"], "web-sidecar-proxy",
        "{connect}"
    );
    let listed = http::get(&url("/v1/catalog/connect/web")).await;
    assert_eq!(listed[0]["ServiceKind"], "connect-proxy", "{listed}");
    let gateway = json!({"Kind": "ingress-gateway", "Name": "gw", "Listeners": [
        {"Port": 8080, "Protocol": "tcp", "Services": [{"Name": "web"}]}
    ]});
    assert_eq!(http::put(&url("/v1/config"), &gateway).await, json!(true));
    let own = json!({"Name": "gw", "Kind": "ingress-gateway", "Port": 8443});
    http::put(&url("/v1/agent/service/register"), &own).await;
    eventually("the gateway", || async {
        match dns::srv_ports(names, "web.ingress.consul.")
            .await
            .as_slice()
        {
            [8443] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let through = http::get(&url("/v1/health/ingress/web")).await;
    assert_eq!(
        through[0]["Service"]["Kind"], "ingress-gateway",
        "{through}"
    );
    let bound = http::get(&url("/v1/catalog/gateway-services/gw")).await;
    assert_eq!(bound[0]["Service"]["Name"], "web", "{bound}");
    let chain = http::get(&url("/v1/discovery-chain/web")).await;
    let address = &chain["Chain"]["AutoVirtualIPs"][0];
    let answer = dns::ask(
        names,
        "web.virtual.consul.",
        hickory_proto::rr::RecordType::A,
    )
    .await;
    assert_eq!(
        answer.answers[0].data.to_string(),
        address.as_str().expect("an address")
    );
    http::put(&url("/v1/agent/service/deregister/web"), &Value::Null).await;
    eventually("the end of the proxy", || async {
        match dns::srv_ports(names, "web.connect.consul.")
            .await
            .as_slice()
        {
            [] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
