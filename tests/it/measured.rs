//! What is asked elsewhere of canaries: a metrics store, and hooks.

use crate::{
    harness::{Agent, Echo, agent::Mode, command::trivet, http},
    rollout::{reasons, rollout, start, with_canary},
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
};
use reqwest::Url;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

/// What a metrics store and a hook answer, and what they were asked.
#[derive(Debug, Default)]
struct Answers {
    /// The result of every query.
    result: Value,
    /// Whether the hook lets anything on.
    lets_on: bool,
    queries: Vec<String>,
    payloads: Vec<Value>,
    /// What nobody should have asked.
    wrong: Vec<String>,
}

impl Answers {
    fn answer(
        &mut self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> (StatusCode, String) {
        match (method.as_str(), uri.path()) {
            ("GET", "/own/api/v1/query") if headers.contains_key(header::AUTHORIZATION) => {
                let url = Url::parse(&format!("http://double{uri}")).expect("a URL");
                let query = url.query_pairs().find(|(key, _)| key == "query");
                let (_, query) = query.expect("a query");
                self.queries.push(query.into_owned());
                let data = json!({"resultType": "vector", "result": self.result});
                let answer = json!({"status": "success", "data": data});
                (StatusCode::OK, answer.to_string())
            }
            ("POST", "/smoke") => {
                let payload = serde_json::from_slice(body).expect("JSON");
                self.payloads.push(payload);
                if self.lets_on {
                    (StatusCode::NO_CONTENT, String::new())
                } else {
                    (StatusCode::CONFLICT, "the smoke\ntest runs".into())
                }
            }
            _ => {
                self.wrong.push(format!("{method} {uri} {headers:?}"));
                (StatusCode::NOT_FOUND, String::new())
            }
        }
    }
}

/// A metrics store and a hook on one port.
#[derive(Clone)]
struct Double {
    answers: Arc<Mutex<Answers>>,
    address: SocketAddr,
}

impl Double {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let double = Self {
            answers: Arc::default(),
            address: listener.local_addr().expect("an address"),
        };
        let handle = async |State(double): State<Self>,
                            method: Method,
                            uri: Uri,
                            headers: HeaderMap,
                            body: Bytes| {
            double.with(|answers| answers.answer(&method, &uri, &headers, &body))
        };
        let router = Router::new().fallback(handle).with_state(double.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        double
    }

    fn with<T>(&self, act: impl FnOnce(&mut Answers) -> T) -> T {
        act(&mut self.answers.lock().expect("no panic holds it"))
    }

    /// From now on the one value of every query.
    fn is(&self, value: &str) {
        let result = json!([{"metric": {}, "value": [1.5, value]}]);
        self.with(|answers| answers.result = result);
    }

