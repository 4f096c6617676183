//! The client part against a server that only listens: real supervisors, real processes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use client::{Client, Config, Error, Handle, LogStream, Origin, Range, Tasks};
use jobs::model::{
    AllocId, Allocation, Artifact, ClientStatus, DesiredStatus, Job, JobType, Lifecycle,
    RestartPolicy, ServiceCheck, ServiceSpec, Span, Task, TaskConfig, TaskEvent, TaskGroup,
    TaskPhase, Template,
};
use jobs::state::AllocUpdate;
use rpc::{
    message::{Assignment, Hello, Position, Report, RulesVersion, ToClient, ToServer},
    session::Session,
    transport::Listener,
};
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};
use sys::clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Longest time for anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the server has heard.
#[derive(Clone, Debug, Default)]
struct Heard {
    allocs: BTreeMap<String, AllocUpdate>,
    checks: Vec<(String, String)>,
    withdrawn: Vec<Option<String>>,
}

/// A client with a server that says yes to everything.
struct Machine {
    orders: mpsc::Sender<ToClient>,
    heard: watch::Receiver<Heard>,
    handle: Handle,
    shutdown: CancellationToken,
    client: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

impl Machine {
    async fn start(dir: &Path, dev: bool) -> Self {
        Self::start_as(config(dir, dev)).await
    }

    async fn start_as(config: Config) -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = listener.local_addr();
        let (orders, mut to_send) = mpsc::channel::<ToClient>(16);
        let (hears, heard) = watch::channel(Heard::default());
        let server = tokio::spawn(async move {
            let mut link = listener.accept().await.unwrap();
            assert!(matches!(
                link.incoming.recv().await,
                Some(ToServer::Hello(_))
            ));
            let welcome = ToClient::Welcome {
                lease_ms: 60_000,
                history: 1,
                rules: RulesVersion::default(),
                takes_traffic: false,
                servers: Vec::new(),
            };
            link.outgoing.send(welcome.into()).await.unwrap();
            let mut index = 100;
            loop {
                tokio::select! {
                    order = to_send.recv() => match order {
                        Some(order) => link.outgoing.send(order.into()).await.unwrap(),
                        None => return,
                    },
                    message = link.incoming.recv() => match message {
                        None => return,
                        Some(ToServer::Report { number, report }) => {
                            index += 1;
                            hears.send_modify(|heard| heard.take(report));
                            let committed = ToClient::Committed { number, index };
                            link.outgoing.send(committed.into()).await.unwrap();
                        }
                        Some(ToServer::Await { number, .. }) => {
                            let drained = ToClient::Drained { number };
                            link.outgoing.send(drained.into()).await.unwrap();
                        }
                        Some(_) => {}
                    },
                }
            }
        });
        let client = Client::new(config).unwrap();
        let hello = Hello {
            node: Some((*client.node()).clone()),
            ..Hello::default()
        };
        let (session, session_handle, deltas) = Session::new(address, hello);
        let session = tokio::spawn(session.run(std::future::pending()));
        let shutdown = CancellationToken::new();
        let handle = client.handle();
        let client = tokio::spawn(client.run(session_handle, deltas, shutdown.clone()));
        Self {
            orders,
            heard,
            handle,
            shutdown,
            client,
            others: vec![server, session],
        }
    }

    async fn assign(&self, alloc: Allocation) {
        let job = Arc::clone(&alloc.job);
        let order = ToClient::Allocs {
            at: Position::default(),
            known: None,
            assignments: vec![Assignment { alloc, job }],
            removed: Vec::new(),
        };
        self.orders.send(order).await.unwrap();
    }

    async fn stop(&self, mut alloc: Allocation) {
        alloc.desired_status = DesiredStatus::Stop;
        alloc.modify_index += 1;
        self.assign(alloc).await;
    }

    /// Waits until what was heard satisfies `test`.
    async fn until(&mut self, what: &str, test: impl Fn(&Heard) -> bool) -> Heard {
        let found = timeout(PATIENCE, self.heard.wait_for(|heard| test(heard))).await;
        if let Ok(heard) = found {
            return heard.unwrap().clone();
        }
        drop(found);
        panic!("{what} did not come: {:#?}", self.heard.borrow());
    }

    async fn until_status(&mut self, status: ClientStatus) -> AllocUpdate {
        let heard = self
            .until(status.as_str(), |heard| {
                heard
                    .allocs
                    .get(&id_text("a1"))
                    .is_some_and(|alloc| alloc.client_status == status)
            })
            .await;
        heard.allocs[&id_text("a1")].clone()
    }

    /// Ends the client as the end of its agent does.
    async fn shut_down(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.client).await.unwrap().unwrap();
        for other in self.others {
            other.abort();
        }
    }
}

