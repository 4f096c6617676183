//! The driver against a double of the daemon: what is asked, in which order, and what becomes of
//! answers, silence and errors.

mod double;

use super::*;
use crate::drivers::{End, Exit, News};
use double::{Daemon as Double, Fault};
use jobs::model::AllocId;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

struct Bench {
    dir: tempfile::TempDir,
    double: Double,
    driver: Docker,
    told: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(Containers::default()).await
    }

    async fn with(settings: Containers) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let double = Double::start(&dir.path().join("d.sock")).await;
        let pace = Pace {
            first_word: Duration::from_millis(1),
            next_word: Duration::from_millis(10),
            stall: settings.pull_activity_timeout,
            removal: Duration::from_millis(1),
        };
        let endpoint = format!("unix://{}", dir.path().join("d.sock").display());
        let driver = Docker::at(Flavor::Docker, endpoint, settings, pace, dir.path());
        std::fs::create_dir(dir.path().join("logs")).unwrap();
        Self {
            dir,
            double,
            driver,
            told: Arc::default(),
        }
    }

    fn start(&self, task: &str, config: serde_json::Value) -> Start {
        let told = Arc::clone(&self.told);
        let mut start = Start {
            run_id: format!("run-{task}"),
            dir: self.dir.path().join(task),
            alloc_dir: self.dir.path().join("alloc"),
            config: serde_json::from_value(config).unwrap(),
            logs: Some(self.logs(task)),
            news: News::new(move |text| told.lock().push(text)),
            ..Start::default()
        };
        start.owner = owner(task);
        start
    }

    fn logs(&self, task: &str) -> LogFiles {
        LogFiles {
            dir: self.dir.path().join("logs"),
            task: task.into(),
            files_max: 2,
            file_bytes_max: 1000,
        }
    }

    fn log(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("logs").join(file)).unwrap_or_default()
    }

    async fn run(&self, task: &str) -> Box<dyn Run> {
        let start = self.start(task, json!({"image": "local:1"}));
        self.driver.prepare(&start).await.unwrap();
        self.driver.start(&start).await.unwrap()
    }

    async fn ended(&self, run: &mut Box<dyn Run>) -> Exit {
        timeout(DEADLINE, run.ended()).await.unwrap()
    }
}

fn owner(task: &str) -> Owner {
    Owner {
        alloc_id: AllocId::named("a"),
        task: task.into(),
    }
}

fn container(task: &str) -> String {
    format!("{task}-{}", AllocId::named("a"))
}

#[tokio::test]
async fn a_task_is_made_started_heard_and_removed() {
    let bench = Bench::new().await;
    bench.double.has_image("local:1");
    let mut run = bench.run("web").await;
    bench.double.writes(&container("web"), 1, "out\n");
    bench.double.writes(&container("web"), 2, "err\n");
    bench.double.exits(&container("web"), 3, false);
    let exit = bench.ended(&mut run).await;
    assert_eq!((exit.ended.code, exit.run_id.as_str()), (3, "run-web"));
    assert_eq!(bench.log("web.stdout.0"), "out\n");
    assert_eq!(bench.log("web.stderr.0"), "err\n");
    run.noted(End::Kept).await;
    let calls = bench.double.calls();
    let writes: Vec<&str> = calls
        .iter()
        .filter(|call| !call.starts_with("GET"))
        .map(String::as_str)
        .collect();
    let name = container("web");
    let expected = [
        format!("POST /containers/create?name={name}"),
        "POST /containers/1/start".into(),
        "POST /containers/1/wait?condition=not-running".into(),
        "DELETE /containers/1?v=true&force=true&link=false".into(),
    ];
    assert_eq!(writes, expected, "{calls:#?}");
}

