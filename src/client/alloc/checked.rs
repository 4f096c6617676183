//! The check loops of an allocation: one per check of an instance whose tasks run.

use super::{
    check_restarts::CheckRestarts,
    lifecycle::definitions,
    message::{Message, Tasks},
};
use crate::{
    checks::{CheckResult, ScriptContext},
    shared::{CheckStatus, Shared},
};
use jobs::{
    environment::TaskEnvironment,
    model::{Allocation, TaskName, UnixSeconds},
};
use mesh::{
    health::Change,
    model::{ServiceId, Status},
};
use registration::{Instance, InstanceCheck};
use rpc::message::CheckReport;
use std::{collections::BTreeMap, sync::Arc};
use sys::clock;
use tokio::{sync::mpsc, task::JoinSet};

/// The running loops; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Checked {
    shared: Arc<Shared>,
    /// For checks that ask for a restart.
    messages: mpsc::Sender<Message>,
    /// Service id to the run that it is checked for, and the loops.
    loops: BTreeMap<ServiceId, (Vec<String>, JoinSet<()>)>,
}

impl Checked {
    /// Without any loop; `messages` leads to the runner of the allocation.
    pub(super) fn new(shared: Arc<Shared>, messages: mpsc::Sender<Message>) -> Self {
        Self {
            shared,
            messages,
            loops: BTreeMap::new(),
        }
    }

    /// Ends every loop.
    pub(super) fn clear(&mut self) {
        self.loops.clear();
    }

    /// Starts and ends the loops of instances whose tasks started or ended. Results are told only
    /// after the report numbered `last_report` is settled: the instance must be in the catalog
    /// before them.
    pub(super) fn follow(&mut self, last_report: u64) {
        let assigned = self.shared.alloc();
        let mut live = self.shared.instances();
        live.retain(|instance| !instance.checks.is_empty());
        if live.is_empty() {
            return self.loops.clear();
        }
        let mut alloc = (*assigned).clone();
        let record = self.shared.record();
        alloc.task_states = self.shared.states();
        live.retain(|instance| instance.is_live(&alloc));
        self.loops
            .retain(|id, _| live.iter().any(|instance| instance.service.id == *id));
        for instance in live {
            let run: Vec<String> = record
                .tasks
                .iter()
                .filter(|(name, _)| instance.task.as_ref().is_none_or(|task| task == *name))
                .map(|(_, task)| String::from(task.last_run.clone()))
                .chain(
                    instance
                        .checks
                        .iter()
                        .map(|check| check.check.id.to_string()),
                )
                .collect();
            let id = instance.service.id.clone();
            if self.loops.get(&id).is_some_and(|(known, _)| *known == run) {
                continue;
            }
            let mut loops = JoinSet::new();
            for check in instance.checks.clone() {
                loops.spawn(self.check_loop(&alloc, &instance, check, last_report));
            }
            self.loops.insert(id, (run, loops));
        }
    }

    fn check_loop(
        &self,
        alloc: &Allocation,
        instance: &Instance,
        mut check: InstanceCheck,
        last_report: u64,
    ) -> impl Future<Output = ()> + use<> {
        let shared = Arc::clone(&self.shared);
        let messages = self.messages.clone();
        let script = script_task(alloc, instance, &check).and_then(|task| {
            let node = Arc::clone(&shared.cx.node.borrow());
            let definition = definitions(alloc).find(|known| known.name == task)?;
            let environment = shared.environment(alloc, definition, &node);
            resolve(&mut check, &environment);
            let driver = Arc::clone(shared.cx.drivers.get(&definition.driver)?);
            Some(ScriptContext {
                dir: shared.work_dir(definition),
                handle: shared.task(&task).handle,
                config: definition.config.clone(),
                network: shared.network().map(|network| network.namespace),
                driver,
                env: environment.variables().clone(),
                user: definition.user.clone(),
            })
        });
        let status = first_status(alloc, instance, &check);
        shared.checks.lock().insert(status.id.clone(), status);
        let restarted = own_task(instance, &check).map(String::from);
        async move {
            shared.cx.reports.settled(last_report).await;
            let asked = check.spec.check_restart.as_ref();
            let mut restarts = CheckRestarts::new(asked, clock::monotonic());
            let on_result = |result: CheckResult| {
                if restarts.on_result(clock::monotonic(), result.outcome) {
                    // A full queue loses the request; the next failures ask again.
                    messages
                        .try_send(restart(restarted.clone(), &check.check.name))
                        .ok();
                }
                note_result(&shared, &check, result);
            };
            let checks = &shared.cx.checks;
            checks.run(&check, script.as_ref(), on_result).await;
        }
    }
}

