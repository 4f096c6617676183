//! Shares of canaries: how exact they are, how soon a change of one is in force, judged again and
//! told, and how soon a record is judged once more.

use crate::{
    harness::{
        Agent, Echo,
        agent::Mode,
        eventually, http,
        load::{self, Load},
    },
    rollouts::{TIMEOUT, act, labels, percentile, start, stop, with_canary},
};
use axum::{Router, body::Bytes};
use futures_util::future::join_all;
use jobs::{
    control::rollout::{Counts, FORMAT, Head, Row, Side, Times, Window, replay},
    model::{AllocId, Rollout, Share, Span, Timestamp},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};
use sys::clock;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{JoinHandle, JoinSet},
    time::{Instant, interval, timeout},
};

/// Clients that ask at the same time.
const CLIENTS: usize = 8;
const USERS: usize = 1000;

/// Words: `times=`.
pub(crate) async fn run(words: &[String]) {
    let given = words.iter().find_map(|word| word.strip_prefix("times="));
    let times = given.map_or(10, |text| text.parse().expect("a number"));
    exact().await;
    bytes(times).await;
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    println!("| what | after | aim |\n|---|---|---|");
    back(&agent, times).await;
    told(&agent).await;
    resumed(&agent, times).await;
    agent.stop().await;
    elected(times).await;
    replayed();
}

fn row(what: &str, times: &mut [Duration], aim: &str) {
    let (median, most) = (percentile(times, 50), percentile(times, 100));
    println!(
        "| {what}, {} times | median {median:.2} s, at most {most:.2} s | {aim} |",
        times.len()
    );
}

/// Waits until the canaries of an agent's ingress have that share.
async fn in_force(agent: &Agent, share: f64) {
    eventually("the share", || async {
        let routes = http::get(&agent.url("ingress_admin", "/api/routes")).await;
        let weights = routes.as_array().into_iter().flatten();
        let mut weights = weights.filter_map(|route| route["weight"].as_f64());
        let is_it = weights.any(|weight| (weight - share).abs() < 1e-6);
        is_it.then_some(()).ok_or_else(|| routes.to_string())
    })
    .await;
}

/// Waits until the rollout of a job is as wanted.
async fn rollout<T>(agent: &Agent, id: &str, mut wanted: impl FnMut(Rollout) -> Option<T>) -> T {
    let path = format!("/v1/job/{id}/deployment");
    agent
        .wait(&path, |row| {
            let rollout = row["TaskGroups"]["web"]["Rollout"].clone();
            wanted(serde_json::from_value(rollout).ok()?)
        })
        .await
}

/// Waits until it is in a phase, and when that began.
async fn since(agent: &Agent, id: &str, phase: &str) -> Timestamp {
    rollout(agent, id, |row| {
        (row.phase.as_str() == phase).then_some(row.phase_at)
    })
    .await
}

/// How many of so many requests, sent here and there, the new version answers.
async fn new_ones(urls: &[String], requests: usize) -> usize {
    let clients = (0..CLIENTS).map(|client| async move {
        let http = http::client();
        let mut new = 0;
        for at in (client..requests).step_by(CLIENTS) {
            let answer = http.get(&urls[at % urls.len()]).send().await;
            let text = answer.expect("an answer").text().await;
            new += usize::from(text.expect("a text") == "new");
        }
        new
    });
    join_all(clients).await.into_iter().sum()
}

/// How exact shares are, at one ingress and at three.
async fn exact() {
    println!("| ingresses | share | requests | at the canary | aim |\n|---|---|---|---|---|");
    let server = Agent::start_with(Mode::Durable, "").await;
    let join = format!("client {{ servers = [\"{}\"] }}\n", server.address("rpc"));
    let others = [
        Agent::start_with(Mode::Client, &join).await,
        Agent::start_with(Mode::Client, &join).await,
    ];
    let all = [&server, &others[0], &others[1]];
    let steps = "rollout_steps = \"1\"\nrollout_hold = \"1h\"\nrollout_judge = \"observe\"";
    let mut job = with_canary(&server, "exact", steps, "canary = 1").await;
    "new".clone_into(&mut job.text);
    job.register(&server).await;
    for (count, share, part, requests, aim) in [
        (1, "1", 0.01, 10_000, "100 ± 1"),
        (3, "5", 0.05, 100_000, "5000 ± 3"),
        (1, "0.01", 0.0001, 10_000, "1"),
    ] {
        rollout(&server, "exact", |row| {
            (row.phase.as_str() != "warming").then_some(())
        })
        .await;
        act(&server, "exact", "set-share", Some(share)).await;
        for agent in all {
            in_force(agent, part).await;
        }
        let urls: Vec<String> = all[..count]
            .iter()
            .map(|agent| agent.url("ingress", "/exact"))
            .collect();
        let new = new_ones(&urls, requests).await;
        println!("| {count} | {share} % | {requests} | {new} | {aim} |");
    }
    stop(&server, "exact").await;
    println!();
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Connections to a port, so many a second, until it is dropped.
fn connections(port: u16, per_second: u32) -> JoinHandle<()> {
    let ask = move || async move {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
            stream.read_to_end(&mut Vec::new()).await
        };
        drop(timeout(TIMEOUT, asked).await);
    };
    tokio::spawn(async move {
        let mut tick = interval(Duration::from_secs(1) / per_second);
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                _ = tick.tick(), if open.len() < 256 => drop(open.spawn(ask())),
                Some(_) = open.join_next() => {}
            }
        }
    })
}

