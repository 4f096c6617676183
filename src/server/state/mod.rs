//! The replicated state: jobs and catalog under one index, and what couples them.
//!
//! An allocation, its instances and its node are changed by the same entry: after a jobs command
//! the catalog commands that follow from it are derived and applied at the same index. So there is
//! no moment at which one of them shows what the other does not.

use jobs::model::Timestamp;
mod saved;
#[cfg(test)]
mod tests;

use jobs::{
    model::{AllocId, Allocation, Index, JobKey, NodeId, PlanResult, TaskName, VariableKey},
    state::{AllocChange, Applied, NodeChange},
    verify::verify,
};
use mesh::{
    model::ServiceKey,
    state::{DeregisterService, DrainService, RegisterService, RemoveNode},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use registration::{
    CatalogPresence, Instance, Rules, UnknownRules, Version, catalog_node, has_restarted,
    has_services, instances,
};

pub use jobs::state::Stamp;
pub use saved::{Loading, SavedRow};

/// One change, as it stands in the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Of the jobs tables.
    Jobs(Box<jobs::state::Command>),
    /// Of the catalog.
    Mesh(Box<mesh::state::Command>),
    /// Takes the instances of an allocation out of DNS and routes, because its client is about to
    /// stop or restart it.
    Withdraw {
        /// Allocation.
        alloc_id: AllocId,
        /// Task; none for all of the allocation.
        task: Option<TaskName>,
    },
    /// Plans, one per evaluation. Each is verified when it is applied; one that does not fit any
    /// more is left out: its evaluation stays as it was and is decided about anew.
    Plans {
        /// The state that they were made from.
        seen: Index,
        /// The plans.
        results: Vec<PlanResult>,
    },
    /// Goes over to newer rules, which every server knows. Older ones than those in force change
    /// nothing.
    RaiseVersion {
        /// The rules.
        to: Version,
    },
    /// Several that belong together; those after a rejected one are not carried out.
    Sequence(Vec<Self>),
}

impl From<jobs::state::Command> for Command {
    fn from(command: jobs::state::Command) -> Self {
        Self::Jobs(Box::new(command))
    }
}

impl From<mesh::state::Command> for Command {
    fn from(command: mesh::state::Command) -> Self {
        Self::Mesh(Box::new(command))
    }
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejected {
    /// The jobs tables say no.
    #[error(transparent)]
    Jobs(#[from] jobs::state::Rejected),
    /// The catalog says no.
    #[error(transparent)]
    Mesh(#[from] mesh::state::Rejected),
}

/// What a command did, as far as its answer tells it. It is about that command, whatever others of
/// the same entry did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Effect {
    /// The `job_modify_index` that the job has after the command; none when the command is about no
    /// job or removed it.
    pub job_modify_index: Option<Index>,
    /// What the operations of a catalog transaction gave.
    pub results: Vec<mesh::state::OperationResult>,
}

/// What became of a command.
pub type Outcome = Result<Effect, Rejected>;

/// A row whose versions are told apart by their index, and whose writer may ask for one of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// The specification of a job.
    Job(JobKey),
    /// The operator's route text.
    RouteOverrides,
    /// A key of the key-value store.
    Key(String),
    /// A variable.
    Variable(VariableKey),
    /// A configuration entry.
    ConfigEntry(mesh::model::ConfigKey),
    /// A node of the catalog, by name.
    MeshNode(mesh::model::NodeName),
    /// An instance of the catalog.
    MeshService(ServiceKey),
    /// A check of the catalog.
    MeshCheck(mesh::model::CheckKey),
    /// All that users wrote into the catalog.
    Catalog,
    /// A prepared query, by id.
    PreparedQuery(mesh::model::QueryId),
}

impl Command {
    /// The rows of which the command makes a version. One log entry makes one version of a row at
    /// most, so that an index identifies it.
    pub fn versioned_rows(&self) -> Vec<Row> {
        match self {
            Self::Jobs(command) => jobs_row(command).into_iter().collect(),
            Self::Mesh(command) => catalog_rows(command),
            Self::Sequence(commands) => commands.iter().flat_map(Self::versioned_rows).collect(),
            Self::Withdraw { .. } | Self::Plans { .. } | Self::RaiseVersion { .. } => Vec::new(),
        }
    }

    /// The rules that a cluster must go by before the command may be in its log.
    pub fn version(&self) -> Version {
        match self {
            Self::Jobs(command) => jobs_version(command),
            Self::Mesh(_)
            | Self::Withdraw { .. }
            | Self::Plans { .. }
            | Self::RaiseVersion { .. } => Version::FIRST,
            Self::Sequence(commands) => {
                let versions = commands.iter().map(Self::version);
                versions.max().unwrap_or_default()
            }
        }
    }

