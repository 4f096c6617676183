//! A web page cannot use the listeners of the machine that it is looked at on.

use crate::harness::{
    Agent,
    agent::Mode,
    http,
    raw::{Answer, send},
};
use serde_json::json;

/// Calls that change something, and some that would if they were built: listener, method and path.
const WRITES: [(&str, &str, &str); 15] = [
    ("http", "POST", "/v1/jobs"),
    ("http", "PUT", "/v1/jobs"),
    ("http", "POST", "/v1/job/planted"),
    ("http", "DELETE", "/v1/job/planted"),
    ("http", "POST", "/v1/jobs/parse"),
    ("http", "PUT", "/v1/system/gc"),
    ("http", "PUT", "/v1/trivet/routes/overrides"),
    ("http", "POST", "/v1/trivet/route/weight"),
    ("http", "PUT", "/v1/client/allocation/x/restart"),
    ("http", "POST", "/v1/node/x/eligibility"),
    ("http", "POST", "/v1/search"),
    ("catalog", "PUT", "/v1/kv/planted"),
    ("catalog", "PUT", "/v1/agent/service/register"),
    ("catalog", "PUT", "/v1/catalog/deregister"),
    ("ingress_admin", "PUT", "/api/manual"),
];

/// A job that a page would plant.
fn planted() -> String {
    json!({"Job": {"ID": "planted", "Type": "batch", "TaskGroups": [{"Name": "g", "Tasks": [
        {"Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}]}]}})
    .to_string()
}

async fn nothing_changed(agent: &Agent) {
    let jobs = http::get(&agent.url("http", "/v1/jobs")).await;
    assert_eq!(jobs, json!([]), "a page registered a job");
    let manual = http::get(&agent.url("ingress_admin", "/api/manual")).await;
    assert_eq!(manual["value"], "", "a page changed the routes");
}

fn refused(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 403, "{what}: {answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), None, "{what}");
    assert!(
        answer.body.contains(' '),
        "{what}: a sentence is missing: {answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_change_nothing_on_any_listener() {
    let agent = Agent::start().await;
    for (listener, method, path) in WRITES {
        let address = agent.address(listener);
        let own = address.to_string();
        let port = address.port();
        let beside = format!("http://127.0.0.1:{}", port ^ 1);
        let by_name = format!("rebound.example:{port}");
        let own_name = format!("http://{by_name}");
        let attacks: [(&str, Vec<(&str, &str)>); 8] = [
            (
                "a foreign origin",
                vec![("host", &own), ("origin", "http://evil.example")],
            ),
            ("no origin", vec![("host", &own), ("origin", "null")]),
            ("an empty origin", vec![("host", &own), ("origin", "")]),
            (
                "another port here",
                vec![("host", &own), ("origin", &beside)],
            ),
            (
                "an origin that begins like ours",
                vec![("host", &own), ("origin", "http://127.0.0.1.evil.example")],
            ),
            (
                "a page of another site",
                vec![("host", &own), ("sec-fetch-site", "cross-site")],
            ),
            (
                "a page beside us",
                vec![("host", &own), ("sec-fetch-site", "same-site")],
            ),
            (
                "a rebound name",
                vec![("host", &by_name), ("origin", &own_name)],
            ),
        ];
        for (what, mut headers) in attacks {
            // What a page may send without being asked about it first.
            headers.push(("content-type", "text/plain"));
            let answer = send(address, method, path, &headers, &planted()).await;
            refused(&answer, &format!("{what}: {listener} {method} {path}"));
        }
    }
    nothing_changed(&agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_read_nothing_and_get_no_permission() {
    let agent = Agent::start().await;
    for (listener, path) in [
        ("http", "/v1/jobs"),
        ("http", "/v1/agent/self"),
        ("catalog", "/v1/agent/self"),
        ("ingress_admin", "/api/routes"),
    ] {
        let address = agent.address(listener);
        let own = address.to_string();
        let foreign = ("origin", "http://evil.example");
        let answer = send(address, "GET", path, &[("host", &own), foreign], "").await;
        refused(&answer, path);
        let asking = [
            ("host", own.as_str()),
            foreign,
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "content-type"),
        ];
        refused(&send(address, "OPTIONS", path, &asking, "").await, path);
        // A page that was rebound here reads with its own origin, which browsers then leave out.
        let rebound = [("host", "rebound.example")];
        refused(&send(address, "GET", path, &rebound, "").await, path);
        for host in ["localhost", "127.0.0.1", "[::1]:80", "agent.localhost:1"] {
            let answer = send(address, "GET", path, &[("host", host)], "").await;
            assert_eq!(answer.status, 200, "{host} {path}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_and_our_own_pages_go_on_as_before() {
    let agent = Agent::start().await;
    let address = agent.address("http");
    let own = address.to_string();
    let origin = format!("http://{own}");
    for headers in [
        // As curl sends it, and as it sends it with -d.
        vec![("host", own.as_str())],
        vec![
            ("host", own.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ],
        vec![("host", own.as_str()), ("content-type", "text/plain")],
        vec![("host", "localhost"), ("content-type", "application/json")],
        vec![
            ("host", own.as_str()),
            ("origin", origin.as_str()),
            ("sec-fetch-site", "same-origin"),
        ],
    ] {
        let answer = send(address, "PUT", "/v1/jobs", &headers, &planted()).await;
        assert_eq!(answer.status, 200, "{headers:?}: {answer:?}");
    }
    // A link to the user interface on a page of somebody else.
    let followed = [("host", own.as_str()), ("sec-fetch-site", "cross-site")];
    let answer = send(address, "GET", "/ui/", &followed, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configured_origins_and_hosts_are_answered() {
    let more = "api {\n  allowed_origins = [\"https://ui.example\"]\n  allowed_hosts = [\"agent.example\"]\n}";
    let agent = Agent::start_with(Mode::Dev, more).await;
    for (listener, path) in [
        ("http", "/v1/jobs"),
        ("catalog", "/v1/agent/self"),
        ("ingress_admin", "/api/routes"),
    ] {
        let address = agent.address(listener);
        let page = [("host", "agent.example"), ("origin", "https://ui.example")];
        let answer = send(address, "GET", path, &page, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://ui.example"));
        let asking = [page[0], page[1], ("access-control-request-method", "PUT")];
        let answer = send(address, "OPTIONS", path, &asking, "").await;
        assert_eq!(answer.status, 204, "{answer:?}");
        let methods = answer.header("access-control-allow-methods");
        assert!(
            methods.is_some_and(|methods| methods.contains("PUT")),
            "{answer:?}"
        );
        let other = [
            ("host", "agent.example"),
            ("origin", "https://ui.example:8443"),
        ];
        refused(&send(address, "GET", path, &other, "").await, path);
    }
}
