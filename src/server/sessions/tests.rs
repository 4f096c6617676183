//! Agents and server over real streams in one process.

use crate::{
    rpc::{
        message::{Assignment, Confirmation, Hello, Report, ToClient, ToServer},
        transport::{self, Link, Listener},
    },
    server::{Config, Handle, Server, Snapshot, log::watch::Topic},
};
use jobs::{
    control::operator::Registration,
    model::{
        AllocId, ClientStatus, DriverInfo, EvalId, EvalStatus, FlatMap, Index, Job, JobKey,
        JobStatus, JobType, NetworkResource, Node, NodeCpu, NodeDisk, NodeId, NodeMemory,
        NodeResources, NodeStatus, ReschedulePolicy, Resources, Task, TaskGroup, TaskPhase,
        TaskState,
    },
    state::{AllocUpdate, Table},
};
use std::{collections::BTreeMap, path::Path, time::Duration};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Longer than anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(30);

struct Running {
    handle: Handle,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    async fn start(directory: &Path, lease: Duration) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = listener.local_addr();
        let config = Config {
            data_dir: directory.to_owned(),
            name: "one".into(),
            datacenter: "dc1".into(),
            region: "global".into(),
            rpc_address: address.to_string(),
            lease,
            gc: jobs::control::GcLimits::default(),
        };
        let server = Server::start(config, listener).await.unwrap();
        let handle = server.handle();
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(server.run(async {
            stopped.await.ok();
        }));
        Self {
            handle,
            address,
            stop,
            ended,
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap();
    }

    /// Waits until `found` of the state answers something.
    async fn until<T>(&self, mut found: impl FnMut(&Snapshot) -> Option<T>) -> T {
        let every = [
            Table::Jobs,
            Table::Evals,
            Table::Allocs,
            Table::Nodes,
            Table::Deployments,
        ];
        let wait = async {
            loop {
                let subscription = self.handle.subscribe(every.map(Topic::Jobs)).unwrap();
                if let Some(found) = found(&self.handle.snapshot()) {
                    return found;
                }
                subscription.changed().await;
            }
        };
        timeout(LONG, wait).await.expect("it never happened")
    }
}

/// An agent that speaks the protocol by hand.
struct Agent {
    link: Link<ToServer, ToClient>,
    next_number: u64,
}

impl Agent {
    async fn connect(server: &Running, hello: Hello) -> Self {
        let link = transport::connect(server.address).await.unwrap();
        link.outgoing
            .send(ToServer::Hello(Box::new(hello)))
            .await
            .unwrap();
        Self {
            link,
            next_number: 1,
        }
    }

    async fn next(&mut self) -> ToClient {
        let message = timeout(LONG, self.link.incoming.recv()).await;
        message.expect("nothing came").expect("the stream ended")
    }

    /// The next message that `wanted` takes; others are skipped.
    async fn until<T>(&mut self, mut wanted: impl FnMut(ToClient) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next().await) {
                return found;
            }
        }
    }

    async fn next_assignments(&mut self) -> Vec<Assignment> {
        self.until(|message| match message {
            ToClient::Allocs { assignments, .. } if !assignments.is_empty() => Some(assignments),
            _ => None,
        })
        .await
    }

    async fn report(&mut self, report: Report) -> Index {
        let number = self.next_number;
        self.next_number += 1;
        self.link
            .outgoing
            .send(ToServer::Report { number, report })
            .await
            .unwrap();
        self.until(|message| match message {
            ToClient::Committed { number: of, index } if of == number => Some(index),
            ToClient::Refused { reason, .. } => panic!("refused: {reason}"),
            _ => None,
        })
        .await
    }

    async fn report_alloc(&mut self, id: AllocId, status: ClientStatus, phase: TaskPhase) -> Index {
        let state = TaskState {
            state: phase,
            failed: status == ClientStatus::Failed,
            ..TaskState::default()
        };
        self.report(Report::Allocs(vec![AllocUpdate {
            alloc_id: id,
            client_status: status,
            task_states: FlatMap::from([("main".to_owned(), state)]),
            ..AllocUpdate::default()
        }]))
        .await
    }
}