impl Heard {
    fn take(&mut self, report: Report) {
        match report {
            Report::Allocs(updates) => {
                for update in updates {
                    self.allocs.insert(update.alloc_id.to_string(), update);
                }
            }
            Report::Checks(checks) => {
                let news = checks.into_iter().map(|check| (check.status, check.output));
                self.checks.extend(news);
            }
            Report::Withdraw { task, .. } => self.withdrawn.push(task.map(String::from)),
            Report::Node(_) | Report::Local(_) => {}
        }
    }
}

fn config(dir: &Path, dev: bool) -> Config {
    Config {
        data_dir: dir.join("client"),
        alloc_dir: dir.join("alloc"),
        name: "one".into(),
        region: "global".into(),
        datacenter: "dc1".into(),
        node_class: String::new(),
        node_pool: "default".into(),
        meta: BTreeMap::new(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        networks: config::Networks::default(),
        http_addr: "127.0.0.1:4646".into(),
        version: "0.1.0".into(),
        takes_jobs: true,
        node_id: None,
        raw_exec: true,
        executable: env!("CARGO_BIN_EXE_trivet").into(),
        dynamic_ports: (20_000, 32_000),
        reserved: config::Reserved::default(),
        cpu_mhz: None,
        memory_mib: None,
        artifact_dirs: vec!["/no".into()],
        plugins: config::Plugins::default(),
        host_volumes: BTreeMap::new(),
        chroot_env: None,
        bridge: config::Bridge::default(),
        collection: config::Collection::default(),
        has_host_id: false,
        kill_timeout_max: Duration::from_secs(30),
        takes_commands: true,
        options: config::Options::default(),
        artifact: config::ArtifactLimits::default(),
        template: config::TemplateRules::default(),
        cni: config::Cni::default(),
        dev,
    }
}

fn shell(script: &str) -> Task {
    Task {
        name: "main".into(),
        driver: "raw_exec".into(),
        config: TaskConfig::from([
            ("command".into(), "/bin/sh".into()),
            ("args".into(), vec!["-c", script].into()),
        ]),
        // Longer than a busy disk holds up what a task writes when it is told to end.
        kill_timeout: Span::from_secs(30),
        ..Task::default()
    }
}

/// The id of an allocation as paths and files have it.
fn id_text(name: &str) -> String {
    AllocId::named(name).to_string()
}

fn alloc(job_type: JobType, attempts: u32, task: Task) -> Allocation {
    let group = TaskGroup {
        name: "g".into(),
        tasks: vec![task],
        restart_policy: RestartPolicy {
            attempts,
            interval: Span::HOUR,
            delay: Span::ZERO,
            mode: "fail".into(),
            ..RestartPolicy::default()
        },
        ..TaskGroup::default()
    };
    let job = Job {
        id: "j".into(),
        name: "j".into(),
        job_type,
        task_groups: vec![group].into(),
        ..Job::default()
    };
    Allocation {
        id: AllocId::named("a1"),
        name: "j.g[0]".into(),
        job_id: "j".into(),
        task_group: "g".into(),
        job: Arc::new(job),
        modify_index: 5,
        ..Allocation::default()
    }
}

fn edit(alloc: &mut Allocation, change: impl FnOnce(&mut TaskGroup)) {
    let job = Arc::make_mut(&mut alloc.job);
    change(&mut job.task_groups[0]);
}

fn event_types(update: &AllocUpdate) -> Vec<&str> {
    let events = &update.task_states["main"].events;
    events
        .iter()
        .map(|event| event.event_type.as_str())
        .collect()
}

fn is_alive(pid: i32) -> bool {
    sys::processes::Identity::of(pid).is_some_and(|process| process.is_alive())
}

async fn logs(machine: &Machine, stream: LogStream) -> String {
    let mut frames = machine
        .handle
        .logs(&id_text("a1"), "main", stream, Range::default())
        .await
        .unwrap();
    let mut text = String::new();
    while let Some(frame) = frames.recv().await {
        text.push_str(&String::from_utf8(frame.data).unwrap());
    }
    text
}

/// Follows a task's output until its first line is complete.
async fn first_line(machine: &Machine) -> String {
    let range = Range {
        origin: Origin::Start,
        offset: 0,
        follow: true,
    };
    let mut frames = machine
        .handle
        .logs(&id_text("a1"), "main", LogStream::Stdout, range)
        .await
        .unwrap();
    let mut text = String::new();
    while !text.contains('\n') {
        let frame = timeout(PATIENCE, frames.recv()).await.unwrap().unwrap();
        text.push_str(&String::from_utf8(frame.data).unwrap());
    }
    text.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_batch_task_completes_with_its_events_and_logs() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), true).await;
    let script = "echo out $NOMAD_TASK_NAME ${NOMAD_ALLOC_INDEX}; echo err >&2";
    let script = script.replace("${", "$${");
    machine
        .assign(alloc(JobType::Batch, 0, shell(&script)))
        .await;
    let update = machine.until_status(ClientStatus::Complete).await;
    let expected = ["Received", "Task Setup", "Started", "Terminated"];
    assert_eq!(event_types(&update), expected);
    assert_eq!(
        update.task_states["main"].events[3].display_message,
        "Exit Code: 0"
    );
    assert_eq!(logs(&machine, LogStream::Stdout).await, "out main 0\n");
    assert_eq!(logs(&machine, LogStream::Stderr).await, "err\n");
    machine.shut_down().await;
    assert!(
        !dir.path().join("alloc").join(id_text("a1")).exists(),
        "dev mode leaves nothing"
    );
}

