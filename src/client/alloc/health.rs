use super::lifecycle::Role;
use crate::shared::CheckStatus;
use jobs::model::{
    FlatMap, MigrateStrategy, Span, Task, TaskName, TaskPhase, TaskState, UpdateStrategy,
};
use mesh::model::{CheckId, Status};
use registration::Instance;
use std::collections::BTreeMap;
use sys::clock::Monotonic;

/// What an allocation's health depends on at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts<'a> {
    /// States of every task that counts: main tasks and sidecars.
    pub(super) tasks: Vec<(&'a str, &'a TaskState)>,
    /// Prestart tasks that run to completion have done so.
    pub(super) is_prepared: bool,
    /// How many checks the services have, readiness-only ones left out.
    pub(super) checks: usize,
    /// How many of them pass.
    pub(super) passing: usize,
}

impl<'a> Facts<'a> {
    /// From the tasks of the group, their states by name, the instances with their checks, and the
    /// last results by check id.
    pub(super) fn new(
        tasks: impl Iterator<Item = &'a Task>,
        states: &'a FlatMap<TaskName, TaskState>,
        instances: &[Instance],
        results: &BTreeMap<CheckId, CheckStatus>,
    ) -> Self {
        let mut facts = Facts {
            is_prepared: true,
            ..Facts::default()
        };
        for task in tasks {
            let Some((name, state)) = states.get_key_value(&task.name) else {
                continue;
            };
            match Role::of(task) {
                Role::Main | Role::PrestartSidecar | Role::PoststartSidecar => {
                    facts.tasks.push((name, state));
                }
                Role::Prestart => facts.is_prepared &= state.is_successful(),
                Role::Poststart | Role::Poststop => {}
            }
        }
        let counted = instances
            .iter()
            .flat_map(|instance| &instance.checks)
            .filter(|check| check.spec.on_update != "ignore");
        for check in counted {
            facts.checks += 1;
            let passes = results.get(&check.check.id).is_some_and(|result| {
                result.has_result
                    && match result.status {
                        Status::Passing => true,
                        Status::Warning => check.spec.on_update == "ignore_warnings",
                        Status::Critical => false,
                    }
            });
            facts.passing += usize::from(passes);
        }
        facts
    }
}

/// The verdict about an allocation in a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again at that moment, or when a fact changes.
    Wait {
        /// That moment.
        until: Monotonic,
    },
    /// Everything was well for long enough.
    Healthy,
    /// It will not turn well any more, or not in time.
    Unhealthy {
        /// Why, as published.
        reason: String,
    },
}

/// Judges one allocation of a deployment.
///
/// Source: `update` and `migrate` blocks, `health_check`, `min_healthy_time`, `healthy_deadline`.
#[derive(Clone, Debug)]
pub(super) struct Health {
    uses_checks: bool,
    min_healthy: Span,
    healthy_deadline: Span,
    deadline: Monotonic,
    well_since: Option<Monotonic>,
    restarts: BTreeMap<TaskName, u64>,
    ever_running: bool,
}

/// By what it is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    health_check: &'a str,
    min_healthy: Span,
    healthy_deadline: Span,
}

impl<'a> From<&'a UpdateStrategy> for Rules<'a> {
    fn from(update: &'a UpdateStrategy) -> Self {
        Self {
            health_check: &update.health_check,
            min_healthy: update.min_healthy_time,
            healthy_deadline: update.healthy_deadline,
        }
    }
}

impl<'a> From<&'a MigrateStrategy> for Rules<'a> {
    fn from(migrate: &'a MigrateStrategy) -> Self {
        Self {
            health_check: &migrate.health_check,
            min_healthy: migrate.min_healthy_time,
            healthy_deadline: migrate.healthy_deadline,
        }
    }
}

impl Health {
    /// A judge that starts at `now`; none when people decide by hand.
    pub(super) fn new(rules: &Rules<'_>, now: Monotonic) -> Option<Self> {
        let uses_checks = match rules.health_check {
            "manual" => return None,
            "task_states" => false,
            _ => true,
        };
        Some(Self {
            uses_checks,
            min_healthy: rules.min_healthy,
            healthy_deadline: rules.healthy_deadline,
            deadline: now + rules.healthy_deadline.to_std(),
            well_since: None,
            restarts: BTreeMap::new(),
            ever_running: false,
        })
    }

    /// Judges the facts of `now`.
    pub(super) fn judge(&mut self, now: Monotonic, facts: &Facts<'_>) -> Verdict {
        for (_, state) in &facts.tasks {
            if state.failed {
                return unhealthy("Unhealthy because of failed task");
            }
            if state.state == TaskPhase::Dead {
                return unhealthy("Unhealthy because of dead task");
            }
        }
        let running = facts.is_prepared
            && facts
                .tasks
                .iter()
                .all(|(_, state)| state.state == TaskPhase::Running);
        self.ever_running |= running;
        let restarted = self.note_restarts(facts);
        let checked = !self.uses_checks || facts.passing == facts.checks;
        if !running || !checked || restarted {
            self.well_since = None;
        }
        if running && checked {
            let since = *self.well_since.get_or_insert(now);
            let well_at = since + self.min_healthy.to_std();
            if now >= well_at {
                return Verdict::Healthy;
            }
            if now < self.deadline {
                return Verdict::Wait {
                    until: well_at.min(self.deadline),
                };
            }
        }
        if now < self.deadline {
            return Verdict::Wait {
                until: self.deadline,
            };
        }
        self.too_late(running, facts)
    }

