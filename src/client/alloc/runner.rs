use super::{
    claims::{self, Claim},
    health::{Facts, Health, Verdict},
    shared::{CheckStatus, Shared},
};
use crate::{
    client::{
        Error,
        checks::CheckResult,
        task::{
            events,
            runner::{COMMANDS_MAX, DRAIN_TIMEOUT, TaskCommand, TaskRunner, duration},
        },
    },
    registration::{self, Instance, InstanceCheck},
    rpc::message::CheckReport,
    sys::{clock, processes},
};
use futures_util::FutureExt;
use jobs::{
    environment::TaskEnvironment,
    model::{Allocation, ClientStatus, FlatMap, Task, TaskEvent, TaskPhase, TaskState, Timestamp},
    state::AllocUpdate,
};
use mesh::model::Status;
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

/// Changes and requests that may wait for an allocation.
pub(in crate::client) const MESSAGES_MAX: usize = 64;

/// What the runner of an allocation is told.
#[derive(Debug)]
pub(in crate::client) enum Message {
    /// The servers changed it.
    Changed,
    /// Stop it for good, at once and without waiting for data planes.
    Stop,
    /// Restart tasks.
    Restart {
        /// One task; none for all that run.
        task: Option<String>,
        /// For the event.
        reason: String,
        /// Because of a failing check.
        unhealthy: bool,
        /// What came of it.
        reply: Option<oneshot::Sender<Result<(), Error>>>,
    },
    /// Send a signal.
    Signal {
        /// One task; none for all that run.
        task: Option<String>,
        /// Name of the signal.
        signal: String,
        /// What came of it.
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

/// When a task runs, in the order of stopping and starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Prestart,
    PrestartSidecar,
    Main,
    Poststart,
    PoststartSidecar,
    Poststop,
}

impl Role {
    fn of(task: &Task) -> Self {
        let Some(lifecycle) = &task.lifecycle else {
            return Self::Main;
        };
        match (lifecycle.hook.as_str(), lifecycle.sidecar) {
            ("prestart", false) => Self::Prestart,
            ("prestart", true) => Self::PrestartSidecar,
            ("poststart", false) => Self::Poststart,
            ("poststart", true) => Self::PoststartSidecar,
            _ => Self::Poststop,
        }
    }
}

/// Carries one allocation from its setup to its end.
pub(in crate::client) struct AllocRunner {
    shared: Arc<Shared>,
    messages: mpsc::Receiver<Message>,
    /// To itself, for checks that ask for a restart.
    sender: mpsc::Sender<Message>,
    /// What it holds already, when an earlier agent had set it up.
    held: Option<Claim>,
    running: BTreeMap<String, mpsc::Sender<TaskCommand>>,
    /// Tasks that were told to end because of another one.
    told: BTreeSet<String>,
    tasks: JoinSet<()>,
    health: Option<Health>,
    reported: AllocUpdate,
    last_report: u64,
    /// Service id to the run that it is checked for, and the loops.
    checked: BTreeMap<String, (Vec<String>, JoinSet<()>)>,
    stops: bool,
    /// It stops at once and waits for nothing but the end of its tasks.
    hurries: bool,
}

impl AllocRunner {
    /// For an allocation that an earlier agent had set up, this takes what it holds at once: call it for
    /// those before all others.
    pub(in crate::client) fn new(
        shared: Arc<Shared>,
        sender: mpsc::Sender<Message>,
        messages: mpsc::Receiver<Message>,
    ) -> Self {
        let held = if shared.is_live() {
            let alloc = shared.alloc();
            shared.cx.claims.hold(&alloc.id, &claims::wanted(&alloc))
        } else {
            None
        };
        Self {
            shared,
            messages,
            sender,
            held,
            running: BTreeMap::new(),
            told: BTreeSet::new(),
            tasks: JoinSet::new(),
            health: None,
            reported: AllocUpdate::default(),
            last_report: 0,
            checked: BTreeMap::new(),
            stops: false,
            hurries: false,
        }
    }