#[tokio::test]
async fn what_runs_longer_than_its_group_may_is_stopped_and_complete() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), false).await;
    let mut long = alloc(JobType::Batch, 3, shell("exec sleep 1000"));
    long.create_time = clock::now();
    let mark = dir.path().join("poststop");
    edit(&mut long, |group| {
        // Longer than a busy machine takes to start it.
        group.max_run_duration = Some(Span::from_secs(5));
        group.tasks.push(Task {
            name: "after".into(),
            lifecycle: Some(Lifecycle {
                hook: "poststop".into(),
                sidecar: false,
            }),
            ..shell(&format!("touch {}", mark.display()))
        });
    });
    machine.assign(long.clone()).await;
    let update = machine.until_status(ClientStatus::Complete).await;
    let reason = "allocation exceeded max_run_duration";
    assert_eq!(update.client_description.as_str(), reason);
    let main = &update.task_states["main"];
    assert!(!main.failed);
    let said = |event: &TaskEvent| event.event_type == "Killing" && event.display_message == reason;
    assert!(main.events.iter().any(said), "{:?}", main.events);
    assert!(main.finished_at.since(long.create_time) >= Duration::from_secs(5));
    // Its time is over: nothing starts any more.
    assert!(update.task_states["after"].started_at.is_zero());
    assert!(!mark.exists());
    machine.shut_down().await;
}

#[tokio::test]
async fn failures_are_restarted_as_the_policy_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), true).await;
    machine
        .assign(alloc(JobType::Service, 2, shell("exit 3")))
        .await;
    let update = machine.until_status(ClientStatus::Failed).await;
    let state = &update.task_states["main"];
    assert_eq!((state.restarts, state.failed), (2, true));
    let last = state.events.last().unwrap();
    assert_eq!(
        last.display_message,
        "Exceeded allowed attempts 2 in interval 1h0m0s and mode is \"fail\""
    );
    assert_eq!(state.events[state.events.len() - 2].exit_code, 3);
    machine.shut_down().await;
}

#[tokio::test]
async fn a_task_that_cannot_run_says_why() {
    let missing = {
        let mut task = shell("");
        task.config = TaskConfig::from([("command".into(), "no-such-program".into())]);
        task
    };
    let unknown = {
        let mut task = shell("echo ${nope}");
        task.config.insert("image".into(), "x".into());
        task
    };
    let template = Task {
        templates: vec![Template::default()],
        ..shell("true")
    };
    let artifact = Task {
        artifacts: vec![Artifact {
            getter_source: "/no/such/file".into(),
            ..Artifact::default()
        }],
        ..shell("true")
    };
    for (task, event_type, text) in [
        (
            missing,
            "Driver Failure",
            "binary \"no-such-program\" could not be found",
        ),
        (
            unknown,
            "Failed Validation",
            "unknown variable `${nope}` (to pass it on as it is, write `$$${nope}` in the job file); invalid label",
        ),
        (template, "Template", "Template failed: "),
        (
            artifact,
            "Failed Artifact Download",
            "failed to download artifact \"/no/such/file\"",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = Machine::start(dir.path(), true).await;
        machine.assign(alloc(JobType::Service, 0, task)).await;
        let update = machine.until_status(ClientStatus::Failed).await;
        let events = &update.task_states["main"].events;
        let found = events
            .iter()
            .find(|event| event.event_type == event_type)
            .expect(event_type);
        assert!(
            found.display_message.contains(text),
            "{}",
            found.display_message
        );
        machine.shut_down().await;
    }
}

#[tokio::test]
async fn stopping_sends_the_signal_and_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), true).await;
    let script =
        "trap 'echo bye; exit 7' TERM; setsid sleep 1000 & echo $!; while :; do sleep 0.05; done";
    let alloc = alloc(
        JobType::Service,
        0,
        Task {
            kill_signal: "SIGTERM".into(),
            ..shell(script)
        },
    );
    machine.assign(alloc.clone()).await;
    machine.until_status(ClientStatus::Running).await;
    let left_behind: i32 = first_line(&machine).await.parse().unwrap();
    assert!(is_alive(left_behind));
    machine.stop(alloc).await;
    let update = machine.until_status(ClientStatus::Complete).await;
    let types = event_types(&update);
    assert_eq!(
        types[types.len() - 3..],
        ["Killing", "Terminated", "Killed"]
    );
    assert_eq!(
        update.task_states["main"].events[types.len() - 2].exit_code,
        7
    );
    assert!(logs(&machine, LogStream::Stdout).await.ends_with("bye\n"));
    assert!(!is_alive(left_behind), "also what left the process group");
    machine.shut_down().await;
}