    /// Where the metrics store is.
    fn store(&self) -> String {
        format!("http://ada:secret@{}/own", self.address)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_hooks_decide_where_nobody_counts() {
    let double = Double::start().await;
    let agent = Agent::start_with(Mode::Durable, "ingress {\n  enabled = false\n}").await;
    let mut job = Echo::new("shop", 2);
    let (store, hook) = (double.store(), double.address);
    job.update = format!(
        r#"
    max_parallel     = 2
    min_healthy_time = "0s"
    healthy_deadline = "30s"
    canary           = 1
    auto_promote     = true
    traffic {{
      steps = [5, 25]
      hold  = "1s"
    }}
    analysis {{
      metric "errors" {{
        source  = "prometheus"
        address = "{store}"
        query   = "errors{{version=\"{{{{ version }}}}\",old=\"{{{{ stable_version }}}}\"}}[{{{{ window }}}}]"
        max     = 0.2
      }}
      hook "smoke" {{
        on   = "start"
        http = "http://{hook}/smoke"
      }}
    }}"#
    );
    job.register(&agent).await;
    job.deployment(&agent, 0, "successful").await;

    // Nothing begins before the hook lets it.
    double.is("0.5");
    "new".clone_into(&mut job.text);
    job.register(&agent).await;
    let waits = "the canaries are healthy; it waits for hook smoke, which answered 409: the smoke test runs";
    rollout(&agent, "shop", |row| (row["Reason"] == waits).then_some(())).await;
    double.with(|answers| {
        let told = answers.payloads.last().expect("it was asked");
        for (key, value) in [
            ("job", json!("shop")),
            ("namespace", json!("default")),
            ("group", json!("web")),
            ("version", json!(1)),
            ("stable_version", json!(0)),
            ("step", json!(0)),
            ("share", json!(0.0)),
            ("phase", json!("warming")),
            ("hook", json!("smoke")),
        ] {
            assert_eq!(told[key], value, "{key}: {told}");
        }
        assert_eq!(answers.queries, Vec::<String>::new(), "there is no share");
        answers.lets_on = true;
    });

    // Then the metric speaks against it.
    let failed = job.deployment(&agent, 1, "failed").await;
    let description = failed["StatusDescription"].as_str().expect("a text");
    let said =
        "Failed due to rollout: metric errors is 0.5, above its limit 0.2, 2 times in a row since ";
    assert!(description.starts_with(said), "{description}");
    let row = &failed["TaskGroups"]["web"]["Rollout"];
    let last = row["Transitions"].as_array().and_then(|all| all.last());
    let last = last.expect("a transition");
    assert_eq!(last["Cause"], "metric", "{last}");
    let evidence = &last["Evidence"][0];
    assert_eq!(
        (&evidence["Metric"], &evidence["Value"], &evidence["Limit"]),
        (&json!("metric errors"), &json!(0.5), &json!(0.2))
    );
    let held = "suspect: metric errors is 0.5, above its limit 0.2";
    assert!(reasons(row).contains(&held), "{row}");
    assert!(!row.to_string().contains("secret"), "{row}");
    let id = failed["ID"].as_str().expect("an id");
    let why = trivet(&agent, &["deployment", "why", id]).await.ok();
    for part in ["metric errors is 0.5", "Value  Limit", "0.5    0.2"] {
        assert!(why.stdout.contains(part), "{part}: {}", why.stdout);
    }
    double.with(|answers| {
        let query = "errors{version=\"1\",old=\"0\"}[15s]";
        assert!(
            answers.queries.iter().all(|own| own == query),
            "{answers:?}"
        );
    });

    // What was recorded says the same again, and something else under another limit.
    let path = format!("/v1/trivet/rollout/{id}/record");
    let (_, record) = http::send(Method::GET, &agent.url("http", &path), None).await;
    let file = agent.dir().join("shop.record");
    std::fs::write(&file, record).expect("a file");
    let file = file.display().to_string();
    let again = trivet(&agent, &["rollout", "replay", &file]).await.ok();
    let abort = format!(": {}", &description["Failed due to rollout: ".len()..]);
    assert!(again.stdout.contains(&abort), "{}", again.stdout);
    let other = format!("metric_errors=<1 {store} up");
    let other = trivet(&agent, &["rollout", "replay", &file, &other]).await;
    assert!(other.ok().stdout.contains("would not have aborted"));

    // The next version is better, and nobody has to promote it.
    double.is("0.1");
    "newer".clone_into(&mut job.text);
    job.register(&agent).await;
    let passed = job.deployment(&agent, 2, "successful").await;
    let row = &passed["TaskGroups"]["web"]["Rollout"];
    for part in ["step 1 of 2: 5 %", "step 2 of 2: 25 %", "all steps passed"] {
        assert!(reasons(row).contains(&part), "{part}: {row}");
    }
    let wrong = double.with(|answers| answers.wrong.clone());
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metric_without_a_value_holds_what_the_ingress_counts_to_be_well() {
    let double = Double::start().await;
    let agent = Agent::start().await;
    let meta = format!(
        "rollout_steps = \"25\"\nrollout_hold = \"1s\"\nrollout_metric_errors = \"<0.2 {} sum(errors)\"",
        double.store()
    );
    double.with(|answers| answers.result = json!([]));
    let update = "canary = 1\nauto_promote = true";
    let job = with_canary(&agent, "shop", 3, &meta, update, |_| ()).await;
    let load = start(&agent, "shop", 60);
    job.register(&agent).await;
    let reason = "metric errors has no value: the query finds nothing";
    rollout(&agent, "shop", |row| {
        (row["Phase"] == "held" && row["Reason"] == reason).then_some(())
    })
    .await;
    let status = trivet(&agent, &["rollout", "status", "shop"]).await.ok();
    let part = "a good metric errors";
    assert!(status.stdout.contains(part), "{}", status.stdout);
    double.is("0.1");
    job.deployment(&agent, 1, "successful").await;
    load.stop().await;
    double.with(|answers| {
        assert!(answers.queries.iter().all(|own| own == "sum(errors)"));
        assert_eq!(answers.wrong, Vec::<String>::new());
    });
}
