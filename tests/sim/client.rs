//! A simulated machine that runs tasks: its agent speaks the protocol through the true session, and
//! its tasks go on when the agent is killed.

use jobs::{
    model::{
        AllocId, Allocation, ClientStatus, DriverInfo, FlatMap, Index, JobType, NetworkResource,
        Node, NodeCpu, NodeDisk, NodeId, NodeMemory, NodeResources, TaskPhase, TaskState,
    },
    state::AllocUpdate,
};
use parking_lot::Mutex;
use registration::{Rules, Version, alloc_of};
use rpc::{
    message::{Confirmation, Hello, Report, RulesVersion},
    security::Security,
    servers::Servers,
    session::{AllocDelta, Handle, Session},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::machine;

/// How long the wait for data planes may take; as the client part has it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(35);

/// One allocation as its machine knows it.
#[derive(Debug)]
pub(crate) struct Kept {
    /// As the servers want it.
    pub(crate) wanted: Arc<Allocation>,
    /// What became of it.
    pub(crate) status: ClientStatus,
    /// The servers know that it is over.
    pub(crate) is_told: bool,
    /// Its process is there.
    pub(crate) runs: bool,
    /// Its process was there once.
    pub(crate) ran: bool,
    /// The servers do not know it any more.
    is_forgotten: bool,
    changed: watch::Sender<()>,
}

/// A process that was ended after every data plane gave its word.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) alloc: AllocId,
    pub(crate) at: Duration,
}

/// What outlives the agent.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) allocs: BTreeMap<AllocId, Kept>,
    /// Where its ingress sends requests; empty while no agent runs.
    pub(crate) routed: BTreeSet<AllocId>,
    /// Since when its agent holds a stream.
    pub(crate) connected_since: Option<Duration>,
    /// Processes that were ended since the checks looked.
    pub(crate) ended: Vec<Ended>,
    /// What its agent reported and the servers took, since the checks looked: of which allocation,
    /// and where in the log.
    pub(crate) told: Vec<(AllocId, Index, ClientStatus)>,
    /// What must never happen.
    pub(crate) faults: Vec<String>,
}

/// All that an agent works with; cheap to clone.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) machine: Arc<Mutex<Machine>>,
}

/// A random time up to `longest`.
fn some(longest: Duration) -> Duration {
    longest * u32::try_from(sys::random::seed() % 1000).unwrap_or(0) / 1000
}

fn one_of(count: u64) -> bool {
    sys::random::seed().is_multiple_of(count)
}

/// The node of a machine.
fn node(name: &str) -> Node {
    let driver = DriverInfo {
        detected: true,
        healthy: true,
        ..DriverInfo::default()
    };
    Node {
        id: NodeId::named(name),
        name: name.into(),
        datacenter: "dc1".into(),
        node_pool: "default".into(),
        node_resources: NodeResources {
            cpu: NodeCpu {
                cpu_shares: 1000,
                total_cpu_cores: 2,
                ..NodeCpu::default()
            },
            memory: NodeMemory { memory_mb: 1000 },
            disk: NodeDisk { disk_mb: 50_000 },
            networks: vec![NetworkResource {
                ip: "10.0.1.1".into(),
                ..NetworkResource::default()
            }],
            min_dynamic_port: 20_000,
            max_dynamic_port: 32_000,
            ..NodeResources::default()
        },
        drivers: BTreeMap::from([("raw_exec".into(), driver)]),
        ..Node::default()
    }
}

impl Agent {
    /// What the agent does, until it is killed.
    pub(crate) async fn run(self, servers: Vec<String>) {
        let hello = Hello {
            agent_id: sys::random::uuid(),
            version: env!("CARGO_PKG_VERSION").into(),
            rules: RulesVersion(Version::SUPPORTED.number()),
            node: Some(node(&self.name)),
            data_plane: true,
            region: "global".into(),
            ..Hello::default()
        };
        let (session, handle, mut deltas) =
            Session::with(Servers::new(servers), Security::Plain, hello);
        tokio::spawn(session.run(future::pending()));
        tokio::spawn(self.clone().route(handle.clone()));
        tokio::spawn(self.clone().note_streams(handle.clone()));
        for id in self.unfinished() {
            tokio::spawn(self.clone().carry(handle.clone(), id));
        }
        while let Some(delta) = deltas.recv().await {
            for id in self.take(delta) {
                tokio::spawn(self.clone().carry(handle.clone(), id));
            }
        }
    }