    /// Makes sure that this build knows the rules that are in force after the command.
    ///
    /// # Errors
    /// [`UnknownRules`]: only a newer build may propose or apply the command.
    pub fn check_rules(&self) -> Result<(), UnknownRules> {
        match self {
            Self::RaiseVersion { to } => Rules::of(*to).map(drop),
            Self::Sequence(commands) => commands.iter().try_for_each(Self::check_rules),
            Self::Jobs(_) | Self::Mesh(_) | Self::Withdraw { .. } | Self::Plans { .. } => Ok(()),
        }
    }
}

fn jobs_version(command: &jobs::state::Command) -> Version {
    match command {
        jobs::state::Command::SetAutopilotConfig { .. } => Version::THIRD,
        #[cfg(feature = "next")]
        jobs::state::Command::SetNodeNote { .. } => Version::FIFTH,
        #[cfg(feature = "next")]
        jobs::state::Command::UpsertNode(node) if !node.note.is_empty() => Version::FIFTH,
        jobs::state::Command::UpsertNode(node) if node.has_host_networks() => Version::FOURTH,
        _ => Version::FIRST,
    }
}

fn jobs_row(command: &jobs::state::Command) -> Option<Row> {
    match command {
        jobs::state::Command::WriteVariable(write) => Some(Row::Variable(write.key.clone())),
        command => command.versioned_job().map(Row::Job),
    }
}

fn catalog_rows(command: &mesh::state::Command) -> Vec<Row> {
    use mesh::state::{Command, Operation};
    match command {
        Command::SetRouteOverrides(_) | Command::SetSplit(_) => vec![Row::RouteOverrides],
        Command::PutKey(put) => vec![Row::Key(put.key.clone())],
        Command::DeleteKey(delete) => vec![Row::Key(delete.key.clone())],
        Command::PutConfigEntry(put) => vec![Row::ConfigEntry(put.key.clone())],
        Command::DeleteConfigEntry(delete) => vec![Row::ConfigEntry(delete.key.clone())],
        Command::RunTransaction(transaction) => {
            let operations = transaction.operations.iter();
            let rows = operations.map(|operation| match operation {
                Operation::Key(of) => Row::Key(of.key.clone()),
                Operation::Node(of) => Row::MeshNode(of.node.name.clone()),
                Operation::Service(of) => Row::MeshService(of.service.key()),
                Operation::Check(of) => Row::MeshCheck(of.check.key()),
            });
            rows.collect()
        }
        Command::Register(register) => registered_rows(register),
        Command::PutPreparedQuery(put) => vec![Row::PreparedQuery(put.query.id.clone())],
        Command::DeletePreparedQuery(delete) => vec![Row::PreparedQuery(delete.id.clone())],
        Command::RestoreCatalog(_) => vec![Row::Catalog],
        Command::UpsertNode(_)
        | Command::RemoveNode(_)
        | Command::RegisterService(_)
        | Command::DeregisterService(_)
        | Command::DrainService(_)
        | Command::UpdateChecks(_)
        | Command::Deregister(_)
        | Command::CreateSession(_)
        | Command::DestroySession(_)
        | Command::SetAuthority(_) => Vec::new(),
    }
}

/// The node of a registration is mostly as it was, and then no version of it is made.
fn registered_rows(register: &mesh::state::Register) -> Vec<Row> {
    let node = &register.node.name;
    let service = register.service.iter().map(|service| {
        Row::MeshService(ServiceKey {
            node: node.clone(),
            id: service.id.clone(),
        })
    });
    let checks = register.checks.iter().map(|check| {
        Row::MeshCheck(mesh::model::CheckKey {
            node: node.clone(),
            id: check.id.clone(),
        })
    });
    service.chain(checks).collect()
}

/// What the commands of one entry changed, in order.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Of the jobs tables, one per command.
    pub jobs: Vec<Applied>,
    /// Of the catalog, one per command.
    pub mesh: Vec<mesh::state::Applied>,
    /// Node id to the ids of its allocations that were created, changed or removed.
    pub of_node: BTreeMap<NodeId, BTreeSet<AllocId>>,
}

/// Everything that is replicated.
#[derive(Clone, Debug, Default)]
pub struct State {
    index: Index,
    now: Timestamp,
    rules: Rules,
    jobs: jobs::state::State,
    mesh: mesh::state::State,
}

