//! Services and checks that are registered over the catalog API.

use crate::harness::{Agent, agent::Mode, dns, eventually, http};
use hickory_proto::rr::RecordType;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn put(agent: &Agent, path: &str, body: Value) -> (StatusCode, String) {
    http::send(Method::PUT, &agent.url("catalog", path), Some(&body)).await
}

async fn get(agent: &Agent, path: &str) -> Value {
    http::get(&agent.url("catalog", path)).await
}

/// A server that answers 200 until it is dropped, with its address.
async fn healthy() -> (tokio::task::JoinHandle<()>, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let served = tokio::spawn(async move {
        let router = axum::Router::new().fallback(|| async { "well" });
        axum::serve(listener, router).await.expect("it serves");
    });
    (served, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registered_service_is_checked_and_outlives_the_agent() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let (served, address) = healthy().await;
    let service = json!({
        "ID": "fabio-1", "Name": "fabio", "Port": 9998, "Address": "127.0.0.1", "Tags": ["b", "a"],
        "check": {"http": format!("http://{address}/health"), "interval": "1s", "timeout": "3s"},
    });
    let registered = put(&agent, "/v1/agent/service/register", service).await;
    assert_eq!(registered, (StatusCode::OK, String::new()));
    let services = get(&agent, "/v1/agent/services").await;
    assert_eq!(services["fabio-1"]["Tags"], json!(["b", "a"]), "{services}");
    passing(&agent).await;
    let checks = get(&agent, "/v1/agent/checks").await;
    assert_eq!(checks["service:fabio-1"]["Name"], "Service 'fabio' check");
    let answer = dns::ask(agent.address("dns"), "fabio.service.consul.", RecordType::A).await;
    assert_eq!(answer.answers.len(), 1);

    agent.stop().await;
    agent.start_again().await;
    passing(&agent).await;
    let services = get(&agent, "/v1/agent/services").await;
    assert_eq!(services["fabio-1"]["Port"], 9998, "{services}");
    served.abort();
    agent
        .wait_catalog("/v1/health/checks/fabio", |checks| {
            (checks[0]["Status"] == "critical").then_some(())
        })
        .await;
    let gone = put(&agent, "/v1/agent/service/deregister/fabio-1", Value::Null).await;
    assert_eq!(gone, (StatusCode::OK, String::new()));
    shows(&agent, "/v1/catalog/service/fabio", |rows| {
        *rows == json!([])
    })
    .await;
}

/// Waits until a read of the catalog, which every agent has from its servers, is as wanted.
async fn shows(agent: &Agent, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    agent
        .wait_catalog(path, |rows| wanted(rows).then(|| rows.clone()))
        .await
}

async fn passing(agent: &Agent) {
    agent
        .wait_catalog("/v1/health/service/fabio?passing", |instances| {
            (instances.as_array()?.len() == 1).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_live_on_what_is_said_and_maintenance_is_a_check() {
    let agent = Agent::start().await;
    let bad = put(&agent, "/v1/agent/service/register", json!({"Port": 1})).await;
    assert_eq!(
        bad,
        (StatusCode::BAD_REQUEST, "Missing service name".into())
    );
    let no_interval = json!({"Name": "x", "Check": {"HTTP": "http://127.0.0.1:1/"}});
    let (status, text) = put(&agent, "/v1/agent/service/register", no_interval).await;
    assert!(
        status == StatusCode::BAD_REQUEST && text.starts_with("Invalid check: Interval"),
        "{text}"
    );
    let service = json!({"Name": "vault", "Port": 8200});
    put(&agent, "/v1/agent/service/register", service).await;
    let unknown = json!({"Name": "c", "ServiceID": "zzz", "TTL": "5s"});
    let refused = put(&agent, "/v1/agent/check/register", unknown).await;
    assert_eq!(
        refused,
        (
            StatusCode::NOT_FOUND,
            "ServiceID \"zzz\" does not exist".into()
        )
    );
    let ttl = json!({"ID": "sealed", "Name": "Sealed", "ServiceID": "vault", "TTL": "60s"});
    assert_eq!(
        put(&agent, "/v1/agent/check/register", ttl).await.0,
        StatusCode::OK
    );
    let pass = "/v1/agent/check/pass/sealed?note=Vault+Unsealed";
    assert_eq!(put(&agent, pass, Value::Null).await.0, StatusCode::OK);
    shows(&agent, "/v1/health/checks/vault", |checks| {
        checks[0]["Output"] == "Vault Unsealed" && checks[0]["Status"] == "passing"
    })
    .await;
    // Nothing new enters the log.
    let before = get(&agent, "/v1/catalog/service/vault").await;
    for _ in 0..3 {
        put(&agent, pass, Value::Null).await;
    }
    assert_eq!(get(&agent, "/v1/catalog/service/vault").await, before);
    let none = put(&agent, "/v1/agent/check/pass/none", Value::Null).await;
    assert_eq!(
        none,
        (
            StatusCode::NOT_FOUND,
            "Unknown check ID \"none\". Ensure that the check ID is passed, not the check name."
                .into()
        )
    );
    let on = "/v1/agent/service/maintenance/vault?enable=True&reason=upgrade";
    assert_eq!(put(&agent, on, Value::Null).await.0, StatusCode::OK);
    let critical = "/v1/health/state/critical";
    let state = shows(&agent, critical, |state| {
        state[0]["CheckID"] == "_service_maintenance:vault"
    })
    .await;
    assert_eq!(state[0]["Notes"], "upgrade");
    let off = "/v1/agent/service/maintenance/vault?enable=false";
    assert_eq!(put(&agent, off, Value::Null).await.0, StatusCode::OK);
    shows(&agent, critical, |state| *state == json!([])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_speak_udp_and_http2_and_run_no_scripts() {
    let agent = Agent::start().await;
    let http2 = agent.address("catalog").to_string();
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let udp = silent.local_addr().expect("an address").to_string();
    for (name, check) in [
        ("udp", json!({"UDP": udp, "Timeout": "100ms"})),
        ("h2", json!({"H2PING": http2, "H2PingUseTLS": false})),
        // It speaks HTTP/2, and is no health service.
        ("grpc", json!({"GRPC": format!("{http2}/web")})),
    ] {
        let mut body = check;
        body["Name"] = name.into();
        body["Interval"] = "1s".into();
        let registered = put(&agent, "/v1/agent/check/register", body).await;
        assert_eq!(registered, (StatusCode::OK, String::new()), "{name}");
    }
    let outcome = async |name: &str, status: &str| {
        eventually(name, || async {
            let check = get(&agent, "/v1/agent/checks").await[name].clone();
            if check["Status"] == status && check["Output"] != "" {
                Ok(check["Output"].as_str().expect("a text").to_owned())
            } else {
                Err(check.to_string())
            }
        })
        .await
    };
    let success = format!("UDP connect {udp}: Success");
    assert_eq!(outcome("udp", "passing").await, success);
    assert_eq!(outcome("h2", "passing").await, "HTTP2 ping was successful");
    let refused = outcome("grpc", "critical").await;
    assert!(refused.contains("404"), "{refused}");
    drop(silent);
    outcome("udp", "critical").await;
    let script = json!({"Name": "s", "Args": ["true"], "Interval": "1s"});
    let (status, text) = put(&agent, "/v1/agent/check/register", script).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        text.starts_with("Scripts are disabled on this agent"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_follows_a_service_of_another_node_and_the_agent_s_own_rest() {
    let agent = Agent::start().await;
    let set = async |status: &str| {
        let check = json!({"Name": "c", "ServiceID": "db1", "Status": status, "Output": "said"});
        let service = json!({"ID": "db1", "Service": "db", "Port": 1});
        let body = json!({
            "Node": "far", "Address": "192.0.2.9", "Service": service, "Check": check,
        });
        let (code, text) = put(&agent, "/v1/catalog/register", body).await;
        assert_eq!(code, StatusCode::OK, "{text}");
    };
    set("passing").await;
    let register = async |body: Value| {
        let (code, text) = put(&agent, "/v1/agent/check/register", body).await;
        assert_eq!(code, StatusCode::OK, "{text}");
    };
    register(json!({"Name": "far", "AliasNode": "far", "AliasService": "db1"})).await;
    register(json!({"Name": "said", "TTL": "1h"})).await;
    let is = async |id: &str, status: &str| {
        let path = "/v1/health/state/any";
        agent
            .wait_catalog(path, |checks| {
                let checks = checks.as_array()?.iter();
                let mut checks = checks.filter(|row| row["CheckID"] == id);
                checks.find(|row| row["Status"] == status).map(|_| ())
            })
            .await;
    };
    is("far", "passing").await;
    set("critical").await;
    is("far", "critical").await;
    let far = get(&agent, "/v1/agent/checks").await["far"].clone();
    assert_eq!(far["Output"], "Aliased check \"c\" failing: said", "{far}");
    let gone = json!({"Node": "far", "ServiceID": "db1"});
    put(&agent, "/v1/catalog/deregister", gone).await;
    eventually("the alias", || async {
        let far = get(&agent, "/v1/agent/checks").await["far"].clone();
        let missing = "Service db1 could not be found on node far";
        (far["Output"] == missing)
            .then_some(())
            .ok_or_else(|| far.to_string())
    })
    .await;
    for (verb, status) in [
        ("warn", "warning"),
        ("fail", "critical"),
        ("pass", "passing"),
    ] {
        let said = put(&agent, &format!("/v1/agent/check/{verb}/said"), Value::Null).await;
        assert_eq!(said, (StatusCode::OK, String::new()), "{verb}");
        is("said", status).await;
    }
    let on = "/v1/agent/maintenance?enable=true&reason=upgrade";
    assert_eq!(put(&agent, on, Value::Null).await.0, StatusCode::OK);
    is("_node_maintenance", "critical").await;
    let off = "/v1/agent/maintenance?enable=false";
    assert_eq!(put(&agent, off, Value::Null).await.0, StatusCode::OK);
    for (id, status) in [("said", StatusCode::OK), ("said", StatusCode::NOT_FOUND)] {
        let path = format!("/v1/agent/check/deregister/{id}");
        assert_eq!(put(&agent, &path, Value::Null).await.0, status);
    }
    let host = get(&agent, "/v1/agent/host").await;
    assert!(host["Host"]["hostname"].is_string(), "{host}");
    assert!(
        host["Memory"]["total"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0),
        "{host}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_are_a_service() {
    let agent = Agent::start().await;
    agent
        .wait_catalog("/v1/health/service/consul?passing", |rows| {
            let version = rows[0]["Service"]["Meta"]["version"].as_str()?;
            (version.starts_with("1.")).then_some(())
        })
        .await;
    let services = get(&agent, "/v1/catalog/services").await;
    assert_eq!(services, json!({"consul": []}));
    assert_eq!(get(&agent, "/v1/agent/services").await, json!({}));
    let node = get(&agent, "/v1/agent/self").await["Config"]["NodeName"].clone();
    // Whoever removes it gets it back.
    let own = json!({"Node": node, "ServiceID": "consul"});
    assert_eq!(put(&agent, "/v1/catalog/deregister", own).await.1, "true");
    agent
        .wait_catalog("/v1/catalog/service/consul", |rows| {
            (rows.as_array()?.len() == 1).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_an_agent_are_registered_and_removed() {
    let agent = Agent::start().await;
    let web = json!({
        "Node": "ext", "Address": "192.0.2.9", "NodeMeta": {"rack": "r1"},
        "Service": {"Service": "web", "Port": 80},
        "Check": {"Name": "up", "Status": "passing", "ServiceID": "web"},
    });
    assert_eq!(put(&agent, "/v1/catalog/register", web).await.1, "true");
    let seen = eventually("the instance", || async {
        let seen = get(&agent, "/v1/health/service/web?passing&node-meta=rack:r1").await;
        if seen[0]["Service"]["Port"] == 80 {
            Ok(seen)
        } else {
            Err(seen.to_string())
        }
    })
    .await;
    assert_eq!(seen[0]["Node"]["Address"], "192.0.2.9");
    let node = get(&agent, "/v1/agent/self").await["Config"]["NodeName"].clone();
    // The agent's own node stays, whatever is asked.
    let own = json!({"Node": node});
    assert_eq!(put(&agent, "/v1/catalog/deregister", own).await.1, "true");
    let other = json!({"Node": node, "Address": "192.0.2.1", "NodeMeta": {"rack": "r9"}});
    assert_eq!(put(&agent, "/v1/catalog/register", other).await.1, "true");
    let path = format!("/v1/catalog/node/{}", node.as_str().expect("a name"));
    let row = get(&agent, &path).await["Node"].clone();
    assert_eq!(
        (&row["Address"], &row["Meta"]["rack"]),
        (&json!("127.0.0.1"), &Value::Null)
    );
    let renamed = json!({"Node": "thief", "ID": row["ID"], "Address": "192.0.2.1"});
    let (status, text) = put(&agent, "/v1/catalog/register", renamed.clone()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("is that of the agent on node"), "{text}");
    let set = json!([{"Node": {"Verb": "set", "Node": renamed}}]);
    let (status, text) = put(&agent, "/v1/txn", set).await;
    assert!(status.is_client_error(), "{status} {text}");
    assert!(text.contains("is that of the agent on node"), "{text}");
    assert_eq!(get(&agent, &path).await["Node"], row);
    let gone = json!({"Node": "ext"});
    assert_eq!(put(&agent, "/v1/catalog/deregister", gone).await.1, "true");
    eventually("the node's end", || async {
        let nodes = get(&agent, "/v1/catalog/nodes").await;
        let names: Vec<_> = nodes.as_array().into_iter().flatten().collect();
        if names.len() == 1 && names[0]["Node"] == node {
            Ok(())
        } else {
            Err(nodes.to_string())
        }
    })
    .await;
    for (body, text) in [
        (json!({"Address": "192.0.2.9"}), "Must provide node"),
        (
            json!({"Node": "x"}),
            "Must provide address if SkipNodeUpdate is not set",
        ),
        (
            json!({"Node": "x", "Address": "192.0.2.9", "Check": {"Name": "c", "ServiceID": "no"}}),
            "failed inserting check: Missing service registration on node \"x\"",
        ),
    ] {
        let refused = put(&agent, "/v1/catalog/register", body).await;
        assert_eq!(
            refused,
            (StatusCode::INTERNAL_SERVER_ERROR, text.to_owned())
        );
    }
}

/// What somebody else wrote of an agent's node is put right when the agent compares, as it does
/// when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_change_of_an_agent_s_services_is_put_right() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let own = json!({"ID": "own", "Name": "own", "Port": 80, "Tags": ["a"],
        "Check": {"Name": "beat", "TTL": "1h", "Status": "passing"}});
    put(&agent, "/v1/agent/service/register", own).await;
    let free = json!({"ID": "free", "Name": "free", "EnableTagOverride": true, "Tags": ["a"]});
    put(&agent, "/v1/agent/service/register", free).await;
    shows(&agent, "/v1/health/service/own?passing", |rows| {
        rows[0]["Service"]["Port"] == 80
    })
    .await;
    let node = get(&agent, "/v1/agent/self").await["Config"]["NodeName"].clone();
    for service in [
        json!({"ID": "own", "Service": "own", "Port": 99}),
        json!({"ID": "foreign", "Service": "foreign", "Port": 1}),
        json!({"ID": "free", "Service": "free", "Tags": ["b"], "EnableTagOverride": true}),
    ] {
        let body = json!({"Node": node, "Address": "192.0.2.1", "Service": service});
        let (status, text) = put(&agent, "/v1/catalog/register", body).await;
        assert_eq!(status, StatusCode::OK, "{text}");
    }
    let check = json!({"Node": node, "CheckID": "service:own"});
    put(&agent, "/v1/catalog/deregister", check).await;
    let rows = get(&agent, "/v1/catalog/service/own").await;
    assert_eq!(rows[0]["ServicePort"], 99, "{rows}");
    agent.stop().await;
    agent.start_again().await;
    shows(&agent, "/v1/health/service/own?passing", |rows| {
        let service = &rows[0]["Service"];
        let checks = rows[0]["Checks"].as_array().into_iter().flatten();
        let has_own = checks
            .into_iter()
            .any(|check| check["CheckID"] == "service:own");
        service["Port"] == 80 && service["Tags"] == json!(["a"]) && has_own
    })
    .await;
    shows(&agent, "/v1/catalog/service/foreign", |rows| {
        *rows == json!([])
    })
    .await;
    // Whose tags others may say has theirs.
    let free = get(&agent, "/v1/catalog/service/free").await;
    assert_eq!(free[0]["ServiceTags"], json!(["b"]), "{free}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_of_the_api_run_where_the_agent_s_file_says_so() {
    let more = "catalog {\n  enable_script_checks = true\n}\n";
    let agent = Agent::start_with(Mode::Dev, more).await;
    let script = json!({"Name": "s", "Args": ["/bin/sh", "-c", "echo seen; exit 1"],
        "Interval": "1s"});
    let registered = put(&agent, "/v1/agent/check/register", script).await;
    assert_eq!(registered, (StatusCode::OK, String::new()));
    shows(&agent, "/v1/health/state/warning", |checks| {
        checks[0]["CheckID"] == "s" && checks[0]["Output"] == "seen\n"
    })
    .await;
}
