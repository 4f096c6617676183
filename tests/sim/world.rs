//! Three servers and three machines with tasks, what operators ask of them, and what goes wrong.

use jobs::{
    control::{
        GcLimits,
        operator::{DrainWish, Registration},
    },
    model::{
        Job, JobKey, JobType, NodeId, ReschedulePolicy, Resources, ServiceSpec, Task, TaskGroup,
        UpdateStrategy,
    },
};
use parking_lot::Mutex;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use rpc::transport::Listener;
use server::{ClusterConfig, Config, Handle, Server, Tuning};
use std::{
    collections::BTreeMap, io, net::SocketAddr, path::PathBuf, rc::Rc, sync::Arc, time::Duration,
};
use sys::simulation::{self, DiskTurn};
use tempfile::TempDir;

use crate::{
    checks::{Acked, Checks},
    client::{Agent, Machine},
    machine,
    network::Net,
    process::Process,
};

/// How long each process is carried on before the next has its turn; no message takes less.
const STEP: Duration = Duration::from_millis(5);
/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(25);
/// By when all must be well again after that.
const RECOVERY: Duration = Duration::from_secs(120);
/// Servers, and as many machines.
const COUNT: usize = 3;
/// Jobs that operators deal with.
const JOBS: u32 = 5;

/// How the disks of servers do.
#[derive(Clone, Copy, Debug, Default)]
struct Disk {
    longest: Duration,
    is_full: bool,
}

/// By process.
type Disks = Rc<std::cell::RefCell<BTreeMap<u32, Disk>>>;

/// What operators were told.
pub(crate) type History = Arc<Mutex<Vec<Acked>>>;

struct ServerHost {
    name: String,
    address: SocketAddr,
    directory: PathBuf,
    process: Option<Process>,
    handle: Arc<Mutex<Option<Handle>>>,
    /// Why it gave up by itself.
    ended: Arc<Mutex<Option<String>>>,
    back_at: Option<Duration>,
}

struct ClientHost {
    agent: Agent,
    process: Option<Process>,
    back_at: Option<Duration>,
}

/// All of it.
pub(crate) struct World {
    random: ChaCha8Rng,
    now: Duration,
    net: Net,
    disks: Disks,
    servers: Vec<ServerHost>,
    clients: Vec<ClientHost>,
    next_process: u32,
    history: History,
    operations: u64,
    checks: Checks,
    /// What happened, for whoever looks into a failure, and to compare two runs.
    pub(crate) told: Vec<String>,
    _directory: TempDir,
}

/// Where files are that nobody needs after the test: in memory, if there is a place for that.
fn scratch() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a directory for the simulated disks")
}

