//! Which tasks a request to restart or to signal means.

use crate::Error;
use jobs::model::{FlatMap, TaskName, TaskPhase, TaskState};

/// The running tasks that are meant: the named one, or all that run.
///
/// # Errors
/// [`Error::UnknownTask`] for a name that the allocation does not have, [`Error::NotRunning`] when
/// the named task or all of them do not run.
pub(super) fn addressed(
    states: &FlatMap<TaskName, TaskState>,
    task: Option<&str>,
) -> Result<Vec<TaskName>, Error> {
    let is_running = |state: &TaskState| state.state == TaskPhase::Running;
    let Some(task) = task else {
        let all: Vec<TaskName> = states
            .iter()
            .filter(|(_, state)| is_running(state))
            .map(|(name, _)| name.clone())
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
        Some(state) if is_running(state) => Ok(vec![task.into()]),
        Some(_) => Err(Error::NotRunning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_one_or_all_that_run() {
        for (running, asked, expected) in [
            ("web log", None, "log web"),
            ("web", None, "web"),
            ("", None, "Task not running"),
            ("web", Some("web"), "web"),
            ("web", Some("log"), "Task not running"),
            ("web", Some("x"), "unknown task name \"x\""),
        ] {
            let mut states = FlatMap::default();
            for name in ["web", "log"] {
                let mut state = TaskState::default();
                if running.split(' ').any(|one| one == name) {
                    state.state = TaskPhase::Running;
                }
                states.insert(name.into(), state);
            }
            let found = match addressed(&states, asked) {
                Ok(mut names) => {
                    names.sort();
                    names.join(" ")
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{running:?} {asked:?}");
        }
    }
}
