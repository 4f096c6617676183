//! Which task of a group starts or ends when: before, beside and after the main tasks.

use crate::task::events;
use jobs::model::{Allocation, FlatMap, Task, TaskEvent, TaskName, TaskPhase, TaskState};

/// When a task runs, in the order of stopping and starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Prestart,
    PrestartSidecar,
    Main,
    Poststart,
    PoststartSidecar,
    Poststop,
}

impl Role {
    /// As the task's `lifecycle` block says.
    pub(super) fn of(task: &Task) -> Self {
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

    /// True for a task that runs beside the main tasks and has no end of its own.
    pub(super) fn is_sidecar(self) -> bool {
        matches!(self, Self::PrestartSidecar | Self::PoststartSidecar)
    }
}

/// Why tasks end that nobody asked to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Because {
    /// Another task of the group failed.
    SiblingFailed(String),
    /// The leader is dead.
    LeaderDead,
    /// All main tasks are dead.
    MainTasksDead,
}

impl Because {
    /// The event that says so.
    pub(super) fn event(&self) -> TaskEvent {
        match self {
            Self::SiblingFailed(failed) => {
                let message = format!("Task's sibling \"{failed}\" failed");
                events::with_detail("Sibling Task Failed", message, "failed_sibling")
            }
            Self::LeaderDead => events::event("Leader Task Dead", "Leader Task in Group dead"),
            Self::MainTasksDead => events::event("Main Tasks Dead", "Main tasks in the group died"),
        }
    }
}

/// What is to be done about one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Its turn has come. Starting a task that has a runner changes nothing.
    Start(String),
    /// It has to end; when it never started, it is dead.
    End(String, Because),
}

/// The tasks of its group in the order of the job.
pub(super) fn definitions(alloc: &Allocation) -> impl Iterator<Item = &Task> {
    alloc.group().into_iter().flat_map(|group| &group.tasks)
}

/// The tasks of a group with their roles and states.
pub(super) struct Group<'a> {
    roles: Vec<(&'a str, Role)>,
    leader: Option<&'a str>,
    states: &'a FlatMap<TaskName, TaskState>,
}

impl<'a> Group<'a> {
    /// `states` by task name; a task that is missing there has not started.
    pub(super) fn new(
        tasks: impl Iterator<Item = &'a Task>,
        states: &'a FlatMap<TaskName, TaskState>,
    ) -> Self {
        let mut leader = None;
        let mut roles = Vec::new();
        for task in tasks {
            if leader.is_none() && task.leader && task.is_main() {
                leader = Some(task.name.as_str());
            }
            roles.push((task.name.as_str(), Role::of(task)));
        }
        Self {
            roles,
            leader,
            states,
        }
    }

    /// What is to be done now, in the order of the job. While the allocation `stops`, nothing
    /// starts but the poststop tasks, once all others are dead.
    pub(super) fn steps(&self, stops: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(failed) = self.failed() {
            let because = Because::SiblingFailed(failed.to_owned());
            self.end(|role| role != Role::Poststop, &because, &mut steps);
        } else if self.leader_is_dead() {
            let but_poststop = |role| role != Role::Poststop;
            self.end(but_poststop, &Because::LeaderDead, &mut steps);
        } else if self.has_main() && self.all_dead(|role| role == Role::Main) {
            let beside = |role| !matches!(role, Role::Main | Role::Poststop);
            self.end(beside, &Because::MainTasksDead, &mut steps);
        } else if !stops {
            self.start(|task, role| self.is_due(task, role), &mut steps);
        }
        if self.all_dead(|role| role != Role::Poststop) {
            self.start(|_, role| role == Role::Poststop, &mut steps);
        }
        steps
    }

    fn start(&self, is_due: impl Fn(&str, Role) -> bool, steps: &mut Vec<Step>) {
        let due = self
            .roles
            .iter()
            .filter(|(task, role)| self.phase(task) != TaskPhase::Dead && is_due(task, *role));
        steps.extend(due.map(|(task, _)| Step::Start((*task).to_owned())));
    }