    fn unfinished(&self) -> Vec<AllocId> {
        let machine = self.machine.lock();
        let allocs = machine.allocs.iter();
        allocs
            .filter(|(_, kept)| !kept.is_told)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Takes note of what the servers want; answers what is new.
    fn take(&self, delta: AllocDelta) -> Vec<AllocId> {
        let mut machine = self.machine.lock();
        let mut new = Vec::new();
        for (id, kept) in &mut machine.allocs {
            let is_unknown = |known: &BTreeSet<AllocId>| !known.contains(id);
            if delta.removed.contains(id) || delta.known.as_ref().is_some_and(is_unknown) {
                kept.is_forgotten = true;
                kept.changed.send_replace(());
            }
        }
        for (id, assignment) in delta.assignments {
            let wanted = Arc::new(assignment.alloc);
            if let Some(kept) = machine.allocs.get_mut(&id) {
                // The same that the true client looks at: an older row is not news.
                if wanted.alloc_modify_index >= kept.wanted.alloc_modify_index {
                    kept.wanted = wanted;
                    kept.changed.send_replace(());
                }
                continue;
            }
            let status = wanted.client_status;
            let kept = Kept {
                status,
                is_told: status.is_terminal(),
                runs: false,
                ran: false,
                is_forgotten: false,
                changed: watch::Sender::new(()),
                wanted,
            };
            machine.allocs.insert(id, kept);
            if !status.is_terminal() {
                new.push(id);
            }
        }
        new
    }

    /// Follows the catalog as an ingress does, and says how far it is.
    async fn route(self, handle: Handle) {
        let mut catalog = handle.catalog();
        loop {
            if catalog.changed().await.is_err() {
                return;
            }
            // An ingress takes its time.
            sleep(some(Duration::from_millis(40))).await;
            let replica = catalog.borrow_and_update().clone();
            let usable = replica.catalog.all_instances();
            let usable = usable.filter(|one| one.is_usable() && !one.service.draining);
            self.machine.lock().routed =
                usable.filter_map(|one| alloc_of(&one.service.id)).collect();
            if let Some(at) = replica.at {
                handle.confirm(Confirmation {
                    at,
                    busy: Vec::new(),
                });
            }
        }
    }

    async fn note_streams(self, handle: Handle) {
        let mut connected = handle.connected();
        loop {
            let since = connected.borrow_and_update().then(machine::now);
            self.machine.lock().connected_since = since;
            if connected.changed().await.is_err() {
                return;
            }
        }
    }

    fn of<T>(&self, id: AllocId, look: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        self.machine.lock().allocs.get_mut(&id).map(look)
    }

    fn fault(&self, text: String) {
        self.machine.lock().faults.push(text);
    }

    /// Carries one allocation from its start, or from where an earlier agent left it, to its end.
    async fn carry(self, handle: Handle, id: AllocId) {
        if self.of(id, |kept| kept.runs) == Some(false) {
            if self.of(id, |kept| kept.ran) == Some(true) {
                // It ended, and the agent that was there did not live to tell.
                let status = self.of(id, |kept| kept.status);
                let status = status.filter(|status| status.is_terminal());
                let status = status.unwrap_or(ClientStatus::Complete);
                self.report(&handle, id, status, None).await;
                return;
            }
            sleep(some(Duration::from_millis(300))).await;
            if self.is_unwanted(id) {
                self.report(&handle, id, ClientStatus::Complete, None).await;
                return;
            }
            let started = self.of(id, |kept| {
                let twice = kept.runs || kept.ran;
                (kept.runs, kept.ran) = (true, true);
                twice
            });
            if started == Some(true) {
                self.fault(format!("{id} was started twice on {}", self.name));
            }
        }
        self.report(&handle, id, ClientStatus::Running, None).await;
        let is_batch = self.of(id, |kept| kept.wanted.job.job_type == JobType::Batch);
        let lives = match (is_batch, one_of(8)) {
            (Some(true), _) => Duration::from_millis(200) + some(Duration::from_secs(4)),
            (_, true) => Duration::from_secs(2) + some(Duration::from_secs(10)),
            (_, false) => Duration::from_secs(1 << 20),
        };
        let healthy = async {
            sleep(Duration::from_millis(500)).await;
            self.report(&handle, id, ClientStatus::Running, Some(true))
                .await;
            future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = self.unwanted(id) => self.stop(&handle, id).await,
            () = sleep(lives) => {
                self.of(id, |kept| kept.runs = false);
                let failed = is_batch != Some(true) || one_of(6);
                let status = if failed { ClientStatus::Failed } else { ClientStatus::Complete };
                self.report(&handle, id, status, None).await;
            }
            () = healthy => {}
        }
    }

    fn is_unwanted(&self, id: AllocId) -> bool {
        self.of(id, |kept| {
            kept.is_forgotten || kept.wanted.server_terminal()
        })
        .unwrap_or(true)
    }

    async fn unwanted(&self, id: AllocId) {
        let Some(mut changed) = self.of(id, |kept| kept.changed.subscribe()) else {
            return;
        };
        while !self.is_unwanted(id) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends the process of an allocation once nothing is sent to it any more.
    async fn stop(&self, handle: &Handle, id: AllocId) {
        let wanted = self.of(id, |kept| (kept.wanted.clone(), kept.is_forgotten));
        let Some((wanted, is_forgotten)) = wanted else {
            return;
        };
        let instances = registration::instances(Rules::NEWEST, &wanted, &node(&self.name));
        let ids: Vec<String> = instances
            .into_iter()
            .map(|instance| instance.service.id.into())
            .collect();
        let is_told = if is_forgotten || ids.is_empty() {
            false
        } else {
            let drained = handle.drained(wanted.modify_index, &ids);
            matches!(timeout(DRAIN_TIMEOUT, drained).await, Ok(Ok(())))
        };
        {
            let mut machine = self.machine.lock();
            if let Some(kept) = machine.allocs.get_mut(&id) {
                kept.runs = false;
            }
            if is_told {
                let at = machine::now();
                machine.ended.push(Ended { alloc: id, at });
            }
        }
        sleep(some(Duration::from_millis(200))).await;
        self.report(handle, id, ClientStatus::Complete, None).await;
    }

    async fn report(
        &self,
        handle: &Handle,
        id: AllocId,
        status: ClientStatus,
        healthy: Option<bool>,
    ) {
        let phase = match status {
            ClientStatus::Running => TaskPhase::Running,
            ClientStatus::Pending => TaskPhase::Pending,
            _ => TaskPhase::Dead,
        };
        let state = TaskState {
            state: phase,
            failed: status == ClientStatus::Failed,
            ..TaskState::default()
        };
        let has_deployment = self.of(id, |kept| {
            kept.status = status;
            kept.wanted.deployment_id.is_some()
        });
        if healthy.is_some() && has_deployment != Some(true) {
            return;
        }
        let update = AllocUpdate {
            alloc_id: id,
            client_status: status,
            task_states: FlatMap::from_iter([("main".into(), state)]),
            health: healthy.map(|healthy| (healthy, sys::clock::now())),
            ..AllocUpdate::default()
        };
        // Refused when the servers forgot it; the session ends with the agent.
        let told = handle.report(Report::Allocs(vec![update])).await;
        if let Ok(index) = told {
            self.machine.lock().told.push((id, index, status));
        }
        self.of(id, |kept| kept.is_told |= status.is_terminal());
    }
}