    /// Runs it until every task is over and the servers know it.
    pub(in crate::client) async fn run(mut self) {
        if self.shared.record().is_built && self.is_over() {
            self.report();
        } else if let Some(claim) = self.claim().await {
            self.live().await;
            drop(claim);
        } else {
            self.bury_all();
            self.report();
        }
        self.settle().await;
    }

    /// From its setup to the end of its last task.
    async fn live(&mut self) {
        if !self.set_up() {
            self.report();
            return;
        }
        loop {
            self.follow_deployment();
            if self.shared.alloc().server_terminal() && !self.stops {
                self.stop().await;
            }
            self.advance();
            let wake = self.judge();
            // Looked at before the report: an end that comes between the two is told in the next round.
            let is_over = self.is_over();
            self.report();
            self.follow_checks();
            if is_over {
                return;
            }
            tokio::select! {
                () = self.shared.changed.notified() => {}
                message = self.messages.recv() => match message {
                    Some(message) => self.on_message(message).await,
                    None => return,
                },
                () = wait_until(wake) => {}
            }
        }
    }

    /// Waits until no other allocation of this machine holds a port of this one, and the one that it
    /// replaces is over. None when it is not wanted any more.
    async fn claim(&mut self) -> Option<Claim> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let alloc = self.shared.alloc();
        let wanted = claims::wanted(&alloc);
        let claims = Arc::clone(&self.shared.cx.claims);
        let claim = claims.claim(&alloc.id, &wanted);
        tokio::pin!(claim);
        while !self.shared.alloc().server_terminal() && !self.hurries {
            tokio::select! {
                claim = &mut claim => return Some(claim),
                message = self.messages.recv() => self.put_off(message?),
            }
        }
        None
    }

    /// Waits until the servers know its end: until then it must not be forgotten here, or a new stream
    /// would bring it back to life.
    async fn settle(&mut self) {
        let shared = Arc::clone(&self.shared);
        let settled = shared.cx.reports.settled(self.last_report);
        self.unless_hurried(settled).await;
    }

    /// Waits, but not when it has to hurry.
    async fn unless_hurried(&mut self, waiting: impl Future<Output = ()>) {
        tokio::pin!(waiting);
        while !self.hurries {
            tokio::select! {
                () = &mut waiting => return,
                message = self.messages.recv() => match message {
                    Some(message) => self.put_off(message),
                    None => return,
                },
            }
        }
    }

    /// Takes a message while no task runs or all of them end: only the wish to hurry matters.
    fn put_off(&mut self, message: Message) {
        match message {
            // Whoever waits looks at the newest version.
            Message::Changed | Message::Restart { reply: None, .. } => {}
            Message::Stop => self.hurries = true,
            Message::Restart {
                reply: Some(reply), ..
            }
            | Message::Signal { reply, .. } => {
                reply.send(Err(Error::NotRunning)).ok();
            }
        }
    }

    /// Makes the directory and the first record of each task; false when that failed.
    fn set_up(&self) -> bool {
        let alloc = self.shared.alloc();
        if self.shared.record().is_built {
            return true;
        }
        let built = self.shared.dir.build().map_err(|error| error.to_string()).and_then(|()| {
            match claims::taken(alloc.allocated_resources.ports()).filter(|_| !alloc.server_terminal()) {
                Some((label, port)) => Err(format!(
                    "pre-run hook \"network\" failed: port {port} (`{label}`) is already in use by \
                     another program of this machine"
                )),
                None => Ok(()),
            }
        });
        let names: Vec<String> = definitions(&alloc).map(|task| task.name.clone()).collect();
        self.shared.update(|record| {
            record.is_built = built.is_ok();
            for name in &names {
                let task = record.tasks.entry(name.clone()).or_default();
                task.state
                    .push_event(events::event("Received", "Task received by client"));
                if let Err(error) = &built {
                    let text = format!("failed to setup alloc: {error}");
                    task.state
                        .push_event(events::failure("Setup Failure", text, "setup_error"));
                    task.state.state = TaskPhase::Dead;
                    task.state.failed = true;
                }
            }
        });
        built.is_ok()
    }

