//! Turns an agent's reports into commands, neighbors of one kind into one.

use jobs::{
    control::triggers,
    model::{AllocId, NodeId, TaskName},
    state::AllocUpdate,
};
use mesh::{
    local::Difference,
    model::{NodeName, Status},
    state::{CHECK_RESULTS_PER_COMMAND_MAX, CheckResult, Deregister, Register, UpdateChecks},
};
use std::collections::BTreeMap;

use super::{Agent, Core, admission::node_command};
use crate::{
    Snapshot,
    log::propose::{ids, now},
    state::Command,
};
use rpc::message::{CheckReport, Report};

/// A command and the reports that it carries out.
pub(super) struct Write {
    /// Numbers of the reports.
    pub(super) numbers: Vec<u64>,
    /// What to write, or why it is not written.
    pub(super) command: Result<Command, &'static str>,
}

/// An agent spoke for another node.
const FOREIGN: &str = "an agent speaks for its own node only";

/// Reports of one kind that follow each other.
enum Group {
    Node(Box<jobs::model::Node>),
    /// The newest update of each allocation.
    Allocs(BTreeMap<AllocId, AllocUpdate>),
    Checks(Vec<CheckReport>),
    Local(Difference),
    Withdraw {
        alloc_id: AllocId,
        task: Option<TaskName>,
    },
}

/// The commands of `numbered`, in order.
pub(super) fn merge(core: &Core, agent: &Agent, numbered: Vec<(u64, Report)>) -> Vec<Write> {
    let mut groups: Vec<(Vec<u64>, Group)> = Vec::new();
    for (number, report) in numbered {
        let report = match (groups.last_mut(), report) {
            (Some((numbers, Group::Allocs(known))), Report::Allocs(updates)) => {
                numbers.push(number);
                known.extend(by_alloc(updates));
                continue;
            }
            (Some((numbers, Group::Checks(known))), Report::Checks(checks))
                if known.len() + checks.len() <= CHECK_RESULTS_PER_COMMAND_MAX =>
            {
                numbers.push(number);
                known.extend(checks);
                continue;
            }
            (_, report) => report,
        };
        let group = match report {
            Report::Node(node) => Group::Node(node),
            Report::Allocs(updates) => Group::Allocs(by_alloc(updates).collect()),
            Report::Checks(checks) => Group::Checks(checks),
            Report::Local(difference) => Group::Local(difference),
            Report::Withdraw { alloc_id, task } => Group::Withdraw { alloc_id, task },
        };
        groups.push((vec![number], group));
    }
    let snapshot = core.published.current();
    groups
        .into_iter()
        .map(|(numbers, group)| Write {
            numbers,
            command: command(core, agent, &snapshot, group),
        })
        .collect()
}

fn by_alloc(updates: Vec<AllocUpdate>) -> impl Iterator<Item = (AllocId, AllocUpdate)> {
    updates.into_iter().map(|update| (update.alloc_id, update))
}

fn command(
    core: &Core,
    agent: &Agent,
    snapshot: &Snapshot,
    group: Group,
) -> Result<Command, &'static str> {
    let own = |node_id: NodeId| Some(node_id) == agent.node_id;
    match group {
        Group::Node(node) if own(node.id) => Ok(node_command(core, *node)),
        Group::Withdraw { alloc_id, task }
            if snapshot
                .jobs
                .alloc(alloc_id)
                .is_none_or(|alloc| own(alloc.node_id)) =>
        {
            Ok(Command::Withdraw { alloc_id, task })
        }
        Group::Node(_) | Group::Withdraw { .. } => Err(FOREIGN),
        Group::Allocs(updates) => Ok(allocs_command(agent, snapshot, updates)),
        Group::Checks(checks) => Ok(checks_command(agent, snapshot, checks)),
        Group::Local(difference) => local_command(agent, snapshot, difference),
    }
}

/// Updates of allocations that are not of the agent's node, or not known any more, are left out.
fn allocs_command(
    agent: &Agent,
    snapshot: &Snapshot,
    updates: BTreeMap<AllocId, AllocUpdate>,
) -> Command {
    let updates: Vec<AllocUpdate> = updates
        .into_values()
        .filter(|update| {
            let alloc = snapshot.jobs.alloc(update.alloc_id);
            alloc.is_some_and(|alloc| Some(alloc.node_id) == agent.node_id)
        })
        .collect();
    let evals = triggers::for_client_updates(&snapshot.jobs, &updates, now(), &mut ids());
    jobs::state::Command::UpdateAllocs { updates, evals }.into()
}

/// The name of the agent's node in the catalog.
fn node_name(agent: &Agent, snapshot: &Snapshot) -> Option<NodeName> {
    let node = snapshot.mesh.node_by_id(&agent.node_id?.to_string())?;
    Some(node.name.clone())
}

/// What was registered with an agent is on its own node.
fn local_command(
    agent: &Agent,
    snapshot: &Snapshot,
    difference: Difference,
) -> Result<Command, &'static str> {
    let node = node_name(agent, snapshot).ok_or(FOREIGN)?;
    let deregister = |node, service_id, check_id| {
        mesh::state::Command::Deregister(Deregister {
            node,
            service_id,
            check_id,
        })
    };
    let command = match difference {
        Difference::Register { service, checks } => {
            let node = mesh::model::Node {
                name: node,
                ..mesh::model::Node::default()
            };
            mesh::state::Command::Register(Box::new(Register {
                node,
                keep_node: true,
                service: service.map(|service| *service),
                checks,
            }))
        }
        Difference::DeregisterService { id } => deregister(node, Some(id), None),
        Difference::DeregisterCheck { id } => deregister(node, None, Some(id)),
    };
    Ok(command.into())
}

fn checks_command(agent: &Agent, snapshot: &Snapshot, checks: Vec<CheckReport>) -> Command {
    let node = node_name(agent, snapshot).unwrap_or_default();
    let results = checks
        .into_iter()
        .filter_map(|check| {
            let status: Status = check.status.parse().ok()?;
            Some(CheckResult {
                node: node.clone(),
                check_id: check.check_id,
                status,
                output: check.output,
            })
        })
        .collect();
    mesh::state::Command::UpdateChecks(UpdateChecks { results }).into()
}