impl World {
    /// The world of one number. The thread belongs to it from then on.
    pub(crate) fn new(seed: u64) -> Self {
        machine::begin(seed);
        let net = Net::new(seed);
        rpc::wire::use_network(Rc::new(net.clone()));
        let disks = Disks::default();
        let mut of_disks = ChaCha8Rng::seed_from_u64(!seed);
        let random = std::cell::RefCell::new(ChaCha8Rng::seed_from_u64(of_disks.next_u64()));
        let known = Rc::clone(&disks);
        simulation::use_disk(Rc::new(move |process| {
            let disk = known.borrow().get(&process).copied().unwrap_or_default();
            let part = random.borrow_mut().next_u32() % 1000;
            DiskTurn {
                takes: (Duration::from_millis(1) + disk.longest) * part / 1000,
                fails: disk
                    .is_full
                    .then(|| io::Error::from(io::ErrorKind::StorageFull)),
            }
        }));
        let directory = scratch();
        let servers = (0..COUNT).map(|at| ServerHost {
            name: format!("server-{at}"),
            address: SocketAddr::from(([10, 0, 0, u8::try_from(at).unwrap_or(0) + 1], 4647)),
            directory: directory.path().join(format!("server-{at}")),
            process: None,
            handle: Arc::default(),
            ended: Arc::default(),
            back_at: Some(Duration::ZERO),
        });
        let clients = (0..COUNT).map(|at| ClientHost {
            agent: Agent {
                name: format!("client-{at}"),
                machine: Arc::new(Mutex::new(Machine::default())),
            },
            process: None,
            back_at: Some(Duration::ZERO),
        });
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            now: Duration::ZERO,
            net,
            disks,
            servers: servers.collect(),
            clients: clients.collect(),
            next_process: 1,
            history: History::default(),
            operations: 0,
            checks: Checks::default(),
            told: Vec::new(),
            _directory: directory,
        }
    }

    /// Lives through trouble and recovery; the first thing that must never happen is the error.
    pub(crate) fn live(&mut self) -> Result<(), String> {
        let mut trouble_at = Duration::from_secs(5);
        let mut operation_at = Duration::from_secs(3);
        while self.now < TROUBLE {
            if self.now >= trouble_at {
                self.trouble();
                trouble_at = self.now + self.some(Duration::from_secs(3));
            }
            if self.now >= operation_at {
                self.operate();
                operation_at = self.now + self.some(Duration::from_millis(900));
            }
            self.step()?;
        }
        self.recover();
        loop {
            self.step()?;
            let Err(missing) = self.is_well() else {
                return Ok(());
            };
            if self.now > TROUBLE + RECOVERY {
                return Err(format!("it never got well: {missing}"));
            }
        }
    }

    fn tell(&mut self, text: impl Into<String>) {
        let text = format!("{:>9.3} {}", self.now.as_secs_f64(), text.into());
        tracing::info!("{text}");
        self.told.push(text);
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.next_u32()).unwrap_or(0) % bound.max(1)
    }

    fn some(&mut self, longest: Duration) -> Duration {
        longest * (self.random.next_u32() % 1000) / 1000
    }

    fn new_process(&mut self) -> Process {
        let skew = i64::try_from(self.below(400)).unwrap_or(0) - 200;
        let process = Process::start(self.next_process, skew);
        self.next_process += 1;
        process
    }

    /// Carries everything on by a step.
    fn step(&mut self) -> Result<(), String> {
        machine::set_now(self.now);
        self.come_back();
        self.net.deliver(self.now);
        let until = self.now + STEP;
        let mut turns: Vec<usize> = (0..COUNT * 2).collect();
        for at in (1..turns.len()).rev() {
            let other = self.below(at + 1);
            turns.swap(at, other);
        }
        for turn in turns {
            let process = match turn.checked_sub(COUNT) {
                None => &self.servers[turn].process,
                Some(client) => &self.clients[client].process,
            };
            if let Some(process) = process {
                process.run(until);
            }
        }
        self.now = until;
        machine::set_now(self.now);
        self.notice_ends();
        self.check()
    }

    fn check(&mut self) -> Result<(), String> {
        for (at, host) in self.servers.iter().enumerate() {
            if host.process.is_none() {
                continue;
            }
            let handle = host.handle.lock().clone();
            if let Some(handle) = handle {
                self.checks.of_server(at, &handle)?;
            }
        }
        for acked in self.history.lock().drain(..) {
            self.told.push(format!("{acked:?}"));
            self.checks.acked(acked);
        }
        for host in &self.clients {
            let told = std::mem::take(&mut host.agent.machine.lock().told);
            for (alloc, index, status) in told {
                self.checks.reported(alloc, index, status);
            }
        }
        let machines: Vec<_> = self
            .clients
            .iter()
            .map(|host| &host.agent.machine)
            .collect();
        let is_up: Vec<_> = self
            .clients
            .iter()
            .map(|host| host.process.is_some())
            .collect();
        self.checks.of_machines(self.now, &machines, &is_up)
    }

    fn come_back(&mut self) {
        for at in 0..COUNT {
            if self.servers[at].back_at.is_some_and(|due| due <= self.now) {
                self.start_server(at);
            }
            if self.clients[at].back_at.is_some_and(|due| due <= self.now) {
                self.start_client(at);
            }
        }
    }

    fn start_server(&mut self, at: usize) {
        let process = self.new_process();
        self.tell(format!("server {at} starts as process {}", process.id));
        self.disks.borrow_mut().insert(process.id, Disk::default());
        let addresses = self.servers.iter().map(|host| host.address.to_string());
        let addresses: Vec<String> = addresses.collect();
        let host = &mut self.servers[at];
        host.back_at = None;
        *host.handle.lock() = None;
        *host.ended.lock() = None;
        let config = Config {
            data_dir: host.directory.clone(),
            name: host.name.clone(),
            datacenter: "dc1".into(),
            region: "global".into(),
            rpc_address: host.address.to_string(),
            lease: Config::LEASE,
            gc: GcLimits::default(),
            oidc_issuer: None,
            cluster: ClusterConfig {
                expect: 3,
                join: addresses,
                ..ClusterConfig::default()
            },
            serves_alone: false,
            tuning: Tuning::default(),
        };
        let (address, slot, ended) = (
            host.address,
            Arc::clone(&host.handle),
            Arc::clone(&host.ended),
        );
        process.spawn(async move {
            let served = async {
                let listener = Listener::bind(address).await.map_err(|e| e.to_string())?;
                let server = Server::start(config, listener);
                let server = server.await.map_err(|error| error.to_string())?;
                *slot.lock() = Some(server.handle());
                server.run(std::future::pending()).await;
                Err::<(), String>("the server ended".into())
            };
            *ended.lock() = served.await.err();
        });
        host.process = Some(process);
    }

    fn start_client(&mut self, at: usize) {
        let process = self.new_process();
        self.tell(format!("client {at} starts as process {}", process.id));
        let mut addresses: Vec<String> = self
            .servers
            .iter()
            .map(|host| host.address.to_string())
            .collect();
        addresses.rotate_left(at);
        let host = &mut self.clients[at];
        host.back_at = None;
        process.spawn(host.agent.clone().run(addresses));
        host.process = Some(process);
    }

    fn notice_ends(&mut self) {
        for at in 0..COUNT {
            let ended = self.servers[at].ended.lock().take();
            if let Some(reason) = ended {
                self.tell(format!("server {at} gave up: {reason}"));
                self.kill_server(at);
            }
        }
    }

    fn kill_server(&mut self, at: usize) {
        let pause = Duration::from_millis(200) + self.some(Duration::from_secs(5));
        let host = &mut self.servers[at];
        host.back_at = Some(self.now + pause);
        *host.handle.lock() = None;
        if let Some(process) = host.process.take() {
            self.net.end(process.id);
            drop(process);
        }
    }

    fn kill_client(&mut self, at: usize) {
        let pause = Duration::from_millis(200) + self.some(Duration::from_secs(14));
        let host = &mut self.clients[at];
        host.back_at = Some(self.now + pause);
        if let Some(process) = host.process.take() {
            self.net.end(process.id);
            drop(process);
        }
        let mut machine = host.agent.machine.lock();
        machine.routed.clear();
        machine.connected_since = None;
    }

    fn process_of(&self, at: usize) -> Option<u32> {
        let process = match at.checked_sub(COUNT) {
            None => &self.servers[at].process,
            Some(client) => &self.clients[client].process,
        };
        process.as_ref().map(|process| process.id)
    }

    /// Something goes wrong, or is mended.
    fn trouble(&mut self) {
        match self.below(16) {
            0..=2 => {
                let at = self.leader().unwrap_or_else(|| self.below(COUNT));
                self.tell(format!("server {at} is killed"));
                self.kill_server(at);
            }
            3 => {
                let at = self.below(COUNT);
                self.tell(format!("server {at} is killed"));
                self.kill_server(at);
            }
            4 | 5 => {
                let at = self.below(COUNT);
                self.tell(format!("client {at} is killed"));
                self.kill_client(at);
            }
            6..=8 => {
                // One process is cut off from all others, without a word.
                let at = self.below(COUNT * 2);
                self.tell(format!("machine {at} is cut off"));
                self.cut_off(at);
            }
            9 => {
                let (one, other) = (self.below(COUNT * 2), self.below(COUNT * 2));
                if let (Some(one), Some(other)) = (self.process_of(one), self.process_of(other)) {
                    self.tell(format!("nothing gets from process {one} to {other}"));
                    self.net.cut(one, other);
                }
            }
            10 => {
                let delay = self.some(Duration::from_millis(900));
                self.tell(format!("messages take up to {delay:?}, and some are lost"));
                self.net.slow(delay);
                self.net.lose_of(20);
            }
            11 | 12 => {
                let at = self.below(COUNT);
                let is_full = self.below(2) == 0;
                let longest = self.some(Duration::from_secs(1));
                self.tell(format!("disk of server {at}: {longest:?}, full: {is_full}"));
                if let Some(process) = self.process_of(at) {
                    let disk = Disk { longest, is_full };
                    self.disks.borrow_mut().insert(process, disk);
                }
            }
            13 if self.below(3) == 0 => {
                self.tell("everything is killed");
                for at in 0..COUNT {
                    self.kill_server(at);
                    self.kill_client(at);
                }
            }
            _ => self.mend(),
        }
    }

    fn cut_off(&mut self, at: usize) {
        let Some(one) = self.process_of(at) else {
            return;
        };
        for other in 0..COUNT * 2 {
            if let Some(other) = self.process_of(other).filter(|other| *other != one) {
                self.net.cut(one, other);
                self.net.cut(other, one);
            }
        }
    }

    fn mend(&mut self) {
        self.tell("network and disks are well");
        self.net.heal();
        for disk in self.disks.borrow_mut().values_mut() {
            *disk = Disk::default();
        }
    }

    fn leader(&self) -> Option<usize> {
        self.servers.iter().position(|host| {
            let handle = host.handle.lock();
            handle.as_ref().is_some_and(Handle::leads)
        })
    }

    /// An operator asks for something, of the leader if there seems to be one.
    fn operate(&mut self) {
        let at = self.leader().unwrap_or_else(|| self.below(COUNT));
        let number = self.operations;
        self.operations += 1;
        let host = &self.servers[at];
        let Some(handle) = host.handle.lock().clone() else {
            return;
        };
        let kind = self.random.next_u32() % 12;
        let job = self.random.next_u32() % JOBS;
        let (count, node) = (self.random.next_u32() % 4 + 1, self.below(COUNT));
        let history = Arc::clone(&self.history);
        self.tell(format!(
            "operation {number}: {kind} on job {job}, node {node}"
        ));
        let Some(process) = &self.servers[at].process else {
            return;
        };
        process.spawn(async move {
            let key = JobKey::new("default", format!("job-{job}"));
            let node = NodeId::named(&format!("client-{node}"));
            // Whoever is refused asks for something else next time.
            match kind {
                0..=6 => {
                    let registration = Registration {
                        job: job_of(job, count, number),
                        ..Registration::default()
                    };
                    let written = handle.register_job(registration).await;
                    if let Ok(written) = &written {
                        history.lock().push(Acked {
                            job: key,
                            number: Some(number),
                            index: written.index,
                        });
                    }
                }
                7 => {
                    let written = handle.deregister_job(&key, false, None).await;
                    if let Ok(written) = &written {
                        history.lock().push(Acked {
                            job: key,
                            number: None,
                            index: written.index,
                        });
                    }
                }
                8 => {
                    let wish = DrainWish {
                        drain: Some((Duration::from_secs(4).into(), false)),
                        ..DrainWish::default()
                    };
                    handle.drain_node(node, wish).await.ok();
                }
                9 | 10 => {
                    let wish = DrainWish {
                        mark_eligible: true,
                        ..DrainWish::default()
                    };
                    handle.drain_node(node, wish).await.ok();
                }
                _ => {
                    handle.evaluate_job(&key, true).await.ok();
                }
            }
        });
    }

    /// Ends all trouble.
    fn recover(&mut self) {
        self.tell("the end of all trouble");
        self.mend();
        for at in 0..COUNT {
            if let Some(due) = &mut self.servers[at].back_at {
                *due = (*due).min(self.now);
            }
            if let Some(due) = &mut self.clients[at].back_at {
                *due = (*due).min(self.now);
            }
        }
    }

    /// Whether everything is as it was asked for, or what is missing.
    fn is_well(&mut self) -> Result<(), String> {
        let Some(leader) = self.leader() else {
            return Err("there is no leader".into());
        };
        let mut handles = Vec::new();
        for host in &self.servers {
            let handle = host.handle.lock().clone();
            handles.push(handle.ok_or("a server is not there")?);
        }
        // Nodes that operators left drained take work again.
        let snapshot = handles[leader].snapshot();
        for at in 0..COUNT {
            let id = NodeId::named(&format!("client-{at}"));
            let Some(row) = snapshot.jobs.node(id) else {
                return Err(format!("node {at} is not there"));
            };
            if !row.is_ready() {
                let handle = handles[leader].clone();
                if let Some(process) = &self.servers[leader].process
                    && self.now.as_millis().is_multiple_of(500)
                {
                    process.spawn(async move {
                        let wish = DrainWish {
                            mark_eligible: true,
                            ..DrainWish::default()
                        };
                        handle.drain_node(id, wish).await.ok();
                    });
                }
                return Err(format!("node {at} takes no work"));
            }
        }
        let machines: Vec<_> = self
            .clients
            .iter()
            .map(|host| &host.agent.machine)
            .collect();
        self.checks.is_well(&handles, leader, &machines)
    }
}

