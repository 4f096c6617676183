use super::{
    events,
    hooks::{self, Held, Prepared},
    restarts::{Decision, Outcome, Restarts},
    scripts,
};
use crate::{
    Error,
    drivers::{Driver, End, Exit, Found, Owner, Run, StartError},
    last_run::LastRun,
    shared::Shared,
    store::TaskRecord,
    templates::{Action, Templates},
};
use jobs::model::{Span, Task, TaskEvent, TaskName, TaskPhase};
use rpc::message::Report;
use std::{io, sync::Arc, time::Duration};
use sys::{clock, faults, processes, random};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Commands that may wait for a task.
pub(crate) const COMMANDS_MAX: usize = 16;
/// How long data planes are waited for before a task is stopped.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(35);
/// Pause between two attempts to keep the state of a task.
const KEEP_PAUSE: Duration = Duration::from_secs(1);

/// What the runner of a task is asked for.
#[derive(Debug)]
pub(crate) enum TaskCommand {
    /// End it for good.
    Kill {
        /// Why, when that is worth an event of its own.
        because: Option<TaskEvent>,
        /// Keep to the task's `shutdown_delay`.
        delays: bool,
    },
    /// Stop and start it.
    Restart {
        /// For the event.
        reason: String,
        /// What comes after it stopped.
        then: Then,
    },
    /// Send it a signal.
    Signal {
        /// Number.
        number: i32,
        /// Name.
        name: TaskName,
        /// What came of it.
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

/// What becomes of a task that was stopped for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It starts again.
    Starts {
        /// It was stopped because of a failing check, which counts as a failure.
        unhealthy: bool,
    },
    /// Its runner ends: the allocation starts it when its turn comes.
    Ends,
}

/// How one attempt to run the task ended.
enum Ended {
    /// On purpose, for good.
    Killed,
    /// On purpose, for good, as failed.
    Failed,
    /// This agent stops; the task goes on.
    Left,
    /// To begin anew when its turn comes.
    Waits,
    /// The restart policy decides.
    With(Outcome),
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// By itself: the restart policy decides.
    Itself,
    /// Because it was asked to.
    Asked,
}

/// Carries one task from its setup to its end.
pub(crate) struct TaskRunner {
    shared: Arc<Shared>,
    name: TaskName,
    commands: mpsc::Receiver<TaskCommand>,
    restarts: Restarts,
    held: Held,
    /// What came of the commands that changed templates asked for.
    scripts: JoinSet<Option<TaskEvent>>,
    /// A run whose end is to be kept with the decision about what comes next, and then noted.
    unnoted: Option<Box<dyn Run>>,
}

impl TaskRunner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        task: &Task,
        commands: mpsc::Receiver<TaskCommand>,
    ) -> Self {
        let alloc = shared.alloc();
        let policy = task
            .restart_policy
            .clone()
            .or_else(|| alloc.group().map(|group| group.restart_policy.clone()))
            .unwrap_or_default();
        let ends_on_success = alloc.job.is_batch()
            || task
                .lifecycle
                .as_ref()
                .is_some_and(|lifecycle| !lifecycle.sidecar);
        let mut restarts = Restarts::new(policy, ends_on_success, random::seed());
        restarts.resume(shared.task(&task.name).restarts);
        Self {
            name: task.name.clone(),
            shared,
            commands,
            restarts,
            held: Held::default(),
            scripts: JoinSet::new(),
            unnoted: None,
        }
    }

    /// Runs the task until it is over, or until this agent stops.
    pub(crate) async fn run(mut self) {
        loop {
            let undecided = self.shared.task(&self.name).undecided;
            let outcome = match undecided {
                // An earlier agent died between the end and the decision.
                Some(code) => outcome(code),
                None => match self.attempt().await {
                    Ended::With(outcome) => outcome,
                    Ended::Killed => return self.die(false).await,
                    Ended::Failed => return self.die(true).await,
                    Ended::Left => return,
                    Ended::Waits => return self.wait_for_turn(),
                },
            };
            let decision = self.restarts.decide(clock::now(), outcome);
            match decision {
                Decision::Done => return self.die(false).await,
                Decision::Fail { reason } => {
                    let event = events::failure("Not Restarting", reason, "restart_reason");
                    self.shared
                        .prepare_task(&self.name, |record| record.state.push_event(event));
                    return self.die(true).await;
                }
                Decision::Restart { after, reason } => {
                    let event = events::restarting(after, reason);
                    let counted = self.restarts.counted();
                    let kept = self.shared.try_update_task(&self.name, |record| {
                        record.restarts = counted;
                        record.undecided = None;
                        record.state.state = TaskPhase::Pending;
                        record.state.restarts += 1;
                        record.state.last_restart = clock::now();
                        record.state.push_event(event);
                    });
                    match self.settle_end(kept).await {
                        None => {}
                        Some(Ended::Left) => return,
                        Some(Ended::Waits) => return self.wait_for_turn(),
                        Some(_) => return self.die(false).await,
                    }
                    match pause(&mut self.commands, after).await {
                        Paused::Over => {}
                        Paused::Killed => return self.die(false).await,
                        Paused::Left => return,
                        Paused::Waits => return self.wait_for_turn(),
                    }
                }
            }
        }
    }

    fn wait_for_turn(&self) {
        self.shared.update_task(&self.name, |record| {
            record.state.state = TaskPhase::Pending;
            record.state.restarts += 1;
            record.state.last_restart = clock::now();
            record
                .state
                .push_event(events::restarting(Duration::ZERO, ""));
        });
    }

    /// One run, from its setup, or from where an earlier agent left it.
    async fn attempt(&mut self) -> Ended {
        let last_run = self.shared.task(&self.name).last_run;
        match self.find().await {
            Ok(Found::Running(run)) => {
                hooks::resume(&self.shared, &self.name, &mut self.held).await;
                return self.attend(run).await;
            }
            Ok(Found::Ended(exit)) if last_run.may_be(&exit.run_id) => {
                let kept = self.keep_exit(&exit, Cause::Itself);
                if let Some(ended) = self.until_kept(kept).await {
                    return ended;
                }
                self.forget();
                return Ended::With(outcome(exit.ended.code));
            }
            Ok(Found::Ended(_) | Found::Gone) if last_run.is_none() => {}
            Ok(Found::Ended(_) | Found::Gone) => {
                if let Some(ended) = self.wait_for_servers().await {
                    return ended;
                }
            }
            Err(error) => {
                let text = format!("failed to look for an earlier run of the task: {error}");
                self.event(events::with_detail("Driver Failure", text, "driver_error"));
                return Ended::With(Outcome::Recoverable);
            }
        }
        let prepared = tokio::select! {
            prepared = hooks::prestart(&self.shared, &self.name, &mut self.held) => prepared,
            paused = pause(&mut self.commands, Duration::MAX) => return paused.ended(),
        };
        match prepared {
            Ok(prepared) => self.start(prepared).await,
            Err(error) => {
                let (event_type, key) = error.published();
                let text = error.to_string();
                let is_final = error.is_final();
                self.event(if is_final {
                    events::failure(event_type, text, key)
                } else {
                    events::with_detail(event_type, text, key)
                });
                Ended::With(match error {
                    _ if is_final => Outcome::Unrecoverable,
                    _ => Outcome::Recoverable,
                })
            }
        }
    }

    /// The end that was found is kept: its driver need not remember it.
    fn forget(&self) {
        if let Some((driver, owner)) = self.driver() {
            driver.forget(&owner);
        }
    }

    /// Looks for the task before anything is started: whatever the record says, there must not be
    /// two of it.
    async fn find(&self) -> io::Result<Found> {
        match self.driver() {
            // Nothing here can have started it; the setup says so.
            None => Ok(Found::Gone),
            Some((driver, owner)) => {
                let handle = self.shared.task(&self.name).handle;
                let definition = self.definition();
                let logs = definition.and_then(|task| hooks::log_files(&self.shared, &task));
                driver.find(&owner, handle.as_deref(), logs.as_ref()).await
            }
        }
    }

    fn driver(&self) -> Option<(Arc<dyn Driver>, Owner)> {
        let task = self.definition()?;
        let driver = self.shared.cx.drivers.get(&task.driver)?;
        let owner = Owner {
            alloc_id: self.shared.alloc().id,
            task: task.name,
        };
        Some((Arc::clone(driver), owner))
    }

    /// The machine was restarted, or somebody killed supervisor and task: whether the task is still
    /// wanted here only the servers know.
    async fn wait_for_servers(&mut self) -> Option<Ended> {
        self.event(events::event(
            "Failed Restoring Task",
            "failed to restore task; will not run until server is contacted",
        ));
        self.shared.update_task(&self.name, |record| {
            record.state.state = TaskPhase::Pending;
            record.last_run = LastRun::None;
        });
        let mut contacted = self.shared.cx.contacted.subscribe();
        tokio::select! {
            _ = contacted.wait_for(|yes| *yes) => None,
            paused = pause(&mut self.commands, Duration::MAX) => Some(paused.ended()),
        }
    }

    /// Not to be cancelled: what has its launch goes on alone.
    async fn start(&mut self, prepared: Prepared) -> Ended {
        let cx = Arc::clone(&self.shared.cx);
        let run_id = random::uuid();
        let mut start = prepared.start;
        start.run_id.clone_from(&run_id);
        // Kept before the start, so that an agent that dies in between looks for this run. Without
        // that there is no start: nobody would know of the process.
        let kept = self.shared.try_update_task(&self.name, |record| {
            record.last_run = LastRun::Known(run_id);
            record.handle = None;
        });
        if let Err(error) = &kept {
            let text = format!(
                "the task is not started before its state can be kept, which is tried again: {error}"
            );
            self.event(events::with_detail("Setup Failure", text, "setup_error"));
        }
        if let Some(ended) = self.until_kept(kept).await {
            self.shared
                .update_task(&self.name, |record| record.last_run = LastRun::None);
            return ended;
        }
        faults::point("launch.recorded");
        let started = {
            let Ok(_slot) = cx.starts.acquire().await else {
                return Ended::Left;
            };
            prepared.driver.start(&start).await
        };
        faults::point("launch.greeted");
        let error = match started {
            Ok(run) => return self.attend(run).await,
            Err(error) => error,
        };
        let text = error.to_string();
        if !matches!(error, StartError::Unknown { .. }) {
            self.shared
                .update_task(&self.name, |record| record.last_run = LastRun::None);
        }
        let is_final = matches!(
            error,
            StartError::Unrunnable(_)
                | StartError::Program { .. }
                | StartError::Refused { is_final: true, .. }
        );
        if is_final && !matches!(error, StartError::Program { .. }) {
            self.event(events::failure("Driver Failure", text, "driver_error"));
        } else {
            self.event(events::with_detail("Driver Failure", text, "driver_error"));
        }
        Ended::With(if is_final {
            Outcome::Unrecoverable
        } else {
            Outcome::Recoverable
        })
    }

    /// Watches a running task and carries out what is asked of it.
    async fn attend(&mut self, mut run: Box<dyn Run>) -> Ended {
        self.note_running(&*run);
        // Those of the run before are of no use to this one.
        self.scripts = JoinSet::new();
        loop {
            let command = tokio::select! {
                exit = run.ended() => {
                    faults::point("exit.heard");
                    self.shared
                        .prepare_task(&self.name, |record| note_end(record, &exit, Cause::Itself));
                    self.unnoted = Some(run);
                    self.shared.meters.lock().remove(&self.name);
                    return Ended::With(outcome(exit.ended.code));
                }
                command = self.commands.recv() => command,
                action = changed(self.held.templates.as_ref()) => match self.react(&mut *run, action).await {
                    Some(command) => Some(command),
                    None => continue,
                },
                Some(failed) = self.scripts.join_next() => match failed {
                    Ok(Some(because)) => return self.fail(run, because).await,
                    Ok(None) | Err(_) => continue,
                },
            };
            match command {
                None => return Ended::Left,
                Some(TaskCommand::Signal {
                    number,
                    name,
                    reply,
                }) => {
                    let message = format!("Task being sent signal {name}");
                    self.event(events::with_detail("Signaling", message, "task_signal"));
                    let sent = run.signal(number).await.map_err(Error::from);
                    reply.send(sent).ok();
                }
                Some(TaskCommand::Restart { reason, then }) => {
                    self.event(events::with_detail(
                        "Restart Signaled",
                        reason,
                        "restart_reason",
                    ));
                    self.withdraw().await;
                    let exit = self.stop(&mut *run).await;
                    if let Some(ended) = self.note_exit(&mut *run, &exit, Cause::Asked).await {
                        return ended;
                    }
                    return match then {
                        Then::Ends => Ended::Waits,
                        Then::Starts { unhealthy: true } => Ended::With(Outcome::Unhealthy),
                        Then::Starts { unhealthy: false } => Ended::With(Outcome::Requested),
                    };
                }
                Some(TaskCommand::Kill { because, delays }) => {
                    if let Some(event) = because {
                        self.event(event);
                    }
                    self.event(events::killing("", self.kill_timeout()));
                    if delays && let Some(exit) = self.shutdown_delay(&mut *run).await {
                        let left = self.note_exit(&mut *run, &exit, Cause::Asked).await;
                        return left.unwrap_or(Ended::Killed);
                    }
                    let exit = self.stop(&mut *run).await;
                    let left = self.note_exit(&mut *run, &exit, Cause::Asked).await;
                    self.event(events::event("Killed", "Task successfully killed"));
                    return left.unwrap_or(Ended::Killed);
                }
            }
        }
    }

    /// Ends the task as failed.
    async fn fail(&mut self, mut run: Box<dyn Run>, because: TaskEvent) -> Ended {
        self.event(because);
        let exit = self.stop(&mut *run).await;
        let left = self.note_exit(&mut *run, &exit, Cause::Asked).await;
        left.unwrap_or(Ended::Failed)
    }

    /// Does what changed templates ask for; the command for what goes beyond that.
    async fn react(&mut self, run: &mut dyn Run, action: Action) -> Option<TaskCommand> {
        if action.restart {
            return Some(TaskCommand::Restart {
                reason: "Template with change_mode restart re-rendered".into(),
                then: Then::Starts { unhealthy: false },
            });
        }
        for name in action.signals {
            let event =
                events::with_detail("Signaling", "Template re-rendered", "task_signal_reason");
            self.event(event);
            let sent = match processes::signal_number(&name) {
                Some(number) => run.signal(number).await,
                None => Err(io::Error::other("there is no such signal")),
            };
            if let Err(error) = sent {
                let text = format!("Template failed: signal {name}: {error}");
                self.event(events::with_detail("Template", text, "message"));
            }
        }
        for script in action.scripts {
            scripts::begin(
                &mut self.scripts,
                &self.shared,
                &self.name,
                run.handle(),
                script,
            );
        }
        None
    }

    fn note_running(&self, run: &dyn Run) {
        self.shared
            .meters
            .lock()
            .insert(self.name.clone(), run.meter());
        let record = self.shared.task(&self.name);
        if record.state.state == TaskPhase::Running && record.last_run.is(run.run_id()) {
            return;
        }
        let (run_id, handle) = (run.run_id().to_owned(), run.handle());
        self.shared.update_task(&self.name, |record| {
            let now = clock::now();
            record.last_run = LastRun::Known(run_id);
            record.handle = Some(handle);
            record.state.state = TaskPhase::Running;
            if record.state.started_at.is_zero() {
                record.state.started_at = now;
            }
            record
                .state
                .push_event(events::event("Started", "Task started by client"));
        });
    }

    /// Keeps the end of a run, and then lets its driver forget it: an agent that dies in between
    /// must hear of it once more. Answers when that is not to be waited for.
    async fn note_exit(&mut self, run: &mut dyn Run, exit: &Exit, cause: Cause) -> Option<Ended> {
        faults::point("exit.heard");
        let kept = self.keep_exit(exit, cause);
        faults::point("exit.recorded");
        match self.until_kept(kept).await {
            Some(Ended::Left) => return Some(Ended::Left),
            // The servers know that it is over, so nobody has to hear of it again.
            Some(ended) => {
                run.noted(End::Heard).await;
                return Some(ended);
            }
            None => run.noted(End::Kept).await,
        }
        None
    }

    fn keep_exit(&self, exit: &Exit, cause: Cause) -> io::Result<()> {
        self.shared.meters.lock().remove(&self.name);
        self.shared
            .try_update_task(&self.name, |record| note_end(record, exit, cause))
    }

    /// Notes the run that ended by itself, once its end and the decision about it are kept. Answers
    /// when that is not to be waited for.
    async fn settle_end(&mut self, kept: io::Result<()>) -> Option<Ended> {
        faults::point("exit.recorded");
        let Some(mut run) = self.unnoted.take() else {
            if let Err(error) = kept {
                let alloc = self.shared.alloc();
                tracing::error!(alloc = %alloc.id, task = %self.name, %error, "the state of a task cannot be kept");
            }
            return None;
        };
        let waited = self.until_kept(kept).await;
        match waited {
            Some(Ended::Left) => {}
            // The servers know that it is over, so nobody has to hear of it again.
            Some(_) => run.noted(End::Heard).await,
            None => run.noted(End::Kept).await,
        }
        waited
    }

    /// Tries again until the state of the task can be kept: the disk may be full. Answers when the
    /// task, or this agent, is to end before.
    async fn until_kept(&mut self, mut kept: io::Result<()>) -> Option<Ended> {
        while let Err(error) = kept {
            let alloc = self.shared.alloc();
            tracing::error!(alloc = %alloc.id, task = %self.name, %error, "the state of a task cannot be kept");
            match pause(&mut self.commands, KEEP_PAUSE).await {
                Paused::Over => {}
                paused => return Some(paused.ended()),
            }
            kept = self.shared.try_update_task(&self.name, |_| ());
        }
        None
    }

    async fn die(&mut self, failed: bool) {
        let kept = self.shared.try_update_task(&self.name, |record| {
            record.undecided = None;
            record.state.state = TaskPhase::Dead;
            record.state.failed |= failed;
            if record.state.finished_at.is_zero() {
                record.state.finished_at = clock::now();
            }
        });
        self.settle_end(kept).await;
    }

    /// Takes the task's instances out of DNS and routes and waits, within limits, until no request
    /// is on its way to them.
    async fn withdraw(&self) {
        let alloc = self.shared.alloc();
        let affected: Vec<_> = self
            .shared
            .instances()
            .into_iter()
            .filter(|instance| instance.task.as_ref().is_none_or(|task| *task == self.name))
            .collect();
        if affected.is_empty() {
            return;
        }
        let is_group = affected.iter().any(|instance| instance.task.is_none());
        let report = Report::Withdraw {
            alloc_id: alloc.id,
            task: (!is_group).then(|| self.name.clone()),
        };
        let ids: Vec<String> = affected
            .into_iter()
            .map(|one| one.service.id.into())
            .collect();
        let session = &self.shared.cx.session;
        let drained = timeout(DRAIN_TIMEOUT, async {
            let index = session.report(report).await?;
            session.drained(index, &ids).await
        })
        .await;
        if !matches!(drained, Ok(Ok(()))) {
            tracing::warn!(alloc = %alloc.id, task = %self.name, "restarting without every data plane's word");
        }
    }

    /// Waits `shutdown_delay`, unless asked to hurry; the exit when the task ends meanwhile.
    async fn shutdown_delay(&mut self, run: &mut dyn Run) -> Option<Exit> {
        let delay = self
            .definition()
            .map_or(Duration::ZERO, |task| task.shutdown_delay.to_std());
        if delay.is_zero() {
            return None;
        }
        let text = format!(
            "Waiting for shutdown_delay of {} before killing the task.",
            Span::from(delay)
        );
        self.event(events::event("Waiting for shutdown delay", text));
        tokio::select! {
            exit = run.ended() => Some(exit),
            () = hurried(&mut self.commands) => None,
            () = sleep(delay) => None,
        }
    }

    async fn stop(&self, run: &mut dyn Run) -> Exit {
        let named = self.definition().map(|task| task.kill_signal);
        let number = named.and_then(|name| processes::signal_number(&name));
        // An error means that the supervisor is gone, which the wait finds out too.
        run.stop(number, self.kill_timeout()).await.ok();
        run.ended().await
    }

    fn kill_timeout(&self) -> Duration {
        self.definition()
            .map_or(Duration::ZERO, |task| task.kill_timeout.to_std())
            .min(self.shared.cx.config.kill_timeout_max)
    }

    fn definition(&self) -> Option<Task> {
        self.shared.alloc().group()?.task(&self.name).cloned()
    }

    fn event(&self, event: TaskEvent) {
        self.shared.event(&self.name, event);
    }
}

