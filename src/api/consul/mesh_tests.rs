//! What clients read of proxies, gateways, ports and entries, asked of a real server in this
//! process. The answers were compared with those of the original.

use serde_json::{Value, json};

use super::store_tests::Store;

impl Store {
    async fn put(&self, path: &str, body: Value) {
        let answer = self.ask(&format!("PUT {path}"), body.to_string()).await;
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
    }

    async fn register(&self, node: &str, service: Value) {
        let body = json!({"Node": node, "Address": "192.0.2.1", "Service": service});
        self.put("/v1/catalog/register", body).await;
    }

    async fn rows(&self, path: &str) -> Value {
        self.copy();
        let answer = self.ask(&format!("GET {path}"), "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// The rows of a list that fit an expression.
    async fn filtered(&self, path: &str, expression: &str) -> usize {
        let encoded = expression.replace(' ', "+").replace('=', "%3D");
        let encoded = encoded.replace('`', "%60").replace('^', "%5E");
        let rows = self.rows(&format!("{path}?filter={encoded}")).await;
        rows.as_array().unwrap().len()
    }

    /// A service `web` with a sidecar, one that speaks the mesh's TLS itself, a gateway of each
    /// kind, and entries that lead to them.
    async fn with_mesh() -> Self {
        let store = Self::start().await;
        store
            .register("n1", json!({"ID": "web1", "Service": "web", "Port": 80}))
            .await;
        let upstream = json!({"DestinationName": "db", "LocalBindPort": 9191});
        let proxy = json!({
            "DestinationServiceName": "web", "DestinationServiceID": "web1",
            "LocalServicePort": 80, "Upstreams": [upstream],
        });
        let sidecar = json!({
            "Kind": "connect-proxy", "ID": "proxy1", "Service": "web-proxy", "Port": 21000,
            "Tags": ["p"], "Proxy": proxy,
        });
        store.register("n1", sidecar).await;
        let native = json!({"Service": "native", "Port": 9, "Connect": {"Native": true}});
        store.register("n2", native).await;
        store
            .register("n2", json!({"Service": "old", "Port": 10}))
            .await;
        for (kind, name) in [("ingress-gateway", "in"), ("terminating-gateway", "out")] {
            let gateway = json!({"Kind": kind, "Service": name, "Port": 8443, "Tags": ["g"]});
            store.register("n2", gateway).await;
        }
        for entry in [
            json!({"Kind": "service-defaults", "Name": "web", "Protocol": "http"}),
            json!({"Kind": "service-defaults", "Name": "db", "Meta": {"a": "b"}}),
            json!({"Kind": "ingress-gateway", "Name": "in", "Listeners": [
                {"Port": 8443, "Protocol": "http", "Services": [{"Name": "web"}]},
                {"Port": 8444, "Protocol": "tcp", "Services": [{"Name": "*"}]},
            ]}),
            json!({"Kind": "terminating-gateway", "Name": "out", "Services": [
                {"Name": "old", "SNI": "old.example"}, {"Name": "*", "DisableAutoHostRewrite": true},
            ]}),
        ] {
            store.put("/v1/config", entry).await;
        }
        store
    }
}

#[tokio::test]
async fn lists_of_the_mesh_and_of_entries_take_filters() {
    let store = Store::with_mesh().await;
    for (path, expression, count) in [
        ("/v1/health/connect/web", "Service.Port == 21000", 1),
        ("/v1/health/connect/web", "Service.Port == 1", 0),
        ("/v1/health/connect/web", "Node.Node == n1", 1),
        (
            "/v1/health/connect/web",
            "Service.Kind == `connect-proxy`",
            1,
        ),
        (
            "/v1/health/connect/web",
            "Service.Proxy.DestinationServiceName == web",
            1,
        ),
        (
            "/v1/health/connect/web",
            "Service.Proxy.Upstreams.DestinationName == db",
            1,
        ),
        (
            "/v1/health/connect/web",
            "Service.Proxy.Upstreams is empty",
            1,
        ),
        (
            "/v1/health/connect/web",
            "Service.Proxy.TransparentProxy.OutboundListenerPort == 0",
            2,
        ),
        (
            "/v1/health/connect/web",
            "Checks is empty and p in Service.Tags",
            1,
        ),
        (
            "/v1/health/connect/native",
            "Service.Connect.Native == true",
            1,
        ),
        (
            "/v1/health/ingress/web",
            "Service.Kind == `ingress-gateway`",
            1,
        ),
        ("/v1/health/ingress/web", "Service.Tags contains p", 0),
        (
            "/v1/catalog/connect/web",
            "ServiceKind == `connect-proxy`",
            1,
        ),
        ("/v1/catalog/connect/web", "ServicePort != 21000", 1),
        (
            "/v1/catalog/connect/web",
            "ServiceProxy.DestinationServiceName == web",
            1,
        ),
        (
            "/v1/catalog/connect/native",
            "ServiceConnect.Native == false",
            0,
        ),
        ("/v1/config/service-defaults", "Protocol == http", 1),
        ("/v1/config/service-defaults", "Meta.a == b", 1),
        ("/v1/config/service-defaults", "Name matches `^d`", 1),
    ] {
        assert_eq!(
            store.filtered(path, expression).await,
            count,
            "{path} {expression}"
        );
    }
    // Of entries, only those of one kind take filters.
    let answer = store
        .ask("GET /v1/config/ingress-gateway?filter=Name+%3D%3D+in", "")
        .await;
    let expected = "filtering not supported for config entry kind=ingress-gateway";
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (500, expected)
    );
    for (path, selector) in [
        ("/v1/health/connect/web", "Service.Nope"),
        ("/v1/health/ingress/web", "Nope"),
        ("/v1/catalog/connect/web", "Service"),
        ("/v1/config/service-defaults", "Nope"),
        ("/v1/connect/intentions", "Nope"),
    ] {
        let answer = store
            .ask(&format!("GET {path}?filter={selector}+%3D%3D+a"), "")
            .await;
        let expected = format!(
            "Failed to create boolean expression evaluator: Selector {selector:?} is not valid"
        );
        assert_eq!(
            (answer.status.as_u16(), answer.body),
            (500, expected),
            "{path}"
        );
    }
}

#[tokio::test]
async fn intentions_take_filters() {
    let store = Store::start().await;
    let sources = json!([{"Name": "a", "Action": "allow"}, {"Name": "*", "Action": "deny"}]);
    let entry = json!({"Kind": "service-intentions", "Name": "web", "Sources": sources});
    store.put("/v1/config", entry).await;
    let one = json!({
        "SourceName": "x", "DestinationName": "y", "Action": "allow", "Description": "d",
        "Meta": {"k": "v"},
    });
    let answer = store
        .ask("POST /v1/connect/intentions", one.to_string())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for (expression, count) in [
        ("SourceName == a", 1),
        ("SourceName != a", 2),
        ("DestinationName == web", 2),
        ("Action == allow", 2),
        ("Precedence == 9", 2),
        ("Description == d", 1),
        ("Meta.k == v", 1),
        ("Meta is empty", 2),
        ("SourcePeer == a", 0),
        ("SourceName matches `^[ax]$`", 2),
    ] {
        let path = "/v1/connect/intentions";
        assert_eq!(
            store.filtered(path, expression).await,
            count,
            "{expression}"
        );
    }
}

#[tokio::test]
async fn gateways_are_found_by_the_services_behind_them() {
    let store = Store::with_mesh().await;
    let names = async |path: &str| {
        let rows = store.rows(path).await;
        let rows = rows.as_array().unwrap().iter();
        let name = |row: &Value| {
            let of_health = row["Service"]["Service"].as_str();
            of_health
                .or_else(|| row["ServiceName"].as_str())
                .unwrap()
                .to_owned()
        };
        rows.map(name).collect::<Vec<_>>().join(" ")
    };
    for (path, expected) in [
        ("/v1/health/connect/web", "web-proxy out"),
        ("/v1/catalog/connect/web", "web-proxy out"),
        // Tags do not count.
        ("/v1/health/connect/web?tag=none", "web-proxy out"),
        ("/v1/catalog/connect/web?tag=none", "web-proxy out"),
        ("/v1/health/connect/native", "native"),
        ("/v1/health/connect/old", "out"),
        ("/v1/health/ingress/web", "in"),
        ("/v1/health/ingress/native", "in"),
    ] {
        assert_eq!(names(path).await, expected, "{path}");
    }
    let behind = async |gateway: &str| {
        let rows = store
            .rows(&format!("/v1/catalog/gateway-services/{gateway}"))
            .await;
        let rows = rows.as_array().unwrap().iter();
        let line = |row: &Value| {
            let word = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {} {} {} {}",
                row["Service"]["Name"].as_str().unwrap(),
                row["Port"],
                word("SNI"),
                word("ServiceKind"),
                row["FromWildcard"],
                row["AutoHostRewrite"],
            )
        };
        rows.map(line).collect::<Vec<_>>()
    };
    let expected = [
        "native 8444 - - true null",
        "web 8443 - - null null",
        "web 8444 - - true null",
    ];
    assert_eq!(behind("in").await, expected);
    let expected = [
        "old null old.example service null true",
        "web null - service true null",
    ];
    assert_eq!(behind("out").await, expected);
}