#[tokio::test]
async fn tasks_run_before_beside_and_after_the_leader() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), true).await;
    let until_killed = |name: &str| {
        format!(
            "trap 'echo {name} >> order; exit 0' INT; : > {name}-waits; while :; do sleep 0.02; done"
        )
    };
    let leader = "until grep -qs hi order && [ -e other-waits ] && [ -e beside-waits ]; do sleep 0.02; done; \
                  echo leader >> order";
    let task = |name: &str, hook: &str, sidecar: bool, script: &str| Task {
        name: name.into(),
        lifecycle: (!hook.is_empty()).then(|| Lifecycle {
            hook: hook.into(),
            sidecar,
        }),
        leader: name == "main",
        ..shell(&format!("cd $NOMAD_ALLOC_DIR/data; {script}"))
    };
    let mut alloc = alloc(JobType::Batch, 0, task("main", "", false, leader));
    edit(&mut alloc, |group| {
        group.tasks.extend([
            task("last", "poststop", false, "echo last >> order"),
            task("other", "", false, &until_killed("other")),
            task("beside", "prestart", true, &until_killed("beside")),
            task("hi", "poststart", false, "echo hi >> order"),
            task("first", "prestart", false, "echo first >> order"),
        ]);
    });
    machine.assign(alloc).await;
    let update = machine.until_status(ClientStatus::Complete).await;
    let data = dir
        .path()
        .join("alloc")
        .join(id_text("a1"))
        .join("alloc/data");
    let order = fs::read_to_string(data.join("order")).unwrap();
    let mut lines: Vec<&str> = order.lines().collect();
    assert_eq!(lines.len(), 6, "{order}{:#?}", update.task_states);
    lines[3..5].sort_unstable();
    assert_eq!(lines, ["first", "hi", "leader", "beside", "other", "last"]);
    for task in ["other", "beside"] {
        let events = &update.task_states[task].events;
        let types: Vec<&str> = events.iter().map(|one| one.event_type.as_str()).collect();
        assert!(types.contains(&"Leader Task Dead"), "{task}: {types:?}");
    }
    assert!(update.task_states.values().all(|task| !task.failed));
    machine.shut_down().await;
}

#[tokio::test]
async fn all_tasks_begin_anew_in_their_order_also_those_that_have_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), true).await;
    let task = |name: &str, hook: &str, script: &str| Task {
        name: name.into(),
        lifecycle: (!hook.is_empty()).then(|| Lifecycle {
            hook: hook.into(),
            sidecar: false,
        }),
        ..shell(&format!(
            "cd $NOMAD_ALLOC_DIR/data; echo {name} >> order; {script}"
        ))
    };
    let wait = "while :; do sleep 0.02; done";
    let mut alloc = alloc(JobType::Service, 3, task("main", "", wait));
    edit(&mut alloc, |group| {
        // The main task does not run before this one is over, also when it ran already.
        let first = "sleep 0.2; echo prepared >> order";
        group.tasks.extend([
            task("after", "poststart", ""),
            task("first", "prestart", first),
            task("last", "poststop", ""),
        ]);
    });
    machine.assign(alloc.clone()).await;
    let is_up = |heard: &Heard, restarts: u64| {
        let states = heard.allocs.get(&id_text("a1")).map(|one| &one.task_states);
        states.is_some_and(|states| {
            let after = states.get("after");
            after.is_some_and(|one| one.state == TaskPhase::Dead && one.restarts == restarts)
                && states["main"].state == TaskPhase::Running
        })
    };
    machine
        .until("the first round", |heard| is_up(heard, 0))
        .await;
    let id = id_text("a1");
    let refused = machine.handle.restart(&id, Tasks::Named("first".into()));
    assert!(matches!(refused.await, Err(Error::NotRunning)));
    for round in 1..3 {
        machine.handle.restart(&id, Tasks::All).await.unwrap();
        machine
            .until("another round", |heard| is_up(heard, round))
            .await;
    }
    machine.stop(alloc).await;
    let update = machine.until_status(ClientStatus::Complete).await;
    let data = dir.path().join("alloc").join(id_text("a1"));
    let order = fs::read_to_string(data.join("alloc/data/order")).unwrap();
    let lines: Vec<&str> = order.lines().collect();
    let round = ["first", "prepared", "main", "after"];
    assert_eq!(lines, [&round[..], &round, &round, &["last"]].concat());
    for (name, state) in &update.task_states {
        let counted = state.restarts;
        assert_eq!(
            counted,
            if name.as_str() == "last" { 0 } else { 2 },
            "{name}"
        );
    }
    let over = machine.handle.restart(&id_text("a1"), Tasks::All).await;
    assert!(over.is_err(), "nothing of it is left");
    machine.shut_down().await;
}

