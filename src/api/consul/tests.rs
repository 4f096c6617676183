use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::HeaderMap;
use mesh::model::{
    CONNECT_PROXY, Check, Node, Role, SERVERS, Service, ServiceAddress, Status, Timestamp, Weights,
};
use mesh::state::{
    CheckResult, Command, DrainService, RegisterService, Stamp, State as Tables, UpdateChecks,
    UpsertNode,
};
use mesh::wire::API_VERSION;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

/// A catalog of two nodes and two services, that tests change and read.
struct Fixture {
    tables: Tables,
    snapshots: watch::Sender<Arc<View>>,
    cluster: watch::Sender<Cluster>,
    router: Router,
    /// The server beside the replica; it has no part in reads of the catalog.
    _server: crate::tests::Fixture,
}

/// One answer: status, headers, body.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("(absent)", |value| value.to_str().unwrap())
    }
}

fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn node(name: &str, id: &str, address: &str) -> Node {
    Node {
        id: id.into(),
        name: name.into(),
        address: address.to_owned(),
        datacenter: "dc1".to_owned(),
        ..Node::default()
    }
}

impl Fixture {
    async fn new() -> Self {
        let server = crate::tests::Fixture::start().await;
        let agent = AgentIdentity {
            node_id: "id-1".to_owned(),
            node_name: "n1".to_owned(),
            datacenter: "dc1".to_owned(),
            advertise_address: "192.0.2.11".to_owned(),
            member_port: 4648,
            is_server: true,
            version: "0.1.0".to_owned(),
            revision: String::new(),
        };
        let servers = vec![ServerPeer {
            name: "n1".to_owned(),
            address: "192.0.2.11:4647".to_owned(),
        }];
        let leader = Some("192.0.2.11:4647".to_owned());
        let (cluster, cluster_seen) = watch::channel(Cluster {
            leader,
            servers,
            last_contact: None,
        });
        let (snapshots, seen) = watch::channel(Arc::new(View::default()));
        let router = router(Catalog::new(
            agent,
            server.api.server().clone(),
            None,
            seen,
            cluster_seen,
        ));
        let mut fixture = Self {
            tables: Tables::default(),
            snapshots,
            cluster,
            router,
            _server: server,
        };
        fixture.fill();
        fixture
    }

    fn apply(&mut self, index: u64, command: Command) {
        self.tables
            .apply(
                Stamp {
                    index,
                    now: Timestamp::default(),
                },
                command,
            )
            .unwrap();
        self.snapshots
            .send_replace(Arc::new(self.tables.current().view().clone()));
    }

    fn fill(&mut self) {
        let n1 = Node {
            meta: pairs(&[("rack", "r1")]),
            tagged_addresses: pairs(&[("lan", "192.0.2.11")]),
            ..node("n1", "id-1", "192.0.2.11")
        };
        let checks = vec![Check::serf_health("n1", true)];
        self.apply(10, Command::UpsertNode(UpsertNode { node: n1, checks }));
        let n2 = node("n2", "id-2", "192.0.2.12");
        let checks = vec![Check::serf_health("n2", false)];
        self.apply(11, Command::UpsertNode(UpsertNode { node: n2, checks }));
        let bare = Service {
            id: "db1".into(),
            node: "n2".into(),
            name: "db".into(),
            ..Service::default()
        };
        self.register(12, bare, Vec::new());
        let web = Service {
            id: "web1".into(),
            node: "n1".into(),
            name: "web".into(),
            address: "192.0.2.21".to_owned(),
            port: 8080,
            tags: vec!["v1".to_owned(), "urlprefix-/a?b=<c>&d $x".to_owned()],
            meta: pairs(&[("ver", "1")]),
            tagged_addresses: [(
                "lan".to_owned(),
                ServiceAddress {
                    address: "192.0.2.21".to_owned(),
                    port: 8080,
                },
            )]
            .into(),
            weights: Weights {
                passing: 10,
                warning: 1,
            },
            ..Service::default()
        };
        let check = Check {
            id: "service:web1".into(),
            name: "Service 'web' check".to_owned(),
            kind: "http".to_owned(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_millis(1_500),
            ..Check::default()
        };
        self.register(14, web, vec![check]);
    }

    fn register(&mut self, index: u64, service: Service, checks: Vec<Check>) {
        let command = RegisterService { service, checks };
        self.apply(index, Command::RegisterService(Box::new(command)));
    }

    fn result(&mut self, index: u64, node: &str, check_id: &str, status: Status) {
        let result = CheckResult {
            node: node.into(),
            check_id: check_id.into(),
            status,
            output: String::new(),
        };
        self.apply(
            index,
            Command::UpdateChecks(UpdateChecks {
                results: vec![result],
            }),
        );
    }

    async fn send(&self, method: &str, path: &str) -> Answer {
        send(self.router.clone(), method, path).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path).await
    }
}