/// Waits for what changed templates ask for.
async fn changed(templates: Option<&Templates>) -> Action {
    match templates {
        Some(templates) => templates.action().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the task shall end without its delays.
async fn hurried(commands: &mut mpsc::Receiver<TaskCommand>) {
    loop {
        match commands.recv().await {
            Some(TaskCommand::Kill { delays: false, .. }) => return,
            Some(TaskCommand::Kill { .. } | TaskCommand::Restart { .. }) => {}
            Some(TaskCommand::Signal { reply, .. }) => {
                reply.send(Err(Error::NotRunning)).ok();
            }
            None => std::future::pending().await,
        }
    }
}

enum Paused {
    Over,
    Killed,
    Left,
    Waits,
}

impl Paused {
    /// How an attempt ends that was waiting.
    fn ended(self) -> Ended {
        match self {
            Self::Left => Ended::Left,
            Self::Waits => Ended::Waits,
            Self::Over | Self::Killed => Ended::Killed,
        }
    }
}

/// Waits while nothing runs; a restart that was asked for ends the pause.
async fn pause(commands: &mut mpsc::Receiver<TaskCommand>, after: Duration) -> Paused {
    let sleep = sleep(after);
    tokio::pin!(sleep);
    loop {
        tokio::select! {
            // A task that is to end does not start once more because its pause is over, too.
            biased;
            command = commands.recv() => match command {
                None => return Paused::Left,
                Some(TaskCommand::Kill { .. }) => return Paused::Killed,
                Some(TaskCommand::Restart { then: Then::Ends, .. }) => return Paused::Waits,
                Some(TaskCommand::Restart { .. }) if after != Duration::MAX => return Paused::Over,
                Some(TaskCommand::Restart { .. }) => {}
                Some(TaskCommand::Signal { reply, .. }) => {
                    reply.send(Err(Error::NotRunning)).ok();
                }
            },
            () = &mut sleep => return Paused::Over,
        }
    }
}

/// Puts the end of a run into the record of its task.
fn note_end(record: &mut TaskRecord, exit: &Exit, cause: Cause) {
    record.last_run = LastRun::None;
    if exit.message.is_empty() {
        // Nothing is left of it: its end was seen.
        record.handle = None;
    }
    record.undecided = match cause {
        Cause::Itself => Some(exit.ended.code),
        Cause::Asked => None,
    };
    record.state.finished_at = exit.at;
    record.state.push_event(events::terminated(exit));
}

/// What an end that nobody asked for is to the restart policy.
fn outcome(code: i32) -> Outcome {
    if code == 0 {
        Outcome::Success
    } else {
        Outcome::Failure
    }
}
