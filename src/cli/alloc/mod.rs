//! `alloc …`: one file per command.

mod checks;
mod detail;
pub(super) mod exec;
pub(super) mod fs;
pub(super) mod logs;
mod restart;
mod signal;
pub(super) mod status;
mod stop;
mod tasks;

use super::context::Context;
use anyhow::bail;
use jobs::wire::Allocation;

/// Look at and act on allocations.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show how the checks stand of services that the job keeps to itself
    Checks(checks::Arguments),
    /// Run a command inside a task
    Exec(exec::Arguments),
    /// List and print files of an allocation
    Fs(fs::Arguments),
    /// Print the logs of a task
    Logs(logs::Arguments),
    /// Pause a task, which is refused
    Pause(Pause),
    /// Restart tasks in place
    Restart(restart::Arguments),
    /// Send a signal to tasks
    Signal(signal::Arguments),
    /// Show one allocation
    Status(status::Arguments),
    /// Stop an allocation and place another
    Stop(stop::Arguments),
}

/// Arguments of `alloc pause`, which is refused.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Pause {
    /// What would be paused
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    what: Vec<String>,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Checks(arguments) => checks::run(cx, &arguments).await,
        Command::Exec(arguments) => Box::pin(exec::run(cx, &arguments)).await,
        Command::Fs(arguments) => Box::pin(fs::run(cx, &arguments)).await,
        Command::Logs(arguments) => Box::pin(logs::run(cx, &arguments)).await,
        Command::Pause(_) => bail!(
            "tasks are not paused: trivet has no schedules of tasks yet; `alloc stop` ends an \
             allocation, and `alloc signal -s SIGSTOP` holds its tasks up"
        ),
        Command::Restart(arguments) => Box::pin(restart::run(cx, &arguments)).await,
        Command::Signal(arguments) => Box::pin(signal::run(cx, &arguments)).await,
        Command::Status(arguments) => Box::pin(status::run(cx, &arguments)).await,
        Command::Stop(arguments) => Box::pin(stop::run(cx, &arguments)).await,
    }
}

/// The task that is meant: the one named, or the only one.
pub(super) fn task<'a>(alloc: &'a Allocation, named: Option<&str>) -> anyhow::Result<&'a str> {
    let group = alloc.job.task_group(&alloc.row.task_group);
    let names: Vec<&str> = match group {
        Some(group) => group.tasks.iter().map(|task| task.name.as_str()).collect(),
        None => alloc
            .row
            .task_states
            .keys()
            .map(|name| name.as_str())
            .collect(),
    };
    match (named, names.as_slice()) {
        (Some(named), _) => names
            .iter()
            .find(|name| **name == named)
            .copied()
            .ok_or_else(|| {
                anyhow::anyhow!(
                    "Could not find task named: {named}, found: {}",
                    names.join(", ")
                )
            }),
        (None, [only]) => Ok(only),
        (None, []) => bail!("Allocation \"{}\" has no tasks", alloc.row.id),
        (None, _) => bail!(
            "Allocation \"{:.8}\" is running the following tasks:\n  * {}\n\nPlease specify the task.",
            alloc.row.id,
            names.join("\n  * ")
        ),
    }
}
