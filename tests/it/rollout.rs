//! Canaries that are judged by what the ingress counts: bad ones are gone within seconds, good ones
//! go through their steps, and whoever asks for nothing gets what the original does.

use crate::{
    harness::{
        Agent, DEADLINE, Echo,
        command::trivet,
        eventually, http,
        load::{self, Load},
    },
    walkthrough::targets,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream},
    net::{TcpListener, TcpStream},
    time::Instant,
};

/// Old instances, and a job whose next version is a canary with these labels.
pub(crate) async fn with_canary(
    agent: &Agent,
    id: &str,
    count: u32,
    meta: &str,
    update: &str,
    change: impl FnOnce(&mut Echo),
) -> Echo {
    let mut job = Echo::new(id, count);
    job.text = "old".into();
    job.service = format!("meta {{\n {meta}\n }}");
    job.update = format!(
        "max_parallel = {count}\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"30s\"\n{update}"
    );
    change(&mut job);
    job.run(agent).await;
    job.deployment(agent, 0, "successful").await;
    targets(agent, id, count as usize).await;
    job.text = "new".into();
    job
}

pub(crate) fn start(agent: &Agent, id: &str, per_second: u32) -> Load {
    let ingress = agent.address("ingress");
    Load::start(ingress, &format!("/{id}"), per_second, DEADLINE)
}

/// Waits until the ingress answers with `text`.
async fn answers(agent: &Agent, id: &str, text: &str) {
    let url = agent.url("ingress", &format!("/{id}"));
    eventually(text, || async {
        let (_, body) = http::send(reqwest::Method::GET, &url, None).await;
        (body == text).then_some(()).ok_or(body)
    })
    .await;
}

/// Waits until the rollout of the newest deployment is as wanted.
pub(crate) async fn rollout<T>(
    agent: &Agent,
    id: &str,
    mut wanted: impl FnMut(&Value) -> Option<T>,
) -> T {
    let path = format!("/v1/job/{id}/deployment");
    agent
        .wait(&path, |deployment| {
            let is_new = deployment["JobVersion"] == 1;
            wanted(&deployment["TaskGroups"]["web"]["Rollout"]).filter(|_| is_new)
        })
        .await
}

pub(crate) async fn deployment_id(agent: &Agent, id: &str) -> String {
    let path = format!("/v1/job/{id}/deployment");
    let deployment = http::get(&agent.url("http", &path)).await;
    deployment["ID"].as_str().expect("an id").to_owned()
}

