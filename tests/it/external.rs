//! A catalog elsewhere: a double of its protocol notes every call.

use crate::harness::{Agent, Echo, agent::Mode, command::trivet, eventually, http};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// What an agent elsewhere has, and what it was asked.
#[derive(Default)]
struct Elsewhere {
    services: Map<String, Value>,
    checks: Map<String, Value>,
    /// Texts of keys by path.
    keys: BTreeMap<String, String>,
    /// Method and path of every write, ids left out, with how often it came.
    writes: BTreeMap<String, usize>,
    /// Everything that this protocol does not have.
    wrong: Vec<String>,
    /// How often anything changed.
    changes: watch::Sender<u64>,
}

type Double = Arc<Mutex<Elsewhere>>;

impl Elsewhere {
    fn answer(&mut self, method: &Method, uri: &Uri, body: &[u8]) -> Response {
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        if let Some(key) = uri.path().strip_prefix("/v1/kv/") {
            return self.key(method, key, body);
        }
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        if *method == Method::GET {
            let list = match uri.path() {
                "/v1/agent/services" => json!(self.services),
                "/v1/agent/checks" => json!(self.checks),
                "/v1/catalog/services" => self.tags(),
                "/v1/health/state/any" => self.checks.values().cloned().collect(),
                path => match path.strip_prefix("/v1/health/service/") {
                    Some(name) => self.instances(name),
                    None => return self.refuse(method, target),
                },
            };
            let index = *self.changes.borrow() + 1;
            let header = [("x-consul-index", index.to_string())];
            return (header, axum::Json(list)).into_response();
        }
        self.changes.send_modify(|changes| *changes += 1);
        let (base, id) = match target.strip_prefix("/v1/agent/service/deregister/") {
            Some(id) => ("deregister", id),
            None => match target.strip_prefix("/v1/agent/check/update/") {
                Some(id) => ("update", id),
                None => (target, ""),
            },
        };
        let id = id.replace("%5F", "_").replace("%2D", "-");
        *self.writes.entry(format!("{method} {base}")).or_default() += 1;
        match base {
            "/v1/agent/service/register?replace-existing-checks=true" => self.register(&body),
            "deregister" if self.services.remove(&id).is_some() => {
                self.checks.retain(|_, check| check["ServiceID"] != id);
            }
            "update" if self.checks.contains_key(&id) => {
                self.checks[&id]["Status"] = body["Status"].clone();
                self.checks[&id]["Output"] = body["Output"].clone();
            }
            _ => return self.refuse(method, target),
        }
        StatusCode::OK.into_response()
    }

    fn key(&mut self, method: &Method, key: &str, body: &[u8]) -> Response {
        match *method {
            Method::GET => match self.keys.get(key) {
                Some(text) => return text.clone().into_response(),
                None => return StatusCode::NOT_FOUND.into_response(),
            },
            Method::DELETE => drop(self.keys.remove(key)),
            _ => {
                let text = String::from_utf8_lossy(body).into_owned();
                self.keys.insert(key.to_owned(), text);
            }
        }
        axum::Json(true).into_response()
    }

    fn register(&mut self, body: &Value) {
        let id = body["ID"].as_str().expect("an id").to_owned();
        self.checks.retain(|_, check| check["ServiceID"] != id);
        for check in body["Checks"].as_array().expect("checks") {
            assert_eq!(check["TTL"], "60s", "{check}");
            let known = check["CheckID"].as_str().expect("an id").to_owned();
            let row = json!({
                "Node": "elsewhere", "CheckID": known, "Name": check["Name"],
                "Status": check["Status"], "ServiceID": id, "ServiceName": body["Name"],
            });
            self.checks.insert(known, row);
        }
        let mut row = body.clone();
        row["Service"] = body["Name"].clone();
        // As the original does for an address that is a number.
        let own = json!({"Address": body["Address"], "Port": body["Port"]});
        row["TaggedAddresses"]["lan_ipv4"] = own;
        self.services.insert(id, row);
    }