    async fn on_message(&mut self, message: Message) {
        match message {
            // The loop looks at the newest version in every turn.
            Message::Changed => {}
            Message::Stop => {
                self.hurries = true;
                self.stop().await;
            }
            Message::Restart {
                task,
                reason,
                unhealthy,
                reply,
            } => {
                let done = self.restart(task.as_deref(), &reason, unhealthy).await;
                if let Some(reply) = reply {
                    reply.send(done).ok();
                }
            }
            Message::Signal {
                task,
                signal,
                reply,
            } => {
                reply.send(self.signal(task.as_deref(), &signal).await).ok();
            }
        }
    }

    /// Starts the tasks whose turn it is, and ends those whose time is over.
    fn advance(&mut self) {
        let alloc = self.shared.alloc();
        let states = self.shared.states();
        let group = Group::new(&alloc, &states);
        if let Some(failed) = group.failed() {
            let message = format!("Task's sibling \"{failed}\" failed");
            let event = events::with_detail("Sibling Task Failed", message, "failed_sibling");
            self.end_all(&group, |role| role != Role::Poststop, &event);
        } else if group.leader_is_dead() {
            let event = events::event("Leader Task Dead", "Leader Task in Group dead");
            self.end_all(&group, |role| role != Role::Poststop, &event);
        } else if group.all_dead(|role| role == Role::Main) && group.has_main() {
            let event = events::event("Main Tasks Dead", "Main tasks in the group died");
            let beside = |role| !matches!(role, Role::Main | Role::Poststop);
            self.end_all(&group, beside, &event);
        } else if !self.stops {
            for task in definitions(&alloc).filter(|task| group.is_due(task)) {
                self.start(task);
            }
        }
        let states = self.shared.states();
        let group = Group::new(&alloc, &states);
        if group.all_dead(|role| role != Role::Poststop) {
            for task in definitions(&alloc).filter(|task| Role::of(task) == Role::Poststop) {
                if group.phase(&task.name) != TaskPhase::Dead {
                    self.start(task);
                }
            }
        }
    }

    fn start(&mut self, task: &Task) {
        if self.running.contains_key(&task.name) {
            return;
        }
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let runner = TaskRunner::new(Arc::clone(&self.shared), task, commands);
        self.running.insert(task.name.clone(), sender);
        let shared = Arc::clone(&self.shared);
        let name = task.name.clone();
        self.tasks.spawn(async move {
            // A bug in the runner of one task must not leave its allocation waiting for ever.
            if AssertUnwindSafe(runner.run()).catch_unwind().await.is_err() {
                shared.update_task(&name, |record| {
                    let text = "the runner of the task broke";
                    record.state.push_event(events::failure(
                        "Driver Failure",
                        text,
                        "driver_error",
                    ));
                    record.state.state = TaskPhase::Dead;
                    record.state.failed = true;
                });
            }
            shared.changed.notify_one();
        });
    }

    /// Kills the running tasks of some roles; those that never started are over at once.
    fn end_all(&mut self, group: &Group<'_>, ends: impl Fn(Role) -> bool, because: &TaskEvent) {
        for (task, role) in &group.roles {
            if !ends(*role) || group.phase(task) == TaskPhase::Dead {
                continue;
            }
            match self.running.get(*task) {
                Some(commands) if !self.told.contains(*task) => {
                    let kill = TaskCommand::Kill {
                        because: Some(because.clone()),
                        delays: true,
                    };
                    if commands.try_send(kill).is_ok() {
                        self.told.insert((*task).to_owned());
                    }
                }
                Some(_) => {}
                None => self.bury(task, Some(because.clone())),
            }
        }
    }

