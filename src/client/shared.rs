//! What the runner of an allocation, the runners of its tasks and the API look at together.

use crate::{
    allocdir::AllocDir,
    context::Context,
    cores,
    drivers::{Isolation, Meter, OwnNetwork},
    network::Joined,
    store::{AllocRecord, TaskRecord},
};
use jobs::{
    environment::{TaskDirectories, TaskEnvironment},
    model::{
        Allocation, FlatMap, NetworkStatus, Node, Span, Task, TaskEvent, TaskName, TaskPhase,
        TaskState, Timestamp, UnixSeconds,
    },
};
use mesh::model::{CheckId, ServiceName, Status};
use parking_lot::Mutex;
use registration::{self, Instance, Rules, Version};
use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};
use tokio::sync::{Notify, watch};

/// How much longer than others the data of an allocation is kept that another node may fetch.
const FETCH_GRACE: Span = Span::from_secs(15 * 60);

/// Last result of a check, for the API and for the allocation's health.
#[derive(Clone, Debug)]
pub struct CheckStatus {
    /// Check id.
    pub id: CheckId,
    /// Name of the check.
    pub name: String,
    /// `job.group[index]` of the allocation.
    pub group: String,
    /// Task of a task-level service.
    pub task: Option<TaskName>,
    /// Service.
    pub service: ServiceName,
    /// Status.
    pub status: Status,
    /// Text of the last result.
    pub output: String,
    /// When that was found.
    pub timestamp: UnixSeconds,
    /// How it counts for a deployment: `require_healthy`, `ignore_warnings` or `ignore`.
    pub on_update: String,
    /// False until the first result.
    pub has_result: bool,
    /// Of a service that the job keeps to itself: `provider = "nomad"`.
    pub native: bool,
}

