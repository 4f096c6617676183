use super::{
    Config, Error, Handle,
    alloc::{
        message::{MESSAGES_MAX, Message},
        runner::AllocRunner,
    },
    checks::Checks,
    collection::{self, ASKS_MAX, Ask},
    context::Context,
    cores::Cores,
    drivers::{Drivers, Owner},
    file_threads::{FileThreads, MIGRATION_THREADS},
    fingerprint,
    handle::Allocs,
    labels::{self, Relabeled},
    local::{self, Registered},
    network::Networks,
    opened::{OPENED_MAX, Opened},
    own_api::OwnApi,
    pins::Pins,
    removals::Removals,
    reports::Reports,
    restore,
    shared::Shared,
    store::{AllocRecord, Damaged, Store},
};
use futures_util::FutureExt;
use jobs::model::{
    AllocId, Allocation, DriverInfo, Node, NodeEvent, TaskName, TaskPhase, Timestamp,
};
use parking_lot::RwLock;
use rpc::{
    message::Assignment,
    session::{self, AllocDelta},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use sys::{clock, files, processes};
use tokio::{
    io::DuplexStream,
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long the end in dev mode waits for the removal of directories.
const REMOVALS_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks for what belongs to no task.
const SWEEP_PAUSE: Duration = Duration::from_secs(5);
/// Starts of tasks at a time.
const STARTS_MAX: usize = 16;

/// Why the client part cannot start.
#[derive(Debug, thiserror::Error)]
#[error("could not open the client's directory `{}`: {source}", path.display())]
pub struct OpenError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The client part before and while it runs.
#[derive(Debug)]
pub struct Client {
    config: Config,
    store: Store,
    drivers: Drivers,
    networks: Networks,
    node: watch::Sender<Arc<Node>>,
    allocs: Arc<RwLock<Allocs>>,
    files: FileThreads,
    registered: Arc<Registered>,
    relabeled: Arc<Relabeled>,
    /// The allocations of an earlier agent are known.
    restored: watch::Sender<bool>,
    opened: (mpsc::Sender<Opened>, Option<mpsc::Receiver<Opened>>),
    asks: (mpsc::Sender<Ask>, mpsc::Receiver<Ask>),
    own_api: (OwnApi, Option<mpsc::Receiver<DuplexStream>>),
}

impl Client {
    /// Opens the state of this machine and looks at what it is. Quick: what takes longer, such as
    /// asking a virtual machine for its version, is found out and reported while it runs.
    ///
    /// # Errors
    /// [`OpenError`] when a directory cannot be made or the node's identity cannot be read.
    pub fn new(config: Config) -> Result<Self, OpenError> {
        let open = |path: &PathBuf, source| OpenError {
            path: path.clone(),
            source,
        };
        files::create_dir(&config.alloc_dir, 0o711)
            .map_err(|source| open(&config.alloc_dir, source))?;
        let (store, identity) = Store::open(&config.data_dir, fingerprint::wanted_id(&config))
            .map_err(|source| open(&config.data_dir, source))?;
        let drivers = Drivers::open(&config, store.run_dir())
            .map_err(|source| open(&store.run_dir().to_owned(), source))?;
        let mut node = fingerprint::node(&config, identity.id, identity.secret_id);
        // Drivers that know at once are there from the first moment; the others are asked while it
        // runs.
        for driver in drivers.values() {
            if let Some(info) = driver.fingerprint().now_or_never() {
                add_driver(&mut node, driver.name(), info);
            }
        }
        let networks =
            Networks::open(&config).map_err(|source| open(&config.data_dir.clone(), source))?;
        networks.fingerprint(&config, &mut node);
        let kept = config.data_dir.join(local::FILE);
        let files = FileThreads::new(config.collection.parallel);
        let registered = Registered::open(&kept, &config.name, files.registered.clone())
            .map_err(|source| open(&kept, source))?;
        let node = watch::Sender::new(Arc::new(node));
        let kept = config.data_dir.join(labels::FILE);
        let relabeled =
            Relabeled::open(kept.clone(), node.clone()).map_err(|source| open(&kept, source))?;
        let (opened, to_serve) = mpsc::channel(OPENED_MAX);
        let (own_api, asked) = OwnApi::new();
        Ok(Self {
            registered: Arc::new(registered),
            relabeled: Arc::new(relabeled),
            config,
            store,
            drivers,
            node,
            networks,
            allocs: Arc::new(RwLock::new(BTreeMap::new())),
            files,
            restored: watch::Sender::new(false),
            opened: (opened, Some(to_serve)),
            asks: mpsc::channel(ASKS_MAX),
            own_api: (own_api, Some(asked)),
        })
    }

    /// The connections that tasks open to the agent's API, for the one who asks first.
    pub fn take_opened(&mut self) -> Option<mpsc::Receiver<Opened>> {
        self.opened.1.take()
    }

    /// The connections on which this part asks the agent's own API, for the one who asks first.
    pub fn take_asked(&mut self) -> Option<mpsc::Receiver<DuplexStream>> {
        self.own_api.1.take()
    }

    /// This machine as the servers should know it.
    pub fn node(&self) -> Arc<Node> {
        Arc::clone(&self.node.borrow())
    }

    /// What the API uses.
    pub fn handle(&self) -> Handle {
        Handle {
            allocs: Arc::clone(&self.allocs),
            node: self.node.subscribe(),
            alloc_dir: self.config.alloc_dir.clone(),
            reads: self.files.reads.clone(),
            registered: Arc::clone(&self.registered),
            relabeled: Arc::clone(&self.relabeled),
            restored: self.restored.subscribe(),
            asks: self.asks.0.clone(),
            takes_commands: self.config.takes_commands,
        }
    }

    /// Carries out what the servers want until `shutdown`. Then, in dev mode, it stops every task
    /// and removes every directory; otherwise the tasks go on, and the next start on the same
    /// directory finds them.
    pub async fn run(
        self,
        session: session::Handle,
        mut deltas: mpsc::Receiver<AllocDelta>,
        shutdown: CancellationToken,
    ) {
        // Without anybody who answers, nobody shall wait for an answer.
        drop(self.own_api.1);
        let (saved, damaged) = restore::restore(&self.store, &self.drivers).await;
        let known = saved.iter().map(|alloc| alloc.assignment.alloc.id);
        self.networks.retain(&known.collect()).await;
        let mut host_env = processes::environment();
        let hidden = &self.config.options.hidden_variables;
        host_env.retain(|name, _| !hidden.contains(name));
        let cx = Arc::new(Context {
            cores: Cores::default(),
            networks: self.networks,
            claims: Arc::default(),
            drivers: self.drivers,
            config: self.config,
            node: self.node,
            store: self.store,
            reports: Reports::new(),
            checks: Arc::new(Checks::new()),
            files: self.files,
            session,
            host_env,
            opened: self.opened.0,
            own_api: self.own_api.0,
            pins: Arc::new(Pins::default()),
            fetches: Semaphore::new(MIGRATION_THREADS),
            starts: Semaphore::new(STARTS_MAX),
            contacted: watch::Sender::new(false),
        });
        let reporter = tokio::spawn({
            let cx = Arc::clone(&cx);
            async move { cx.reports.run(&cx.session).await }
        });
        let registered = tokio::spawn({
            let cx = Arc::clone(&cx);
            async move { self.registered.run(&cx.session, &cx.checks).await }
        });
        let fingerprints = tokio::spawn(fingerprint_drivers(Arc::clone(&cx)));
        let versions = tokio::spawn(fingerprint_plugins(Arc::clone(&cx)));
        let relabeled = tokio::spawn({
            let cx = Arc::clone(&cx);
            async move {
                loop {
                    self.relabeled.news.notified().await;
                    let node = (**cx.node.borrow()).clone();
                    cx.reports.node(node);
                }
            }
        });
        let sweeps = tokio::spawn(sweep(Arc::clone(&cx), Arc::clone(&self.allocs)));
        let (asking, mut asks) = self.asks;
        let looks = tokio::spawn(collection::look(Arc::clone(&cx), asking));
        let mut running = Running {
            removals: Removals::new(&cx.config.alloc_dir, cx.config.collection.parallel),
            cx,
            allocs: self.allocs,
            runners: JoinSet::new(),
            dying: BTreeSet::new(),
            ended: BTreeSet::new(),
            damaged,
        };
        // Those that were set up hold what they have before any other can ask for it.
        let (built, new): (Vec<_>, Vec<_>) =
            saved.into_iter().partition(|alloc| alloc.record.is_built);
        for alloc in built.into_iter().chain(new) {
            running.begin(alloc.assignment, alloc.record);
        }
        self.restored.send_replace(true);
        loop {
            tokio::select! {
                delta = deltas.recv() => match delta {
                    Some(delta) => running.on_delta(delta),
                    None => break,
                },
                Some(ended) = running.runners.join_next() => running.on_end(ended),
                Some(ask) = asks.recv() => running.on_ask(ask),
                () = running.removals.due() => running.removals.begin(&running.cx),
                () = shutdown.cancelled() => break,
            }
        }
        fingerprints.abort();
        looks.abort();
        versions.abort();
        sweeps.abort();
        relabeled.abort();
        registered.abort();
        if running.cx.config.dev {
            running.stop_all().await;
        }
        reporter.abort();
    }
}

struct Running {
    cx: Arc<Context>,
    allocs: Arc<RwLock<Allocs>>,
    /// Each ends with the id of its allocation.
    runners: JoinSet<AllocId>,
    /// Forgotten by the servers: their directories go when their tasks have ended.
    dying: BTreeSet<AllocId>,
    /// Terminal allocations that keep their directory, with when they ended.
    ended: BTreeSet<(Timestamp, AllocId)>,
    /// Files that do not say what was kept in them, by allocation, until the servers say what it
    /// was.
    damaged: BTreeMap<AllocId, Damaged>,
    /// Directories that are to be removed.
    removals: Removals,
}

impl Running {
    fn on_delta(&mut self, delta: AllocDelta) {
        if let Some(known) = &delta.known {
            let store = &self.cx.store;
            self.damaged.retain(|id, _| {
                let is_known = known.contains(id);
                if !is_known {
                    store.forget(*id);
                }
                is_known
            });
            let gone: Vec<AllocId> = self
                .allocs
                .read()
                .keys()
                .filter(|id| !known.contains(*id))
                .copied()
                .collect();
            gone.into_iter().for_each(|id| self.remove(id));
        }
        for assignment in delta.assignments.into_values() {
            self.assign(assignment);
        }
        for id in delta.removed {
            self.remove(id);
        }
        self.cx.contacted.send_replace(true);
    }

    fn assign(&mut self, assignment: Assignment) {
        let known = self.allocs.read().get(&assignment.alloc.id).cloned();
        let Some(known) = known else {
            let damaged = self.damaged.remove(&assignment.alloc.id);
            // What is over already is none of this machine's business any more. What is not wanted
            // any more, and was never heard of, has its end reported.
            if !assignment.alloc.client_terminal() {
                let record = damaged.map_or_else(AllocRecord::default, |file| {
                    restore::failed(&assignment, &file, clock::now())
                });
                self.keep_new(&assignment, &record);
                self.begin(assignment, record);
            }
            return;
        };
        if assignment.alloc.modify_index < known.shared.alloc().modify_index {
            return;
        }
        // What only repeats this machine's own reports need not be kept once more.
        if !is_echo(&assignment.alloc, &known.shared.alloc()) {
            self.keep(&assignment);
        }
        known.shared.set_alloc(Arc::new(assignment.alloc));
        // A full queue already wakes the runner, which looks at the newest version.
        known.messages.try_send(Message::Changed).ok();
    }

    fn keep(&self, assignment: &Assignment) {
        if let Err(error) = self.cx.store.save_assignment(assignment) {
            tracing::error!(alloc = %assignment.alloc.id, %error, "an allocation cannot be kept");
        }
    }

    fn keep_new(&mut self, assignment: &Assignment, record: &AllocRecord) {
        self.removals.keep(assignment.alloc.id);
        if let Err(error) = self.cx.store.begin(assignment, record) {
            tracing::error!(alloc = %assignment.alloc.id, %error, "an allocation cannot be kept");
        }
    }

    fn begin(&mut self, assignment: Assignment, record: AllocRecord) {
        let id = assignment.alloc.id;
        let cx = Arc::clone(&self.cx);
        let shared = Arc::new(Shared::new(cx, Arc::new(assignment.alloc), record));
        let (messages, receiver) = mpsc::channel(MESSAGES_MAX);
        let runner = AllocRunner::new(Arc::clone(&shared), messages.clone(), receiver);
        let known = super::handle::Known { shared, messages };
        self.allocs.write().insert(id, Arc::new(known));
        self.runners.spawn(async move {
            runner.run().await;
            id
        });
    }

    fn remove(&mut self, id: AllocId) {
        let known = self.allocs.read().get(&id).cloned();
        let Some(known) = known else { return };
        if known.messages.is_closed() {
            self.destroy(id);
        } else {
            self.dying.insert(id);
            if let Err(mpsc::error::TrySendError::Full(stop)) =
                known.messages.try_send(Message::Stop)
            {
                // This one message must not be lost; at most one such task waits per allocation.
                let messages = known.messages.clone();
                tokio::spawn(async move { messages.send(stop).await });
            }
        }
    }

    fn on_end(&mut self, ended: Result<AllocId, tokio::task::JoinError>) {
        let id = match ended {
            Ok(id) => id,
            Err(error) => {
                tracing::error!(%error, "the runner of an allocation broke");
                return;
            }
        };
        if self.dying.remove(&id) {
            self.destroy(id);
            return;
        }
        if let Some(known) = self.allocs.read().get(&id) {
            self.ended.insert((known.shared.kept_since(), id));
        }
        while self.ended.len() > self.cx.config.collection.allocs_max
            && let Some((_, oldest)) = self.ended.pop_first()
        {
            self.destroy(oldest);
        }
    }

    /// Whoever asked may have gone; that changes nothing.
    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Surplus(usage, reply) => {
                reply.send(self.collect(usage)).ok();
            }
            Ask::All(reply) => {
                while let Some((_, oldest)) = self.ended.pop_first() {
                    self.destroy(oldest);
                }
                self.removals.hurry();
                reply.send(()).ok();
            }
            Ask::One(id, reply) => {
                let known = self.allocs.read().get(&id).cloned();
                let alloc = id.to_string();
                let collected = match known {
                    None => Err(Error::UnknownAlloc { alloc }),
                    Some(known) if !known.messages.is_closed() => Err(Error::NotOver { alloc }),
                    Some(_) => {
                        self.destroy(id);
                        self.removals.hurry();
                        Ok(())
                    }
                };
                drop(reply.send(collected));
            }
        }
    }

    /// Removes what there is too much of; true while room is being made.
    fn collect(&mut self, usage: collection::Usage) -> bool {
        let known = self.allocs.read().len();
        let limits = &self.cx.config.collection;
        let Some(surplus) = collection::collect(limits, usage, known, &self.ended) else {
            return false;
        };
        let frees_room = surplus.frees_room();
        if frees_room && self.removals.is_busy() {
            // That may be enough.
            return true;
        }
        if !surplus.allocs.is_empty() {
            let count = surplus.allocs.len();
            tracing::info!(reason = %surplus.reason, count, "ended allocations are removed");
        }
        for id in surplus.allocs {
            self.destroy(id);
        }
        if frees_room {
            self.removals.hurry();
        }
        frees_room && self.removals.is_busy()
    }

    fn destroy(&mut self, id: AllocId) {
        let Some(known) = self.allocs.write().remove(&id) else {
            return;
        };
        self.ended.remove(&(known.shared.kept_since(), id));
        self.removals.push(id);
    }

    /// Stops every task, waits for the end and removes every directory.
    async fn stop_all(&mut self) {
        let all: Vec<AllocId> = self.allocs.read().keys().copied().collect();
        for id in all {
            self.remove(id);
        }
        while let Some(ended) = self.runners.join_next().await {
            self.on_end(ended);
        }
        let removed = self.removals.finish(&self.cx);
        if timeout(REMOVALS_TIMEOUT, removed).await.is_err() {
            tracing::warn!("stopping although directories of allocations are still being removed");
        }
    }
}

