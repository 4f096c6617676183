use super::{Kind, enter::Rights, isolated, isolated::Root, lookup::Lookup};
use crate::drivers::{
    Exec as Command, Isolation, Start, Unrunnable,
    options::{self, Kind as OptionKind, Table},
};
use futures_util::future::{BoxFuture, ready};
use jobs::model::{DriverInfo, TaskConfig};
use std::path::Path;
use sys::{limits::Limits, processes::TaskProcess};

const OPTIONS: Table = &[
    ("command", OptionKind::Text),
    ("args", OptionKind::List),
    ("work_dir", OptionKind::Text),
    ("pid_mode", OptionKind::Text),
    ("ipc_mode", OptionKind::Text),
    ("cap_add", OptionKind::List),
    ("cap_drop", OptionKind::List),
];

/// Runs a program of the machine in a root of its own, with limits.
///
/// What it needs from the machine: root, a kernel that moves mounts, control groups for the limits.
/// What it leaves behind: nothing; mounts and namespaces go with the task's last process.
///
/// Source: `exec` driver. Differs: directories of the host are mounted, not copied; a user other
/// than root has of the capabilities only `net_bind_service` and those that the task adds, and the
/// others when it starts programs that have them.
#[derive(Debug)]
pub(in crate::drivers) struct Exec {
    root: Root,
}

impl Exec {
    pub(in crate::drivers) fn new(root: Root) -> Self {
        Self { root }
    }
}

impl Kind for Exec {
    const NAME: &'static str = "exec";
    const TAKES_SIGNALS: bool = true;

    fn isolation(&self) -> Isolation {
        Isolation::Chroot
    }

    fn fingerprint<'a>(&'a self, _: &'a Lookup) -> BoxFuture<'a, DriverInfo> {
        Box::pin(ready(self.root.info(Self::NAME)))
    }

    fn problems(&self, config: &TaskConfig) -> Vec<String> {
        let mut problems = options::problems(config, OPTIONS);
        if options::text(config, "command").is_empty() {
            problems.push("config option `command` is missing: it names the program to run".into());
        }
        problems.extend(self.root.problems(config));
        problems
    }

    fn process(&self, _: &Lookup, task: &Start) -> Result<TaskProcess, Unrunnable> {
        if let Some(lack) = self.root.lack() {
            return Err(Unrunnable::Denied {
                reason: lack.into(),
            });
        }
        let command = options::text(&task.config, "command");
        Ok(TaskProcess {
            program: self.root.find(task, &command)?,
            args: options::list(&task.config, "args"),
            env: task.env.clone(),
            dir: options::work_dir(&task.config, Path::new("/")),
            user: Root::user(task),
            network: task.namespace(),
            isolation: Some(self.root.isolation(task)),
        })
    }

    fn rights(&self, exec: &Command) -> Option<Rights> {
        self.root.rights(exec)
    }

    fn limits(&self, task: &Start) -> Option<Limits> {
        Some(isolated::limits(task))
    }
}
