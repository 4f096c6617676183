//! What the states of its tasks say about an allocation.

use jobs::model::{ClientStatus, FlatMap, TaskName, TaskPhase, TaskState};

/// What is said of an allocation that ran longer than its group may.
pub(super) const TIMED_OUT: &str = "allocation exceeded max_run_duration";

/// The client status with its description. It is terminal only when every task is dead, so that
/// nothing of the allocation still holds a port when the servers replace it. One that was stopped
/// because its time was over is complete, whatever became of its tasks.
pub(super) fn client_status(
    states: &FlatMap<TaskName, TaskState>,
    is_timed_out: bool,
) -> (ClientStatus, &'static str) {
    let any = |test: fn(&TaskState) -> bool| states.values().any(test);
    if any(|state| state.state == TaskPhase::Running) {
        return (ClientStatus::Running, "Tasks are running");
    }
    if any(|state| state.state == TaskPhase::Pending) {
        return (ClientStatus::Pending, "No tasks have started");
    }
    if is_timed_out {
        (ClientStatus::Complete, TIMED_OUT)
    } else if any(|state| state.failed) {
        (ClientStatus::Failed, "Failed tasks")
    } else {
        (ClientStatus::Complete, "All tasks have completed")
    }
}

/// True when nothing runs and nothing will.
pub(super) fn all_dead(states: &FlatMap<TaskName, TaskState>) -> bool {
    states.values().all(|state| state.state == TaskPhase::Dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_only_when_every_task_is_dead() {
        for (phases, expected, is_over) in [
            ("running dead", ClientStatus::Running, false),
            ("running failed", ClientStatus::Running, false),
            ("pending failed", ClientStatus::Pending, false),
            ("pending", ClientStatus::Pending, false),
            ("dead failed", ClientStatus::Failed, true),
            ("dead dead", ClientStatus::Complete, true),
        ] {
            let mut states = FlatMap::default();
            for (place, phase) in phases.split_whitespace().enumerate() {
                let mut state = TaskState {
                    failed: phase == "failed",
                    ..TaskState::default()
                };
                state.state = match phase {
                    "running" => TaskPhase::Running,
                    "pending" => TaskPhase::Pending,
                    _ => TaskPhase::Dead,
                };
                states.insert(place.to_string().into(), state);
            }
            assert_eq!(client_status(&states, false).0, expected, "{phases}");
            let (timed_out, text) = client_status(&states, true);
            assert_eq!(timed_out.is_terminal(), is_over, "{phases}");
            assert_eq!(text == TIMED_OUT, is_over, "{phases}");
            assert_eq!(all_dead(&states), is_over, "{phases}");
        }
    }
}
