//! Files that earlier builds wrote: every build must load them, and find in them what was written.
//!
//! `TRIVET_WRITE_FIXTURES=1 cargo test --lib files_of_earlier_builds` writes those of this build
//! anew, as long as no release reads them.

use super::*;
use crate::{Snapshot, state::Command};
use jobs::{
    control::triggers,
    ids::Ids,
    model::{
        AutopilotConfig, ClientStatus, Job, Node, NodeAddress, NodeNetwork, TaskPhase, TaskState,
        Timestamp, Trigger,
    },
    scheduler,
    state::{AllocUpdate, Command as JobsCommand, RegisterJob},
};
use mesh::state::{Command as MeshCommand, SavedRow, SetRouteOverrides};
use registration::Version;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// What this build writes. Files of earlier ones stay as they are.
const CURRENT: &str = "rules-4";

const JOB: &str = r#"
job "web" {
  group "g" {
    count = 2
    network {
      port "http" {}
    }
    service {
      name = "web"
      port = "http"
      tags = ["urlprefix-/web"]
      check {
        type     = "http"
        path     = "/"
        interval = "5s"
        timeout  = "1s"
      }
    }
    task "server" {
      driver = "raw_exec"
      config {
        command = "/bin/true"
      }
      resources {
        cpu    = 10
        memory = 10
      }
    }
  }
}
"#;

fn all() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("log/raft/fixtures")
}

fn job(priority: i32) -> Job {
    let written = jobs::spec::parse(
        JOB,
        "web.hcl",
        &jobs::spec::Variables::default(),
        &jobs::spec::Surroundings::default(),
    )
    .unwrap();
    let checked = jobs::spec::canonicalize_and_validate(written, &jobs::spec::Defaults::default());
    let mut job = checked.job.unwrap();
    job.priority = priority;
    job
}

fn node() -> Node {
    serde_json::from_value(serde_json::json!({
        "ID": "6c3f8f5e-0000-4000-8000-000000000001",
        "Name": "one",
        "Datacenter": "dc1",
        "NodePool": "default",
        "Status": "ready",
        "SchedulingEligibility": "eligible",
        "Attributes": {"kernel.name": "linux", "consul.version": "1.22.0"},
        "Meta": {"rack": "r1"},
        "Drivers": {"raw_exec": {"Detected": true, "Healthy": true}},
        "NodeResources": {
            "Cpu": {"CpuShares": 4000, "TotalCpuCores": 2},
            "Memory": {"MemoryMB": 4000},
            "Disk": {"DiskMB": 40_000},
            "Networks": [{"IP": "10.0.0.7", "Device": "eth0"}],
            "MinDynamicPort": 20_000,
            "MaxDynamicPort": 20_100,
        },
    }))
    .unwrap()
}