    /// Registers what is none of the agent's, with a check.
    fn put_foreign(&mut self, port: u16, tag: &str, status: &str) {
        let service = json!({
            "ID": "foreign", "Service": "foreign", "Address": "127.0.0.1", "Port": port,
            "Tags": [tag], "Meta": null,
        });
        let check = json!({
            "Node": "elsewhere", "CheckID": "foreign", "Status": status, "ServiceID": "foreign",
            "ServiceName": "foreign",
        });
        self.services.insert("foreign".to_owned(), service);
        self.checks.insert("foreign".to_owned(), check);
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn tags(&self) -> Value {
        let mut tags = Map::new();
        for row in self.services.values() {
            let name = row["Service"].as_str().expect("a name");
            let of_name = tags.entry(name).or_insert_with(|| json!([]));
            let own = row["Tags"].as_array().cloned().unwrap_or_default();
            of_name.as_array_mut().expect("a list").extend(own);
        }
        Value::Object(tags)
    }

    fn instances(&self, name: &str) -> Value {
        let rows = self.services.values().filter(|row| row["Service"] == name);
        let entries = rows.map(|row| {
            let checks = self.checks.values();
            let own: Vec<&Value> = checks
                .filter(|check| check["ServiceID"] == row["ID"])
                .collect();
            let node = json!({"ID": "e", "Node": "elsewhere", "Address": "127.0.0.1"});
            json!({"Node": node, "Service": row, "Checks": own})
        });
        entries.collect()
    }

    fn refuse(&mut self, method: &Method, target: &str) -> Response {
        self.wrong.push(format!("{method} {target}"));
        StatusCode::NOT_FOUND.into_response()
    }

    /// Services of the agent under test that are passing.
    fn passing(&self) -> usize {
        let own = self
            .services
            .iter()
            .filter(|(_, row)| row["Meta"]["trivet-node"].is_string());
        own.filter(|(id, _)| {
            let mut checks = self
                .checks
                .values()
                .filter(|check| check["ServiceID"] == **id);
            checks.clone().count() > 0 && checks.all(|check| check["Status"] == "passing")
        })
        .count()
    }
}

async fn double() -> (Double, SocketAddr, JoinHandle<()>) {
    let double = Double::default();
    let handle = async |State(double): State<Double>, method: Method, uri: Uri, body: Bytes| {
        let mut changes = double.lock().expect("a lock").changes.subscribe();
        let query = uri.query().unwrap_or_default();
        let index = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("index="));
        if let Some(index) = index.and_then(|index| index.parse::<u64>().ok()) {
            let newer = changes.wait_for(|changes| *changes + 1 > index);
            drop(timeout(Duration::from_secs(20), newer).await);
        }
        double.lock().expect("a lock").answer(&method, &uri, &body)
    };
    let router = Router::new()
        .fallback(handle)
        .with_state(Arc::clone(&double));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving =
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    (double, address, serving)
}