/// One allocation on this machine.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cx: Arc<Context>,
    pub(crate) dir: AllocDir,
    alloc: Mutex<Arc<Allocation>>,
    record: Mutex<AllocRecord>,
    /// By check id.
    pub(crate) checks: Mutex<BTreeMap<CheckId, CheckStatus>>,
    /// Of running tasks.
    pub(crate) meters: Mutex<BTreeMap<TaskName, Arc<dyn Meter>>>,
    /// The network that its tasks have for themselves, once it was made.
    pub(crate) network: Mutex<Option<Joined>>,
    /// Variables that templates add to the environments of tasks.
    pub(crate) added: Mutex<BTreeMap<TaskName, Arc<BTreeMap<String, String>>>>,
    /// Something of the above changed; for the runner of the allocation.
    pub(crate) changed: Notify,
    /// Counts changes of the record, for everyone else who waits for one.
    revision: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new(cx: Arc<Context>, alloc: Arc<Allocation>, record: AllocRecord) -> Self {
        let dir = AllocDir::new(&cx.config.alloc_dir, alloc.id);
        Self {
            cx,
            dir,
            alloc: Mutex::new(alloc),
            record: Mutex::new(record),
            checks: Mutex::new(BTreeMap::new()),
            meters: Mutex::new(BTreeMap::new()),
            network: Mutex::new(None),
            added: Mutex::new(BTreeMap::new()),
            changed: Notify::new(),
            revision: watch::Sender::new(0),
        }
    }

    /// The allocation as the servers last gave it.
    pub(crate) fn alloc(&self) -> Arc<Allocation> {
        Arc::clone(&self.alloc.lock())
    }

    /// The environment of one of its tasks, with the paths as the task sees them.
    pub(crate) fn environment<'a>(
        &self,
        alloc: &Allocation,
        task: &Task,
        node: &'a Node,
    ) -> TaskEnvironment<'a> {
        let driver = self.cx.drivers.get(&task.driver);
        let isolation = driver.map_or(Isolation::None, |driver| driver.isolation());
        let seen = match isolation {
            Isolation::None => self.dir.seen_by(&task.name),
            Isolation::Chroot | Isolation::Image => TaskDirectories {
                alloc: "/alloc".into(),
                local: "/local".into(),
                secrets: "/secrets".into(),
            },
        };
        // An image brings what its programs need.
        let none = BTreeMap::new();
        let host = match isolation {
            Isolation::None | Isolation::Chroot => &self.cx.host_env,
            Isolation::Image => &none,
        };
        let mut environment = TaskEnvironment::of_task(alloc, task, node, Some(&seen), host);
        for (label, port) in mapped_ports(task) {
            environment.set(&format!("NOMAD_PORT_{label}"), &port);
        }
        if let Some(cores) = self.record.lock().cores.get(&task.name) {
            environment.set("NOMAD_CPU_CORES", &cores::list(cores));
        }
        if let Some(status) = self.network_status() {
            environment.add_network(alloc, &status);
        }
        let added = self.added.lock().get(&task.name).cloned();
        for (name, value) in added.iter().flat_map(|added| added.iter()) {
            environment.set(name, value);
        }
        environment
    }

    /// Where commands beside a task begin, as the task sees it; empty for where the task does.
    pub(crate) fn work_dir(&self, task: &Task) -> PathBuf {
        let driver = self.cx.drivers.get(&task.driver);
        match driver.map(|driver| driver.isolation()) {
            Some(Isolation::None) | None => self.dir.task(&task.name),
            Some(Isolation::Chroot | Isolation::Image) => PathBuf::new(),
        }
    }

    /// The network that its tasks have for themselves; none for that of the host.
    pub(crate) fn network(&self) -> Option<OwnNetwork> {
        let joined = self.network.lock();
        joined.as_ref().map(|joined| joined.own.clone())
    }

    /// The address of that network; none without one.
    pub(crate) fn network_status(&self) -> Option<NetworkStatus> {
        self.network.lock().as_ref()?.status.clone()
    }

    /// Its instances on this machine, by the rules of the servers.
    pub(crate) fn instances(&self) -> Vec<Instance> {
        let version = Version::new(self.cx.session.rules().borrow().0);
        // The session follows no server whose rules are newer than those that this agent knows.
        let rules = Rules::of(version).unwrap_or(Rules::NEWEST);
        registration::instances(rules, &self.alloc(), &self.cx.node.borrow())
    }

    /// Takes a newer one.
    pub(crate) fn set_alloc(&self, alloc: Arc<Allocation>) {
        *self.alloc.lock() = alloc;
    }

    /// What became of it so far.
    pub(crate) fn record(&self) -> AllocRecord {
        self.record.lock().clone()
    }

    /// True from its setup until its last task is over.
    pub(crate) fn is_live(&self) -> bool {
        let record = self.record.lock();
        let is_dead = |task: &TaskRecord| task.state.state == TaskPhase::Dead;
        record.is_built && !record.tasks.values().all(is_dead)
    }

    /// What became of one task so far.
    pub(crate) fn task(&self, task: &str) -> TaskRecord {
        self.record
            .lock()
            .tasks
            .get(task)
            .cloned()
            .unwrap_or_default()
    }

    /// The states of all tasks.
    pub(crate) fn states(&self) -> FlatMap<TaskName, TaskState> {
        let record = self.record.lock();
        record
            .tasks
            .iter()
            .map(|(name, task)| (name.clone(), task.state.clone()))
            .collect()
    }

    /// True once every task is over.
    pub(crate) fn is_over(&self) -> bool {
        let record = self.record.lock();
        let mut tasks = record.tasks.values();
        !record.tasks.is_empty() && tasks.all(|task| task.state.state == TaskPhase::Dead)
    }

    /// When its last task ended, for the order in which directories go. One whose data another node
    /// may still fetch counts as if it had ended later.
    pub(crate) fn kept_since(&self) -> Timestamp {
        let alloc = self.alloc();
        let moves = alloc
            .group()
            .is_some_and(|group| group.ephemeral_disk.migrate);
        let record = self.record.lock();
        let ends = record.tasks.values().map(|task| task.state.finished_at);
        let end = ends.max().unwrap_or_default();
        if moves { end + FETCH_GRACE } else { end }
    }

    /// Changes the record, keeps it and wakes whoever waits for a change. That it could not be kept
    /// is logged.
    pub(crate) fn update(&self, change: impl FnOnce(&mut AllocRecord)) {
        if let Err(error) = self.try_update(change) {
            let id = self.alloc.lock().id;
            tracing::error!(alloc = %id, %error, "the state of an allocation cannot be kept");
        }
    }

    /// Changes the record and wakes whoever waits for a change. The next change that is kept keeps
    /// this one too: for what may be lost when this agent is killed before.
    pub(crate) fn note(&self, change: impl FnOnce(&mut AllocRecord)) {
        change(&mut self.record.lock());
        self.wake();
    }

    fn wake(&self) {
        self.changed.notify_one();
        self.revision.send_modify(|revision| *revision += 1);
    }

    /// As [`Shared::update`], for a change that must have been kept before something else is done.
    ///
    /// # Errors
    /// When it could not be kept; it is made nevertheless.
    fn try_update(&self, change: impl FnOnce(&mut AllocRecord)) -> io::Result<()> {
        let kept = {
            let mut record = self.record.lock();
            change(&mut record);
            let id = self.alloc.lock().id;
            self.cx.store.save_record(id, &record)
        };
        self.wake();
        kept
    }

    /// Told with every change of the record.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Changes the record of one task.
    pub(crate) fn update_task(&self, task: &str, change: impl FnOnce(&mut TaskRecord)) {
        self.update(|record| change(record.tasks.entry(task.into()).or_default()));
    }

    /// As [`Shared::update_task`], for a change that must have been kept before something else is
    /// done.
    ///
    /// # Errors
    /// When it could not be kept; it is made nevertheless.
    pub(crate) fn try_update_task(
        &self,
        task: &str,
        change: impl FnOnce(&mut TaskRecord),
    ) -> io::Result<()> {
        self.try_update(|record| change(record.tasks.entry(task.into()).or_default()))
    }

    /// Changes the record of one task in a way that the next change keeps, about which nobody is
    /// told before.
    pub(crate) fn prepare_task(&self, task: &str, change: impl FnOnce(&mut TaskRecord)) {
        change(self.record.lock().tasks.entry(task.into()).or_default());
    }

    /// Adds an event to a task.
    pub(crate) fn event(&self, task: &str, event: TaskEvent) {
        self.update_task(task, |record| record.state.push_event(event));
    }
}

/// Ports inside of a container by label, in the old form: `port_map` in the configuration.
fn mapped_ports(task: &Task) -> Vec<(String, String)> {
    let maps = match task.config.get("port_map") {
        Some(serde_json::Value::Array(maps)) => maps.iter().collect(),
        Some(map) => vec![map],
        None => Vec::new(),
    };
    let maps = maps.into_iter().filter_map(|map| map.as_object());
    maps.flatten()
        .filter_map(|(label, port)| Some((label.clone(), port.as_u64()?.to_string())))
        .collect()
}