    /// A task that will never start is dead.
    fn bury(&self, task: &str, because: Option<TaskEvent>) {
        self.shared.update_task(task, |record| {
            record.state.state = TaskPhase::Dead;
            record.state.finished_at = Timestamp(clock::now_ns());
            if let Some(event) = because {
                record.state.push_event(event);
            }
        });
    }

    /// It never started, and never will.
    fn bury_all(&self) {
        for task in definitions(&self.shared.alloc()) {
            self.bury(&task.name, None);
        }
    }

    /// Stops everything: instances first, then the leader, the other tasks, the sidecars; then the poststop
    /// tasks have their turn. In a hurry, everything at once.
    async fn stop(&mut self) {
        self.stops = true;
        self.checked.clear();
        let alloc = self.shared.alloc();
        let no_delay = alloc.desired_transition.no_shutdown_delay == Some(true);
        let withdrawn = wait_for_data_planes(Arc::clone(&self.shared));
        self.unless_hurried(withdrawn).await;
        let delay = alloc.group().and_then(|group| group.shutdown_delay);
        if let Some(delay) = delay.filter(|delay| *delay > 0 && !no_delay) {
            self.unless_hurried(sleep(duration(delay))).await;
        }
        let leads = |task: &Task| task.leader && task.is_main();
        let is_sidecar = |task: &Task| {
            matches!(
                Role::of(task),
                Role::PrestartSidecar | Role::PoststartSidecar
            )
        };
        let is_ordinary =
            |task: &Task| !leads(task) && !is_sidecar(task) && Role::of(task) != Role::Poststop;
        let stages: [&(dyn Fn(&Task) -> bool + Sync); 3] = [&leads, &is_ordinary, &is_sidecar];
        for stage in stages {
            if !self.hurries {
                self.stop_tasks(&alloc, !no_delay, stage).await;
            }
        }
        if self.hurries {
            self.stop_tasks(&alloc, false, &|_| true).await;
        }
    }

    /// Kills some tasks and waits for their end, reporting what happens meanwhile. Returns early when it
    /// has to hurry all of a sudden.
    async fn stop_tasks(
        &mut self,
        alloc: &Allocation,
        delays: bool,
        is_chosen: &(dyn Fn(&Task) -> bool + Sync),
    ) {
        let hurried = self.hurries;
        let chosen: Vec<&Task> = definitions(alloc).filter(|task| is_chosen(task)).collect();
        for task in &chosen {
            let record = self.shared.task(&task.name);
            if record.state.state == TaskPhase::Dead {
                continue;
            }
            if !record.run_id.is_empty() {
                // Its process may be there although nobody looks after it yet.
                self.start(task);
            }
            match self.running.get(&task.name) {
                Some(commands) => {
                    let kill = TaskCommand::Kill {
                        because: None,
                        delays,
                    };
                    commands.send(kill).await.ok();
                }
                None => self.bury(&task.name, None),
            }
        }
        while self.hurries == hurried
            && chosen
                .iter()
                .any(|task| self.phase(&task.name) != TaskPhase::Dead)
        {
            self.report();
            tokio::select! {
                () = self.shared.changed.notified() => {}
                Some(message) = self.messages.recv() => self.put_off(message),
            }
        }
    }

    fn phase(&self, task: &str) -> TaskPhase {
        self.shared.task(task).state.state
    }

    async fn restart(
        &self,
        task: Option<&str>,
        reason: &str,
        unhealthy: bool,
    ) -> Result<(), Error> {
        let names = match self.addressed(task) {
            // A task that waits for its next start is restarted as it is.
            Err(Error::NotRunning) if task.is_none() => Vec::new(),
            names => names?,
        };
        for name in names {
            if let Some(commands) = self.running.get(&name) {
                let restart = TaskCommand::Restart {
                    reason: reason.to_owned(),
                    unhealthy,
                };
                commands
                    .send(restart)
                    .await
                    .map_err(|_| Error::NotRunning)?;
            }
        }
        Ok(())
    }