    fn end(&self, ends: impl Fn(Role) -> bool, because: &Because, steps: &mut Vec<Step>) {
        let ending = self
            .roles
            .iter()
            .filter(|(task, role)| self.phase(task) != TaskPhase::Dead && ends(*role));
        steps.extend(ending.map(|(task, _)| Step::End((*task).to_owned(), because.clone())));
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
    fn is_due(&self, task: &str, role: Role) -> bool {
        let prepared = self.roles.iter().all(|(name, role)| match role {
            Role::Prestart => self.states.get(*name).is_some_and(TaskState::is_successful),
            Role::PrestartSidecar => self.phase(name) == TaskPhase::Running,
            _ => true,
        });
        let has_run = self
            .states
            .get(task)
            .is_some_and(|state| !state.started_at.is_zero());
        match role {
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use jobs::model::{Lifecycle, Timestamp};

    /// A task from `name:role`, where the role is one of `main`, `leader`, `prestart`, `prestart+`,
    /// `poststart`, `poststart+` and `poststop`; `+` is a sidecar.
    pub(in crate::alloc) fn task(text: &str) -> Task {
        let (name, role) = text.split_once(':').unwrap();
        let mut task = Task {
            name: name.into(),
            leader: role == "leader",
            ..Task::default()
        };
        if !matches!(role, "main" | "leader") {
            task.lifecycle = Some(Lifecycle {
                hook: role.trim_end_matches('+').into(),
                sidecar: role.ends_with('+'),
            });
        }
        task
    }

    /// A state from `pending`, `running`, `waiting` (pending after a first run), `dead` or
    /// `failed`.
    fn state(text: &str) -> TaskState {
        let mut state = TaskState {
            failed: text == "failed",
            ..TaskState::default()
        };
        state.state = match text {
            "pending" | "waiting" => TaskPhase::Pending,
            "running" => TaskPhase::Running,
            "dead" | "failed" => TaskPhase::Dead,
            other => panic!("no state {other}"),
        };
        if text != "pending" {
            state.started_at = Timestamp::from_nanos(1);
        }
        state
    }

    /// Checks the steps for words of `name:role=state`, such as `web:main=running`.
    fn check(group: &str, stops: bool, expected: &str) {
        let mut tasks = Vec::new();
        let mut states = FlatMap::default();
        for word in group.split_whitespace() {
            let (definition, phase) = word.split_once('=').unwrap();
            let task = task(definition);
            states.insert(task.name.clone(), state(phase));
            tasks.push(task);
        }
        let steps = Group::new(tasks.iter(), &states).steps(stops);
        let found: Vec<String> = steps
            .iter()
            .map(|step| match step {
                Step::Start(task) => format!("start {task}"),
                Step::End(task, Because::SiblingFailed(failed)) => {
                    format!("end {task} as {failed} failed")
                }
                Step::End(task, Because::LeaderDead) => format!("end {task} as the leader is dead"),
                Step::End(task, Because::MainTasksDead) => {
                    format!("end {task} as all main are dead")
                }
            })
            .collect();
        assert_eq!(found.join(", "), expected, "{group}");
    }

    #[test]
    fn main_tasks_wait_for_what_comes_before_them() {
        check(
            "init:prestart=pending web:main=pending",
            false,
            "start init",
        );
        check(
            "init:prestart=running web:main=pending",
            false,
            "start init",
        );
        check("init:prestart=dead web:main=pending", false, "start web");
        check("log:prestart+=pending web:main=pending", false, "start log");
        check(
            "log:prestart+=running web:main=pending",
            false,
            "start log, start web",
        );
    }

    #[test]
    fn a_main_task_that_ran_already_does_not_wait_again() {
        check(
            "log:prestart+=waiting web:main=waiting",
            false,
            "start log, start web",
        );
    }

    #[test]
    fn what_comes_after_the_start_waits_for_every_main_task() {
        check(
            "a:main=running b:main=pending hi:poststart=pending",
            false,
            "start a, start b",
        );
        check(
            "a:main=running b:main=running hi:poststart=pending by:poststart+=pending",
            false,
            "start a, start b, start hi, start by",
        );
    }

    #[test]
    fn a_failure_ends_the_others_and_the_poststop_tasks_follow_the_last_of_them() {
        check(
            "a:main=failed b:main=running c:prestart+=running z:poststop=pending",
            false,
            "end b as a failed, end c as a failed",
        );
        check(
            "a:main=failed b:main=dead z:poststop=pending",
            false,
            "start z",
        );
        check("a:main=failed b:main=dead z:poststop=dead", false, "");
    }

    #[test]
    fn a_task_that_fails_before_the_others_start_ends_them_unstarted() {
        check(
            "init:prestart=failed web:main=pending",
            false,
            "end web as init failed",
        );
    }

    #[test]
    fn the_end_of_the_leader_ends_the_others() {
        check(
            "a:leader=dead b:main=running s:poststart+=running",
            false,
            "end b as the leader is dead, end s as the leader is dead",
        );
    }

    #[test]
    fn sidecars_end_with_the_last_main_task() {
        check(
            "a:main=dead b:main=running s:prestart+=running",
            false,
            "start b, start s",
        );
        check(
            "a:main=dead b:main=dead s:prestart+=running",
            false,
            "end s as all main are dead",
        );
    }

    #[test]
    fn a_group_without_main_tasks_is_not_over_by_that() {
        check("s:prestart+=running", false, "start s");
    }

    #[test]
    fn nothing_starts_while_stopping_but_what_comes_after_the_stop() {
        check("a:main=pending z:poststop=pending", true, "");
        check("a:main=dead z:poststop=pending", true, "start z");
    }

    #[test]
    fn a_failed_poststop_task_fails_nobody() {
        check("a:main=running z:poststop=failed", false, "start a");
    }
}