/// True when the servers changed nothing but what this machine has told them itself.
fn is_echo(new: &Allocation, known: &Allocation) -> bool {
    let echoed = Allocation {
        job: Arc::clone(&known.job),
        client_status: known.client_status,
        client_description: known.client_description.clone(),
        task_states: known.task_states.clone(),
        modify_index: known.modify_index,
        modify_time: known.modify_time,
        ..new.clone()
    };
    new.job.version == known.job.version && echoed == *known
}

/// Asks every driver what it finds and tells the servers.
async fn fingerprint_drivers(cx: Arc<Context>) {
    let mut asked = JoinSet::new();
    for driver in cx.drivers.values() {
        let driver = Arc::clone(driver);
        asked.spawn(async move {
            let info = driver.fingerprint().await;
            (driver, info)
        });
    }
    while let Some(answer) = asked.join_next().await {
        let Ok((driver, info)) = answer else {
            continue;
        };
        let name = driver.name();
        if let Some(period) = driver.fingerprint_period() {
            let again = Arc::clone(&driver);
            asked.spawn(async move {
                sleep(period).await;
                let info = again.fingerprint().await;
                (again, info)
            });
        }
        let is_news = {
            let node = cx.node.borrow();
            node.drivers.get(name).is_none_or(|known| {
                known.healthy != info.healthy
                    || known.attributes != info.attributes
                    || known.health_description != info.health_description
            })
        };
        if !is_news {
            continue;
        }
        cx.node
            .send_modify(|node| add_driver(Arc::make_mut(node), name, info));
        let node = (**cx.node.borrow()).clone();
        cx.reports.node(node);
    }
}