    async fn signal(&self, task: Option<&str>, signal: &str) -> Result<(), Error> {
        let name = if signal.is_empty() { "SIGKILL" } else { signal };
        let number = processes::signal_number(name).ok_or_else(|| Error::UnknownSignal {
            name: name.to_owned(),
        })?;
        let alloc = self.shared.alloc();
        for task in self.addressed(task)? {
            let driver = definitions(&alloc)
                .find(|known| known.name == task)
                .and_then(|task| self.shared.cx.drivers.get(task.driver.as_str()));
            if let Some(driver) = driver
                && !driver.takes_signals()
            {
                return Err(Error::NoSignals {
                    driver: driver.name().to_owned(),
                });
            }
            let Some(commands) = self.running.get(&task) else {
                return Err(Error::NotRunning);
            };
            let (reply, done) = oneshot::channel();
            let signal = TaskCommand::Signal {
                number,
                name: name.to_owned(),
                reply,
            };
            commands.send(signal).await.map_err(|_| Error::NotRunning)?;
            done.await.map_err(|_| Error::NotRunning)??;
        }
        Ok(())
    }

    /// The running tasks that are meant.
    fn addressed(&self, task: Option<&str>) -> Result<Vec<String>, Error> {
        let states = self.shared.states();
        let running = |state: &TaskState| state.state == TaskPhase::Running;
        let Some(task) = task else {
            let all: Vec<String> = states
                .into_iter()
                .filter(|(_, state)| running(state))
                .map(|(name, _)| name)
                .collect();
            return if all.is_empty() {
                Err(Error::NotRunning)
            } else {
                Ok(all)
            };
        };
        match states.get(task) {
            None => Err(Error::UnknownTask {
                task: task.to_owned(),
            }),
            Some(state) if running(state) => Ok(vec![task.to_owned()]),
            Some(_) => Err(Error::NotRunning),
        }
    }

    /// True when nothing runs and nothing will.
    fn is_over(&self) -> bool {
        self.shared
            .states()
            .values()
            .all(|state| state.state == TaskPhase::Dead)
    }

    /// Begins to judge its health when a deployment asks for it.
    fn follow_deployment(&mut self) {
        let alloc = self.shared.alloc();
        let record = self.shared.record();
        if record.deployment_id != alloc.deployment_id {
            let id = alloc.deployment_id.clone();
            self.shared.update(|record| {
                record.deployment_id = id;
                record.health = None;
            });
            self.health = None;
        } else if record.health.is_some() || self.health.is_some() {
            return;
        }
        let asked = !alloc.deployment_id.is_empty() && alloc.healthy().is_none();
        self.health = alloc
            .group()
            .and_then(|group| group.update.as_ref())
            .filter(|_| asked)
            .and_then(|update| Health::new(update, clock::monotonic_ns()));
    }

    /// Judges the health; says when to look again.
    fn judge(&mut self) -> Option<Instant> {
        let mut health = self.health.take()?;
        let alloc = self.shared.alloc();
        let states = self.shared.states();
        let now = clock::monotonic_ns();
        let facts = self.facts(&alloc, &states);
        let (is_healthy, reason) = match health.judge(now, &facts) {
            Verdict::Wait { until_ns } => {
                self.health = Some(health);
                let left = u64::try_from(until_ns.saturating_sub(now)).unwrap_or(0);
                return Some(Instant::now() + Duration::from_nanos(left));
            }
            Verdict::Healthy => (true, None),
            Verdict::Unhealthy { reason } => (false, Some(reason)),
        };
        let names: Vec<String> = states.keys().cloned().collect();
        self.shared.update(|record| {
            record.health = Some((is_healthy, Timestamp(clock::now_ns())));
            for name in names {
                if let (Some(reason), Some(task)) = (&reason, record.tasks.get_mut(&name)) {
                    task.state
                        .push_event(events::event("Alloc Unhealthy", reason.clone()));
                }
            }
        });
        None
    }