/// The whole state at one index; it never changes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The last entry in it.
    pub index: Index,
    /// When that entry was written.
    pub now: Timestamp,
    /// The rules that the cluster goes by.
    pub version: Version,
    /// Jobs tables.
    pub jobs: jobs::state::Snapshot,
    /// Catalog tables.
    pub mesh: mesh::state::Snapshot,
}

impl State {
    /// The last entry and its time.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            index: self.index,
            now: self.now,
        }
    }

    /// A view for readers that shares structure.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            index: self.index,
            now: self.now,
            version: self.rules.version(),
            jobs: self.jobs.snapshot(),
            mesh: self.mesh.snapshot(),
        }
    }

    /// Takes note that the entry at `at` is applied entirely.
    pub fn advance(&mut self, at: Stamp) {
        self.index = at.index;
        self.now = at.now;
    }

    /// Carries out one command and adds what it changed to `changes`.
    ///
    /// # Errors
    /// [`Rejected`]; nothing was changed then, except by earlier members of a sequence.
    pub fn apply(&mut self, at: Stamp, command: Command, changes: &mut Changes) -> Outcome {
        match command {
            Command::Jobs(command) => self.apply_jobs(at, *command, changes),
            Command::Mesh(command) => self.apply_mesh(at, *command, changes),
            Command::Withdraw { alloc_id, task } => {
                let commands = self.withdrawn(alloc_id, task.as_deref());
                self.apply_derived(at, commands, changes);
                Ok(Effect::default())
            }
            Command::Plans { seen, results } => {
                for result in results {
                    match verify(self.jobs.current(), seen, &result) {
                        Ok(()) => {
                            let command = jobs::state::Command::ApplyPlans(vec![result]);
                            self.apply_jobs(at, command, changes)?;
                        }
                        Err(conflict) => {
                            tracing::debug!(index = at.index, %conflict, "a plan is left out");
                        }
                    }
                }
                Ok(Effect::default())
            }
            Command::RaiseVersion { to } => {
                // An entry with rules that are not known here does not come this far.
                if let Ok(rules) = Rules::of(to)
                    && rules > self.rules
                {
                    self.raise(at, rules, changes);
                }
                Ok(Effect::default())
            }
            Command::Sequence(commands) => {
                let mut effect = Effect::default();
                for command in commands {
                    let own = self.apply(at, command, changes)?;
                    effect.job_modify_index = own.job_modify_index.or(effect.job_modify_index);
                    effect.results.extend(own.results);
                }
                Ok(effect)
            }
        }
    }

    fn apply_jobs(
        &mut self,
        at: Stamp,
        command: jobs::state::Command,
        changes: &mut Changes,
    ) -> Outcome {
        // A node that the catalog refuses must not enter the jobs tables either.
        if let jobs::state::Command::UpsertNode(node) = &command {
            let trial = mesh::state::Command::UpsertNode(catalog_node(self.rules, node));
            self.mesh.clone().apply(catalog_stamp(at), trial)?;
        }
        let job = command.versioned_job();
        let applied = self.jobs.apply(at, command)?;
        let job = job.and_then(|key| self.jobs.current().job(&key));
        let effect = Effect {
            job_modify_index: job.map(|job| job.job_modify_index),
            ..Effect::default()
        };
        let mut commands = Vec::new();
        for change in &applied.nodes {
            commands.extend(self.node_commands(change));
        }
        for change in &applied.allocs {
            self.alloc_commands(change, &mut commands);
            if let Some(alloc) = change.row() {
                let of_node = changes.of_node.entry(alloc.node_id).or_default();
                of_node.insert(alloc.id);
            }
        }
        changes.jobs.push(applied);
        self.apply_derived(at, commands, changes);
        Ok(effect)
    }

    /// Goes over to newer rules, by which the rows of nodes that did not change may be others.
    fn raise(&mut self, at: Stamp, rules: Rules, changes: &mut Changes) {
        let before = std::mem::replace(&mut self.rules, rules);
        let mut commands = Vec::new();
        for node in self.jobs.current().nodes("") {
            let row = catalog_node(rules, node);
            // Another node may have its name by now.
            let has_row = self.mesh.current().node_by_id(&row.node.id).is_some();
            if has_row && row != catalog_node(before, node) {
                commands.push(mesh::state::Command::UpsertNode(row));
            }
        }
        self.apply_derived(at, commands, changes);
    }

    fn node_commands(&self, change: &NodeChange) -> Option<mesh::state::Command> {
        let before = change.before.as_deref();
        let row = |node| catalog_node(self.rules, node);
        let Some(after) = change.after.as_deref().map(row) else {
            // Another node may have its name by now.
            let row = self.mesh.current().node_by_id(&before?.id.to_string())?;
            let name = row.name.clone();
            return Some(mesh::state::Command::RemoveNode(RemoveNode { name }));
        };
        let unchanged = before.is_some_and(|before| row(before) == after);
        (!unchanged).then_some(mesh::state::Command::UpsertNode(after))
    }

    fn apply_mesh(
        &mut self,
        at: Stamp,
        command: mesh::state::Command,
        changes: &mut Changes,
    ) -> Outcome {
        let mut applied = self.mesh.apply(catalog_stamp(at), command)?;
        let effect = Effect {
            results: std::mem::take(&mut applied.results),
            ..Effect::default()
        };
        if !applied.is_unchanged() {
            changes.mesh.push(applied);
        }
        Ok(effect)
    }

    /// Applies what follows from a jobs command, which stands whatever the catalog says.
    fn apply_derived(
        &mut self,
        at: Stamp,
        commands: Vec<mesh::state::Command>,
        changes: &mut Changes,
    ) {
        for command in commands {
            if let Err(error) = self.apply_mesh(at, command, changes) {
                tracing::warn!(index = at.index, %error, "the catalog refused an instance");
            }
        }
    }

    fn instances_of(&self, alloc: &Allocation) -> Vec<Instance> {
        match self.jobs.current().node(alloc.node_id) {
            Some(node) => instances(self.rules, alloc, node),
            None => Vec::new(),
        }
    }

    fn withdrawn(&self, alloc_id: AllocId, task: Option<&str>) -> Vec<mesh::state::Command> {
        let Some(alloc) = self.jobs.current().alloc(alloc_id) else {
            return Vec::new();
        };
        self.instances_of(alloc)
            .into_iter()
            // Services of the group need all of its tasks.
            .filter(|instance| {
                task.is_none() || instance.task.is_none() || instance.task.as_deref() == task
            })
            .filter_map(|instance| self.drain(instance.service.key()))
            .collect()
    }

    fn drain(&self, key: ServiceKey) -> Option<mesh::state::Command> {
        let row = self.mesh.current().service(&key)?;
        if row.draining {
            return None;
        }
        Some(mesh::state::Command::DrainService(DrainService {
            node: key.node,
            id: key.id,
        }))
    }

    fn deregister(&self, key: ServiceKey) -> Option<mesh::state::Command> {
        self.mesh.current().service(&key)?;
        Some(mesh::state::Command::DeregisterService(DeregisterService {
            node: key.node,
            id: key.id,
        }))
    }

    /// The catalog commands that follow from the change of one allocation.
    fn alloc_commands(&self, change: &AllocChange, commands: &mut Vec<mesh::state::Command>) {
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        if !before.is_some_and(has_services) && !after.is_some_and(has_services) {
            return;
        }
        let mut gone: BTreeSet<ServiceKey> = before
            .map(|alloc| self.instances_of(alloc))
            .unwrap_or_default()
            .into_iter()
            .map(|instance| instance.service.key())
            .collect();
        for instance in after
            .map(|alloc| self.instances_of(alloc))
            .unwrap_or_default()
        {
            let Some(alloc) = after else { continue };
            let key = instance.service.key();
            match CatalogPresence::of(self.rules, alloc, &instance) {
                CatalogPresence::Absent => gone.insert(key),
                CatalogPresence::Draining => {
                    commands.extend(self.drain(key.clone()));
                    gone.remove(&key)
                }
                CatalogPresence::Listed => {
                    let restarted = |before| has_restarted(self.rules, before, alloc, &instance);
                    if before.is_some_and(restarted) {
                        commands.extend(self.deregister(key.clone()));
                    }
                    let checks = instance.registered_checks();
                    let service = instance.service;
                    let register = RegisterService { service, checks };
                    commands.push(mesh::state::Command::RegisterService(Box::new(register)));
                    gone.remove(&key)
                }
            };
        }
        commands.extend(gone.into_iter().filter_map(|key| self.deregister(key)));
    }
}

/// An instant of the log as the catalog writes it.
pub(super) fn log_time(at: Timestamp) -> mesh::model::Timestamp {
    mesh::model::Timestamp::from_nanos(at.as_nanos())
}

fn catalog_stamp(at: Stamp) -> mesh::state::Stamp {
    mesh::state::Stamp {
        index: at.index,
        now: log_time(at.now),
    }
}
