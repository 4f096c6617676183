//! Agents and server over real streams in one process.

use crate::{Config, Handle, Server, Snapshot, log::watch::Topic};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jobs::{
    control::operator::Registration,
    model::{
        AllocId, ClientStatus, EvalId, EvalStatus, FlatMap, Index, Job, JobKey, JobStatus, JobType,
        NodeId, NodeStatus, ServiceSpec, TaskPhase, TaskState, VariableKey, WorkloadIdentity,
    },
    state::{AllocUpdate, Table},
};
use ring::signature::{ED25519, UnparsedPublicKey};
use rpc::{
    message::{
        Assignment, CheckReport, Confirmation, Held, Hello, Position, Report, RulesVersion,
        ToClient, ToServer,
    },
    traffic::{Counts, Traffic, TrafficRow, Who},
    transport::{self, AgentLink, Listener},
    watched::{Content, Subject},
};
use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    time::Duration,
};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::fixtures::{job, node};
use registration::Version;

/// Longer than anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// No agent that is merely slow loses its node.
const LEASE: Duration = Duration::from_secs(120);

struct Running {
    handle: Handle,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    async fn start(directory: &Path, lease: Duration) -> Self {
        Self::start_tuned(directory, lease, crate::Tuning::default()).await
    }

    async fn start_tuned(directory: &Path, lease: Duration, tuning: crate::Tuning) -> Self {
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
            oidc_issuer: None,
            cluster: crate::ClusterConfig::default(),
            serves_alone: false,
            tuning,
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
    link: AgentLink,
    next_number: u64,
    /// Up to where it has the catalog.
    catalog: Position,
    /// Assignments that came before an answer that was awaited.
    early: VecDeque<ToClient>,
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
            catalog: Position::default(),
            early: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> ToClient {
        match self.early.pop_front() {
            Some(message) => message,
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> ToClient {
        let message = timeout(LONG, self.link.incoming.recv()).await;
        let message = message.expect("nothing came").expect("the stream ended");
        if let ToClient::Catalog { at, .. } | ToClient::CatalogDelta { at, .. } = &message {
            self.catalog = *at;
        }
        message
    }

    /// Reads until it has the catalog as it is now.
    async fn catch_up(&mut self, server: &Running) {
        let index = server.handle.snapshot().mesh.index();
        while self.catalog.index < index {
            self.next().await;
        }
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
        loop {
            match self.receive().await {
                ToClient::Committed { number: of, index } if of == number => return index,
                ToClient::Refused { reason, .. } => panic!("refused: {reason}"),
                early @ ToClient::Allocs { .. } => self.early.push_back(early),
                _ => {}
            }
        }
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
            task_states: FlatMap::from([("main".into(), state)]),
            ..AllocUpdate::default()
        }]))
        .await
    }
}