fn node(id: &str) -> Node {
    Node {
        id: NodeId::named(id),
        name: id.into(),
        datacenter: "dc1".into(),
        node_pool: "default".into(),
        node_resources: NodeResources {
            cpu: NodeCpu {
                cpu_shares: 4000,
                total_cpu_cores: 2,
                ..NodeCpu::default()
            },
            memory: NodeMemory { memory_mb: 8000 },
            disk: NodeDisk { disk_mb: 50_000 },
            networks: vec![NetworkResource {
                ip: "127.0.0.1".into(),
                ..NetworkResource::default()
            }],
            min_dynamic_port: 20_000,
            max_dynamic_port: 32_000,
        },
        drivers: BTreeMap::from([(
            "raw_exec".into(),
            DriverInfo {
                detected: true,
                healthy: true,
                ..DriverInfo::default()
            },
        )]),
        ..Node::default()
    }
}

fn hello(agent_id: &str, node_id: &str) -> Hello {
    Hello {
        agent_id: agent_id.into(),
        node: Some(node(node_id)),
        data_plane: true,
        ..Hello::default()
    }
}

fn job(id: &str, job_type: JobType, count: u32) -> Job {
    let task = Task {
        name: "main".into(),
        driver: "raw_exec".into(),
        resources: Resources {
            cpu: 100,
            memory_mb: 64,
            ..Resources::default()
        },
        ..Task::default()
    };
    Job {
        region: "global".into(),
        namespace: "default".into(),
        id: id.into(),
        name: id.into(),
        job_type,
        priority: 50,
        datacenters: vec!["*".into()],
        node_pool: "default".into(),
        task_groups: vec![TaskGroup {
            name: "work".into(),
            count,
            tasks: vec![task],
            reschedule_policy: (job_type == JobType::Service).then(|| ReschedulePolicy {
                delay: 5_000_000,
                delay_function: "constant".into(),
                unlimited: true,
                ..ReschedulePolicy::default()
            }),
            ..TaskGroup::default()
        }],
        ..Job::default()
    }
}