#[tokio::test]
async fn an_instance_may_have_ports_with_names_a_socket_and_a_place() {
    let store = Store::start().await;
    let port = |name: &str, port: u32, default: bool| json!({"Name": name, "Port": port, "Default": default});
    let both = json!([port("http", 8080, true), port("metrics", 9090, false)]);
    let service = json!({
        "ID": "web1", "Service": "web", "Ports": both, "SocketPath": "/run/web",
        "Locality": {"Region": "r", "Zone": "z"},
    });
    store.register("n1", service).await;
    let place = json!({"Region": "r", "Zone": "z"});
    let catalog = store.rows("/v1/catalog/service/web").await;
    let row = &catalog[0];
    assert_eq!(row["ServicePort"], 8080, "{row}");
    assert_eq!(row["ServicePorts"], both, "{row}");
    assert_eq!(row["ServiceSocketPath"], "/run/web", "{row}");
    assert_eq!(row["ServiceLocality"], place, "{row}");
    let path = "/v1/health/service/web?filter=Service.SocketPath+%3D%3D+%60%2Frun%2Fweb%60";
    let health = store.rows(path).await;
    let row = &health[0]["Service"];
    assert_eq!(
        (&row["Port"], &row["Ports"]),
        (&json!(8080), &both),
        "{row}"
    );
    assert_eq!(
        (&row["SocketPath"], &row["Locality"]),
        (&json!("/run/web"), &place)
    );
    let name_and_port = "Ports.Name cannot be empty\n\t* Ports.Port must be greater than zero";
    for (body, problems) in [
        (
            json!({"Port": 7, "Ports": [port("a", 1, true)]}),
            "1 error occurred:\n\t* Cannot set both Port and Ports\n\n".to_owned(),
        ),
        (
            json!({"Ports": [port(" ", 0, true)]}),
            format!("2 errors occurred:\n\t* {name_and_port}\n\n"),
        ),
        (
            json!({"Ports": [port("a", 1, true), port("a", 70_000, true)]}),
            "3 errors occurred:\n\t* Ports.Name \"a\" has to be unique\n\t* Ports.Port must be at most 65535\n\t* Only one port can be marked as default\n\n".to_owned(),
        ),
        (
            json!({"Ports": [port("a", 1, false)]}),
            "1 error occurred:\n\t* One of the Ports must be marked as Default\n\n".to_owned(),
        ),
        (
            json!({"Kind": "connect-proxy", "Ports": [port("a", 1, true)]}),
            "3 errors occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\t* Ports cannot be set for a connect-proxy\n\t* Port or SocketPath must be set for a connect-proxy\n\n".to_owned(),
        ),
    ] {
        let mut body = body;
        body["Service"] = "x".into();
        let body = json!({"Node": "n1", "Address": "192.0.2.1", "Service": body});
        let answer = store
            .ask("PUT /v1/catalog/register", body.to_string())
            .await;
        assert_eq!((answer.status.as_u16(), answer.body), (500, problems));
    }
}