#[tokio::test]
async fn ended_allocations_go_when_there_are_too_many_or_somebody_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let collection = config::Collection {
        interval: Duration::from_millis(50),
        disk_percent_max: 100.0,
        inode_percent_max: 100.0,
        allocs_max: 3,
        ..config::Collection::default()
    };
    let mut machine = Machine::start_as(Config {
        collection,
        ..config(dir.path(), false)
    })
    .await;
    let handle = machine.handle.clone();
    let first = alloc(JobType::Batch, 0, shell("exec sleep 1000"));
    machine.assign(first.clone()).await;
    machine.until_status(ClientStatus::Running).await;
    for id in ["a2", "a3", "a4"] {
        let mut next = alloc(JobType::Batch, 0, shell("true"));
        next.id = AllocId::named(id);
        machine.assign(next).await;
        let is_over = |heard: &Heard| {
            let alloc = heard.allocs.get(&id_text(id));
            alloc.is_some_and(|alloc| alloc.client_status == ClientStatus::Complete)
        };
        machine.until(id, is_over).await;
    }
    let gone = async |id: &str| {
        let path = dir.path().join("alloc").join(id_text(id));
        while handle.knows(&id_text(id)) || path.exists() {
            tokio::task::yield_now().await;
        }
    };
    // What was ended first goes, and what runs counts.
    let unknown = async || {
        while handle.knows(&id_text("a2")) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, unknown()).await.unwrap();
    assert!(
        ["a1", "a3", "a4"]
            .map(id_text)
            .iter()
            .all(|id| handle.knows(id))
    );
    let running = handle.collect_alloc(&id_text("a1")).await;
    assert!(matches!(running, Err(Error::NotOver { .. })), "{running:?}");
    let unknown = handle.collect_alloc(&id_text("a2")).await;
    assert!(
        matches!(unknown, Err(Error::UnknownAlloc { .. })),
        "{unknown:?}"
    );
    // Its end is told a moment before it is over here.
    while let Err(Error::NotOver { .. }) = handle.collect_alloc(&id_text("a3")).await {
        tokio::task::yield_now().await;
    }
    // Whatever waits goes with it.
    let all = async {
        gone("a2").await;
        gone("a3").await;
    };
    timeout(PATIENCE, all).await.unwrap();
    assert!(handle.knows(&id_text("a4")));
    let all = async {
        while handle.knows(&id_text("a4")) {
            handle.collect().await.unwrap();
        }
        gone("a4").await;
    };
    timeout(PATIENCE, all).await.unwrap();
    assert!(handle.knows(&id_text("a1")));
    machine.stop(first).await;
    machine.until_status(ClientStatus::Complete).await;
    machine.shut_down().await;
}

#[tokio::test]
async fn a_sticky_disk_passes_from_one_allocation_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), false).await;
    let script =
        "echo $NOMAD_ALLOC_ID >> $NOMAD_ALLOC_DIR/data/seen; echo $NOMAD_ALLOC_ID >> local/seen";
    for (id, previous) in [("a1", None), ("a2", Some("a1")), ("a3", Some("a2"))] {
        let mut next = alloc(JobType::Batch, 0, shell(script));
        next.id = AllocId::named(id);
        next.previous_allocation = previous.map(AllocId::named);
        edit(&mut next, |group| group.ephemeral_disk.sticky = id != "a3");
        machine.assign(next).await;
        let is_over = |heard: &Heard| {
            let alloc = heard.allocs.get(&id_text(id));
            alloc.is_some_and(|alloc| alloc.client_status == ClientStatus::Complete)
        };
        machine.until(id, is_over).await;
    }
    let seen = |id: &str, file: &str| {
        let path = dir.path().join("alloc").join(id_text(id)).join(file);
        fs::read_to_string(path).unwrap_or_default().lines().count()
    };
    for file in ["alloc/data/seen", "main/local/seen"] {
        assert_eq!(
            ["a1", "a2", "a3"].map(|id| seen(id, file)),
            [0, 2, 1],
            "{file}"
        );
    }
    machine.shut_down().await;
}

