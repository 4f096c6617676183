//! Services and checks that were registered with this agent over its API.
//!
//! What they are and what follows decides [`Local`]; here are its file, its clock, the runs of its
//! checks and the way to the servers. The file outlives the agent; how the checks stand comes back
//! from the catalog.

use super::checks::Checks;
use mesh::{
    local::{Definition, Difference, Error, Local, Touched},
    model::{Check, CheckDefinition, CheckId, Service, Status, Timestamp},
};
use parking_lot::Mutex;
use rpc::{
    message::Report,
    session::{self, Replica},
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use sys::{
    clock,
    files::{Durability, write_atomic},
    threads::Threads,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, interval, timeout},
};

/// Name of the file, in the directory of the client.
pub(super) const FILE: &str = "registered";
/// Largest number of services that may be registered with one agent.
const SERVICES_MAX: usize = 10_000;
/// Largest number of checks that may be registered with one agent.
const CHECKS_MAX: usize = 20_000;
/// How often everything is compared with the catalog.
const COMPARE_INTERVAL: Duration = Duration::from_mins(1);
/// How long a registration waits for the servers; it holds without them.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// What was registered with this agent.
#[derive(Debug)]
pub struct Registered {
    node: String,
    path: PathBuf,
    local: Mutex<Local>,
    /// Held by who changes what is in the file.
    changing: tokio::sync::Mutex<()>,
    /// Writes the file.
    threads: Threads,
    pending: Mutex<Pending>,
    /// Something is pending.
    touched: Notify,
    /// Everything up to this number was offered to the servers.
    settled: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Pending {
    touched: Touched,
    number: u64,
}

/// Why something was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// It does not fit what is registered.
    #[error(transparent)]
    Local(#[from] Error),
    /// There is too much.
    #[error(
        "at most {SERVICES_MAX} services and {CHECKS_MAX} checks can be registered with one agent"
    )]
    Full,
    /// It could not be kept.
    #[error("what was registered could not be written: {0}")]
    File(#[from] io::Error),
}

