//! The life of a task with a driver that is simulated: what the runner asks of it, and what it
//! tells the user.

use super::runner::{TaskCommand, TaskRunner};
use crate::{
    Config,
    checks::Checks,
    context::Context,
    cores::Cores,
    drivers::{
        Driver, Drivers, Exec,
        simulated::{Fate, Simulated},
    },
    file_threads::FileThreads,
    last_run::LastRun,
    network::Networks,
    reports::Reports,
    shared::Shared,
    store::{AllocRecord, Store, TaskRecord},
};
use jobs::model::{
    AllocId, Allocation, Job, JobType, Node, RestartPolicy, Span, Task, TaskConfig, TaskGroup,
    TaskPhase,
};
use rpc::{
    message::{Assignment, Hello},
    session::Session,
};
use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

fn config(dir: &Path) -> Config {
    Config {
        data_dir: dir.join("client"),
        alloc_dir: dir.join("alloc"),
        name: "n".into(),
        region: "global".into(),
        datacenter: "dc1".into(),
        node_class: String::new(),
        node_pool: "default".into(),
        meta: BTreeMap::new(),
        address: [127, 0, 0, 1].into(),
        networks: config::Networks::default(),
        http_addr: "127.0.0.1:4646".into(),
        version: "0.0.0".into(),
        takes_jobs: true,
        node_id: None,
        raw_exec: false,
        executable: "/nonexistent".into(),
        dynamic_ports: (20_000, 20_099),
        reserved: config::Reserved::default(),
        cpu_mhz: None,
        memory_mib: None,
        artifact_dirs: Vec::new(),
        plugins: Default::default(),
        host_volumes: BTreeMap::new(),
        bridge: Default::default(),
        cni: config::Cni::default(),
        chroot_env: None,
        collection: config::Collection::default(),
        has_host_id: false,
        kill_timeout_max: Duration::from_secs(30),
        takes_commands: true,
        options: Default::default(),
        artifact: Default::default(),
        template: Default::default(),
        dev: false,
    }
}

fn assignment(job_type: JobType, task: Task) -> Assignment {
    let group = TaskGroup {
        name: "g".into(),
        restart_policy: RestartPolicy {
            attempts: 2,
            interval: Span::HOUR,
            delay: Span::ZERO,
            mode: "fail".into(),
            ..RestartPolicy::default()
        },
        tasks: vec![task],
        ..TaskGroup::default()
    };
    let job = Arc::new(Job {
        id: "j".into(),
        job_type,
        task_groups: vec![group].into(),
        ..Job::default()
    });
    let alloc = Allocation {
        id: AllocId::named("a"),
        name: "j.g[0]".into(),
        task_group: "g".into(),
        job: Arc::clone(&job),
        ..Allocation::default()
    };
    Assignment { alloc, job }
}

/// A task with its runner, which has not begun.
struct Bench {
    driver: Arc<Simulated>,
    shared: Arc<Shared>,
    commands: mpsc::Sender<TaskCommand>,
    runner: Option<TaskRunner>,
    _dir: tempfile::TempDir,
}