#[tokio::test]
async fn a_node_that_gets_an_id_keeps_what_is_on_it() {
    let store = Store::start().await;
    let ids = [
        "",
        "e0155642-135d-4739-9853-a1ee6c9f945b",
        "c6e7a976-8f4f-44b5-bdd3-631be7e8ecac",
    ];
    for (at, id) in ids.into_iter().enumerate() {
        let mut body = json!({"ID": id, "Node": "n1", "Address": format!("192.0.2.{at}")});
        if at == 0 {
            body["Service"] = json!({"ID": "web1", "Service": "web"});
            body["Check"] = json!({"Name": "c", "ServiceID": "web1", "Status": "passing"});
        }
        store.put("/v1/catalog/register", body).await;
        let rows = store.rows("/v1/health/service/web").await;
        assert_eq!(rows[0]["Node"]["ID"], id, "{rows}");
        assert_eq!(
            rows[0]["Node"]["Address"],
            format!("192.0.2.{at}"),
            "{rows}"
        );
        assert_eq!(rows[0]["Checks"][0]["CheckID"], "c", "{rows}");
    }
}

#[tokio::test]
async fn the_web_ui_of_the_original_finds_nodes_and_services() {
    let store = Store::with_mesh().await;
    let check = json!({"Name": "c", "ServiceID": "web1", "Status": "passing"});
    let of_node = json!({"Name": "n", "Status": "warning"});
    let service = json!({
        "ID": "web1", "Service": "web", "Tags": ["b", "a"], "Meta": {"external-source": "nomad"},
    });
    let body = json!({
        "Node": "n1", "Address": "192.0.2.1", "Service": service, "Checks": [check, of_node],
    });
    store.put("/v1/catalog/register", body).await;
    let nodes = store
        .rows("/v1/internal/ui/nodes?filter=Services.Service+%3D%3D+web")
        .await;
    assert_eq!(nodes.as_array().unwrap().len(), 1, "{nodes}");
    let node = store.rows("/v1/internal/ui/node/n1").await;
    assert_eq!(nodes[0], node);
    let ids = |key: &str, id: &str| {
        let rows = node[key].as_array().unwrap().iter();
        rows.map(|row| row[id].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (&node["Node"], &node["Address"]),
        (&json!("n1"), &json!("192.0.2.1"))
    );
    assert_eq!(ids("Services", "ID"), ["proxy1", "web1"]);
    assert_eq!(ids("Checks", "CheckID"), ["c", "n"]);
    let missing = store.ask("GET /v1/internal/ui/node/none", "").await;
    assert_eq!((missing.status.as_u16(), missing.body.as_str()), (404, ""));
    let services = store
        .rows("/v1/internal/ui/services?filter=Node.Node+%3D%3D+n1")
        .await;
    let expected = json!([
        {
            "Name": "web", "Datacenter": "dc1", "Tags": ["a", "b"], "Nodes": ["n1"],
            "ExternalSources": ["nomad"], "InstanceCount": 1, "ChecksPassing": 1,
            "ChecksWarning": 1, "ChecksCritical": 0, "GatewayConfig": {},
            "TransparentProxy": false, "ConnectNative": false, "ConnectedWithProxy": true,
            "ConnectedWithGateway": true,
        },
        {
            "Kind": "connect-proxy", "Name": "web-proxy", "Datacenter": "dc1", "Tags": ["p"],
            "Nodes": ["n1"], "ExternalSources": null, "InstanceCount": 1, "ChecksPassing": 0,
            "ChecksWarning": 1, "ChecksCritical": 0, "GatewayConfig": {},
            "TransparentProxy": false, "ConnectNative": false, "ConnectedWithProxy": false,
            "ConnectedWithGateway": true,
        },
    ]);
    assert_eq!(services, expected);
}