/// Asks the plugins of networks for their versions and tells the servers.
async fn fingerprint_plugins(cx: Arc<Context>) {
    let versions = cx.networks.plugin_versions().await;
    if versions.is_empty() {
        return;
    }
    cx.node.send_modify(|node| {
        let node = Arc::make_mut(node);
        node.attributes.extend(versions);
        node.classify();
    });
    let node = (**cx.node.borrow()).clone();
    cx.reports.node(node);
}

/// Lets drivers look from time to time for what belongs to no task.
async fn sweep(cx: Arc<Context>, allocs: Arc<RwLock<Allocs>>) {
    let mut contacted = cx.contacted.subscribe();
    // Until then it is not known what belongs here.
    if contacted.wait_for(|yes| *yes).await.is_err() {
        return;
    }
    let node_id = cx.node.borrow().id.to_string();
    loop {
        let known: BTreeSet<Owner> = {
            let allocs = allocs.read();
            let tasks = allocs.iter().flat_map(|(id, known)| {
                let states = known.shared.states();
                let live = states
                    .iter()
                    .filter(|(_, state)| state.state != TaskPhase::Dead);
                let names: Vec<TaskName> = live.map(|(name, _)| name.clone()).collect();
                names.into_iter().map(|task| Owner {
                    alloc_id: *id,
                    task,
                })
            });
            tasks.collect()
        };
        for driver in cx.drivers.values() {
            driver.sweep(&node_id, &known).await;
        }
        sleep(SWEEP_PAUSE).await;
    }
}

fn add_driver(node: &mut Node, name: &str, mut info: DriverInfo) {
    info.update_time = clock::now();
    // What it said before does not hold any more.
    let own = format!("driver.{name}");
    node.attributes.retain(|key, _| {
        *key != own
            && !key
                .strip_prefix(&own)
                .is_some_and(|rest| rest.starts_with('.'))
    });
    let known = node.drivers.get(name);
    if known.is_some_and(|known| known.healthy != info.healthy) {
        let surplus = (node.events.len() + 1).saturating_sub(Node::EVENTS_MAX);
        node.events.drain(..surplus);
        node.events.push(NodeEvent {
            message: info.health_description.clone(),
            subsystem: "Driver".into(),
            details: [("driver".to_owned(), name.to_owned())].into(),
            timestamp: info.update_time,
            ..NodeEvent::default()
        });
    }
    node.attributes.extend(info.attributes.clone());
    if info.detected {
        // What job files ask of nodes, other than what the driver says of itself.
        node.attributes.insert(own, "1".into());
    }
    node.drivers.insert(name.to_owned(), info);
    node.classify();
}