    fn note_restarts(&mut self, facts: &Facts<'_>) -> bool {
        let mut changed = false;
        for (name, state) in &facts.tasks {
            let before = self.restarts.insert((*name).into(), state.restarts);
            changed |= before.is_some_and(|before| before != state.restarts);
        }
        changed
    }

    fn too_late(&self, running: bool, facts: &Facts<'_>) -> Verdict {
        let deadline = self.healthy_deadline;
        if !running && !self.ever_running {
            return unhealthy(format!(
                "Task not running by healthy_deadline of {deadline}"
            ));
        }
        if !running || !self.uses_checks || facts.passing == facts.checks {
            let min = self.min_healthy;
            return unhealthy(format!(
                "Task not running for min_healthy_time of {min} by healthy_deadline of {deadline}"
            ));
        }
        unhealthy(format!(
            "Only {} out of {} checks registered and passing",
            facts.passing, facts.checks
        ))
    }
}

fn unhealthy(reason: impl Into<String>) -> Verdict {
    Verdict::Unhealthy {
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Plays lines of `second phase restarts passing/checks` against a judge with 10 s of 60 s.
    fn check(health_check: &str, script: &str, expected: &[&str]) {
        let strategy = UpdateStrategy {
            health_check: health_check.into(),
            min_healthy_time: Span::from_secs(10),
            healthy_deadline: Span::from_secs(60),
            ..UpdateStrategy::default()
        };
        let mut health = Health::new(&Rules::from(&strategy), Monotonic::START).unwrap();
        let verdicts: Vec<String> = script
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let mut state = TaskState {
                    restarts: words[2].parse().unwrap(),
                    ..TaskState::default()
                };
                state.state = match words[1] {
                    "running" => TaskPhase::Running,
                    "pending" => TaskPhase::Pending,
                    _ => TaskPhase::Dead,
                };
                state.failed = words[1] == "failed";
                let (passing, checks) = words[3].split_once('/').unwrap();
                let facts = Facts {
                    tasks: vec![("web", &state)],
                    is_prepared: true,
                    checks: checks.parse().unwrap(),
                    passing: passing.parse().unwrap(),
                };
                let seconds = words[0].parse().unwrap();
                let now = Monotonic::START + Duration::from_secs(seconds);
                match health.judge(now, &facts) {
                    Verdict::Healthy => "healthy".into(),
                    Verdict::Unhealthy { reason } => reason,
                    Verdict::Wait { until } => {
                        format!("wait {}", until.since_start().as_secs())
                    }
                }
            })
            .collect();
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn healthy_after_a_quiet_time_of_running_and_passing() {
        check(
            "checks",
            "0 pending 0 0/1\n1 running 0 0/1\n5 running 0 1/1\n15 running 0 1/1",
            &["wait 60", "wait 60", "wait 15", "healthy"],
        );
    }

    #[test]
    fn a_check_that_flaps_starts_the_quiet_time_again() {
        check(
            "checks",
            "1 running 0 1/1\n8 running 0 0/1\n9 running 0 1/1\n12 running 0 1/1\n19 running 0 1/1",
            &["wait 11", "wait 60", "wait 19", "wait 19", "healthy"],
        );
    }

    #[test]
    fn a_restart_starts_the_quiet_time_again_and_a_failure_ends_it() {
        check(
            "task_states",
            "1 running 0 0/9\n5 running 1 0/9\n12 running 1 0/9\n13 failed 1 0/9",
            &[
                "wait 11",
                "wait 15",
                "wait 15",
                "Unhealthy because of failed task",
            ],
        );
    }

    #[test]
    fn the_deadline_says_what_was_missing() {
        check(
            "checks",
            "60 pending 0 0/1",
            &["Task not running by healthy_deadline of 1m0s"],
        );
        check(
            "checks",
            "1 running 0 1/2\n60 running 0 1/2",
            &["wait 60", "Only 1 out of 2 checks registered and passing"],
        );
        check(
            "checks",
            "55 running 0 1/1\n60 running 0 1/1",
            &[
                "wait 60",
                "Task not running for min_healthy_time of 10s by healthy_deadline of 1m0s",
            ],
        );
    }

    #[test]
    fn by_hand_there_is_no_judge() {
        let strategy = UpdateStrategy {
            health_check: "manual".into(),
            ..UpdateStrategy::default()
        };
        assert!(Health::new(&Rules::from(&strategy), Monotonic::START).is_none());
    }
}