/// A version of a job; some are services, some batch jobs.
fn job_of(number: u32, count: u32, operation: u64) -> Job {
    let id = format!("job-{number}");
    let job_type = if number == JOBS - 1 {
        JobType::Batch
    } else {
        JobType::Service
    };
    let is_service = job_type == JobType::Service;
    let task = Task {
        name: "main".into(),
        driver: "raw_exec".into(),
        // Another version runs anew.
        env: BTreeMap::from([("OPERATION".into(), (operation % 3).to_string())]),
        resources: Resources {
            cpu: 100,
            memory_mb: 64,
            ..Resources::default()
        },
        ..Task::default()
    };
    let service = ServiceSpec {
        name: id.as_str().into(),
        provider: "consul".into(),
        port_label: "9000".into(),
        ..ServiceSpec::default()
    };
    let update = UpdateStrategy {
        max_parallel: 1,
        health_check: "task_states".into(),
        min_healthy_time: Duration::from_millis(200).into(),
        healthy_deadline: Duration::from_secs(20).into(),
        progress_deadline: Duration::from_secs(60).into(),
        ..UpdateStrategy::default()
    };
    Job {
        region: "global".into(),
        namespace: "default".into(),
        id: id.as_str().into(),
        name: id.as_str().into(),
        job_type,
        priority: 50,
        datacenters: vec!["*".into()],
        node_pool: "default".into(),
        meta: BTreeMap::from([("operation".into(), operation.to_string())]),
        task_groups: vec![TaskGroup {
            name: "work".into(),
            count,
            tasks: vec![task],
            services: if is_service {
                vec![service]
            } else {
                Vec::new()
            },
            update: (is_service && number.is_multiple_of(2)).then_some(update),
            reschedule_policy: is_service.then(|| ReschedulePolicy {
                delay: Duration::from_millis(50).into(),
                delay_function: "constant".into(),
                unlimited: true,
                ..ReschedulePolicy::default()
            }),
            ..TaskGroup::default()
        }]
        .into(),
        ..Job::default()
    }
}