    fn facts<'a>(&self, alloc: &Allocation, states: &'a FlatMap<String, TaskState>) -> Facts<'a> {
        let mut facts = Facts {
            is_prepared: true,
            ..Facts::default()
        };
        for task in definitions(alloc) {
            let Some((name, state)) = states.get_key_value(&task.name) else {
                continue;
            };
            match Role::of(task) {
                Role::Main | Role::PrestartSidecar | Role::PoststartSidecar => {
                    facts.tasks.push((name, state));
                }
                Role::Prestart => facts.is_prepared &= state.is_successful(),
                Role::Poststart | Role::Poststop => {}
            }
        }
        let node = Arc::clone(&self.shared.cx.node.borrow());
        let results = self.shared.checks.lock();
        for check in registration::instances(alloc, &node)
            .iter()
            .flat_map(|instance| &instance.checks)
            .filter(|check| check.spec.on_update != "ignore")
        {
            facts.checks += 1;
            let passes = results.get(&check.check.id).is_some_and(|result| {
                result.has_result
                    && match result.status {
                        Status::Passing => true,
                        Status::Warning => check.spec.on_update == "ignore_warnings",
                        Status::Critical => false,
                    }
            });
            facts.passing += usize::from(passes);
        }
        facts
    }

    /// Tells the servers what changed.
    fn report(&mut self) {
        let alloc = self.shared.alloc();
        let record = self.shared.record();
        let states = self.shared.states();
        let (client_status, description) = client_status(&states);
        let update = AllocUpdate {
            alloc_id: alloc.id.clone(),
            client_status,
            client_description: description.to_owned(),
            task_states: states,
            health: record.health,
            network_status: None,
        };
        if update != self.reported {
            self.reported = update.clone();
            self.last_report = self.shared.cx.reports.alloc(update);
        }
    }

    /// Starts and ends the check loops of instances whose tasks started or ended.
    fn follow_checks(&mut self) {
        if self.stops {
            return;
        }
        let mut alloc = (*self.shared.alloc()).clone();
        let record = self.shared.record();
        alloc.task_states = self.shared.states();
        let node = Arc::clone(&self.shared.cx.node.borrow());
        let live: Vec<Instance> = registration::instances(&alloc, &node)
            .into_iter()
            .filter(|instance| instance.is_live(&alloc) && !instance.checks.is_empty())
            .collect();
        self.checked
            .retain(|id, _| live.iter().any(|instance| instance.service.id == *id));
        for instance in live {
            let run: Vec<String> = record
                .tasks
                .iter()
                .filter(|(name, _)| instance.task.as_ref().is_none_or(|task| task == *name))
                .map(|(_, task)| task.run_id.clone())
                .chain(instance.checks.iter().map(|check| check.check.id.clone()))
                .collect();
            let id = instance.service.id.clone();
            if self
                .checked
                .get(&id)
                .is_some_and(|(known, _)| *known == run)
            {
                continue;
            }
            let mut loops = JoinSet::new();
            for check in instance.checks.clone() {
                loops.spawn(self.check_loop(&alloc, &instance, check));
            }
            self.checked.insert(id, (run, loops));
        }
    }

    fn check_loop(
        &self,
        alloc: &Allocation,
        instance: &Instance,
        mut check: InstanceCheck,
    ) -> impl Future<Output = ()> + use<> {
        let shared = Arc::clone(&self.shared);
        let sender = self.sender.clone();
        let last_report = self.last_report;
        let task = instance.task.clone().or_else(|| {
            let named = Some(check.spec.task_name.clone()).filter(|name| !name.is_empty());
            named.or_else(|| {
                let mut main = definitions(alloc).filter(|task| task.is_main());
                main.next().map(|task| task.name.clone())
            })
        });
        let script = task.as_deref().and_then(|task| {
            let node = Arc::clone(&shared.cx.node.borrow());
            let definition = definitions(alloc).find(|known| known.name == task)?;
            let seen = shared.dir.seen_by(task);
            let host = &shared.cx.host_env;
            let environment = TaskEnvironment::of_task(alloc, definition, &node, Some(&seen), host);
            resolve(&mut check, &environment);
            Some(crate::client::checks::ScriptContext {
                dir: shared.dir.task(task),
                env: environment.variables().clone(),
                user: definition.user.clone(),
            })
        });
        let status = CheckStatus {
            id: check.check.id.clone(),
            name: check.check.name.clone(),
            group: alloc.name.clone(),
            task: instance.task.clone().unwrap_or_default(),
            service: instance.service.name.clone(),
            status: check.check.status,
            output: String::new(),
            timestamp: 0,
            on_update: check.spec.on_update.clone(),
            has_result: false,
        };
        let restarted = instance
            .task
            .clone()
            .or_else(|| Some(check.spec.task_name.clone()).filter(|name| !name.is_empty()));
        shared.checks.lock().insert(status.id.clone(), status);
        async move {
            // The instance must be in the catalog before its results.
            shared.cx.reports.settled(last_report).await;
            let mut restarts = CheckRestarts::new(&check, restarted, sender);
            let on_result = |result: CheckResult| {
                restarts.count(result.outcome);
                note_result(&shared, &check, result);
            };
            let checks = &shared.cx.checks;
            checks.run(&check, script.as_ref(), on_result).await;
        }
    }
}