#[tokio::test]
async fn a_task_that_ignores_its_signal_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), true).await;
    let alloc = alloc(
        JobType::Service,
        0,
        Task {
            kill_timeout: Duration::from_millis(100).into(),
            ..shell("trap '' INT; echo ready; while :; do sleep 0.05; done")
        },
    );
    machine.assign(alloc.clone()).await;
    machine.until_status(ClientStatus::Running).await;
    first_line(&machine).await;
    machine.stop(alloc).await;
    let update = machine.until_status(ClientStatus::Complete).await;
    let events = &update.task_states["main"].events;
    assert!(events.iter().any(|event| event.signal == 9), "{events:#?}");
    machine.shut_down().await;
}

#[tokio::test]
async fn tasks_outlive_the_agent_and_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), false).await;
    let alloc = alloc(
        JobType::Service,
        0,
        shell("echo $$; while :; do sleep 0.05; done"),
    );
    machine.assign(alloc.clone()).await;
    machine.until_status(ClientStatus::Running).await;
    let pid: i32 = first_line(&machine).await.parse().unwrap();
    machine.shut_down().await;
    assert!(is_alive(pid));

    let mut machine = Machine::start(dir.path(), false).await;
    let update = machine.until_status(ClientStatus::Running).await;
    assert_eq!(event_types(&update), ["Received", "Task Setup", "Started"]);
    assert_eq!(update.task_states["main"].restarts, 0);
    assert!(is_alive(pid), "the same process still runs");
    machine
        .handle
        .signal(&id_text("a1"), None, "SIGKILL")
        .await
        .unwrap();
    let update = machine.until_status(ClientStatus::Failed).await;
    assert!(event_types(&update).contains(&"Signaling"));
    assert_eq!(
        update.task_states["main"].events.last().unwrap().event_type,
        "Not Restarting"
    );
    machine.shut_down().await;
}

#[tokio::test]
async fn a_stop_that_came_while_the_agent_was_away_ends_the_task() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), false).await;
    let alloc = alloc(
        JobType::Service,
        0,
        shell("echo $$; while :; do sleep 0.05; done"),
    );
    machine.assign(alloc.clone()).await;
    machine.until_status(ClientStatus::Running).await;
    let pid: i32 = first_line(&machine).await.parse().unwrap();
    machine.shut_down().await;

    let mut machine = Machine::start(dir.path(), false).await;
    machine.stop(alloc).await;
    let update = machine.until_status(ClientStatus::Complete).await;
    assert!(!is_alive(pid), "{update:#?}");
    assert_eq!(event_types(&update).last(), Some(&"Killed"));
    machine.shut_down().await;
}

#[tokio::test]
async fn what_was_stopped_before_it_was_heard_of_is_reported_as_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), false).await;
    machine
        .stop(alloc(JobType::Service, 0, shell("sleep 600")))
        .await;
    let update = machine.until_status(ClientStatus::Complete).await;
    assert!(event_types(&update).is_empty(), "{update:#?}");
    assert!(!dir.path().join("alloc").join(id_text("a1")).exists());
    machine.shut_down().await;
}

#[tokio::test]
async fn a_successor_waits_for_its_predecessor_also_after_a_restart_of_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), false).await;
    let old = alloc(JobType::Service, 0, shell("while :; do sleep 0.05; done"));
    machine.assign(old.clone()).await;
    machine.until_status(ClientStatus::Running).await;
    // Several, so that one of them comes first whatever the order of the files.
    let successors = ["a0", "a2", "a3"].map(|id| Allocation {
        id: AllocId::named(id),
        previous_allocation: Some(AllocId::named("a1")),
        ..old.clone()
    });
    for successor in &successors {
        machine.assign(successor.clone()).await;
    }
    let kept = dir
        .path()
        .join(format!("client/allocs/{}.assignment", id_text("a3")));
    timeout(PATIENCE, async {
        while !kept.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    for _ in 0..3 {
        machine.shut_down().await;
        machine = Machine::start(dir.path(), false).await;
        machine.until_status(ClientStatus::Running).await;
        let restarted = machine.handle.restart(&id_text("a2"), Tasks::Running).await;
        assert!(matches!(restarted, Err(Error::NotRunning)), "{restarted:?}");
        let heard = machine.heard.borrow().clone();
        assert_eq!(heard.allocs.len(), 1, "{heard:#?}");
    }
    machine.stop(old).await;
    machine.until_status(ClientStatus::Complete).await;
    let runs = |heard: &Heard| {
        let running = |alloc: &&AllocUpdate| alloc.client_status == ClientStatus::Running;
        heard.allocs.values().filter(running).count() == 1
    };
    machine.until("one of the successors", runs).await;
    for successor in successors {
        machine.stop(successor).await;
    }
    let over = |heard: &Heard| {
        let complete = |alloc: &AllocUpdate| alloc.client_status == ClientStatus::Complete;
        heard.allocs.len() == 4 && heard.allocs.values().all(complete)
    };
    machine.until("the end of all", over).await;
    machine.shut_down().await;
}

#[tokio::test]
async fn a_dev_agent_does_not_wait_for_the_delays_of_a_stop_that_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), true).await;
    let hour = Span::HOUR;
    for (id, of_group) in [("a1", true), ("a2", false)] {
        let mut slow = alloc(JobType::Service, 0, shell("while :; do sleep 0.05; done"));
        slow.id = AllocId::named(id);
        edit(&mut slow, |group| {
            if of_group {
                group.shutdown_delay = Some(hour);
            } else {
                group.tasks[0].shutdown_delay = hour;
            }
        });
        machine.assign(slow.clone()).await;
        let runs = |heard: &Heard| {
            let alloc = heard.allocs.get(&id_text(id));
            alloc.is_some_and(|alloc| alloc.client_status == ClientStatus::Running)
        };
        machine.until(id, runs).await;
        machine.stop(slow).await;
    }
    let waits = |heard: &Heard| {
        event_types(&heard.allocs[&id_text("a2")]).contains(&"Waiting for shutdown delay")
    };
    machine.until("the delay", waits).await;
    machine.shut_down().await;
    assert!(!dir.path().join("alloc").join(id_text("a1")).exists());
    assert!(!dir.path().join("alloc").join(id_text("a2")).exists());
}