/// What a state says, in lines that do not change when rows get new fields.
fn describe(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let jobs = &snapshot.jobs;
    for job in jobs.jobs(None, "") {
        let versions = jobs.versions(&job.key()).len();
        let (index, status) = (job.job_modify_index, job.status);
        writeln!(
            text,
            "job {} priority {} version {} of {versions} index {index} {status:?}",
            job.id, job.priority, job.version
        )
        .unwrap();
    }
    for eval in jobs.evals("") {
        let (index, status) = (eval.modify_index, eval.status);
        writeln!(
            text,
            "evaluation {} of {} index {index} {status:?}",
            eval.id, eval.job_id
        )
        .unwrap();
    }
    for alloc in jobs.allocs("") {
        let ports: Vec<_> = alloc
            .allocated_resources
            .ports()
            .map(|(_, port)| port)
            .collect();
        writeln!(
            text,
            "allocation {} {} version {} index {} {:?} ports {ports:?}",
            alloc.id, alloc.name, alloc.job_version, alloc.modify_index, alloc.client_status
        )
        .unwrap();
    }
    for deployment in jobs.deployments("") {
        let (index, status) = (deployment.modify_index, deployment.status);
        writeln!(
            text,
            "deployment {} index {index} {status:?}",
            deployment.id
        )
        .unwrap();
    }
    for node in jobs.nodes("") {
        writeln!(
            text,
            "node {} {} index {} {:?}",
            node.id, node.name, node.modify_index, node.status
        )
        .unwrap();
        let networks = node.node_resources.node_networks.iter();
        for at in networks.flat_map(|network| &network.addresses) {
            writeln!(text, "address {} of network {}", at.address, at.alias).unwrap();
        }
    }
    let autopilot = jobs.autopilot_config();
    if autopilot.modify_index != AutopilotConfig::UNCHANGED {
        let (min_quorum, index) = (autopilot.min_quorum, autopilot.modify_index);
        writeln!(text, "autopilot of {min_quorum} index {index}").unwrap();
    }
    for row in snapshot.mesh.saved_rows() {
        match row {
            SavedRow::Service(row) => writeln!(
                text,
                "instance {} of {} at {}:{} tags {:?} draining {}",
                row.id, row.name, row.address, row.port, row.tags, row.draining
            ),
            SavedRow::Check(row) => writeln!(text, "check {} {:?}", row.id, row.status),
            SavedRow::RouteOverrides(row) => writeln!(text, "routes {:?}", row.text),
            SavedRow::Split(row) => writeln!(
                text,
                "split {:?} {} index {}",
                row.key, row.share_millionths, row.modify_index
            ),
            SavedRow::ServiceIndex(name, instances, health) => {
                writeln!(text, "index of {name} {instances} {health}")
            }
            SavedRow::Key(row) => writeln!(
                text,
                "key {} index {} held by {:?}",
                row.key, row.modify_index, row.session
            ),
            SavedRow::Session(row) => writeln!(text, "session {} of {}", row.id, row.node),
            SavedRow::Virtual(service, number) => writeln!(text, "address {number} of {service}"),
            SavedRow::Node(row) if !row.meta.is_empty() => {
                writeln!(text, "labels of {} {:?}", row.name, row.meta)
            }
            SavedRow::Indexes { .. }
            | SavedRow::Node(_)
            | SavedRow::NodeIndex(..)
            | SavedRow::ConfigEntry(_)
            | SavedRow::ConfigIndex(_)
            | SavedRow::LastVirtual(_)
            | SavedRow::Authority(_)
            | SavedRow::PreparedQuery(_)
            | SavedRow::PreparedQueryIndex(_)
            | SavedRow::QuerySession(..)
            | SavedRow::StoreIndexes { .. }
            | SavedRow::Tombstone(..)
            | SavedRow::LockDelay(..) => Ok(()),
        }
        .unwrap();
    }
    text
}

/// A server that is all of its cluster.
pub(super) fn alone(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        address: "127.0.0.1:4647".into(),
        name: "one".into(),
        begins_alone: true,
        security: Security::Plain,
        multiplier: 1,
    }
}

async fn start(directory: &Path) -> (Raft, Arc<Published>) {
    let published = Arc::new(Published::default());
    let raft = Raft::start(alone(directory), Arc::clone(&published))
        .await
        .unwrap();
    (raft, published)
}

async fn write(raft: &Raft, command: impl Into<Command>) {
    raft.propose(command.into()).await.unwrap().1.unwrap();
}

async fn register(raft: &Raft, priority: i32, ids: &mut Ids) {
    let job = job(priority);
    let eval = triggers::for_job(&job, Trigger::JobRegister, Timestamp::from_nanos(1), ids);
    let command = RegisterJob {
        job,
        eval: Some(eval),
        ..RegisterJob::default()
    };
    write(raft, JobsCommand::RegisterJob(Box::new(command))).await;
}

/// Decides about everything that is pending.
async fn schedule(raft: &Raft, published: &Published) {
    let snapshot = published.current();
    let pending: Vec<_> = snapshot
        .jobs
        .evals("")
        .filter(|eval| !eval.status.is_terminal())
        .cloned()
        .collect();
    let mut cx = scheduler::Context::new(Timestamp::from_nanos(1), 7);
    let results = scheduler::schedule_batch(&snapshot.jobs, &pending, &mut cx);
    let command = Command::Plans {
        seen: snapshot.index,
        results,
    };
    write(raft, command).await;
}