/// Restarts a task whose check keeps failing.
struct CheckRestarts {
    limit: u32,
    ignores_warnings: bool,
    counts_from: Instant,
    failures: u32,
    task: Option<String>,
    check: String,
    sender: mpsc::Sender<Message>,
}

impl CheckRestarts {
    fn new(check: &InstanceCheck, task: Option<String>, sender: mpsc::Sender<Message>) -> Self {
        let asked = check.spec.check_restart.clone().unwrap_or_default();
        Self {
            limit: asked.limit,
            ignores_warnings: asked.ignore_warnings,
            counts_from: Instant::now() + duration(asked.grace),
            failures: 0,
            task,
            check: check.check.name.clone(),
            sender,
        }
    }

    fn count(&mut self, outcome: Status) {
        let fails = match outcome {
            Status::Passing => false,
            Status::Warning => !self.ignores_warnings,
            Status::Critical => true,
        };
        if self.limit == 0 || !fails || Instant::now() < self.counts_from {
            self.failures = 0;
            return;
        }
        self.failures += 1;
        if self.failures >= self.limit {
            self.failures = 0;
            // A full queue loses the request; the next failures ask again.
            self.sender
                .try_send(Message::Restart {
                    task: self.task.clone(),
                    reason: format!("healthcheck: check \"{}\" unhealthy", self.check),
                    unhealthy: true,
                    reply: None,
                })
                .ok();
        }
    }
}