async fn shows(double: &Double, count: usize) {
    eventually("what is shown elsewhere", || async {
        let shown = double.lock().expect("a lock");
        if shown.passing() == count {
            Ok(())
        } else {
            Err(format!("{:?} {:?}", shown.services, shown.checks))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_kept_in_step_with_a_catalog_elsewhere() {
    let (double, address, _serving) = double().await;
    let foreign = json!({"ID": "other", "Service": "other", "Meta": {}});
    double
        .lock()
        .expect("a lock")
        .services
        .insert("other".to_owned(), foreign);
    let block = format!("consul {{\n  address = \"{address}\"\n  auto_advertise = false\n}}");
    let mut agent = Agent::start_with(Mode::Durable, &block).await;
    let job = Echo::new("web", 2);
    job.register(&agent).await;
    shows(&double, 2).await;
    {
        let shown = double.lock().expect("a lock");
        let row = shown.services.values().find(|row| row["Name"] == "web");
        let row = row.expect("an instance");
        assert!(
            row["ID"]
                .as_str()
                .is_some_and(|id| id.starts_with("_nomad-task-"))
        );
        assert_eq!(row["Meta"]["external-source"], "nomad");
        assert!(row["Port"].as_u64().is_some_and(|port| port > 0), "{row}");
    }

    // The agent elsewhere loses everything; the next change here brings it back.
    {
        let mut shown = double.lock().expect("a lock");
        shown.services.retain(|id, _| id == "other");
        shown.checks.clear();
    }
    let scaled = Echo::new("web", 3);
    scaled.register(&agent).await;
    shows(&double, 3).await;
    // A round that was under way may have told of a check that had just been lost.
    let is_update = |call: &String| call.starts_with("PUT /v1/agent/check/update/");
    let mut lost = std::mem::take(&mut double.lock().expect("a lock").wrong);
    lost.retain(|call| !is_update(call));
    assert_eq!(lost, Vec::<String>::new());

    // This agent is restarted: what is there stays, and is taken up again.
    agent.stop().await;
    assert_eq!(double.lock().expect("a lock").passing(), 3);
    let registered = |double: &Double| {
        let writes = &double.lock().expect("a lock").writes;
        let of = "PUT /v1/agent/service/register?replace-existing-checks=true";
        writes.get(of).copied().unwrap_or_default()
    };
    let before = registered(&double);
    agent.start_again().await;
    scaled.running(&agent, 3).await;
    shows(&double, 3).await;
    assert_eq!(registered(&double), before, "nothing was registered again");

    trivet(&agent, &["job", "stop", "-detach", "web"])
        .await
        .ok();
    shows(&double, 0).await;
    // What passes no more goes a moment later.
    eventually("nothing but what is not ours", || async {
        let shown = double.lock().expect("a lock");
        let left: Vec<_> = shown.services.keys().collect();
        (left == ["other"])
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    })
    .await;
    let shown = double.lock().expect("a lock");
    assert_eq!(shown.wrong, Vec::<String>::new());
    let kinds: Vec<&str> = shown.writes.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "PUT /v1/agent/service/register?replace-existing-checks=true",
            "PUT deregister",
            "PUT update",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ingress_is_fed_from_a_catalog_elsewhere() {
    let (double, address, serving) = double().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let foreign = Router::new().fallback(async || "foreign");
    let target = tokio::spawn(async move { axum::serve(listener, foreign).await });
    let put = |tag: &str, status: &str| {
        double
            .lock()
            .expect("a lock")
            .put_foreign(port, tag, status);
    };
    put("urlprefix-/other", "passing");
    let block = format!(
        "consul {{\n  address = \"{address}\"\n  auto_advertise = false\n  ingress = true\n}}"
    );
    let agent = Agent::start_with(Mode::Dev, &block).await;
    let answers = async |path: &str, wanted: StatusCode| {
        let url = agent.url("ingress", path);
        eventually("the route", async || {
            let (status, body) = http::send(Method::GET, &url, None).await;
            let is_wanted = status == wanted;
            is_wanted
                .then_some(())
                .ok_or_else(|| format!("{path}: {status} {body}"))
        })
        .await;
    };
    answers("/other", StatusCode::OK).await;
    put("urlprefix-/other", "critical");
    answers("/other", StatusCode::NOT_FOUND).await;
    put("urlprefix-/other", "passing");
    answers("/other", StatusCode::OK).await;
    put("urlprefix-/moved", "passing");
    answers("/moved", StatusCode::OK).await;
    answers("/other", StatusCode::NOT_FOUND).await;

    // What runs here gets its requests by way of the catalog elsewhere, and none when it stops.
    let job = Echo::new("web", 2);
    job.register(&agent).await;
    shows(&double, 2).await;
    answers("/web", StatusCode::OK).await;
    trivet(&agent, &["job", "stop", "-detach", "web"])
        .await
        .ok();
    loop {
        let (status, body) = http::send(Method::GET, &agent.url("ingress", "/web"), None).await;
        assert!(
            [StatusCode::OK, StatusCode::NOT_FOUND].contains(&status),
            "{status} {body}"
        );
        if status == StatusCode::NOT_FOUND {
            break;
        }
    }

    // Without the catalog its last word counts.
    serving.abort();
    drop(serving.await);
    answers("/moved", StatusCode::OK).await;
    assert_eq!(double.lock().expect("a lock").wrong, Vec::<String>::new());
    target.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_of_canaries_are_told_to_a_router_elsewhere() {
    let (double, address, _serving) = double().await;
    // What an earlier process left is taken back.
    let block = format!(
        "consul {{\n  address = \"{address}\"\n  auto_advertise = false\n}}\ningress {{\n  enabled = false\n}}"
    );
    let agent = Agent::start_with(Mode::Durable, &block).await;
    let mut job = Echo::new("web", 2);
    let meta = "meta {\n rollout_steps = \"5,25\"\n rollout_hold = \"1s\"\n }";
    job.service = format!("{meta}\n canary_tags = [\"urlprefix-/web\", \"canary\"]");
    job.update =
        "max_parallel = 2\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"30s\"\ncanary = 1"
            .into();
    job.register(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    assert_eq!(double.lock().expect("a lock").keys, BTreeMap::new());
    "new".clone_into(&mut job.text);
    job.register(&agent).await;
    let told = async |wanted: &str| {
        eventually("the command", || async {
            let shown = double.lock().expect("a lock");
            let texts: Vec<&str> = shown.keys.values().map(String::as_str).collect();
            match texts.as_slice() {
                [] if wanted.is_empty() => Ok(()),
                [only] if *only == wanted => Ok(()),
                _ => Err(format!("{:?}", shown.keys)),
            }
        })
        .await;
    };
    told("route weight web /web weight 0.05 tags \"canary\"\n").await;
    let key = double.lock().expect("a lock").keys.keys().next().cloned();
    assert!(key.is_some_and(|key| key.starts_with("fabio/config/trivet-")));
    // Nobody counts, so that it never gets on by itself.
    let path = "/v1/job/web/deployment";
    let rollout = agent
        .wait(path, |row| {
            let rollout = row["TaskGroups"]["web"]["Rollout"].clone();
            (rollout["Phase"] == "frozen").then_some(rollout)
        })
        .await;
    assert_eq!(
        rollout["Reason"],
        "no counts by version: promote by hand or add a metric"
    );
    let set = ["rollout", "set-share", "web", "0"];
    trivet(&agent, &set).await.ok();
    told("route del web tags \"canary\"\n").await;
    trivet(&agent, &["rollout", "set-share", "web", "12.5"])
        .await
        .ok();
    told("route weight web /web weight 0.125 tags \"canary\"\n").await;
    let deployment = http::get(&agent.url("http", path)).await;
    let id = deployment["ID"].as_str().expect("an id");
    trivet(&agent, &["deployment", "fail", "-detach", id])
        .await
        .ok();
    told("").await;
    assert_eq!(double.lock().expect("a lock").wrong, Vec::<String>::new());
}