fn bench(driver: Simulated, job_type: JobType, task: Task, record: TaskRecord) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    std::fs::create_dir_all(&config.alloc_dir).unwrap();
    let (store, _) = Store::open(&config.data_dir, None).unwrap();
    let driver = Arc::new(driver);
    let (_, session, _) = Session::new(([127, 0, 0, 1], 1).into(), Hello::default());
    let drivers = [Arc::clone(&driver) as Arc<dyn Driver>];
    let cx = Arc::new(Context {
        cores: Cores::default(),
        networks: Networks::open(&config).unwrap(),
        claims: Arc::default(),
        drivers: Drivers::of(drivers, store.run_dir()),
        config,
        node: watch::Sender::new(Arc::new(Node::default())),
        store,
        reports: Reports::new(),
        checks: Arc::new(Checks::new()),
        files: FileThreads::new(1),
        session,
        host_env: BTreeMap::new(),
        opened: mpsc::channel(1).0,
        own_api: crate::own_api::OwnApi::new().0,
        pins: Arc::default(),
        fetches: Semaphore::new(1),
        starts: Semaphore::new(1),
        contacted: watch::Sender::new(true),
    });
    let assignment = assignment(job_type, task.clone());
    let record = AllocRecord {
        tasks: BTreeMap::from([(task.name.clone(), record)]),
        ..AllocRecord::default()
    };
    cx.store.begin(&assignment, &record).unwrap();
    let shared = Arc::new(Shared::new(cx, Arc::new(assignment.alloc), record));
    shared.dir.build().unwrap();
    let (commands, receiver) = mpsc::channel(1);
    Bench {
        runner: Some(TaskRunner::new(Arc::clone(&shared), &task, receiver)),
        driver,
        shared,
        commands,
        _dir: dir,
    }
}

fn task() -> Task {
    Task {
        name: "t".into(),
        driver: Simulated::NAME.into(),
        kill_timeout: Span::from_secs(5),
        ..Task::default()
    }
}

impl Bench {
    fn events(&self) -> String {
        let state = self.shared.task("t").state;
        let types = state.events.iter().map(|event| event.event_type.as_str());
        types.collect::<Vec<_>>().join(", ")
    }

    async fn until_running(&self) {
        let mut changes = self.shared.revisions();
        let running = changes.wait_for(|_| self.shared.task("t").state.state == TaskPhase::Running);
        timeout(DEADLINE, running).await.unwrap().unwrap();
    }
}

/// How a task ends that nobody meddles with: what was found of it, the fates of its starts, what
/// was asked of its driver, the events of its life, and whether it failed.
#[tokio::test]
async fn a_task_ends_as_its_runs_and_its_policy_say() {
    use Fate::{Absent, Exits, Impossible, RunsOn, Unknown};
    type Case<'a> = (&'a [Fate], &'a [Fate], &'a str, &'a str, bool);
    let cases: [Case<'_>; 8] = [
        (
            &[],
            &[Exits(0)],
            "start noted",
            "Task Setup, Started, Terminated",
            false,
        ),
        (
            &[],
            &[Exits(1), Exits(0)],
            "start noted start noted",
            "Task Setup, Started, Terminated, Restarting, Started, Terminated",
            false,
        ),
        (
            &[],
            &[Exits(1), Exits(2), Exits(3), RunsOn],
            "start noted start noted start noted",
            "Restarting, Started, Terminated, Restarting, Started, Terminated, Not Restarting",
            true,
        ),
        (
            &[],
            &[Absent, Exits(0)],
            "start start noted",
            "Task Setup, Driver Failure, Restarting, Started, Terminated",
            false,
        ),
        (
            &[],
            &[Impossible, RunsOn],
            "start",
            "Task Setup, Driver Failure, Not Restarting",
            true,
        ),
        // Nothing is started while it is not known whether something runs.
        (
            &[],
            &[Unknown, Exits(0)],
            "start start noted",
            "Task Setup, Driver Failure, Restarting, Driver Failure, Restarting, Failed Restoring Task, Started, Terminated",
            false,
        ),
        (
            &[Unknown, Unknown, Unknown],
            &[RunsOn],
            "",
            "Driver Failure, Restarting, Driver Failure, Restarting, Driver Failure, Not Restarting",
            true,
        ),
        // The run of an earlier agent ended while nobody was there.
        (&[Exits(0)], &[RunsOn], "forget", "Terminated", false),
    ];
    for (found, fates, asked, events, failed) in cases {
        let record = TaskRecord {
            last_run: match found.first() {
                Some(Exits(_)) => LastRun::Known("earlier".into()),
                _ => LastRun::None,
            },
            handle: Some("earlier".into()),
            ..TaskRecord::default()
        };
        let mut bench = bench(Simulated::new(found, fates), JobType::Batch, task(), record);
        let runner = bench.runner.take().unwrap();
        timeout(DEADLINE, runner.run()).await.unwrap();
        assert_eq!(bench.driver.asked().join(" "), asked, "{found:?} {fates:?}");
        let seen = bench.events();
        assert!(seen.ends_with(events), "{found:?} {fates:?}: {seen}");
        let state = bench.shared.task("t").state;
        assert_eq!((state.state, state.failed), (TaskPhase::Dead, failed));
    }
}

