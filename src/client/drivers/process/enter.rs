//! Commands inside of isolated tasks. A small process of this program enters what the task sees,
//! and starts the command there with the rights of the task: threads of the agent cannot, and only
//! what is started afterwards belongs to a table of processes.

use crate::drivers::Exec;
use serde::{Deserialize, Serialize};
use std::{
    env, io,
    path::{Path, PathBuf},
    process::ExitCode,
};
use sys::processes::{self, Entrance, Tree};

/// The option of the hidden subcommand.
pub(super) const OPTION: &str = "--enter";

/// Where programs are looked for when the environment does not say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The rights of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::drivers) struct Rights {
    pub(super) user: String,
    pub(super) bounding: u64,
    pub(super) ambient: u64,
}

/// What to start, and where. The environment is the process's own: command lines can be read by
/// everybody.
#[derive(Debug, Serialize, Deserialize)]
struct Spec {
    task: Tree,
    command: String,
    args: Vec<String>,
    dir: PathBuf,
    rights: Rights,
}

/// The command that does it, without its streams.
pub(super) fn command(
    (executable, subcommand): (&Path, &str),
    exec: &Exec,
    rights: Rights,
) -> io::Result<tokio::process::Command> {
    let handle = exec.handle.as_deref();
    let task: Tree = handle
        .and_then(|handle| serde_json::from_str(handle).ok())
        .ok_or_else(|| io::Error::other("the task has no process to enter"))?;
    let spec = Spec {
        task,
        command: exec.command.clone(),
        args: exec.args.clone(),
        dir: Path::new("/").join(&exec.dir),
        rights,
    };
    let mut command = tokio::process::Command::new(executable);
    command
        .args([subcommand, OPTION])
        .arg(serde_json::to_string(&spec)?)
        .env_clear()
        .envs(&exec.env)
        .current_dir("/");
    Ok(command)
}

/// Runs the hidden subcommand with that option. Ends as the command does.
pub(super) fn main() -> ExitCode {
    let spec = env::args().nth(3).unwrap_or_default();
    let spec: Result<Spec, _> = serde_json::from_str(&spec);
    let done = spec.map_err(io::Error::other).and_then(|spec| run(&spec));
    match done {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            // It is what the user sees of the command.
            let text = format!("{error}\n");
            io::Write::write_all(&mut io::stderr(), text.as_bytes()).ok();
            let is_missing = error.kind() == io::ErrorKind::NotFound;
            ExitCode::from(if is_missing { 127 } else { 126 })
        }
    }
}

fn run(spec: &Spec) -> io::Result<i32> {
    let entrance = Entrance::of(&spec.task, &spec.rights.user)?;
    entrance.enter()?;
    let program = find(&spec.command).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("`{}` could not be found in the task", spec.command),
        )
    })?;
    let rights = (spec.rights.bounding, spec.rights.ambient);
    let ended = processes::run_entered(&entrance, &program, &spec.args, &spec.dir, rights)?;
    Ok(ended.code)
}

/// A path as it is, a name in the directories of the task's `PATH`.
fn find(command: &str) -> Option<PathBuf> {
    if command.contains('/') {
        return Some(Path::new("/").join(command));
    }
    let path = env::var("PATH").unwrap_or_default();
    let mut dirs = path.split(':').chain(USUAL_PATH.split(':'));
    dirs.find_map(|dir| {
        let program = Path::new(dir).join(command);
        program.is_file().then_some(program)
    })
}