async fn register(server: &Running, job: Job) -> (Index, Option<EvalId>) {
    let registration = Registration {
        job,
        ..Registration::default()
    };
    let written = server.handle.register_job(registration).await.unwrap();
    (written.index, written.eval_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_job_goes_from_registration_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), Config::LEASE).await;
    let mut agent = Agent::connect(&server, hello("a", "node-1")).await;
    assert!(matches!(agent.next().await, ToClient::Welcome { .. }));
    let (index, eval_id) = register(&server, job("once", JobType::Batch, 1)).await;
    assert!(server.handle.snapshot().index >= index);
    let assignments = agent.next_assignments().await;
    assert_eq!(assignments.len(), 1);
    assert_eq!(assignments[0].job.id, "once");
    let id = assignments[0].alloc.id;
    agent
        .report_alloc(id, ClientStatus::Running, TaskPhase::Running)
        .await;
    agent
        .report_alloc(id, ClientStatus::Complete, TaskPhase::Dead)
        .await;
    let key = JobKey::new("default", "once");
    server
        .until(|state| {
            let eval = state.jobs.eval(eval_id?)?;
            let job = state.jobs.job(&key)?;
            (eval.status == EvalStatus::Complete && job.status == JobStatus::Dead).then_some(())
        })
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_waits_until_there_is_some() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), Config::LEASE).await;
    let (_, eval_id) = register(&server, job("early", JobType::Batch, 1)).await;
    server
        .until(|state| {
            let eval = state.jobs.eval(eval_id?)?;
            (eval.status == EvalStatus::Complete && eval.blocked_eval.is_some()).then_some(())
        })
        .await;
    let mut agent = Agent::connect(&server, hello("a", "node-1")).await;
    assert_eq!(agent.next_assignments().await[0].job.id, "early");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_agent_loses_its_node_and_its_allocations() {
    let directory = tempfile::tempdir().unwrap();
    let lease = Duration::from_millis(400);
    let server = Running::start(directory.path(), lease).await;
    let mut first = Agent::connect(&server, hello("a", "node-1")).await;
    register(&server, job("always", JobType::Service, 1)).await;
    let lost = first.next_assignments().await[0].alloc.id;
    drop(first);
    let mut second = Agent::connect(&server, hello("b", "node-2")).await;
    let outgoing = second.link.outgoing.clone();
    let beats = tokio::spawn(async move {
        while outgoing.send(ToServer::Heartbeat).await.is_ok() {
            sleep(lease / 4).await;
        }
    });
    server
        .until(|state| {
            let node = state.jobs.node(NodeId::named("node-1"))?;
            let alloc = state.jobs.alloc(lost)?;
            (node.status == NodeStatus::Down && alloc.client_status == ClientStatus::Lost)
                .then_some(())
        })
        .await;
    let replacement = second.next_assignments().await;
    assert_eq!(replacement[0].alloc.previous_allocation, Some(lost));
    beats.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_allocation_is_replaced_and_a_stopped_job_stops() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), Config::LEASE).await;
    let mut agent = Agent::connect(&server, hello("a", "node-1")).await;
    register(&server, job("always", JobType::Service, 1)).await;
    let failed = agent.next_assignments().await[0].alloc.id;
    agent
        .report_alloc(failed, ClientStatus::Failed, TaskPhase::Dead)
        .await;
    let replacement = agent
        .until(|message| match message {
            ToClient::Allocs { assignments, .. } => assignments
                .into_iter()
                .find(|assignment| assignment.alloc.previous_allocation == Some(failed)),
            _ => None,
        })
        .await;
    let key = JobKey::new("default", "always");
    server
        .handle
        .deregister_job(&key, false, None)
        .await
        .unwrap();
    agent
        .until(|message| match message {
            ToClient::Allocs { assignments, .. } => assignments.into_iter().find(|assignment| {
                assignment.alloc.id == replacement.alloc.id && assignment.alloc.server_terminal()
            }),
            _ => None,
        })
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drained_is_said_when_every_data_plane_has_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), Config::LEASE).await;
    let mut one = Agent::connect(&server, hello("a", "node-1")).await;
    let mut two = Agent::connect(&server, hello("b", "node-2")).await;
    // Both are taken in before the index that counts.
    assert!(matches!(one.next().await, ToClient::Welcome { .. }));
    assert!(matches!(two.next().await, ToClient::Welcome { .. }));
    let index = one
        .report(Report::Withdraw {
            alloc_id: AllocId::named("nothing"),
            task: None,
        })
        .await;
    let confirmed = ToServer::Confirmed(Confirmation {
        index,
        busy: Vec::new(),
    });
    one.link.outgoing.send(confirmed.clone()).await.unwrap();
    // The answer to a later report says that the confirmation was read, and nothing was drained yet.
    one.next_number = 100;
    one.link
        .outgoing
        .send(ToServer::Report {
            number: 100,
            report: Report::Checks(Vec::new()),
        })
        .await
        .unwrap();
    one.until(|message| match message {
        ToClient::Drained(done) => {
            assert!(done.index < index, "drained without the other");
            None
        }
        ToClient::Committed { number: 100, .. } => Some(()),
        _ => None,
    })
    .await;
    two.link.outgoing.send(confirmed).await.unwrap();
    one.until(|message| match message {
        ToClient::Drained(done) => (done.index >= index).then_some(()),
        _ => None,
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), Config::LEASE).await;
    let (_, eval_id) = register(&server, job("early", JobType::Batch, 2)).await;
    server
        .until(|state| {
            let eval = state.jobs.eval(eval_id?)?;
            (eval.blocked_eval.is_some()).then_some(())
        })
        .await;
    server.stop().await;
    let server = Running::start(directory.path(), Config::LEASE).await;
    let key = JobKey::new("default", "early");
    assert!(server.handle.snapshot().jobs.job(&key).is_some());
    // The blocked evaluation was taken up again.
    let mut agent = Agent::connect(&server, hello("a", "node-1")).await;
    assert_eq!(agent.next_assignments().await.len(), 2);
    server.stop().await;
}