#[tokio::test]
async fn one_pull_serves_all_who_wait_and_is_told_as_events() {
    let bench = Bench::new().await;
    bench.double.pulls_slowly("hub:2");
    let [one, two] = ["one", "two"].map(|task| bench.start(task, json!({"image": "hub:2"})));
    let both = async { tokio::join!(bench.driver.prepare(&one), bench.driver.prepare(&two)) };
    let (first, second) = timeout(DEADLINE, async {
        let release = async {
            bench.double.until_called("POST /images/create").await;
            // Both wait, and both have told of the layer that is there, before the last one comes.
            while bench
                .told
                .lock()
                .iter()
                .filter(|text| text.contains("1/2 layers"))
                .count()
                < 2
            {
                tokio::task::yield_now().await;
            }
            bench.double.finish_pull("hub:2");
        };
        tokio::join!(both, release).0
    })
    .await
    .unwrap();
    first.and(second).unwrap();
    let pulls = bench.double.calls();
    let pulls = pulls
        .iter()
        .filter(|call| call.starts_with("POST /images/create"));
    assert_eq!(pulls.count(), 1);
    let told = bench.told.lock().clone();
    assert!(told.contains(&"Downloading image".to_owned()), "{told:?}");
    assert!(
        told.iter().any(|text| text.contains("1/2 layers")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_pull_is_refused_stalls_or_fails_with_a_sentence() {
    let settings = Containers {
        pull_activity_timeout: Duration::from_millis(100),
        ..Containers::default()
    };
    let hasty = Bench::with(settings).await;
    let bench = Bench::new().await;
    let pull = async |bench: &Bench, config: serde_json::Value| {
        let start = bench.start("web", config);
        match timeout(DEADLINE, bench.driver.prepare(&start))
            .await
            .unwrap()
        {
            Err(StartError::Refused { reason, is_final }) => (reason, is_final),
            other => panic!("{other:?}"),
        }
    };
    let (reason, is_final) = pull(&bench, json!({"image": "nobody/has:1"})).await;
    assert!(
        is_final && reason.contains("Failed to pull `nobody/has:1`"),
        "{reason}"
    );
    hasty.double.pulls_slowly("hub:2");
    let (reason, is_final) = pull(&hasty, json!({"image": "hub:2"})).await;
    assert!(
        !is_final && reason.contains("no progress for 100ms"),
        "{reason}"
    );
    bench.double.fails(
        "POST /images/create",
        Fault::Status(500, "registry is away"),
    );
    let (reason, is_final) = pull(&bench, json!({"image": "hub:3"})).await;
    assert!(!is_final && reason.contains("registry is away"), "{reason}");
    // `latest` is asked for again although it is there.
    bench.double.has_image("local:latest");
    bench
        .double
        .fails("POST /images/create", Fault::Status(404, "no such image"));
    let (reason, is_final) = pull(&bench, json!({"image": "local"})).await;
    assert!(is_final && reason.contains("`local:latest`"), "{reason}");
}

#[tokio::test]
async fn credentials_go_with_the_pull_and_nowhere_else() {
    let bench = Bench::new().await;
    let auth = json!({"image": "hub:1", "auth": {"username": "u", "password": "hush"}});
    let start = bench.start("web", auth);
    bench.double.pulls("hub:1");
    bench.driver.prepare(&start).await.unwrap();
    let sent = bench
        .double
        .header("POST /images/create", "x-registry-auth");
    let sent = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, sent).unwrap();
    let sent: serde_json::Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(
        (&sent["username"], &sent["password"]),
        (&json!("u"), &json!("hush"))
    );
    assert!(!format!("{:?}", bench.told.lock()).contains("hush"));
}

#[tokio::test]
async fn stopping_signals_first_and_kills_later() {
    let bench = Bench::new().await;
    bench.double.has_image("local:1");
    let mut run = bench.run("polite").await;
    bench.double.ends_on_signal(&container("polite"), "SIGTERM");
    run.stop(None, Duration::from_secs(60)).await.unwrap();
    assert_eq!(bench.ended(&mut run).await.ended.code, 143);
    let mut run = bench.run("deaf").await;
    run.stop(Some(2), Duration::from_millis(20)).await.unwrap();
    assert_eq!(bench.ended(&mut run).await.ended.code, 137);
    let calls = bench.double.calls();
    for signal in ["SIGTERM", "2", "SIGKILL"] {
        let asked = format!("kill?signal={signal}");
        assert!(
            calls.iter().any(|call| call.ends_with(&asked)),
            "{signal}: {calls:#?}"
        );
    }
}

#[tokio::test]
async fn a_task_outlives_its_daemon_and_its_agent() {
    let bench = Bench::new().await;
    bench.double.has_image("local:1");
    let mut run = bench.run("web").await;
    bench.double.writes(&container("web"), 1, "before\n");
    // The daemon goes away and comes back, and so does the answer to `wait`.
    bench.double.stop().await;
    let waited = timeout(Duration::from_millis(50), run.ended()).await;
    assert!(waited.is_err(), "{waited:?}");
    bench.double.restart().await;
    let handle = run.handle();
    drop(run);
    let logs = bench.logs("web");
    let found = bench
        .driver
        .find(&owner("web"), Some(&handle), Some(&logs))
        .await;
    let Found::Running(mut run) = found.unwrap() else {
        panic!("it runs");
    };
    assert_eq!(run.run_id(), "run-web");
    bench.double.writes(&container("web"), 1, "after\n");
    bench.double.exits(&container("web"), 0, true);
    let exit = bench.ended(&mut run).await;
    assert!(exit.is_out_of_memory && exit.message == "OOM Killed");
    // Nothing twice, nothing lost.
    assert_eq!(bench.log("web.stdout.0"), "before\nafter\n");
    let ended = bench
        .driver
        .find(&owner("web"), Some(&handle), Some(&logs))
        .await
        .unwrap();
    assert!(matches!(ended, Found::Ended(exit) if exit.run_id == "run-web"));
    bench.driver.forget(&owner("web"));
    bench.double.until_called("DELETE /containers/").await;
    let gone = bench.driver.find(&owner("web"), None, None).await.unwrap();
    assert!(matches!(gone, Found::Gone));
}

#[tokio::test]
async fn what_is_killed_for_its_memory_says_so_even_when_the_daemon_is_late() {
    let bench = Bench::new().await;
    bench.double.has_image("local:1");
    let mut hungry = bench.run("hungry").await;
    bench.double.is_killed_for_memory(&container("hungry"));
    let exit = bench.ended(&mut hungry).await;
    assert!(
        exit.is_out_of_memory && exit.message == "OOM Killed",
        "{exit:?}"
    );
    // Somebody else killed it.
    let mut killed = bench.run("killed").await;
    bench.double.exits(&container("killed"), 137, false);
    let exit = bench.ended(&mut killed).await;
    assert!(!exit.is_out_of_memory && exit.ended.code == 137, "{exit:?}");
}

#[tokio::test]
async fn what_has_the_name_of_a_task_makes_place() {
    let bench = Bench::new().await;
    bench.double.has_image("local:1");
    let mut first = bench.run("web").await;
    // The same task is not started twice.
    let second = bench.run("web").await;
    assert_eq!(
        (second.handle(), second.run_id()),
        (first.handle(), "run-web")
    );
    bench.double.exits(&container("web"), 0, false);
    bench.ended(&mut first).await;
    let third = bench.run("web").await;
    assert_ne!(third.handle(), first.handle());
}

#[tokio::test]
async fn what_cannot_start_leaves_nothing() {
    let bench = Bench::new().await;
    bench.double.has_image("local:1");
    bench.double.fails(
        "POST /containers/1/start",
        Fault::Status(500, "port is already allocated"),
    );
    let start = bench.start("web", json!({"image": "local:1"}));
    let error = bench.driver.start(&start).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("port is already allocated"), "{text}");
    let calls = bench.double.calls();
    let removed = |call: &String| call.starts_with("DELETE /containers/1?");
    assert!(calls.iter().any(removed), "{calls:#?}");
    // Nobody knows what a daemon did that said nothing.
    bench.double.fails("POST /containers/create", Fault::Closes);
    let error = bench.driver.start(&start).await.unwrap_err();
    assert!(matches!(error, StartError::Unknown { .. }), "{error:?}");
}

#[tokio::test]
async fn the_machine_is_told_what_the_daemon_offers() {
    let bench = Bench::new().await;
    let info = bench.driver.fingerprint().await;
    assert!(info.detected && info.healthy, "{info:?}");
    for (key, value) in [
        ("driver.docker", "1"),
        ("driver.docker.version", "20.10.24"),
        ("driver.docker.os_type", "linux"),
        ("driver.docker.runtimes", "io.containerd.runc.v2,runc"),
        ("driver.docker.bridge_ip", "172.17.0.1"),
    ] {
        assert_eq!(
            info.attributes.get(key).map(String::as_str),
            Some(value),
            "{key}"
        );
    }
    bench.double.stop().await;
    let info = bench.driver.fingerprint().await;
    assert!(!info.detected && info.attributes.is_empty());
    let said = &info.health_description;
    assert!(
        said.contains("Failed to connect to docker daemon"),
        "{said}"
    );
}

#[tokio::test]
async fn containers_of_this_node_without_a_task_and_images_without_a_use_go() {
    let settings = Containers {
        dangling_grace: Duration::ZERO,
        ..Containers::default()
    };
    let bench = Bench::with(settings).await;
    bench.double.pulls("hub:1");
    let mut start = bench.start("web", json!({"image": "hub:1"}));
    start.names.node_id = "n1".into();
    let mut run = bench.driver.start(&start).await.unwrap();
    let known = [owner("web")].into();
    bench.driver.sweep("n1", &known).await;
    assert!(
        !bench
            .double
            .calls()
            .iter()
            .any(|call| call.starts_with("DELETE"))
    );
    bench.double.exits(&container("web"), 0, false);
    bench.ended(&mut run).await;
    run.noted(End::Kept).await;
    drop(run);
    bench.double.until_called("DELETE /images/").await;
    let mut lost = bench.start("lost", json!({"image": "hub:1"}));
    lost.names.node_id = "n1".into();
    drop(bench.driver.start(&lost).await.unwrap());
    *bench.driver.swept.lock() = None;
    let asked = bench.double.calls().len();
    bench.driver.sweep("n2", &BTreeSet::new()).await;
    *bench.driver.swept.lock() = None;
    let calls = bench.double.calls();
    let removed = calls
        .iter()
        .skip(asked)
        .filter(|call| call.starts_with("DELETE /containers"));
    assert_eq!(removed.count(), 0, "it is another node's: {calls:#?}");
    bench.driver.sweep("n1", &BTreeSet::new()).await;
    let calls = bench.double.calls();
    let removed = calls
        .iter()
        .skip(asked)
        .filter(|call| call.starts_with("DELETE /containers"));
    assert_eq!(removed.count(), 1, "{calls:#?}");
}

#[tokio::test]
async fn the_counters_of_a_container_are_read() {
    let bench = Bench::new().await;
    bench.double.has_image("local:1");
    let run = bench.run("web").await;
    let measured = run.meter().measure().await.unwrap().whole.unwrap();
    assert_eq!(measured.resident_bytes, Some(4096));
    assert_eq!(
        (measured.used_bytes, measured.used_bytes_max),
        (Some(8192), Some(9000))
    );
    assert_eq!((measured.user_ticks, measured.throttled_periods), (100, 7));
}