async fn send(router: Router, method: &str, path: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    Answer {
        status,
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

const NODE_1: &str = r#"{"ID":"id-1","Node":"n1","Address":"192.0.2.11","Datacenter":"dc1","TaggedAddresses":{"lan":"192.0.2.11"},"Meta":{"rack":"r1"},"CreateIndex":10,"ModifyIndex":10}"#;
const NODE_2: &str = r#"{"ID":"id-2","Node":"n2","Address":"192.0.2.12","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":11,"ModifyIndex":11}"#;
const WEB: &str = r#"{"ID":"web1","Service":"web","Tags":["v1","urlprefix-/a?b=\u003cc\u003e\u0026d $x"],"Address":"192.0.2.21","TaggedAddresses":{"lan":{"Address":"192.0.2.21","Port":8080}},"Meta":{"ver":"1"},"Port":8080,"Weights":{"Passing":10,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":14,"ModifyIndex":14}"#;
const SERF_1: &str = r#"{"Node":"n1","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","Notes":"","Output":"Agent alive and reachable","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":10,"ModifyIndex":10}"#;
const SERF_2: &str = r#"{"Node":"n2","CheckID":"serfHealth","Name":"Serf Health Status","Status":"critical","Notes":"","Output":"Agent not live or unreachable","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":11,"ModifyIndex":11}"#;
const WEB_CHECK: &str = r#"{"Node":"n1","CheckID":"service:web1","Name":"Service 'web' check","Status":"critical","Notes":"","Output":"","ServiceID":"web1","ServiceName":"web","ServiceTags":["v1","urlprefix-/a?b=\u003cc\u003e\u0026d $x"],"Type":"http","Interval":"10s","Timeout":"1.5s","ExposedPort":0,"Definition":{},"CreateIndex":14,"ModifyIndex":14}"#;

#[tokio::test]
async fn reads_have_the_reference_shape_byte_for_byte() {
    let fixture = Fixture::new().await;
    let db = r#"{"ID":"db1","Service":"db","Tags":[],"Address":"","Meta":null,"Port":0,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":12,"ModifyIndex":12}"#;
    let tags = r#"["urlprefix-/a?b=\u003cc\u003e\u0026d $x","v1"]"#;
    let registered_tags = r#"["v1","urlprefix-/a?b=\u003cc\u003e\u0026d $x"]"#;
    for (path, expected) in [
        ("/v1/catalog/datacenters", r#"["dc1"]"#.to_owned()),
        ("/v1/catalog/nodes", format!("[{NODE_1},{NODE_2}]")),
        ("/v1/catalog/nodes?node-meta=rack:r1", format!("[{NODE_1}]")),
        ("/v1/catalog/services", format!(r#"{{"db":[],"web":{tags}}}"#)),
        ("/v1/catalog/services?node-meta=rack:r1", format!(r#"{{"web":{tags}}}"#)),
        (
            "/v1/catalog/service/web",
            format!(
                r#"[{{"ID":"id-1","Node":"n1","Address":"192.0.2.11","Datacenter":"dc1","TaggedAddresses":{{"lan":"192.0.2.11"}},"NodeMeta":{{"rack":"r1"}},"ServiceKind":"","ServiceID":"web1","ServiceName":"web","ServiceTags":{registered_tags},"ServiceAddress":"192.0.2.21","ServiceTaggedAddresses":{{"lan":{{"Address":"192.0.2.21","Port":8080}}}},"ServiceWeights":{{"Passing":10,"Warning":1}},"ServiceMeta":{{"ver":"1"}},"ServicePort":8080,"ServiceEnableTagOverride":false,"ServiceProxy":{{"MeshGateway":{{}},"Expose":{{}}}},"ServiceConnect":{{}},"CreateIndex":14,"ModifyIndex":14}}]"#
            ),
        ),
        (
            "/v1/catalog/service/db",
            r#"[{"ID":"id-2","Node":"n2","Address":"192.0.2.12","Datacenter":"dc1","TaggedAddresses":null,"NodeMeta":null,"ServiceKind":"","ServiceID":"db1","ServiceName":"db","ServiceTags":[],"ServiceAddress":"","ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":0,"ServiceEnableTagOverride":false,"ServiceProxy":{"MeshGateway":{},"Expose":{}},"ServiceConnect":{},"CreateIndex":12,"ModifyIndex":12}]"#.to_owned(),
        ),
        ("/v1/catalog/service/nope", "[]".to_owned()),
        ("/v1/catalog/node/n1", format!(r#"{{"Node":{NODE_1},"Services":{{"web1":{WEB}}}}}"#)),
        ("/v1/catalog/node/nope", "null".to_owned()),
        ("/v1/catalog/node/id-1", format!(r#"{{"Node":{NODE_1},"Services":{{"web1":{WEB}}}}}"#)),
        ("/v1/catalog/node-services/n1", format!(r#"{{"Node":{NODE_1},"Services":[{WEB}]}}"#)),
        ("/v1/catalog/node-services/nope", r#"{"Node":null,"Services":null}"#.to_owned()),
        (
            "/v1/health/service/web",
            format!(r#"[{{"Node":{NODE_1},"Service":{WEB},"Checks":[{SERF_1},{WEB_CHECK}]}}]"#),
        ),
        (
            "/v1/health/service/db",
            format!(r#"[{{"Node":{NODE_2},"Service":{db},"Checks":[{SERF_2}]}}]"#),
        ),
        ("/v1/health/service/nope", "[]".to_owned()),
        ("/v1/health/checks/web", format!("[{WEB_CHECK}]")),
        ("/v1/health/checks/db", "[]".to_owned()),
        ("/v1/health/node/n1", format!("[{SERF_1},{WEB_CHECK}]")),
        ("/v1/health/node/nope", "[]".to_owned()),
        ("/v1/health/state/any", format!("[{SERF_1},{WEB_CHECK},{SERF_2}]")),
        ("/v1/health/state/passing", format!("[{SERF_1}]")),
        ("/v1/health/state/critical", format!("[{WEB_CHECK},{SERF_2}]")),
        ("/v1/health/state/warning", "[]".to_owned()),
        ("/v1/health/state/strange", "[]".to_owned()),
        ("/v1/status/leader", r#""192.0.2.11:4647""#.to_owned()),
        ("/v1/status/peers", r#"["192.0.2.11:4647"]"#.to_owned()),
    ] {
        let answer = fixture.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        assert_eq!(answer.body, expected, "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        assert_eq!(answer.header("vary"), "Accept-Encoding", "{path}");
    }
}

#[tokio::test]
async fn each_endpoint_reports_its_own_index() {
    let mut fixture = Fixture::new().await;
    fixture.result(20, "n1", "service:web1", Status::Passing);
    for (path, index) in [
        ("/v1/catalog/nodes", "11"),
        ("/v1/catalog/services", "14"),
        ("/v1/catalog/service/web", "14"),
        ("/v1/catalog/service/db", "12"),
        ("/v1/catalog/service/nope", "1"),
        ("/v1/catalog/node/n1", "20"),
        ("/v1/catalog/node/n2", "12"),
        ("/v1/health/service/web", "20"),
        ("/v1/health/service/db", "12"),
        ("/v1/health/checks/web", "20"),
        ("/v1/health/state/any", "20"),
        ("/v1/health/node/n2", "12"),
    ] {
        let answer = fixture.get(path).await;
        assert_eq!(answer.header("x-consul-index"), index, "{path}");
        assert_eq!(answer.header("x-consul-knownleader"), "true", "{path}");
        assert_eq!(answer.header("x-consul-lastcontact"), "0", "{path}");
        assert_eq!(
            answer.header("x-consul-effective-consistency"),
            "leader",
            "{path}"
        );
    }
    for path in ["/v1/agent/self", "/v1/agent/services", "/v1/status/leader"] {
        assert_eq!(
            fixture.get(path).await.header("x-consul-index"),
            "(absent)",
            "{path}"
        );
    }
}

#[tokio::test]
async fn passing_tag_and_node_meta_select_instances() {
    let mut fixture = Fixture::new().await;
    let count = async |fixture: &Fixture, path: &str| {
        fixture.get(path).await.json().as_array().unwrap().len()
    };
    assert_eq!(count(&fixture, "/v1/health/service/web?passing").await, 0);
    assert_eq!(count(&fixture, "/v1/health/service/web?passing=0").await, 1);
    fixture.result(20, "n1", "service:web1", Status::Warning);
    assert_eq!(
        count(&fixture, "/v1/health/service/web?passing=true").await,
        0
    );
    fixture.result(21, "n1", "service:web1", Status::Passing);
    assert_eq!(count(&fixture, "/v1/health/service/web?passing=1").await, 1);
    for (query, expected) in [
        ("tag=V1", 1),
        ("tag=v1&tag=urlprefix-%2Fa%3Fb%3D%3Cc%3E%26d+%24x", 1),
        ("tag=v1&tag=v2", 0),
        ("node-meta=rack:r1", 1),
        ("node-meta=rack:r2", 0),
        ("near=_agent", 1),
        ("token=anything", 1),
    ] {
        for kind in ["health", "catalog"] {
            let path = format!("/v1/{kind}/service/web?{query}");
            assert_eq!(count(&fixture, &path).await, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn every_list_takes_a_filter() {
    let fixture = Fixture::new().await;
    let all = [
        ("/v1/catalog/nodes", "Meta.rack == r1", "Meta.rack == r2"),
        (
            "/v1/catalog/services",
            "ServiceName == web",
            "ServicePort == 1",
        ),
        (
            "/v1/catalog/service/web",
            "v1 in ServiceTags",
            "v2 in ServiceTags",
        ),
        (
            "/v1/health/service/web",
            "Checks.Status == passing",
            "Node.Node == n2",
        ),
        (
            "/v1/health/checks/web",
            "Status == critical",
            "Status == passing",
        ),
        ("/v1/health/state/any", "Node == n1", "Node == n3"),
        (
            "/v1/health/state/critical",
            "CheckID == serfHealth",
            "ServiceName == db",
        ),
        ("/v1/health/node/n1", "ServiceID == web1", "Name == x"),
        ("/v1/agent/services", "Meta.ver == `1`", "Port == 1"),
        ("/v1/agent/checks", "Type == http", "Type == tcp"),
        ("/v1/agent/members", "Tags.role == consul", "Name == n3"),
    ];
    for (path, some, none) in all {
        let count = async |expression: &str| {
            let filter = expression.replace(' ', "+").replace('=', "%3D");
            let answer = fixture.get(&format!("{path}?filter={filter}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
            match answer.json() {
                Value::Array(rows) => rows.len(),
                Value::Object(rows) => rows.len(),
                other => panic!("{path}: {other}"),
            }
        };
        assert!(count(some).await > 0, "{path}");
        assert_eq!(count(none).await, 0, "{path}");
    }
    for path in ["/v1/catalog/node/n1", "/v1/catalog/node-services/n1"] {
        let found = fixture
            .get(&format!("{path}?filter=Service%3D%3Dweb"))
            .await;
        assert!(found.body.contains("web1"), "{path}: {}", found.body);
        let none = fixture.get(&format!("{path}?filter=Service%3D%3Ddb")).await;
        assert!(!none.body.contains("web1"), "{path}: {}", none.body);
    }
}

#[tokio::test]
async fn a_draining_instance_leaves_every_answer() {
    let mut fixture = Fixture::new().await;
    let drain = DrainService {
        node: "n1".into(),
        id: "web1".into(),
    };
    fixture.apply(30, Command::DrainService(drain));
    for (path, expected) in [
        ("/v1/catalog/services", json!({"db": []})),
        ("/v1/catalog/service/web", json!([])),
        ("/v1/health/service/web", json!([])),
        ("/v1/health/checks/web", json!([])),
        ("/v1/agent/services", json!({})),
        ("/v1/agent/checks", json!({})),
    ] {
        assert_eq!(fixture.get(path).await.json(), expected, "{path}");
    }
    let any = fixture.get("/v1/health/state/any").await;
    assert_eq!(any.header("x-consul-index"), "30");
    assert!(!any.body.contains("web1"), "{}", any.body);
}

#[tokio::test]
async fn the_agent_describes_itself_with_objects_only() {
    let fixture = Fixture::new().await;
    let itself = fixture.get("/v1/agent/self").await.json();
    for (name, value) in itself.as_object().unwrap() {
        assert!(
            value.is_object(),
            "{name} must be an object for typed clients"
        );
    }
    assert_eq!(itself["Config"]["Datacenter"], "dc1");
    assert_eq!(itself["Config"]["NodeName"], "n1");
    assert_eq!(itself["Member"]["Addr"], "192.0.2.11");
    assert_eq!(itself["Member"]["Tags"]["role"], "consul");
    assert_eq!(itself["Meta"], json!({"rack": "r1"}));
    let services = fixture.get("/v1/agent/services").await.json();
    assert_eq!(services["web1"]["Service"], "web");
    assert_eq!(services["web1"]["Datacenter"], "dc1");
    assert_eq!(services.get("db1"), None, "another node's service");
    let checks = fixture.get("/v1/agent/checks").await.json();
    assert_eq!(checks["service:web1"]["Status"], "critical");
    assert_eq!(checks.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn the_version_told_is_the_level_of_the_api() {
    let fixture = Fixture::new().await;
    let itself = fixture.get("/v1/agent/self").await.json();
    assert_eq!(itself["Config"]["Version"], API_VERSION);
    assert_eq!(itself["Config"]["TrivetVersion"], "0.1.0");
    assert_eq!(
        itself["Member"]["Tags"]["build"],
        format!("{API_VERSION}:"),
        "the command line cuts at the colon"
    );
    let version = fixture.get("/v1/agent/version").await.json();
    assert_eq!(version["HumanVersion"], API_VERSION);
}

#[tokio::test]
async fn the_health_of_own_services_is_told_by_the_status_code() {
    let mut fixture = Fixture::new().await;
    let by_id = "/v1/agent/health/service/id/web1";
    let by_name = "/v1/agent/health/service/name/web";
    for (index, status, code) in [
        (20, Status::Passing, 200),
        (21, Status::Warning, 429),
        (22, Status::Critical, 503),
    ] {
        fixture.result(index, "n1", "service:web1", status);
        let one = fixture.get(by_id).await;
        assert_eq!(one.status.as_u16(), code);
        assert_eq!(one.header("x-consul-reason"), status.as_str());
        assert_eq!(one.json()["AggregatedStatus"], status.as_str());
        assert_eq!(one.json()["Service"]["ID"], "web1");
        let check = &one.json()["Checks"][0];
        assert_eq!(check["Definition"]["Interval"], "0s");
        let all = fixture.get(by_name).await;
        assert_eq!(all.status.as_u16(), code);
        assert_eq!(all.json()[0]["AggregatedStatus"], status.as_str());
        let text = fixture.get(&format!("{by_name}?format=text")).await;
        assert_eq!(
            (text.status.as_u16(), text.body.as_str()),
            (code, status.as_str())
        );
    }
    let maintenance = Check {
        id: "_service_maintenance:web1".into(),
        ..Check::default()
    };
    let row = fixture.tables.current().service(&mesh::model::ServiceKey {
        node: "n1".into(),
        id: "web1".into(),
    });
    let service = row.unwrap().as_ref().clone();
    fixture.register(23, service, vec![maintenance]);
    let one = fixture.get(by_id).await;
    assert_eq!(one.status.as_u16(), 503);
    assert_eq!(one.header("x-consul-reason"), "maintenance");
    let unknown = fixture.get("/v1/agent/health/service/id/none").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let expected = json!({"AggregatedStatus": "critical", "Service": null, "Checks": null});
    assert_eq!(unknown.json(), expected);
    let unknown = fixture.get("/v1/agent/health/service/name/none").await;
    assert_eq!(
        (unknown.status, unknown.json()),
        (StatusCode::NOT_FOUND, json!([]))
    );
}

#[tokio::test]
async fn one_own_service_is_waited_for_by_its_hash() {
    let mut fixture = Fixture::new().await;
    let path = "/v1/agent/service/web1";
    let first = fixture.get(path).await;
    let hash = first.header("x-consul-contenthash").to_owned();
    assert_eq!(first.json()["ContentHash"], hash);
    assert_eq!(first.json()["Service"], "web");
    let same = fixture.get(&format!("{path}?hash={hash}&wait=10ms")).await;
    assert_eq!(
        same.header("x-consul-contenthash"),
        hash,
        "the time is over"
    );
    let router = fixture.router.clone();
    let waiting = format!("{path}?hash={hash}&wait=60s");
    let waiting = tokio::spawn(async move { send(router, "GET", &waiting).await });
    let changed = Service {
        id: "web1".into(),
        node: "n1".into(),
        name: "web".into(),
        port: 9,
        ..Service::default()
    };
    fixture.register(30, changed, Vec::new());
    let changed = waiting.await.unwrap();
    assert_eq!(changed.json()["Port"], 9);
    assert_ne!(changed.header("x-consul-contenthash"), hash);
    let unknown = fixture.get("/v1/agent/service/none").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.body, "unknown service ID: none");
}

#[tokio::test]
async fn operators_see_the_servers_and_where_machines_stand() {
    let fixture = Fixture::new().await;
    let raft = fixture.get("/v1/operator/raft/configuration").await.json();
    assert_eq!(raft["Servers"][0]["Leader"], true, "{raft}");
    assert_eq!(raft["Servers"][0]["ProtocolVersion"], "3");
    let health = fixture.get("/v1/operator/autopilot/health").await;
    assert_eq!(health.status, StatusCode::OK);
    assert_eq!(health.json()["Healthy"], true);
    let state = fixture.get("/v1/operator/autopilot/state").await.json();
    assert_eq!(state["Voters"].as_array().unwrap().len(), 1, "{state}");
    let settings = fixture.get("/v1/operator/autopilot/configuration").await;
    assert_eq!(settings.json()["LastContactThreshold"], "200ms");
    let nodes = fixture.get("/v1/coordinate/nodes").await;
    assert_eq!(nodes.json()[0]["Node"], "n1");
    assert_eq!(nodes.json()[0]["Coord"]["Vec"].as_array().unwrap().len(), 8);
    assert_eq!(nodes.header("x-consul-index"), "11");
    let one = fixture.get("/v1/coordinate/node/n2").await.json();
    assert_eq!(one[0]["Node"], "n2");
    let none = fixture.get("/v1/coordinate/node/none").await;
    assert_eq!(
        (none.status, none.body.as_str()),
        (StatusCode::NOT_FOUND, "")
    );
    let map = fixture.get("/v1/coordinate/datacenters").await.json();
    assert_eq!(map[0]["Coordinates"][0]["Node"], "n1.dc1");
}

#[tokio::test]
async fn usage_counts_services_by_what_they_are_and_is_waited_for() {
    let mut fixture = Fixture::new().await;
    let of_mesh = |native: usize, proxies: usize| {
        json!({"api-gateway": 0, "connect-native": native, "connect-proxy": proxies,
               "ingress-gateway": 0, "mesh-gateway": 0, "terminating-gateway": 0})
    };
    let usage = fixture.get("/v1/operator/usage").await;
    assert_eq!(usage.header("x-consul-index"), "14");
    let expected = json!({
        "Usage": {"dc1": {"Services": 2, "ServiceInstances": 2, "BillableServiceInstances": 2,
            "ConnectServiceInstances": of_mesh(0, 0), "Nodes": 2}},
        "Index": 14, "LastContact": 0, "KnownLeader": true, "ConsistencyLevel": "leader",
        "NotModified": false, "Backend": 0, "ResultsFilteredByACLs": false,
    });
    assert_eq!(usage.json(), expected);
    let router = fixture.router.clone();
    let path = "/v1/operator/usage?index=14&wait=60s";
    let waiting = tokio::spawn(async move { send(router, "GET", path).await });
    let with = |id: &str, name: &str, role: Role| Service {
        id: id.into(),
        node: "n1".into(),
        name: name.into(),
        role: Some(Box::new(role)),
        ..Service::default()
    };
    let proxy = Role {
        kind: CONNECT_PROXY.into(),
        destination: "web".into(),
        ..Role::default()
    };
    fixture.register(15, with("p", "web-sidecar-proxy", proxy), Vec::new());
    let usage = waiting.await.unwrap().json();
    assert_eq!(
        usage["Usage"]["dc1"]["ConnectServiceInstances"],
        of_mesh(0, 1)
    );
    let native = Role {
        is_native: true,
        ..Role::default()
    };
    fixture.register(16, with("web2", "web", native), Vec::new());
    let servers = Service {
        id: SERVERS.into(),
        node: "n1".into(),
        name: SERVERS.into(),
        ..Service::default()
    };
    fixture.register(17, servers, Vec::new());
    let usage = fixture.get("/v1/operator/usage").await.json();
    let expected = json!({"Services": 4, "ServiceInstances": 5, "BillableServiceInstances": 3,
        "ConnectServiceInstances": of_mesh(1, 1), "Nodes": 2});
    assert_eq!(usage["Usage"]["dc1"], expected);
}

#[tokio::test]
async fn figures_are_told_in_both_forms() {
    let fixture = Fixture::new().await;
    let metrics = fixture.get("/v1/agent/metrics").await.json();
    let gauges = metrics["Gauges"].as_array().unwrap();
    let gauge = |name: &str| gauges.iter().find(|gauge| gauge["Name"] == name).unwrap();
    assert_eq!(gauge("consul.state.nodes")["Value"], 2);
    assert_eq!(gauge("consul.state.services")["Value"], 2);
    let timestamp = metrics["Timestamp"].as_str().unwrap();
    assert!(timestamp.ends_with(" +0000 UTC"), "{timestamp}");
    let text = fixture.get("/v1/agent/metrics?format=prometheus").await;
    assert!(
        text.body.contains("\nconsul_state_nodes 2\n"),
        "{}",
        text.body
    );
}

#[tokio::test]
async fn events_are_fired_kept_and_waited_for() {
    let fixture = Fixture::new().await;
    let none = fixture.get("/v1/event/list").await;
    assert_eq!(
        (none.json(), none.header("x-consul-index")),
        (json!([]), "1")
    );
    let waiting = fixture.router.clone();
    let waiting =
        tokio::spawn(async move { send(waiting, "GET", "/v1/event/list?index=1&wait=60s").await });
    let fired = fixture
        .send("PUT", "/v1/event/fire/deploy?service=web")
        .await;
    assert_eq!(fired.json()["ServiceFilter"], "web");
    assert_eq!(fired.json()["Payload"], Value::Null);
    let seen = waiting.await.unwrap();
    assert_eq!(seen.json()[0]["ID"], fired.json()["ID"]);
    assert_eq!(seen.json()[0]["LTime"], 1);
    let id: uuid::Uuid = fired.json()["ID"].as_str().unwrap().parse().unwrap();
    let (high, low) = id.as_u64_pair();
    assert_eq!(seen.header("x-consul-index"), (high ^ low).to_string());
    for elsewhere in ["node=n2", "service=db", "service=web&tag=v9"] {
        let path = format!("/v1/event/fire/other?{elsewhere}");
        assert_eq!(fixture.send("PUT", &path).await.status, StatusCode::OK);
    }
    let named = fixture.get("/v1/event/list?name=other").await;
    assert_eq!(named.json(), json!([]), "it concerns others");
    for (query, complaint) in [
        ("tag=x", "Cannot provide tag filter without service filter"),
        ("node=(", "Invalid node filter: "),
    ] {
        let path = format!("/v1/event/fire/e?{query}");
        let refused = fixture.send("PUT", &path).await;
        assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(refused.body.starts_with(complaint), "{}", refused.body);
    }
    for _ in 0..300 {
        fixture.send("PUT", "/v1/event/fire/many").await;
    }
    let kept = fixture.get("/v1/event/list").await.json();
    assert_eq!(kept.as_array().unwrap().len(), 256);
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_can_expand_them() {
    use std::io::Read as _;
    let fixture = Fixture::new().await;
    let ask = async |encoding: &str| {
        let request = Request::builder()
            .uri("/v1/health/service/web")
            .header("accept-encoding", encoding)
            .body(Body::empty())
            .unwrap();
        let response = fixture.router.clone().oneshot(request).await.unwrap();
        let encoding = response.headers().get("content-encoding").cloned();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (encoding, body)
    };
    let (encoding, plain) = ask("identity").await;
    assert_eq!(encoding, None);
    let (encoding, short) = ask("gzip").await;
    assert_eq!(encoding.unwrap(), "gzip");
    assert!(short.len() < plain.len());
    let mut expanded = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(short.as_ref());
    decoder.read_to_end(&mut expanded).unwrap();
    assert_eq!(expanded, plain);
}

#[tokio::test]
async fn members_are_the_nodes_with_an_agent() {
    let mut fixture = Fixture::new().await;
    let catalog_only = UpsertNode {
        node: node("n3", "id-3", "192.0.2.13"),
        checks: Vec::new(),
    };
    fixture.apply(40, Command::UpsertNode(catalog_only));
    let members = fixture.get("/v1/agent/members?segment=_all").await.json();
    let seen: Vec<_> = members
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["Name"].clone(),
                row["Status"].clone(),
                row["Tags"]["role"].clone(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (json!("n1"), json!(1), json!("consul")),
            (json!("n2"), json!(4), json!("node"))
        ]
    );
    let wan = fixture.get("/v1/agent/members?wan=1").await.json();
    assert_eq!(wan.as_array().unwrap().len(), 1);
    assert_eq!(wan[0]["Name"], "n1.dc1");
}

impl Fixture {
    /// A node in another datacenter of the region, with instances of services that the first one
    /// has too, and one of its own.
    fn fill_another(&mut self) {
        let far = Node {
            datacenter: "dc2".to_owned(),
            ..node("n3", "id-3", "192.0.2.13")
        };
        let checks = vec![Check::serf_health("n3", true)];
        self.apply(20, Command::UpsertNode(UpsertNode { node: far, checks }));
        let native = Role {
            is_native: true,
            ..Role::default()
        };
        let services = [
            ("n1", "native", Some(native.clone())),
            ("n3", "native", Some(native)),
            ("n3", "web", None),
            ("n3", "cache", None),
        ];
        for (index, (node, name, role)) in (21..).zip(services) {
            let service = Service {
                id: format!("{name}-of-{node}").into(),
                node: node.into(),
                name: name.into(),
                role: role.map(Box::new),
                ..Service::default()
            };
            let check = Check {
                id: format!("service:{name}-of-{node}").into(),
                status: Status::Passing,
                ..Check::default()
            };
            self.register(index, service, vec![check]);
        }
    }

    /// What an answer names at `key`, wherever, in order and once.
    async fn named(&self, key: &str, path: &str) -> String {
        fn collect(value: &Value, key: &str, into: &mut BTreeSet<String>) {
            match value {
                Value::Object(map) => {
                    into.extend(map.get(key).and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| collect(value, key, into));
                }
                Value::Array(rows) => rows.iter().for_each(|value| collect(value, key, into)),
                _ => {}
            }
        }
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        let mut names = BTreeSet::new();
        collect(&answer.json(), key, &mut names);
        names.into_iter().collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test]
async fn datacenters_of_the_region_are_told_apart() {
    let mut fixture = Fixture::new().await;
    let known = "/v1/catalog/datacenters";
    assert_eq!(fixture.get(known).await.body, r#"["dc1"]"#);
    let early = fixture.get("/v1/catalog/nodes?dc=dc2").await;
    assert_eq!(early.body, "No path to datacenter");
    fixture.fill_another();
    assert_eq!(fixture.get(known).await.body, r#"["dc1","dc2"]"#);
    let stats = fixture.get("/v1/agent/self").await.json()["Stats"].clone();
    assert_eq!(stats["consul"]["known_datacenters"], "2");
    // The nodes of an answer: of the region, of the agent's datacenter, and of the other one.
    for (path, region, dc1, dc2) in [
        ("/v1/catalog/nodes", "n1 n2 n3", "n1 n2", "n3"),
        ("/v1/catalog/service/web", "n1 n3", "n1", "n3"),
        ("/v1/catalog/service/db", "n2", "n2", ""),
        ("/v1/catalog/connect/native", "n1 n3", "n1", "n3"),
        ("/v1/catalog/node/n1", "n1", "n1", ""),
        ("/v1/catalog/node/n3", "n3", "", "n3"),
        ("/v1/catalog/node/id-3", "n3", "", "n3"),
        ("/v1/catalog/node-services/n3", "n3", "", "n3"),
        ("/v1/health/service/web", "n1 n3", "n1", "n3"),
        ("/v1/health/service/web?passing", "n3", "", "n3"),
        ("/v1/health/connect/native", "n1 n3", "n1", "n3"),
        ("/v1/health/checks/web", "n1 n3", "n1", "n3"),
        ("/v1/health/state/any", "n1 n2 n3", "n1 n2", "n3"),
        ("/v1/health/state/passing", "n1 n3", "n1", "n3"),
        ("/v1/health/node/n1", "n1", "n1", ""),
        ("/v1/health/node/n3", "n3", "", "n3"),
        ("/v1/internal/ui/nodes", "n1 n2 n3", "n1 n2", "n3"),
        ("/v1/coordinate/nodes", "n1 n2 n3", "n1 n2", "n3"),
    ] {
        let separator = if path.contains('?') { '&' } else { '?' };
        assert_eq!(fixture.named("Node", path).await, region, "{path}");
        for (datacenter, expected) in [("dc1", dc1), ("dc2", dc2), ("", region)] {
            let path = format!("{path}{separator}dc={datacenter}");
            assert_eq!(fixture.named("Node", &path).await, expected, "{path}");
            let shown = fixture.named("Datacenter", &path).await;
            let is_fine = shown.is_empty() || datacenter.is_empty() || shown == datacenter;
            assert!(is_fine, "{path}: {shown}");
        }
        let unknown = fixture.get(&format!("{path}{separator}dc=dc9")).await;
        let refused = (unknown.status.as_u16(), unknown.body.as_str());
        assert_eq!(refused, (500, "No path to datacenter"), "{path}");
    }
    for (query, expected) in [
        ("", "cache db native web"),
        ("?dc=dc1", "db native web"),
        ("?dc=dc2", "cache native web"),
    ] {
        let services = fixture.get(&format!("/v1/catalog/services{query}")).await;
        let services = services.json();
        let names: Vec<&String> = services.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), expected.split(' ').count(), "{query}");
        assert!(names.iter().all(|name| expected.contains(name.as_str())));
    }
    // A service of several datacenters is one of the agent's.
    let shown = fixture.get("/v1/internal/ui/services").await.json();
    let of = |name: &str| {
        let mut rows = shown.as_array().unwrap().iter();
        let row = rows.find(|row| row["Name"] == name);
        row.unwrap()["Datacenter"].clone()
    };
    assert_eq!((of("web"), of("cache")), (json!("dc1"), json!("dc2")));
    let absent = fixture.get("/v1/internal/ui/node/n3?dc=dc1").await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn usage_is_that_of_a_datacenter_if_one_is_asked_for() {
    let mut fixture = Fixture::new().await;
    fixture.fill_another();
    for (query, expected) in [
        ("", json!({"dc1": [4, 6, 3]})),
        ("?dc=dc1", json!({"dc1": [3, 3, 2]})),
        ("?dc=dc2", json!({"dc2": [3, 3, 1]})),
        ("?global", json!({"dc1": [3, 3, 2], "dc2": [3, 3, 1]})),
    ] {
        let usage = fixture.get(&format!("/v1/operator/usage{query}")).await;
        let usage = usage.json()["Usage"].clone();
        let counts = usage.as_object().unwrap().iter();
        let counts: Value = counts
            .map(|(name, of)| {
                let counts = [&of["Services"], &of["ServiceInstances"], &of["Nodes"]];
                (name.clone(), json!(counts))
            })
            .collect();
        assert_eq!(counts, expected, "{query}");
    }
}

#[tokio::test]
async fn who_waits_for_a_datacenter_is_answered_when_something_changes_there() {
    let mut fixture = Fixture::new().await;
    fixture.fill_another();
    for (path, key) in [
        ("/v1/catalog/nodes", "Node"),
        ("/v1/catalog/services", "web"),
        ("/v1/health/service/web", "ID"),
        ("/v1/health/state/any", "Node"),
    ] {
        let now = fixture.get(&format!("{path}?dc=dc2")).await;
        let index = now.header("x-consul-index").to_owned();
        let waits = format!("{path}?dc=dc2&wait=60s&index={index}");
        let router = fixture.router.clone();
        let waiting = tokio::spawn(async move { send(router, "GET", &waits).await });
        // A node that moves takes what is on it along.
        let at = fixture.tables.current().view().index() + 1;
        let row = fixture.tables.current().view().node("n1").unwrap();
        let mut row = row.as_ref().clone();
        row.datacenter = if row.datacenter == "dc1" {
            "dc2"
        } else {
            "dc1"
        }
        .to_owned();
        let has_come = row.datacenter == "dc2";
        let moved = UpsertNode {
            node: row,
            checks: Vec::new(),
        };
        fixture.apply(at, Command::UpsertNode(moved));
        let answer = waiting.await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.header("x-consul-index"), at.to_string(), "{path}");
        let is_shown = answer.body.contains(r#""n1""#) || answer.body.contains("urlprefix-/a");
        assert_eq!(is_shown, has_come, "{path} {key}: {}", answer.body);
    }
}

#[tokio::test]
async fn bad_requests_say_what_is_wrong() {
    let fixture = Fixture::new().await;
    let web = "/v1/health/service/web";
    for (path, status, body) in [
        (format!("{web}?index=abc"), 400, "Invalid index"),
        (format!("{web}?index=-1"), 400, "Invalid index"),
        (format!("{web}?wait=10"), 400, "Invalid wait time"),
        (
            format!("{web}?passing=maybe"),
            400,
            "Invalid value for ?passing",
        ),
        (format!("{web}?dc=dc9"), 500, "No path to datacenter"),
        (
            format!("{web}?stale&consistent"),
            400,
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        (
            format!("{web}?cached&consistent"),
            400,
            "Cannot specify ?cached with ?consistent, conflicting semantics.",
        ),
        (
            format!("{web}?filter=Nope%3D%3Dx"),
            500,
            "Failed to create boolean expression evaluator: Selector \"Nope\" is not valid",
        ),
        (
            format!("{web}?peer=p"),
            400,
            "cluster peering is not supported",
        ),
        (
            "/v1/health/service/".to_owned(),
            400,
            "Missing service name",
        ),
        (
            "/v1/catalog/service/".to_owned(),
            400,
            "Missing service name",
        ),
        ("/v1/catalog/node/".to_owned(), 400, "Missing node name"),
        ("/v1/health/state/".to_owned(), 400, "Missing check state"),
        ("/v1/kv/".to_owned(), 400, "Missing key name"),
        (
            "/v1/peerings".to_owned(),
            404,
            "`/v1/peerings` is not built, or not an API endpoint",
        ),
        ("/v1/status/leader/".to_owned(), 404, ""),
        ("/V1/status/leader".to_owned(), 404, ""),
        (
            "/elsewhere".to_owned(),
            404,
            "`/elsewhere` is not an API endpoint",
        ),
    ] {
        let answer = fixture.get(&path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        if !body.is_empty() {
            assert_eq!(answer.body, body, "{path}");
        }
        assert_eq!(
            answer.header("content-type"),
            "text/plain; charset=utf-8",
            "{path}"
        );
    }
    for query in [
        "dc=dc1",
        "dc=",
        "ns=default",
        "filter=",
        "wait=0",
        "index=",
        "peer=",
    ] {
        let answer = fixture.get(&format!("{web}?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
    }
}

#[tokio::test]
async fn writes_and_other_methods_are_refused() {
    let fixture = Fixture::new().await;
    let register = fixture.send("PUT", "/v1/peering/token").await;
    assert_eq!(register.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(register.body, "`PUT /v1/peering/token` is not built");
    assert_eq!(
        fixture.send("PUT", "/v1/nonsense").await.status,
        StatusCode::NOT_FOUND
    );
    for method in ["HEAD", "PUT", "DELETE"] {
        let answer = fixture.send(method, "/v1/catalog/nodes").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.header("allow"), "OPTIONS,GET", "{method}");
    }
    let put = fixture.send("PUT", "/v1/catalog/nodes").await;
    assert_eq!(put.body, "method PUT not allowed");
    let options = fixture.send("OPTIONS", "/v1/catalog/nodes").await;
    assert_eq!(
        (options.status, options.header("allow")),
        (StatusCode::OK, "OPTIONS,GET")
    );
    assert_eq!(options.body, "");
}

#[tokio::test]
async fn pretty_indents_by_four_and_ends_the_line() {
    let fixture = Fixture::new().await;
    let answer = fixture.get("/v1/catalog/datacenters?pretty=false").await;
    assert_eq!(answer.body, "[\n    \"dc1\"\n]\n");
}

#[tokio::test]
async fn headers_tell_how_old_the_replica_may_be() {
    let fixture = Fixture::new().await;
    fixture.cluster.send_modify(|cluster| {
        cluster.leader = None;
        cluster.last_contact = Instant::now().checked_sub(Duration::from_millis(1500));
    });
    let answer = fixture.get("/v1/health/service/web?stale").await;
    assert_eq!(answer.header("x-consul-knownleader"), "false");
    assert!(
        answer
            .header("x-consul-lastcontact")
            .parse::<u64>()
            .unwrap()
            >= 1500
    );
    assert_eq!(answer.header("x-consul-effective-consistency"), "stale");
    assert_eq!(
        fixture.get("/v1/health/service/web").await.status,
        StatusCode::OK
    );
    let consistent = fixture.get("/v1/health/service/web?consistent").await;
    assert_eq!(consistent.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(consistent.body, "No cluster leader");
    assert_eq!(fixture.get("/v1/status/leader").await.body, "\"\"");
    let cached = fixture.get("/v1/health/service/web?cached").await;
    assert_eq!(
        (cached.header("x-cache"), cached.header("age")),
        ("HIT", "0")
    );
}

/// Well below the default wait, well above what an answer takes.
const WAIT_SHORT: Duration = Duration::from_secs(30);

/// Starts a read and lets it run until it waits or has answered.
async fn start(fixture: &Fixture, path: &str) -> tokio::task::JoinHandle<Answer> {
    let (router, path) = (fixture.router.clone(), path.to_owned());
    let read = tokio::spawn(async move { send(router, "GET", &path).await });
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
    read
}

#[tokio::test]
async fn a_waiting_read_wakes_for_its_own_change_only() {
    let mut fixture = Fixture::new().await;
    let began = Instant::now();
    let read = start(&fixture, "/v1/health/service/web?index=14").await;
    fixture.result(20, "n2", "serfHealth", Status::Passing);
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
    assert!(
        !read.is_finished(),
        "a change on another node must not wake it"
    );
    fixture.result(21, "n1", "service:web1", Status::Passing);
    let answer = read.await.unwrap();
    assert_eq!(answer.header("x-consul-index"), "21");
    assert_eq!(answer.json()[0]["Checks"][1]["Status"], "passing");
    assert!(began.elapsed() < WAIT_SHORT);
}

#[tokio::test]
async fn a_waiting_read_times_out_with_the_unchanged_index() {
    let fixture = Fixture::new().await;
    for index in [14, 99_999] {
        let began = Instant::now();
        let path = format!("/v1/health/service/web?index={index}&wait=80ms");
        let answer = fixture.get(&path).await;
        assert!(began.elapsed() >= Duration::from_millis(80));
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("x-consul-index"), "14");
    }
}

#[tokio::test]
async fn a_read_behind_the_index_is_answered_at_once() {
    let fixture = Fixture::new().await;
    let began = Instant::now();
    fixture.get("/v1/health/service/web?index=13&wait=1m").await;
    fixture.get("/v1/health/service/web?index=0&wait=1m").await;
    assert!(began.elapsed() < WAIT_SHORT);
}

#[tokio::test]
async fn a_read_of_nothing_waits_until_something_is_registered() {
    let mut fixture = Fixture::new().await;
    let first = fixture.get("/v1/catalog/service/new").await;
    assert_eq!(first.header("x-consul-index"), "1");
    let read = start(&fixture, "/v1/catalog/service/new?index=1").await;
    assert!(!read.is_finished());
    let service = Service {
        id: "new1".into(),
        node: "n2".into(),
        name: "new".into(),
        ..Service::default()
    };
    fixture.register(50, service, Vec::new());
    assert_eq!(read.await.unwrap().header("x-consul-index"), "50");
}

#[tokio::test]
async fn waiting_reads_are_answered_when_the_agent_stops_or_restores() {
    let fixture = Fixture::new().await;
    let began = Instant::now();
    let read = start(&fixture, "/v1/catalog/services?index=14").await;
    fixture.snapshots.send_replace(Arc::new(View::default()));
    assert_eq!(read.await.unwrap().header("x-consul-index"), "1");
    let read = start(&fixture, "/v1/catalog/services?index=14").await;
    drop(fixture.snapshots);
    assert_eq!(read.await.unwrap().status, StatusCode::OK);
    assert!(began.elapsed() < WAIT_SHORT);
}

/// Long answers are kept and given again: never for another question, nor after a change.
#[tokio::test]
async fn long_answers_are_those_of_their_own_question() {
    let mut fixture = Fixture::new().await;
    let instance = |at: u64, port| Service {
        id: format!("big{at}").into(),
        node: ["n1", "n2"][usize::from(at % 2 == 1)].into(),
        name: "big".into(),
        port,
        ..Service::default()
    };
    for at in 0..60 {
        fixture.register(100 + at, instance(at, 1), Vec::new());
    }
    let path = "/v1/health/service/big";
    let ports = |answer: &Answer| -> Vec<u64> {
        let rows = answer.json();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row["Service"]["Port"].as_u64().unwrap())
            .collect()
    };
    for _ in 0..2 {
        for (query, count) in [
            ("", 60),
            ("?stale&index=1", 60),
            ("?passing", 30),
            ("?node-meta=rack:r1", 30),
            ("?filter=Service.ID%3D%3Dbig7", 1),
            ("?tag=none", 0),
        ] {
            let answer = fixture.get(&format!("{path}{query}")).await;
            assert_eq!(ports(&answer).len(), count, "{query}");
        }
        let pretty = fixture.get(&format!("{path}?pretty")).await;
        assert!(pretty.body.starts_with("[\n    {"), "{}", pretty.body);
        for (near, first) in [("n1", "n1"), ("n2", "n2"), ("_agent", "n1")] {
            let answer = fixture.get(&format!("{path}?near={near}")).await;
            assert_eq!(answer.json()[0]["Node"]["Node"], first, "{near}");
        }
    }
    let stale = fixture.get(&format!("{path}?stale")).await;
    assert_eq!(stale.header("x-consul-effective-consistency"), "stale");
    let cached = fixture.get(&format!("{path}?cached")).await;
    assert_eq!(cached.header("x-cache"), "HIT");
    assert_eq!(stale.header("x-cache"), "(absent)");
    // Both wake with the same answer, which is the new one.
    let index = stale.header("x-consul-index").to_owned();
    let first = start(&fixture, &format!("{path}?index={index}")).await;
    let second = start(&fixture, &format!("{path}?index={index}&wait=1m")).await;
    fixture.register(300, instance(3, 2), Vec::new());
    for woken in [first.await.unwrap(), second.await.unwrap()] {
        assert_eq!(woken.header("x-consul-index"), "300");
        assert_eq!(ports(&woken).iter().filter(|port| **port == 2).count(), 1);
    }
}

/// Where rows come in the order of their nodes' distance.
#[tokio::test]
async fn near_orders_every_list_that_takes_it() {
    let mut fixture = Fixture::new().await;
    for (at, node) in [(0, "n1"), (1, "n2")] {
        let service = Service {
            id: format!("two{at}").into(),
            node: node.into(),
            name: "two".into(),
            ..Service::default()
        };
        let check = Check {
            id: format!("two{at}").into(),
            ..Check::default()
        };
        fixture.register(40 + at, service, vec![check]);
    }
    // Nobody looks after it, so it is farthest from everybody.
    let far = node("a-far", "id-3", "192.0.2.13");
    let checks = Vec::new();
    fixture.apply(50, Command::UpsertNode(UpsertNode { node: far, checks }));
    for (path, name) in [
        ("/v1/catalog/nodes", "/Node"),
        ("/v1/catalog/service/two", "/Node"),
        ("/v1/health/service/two", "/Node/Node"),
        ("/v1/health/checks/two", "/Node"),
        ("/v1/health/state/any", "/Node"),
    ] {
        let order = async |near: &str| -> Vec<String> {
            let answer = fixture.get(&format!("{path}?near={near}")).await.json();
            let rows = answer.as_array().unwrap().iter();
            let names = rows.map(|row| row.pointer(name).unwrap().as_str().unwrap().to_owned());
            let mut names: Vec<String> = names.collect();
            names.dedup();
            names
        };
        let has_far = path == "/v1/catalog/nodes";
        let far = || has_far.then(|| "a-far".to_owned());
        let expected = |names: [&str; 2]| -> Vec<String> {
            names.map(String::from).into_iter().chain(far()).collect()
        };
        assert_eq!(order("n1").await, expected(["n1", "n2"]), "{path}");
        assert_eq!(order("_agent").await, expected(["n1", "n2"]), "{path}");
        assert_eq!(order("n2").await, expected(["n2", "n1"]), "{path}");
        // From where nobody stands all are alike.
        let unsorted: Vec<String> = far()
            .into_iter()
            .chain(["n1", "n2"].map(String::from))
            .collect();
        assert_eq!(order("nowhere").await, unsorted, "{path}");
    }
}

#[tokio::test]
async fn an_age_that_may_be_asks_for_any_copy() {
    let fixture = Fixture::new().await;
    for (query, status, mode) in [
        ("max_stale=5s", 200, "stale"),
        ("max_stale=0s", 200, "leader"),
        ("max_stale=", 200, "leader"),
        ("leader", 200, "leader"),
        ("max_stale=5s&consistent", 400, "(absent)"),
        ("max_stale=soon", 400, "(absent)"),
        ("cached", 200, "leader"),
    ] {
        let answer = fixture.get(&format!("/v1/catalog/nodes?{query}")).await;
        let mode_told = answer.header("x-consul-effective-consistency");
        assert_eq!(
            (answer.status.as_u16(), mode_told),
            (status, mode),
            "{query}"
        );
    }
}