pub(crate) fn reasons(rollout: &Value) -> Vec<&str> {
    let transitions = rollout["Transitions"].as_array().into_iter().flatten();
    transitions
        .filter_map(|transition| transition["Reason"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_fails_is_given_up_within_seconds() {
    let agent = Agent::start().await;
    let meta = "rollout_steps = \"10,50\"\nrollout_hold = \"1m\"\nrollout_warmup = \"0s\"";
    let mut job = with_canary(&agent, "shop", 3, meta, "canary = 1", |_| ()).await;
    job.args = vec!["-error-rate".into(), "1".into()];
    let load = start(&agent, "shop", 60);
    load.more(30).await;
    job.register(&agent).await;
    let failed = job.deployment(&agent, 1, "failed").await;
    let description = failed["StatusDescription"].as_str().expect("a text");
    assert!(
        description.starts_with("Failed due to rollout: canary failed "),
        "{description}"
    );
    let rollout = &failed["TaskGroups"]["web"]["Rollout"];
    assert_eq!(
        (&rollout["Phase"], &rollout["Share"]),
        (&"aborted".into(), &0.into())
    );
    let last = rollout["Transitions"].as_array().and_then(|all| all.last());
    let evidence = &last.expect("a transition")["Evidence"][0];
    assert!(evidence["CanaryBad"].as_u64() >= Some(3), "{evidence}");
    assert_eq!(evidence["StableBad"], 0, "{evidence}");
    load.more(60).await;
    let requests = load.stop().await;
    let failures = load::failures(&requests);
    let (first, end) = (failures.first(), failures.last());
    let (first, end) = (first.expect("a failure").sent, end.expect("a failure").sent);
    // It is about three seconds on a machine that is not busy. One that is also carries less: not
    // more failed than in so much time.
    let took = end.duration_since(first);
    let (most, per_second) = (15, 6);
    assert!(
        took < Duration::from_secs(most) || (failures.len() as u64) < most * per_second,
        "{took:?}, {}",
        failures.len()
    );
    let good = requests
        .iter()
        .filter(|request| request.outcome.as_deref() == Ok("new"));
    assert_eq!(good.count(), 0, "it only failed");

    let id = deployment_id(&agent, "shop").await;
    let why = trivet(&agent, &["deployment", "why", &id]).await.ok();
    for part in [
        "web: aborted: canary failed",
        "aborted 0 % by judge",
        "failed  all",
        "judging 10 %",
    ] {
        assert!(why.stdout.contains(part), "{part}: {}", why.stdout);
    }
    job.running(&agent, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_canary_goes_through_its_steps_and_is_promoted() {
    let agent = Agent::start().await;
    let meta = "rollout_steps = \"25,50\"\nrollout_hold = \"1s\"\nrollout_bake = \"1s\"";
    let update = "canary = 1\nauto_promote = true";
    let job = with_canary(&agent, "shop", 3, meta, update, |_| ()).await;
    let load = start(&agent, "shop", 80);
    job.register(&agent).await;
    job.deployment(&agent, 1, "successful").await;
    let requests = load.stop().await;
    let failures = load::failures(&requests);
    assert!(failures.is_empty(), "{:?}", failures.first());
    let deployment = http::get(&agent.url("http", "/v1/job/shop/deployment")).await;
    let rollout = &deployment["TaskGroups"]["web"]["Rollout"];
    let said = reasons(rollout);
    for part in [
        "step 1 of 2: 25 %",
        "step 2 of 2: 50 %",
        "all steps passed; the old version stands by for 1s",
        "the canaries were promoted",
    ] {
        assert!(said.contains(&part), "{part}: {said:?}");
    }
    // 52 attempts at each step, and what was on its way.
    let new = requests
        .iter()
        .filter(|request| request.outcome.as_deref() == Ok("new"));
    assert!(new.count() >= 104, "{} requests", requests.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_nothing_is_only_told() {
    let agent = Agent::start().await;
    let failing = |job: &mut Echo| job.args = vec!["-error-rate".into(), "1".into()];
    let mut job = with_canary(
        &agent,
        "shop",
        3,
        "rollout_warmup = \"0s\"",
        "canary = 1",
        |_| (),
    )
    .await;
    let off = "rollout_warmup = \"0s\"\nrollout_judge = \"off\"";
    let mut original = with_canary(&agent, "cart", 3, off, "canary = 1", |_| ()).await;
    failing(&mut job);
    failing(&mut original);
    let loads = [start(&agent, "shop", 40), start(&agent, "cart", 40)];
    original.register(&agent).await;
    job.register(&agent).await;
    let reason = rollout(&agent, "shop", |rollout| {
        let is_held = rollout["Phase"] == "held";
        is_held.then(|| rollout["Reason"].as_str().unwrap_or_default().to_owned())
    })
    .await;
    assert!(reason.contains("canary failed "), "{reason}");
    let deployment = job.deployment(&agent, 1, "running").await;
    let state = &deployment["TaskGroups"]["web"];
    assert_eq!(
        (&state["Promoted"], &state["HealthyAllocs"]),
        (&false.into(), &1.into())
    );
    // Its canary took as many turns, and nothing is said of it.
    loads[1].more(80).await;
    let deployment = original.deployment(&agent, 1, "running").await;
    assert_eq!(deployment["TaskGroups"]["web"]["Rollout"], Value::Null);
    for load in loads {
        load.stop().await;
    }
    let id = deployment_id(&agent, "shop").await;
    trivet(&agent, &["deployment", "promote", "-detach", &id])
        .await
        .ok();
    job.deployment(&agent, 1, "successful").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_becomes_green_and_goes_back_at_once() {
    let agent = Agent::start().await;
    let hook = Hook::start().await;
    let meta = format!(
        "rollout_steps = \"0,100\"\nrollout_hold = \"1h\"\nrollout_bake = \"1h\"\nrollout_notify = \"{}\"",
        hook.url
    );
    let job = with_canary(&agent, "shop", 2, &meta, "canary = 2", |_| ()).await;
    let load = start(&agent, "shop", 50);
    job.register(&agent).await;
    rollout(&agent, "shop", |rollout| {
        (rollout["Phase"] == "judging").then_some(())
    })
    .await;
    let id = deployment_id(&agent, "shop").await;
    let moved = |verb: &'static str, args: &'static [&'static str], said: &'static str| {
        let (agent, id) = (&agent, &id);
        async move {
            let words = [&["rollout", verb, "-actor", "ada", id], args].concat();
            let output = trivet(agent, &words).await.ok();
            assert!(output.stdout.contains(said), "{said}: {}", output.stdout);
            Instant::now()
        }
    };
    let (mut switches, mut least, mut before) = (Vec::new(), Duration::MAX, "old");
    for (verb, args, said, text) in [
        ("next", &[][..], "100 %: step 2 of 2: 100 %", "new"),
        ("back", &[], "0 %: step 1 of 2: 0 %", "old"),
        (
            "set-share",
            &["100", "-reason", "a look"],
            "set by hand to 100 %: a look",
            "new",
        ),
        ("set-share", &["0"], "set by hand to 0 %", "old"),
        ("resume", &[], "step 1 of 2: 0 %", "old"),
        ("next", &[], "step 2 of 2: 100 %", "new"),
    ] {
        let asked = moved(verb, args, said).await;
        answers(&agent, "shop", text).await;
        let since = Instant::now();
        if text != before {
            least = least.min(since - asked);
        }
        before = text;
        load.more(60).await;
        switches.push((since, Instant::now(), text));
    }
    // What is in force is looked at now and then.
    eventually("the status", || async {
        let status = trivet(&agent, &["rollout", "status", "shop"]).await.ok();
        let mut parts = ["100 % (effective 100 %)", "canary", "stable", "2 of 2"].into_iter();
        let missing = parts.find(|part| !status.stdout.contains(part));
        missing.map_or(Ok(()), |part| Err(format!("{part}: {}", status.stdout)))
    })
    .await;
    let metrics = agent.url("http", "/v1/metrics?format=prometheus");
    let of_group = "namespace=\"default\",job=\"shop\",group=\"web\"";
    let lines = [
        format!("trivet_rollout_share{{{of_group},kind=\"configured\"}} 1\n"),
        format!("trivet_rollout_share{{{of_group},kind=\"effective\"}} 1\n"),
        format!("trivet_rollout_step{{{of_group}}} 1\n"),
        format!("trivet_rollout_state{{{of_group},state=\"judging\"}} 1\n"),
        format!("trivet_rollout_state{{{of_group},state=\"held\"}} 0\n"),
        "trivet_raft_is_leader 1\n".to_owned(),
        "trivet_deployments{status=\"running\"} 1\n".to_owned(),
        "trivet_jobs{status=\"running\"} 1\n".to_owned(),
        "trivet_ingress_attempts_total{route=\"/shop\",service=\"shop\",version=\"v1\"".to_owned(),
        "trivet_ingress_answer_seconds_bucket{route=\"/shop\",service=\"shop\",version=\"v1\""
            .to_owned(),
    ];
    for line in &lines {
        told(&metrics, line).await;
    }
    let shown = http::get(&agent.url("http", "/v1/metrics")).await;
    let gauges = shown["Gauges"].as_array().expect("gauges");
    for (name, key, value) in [
        ("trivet.rollout.share", "kind", "effective"),
        ("trivet.ingress.attempts_total", "version", "v1"),
    ] {
        let is_it = |own: &Value| own["Name"] == name && own["Labels"][key] == value;
        assert!(gauges.iter().any(is_it), "{name}: {shown}");
    }
    trivet(&agent, &["deployment", "fail", "-detach", &id])
        .await
        .ok();
    let asked = Instant::now();
    answers(&agent, "shop", "old").await;
    let since = Instant::now();
    least = least.min(since - asked);
    load.more(60).await;
    switches.push((since, Instant::now(), "old"));
    let requests = load.stop().await;
    let failures = load::failures(&requests);
    assert!(failures.is_empty(), "{:?}", failures.first());
    // In force everywhere until the next switch begins, and within a second: a busy machine may
    // hold up one of them, but not each.
    for (at, (since, until, text)) in switches.iter().enumerate() {
        let during = |own: &&load::Request| own.sent > *since && own.sent + own.took < *until;
        for request in requests.iter().filter(during) {
            assert_eq!(request.outcome.as_deref(), Ok(*text), "switch {at}");
        }
    }
    assert!(least < Duration::from_secs(1), "{least:?}");
    let failed = job.deployment(&agent, 1, "failed").await;
    let rollout = &failed["TaskGroups"]["web"]["Rollout"];
    let actors: Vec<&str> = rollout["Transitions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|transition| transition["Actor"].as_str())
        .filter(|actor| *actor == "ada")
        .collect();
    assert_eq!(actors.len(), 6, "one entry each");
    // Each transition was told, although the hook refuses every first try.
    let said: BTreeSet<String> = reasons(rollout).into_iter().map(str::to_owned).collect();
    hook.hears(&said).await;
    let line = "trivet_rollout_aborts_total{cause=\"deployment\"} 1\n";
    told(&metrics, line).await;
    assert_eq!(transitions_told(&agent, said.len()).await, said);
    let over = trivet(&agent, &["rollout", "next", &id]).await;
    assert!(
        over.text().contains("has terminal status"),
        "{}",
        over.text()
    );
    assert_ne!(over.code, 0);
}

/// Waits until the metrics say `line`: they follow what happens.
async fn told(metrics: &str, line: &str) {
    eventually(line, || async {
        let (_, figures) = http::send(reqwest::Method::GET, metrics, None).await;
        let is_told = figures.contains(line);
        is_told.then_some(()).ok_or(figures)
    })
    .await;
}

/// Sentences of so many transitions, as the event stream tells them.
async fn transitions_told(agent: &Agent, count: usize) -> BTreeSet<String> {
    let url = agent.url("http", "/v1/event/stream?topic=Rollout&index=1");
    let reading = async {
        let mut stream = http::client().get(url).send().await.expect("a stream");
        let mut text = Vec::new();
        let mut told = BTreeSet::new();
        while told.len() < count {
            let piece = stream
                .chunk()
                .await
                .expect("it goes on")
                .expect("it goes on");
            text.extend_from_slice(&piece);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let batch: Value = serde_json::from_slice(&line).expect("JSON");
                for event in batch["Events"].as_array().into_iter().flatten() {
                    assert_eq!(event["Type"], "RolloutTransition");
                    let transition = &event["Payload"]["Rollout"];
                    assert_eq!(transition["Group"], "web");
                    told.insert(transition["Reason"].as_str().expect("a text").to_owned());
                }
            }
        }
        told
    };
    tokio::time::timeout(DEADLINE, reading)
        .await
        .expect("all are told")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_way_of_letting_canaries_in_restarts_nothing() {
    let agent = Agent::start().await;
    let meta = "rollout_steps = \"5,25\"\nrollout_hold = \"1m\"";
    let mut job = with_canary(&agent, "shop", 2, meta, "canary = 1", |_| ()).await;
    job.text = "old".into();
    let runs = |allocs: Vec<Value>| -> Vec<(String, String)> {
        let run = |alloc: &Value| {
            let started = &alloc["TaskStates"]["server"]["StartedAt"];
            (alloc["ID"].to_string(), started.to_string())
        };
        let mut runs: Vec<_> = allocs.iter().map(run).collect();
        runs.sort();
        runs
    };
    let before = runs(job.running(&agent, 2).await);
    job.service = "meta {\n rollout_steps = \"auto\"\n rollout_sticky = \"cookie\"\n }".into();
    job.register(&agent).await;
    job.deployment(&agent, 1, "successful").await;
    assert_eq!(runs(job.running(&agent, 2).await), before);
    // What is wrong is said, all of it, with what to write instead.
    job.service = "meta {\n rollout_steps = \"25,5\"\n rollout_hold = \"soon\"\n }".into();
    let refused = job.command(&agent, &["job", "validate"]).await;
    assert_ne!(refused.code, 0);
    for part in [
        "rollout_steps is \"25,5\"; it must be percentages from 0 to 100",
        "rollout_hold is \"soon\"; it must be a time such as \"2m\"",
    ] {
        assert!(refused.text().contains(part), "{part}: {}", refused.text());
    }
}

/// A webhook that refuses what it hears for the first time.
pub(crate) struct Hook {
    pub(crate) url: String,
    /// What it took: ids and texts.
    told: Arc<Mutex<Vec<(String, String)>>>,
}

impl Hook {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let told = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&told);
        tokio::spawn(async move {
            let mut refused = BTreeSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let mut socket = BufStream::new(socket);
                let Some(message) = message(&mut socket).await else {
                    continue;
                };
                let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
                let status = if refused.insert(text("id")) {
                    "500 Not Now"
                } else {
                    let message = (text("id"), text("text"));
                    taken.lock().expect("no panic holds it").push(message);
                    "200 OK"
                };
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                socket.write_all(answer.as_bytes()).await.ok();
                socket.flush().await.ok();
            }
        });
        Self {
            url: format!("http://{address}/hook"),
            told,
        }
    }

    /// Waits until it was told exactly these sentences, each once.
    pub(crate) async fn hears(&self, said: &BTreeSet<String>) {
        eventually("the hook", || async {
            let told = self.told.lock().expect("no panic holds it").clone();
            let texts: BTreeSet<String> = told.iter().map(|(_, text)| text.clone()).collect();
            let ids: BTreeSet<&String> = told.iter().map(|(id, _)| id).collect();
            assert_eq!(ids.len(), told.len(), "{told:?}");
            if texts == *said {
                Ok(())
            } else {
                Err(format!("{told:?}, not {said:?}"))
            }
        })
        .await;
    }
}

/// The body of a request.
async fn message(socket: &mut BufStream<TcpStream>) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// Waits until the ingress gives the canary of a service that part of its requests.
pub(crate) async fn in_force(agent: &Agent, share: f64) {
    eventually("the share", || async {
        let routes = http::get(&agent.url("ingress_admin", "/api/routes")).await;
        let weights = routes.as_array().into_iter().flatten();
        let mut weights = weights.filter_map(|route| route["weight"].as_f64());
        if weights.any(|weight| (weight - share).abs() < 1e-6) {
            Ok(())
        } else {
            Err(routes.to_string())
        }
    })
    .await;
}

/// The users of a thousand who get the new version.
pub(crate) async fn users_of_new(agent: &Agent) -> BTreeSet<u32> {
    let client = http::client();
    let url = agent.url("ingress", "/shop");
    let mut users = BTreeSet::new();
    for user in 0..1000 {
        let request = client.get(&url).header("cookie", format!("user=u{user}"));
        let answer = request.send().await.expect("an answer");
        if answer.text().await.expect("a text") == "new" {
            users.insert(user);
        }
    }
    users
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_canary_keeps_it_while_its_share_grows() {
    let agent = Agent::start().await;
    let meta =
        "rollout_steps = \"1,5,25\"\nrollout_hold = \"1h\"\nrollout_sticky = \"cookie:user\"";
    let job = with_canary(&agent, "shop", 2, meta, "canary = 1", |_| ()).await;
    job.register(&agent).await;
    let mut before = BTreeSet::new();
    for share in [0.01, 0.05, 0.25] {
        in_force(&agent, share).await;
        let users = users_of_new(&agent).await;
        assert!(users.is_superset(&before), "{share}: {before:?} {users:?}");
        let part = users.len() as f64 / 1000.0;
        // Which users there are is always the same, so this does not depend on chance.
        assert!((part - share).abs() <= 0.015, "{share}: {part}");
        assert_eq!(users_of_new(&agent).await, users, "the same each time");
        before = users;
        if share < 0.25 {
            trivet(&agent, &["rollout", "next", "shop"]).await.ok();
        }
    }
    let id = deployment_id(&agent, "shop").await;
    trivet(&agent, &["deployment", "fail", "-detach", &id])
        .await
        .ok();
    eventually("everybody has the old version", || async {
        let users = users_of_new(&agent).await;
        if users.is_empty() {
            Ok(())
        } else {
            Err(format!("{} users", users.len()))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_splitter_shows_the_rollout_and_takes_it_over() {
    let agent = Agent::start().await;
    let meta = "rollout_steps = \"25,50\"\nrollout_hold = \"1h\"";
    let job = with_canary(&agent, "shop", 2, meta, "canary = 1", |_| ()).await;
    let url = agent.url("catalog", "/v1/config/service-splitter/shop");
    let (status, _) = http::send(reqwest::Method::GET, &url, None).await;
    assert_eq!(status, 404);
    job.register(&agent).await;
    in_force(&agent, 0.25).await;
    let id = deployment_id(&agent, "shop").await;
    let mut splitter = http::get(&url).await;
    assert_eq!(
        splitter["Splits"],
        json!([{"Weight": 75.0, "ServiceSubset": "stable"}, {"Weight": 25.0, "ServiceSubset": "canary"}])
    );
    assert_eq!(splitter["Meta"]["managed_by"], format!("deployment/{id}"));

    // Whoever read something older is refused; the others take over.
    let config = agent.url("catalog", "/v1/config");
    let defaults = json!({"Kind": "service-defaults", "Name": "shop", "Protocol": "http"});
    assert_eq!(http::put(&config, &defaults).await, true);
    splitter["Splits"][0]["Weight"] = json!(60);
    splitter["Splits"][1]["Weight"] = json!(40);
    let old = format!("{config}?cas=1");
    assert_eq!(http::put(&old, &splitter).await, false);
    eventually("what was read is still so", async || {
        let read = http::get(&url).await["ModifyIndex"].as_u64();
        let read = read.expect("an index");
        let written = http::put(&format!("{config}?cas={read}"), &splitter).await;
        (written == true)
            .then_some(())
            .ok_or_else(|| written.to_string())
    })
    .await;
    let sentence = "splitter \"shop\" controls these versions";
    let held = rollout(&agent, "shop", |rollout| {
        (rollout["Reason"] == sentence).then(|| rollout["Phase"].clone())
    })
    .await;
    assert_eq!(held, "held");
    in_force(&agent, 0.4).await;
    let own = http::get(&url).await;
    assert_eq!(own["Meta"], Value::Null, "{own}");

    http::send(reqwest::Method::DELETE, &url, None).await;
    rollout(&agent, "shop", |rollout| {
        (rollout["Reason"] != sentence).then_some(())
    })
    .await;
    in_force(&agent, 0.25).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_job_is_not_taken_for_the_beginning_of_an_id() {
    let agent = Agent::start().await;
    let other = Echo::new("other", 1);
    other.run(&agent).await;
    other.deployment(&agent, 0, "successful").await;
    let id = deployment_id(&agent, "other").await;
    // The API takes an even number of digits of an id: its first two, and its first four.
    for name in [format!("{}w", &id[..2]), id[..4].to_owned()] {
        let meta = "rollout_steps = \"5\"\nrollout_gates = \"start\"";
        let job = with_canary(&agent, &name, 1, meta, "canary = 1", |_| ()).await;
        job.register(&agent).await;
        rollout(&agent, &name, |row| row["Phase"].as_str().map(drop)).await;
        let status = trivet(&agent, &["rollout", "status", &name]).await.ok();
        assert!(status.stdout.contains("warming"), "{}", status.stdout);
    }
    // The beginning of an id is one where no job has that name.
    let status = trivet(&agent, &["rollout", "status", &id[..7]]).await.ok();
    assert_eq!(status.stdout.trim(), "No canaries");
    let unknown = trivet(&agent, &["rollout", "status", "nobody"]).await;
    assert_eq!(unknown.code, 1, "{}", unknown.text());
}