#[tokio::test]
async fn an_end_that_nobody_watched_is_noticed_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let mut machine = Machine::start(dir.path(), false).await;
    let script = format!(
        "echo $$; until [ -e {} ]; do sleep 0.05; done; exit 9",
        go.display()
    );
    machine
        .assign(alloc(JobType::Batch, 0, shell(&script)))
        .await;
    machine.until_status(ClientStatus::Running).await;
    let pid: i32 = first_line(&machine).await.parse().unwrap();
    machine.shut_down().await;
    fs::write(&go, "").unwrap();
    let process = sys::processes::Identity::of(pid);
    timeout(PATIENCE, async {
        while process.is_some_and(|process| process.is_alive()) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();

    let mut machine = Machine::start(dir.path(), false).await;
    let update = machine.until_status(ClientStatus::Failed).await;
    let events = &update.task_states["main"].events;
    assert!(
        events.iter().any(|event| event.exit_code == 9),
        "{events:#?}"
    );
    machine.shut_down().await;
}

/// An HTTP server that answers with the status of the watch.
async fn toggled_server() -> (u16, watch::Sender<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (status, answers) = watch::channel("200 OK");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            // A request this small comes in one piece.
            let Ok(1..) = stream.read(&mut request).await else {
                continue;
            };
            let head = format!(
                "HTTP/1.1 {}\r\nContent-Length: 2\r\n\r\nhi",
                *answers.borrow()
            );
            stream.write_all(head.as_bytes()).await.ok();
        }
    });
    (port, status)
}

#[tokio::test]
async fn a_check_that_failed_while_the_agent_was_away_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let well = dir.path().join("well");
    fs::write(&well, "").unwrap();
    let mut alloc = alloc(JobType::Service, 1, shell("while :; do sleep 0.05; done"));
    edit(&mut alloc, |group| {
        group.services = vec![ServiceSpec {
            name: "web".into(),
            port_label: "1".into(),
            checks: vec![ServiceCheck {
                name: "well".into(),
                check_type: "script".into(),
                task_name: Some("main".into()),
                // It says nothing, so that nothing but the status can be news.
                command: "/bin/sh".into(),
                args: vec!["-c".into(), format!("test -e {} || exit 2", well.display())],
                interval: Span::SECOND,
                timeout: Span::SECOND,
                ..ServiceCheck::default()
            }],
            ..ServiceSpec::default()
        }];
    });
    let says = |status: &'static str| {
        move |heard: &Heard| heard.checks.last().is_some_and(|(last, _)| last == status)
    };
    let mut machine = Machine::start(dir.path(), false).await;
    machine.assign(alloc.clone()).await;
    machine.until("passing", says("passing")).await;
    machine.shut_down().await;
    fs::remove_file(&well).unwrap();

    let mut machine = Machine::start(dir.path(), false).await;
    machine.until("critical", says("critical")).await;
    machine.stop(alloc).await;
    machine.until_status(ClientStatus::Complete).await;
    machine.shut_down().await;
}