/// The task that the check belongs to by name.
fn own_task(instance: &Instance, check: &InstanceCheck) -> Option<TaskName> {
    let named = check.spec.task_name.as_ref();
    instance.task.as_ref().or(named).cloned()
}

/// The task that a script of the check runs in: its own, or else the first main task.
fn script_task(alloc: &Allocation, instance: &Instance, check: &InstanceCheck) -> Option<TaskName> {
    own_task(instance, check).or_else(|| {
        let mut main = definitions(alloc).filter(|task| task.is_main());
        main.next().map(|task| task.name.clone())
    })
}

/// What the API shows before the first result.
fn first_status(alloc: &Allocation, instance: &Instance, check: &InstanceCheck) -> CheckStatus {
    CheckStatus {
        id: check.check.id.clone(),
        name: check.check.name.clone(),
        group: alloc.name.to_string(),
        task: instance.task.clone(),
        service: instance.service.name.clone(),
        status: check.check.status,
        output: String::new(),
        timestamp: UnixSeconds::default(),
        on_update: check.spec.on_update.clone(),
        has_result: false,
        native: instance.native,
    }
}

fn restart(task: Option<String>, check: &str) -> Message {
    Message::Restart {
        tasks: task.map_or(Tasks::Running, Tasks::Named),
        reason: format!("healthcheck: check \"{check}\" unhealthy"),
        unhealthy: true,
        reply: None,
    }
}

/// Keeps a result for the API and the health, and tells the catalog what is new.
fn note_result(shared: &Shared, check: &InstanceCheck, result: CheckResult) {
    let mut is_new = false;
    if let Some(status) = shared.checks.lock().get_mut(&check.check.id) {
        is_new = !status.has_result;
        status.has_result = true;
        status.timestamp = clock::now().into();
        if let Some(change) = &result.change {
            is_new |= status.status != change.status;
            status.status = change.status;
            status.output = shown(status.native, check, change);
        }
    }
    if let Some(change) = result.change {
        shared.cx.reports.check(CheckReport {
            check_id: check.check.id.clone(),
            status: change.status.as_str().to_owned(),
            output: change.output,
        });
    }
    if is_new {
        shared.changed.notify_one();
    }
}

/// What the API shows of a result. The success of a check that is in no catalog has no details, so
/// that nobody relies on them.
fn shown(native: bool, check: &InstanceCheck, change: &Change) -> String {
    if native && change.status == Status::Passing {
        format!("nomad: {} ok", check.spec.check_type)
    } else {
        change.output.clone()
    }
}

/// Resolves the texts of a check that may name variables.
fn resolve(check: &mut InstanceCheck, environment: &TaskEnvironment<'_>) {
    let spec = &mut check.spec;
    for text in [
        &mut spec.command,
        &mut spec.path,
        &mut spec.protocol,
        &mut spec.method,
    ] {
        *text = environment.interpolate(text);
    }
    for text in &mut spec.args {
        *text = environment.interpolate(text);
    }
    spec.header = spec
        .header
        .iter()
        .map(|(name, values)| {
            let values = values
                .iter()
                .map(|value| environment.interpolate(value))
                .collect();
            (environment.interpolate(name), values)
        })
        .collect();
}