/// How soon a canary is gone that refuses or resets what comes to a port of bytes.
async fn bytes(times: usize) {
    println!("| the canary's port of bytes | connections | share | times | median | most | aim |");
    println!("|---|---|---|---|---|---|---|");
    let port = free_port();
    let block = format!(
        "ingress {{\n  proxy_addr = \"127.0.0.1:{port};proto=tcp\"\n  listener \"127.0.0.1:0\" {{\n    proto = \"http\"\n  }}\n}}"
    );
    let agent = Agent::start_with(Mode::Durable, &block).await;
    let at = |port: &str, route: &str| {
        format!(
            "service {{\n name = \"bytes-port\"\n port = \"{port}\"\n tags = [\"urlprefix-{route} proto=tcp\"]\n }}"
        )
    };
    let route = format!(":{port}");
    let mut job = Echo::new("bytes", 2);
    "old".clone_into(&mut job.text);
    job.service = format!("meta {{\n {}\n }}", labels("5", "1h"));
    job.update =
        "max_parallel = 2\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"20s\"\ncanary = 1"
            .into();
    job.group = at("http", &route);
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    let mut version = 0;
    for (what, port_of, args) in [
        ("refuses", "1", ["", ""]),
        ("resets", "http", ["-reset-rate", "1"]),
    ] {
        let mut took = Vec::new();
        for _ in 0..times {
            version += 1;
            job.text = format!("v{version}");
            job.group = at(port_of, &route);
            let args = args.iter().filter(|word| !word.is_empty());
            job.args = args.map(|word| (*word).to_owned()).collect();
            let load = connections(port, 60);
            job.register(&agent).await;
            let failed = job.deployment(&agent, version, "failed").await;
            load.abort();
            let row: Rollout =
                serde_json::from_value(failed["TaskGroups"]["web"]["Rollout"].clone())
                    .expect("a rollout");
            let last = row.transitions.last().expect("a transition");
            let evidence = last.evidence.first().expect("evidence");
            took.push((last.at - evidence.since).to_std());
        }
        let (median, most) = (percentile(&mut took, 50), percentile(&mut took, 100));
        println!("| {what} | 60/s | 5 % | {times} | {median:.2} s | {most:.2} s | 3 s |");
    }
    stop(&agent, "bytes").await;
    println!();
}

/// How soon the users of a canary that is given up all have the old version.
async fn back(agent: &Agent, times: usize) {
    let meta = "rollout_steps = \"25\"\nrollout_hold = \"1h\"\nrollout_sticky = \"cookie:user\"";
    let mut job = with_canary(agent, "back", meta, "canary = 1").await;
    "new".clone_into(&mut job.text);
    let mut late = Vec::new();
    let mut users = BTreeSet::new();
    for version in 1..=times {
        job.task = format!("kill_timeout = \"5s\"\nenv {{\n RUN = \"{version}\"\n }}");
        job.register(agent).await;
        since(agent, "back", "judging").await;
        in_force(agent, 0.25).await;
        let url = agent.url("ingress", "/back");
        let asking = tokio::spawn(asked(url));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let deployment = http::get(&agent.url("http", "/v1/job/back/deployment")).await;
        let id = deployment["ID"].as_str().expect("an id");
        let given_up = Instant::now();
        http::put(
            &agent.url("http", &format!("/v1/deployment/fail/{id}")),
            &Value::Null,
        )
        .await;
        let new = asking.await.expect("no panic");
        users.extend(new.iter().map(|(user, _)| *user));
        let last = new.iter().map(|(_, sent)| *sent).max().expect("a user");
        late.push(last.saturating_duration_since(given_up));
    }
    let what = format!(
        "the {} of {USERS} users at the canary are back after an abort",
        users.len()
    );
    row(&what, &mut late, "3 s");
    stop(agent, "back").await;
}