async fn report_running(raft: &Raft, published: &Published) {
    let running = TaskState {
        state: TaskPhase::Running,
        ..TaskState::default()
    };
    let snapshot = published.current();
    let updates = snapshot.jobs.allocs("").map(|alloc| AllocUpdate {
        alloc_id: alloc.id,
        client_status: ClientStatus::Running,
        task_states: [("server".into(), running.clone())].into_iter().collect(),
        ..AllocUpdate::default()
    });
    let command = JobsCommand::UpdateAllocs {
        updates: updates.collect(),
        evals: Vec::new(),
    };
    write(raft, command).await;
}

/// Writes a directory with something of everything, part of it in the snapshot and part in the log.
async fn write_files(into: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let (raft, published) = start(directory.path()).await;
    let mut ids = Ids::from_seed(1);
    write(&raft, JobsCommand::UpsertNode(Box::new(node()))).await;
    register(&raft, 50, &mut ids).await;
    schedule(&raft, &published).await;
    report_running(&raft, &published).await;
    raft.library.trigger().snapshot().await.unwrap();
    raft.library
        .wait(Some(LEAD_TIMEOUT))
        .metrics(|metrics| metrics.snapshot.is_some(), "a snapshot")
        .await
        .unwrap();
    // What stands in the snapshot is derived by the first rules, what follows by the newest.
    let to = Version::SUPPORTED;
    write(&raft, Command::RaiseVersion { to }).await;
    let overrides = SetRouteOverrides {
        text: "route add web /other http://10.0.0.7:1/".into(),
        expected_index: None,
    };
    write(&raft, MeshCommand::SetRouteOverrides(overrides)).await;
    let config = AutopilotConfig {
        min_quorum: 3,
        ..AutopilotConfig::default()
    };
    let expected = None;
    write(&raft, JobsCommand::SetAutopilotConfig { config, expected }).await;
    let mut with_network = node();
    with_network.node_resources.node_networks = vec![NodeNetwork {
        addresses: vec![NodeAddress {
            alias: "public".into(),
            address: "192.0.2.7".into(),
            ..NodeAddress::default()
        }],
        ..NodeNetwork::default()
    }];
    write(&raft, JobsCommand::UpsertNode(Box::new(with_network))).await;
    register(&raft, 60, &mut ids).await;
    schedule(&raft, &published).await;
    raft.shutdown().await;
    fs::remove_dir_all(into).ok();
    fs::create_dir_all(into).unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "lock" {
            continue;
        }
        let mut bytes = fs::read(directory.path().join(&name)).unwrap();
        if name.ends_with(".log") {
            // The zeros of a segment are put back when it is loaded.
            let used = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            bytes.truncate(used);
        }
        fs::write(into.join(name), bytes).unwrap();
    }
    fs::write(into.join("expected.txt"), describe(&published.current())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_earlier_builds_load() {
    if std::env::var_os("TRIVET_WRITE_FIXTURES").is_some() {
        write_files(&all().join(CURRENT)).await;
    }
    let mut loaded = 0;
    for entry in fs::read_dir(all()).unwrap() {
        let from = entry.unwrap().path();
        let directory = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(&from).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let mut bytes = fs::read(from.join(&name)).unwrap();
            if name.ends_with(".log") {
                bytes.resize(segment::SEGMENT_BYTES, 0);
            }
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        let (raft, published) = start(directory.path()).await;
        let expected = fs::read_to_string(from.join("expected.txt")).unwrap();
        assert_eq!(
            describe(&published.current()),
            expected,
            "{}",
            from.display()
        );
        assert!(expected.lines().count() > 8, "{expected}");
        raft.shutdown().await;
        loaded += 1;
    }
    assert!(loaded > 0);
}