#[tokio::test]
async fn a_run_of_an_earlier_agent_is_signaled_and_stopped_and_not_started() {
    let record = TaskRecord {
        last_run: LastRun::Known("earlier".into()),
        handle: Some("earlier".into()),
        ..TaskRecord::default()
    };
    let driver = Simulated::new(&[Fate::RunsOn], &[]);
    let mut bench = bench(driver, JobType::Service, task(), record);
    let runner = bench.runner.take().unwrap();
    let running = tokio::spawn(runner.run());
    bench.until_running().await;
    let (reply, answer) = oneshot::channel();
    let signal = TaskCommand::Signal {
        number: 10,
        name: "SIGUSR1".into(),
        reply,
    };
    bench.commands.send(signal).await.unwrap();
    answer.await.unwrap().unwrap();
    let kill = TaskCommand::Kill {
        because: None,
        delays: true,
    };
    bench.commands.send(kill).await.unwrap();
    timeout(DEADLINE, running).await.unwrap().unwrap();
    assert_eq!(
        bench.driver.asked(),
        ["signal 10", "stop 2 within 5s", "noted"]
    );
    let record = bench.shared.task("t");
    assert_eq!(
        bench.events(),
        "Started, Signaling, Killing, Terminated, Killed"
    );
    assert_eq!(record.state.state, TaskPhase::Dead);
    assert!(!record.state.failed && record.last_run.is_none());
}

#[tokio::test]
async fn a_task_outlives_the_agent_that_stops() {
    let driver = Simulated::new(&[], &[Fate::RunsOn]);
    let mut bench = bench(driver, JobType::Service, task(), TaskRecord::default());
    let runner = bench.runner.take().unwrap();
    let running = tokio::spawn(runner.run());
    bench.until_running().await;
    let (closed, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut bench.commands, closed));
    timeout(DEADLINE, running).await.unwrap().unwrap();
    assert_eq!(bench.driver.asked(), ["start"]);
    let record = bench.shared.task("t");
    assert_eq!(record.state.state, TaskPhase::Running);
    assert!(
        record
            .handle
            .is_some_and(|handle| record.last_run.is(&handle))
    );
}

#[tokio::test]
async fn a_task_with_problems_is_not_started() {
    let mut wrong = task();
    wrong.config.insert("problem".into(), "a typo".into());
    let driver = Simulated::new(&[], &[]);
    let mut bench = bench(driver, JobType::Service, wrong, TaskRecord::default());
    let runner = bench.runner.take().unwrap();
    timeout(DEADLINE, runner.run()).await.unwrap();
    assert!(bench.driver.asked().is_empty());
    assert_eq!(bench.events(), "Failed Validation, Not Restarting");
    assert!(bench.shared.task("t").state.failed);
}

#[tokio::test]
async fn a_driver_that_cannot_execute_says_so() {
    let (_, output) = io::pipe().unwrap();
    let exec = Exec {
        handle: None,
        config: TaskConfig::default(),
        network: None,
        input: None,
        errors: output.try_clone().unwrap(),
        terminal: None,
        command: "/bin/true".into(),
        args: Vec::new(),
        dir: "/".into(),
        env: BTreeMap::new(),
        user: String::new(),
        output,
    };
    let error = Simulated::default().exec(exec).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("`simulated`"), "{error}");
}
