use super::{
    events,
    hooks::{self, Prepared, SetupError},
    restarts::{Decision, Outcome, Restarts},
};
use crate::{
    client::{
        Error,
        alloc::shared::Shared,
        drivers::process::supervisor::{
            Exit,
            remote::{self, Connection, Found, StartError},
        },
    },
    registration,
    rpc::message::Report,
    sys::{clock, processes, random},
};
use jobs::model::{AllocId, Task, TaskEvent, TaskPhase, Timestamp};
use sha2::{Digest, Sha256};
use std::{fmt::Write, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

/// Commands that may wait for a task.
pub(in crate::client) const COMMANDS_MAX: usize = 16;
/// How long data planes are waited for before a task is stopped.
pub(in crate::client) const DRAIN_TIMEOUT: Duration = Duration::from_secs(35);
/// Upper bound of a task's `kill_timeout`.
const KILL_TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// Sent when the job names no signal.
const KILL_SIGNAL_DEFAULT: &str = "SIGINT";

/// What the runner of a task is asked for.
#[derive(Debug)]
pub(in crate::client) enum TaskCommand {
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
        /// Because of a failing check, which counts as a failure.
        unhealthy: bool,
    },
    /// Send it a signal.
    Signal {
        /// Number.
        number: i32,
        /// Name.
        name: String,
        /// What came of it.
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

/// How one attempt to run the task ended.
enum Ended {
    /// On purpose, for good.
    Killed,
    /// This agent stops; the task goes on.
    Left,
    /// The restart policy decides.
    With(Outcome),
}

/// Carries one task from its setup to its end.
pub(in crate::client) struct TaskRunner {
    shared: Arc<Shared>,
    name: String,
    stem: String,
    commands: mpsc::Receiver<TaskCommand>,
    restarts: Restarts,
}

impl TaskRunner {
    pub(in crate::client) fn new(
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
            stem: stem(alloc.id, &task.name),
            name: task.name.clone(),
            shared,
            commands,
            restarts,
        }
    }

    /// Runs the task until it is over, or until this agent stops.
    pub(in crate::client) async fn run(mut self) {
        loop {
            let outcome = match self.attempt().await {
                Ended::With(outcome) => outcome,
                Ended::Killed => return self.die(false),
                Ended::Left => return,
            };
            let decision = self.restarts.decide(clock::now_ns(), outcome);
            match decision {
                Decision::Done => return self.die(false),
                Decision::Fail { reason } => {
                    self.event(events::failure("Not Restarting", reason, "restart_reason"));
                    return self.die(true);
                }
                Decision::Restart { after, reason } => {
                    let event = events::restarting(after, reason);
                    let counted = self.restarts.counted();
                    self.shared.update_task(&self.name, |record| {
                        record.restarts = counted;
                        record.state.state = TaskPhase::Pending;
                        record.state.restarts += 1;
                        record.state.last_restart = Timestamp(clock::now_ns());
                        record.state.push_event(event);
                    });
                    match pause(&mut self.commands, after).await {
                        Paused::Over => {}
                        Paused::Killed => return self.die(false),
                        Paused::Left => return,
                    }
                }
            }
        }
    }

    /// One run, from its setup, or from where an earlier agent left it.
    async fn attempt(&mut self) -> Ended {
        let run_id = self.shared.task(&self.name).run_id;
        if !run_id.is_empty() {
            match remote::find(self.shared.cx.store.run_dir(), &self.stem).await {
                Found::Running(connection) => return self.attend(*connection).await,
                Found::Ended(exit) if exit.run_id == run_id => return self.finish(&exit),
                Found::Ended(_) | Found::Gone => {
                    if let Some(ended) = self.wait_for_servers().await {
                        return ended;
                    }
                }
            }
        }
        let prepared = tokio::select! {
            prepared = hooks::prestart(&self.shared, &self.name) => prepared,
            paused = pause(&mut self.commands, Duration::MAX) => return match paused {
                Paused::Left => Ended::Left,
                Paused::Over | Paused::Killed => Ended::Killed,
            },
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
                    SetupError::Artifact(_) | SetupError::Directory(_) => Outcome::Recoverable,
                    SetupError::Invalid(_) | SetupError::Unrunnable(_) => Outcome::Unrecoverable,
                })
            }
        }
    }

    /// The machine was restarted, or somebody killed supervisor and task: whether the task is still wanted
    /// here only the servers know.
    async fn wait_for_servers(&mut self) -> Option<Ended> {
        self.event(events::event(
            "Failed Restoring Task",
            "failed to restore task; will not run until server is contacted",
        ));
        self.shared.update_task(&self.name, |record| {
            record.state.state = TaskPhase::Pending;
            record.run_id.clear();
        });
        let mut contacted = self.shared.cx.contacted.subscribe();
        tokio::select! {
            _ = contacted.wait_for(|yes| *yes) => None,
            paused = pause(&mut self.commands, Duration::MAX) => Some(match paused {
                Paused::Left => Ended::Left,
                Paused::Over | Paused::Killed => Ended::Killed,
            }),
        }
    }

    /// Not to be cancelled: a supervisor that has its launch goes on alone.
    async fn start(&mut self, prepared: Prepared) -> Ended {
        let cx = &self.shared.cx;
        let run_id = random::uuid();
        let mut launch = prepared.launch;
        launch.run_id.clone_from(&run_id);
        launch.run_dir = cx.store.run_dir().to_owned();
        launch.stem.clone_from(&self.stem);
        // Kept before the start, so that an agent that dies in between looks for this run.
        self.shared
            .update_task(&self.name, |record| record.run_id = run_id);
        let started = {
            let Ok(_slot) = cx.starts.acquire().await else {
                return Ended::Left;
            };
            remote::start(&cx.config.executable, launch).await
        };
        match started {
            Ok(connection) => self.attend(connection).await,
            Err(error) => {
                let outcome = match error {
                    StartError::Program { .. } => Outcome::Unrecoverable,
                    StartError::Supervisor(_) => Outcome::Recoverable,
                };
                let text = format!("failed to launch command with executor: {error}");
                self.shared
                    .update_task(&self.name, |record| record.run_id.clear());
                self.event(events::with_detail("Driver Failure", text, "driver_error"));
                Ended::With(outcome)
            }
        }
    }

    /// Watches a running task and carries out what is asked of it.
    async fn attend(&mut self, mut connection: Connection) -> Ended {
        self.note_running(&connection);
        let shared = Arc::clone(&self.shared);
        let run_dir = shared.cx.store.run_dir();
        let stem = self.stem.clone();
        loop {
            let command = tokio::select! {
                exit = connection.ended(run_dir, &stem) => return self.finish(&exit),
                command = self.commands.recv() => command,
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
                    let sent = connection.signal(number).await.map_err(Error::from);
                    reply.send(sent).ok();
                }
                Some(TaskCommand::Restart { reason, unhealthy }) => {
                    self.event(events::with_detail(
                        "Restart Signaled",
                        reason,
                        "restart_reason",
                    ));
                    self.withdraw().await;
                    let exit = self.stop(&mut connection).await;
                    self.note_exit(&exit);
                    return Ended::With(if unhealthy {
                        Outcome::Unhealthy
                    } else {
                        Outcome::Requested
                    });
                }
                Some(TaskCommand::Kill { because, delays }) => {
                    if let Some(event) = because {
                        self.event(event);
                    }
                    self.event(events::killing("", nanos(self.kill_timeout())));
                    if delays && let Some(exit) = self.shutdown_delay(&mut connection).await {
                        self.note_exit(&exit);
                        return Ended::Killed;
                    }
                    let exit = self.stop(&mut connection).await;
                    self.note_exit(&exit);
                    self.event(events::event("Killed", "Task successfully killed"));
                    return Ended::Killed;
                }
            }
        }
    }

    fn note_running(&self, connection: &Connection) {
        self.shared
            .processes
            .lock()
            .insert(self.name.clone(), connection.process());
        let record = self.shared.task(&self.name);
        if record.state.state == TaskPhase::Running && record.run_id == connection.run_id() {
            return;
        }
        let run_id = connection.run_id().to_owned();
        self.shared.update_task(&self.name, |record| {
            let now = Timestamp(clock::now_ns());
            record.run_id = run_id;
            record.state.state = TaskPhase::Running;
            if record.state.started_at.is_zero() {
                record.state.started_at = now;
            }
            record
                .state
                .push_event(events::event("Started", "Task started by client"));
        });
    }

    /// The run is over; nobody asked for it.
    fn finish(&mut self, exit: &Exit) -> Ended {
        self.note_exit(exit);
        Ended::With(if exit.ended.code == 0 {
            Outcome::Success
        } else {
            Outcome::Failure
        })
    }

    fn note_exit(&self, exit: &Exit) {
        self.shared.processes.lock().remove(&self.name);
        let event = events::terminated(exit);
        self.shared.update_task(&self.name, |record| {
            record.run_id.clear();
            record.state.finished_at = Timestamp(exit.at_ns);
            record.state.push_event(event);
        });
        // Only now: an agent that dies before this line must find the file.
        remote::forget(self.shared.cx.store.run_dir(), &self.stem);
    }

    fn die(&self, failed: bool) {
        self.shared.update_task(&self.name, |record| {
            record.state.state = TaskPhase::Dead;
            record.state.failed |= failed;
            if record.state.finished_at.is_zero() {
                record.state.finished_at = Timestamp(clock::now_ns());
            }
        });
    }

    /// Takes the task's instances out of DNS and routes and waits, within limits, until no request is on
    /// its way to them.
    async fn withdraw(&self) {
        let alloc = self.shared.alloc();
        let node = Arc::clone(&self.shared.cx.node.borrow());
        let affected: Vec<_> = registration::instances(&alloc, &node)
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
        let ids: Vec<String> = affected.into_iter().map(|one| one.service.id).collect();
        let session = &self.shared.cx.session;
        let drained = timeout(DRAIN_TIMEOUT, async {
            let index = session.report(report).await?;
            session.drained(index, &ids).await
        })
        .await;
        if !matches!(drained, Ok(Ok(()))) {
            tracing::warn!(alloc = %alloc.id, task = self.name, "restarting without every data plane's word");
        }
    }

    /// Waits `shutdown_delay`, unless asked to hurry; the exit when the task ends meanwhile.
    async fn shutdown_delay(&mut self, connection: &mut Connection) -> Option<Exit> {
        let delay = duration(self.definition().map_or(0, |task| task.shutdown_delay));
        if delay.is_zero() {
            return None;
        }
        let text = format!(
            "Waiting for shutdown_delay of {} before killing the task.",
            events::go_duration(nanos(delay))
        );
        self.event(events::event("Waiting for shutdown delay", text));
        let run_dir = self.shared.cx.store.run_dir();
        tokio::select! {
            exit = connection.ended(run_dir, &self.stem) => Some(exit),
            () = hurried(&mut self.commands) => None,
            () = sleep(delay) => None,
        }
    }

    async fn stop(&self, connection: &mut Connection) -> Exit {
        let name = self
            .definition()
            .map(|task| task.kill_signal)
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| KILL_SIGNAL_DEFAULT.into());
        let number = processes::signal_number(&name).unwrap_or(nix::libc::SIGINT);
        // An error means that the supervisor is gone, which the wait finds out too.
        connection.stop(number, self.kill_timeout()).await.ok();
        connection
            .ended(self.shared.cx.store.run_dir(), &self.stem)
            .await
    }

    fn kill_timeout(&self) -> Duration {
        duration(self.definition().map_or(0, |task| task.kill_timeout)).min(KILL_TIMEOUT_MAX)
    }

    fn definition(&self) -> Option<Task> {
        self.shared.alloc().group()?.task(&self.name).cloned()
    }

    fn event(&self, event: TaskEvent) {
        self.shared.event(&self.name, event);
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

/// The name of the task's files in the run directory: short, and the same for each run.
fn stem(alloc_id: AllocId, task: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(alloc_id.to_bytes());
    hash.update([0]);
    hash.update(task);
    hash.finalize()
        .iter()
        .take(12)
        .fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            write!(text, "{byte:02x}").ok();
            text
        })
}

pub(in crate::client) fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