impl Registered {
    /// Reads what was registered before from the file at `path`.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub(super) fn open(path: &Path, node: &str, threads: Threads) -> io::Result<Self> {
        let local = match fs::read(path) {
            Ok(bytes) => rmp_serde::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Local::default(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            node: node.to_owned(),
            path: path.to_owned(),
            local: Mutex::new(local),
            changing: tokio::sync::Mutex::default(),
            threads,
            pending: Mutex::default(),
            touched: Notify::new(),
            settled: watch::Sender::new(0),
        })
    }

    /// The services and checks as they are now.
    pub fn local(&self) -> Local {
        self.local.lock().clone()
    }

    /// True for a service that is registered.
    pub fn has_service(&self, id: &str) -> bool {
        self.local.lock().service(id).is_some()
    }

    /// True for a check that is registered.
    pub fn has_check(&self, id: &str) -> bool {
        self.local.lock().check(id).is_some()
    }

    /// Registers a service with checks, or replaces it; see [`Local::register_service`].
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn register_service(
        &self,
        service: Service,
        checks: Vec<(Check, CheckDefinition)>,
        replaces: bool,
    ) -> Result<(), RegisterError> {
        self.change(|local| {
            let (service, checks) = (service.clone(), checks.clone());
            Ok(local.register_service(now(), service, checks, replaces))
        })
        .await
    }

    /// Takes over what files define; see [`Local::load`]. It does not wait for the servers.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn load(
        &self,
        services: Vec<Definition>,
        checks: Vec<(Check, CheckDefinition)>,
    ) -> Result<(), RegisterError> {
        let touched = self
            .changed(|local| local.load(now(), services.clone(), checks.clone()))
            .await?;
        if !touched.is_empty() {
            self.touch(touched);
        }
        Ok(())
    }

    /// Registers a check, or replaces it.
    ///
    /// # Errors
    /// [`RegisterError`]; an unknown service.
    pub async fn register_check(
        &self,
        check: Check,
        definition: CheckDefinition,
    ) -> Result<(), RegisterError> {
        self.change(|local| local.register_check(now(), check.clone(), definition.clone()))
            .await
    }

    /// Removes a service with its checks; false when there is none.
    ///
    /// # Errors
    /// [`RegisterError::File`].
    pub async fn deregister_service(&self, id: &str) -> Result<bool, RegisterError> {
        let mut is_known = false;
        self.change(|local| {
            let touched = local.deregister_service(now(), id);
            is_known = touched.is_some();
            Ok(touched.unwrap_or_default())
        })
        .await?;
        Ok(is_known)
    }

    /// Removes a check; what is not there is no error.
    ///
    /// # Errors
    /// [`RegisterError::File`].
    pub async fn deregister_check(&self, id: &str) -> Result<(), RegisterError> {
        self.change(|local| Ok(local.deregister_check(now(), id).unwrap_or_default()))
            .await
    }

    /// Takes note of what is said of a check that lives on it. What is not new reaches nobody.
    ///
    /// # Errors
    /// [`Error::NoTtl`].
    pub async fn heard(&self, id: &str, status: Status, output: String) -> Result<(), Error> {
        let touched = self.local.lock().on_heard(now(), id, status, output)?;
        self.settle(touched).await;
        Ok(())
    }

    /// Changes what is registered, keeps it, and waits a moment for the servers.
    async fn change(
        &self,
        change: impl FnMut(&mut Local) -> Result<Touched, Error>,
    ) -> Result<(), RegisterError> {
        let touched = self.changed(change).await?;
        self.settle(touched).await;
        Ok(())
    }

    /// Changes what is registered and keeps it. `change` is carried out twice: on what is kept, and
    /// then on what counts, in which checks may stand otherwise by then.
    async fn changed(
        &self,
        mut change: impl FnMut(&mut Local) -> Result<Touched, Error>,
    ) -> Result<Touched, RegisterError> {
        let changing = self.changing.lock().await;
        let mut changed = self.local();
        change(&mut changed)?;
        if changed.services().count() > SERVICES_MAX || changed.checks().count() > CHECKS_MAX {
            return Err(RegisterError::Full);
        }
        self.keep(changed).await?;
        let touched = change(&mut self.local.lock())?;
        drop(changing);
        Ok(touched)
    }

    /// Writes the file. For whoever holds `changing`.
    async fn keep(&self, local: Local) -> io::Result<()> {
        let path = self.path.clone();
        let write = move || {
            let bytes = rmp_serde::to_vec_named(&local).map_err(io::Error::other)?;
            write_atomic(&path, &bytes, Durability::Power)
        };
        self.threads.run(write).await
    }

    async fn settle(&self, touched: Touched) {
        if touched.is_empty() {
            return;
        }
        let mut settled = self.settled.subscribe();
        let number = self.touch(touched);
        // Without servers it holds nevertheless, and they hear of it later.
        let _told = timeout(
            SETTLE_TIMEOUT,
            settled.wait_for(|settled| *settled >= number),
        )
        .await;
    }

    fn touch(&self, touched: Touched) -> u64 {
        let number = {
            let mut pending = self.pending.lock();
            pending.touched.extend(touched);
            pending.number += 1;
            pending.number
        };
        self.touched.notify_one();
        number
    }

    /// Runs the checks and tells the servers until dropped.
    pub(super) async fn run(self: Arc<Self>, session: &session::Handle, checks: &Arc<Checks>) {
        let mut catalog = session.catalog();
        let is_known = |replica: &Arc<Replica>| replica.catalog.node(&self.node).is_some();
        let Ok(first) = catalog
            .wait_for(is_known)
            .await
            .map(|replica| Arc::clone(&replica))
        else {
            return;
        };
        self.local.lock().adopt(now(), &self.node, &first.catalog);
        drop(first);
        let mut runs = Runs {
            running: BTreeMap::new(),
            checks: Arc::clone(checks),
            registered: Arc::clone(&self),
        };
        let mut compare = interval(COMPARE_INTERVAL);
        let mut connected = session.connected();
        loop {
            self.follow(&Arc::clone(&catalog.borrow_and_update()));
            runs.follow(&self.local.lock());
            let follows = self.local.lock().has_distant_aliases();
            let due = self.local.lock().next_tick();
            let due = due.map(|due| Instant::now() + due.since(now()));
            tokio::select! {
                () = self.touched.notified() => self.push(session).await,
                () = clock::until(due) => self.on_tick().await,
                _ = compare.tick() => self.compare(session).await,
                changed = connected.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.compare(session).await;
                }
                changed = catalog.changed(), if follows => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Lets checks that repeat what others say follow the catalog.
    fn follow(&self, replica: &Replica) {
        let mut local = self.local.lock();
        let touched = local.follow(now(), &self.node, &replica.catalog);
        drop(local);
        if !touched.is_empty() {
            self.touch(touched);
        }
    }

    async fn on_tick(&self) {
        let changing = self.changing.lock().await;
        let touched = self.local.lock().on_tick(now());
        if !touched.services.is_empty()
            && let Err(error) = self.keep(self.local()).await
        {
            tracing::warn!(%error, "a removed service is still in the agent's file");
        }
        drop(changing);
        self.touch(touched);
    }

    /// Tells what was touched.
    async fn push(&self, session: &session::Handle) {
        let (touched, number) = {
            let mut pending = self.pending.lock();
            (std::mem::take(&mut pending.touched), pending.number)
        };
        let differences = self.local.lock().pushed(&touched);
        tell(session, differences).await;
        self.settled.send_replace(number);
    }

    /// Tells what the catalog has otherwise.
    async fn compare(&self, session: &session::Handle) {
        let replica = Arc::clone(&session.catalog().borrow());
        let differences = self.local.lock().differences(&self.node, &replica.catalog);
        tell(session, differences).await;
    }
}

async fn tell(session: &session::Handle, differences: Vec<Difference>) {
    for difference in differences {
        match session.report(Report::Local(difference)).await {
            Ok(_) => {}
            Err(error @ session::Error::Refused { .. }) => {
                tracing::warn!(%error, "what was registered with this agent was refused");
            }
            Err(session::Error::Closed) => return,
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_nanos(clock::now().as_nanos())
}

/// The checks that run; each ends when it is removed from here.
struct Runs {
    running: BTreeMap<CheckId, (CheckDefinition, Run)>,
    checks: Arc<Checks>,
    registered: Arc<Registered>,
}

/// A loop that ends when this is dropped.
struct Run(JoinHandle<()>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Runs {
    /// Starts and ends loops, so that there is one per check that has to be run.
    fn follow(&mut self, local: &Local) {
        let wanted: BTreeMap<&str, _> = local
            .checks()
            .filter(|local| local.definition.probe.is_run())
            .map(|local| (local.check.id.as_str(), local))
            .collect();
        self.running.retain(|id, (definition, _)| {
            let wanted = wanted.get(id.as_str());
            wanted.is_some_and(|local| local.definition == *definition)
        });
        for (id, local) in wanted {
            if self.running.contains_key(id) {
                continue;
            }
            let run = self.start(id.into(), local.definition.clone(), local.check.status);
            let run = (local.definition.clone(), run);
            self.running.insert(id.into(), run);
        }
    }

    fn start(&self, id: CheckId, definition: CheckDefinition, status: Status) -> Run {
        let (checks, registered) = (Arc::clone(&self.checks), Arc::clone(&self.registered));
        Run(tokio::spawn(async move {
            let on_change = |change: mesh::health::Change| {
                let mut local = registered.local.lock();
                let touched = local.on_result(now(), &id, change.status, change.output);
                drop(local);
                registered.touch(touched);
            };
            checks.run_probe(&id, &definition, status, on_change).await;
        }))
    }
}