#[tokio::test]
async fn many_checks_that_hang_do_not_hold_up_another() {
    let dir = tempfile::tempdir().unwrap();
    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hung = hung.local_addr().unwrap().port();
    let (port, _status) = toggled_server().await;
    let check = |name: String, timeout: Span| ServiceCheck {
        name,
        check_type: "http".into(),
        path: "/".into(),
        interval: Span::SECOND,
        timeout,
        ..ServiceCheck::default()
    };
    let service = |name: &str, port: u16, checks: Vec<ServiceCheck>| ServiceSpec {
        name: name.into(),
        port_label: port.to_string(),
        checks,
        ..ServiceSpec::default()
    };
    let hour = Span::HOUR;
    let hang = (0..100).map(|number| check(format!("hung {number}"), hour));
    let mut alloc = alloc(JobType::Service, 1, shell("while :; do sleep 0.05; done"));
    edit(&mut alloc, |group| {
        group.services = vec![
            service("hung", hung, hang.collect()),
            service("well", port, vec![check("well".into(), Span::SECOND)]),
        ];
    });
    let mut machine = Machine::start(dir.path(), true).await;
    machine.assign(alloc).await;
    let passes = |heard: &Heard| heard.checks.iter().any(|(status, _)| status == "passing");
    machine.until("passing", passes).await;
    machine.shut_down().await;
}

#[tokio::test]
async fn checks_follow_the_service_and_a_restart_leaves_the_catalog_first() {
    let dir = tempfile::tempdir().unwrap();
    let (port, status) = toggled_server().await;
    let mut machine = Machine::start(dir.path(), true).await;
    let mut alloc = alloc(JobType::Service, 1, shell("while :; do sleep 0.05; done"));
    edit(&mut alloc, |group| {
        group.services = vec![ServiceSpec {
            name: "web".into(),
            // A number: the listener of this test stands in for the task's own.
            port_label: port.to_string(),
            checks: vec![ServiceCheck {
                name: "alive".into(),
                check_type: "http".into(),
                path: "/health".into(),
                interval: Span::SECOND,
                timeout: Span::SECOND,
                ..ServiceCheck::default()
            }],
            ..ServiceSpec::default()
        }];
    });
    machine.assign(alloc.clone()).await;
    let last = |heard: &Heard| heard.checks.last().map(|(status, _)| status.clone());
    let heard = machine
        .until("passing", |heard| last(heard).as_deref() == Some("passing"))
        .await;
    let url = format!("HTTP GET http://127.0.0.1:{port}/health: 200 OK Output: hi");
    assert_eq!(heard.checks.last().unwrap().1, url);
    status.send_replace("503 Service Unavailable");
    machine
        .until("critical", |heard| {
            last(heard).as_deref() == Some("critical")
        })
        .await;
    status.send_replace("200 OK");
    machine
        .until("passing again", |heard| {
            last(heard).as_deref() == Some("passing")
        })
        .await;
    let checks = machine.handle.checks(&id_text("a1")).unwrap();
    assert_eq!(checks.len(), 1);

    machine
        .handle
        .restart(&id_text("a1"), Tasks::Named("main".into()))
        .await
        .unwrap();
    let heard = machine
        .until("the restart", |heard| {
            let state = &heard.allocs[&id_text("a1")].task_states["main"];
            state.restarts == 1 && state.state == TaskPhase::Running
        })
        .await;
    assert_eq!(
        heard.withdrawn,
        [None],
        "the instances left before the stop"
    );
    let types = event_types(&heard.allocs[&id_text("a1")]);
    assert_eq!(
        types[3..],
        ["Restart Signaled", "Terminated", "Restarting", "Started"]
    );
    machine.shut_down().await;
}

#[tokio::test]
async fn the_file_api_keeps_inside_the_allocation_and_off_its_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(dir.path(), true).await;
    let script = "echo text > local/file; ln -s /etc/passwd local/out; ln -s ../secrets local/inside; \
                  echo s > secrets/s";
    machine
        .assign(alloc(JobType::Batch, 0, shell(script)))
        .await;
    machine.until_status(ClientStatus::Complete).await;
    let handle = &machine.handle;
    let names: Vec<String> = handle
        .list(&id_text("a1"), "/main/local")
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, ["file", "inside", "out"]);
    let mut text = String::new();
    let mut file = handle
        .read(&id_text("a1"), "main/local/file", 1, Some(3))
        .await
        .unwrap();
    file.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "ext");
    assert_eq!(
        handle.stat(&id_text("a1"), "/").await.unwrap().mode,
        "drwxr-xr-x"
    );
    for path in [
        "main/local/out",
        &format!("../{}", id_text("a1")),
        "main/../../x",
    ] {
        assert!(
            matches!(
                handle.stat(&id_text("a1"), path).await,
                Err(Error::Escapes { .. })
            ),
            "{path}"
        );
    }
    for path in ["main/secrets/s", "main/local/inside/s", "main/secrets"] {
        assert!(
            matches!(
                handle.stat(&id_text("a1"), path).await,
                Err(Error::SecretPath { .. })
            ),
            "{path}"
        );
    }
    assert!(matches!(
        handle.stat(&id_text("a1"), "nothing").await,
        Err(Error::NoFile { .. })
    ));
    assert!(matches!(
        handle.stat(&id_text("a2"), "/").await,
        Err(Error::UnknownAlloc { .. })
    ));
    machine.shut_down().await;
}
