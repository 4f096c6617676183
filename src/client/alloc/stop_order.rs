//! In which order the tasks of an allocation are stopped.

use super::lifecycle::Role;
use crate::store::TaskRecord;
use jobs::model::{Task, TaskPhase};

/// The names of the tasks to stop, one stage after the other: the leader, then the ordinary tasks,
/// then the sidecars, which the others may need to their end. Poststop tasks are not stopped: their
/// turn comes now.
pub(super) fn stages<'a>(tasks: impl Iterator<Item = &'a Task>) -> [Vec<&'a str>; 3] {
    let [mut leaders, mut ordinary, mut sidecars] = [Vec::new(), Vec::new(), Vec::new()];
    for task in tasks {
        let role = Role::of(task);
        if task.leader && role == Role::Main {
            leaders.push(task.name.as_str());
        } else if role.is_sidecar() {
            sidecars.push(task.name.as_str());
        } else if role != Role::Poststop {
            ordinary.push(task.name.as_str());
        }
    }
    [leaders, ordinary, sidecars]
}

/// What stopping one task takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is dead already.
    Nothing,
    /// It never started and has no process: it is dead from now on.
    MarkDead,
    /// Its runner is sent a kill.
    Kill,
    /// Its process may be there although nobody looks after it yet: it gets a runner, which is sent
    /// a kill.
    AttachAndKill,
}

/// What stopping a task takes, by what is known of it.
pub(super) fn stop(record: &TaskRecord, has_runner: bool) -> Stop {
    if record.state.state == TaskPhase::Dead {
        Stop::Nothing
    } else if has_runner {
        Stop::Kill
    } else if record.last_run.is_none() {
        Stop::MarkDead
    } else {
        Stop::AttachAndKill
    }
}

#[cfg(test)]
mod tests {
    use super::{super::lifecycle::tests::task, *};

    #[test]
    fn leader_then_ordinary_then_sidecars() {
        for (group, expected) in [
            ("a:main b:main", "|a b|"),
            ("a:main b:leader s:prestart+", "b|a|s"),
            (
                "i:prestart s:poststart+ h:poststart z:poststop l:leader",
                "l|i h|s",
            ),
            ("z:poststop", "||"),
        ] {
            let tasks: Vec<Task> = group.split_whitespace().map(task).collect();
            let found = stages(tasks.iter()).map(|stage| stage.join(" ")).join("|");
            assert_eq!(found, expected, "{group}");
        }
    }

    #[test]
    fn what_it_takes_depends_on_its_process() {
        for (phase, run_id, has_runner, expected) in [
            (TaskPhase::Dead, "", true, Stop::Nothing),
            (TaskPhase::Dead, "r", false, Stop::Nothing),
            (TaskPhase::Pending, "", false, Stop::MarkDead),
            (TaskPhase::Pending, "", true, Stop::Kill),
            (TaskPhase::Running, "r", true, Stop::Kill),
            (TaskPhase::Running, "r", false, Stop::AttachAndKill),
        ] {
            let mut record = TaskRecord {
                last_run: run_id.to_owned().into(),
                ..TaskRecord::default()
            };
            record.state.state = phase;
            assert_eq!(stop(&record, has_runner), expected, "{phase:?} {run_id:?}");
        }
    }
}