/// Who got the new version when, while all users ask in turn for four seconds.
async fn asked(url: String) -> Vec<(usize, Instant)> {
    let end = Instant::now() + Duration::from_secs(4);
    let clients = (0..CLIENTS).map(|client| {
        let url = url.clone();
        async move {
            let http = http::client();
            let mut new = Vec::new();
            for user in (client..USERS).step_by(CLIENTS).cycle() {
                let sent = Instant::now();
                if sent > end {
                    break;
                }
                let request = http.get(&url).header("cookie", format!("user=u{user}"));
                let answer = request.send().await.expect("an answer");
                if answer.text().await.expect("a text") == "new" {
                    new.push((user, sent));
                }
            }
            new
        }
    });
    join_all(clients).await.into_iter().flatten().collect()
}

/// When a webhook was told of what, by the id.
type Told = Arc<Mutex<BTreeMap<String, Timestamp>>>;

async fn hook() -> (String, Told) {
    let told = Told::default();
    let heard = Arc::clone(&told);
    let router = Router::new().fallback(async move |body: Bytes| {
        let message: Value = serde_json::from_slice(&body).expect("JSON");
        let id = message["id"].as_str().expect("an id").to_owned();
        heard
            .lock()
            .expect("no panic holds it")
            .insert(id, clock::now());
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let url = format!("http://{}/x", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, told)
}

/// How soon each act of an operator is in force, and told to a webhook beside one that is dead.
async fn told(agent: &Agent) {
    let (url, heard) = hook().await;
    let dead = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}/x", dead.local_addr().expect("an address"));
    let mut jobs = Vec::new();
    for (id, url) in [("deaf", nobody), ("told", url)] {
        let meta = format!(
            "rollout_steps = \"0,100\"\nrollout_hold = \"1h\"\nrollout_judge = \"observe\"\nrollout_notify = \"{url}\""
        );
        let mut job = with_canary(agent, id, &meta, "canary = 1").await;
        "new".clone_into(&mut job.text);
        job.register(agent).await;
        rollout(agent, id, |row| {
            (row.phase.as_str() != "warming").then_some(())
        })
        .await;
        jobs.push(id);
    }
    let load = start(agent, "told", 400);
    load.more(200).await;
    let acts = [
        ("next", None, "new"),
        ("back", None, "old"),
        ("set-share", Some("100"), "new"),
        ("set-share", Some("0"), "old"),
        ("resume", None, "old"),
    ];
    let mut asked = Vec::new();
    for _ in 0..4 {
        for (word, share, wanted) in acts {
            act(agent, "deaf", word, share).await;
            asked.push((act(agent, "told", word, share).await, wanted));
            load.more(600).await;
        }
    }
    let requests = load.stop().await;
    let mut late: Vec<Duration> = (0..asked.len())
        .map(|at| {
            let (from, wanted) = asked[at];
            let until = asked.get(at + 1).map(|(until, _)| *until);
            let own = requests.iter().filter(|own| own.sent >= from);
            let own = own.filter(|own| until.is_none_or(|until| own.sent < until));
            let wrong = own.filter(|own| own.outcome.as_deref() != Ok(wanted));
            wrong.map(|own| own.sent - from).max().unwrap_or_default()
        })
        .collect();
    row("an act of an operator is in force", &mut late, "1 s");
    println!(
        "| requests meanwhile | {} of {} failed | 0 |",
        load::failures(&requests).len(),
        requests.len()
    );
    let transitions = rollout(agent, "told", |row| Some(row.transitions)).await;
    let mut told: Vec<Duration> = {
        let heard = heard.lock().expect("no panic holds it");
        let when = |revision: u64| {
            let end = format!("/web/{revision}");
            let found = heard.iter().find(|(id, _)| id.ends_with(&end));
            found.map(|(_, at)| *at)
        };
        let all = transitions.iter();
        all.map(|own| when(own.revision).map_or(Duration::MAX, |at| (at - own.at).to_std()))
            .collect()
    };
    row("a transition is told, beside a dead hook", &mut told, "1 s");
    for id in jobs {
        stop(agent, id).await;
    }
}

/// How soon a rollout goes on after both versions failed.
async fn resumed(agent: &Agent, times: usize) {
    let bad = agent.dir().join("bad");
    let mut job = Echo::new("both", 2);
    job.service = format!("meta {{\n {}\n }}", labels("5", "1h"));
    job.update =
        "max_parallel = 2\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"20s\"\ncanary = 1"
            .into();
    let file = bad.to_str().expect("a path");
    job.args = ["-error-rate", "0.5", "-while", file]
        .map(str::to_owned)
        .to_vec();
    job.run(agent).await;
    job.deployment(agent, 0, "successful").await;
    "new".clone_into(&mut job.text);
    let load = start(agent, "both", 100);
    load.more(100).await;
    job.register(agent).await;
    since(agent, "both", "judging").await;
    let (mut held, mut again) = (Vec::new(), Vec::new());
    for _ in 0..times {
        load.more(500).await;
        std::fs::write(&bad, "").expect("a file");
        let began = clock::now();
        held.push((since(agent, "both", "held").await - began).to_std());
        load.more(500).await;
        std::fs::remove_file(&bad).expect("a file");
        let ended = clock::now();
        again.push((since(agent, "both", "judging").await - ended).to_std());
    }
    load.stop().await;
    row("held, both failing half the time at 100/s", &mut held, "–");
    row("it goes on after that", &mut again, "5 s");
    stop(agent, "both").await;
}

/// How soon the next leader judges.
async fn elected(times: usize) {
    let address = |server: usize| format!("127.78.0.{server}");
    let all = [1, 2, 3]
        .map(|server| format!("{:?}", address(server)))
        .join(", ");
    let servers = [1, 2, 3].map(|server| {
        let block = format!(
            "addresses {{ rpc = {:?} }}\nports {{ rpc = 4647 }}\nserver {{\n  enabled = true\n  bootstrap_expect = 3\n  server_join {{ retry_join = [{all}] }}\n}}\n",
            address(server)
        );
        async move { Agent::start_with(Mode::Server, &block).await }
    });
    let mut servers = join_all(servers).await;
    let client =
        Agent::start_with(Mode::Client, &format!("client {{ servers = [{all}] }}\n")).await;
    let mut job = with_canary(&client, "led", &labels("25", "1h"), "canary = 1").await;
    "new".clone_into(&mut job.text);
    job.register(&client).await;
    since(&client, "led", "judging").await;
    let deployment = http::get(&client.url("http", "/v1/job/led/deployment")).await;
    let path = format!(
        "/v1/trivet/rollout/{}",
        deployment["ID"].as_str().expect("an id")
    );
    let mut took = Vec::new();
    for _ in 0..times {
        let load = Load::start(client.address("ingress"), "/led", 60, TIMEOUT);
        load.more(60).await;
        let led = leader(&client).await;
        let at = servers
            .iter()
            .position(|own| own.address("rpc").to_string() == led);
        let old = &mut servers[at.expect("a leader")];
        old.kill().await;
        eventually("another leader", async || match leader(&client).await {
            now if now.is_empty() || now == led => Err(now),
            _ => Ok(()),
        })
        .await;
        let elected = Instant::now();
        eventually("the next judge", async || {
            let shown = http::get(&client.url("http", &path)).await;
            let attempts = shown["Groups"][0]["Standing"]["Canary"]["Attempts"].as_u64();
            let judges = attempts.is_some_and(|count| count > 0);
            judges.then_some(()).ok_or_else(|| shown.to_string())
        })
        .await;
        took.push(elected.elapsed());
        load.stop().await;
        servers[at.expect("a leader")].start_again().await;
    }
    row("the next leader of three judges", &mut took, "5 s");
}

/// Which server leads, as a client knows; nothing while it knows nobody.
async fn leader(client: &Agent) -> String {
    let url = client.url("http", "/v1/status/leader");
    let answer = http::client().get(url).send().await;
    let text = answer.expect("an answer").text().await.expect("a text");
    text.trim_matches('"').to_owned()
}

/// How soon an hour is judged again.
fn replayed() {
    let head = Head {
        format: FORMAT,
        settings: [
            ("rollout_steps", "5"),
            ("rollout_latency", "p50<1.3x,p99<1.5x"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        ..Head::default()
    };
    let mut text = serde_json::to_string(&head).expect("JSON");
    let begins = Timestamp::from_secs(1_800_000_000);
    let look = Span::from_nanos(250_000_000);
    for at in 0..4 * 3600 {
        let rows = [
            ("canary", Side::Canary, 5),
            ("one", Side::Stable, 48),
            ("two", Side::Stable, 47),
        ];
        let rows = rows.map(|(name, side, attempts)| Row {
            route: "/shop".into(),
            alloc_id: AllocId::named(name),
            side,
            is_warming: false,
            counts: Counts {
                attempts,
                failed: u64::from(at % 40 == 0),
                times: Times::new((0..attempts).map(|own| (20_000 + 400 * own, 1))),
                ..Counts::default()
            },
        });
        let window = Window {
            starts: begins + at * look,
            ends: begins + (at + 1) * look,
            share: Share::of_percent(5),
            rows: rows.to_vec(),
            ..Window::default()
        };
        text.push('\n');
        text.push_str(&serde_json::to_string(&window).expect("JSON"));
    }
    let began = Instant::now();
    let (_, said) = replay(&text, &[]).expect("a record");
    let mib = text.len() as f64 / f64::from(1 << 20);
    println!(
        "| an hour of three instances at 400/s ({mib:.1} MiB, {} words) is judged again | {:.2} s | 1 s |",
        said.len(),
        began.elapsed().as_secs_f64()
    );
}