fn hello(agent_id: &str, node_id: &str) -> Hello {
    Hello {
        agent_id: agent_id.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        rules: RulesVersion(Version::SUPPORTED.number()),
        node: Some(node(node_id)),
        data_plane: true,
        ..Hello::default()
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
    let server = Running::start(directory.path(), LEASE).await;
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
    let server = Running::start(directory.path(), LEASE).await;
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
    // An agent that speaks is heard within it, however busy the machine is.
    let lease = Duration::from_secs(5);
    let server = Running::start(directory.path(), lease).await;
    let mut first = Agent::connect(&server, hello("a", "node-1")).await;
    register(&server, job("always", JobType::Service, 1)).await;
    let lost = first.next_assignments().await[0].alloc.id;
    drop(first);
    let mut second = Agent::connect(&server, hello("b", "node-2")).await;
    let outgoing = second.link.outgoing.clone();
    let beats = tokio::spawn(async move {
        while outgoing.send(ToServer::Heartbeat).await.is_ok() {
            sleep(lease / 20).await;
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
    let server = Running::start(directory.path(), LEASE).await;
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

/// A job with one instance of service `web`, which is in the catalog as soon as its task runs.
fn web() -> Job {
    let mut web = job("web", JobType::Service, 1);
    web.task_groups[0].services = vec![ServiceSpec {
        name: "web".into(),
        provider: "consul".into(),
        port_label: "9000".into(),
        ..ServiceSpec::default()
    }];
    web
}

impl Agent {
    async fn send(&self, message: ToServer) {
        self.link.outgoing.send(message).await.unwrap();
    }

    /// Places and runs [`web`] here; its allocation.
    async fn run_web(&mut self, server: &Running) -> AllocId {
        register(server, web()).await;
        let id = self.next_assignments().await[0].alloc.id;
        self.report_alloc(id, ClientStatus::Running, TaskPhase::Running)
            .await;
        id
    }

    /// What the next catalog change that is to be confirmed says.
    async fn next_departure(&mut self) -> Position {
        self.until(|message| match message {
            ToClient::CatalogDelta {
                at, confirm: true, ..
            } => Some(at),
            _ => None,
        })
        .await
    }

    async fn confirm(&self, at: Position, busy: &[&str]) {
        let busy = busy.iter().map(|&id| id.to_owned()).collect();
        self.send(ToServer::Confirmed(Confirmation { at, busy }))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drained_is_said_when_every_data_plane_has_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let mut one = Agent::connect(&server, hello("a", "node-1")).await;
    let alloc_id = one.run_web(&server).await;
    let mut two = Agent::connect(&server, hello("b", "node-2")).await;
    assert!(matches!(two.next().await, ToClient::Welcome { .. }));
    for agent in [&mut one, &mut two] {
        agent.catch_up(&server).await;
        agent.confirm(agent.catalog, &[]).await;
        agent.report(Report::Checks(Vec::new())).await;
    }
    let task = None;
    let index = one.report(Report::Withdraw { alloc_id, task }).await;
    one.send(ToServer::Await {
        number: 7,
        index,
        instances: vec!["busy".into()],
    })
    .await;
    let at = two.next_departure().await;
    assert_eq!(at.index, index);
    one.confirm(at, &["busy"]).await;
    // The answers to later reports say that the confirmations were read, and nothing was drained
    // yet.
    one.report_and_expect_no_drain().await;
    two.confirm(at, &[]).await;
    two.report(Report::Checks(Vec::new())).await;
    one.report_and_expect_no_drain().await;
    one.confirm(at, &[]).await;
    one.until(|message| matches!(message, ToClient::Drained { number: 7 }).then_some(()))
        .await;
    server.stop().await;
}

impl Agent {
    async fn report_and_expect_no_drain(&mut self) {
        let number = self.next_number;
        self.next_number += 1;
        let report = Report::Checks(Vec::new());
        self.send(ToServer::Report { number, report }).await;
        self.until(|message| match message {
            ToClient::Drained { .. } => panic!("drained too early"),
            ToClient::Committed { number: of, .. } => (of == number).then_some(()),
            _ => None,
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_without_catalog_changes_is_told_to_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let mut agent = Agent::connect(&server, hello("a", "node-1")).await;
    agent
        .until(|message| match message {
            ToClient::Allocs { known, .. } => known,
            _ => None,
        })
        .await;
    agent.catch_up(&server).await;
    for _ in 0..5 {
        let number = agent.next_number;
        agent.next_number += 1;
        let report = Report::Checks(Vec::new());
        agent.send(ToServer::Report { number, report }).await;
        assert!(matches!(agent.next().await, ToClient::Committed { .. }));
    }
    server.stop().await;
}

fn node_index(server: &Running) -> Index {
    let snapshot = server.handle.snapshot();
    snapshot
        .jobs
        .node(NodeId::named("node-1"))
        .unwrap()
        .modify_index
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_comes_back_gets_only_what_came_later() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let mut agent = Agent::connect(&server, hello("a", "node-1")).await;
    let ToClient::Welcome { history, .. } = agent.next().await else {
        panic!("expected welcome");
    };
    agent.run_web(&server).await;
    agent.catch_up(&server).await;
    let catalog = agent.catalog.index;
    drop(agent);
    let registered = node_index(&server);
    let index = server.handle.snapshot().index;
    let again = Hello {
        stream: 1,
        held: Held {
            history,
            catalog,
            allocs: index,
        },
        ..hello("a", "node-1")
    };
    let mut agent = Agent::connect(&server, again).await;
    assert!(matches!(agent.next().await, ToClient::Welcome { .. }));
    let ToClient::Allocs {
        known: Some(known),
        assignments,
        ..
    } = agent.next().await
    else {
        panic!("expected the list, and no catalog");
    };
    assert_eq!((known.len(), assignments.len()), (1, 0));
    assert_eq!(node_index(&server), registered, "the node is known");
    // What changes now comes as a change.
    let alloc_id = known[0];
    let task = None;
    let index = agent.report(Report::Withdraw { alloc_id, task }).await;
    agent.catch_up(&server).await;
    assert_eq!(agent.catalog.index, index);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_of_a_node_ends_the_older() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let mut first = Agent::connect(&server, hello("a", "node-1")).await;
    assert!(matches!(first.next().await, ToClient::Welcome { .. }));
    let second = Hello {
        stream: 1,
        ..hello("a", "node-1")
    };
    let mut second = Agent::connect(&server, second).await;
    assert!(matches!(second.next().await, ToClient::Welcome { .. }));
    let ended = async { while first.link.incoming.recv().await.is_some() {} };
    timeout(LONG, ended).await.expect("the older stream lives");
    // A registration of before that arrives late changes nothing.
    let mut late = Agent::connect(&server, hello("a", "node-1")).await;
    let ToClient::Rejected { reason } = late.next().await else {
        panic!("expected a rejection");
    };
    assert!(reason.contains("newer stream"), "{reason}");
    second.report(Report::Checks(Vec::new())).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_an_unknown_version_is_told_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let newer = Hello {
        version: "99.0.0".into(),
        ..hello("a", "node-1")
    };
    let mut agent = Agent::connect(&server, newer).await;
    let ToClient::Rejected { reason } = agent.next().await else {
        panic!("expected a rejection");
    };
    assert!(reason.contains("upgrade the servers first"), "{reason}");
    assert!(
        server
            .handle
            .snapshot()
            .jobs
            .node(NodeId::named("node-1"))
            .is_none()
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_has_to_know_the_rules_of_the_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let mut old = Agent::connect(&server, hello("a", "node-1")).await;
    let ToClient::Welcome { rules, .. } = old.next().await else {
        panic!("expected a welcome");
    };
    assert_eq!(
        rules,
        hello("a", "node-1").rules,
        "a new cluster goes by the newest"
    );
    // As if the servers were of a newer build and had gone over to its rules: again after each
    // entry of the log, because the state of this one goes by those of before.
    let next = Version::SUPPORTED.next();
    let published = server.handle.core.published.rules.clone();
    let newer = tokio::spawn(async move {
        let mut seen = published.subscribe();
        loop {
            published.send_if_modified(|rules| std::mem::replace(rules, next) != next);
            seen.mark_unchanged();
            if *seen.borrow() == next {
                seen.changed().await.unwrap();
            }
        }
    });
    let ended = async { while old.link.incoming.recv().await.is_some() {} };
    timeout(LONG, ended)
        .await
        .expect("the agent derives by rules of before");
    let again = Hello {
        stream: 1,
        ..hello("a", "node-1")
    };
    let ToClient::Rejected { reason } = answer_by_newer_rules(&server, &again).await else {
        panic!("expected a rejection");
    };
    let advice = format!("upgrade the agent to a version of trivet that knows {next}");
    assert!(reason.contains(&advice), "{reason}");
    for knows in [next, next.next()] {
        let upgraded = Hello {
            stream: 2,
            rules: RulesVersion(knows.number()),
            ..again.clone()
        };
        let ToClient::Welcome { rules, .. } = answer_by_newer_rules(&server, &upgraded).await
        else {
            panic!("expected a welcome");
        };
        assert_eq!(rules, RulesVersion(next.number()));
    }
    newer.abort();
    server.stop().await;
}

/// What the server answers to `hello`, by newer rules than its own.
async fn answer_by_newer_rules(server: &Running, hello: &Hello) -> ToClient {
    let answer = async {
        loop {
            let answer = Agent::connect(server, hello.clone()).await.next().await;
            let are_own = |rules: &RulesVersion| rules.0 == Version::SUPPORTED.number();
            if !matches!(&answer, ToClient::Welcome { rules, .. } if are_own(rules)) {
                return answer;
            }
        }
    };
    timeout(LONG, answer).await.expect("the rules of before")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_more_agents_there_are_the_longer_they_may_be_silent() {
    let directory = tempfile::tempdir().unwrap();
    let tuning = crate::Tuning {
        rhythm: jobs::control::Rhythm {
            spacing: LEASE,
            ..jobs::control::Rhythm::default()
        },
        ..crate::Tuning::default()
    };
    let server = Running::start_tuned(directory.path(), LEASE, tuning).await;
    let mut told = Vec::new();
    let mut agents = Vec::new();
    for id in ["a", "b", "c"] {
        let mut agent = Agent::connect(&server, hello(id, id)).await;
        let ToClient::Welcome { lease_ms, .. } = agent.next().await else {
            panic!("expected a welcome");
        };
        told.push(Duration::from_millis(lease_ms));
        agents.push(agent);
    }
    // Three heartbeats of each that was there before.
    assert!(told[0] >= LEASE && told[1] >= 3 * LEASE, "{told:?}");
    assert!(told[2] >= 6 * LEASE, "{told:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_another_region_is_no_node_here() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let of_region = |region: &str| Hello {
        region: region.into(),
        ..hello("a", "node-1")
    };
    let mut far = Agent::connect(&server, of_region("far")).await;
    let ToClient::Rejected { reason } = far.next().await else {
        panic!("expected a rejection");
    };
    let part = "the agent is of region `far` and this is a server of region `global`";
    assert!(reason.contains(part), "{reason}");
    assert_eq!(server.handle.snapshot().jobs.nodes("").count(), 0);
    for (stream, region) in [(1, "global"), (2, "")] {
        let near = Hello {
            stream,
            ..of_region(region)
        };
        let mut near = Agent::connect(&server, near).await;
        assert!(matches!(near.next().await, ToClient::Welcome { .. }));
    }
    assert_eq!(server.handle.snapshot().jobs.nodes("").count(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_may_say_much_before_it_said_who_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let mut long = hello("a", "node-1");
    let text = "x".repeat(2 << 20);
    long.agent_id.clone_from(&text);
    let mut agent = Agent::connect(&server, long).await;
    let ended = timeout(LONG, agent.link.incoming.recv()).await;
    assert!(ended.expect("the stream lives").is_none());
    // The same length is taken from an agent that is known.
    let mut agent = Agent::connect(&server, hello("a", "node-1")).await;
    let check = CheckReport {
        output: text,
        status: "passing".into(),
        ..CheckReport::default()
    };
    agent.report(Report::Checks(vec![check])).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let (_, eval_id) = register(&server, job("early", JobType::Batch, 2)).await;
    server
        .until(|state| {
            let eval = state.jobs.eval(eval_id?)?;
            (eval.blocked_eval.is_some()).then_some(())
        })
        .await;
    server.stop().await;
    let server = Running::start(directory.path(), LEASE).await;
    let key = JobKey::new("default", "early");
    assert!(server.handle.snapshot().jobs.job(&key).is_some());
    // The blocked evaluation was taken up again.
    let mut agent = Agent::connect(&server, hello("a", "node-1")).await;
    assert_eq!(agent.next_assignments().await.len(), 2);
    server.stop().await;
}

impl Agent {
    /// Reads until it was told each of `wanted` last.
    async fn told(&mut self, wanted: &[(u64, Content)]) {
        let mut left = wanted.to_vec();
        while !left.is_empty() {
            if let ToClient::Watched { number, content } = self.next().await {
                left.retain(|one| *one != (number, content.clone()));
            }
        }
    }
}

async fn set_key(server: &Running, key: &str, value: &str) {
    let command = mesh::state::Command::PutKey(mesh::state::PutKey {
        key: key.into(),
        value: value.into(),
        ..mesh::state::PutKey::default()
    });
    let (_, outcome) = server.handle.propose(command).await.unwrap();
    outcome.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_of_keys_and_variables_whenever_they_change() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let mut agent = Agent::connect(&server, hello("a", "node-1")).await;
    let variable = VariableKey {
        namespace: "default".into(),
        path: "nomad/jobs/always".into(),
    };
    let below = Subject::VariablesBelow {
        namespace: "default".into(),
        prefix: "nomad/".into(),
    };
    for (number, subject) in [
        (1, Subject::Key("app/a".into())),
        (2, Subject::KeysBelow("app/".into())),
        (3, Subject::Variable(variable.clone())),
        (4, below),
    ] {
        agent.send(ToServer::Watch { number, subject }).await;
    }
    let refused = Content::Refused("this node runs nothing of the namespace `default`".into());
    agent
        .told(&[
            (1, Content::Nothing),
            (2, Content::Pairs(Vec::new())),
            (3, refused.clone()),
            (4, refused),
        ])
        .await;

    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    set_key(&server, "app/b", "2").await;
    agent
        .told(&[(2, Content::Pairs(vec![pair("app/b", "2")]))])
        .await;
    set_key(&server, "app/a", "1").await;
    let both = Content::Pairs(vec![pair("app/a", "1"), pair("app/b", "2")]);
    agent
        .told(&[(1, Content::Text("1".into())), (2, both)])
        .await;

    // What the node runs decides which variables it may read.
    register(&server, job("always", JobType::Service, 1)).await;
    agent
        .told(&[(3, Content::Nothing), (4, Content::List(Vec::new()))])
        .await;
    let items = BTreeMap::from([pair("user", "web")]);
    let set = server.handle.set_variable(variable, &items, None, None);
    let index = set.await.unwrap();
    let told = agent
        .until(|message| match message {
            ToClient::Watched {
                number: 3,
                content: Content::Items { items, facts },
            } => Some((items, facts.modify_index)),
            _ => None,
        })
        .await;
    assert_eq!(told, (items, index));

    // Nobody is told of what nobody wants to know any more.
    agent.send(ToServer::Unwatch { number: 1 }).await;
    agent.send(ToServer::Heartbeat).await;
    agent.report(Report::Checks(Vec::new())).await;
    set_key(&server, "app/a", "3").await;
    agent
        .until(|message| match message {
            ToClient::Watched { number, .. } => {
                assert_ne!(number, 1);
                (number == 2).then_some(())
            }
            _ => None,
        })
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_gets_tokens_for_its_own_tasks_that_everybody_can_check() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let mut own = Agent::connect(&server, hello("a", "node-1")).await;
    let mut with_identity = job("always", JobType::Service, 1);
    let group = with_identity.task_groups.first_mut().unwrap();
    group.tasks[0].identity = Some(Box::new(WorkloadIdentity::of_task()));
    register(&server, with_identity).await;
    let alloc_id = own.next_assignments().await[0].alloc.id;
    let mut foreign = Agent::connect(&server, hello("b", "node-2")).await;
    let subject = Subject::Tokens {
        alloc_id,
        task: "main".into(),
    };
    for agent in [&own, &foreign] {
        let (number, subject) = (1, subject.clone());
        agent.send(ToServer::Watch { number, subject }).await;
    }
    let refused = "an agent gets tokens for its own tasks only";
    foreign.told(&[(1, Content::Refused(refused.into()))]).await;
    let token = own
        .until(|message| match message {
            ToClient::Watched {
                content: Content::Tokens(tokens),
                ..
            } => tokens.get("default").cloned(),
            _ => None,
        })
        .await;
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("{token}");
    };
    let json = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
    };
    let claims_told = json(claims);
    assert_eq!(
        claims_told["sub"],
        "global:default:always:work:main:default"
    );
    assert_eq!(claims_told["nomad_allocation_id"], alloc_id.to_string());
    assert_eq!(claims_told["aud"], serde_json::json!(["nomadproject.io"]));
    assert_eq!(claims_told.get("exp"), None);
    let keys = server
        .handle
        .identity_keys(&server.handle.snapshot())
        .unwrap();
    let key = keys
        .iter()
        .find(|key| key.id.to_string() == json(header)["kid"]);
    let key = UnparsedPublicKey::new(&ED25519, &key.unwrap().bytes);
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    key.verify(format!("{header}.{claims}").as_bytes(), &signature)
        .unwrap();
    key.verify(format!("{header}.x{claims}").as_bytes(), &signature)
        .unwrap_err();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_what_ingresses_count_and_says_how_often() {
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), LEASE).await;
    let counting = |agent_id: &str, node_id: &str| Hello {
        counts: true,
        ..hello(agent_id, node_id)
    };
    let mut agent = Agent::connect(&server, counting("a", "node-1")).await;
    let ToClient::Welcome { takes_traffic, .. } = agent.next().await else {
        panic!("expected a welcome");
    };
    assert!(takes_traffic);
    // An agent without an ingress is not among those that should tell something.
    let mut other = Agent::connect(&server, hello("b", "node-2")).await;
    assert!(matches!(other.next().await, ToClient::Welcome { .. }));
    server
        .handle
        .set_traffic_interval(Duration::from_millis(250));
    let asked = agent.until(|message| match message {
        ToClient::Count { interval_ms } => Some(interval_ms),
        _ => None,
    });
    assert_eq!(asked.await, 250);
    let mut heard = server.handle.traffic_heard();
    let mut tell = async |number: u64, ok: u64| {
        let row = TrafficRow {
            who: Who {
                service: "web".into(),
                instance: "i".into(),
                ..Who::default()
            },
            counts: Counts {
                answers: [0, ok, 0, 0, 0],
                ..Counts::default()
            },
        };
        let traffic = Traffic {
            number,
            millis: 250,
            more: false,
            rows: vec![row],
        };
        agent
            .link
            .outgoing
            .send(ToServer::Traffic(traffic))
            .await
            .unwrap();
        timeout(LONG, heard.changed()).await.unwrap().unwrap();
    };
    tell(1, 3).await;
    tell(4, 5).await;
    let total = server.handle.traffic(Some("web"));
    assert_eq!((total.len(), total[0].counts.answers[1]), (1, 8));
    let feed = server.handle.traffic_after(1);
    let second = &feed.intervals[0];
    assert_eq!((second.missing, second.rows[0].counts.answers[1]), (2, 5));
    assert_eq!((feed.place, feed.is_cut), (2, false));
    let ingresses = server.handle.ingresses();
    assert_eq!((ingresses.len(), ingresses[0].missing), (1, 2));
    assert_eq!(ingresses[0].agent_id, "a");
    // Who comes later is asked for the same.
    let mut late = Agent::connect(&server, counting("c", "node-3")).await;
    let asked = late.until(|message| match message {
        ToClient::Count { interval_ms } => Some(interval_ms),
        _ => None,
    });
    assert_eq!(asked.await, 250);
    server.stop().await;
}
