//! The one loop around every controller of `jobs` and `mesh`: it feeds applied entries and ticks,
//! and carries actions out. It decides nothing.

pub(super) mod deployments;
pub(super) mod drains;
pub(super) mod evaluations;
pub(super) mod gc;
pub(super) mod heartbeats;
pub(super) mod lifetimes;
pub(super) mod locks;
pub(super) mod periodic;

use jobs::control::{Action, rollout::still_holds};
use jobs::model::Timestamp;
use std::{future, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, broadcast::error::RecvError},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Core, Snapshot,
    log::propose::{ProposeError, now},
    log::published::Commit,
    state::Command,
};
use sys::clock;

/// Pause before a command that the log could not take is offered again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How often a command is offered to a busy log.
const RETRIES_MAX: usize = 20;

/// What a controller wants done.
pub(super) enum Wanted {
    /// Of the jobs side.
    Jobs(Box<Action>),
    /// A change of the catalog.
    Mesh(mesh::state::Command),
}

impl Wanted {
    fn moves_rollout(&self) -> bool {
        use jobs::state::Command;
        let Self::Jobs(action) = self else {
            return false;
        };
        matches!(
            **action,
            Action::Propose(Command::SetRollout(_) | Command::PromoteDeployment { .. })
        )
    }
}

impl From<Action> for Wanted {
    fn from(action: Action) -> Self {
        Self::Jobs(Box::new(action))
    }
}

impl From<mesh::state::Command> for Wanted {
    fn from(command: mesh::state::Command) -> Self {
        Self::Mesh(command)
    }
}

/// A controller with what it needs of an entry.
pub(super) trait Controller: Send + 'static {
    /// What it wants done.
    type Action: Into<Wanted> + Send;
    /// Forgets everything and rebuilds it from the state.
    fn restore(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Self::Action>;
    /// Looks at an applied entry.
    fn on_commit(&mut self, now: Timestamp, commit: &Commit) -> Vec<Self::Action>;
    /// Looks at what is due.
    fn on_tick(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Self::Action>;
    /// When something is due.
    fn next_tick(&self) -> Option<Timestamp>;
    /// Told when `next_tick` moved for another reason than a call of this trait.
    fn moved(&self) -> Option<&Notify> {
        None
    }
}

/// Runs a controller until `stop`.
pub(super) async fn drive<C: Controller>(
    mut controller: C,
    core: Arc<Core>,
    stop: CancellationToken,
) {
    // One turn around the inner loop per fresh start: the first, and after falling too far behind.
    loop {
        let (mut commits, snapshot) = core.published.follow();
        let restored = snapshot.index;
        let actions = controller.restore(now(), &snapshot);
        carry_out(&core, actions, &stop).await;
        loop {
            let due = controller.next_tick();
            let due = due.map(|due| Instant::now() + due.since(now()));
            let actions = tokio::select! {
                () = stop.cancelled() => return,
                commit = commits.recv() => match commit {
                    Ok(commit) if commit.at.index <= restored => continue,
                    Ok(commit) => controller.on_commit(now(), &commit),
                    // Too far behind, or the state was replaced as a whole.
                    Err(RecvError::Lagged(_) | RecvError::Closed) => break,
                },
                () = clock::until(due) => {
                    controller.on_tick(now(), &core.published.current())
                }
                () = moved(&controller) => continue,
            };
            carry_out(&core, actions, &stop).await;
        }
    }
}

async fn moved(controller: &impl Controller) {
    match controller.moved() {
        Some(moved) => moved.notified().await,
        None => future::pending().await,
    }
}

/// Carries out what a controller wants. What it wants written is handed in at once, so that the log
/// takes it in few entries.
pub(super) async fn carry_out(
    core: &Core,
    actions: Vec<impl Into<Wanted>>,
    stop: &CancellationToken,
) {
    let wanted: Vec<Wanted> = actions.into_iter().map(Into::into).collect();
    let turn = match wanted.iter().any(Wanted::moves_rollout) {
        true => Some(core.rollout_turn.lock().await),
        false => None,
    };
    let state = turn.as_ref().map(|_| core.published.current());
    let still_holds = |command: &jobs::state::Command| {
        let state = state.as_ref();
        state.is_none_or(|state| still_holds(&state.jobs, command))
    };
    let mut commands = Vec::new();
    for action in wanted {
        match action {
            Wanted::Mesh(command) => commands.push(Command::from(command)),
            Wanted::Jobs(action) => match *action {
                Action::Propose(command) if !still_holds(&command) => {
                    tracing::debug!("an operator moved a rollout that a controller wanted to move");
                }
                Action::Propose(command) => commands.push(Command::from(command)),
                Action::Enqueue(eval) => {
                    core.broker.lock().on_eval(now(), &eval);
                    core.work.notify_one();
                }
            },
        }
    }
    offer(core, commands, stop).await;
}

/// Offers commands until the log takes them.
async fn offer(core: &Core, mut commands: Vec<Command>, stop: &CancellationToken) {
    for _ in 0..RETRIES_MAX {
        if commands.is_empty() {
            return;
        }
        let answers = core.raft.propose_all(commands.clone()).await;
        let mut again = Vec::new();
        for (command, answer) in commands.into_iter().zip(answers) {
            match answer {
                Ok((_, Ok(_))) => {}
                Ok((index, Err(rejected))) => {
                    tracing::debug!(index, %rejected, "what a controller wanted no longer applies");
                }
                Err(ProposeError::Busy | ProposeError::NotLeader) => again.push(command),
                Err(error) if stop.is_cancelled() => {
                    tracing::debug!(%error, "a controller's command was not written");
                }
                Err(error) => tracing::error!(%error, "a controller's command was not written"),
            }
        }
        commands = again;
        if commands.is_empty() || stop.is_cancelled() {
            return;
        }
        sleep(RETRY_PAUSE).await;
    }
    tracing::error!("a controller's commands were not written: the log is busy");
}