/// Keeps a result for the API and the health, and tells the catalog what is new.
fn note_result(shared: &Shared, check: &InstanceCheck, result: CheckResult) {
    let mut is_new = false;
    if let Some(status) = shared.checks.lock().get_mut(&check.check.id) {
        is_new = !status.has_result;
        status.has_result = true;
        status.timestamp = clock::now_ns() / 1_000_000_000;
        if let Some(change) = &result.change {
            is_new |= status.status != change.status;
            status.status = change.status;
            status.output.clone_from(&change.output);
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

/// What the states of the tasks say about the allocation. It is terminal only when every task is over, so
/// that nothing of it still holds a port when the servers replace it.
fn client_status(states: &FlatMap<String, TaskState>) -> (ClientStatus, &'static str) {
    let any = |test: fn(&TaskState) -> bool| states.values().any(test);
    if any(|state| state.state == TaskPhase::Running) {
        return (ClientStatus::Running, "Tasks are running");
    }
    if any(|state| state.state == TaskPhase::Pending) {
        return (ClientStatus::Pending, "No tasks have started");
    }
    if any(|state| state.failed) {
        (ClientStatus::Failed, "Failed tasks")
    } else {
        (ClientStatus::Complete, "All tasks have completed")
    }
}

/// Waits, within limits, until no data plane sends anything to the instances of a stopped allocation.
async fn wait_for_data_planes(shared: Arc<Shared>) {
    let alloc = shared.alloc();
    let node = Arc::clone(&shared.cx.node.borrow());
    let ids: Vec<String> = registration::instances(&alloc, &node)
        .into_iter()
        .map(|instance| instance.service.id)
        .collect();
    if ids.is_empty() {
        return;
    }
    let drained = shared.cx.session.drained(alloc.modify_index, &ids);
    if !matches!(timeout(DRAIN_TIMEOUT, drained).await, Ok(Ok(()))) {
        tracing::warn!(alloc = %alloc.id, "stopping without every data plane's word");
    }
}

/// The tasks of its group in the order of the job.
fn definitions(alloc: &Allocation) -> impl Iterator<Item = &Task> {
    alloc.group().into_iter().flat_map(|group| &group.tasks)
}

async fn wait_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// The tasks of a group with their roles and states.
struct Group<'a> {
    roles: Vec<(&'a str, Role)>,
    leader: Option<&'a str>,
    states: &'a FlatMap<String, TaskState>,
}

impl<'a> Group<'a> {
    fn new(alloc: &'a Allocation, states: &'a FlatMap<String, TaskState>) -> Self {
        Self {
            roles: definitions(alloc)
                .map(|task| (task.name.as_str(), Role::of(task)))
                .collect(),
            leader: definitions(alloc)
                .find(|task| task.leader && task.is_main())
                .map(|task| task.name.as_str()),
            states,
        }
    }

    fn phase(&self, task: &str) -> TaskPhase {
        self.states
            .get(task)
            .map_or(TaskPhase::Pending, |state| state.state)
    }

    fn failed(&self) -> Option<&'a str> {
        self.roles
            .iter()
            .find(|(task, role)| {
                *role != Role::Poststop && self.states.get(*task).is_some_and(|state| state.failed)
            })
            .map(|(task, _)| *task)
    }

    fn leader_is_dead(&self) -> bool {
        self.leader
            .is_some_and(|leader| self.phase(leader) == TaskPhase::Dead)
    }

    fn has_main(&self) -> bool {
        self.roles.iter().any(|(_, role)| *role == Role::Main)
    }

    fn all_dead(&self, counts: impl Fn(Role) -> bool) -> bool {
        self.roles
            .iter()
            .filter(|(_, role)| counts(*role))
            .all(|(task, _)| self.phase(task) == TaskPhase::Dead)
    }

    /// True when the phase of the group has come in which the task starts.
    fn is_due(&self, task: &Task) -> bool {
        if self.phase(&task.name) == TaskPhase::Dead {
            return false;
        }
        let prepared = self.roles.iter().all(|(name, role)| match role {
            Role::Prestart => self.states.get(*name).is_some_and(TaskState::is_successful),
            Role::PrestartSidecar => self.phase(name) == TaskPhase::Running,
            _ => true,
        });
        let has_run = self
            .states
            .get(&task.name)
            .is_some_and(|state| !state.started_at.is_zero());
        match Role::of(task) {
            Role::Prestart | Role::PrestartSidecar => true,
            Role::Main => prepared || has_run,
            Role::Poststart | Role::PoststartSidecar => {
                prepared
                    && self.roles.iter().all(|(name, role)| {
                        *role != Role::Main || self.phase(name) == TaskPhase::Running
                    })
            }
            Role::Poststop => false,
        }
    }
}
