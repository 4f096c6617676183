//! What the full screen shows, and what keys do to it. Knows neither terminal nor network.

use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};

/// Lines of output and of events that are kept.
const LINES_MAX: usize = 2000;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Jobs,
    Allocations,
    Routes,
    Events,
    Logs,
}

/// Views in the order of their keys.
pub(super) const VIEWS: [(View, &str); 5] = [
    (View::Jobs, "Jobs"),
    (View::Allocations, "Allocations"),
    (View::Routes, "Routes"),
    (View::Events, "Events"),
    (View::Logs, "Logs"),
];

/// A job in short.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Job {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) namespace: String,
    #[serde(rename = "Type")]
    pub(super) job_type: String,
    pub(super) status: String,
    pub(super) stop: bool,
    pub(super) version: u64,
    pub(super) wanted: u32,
    pub(super) counts: Counts,
    pub(super) deployment: Option<Deployment>,
}

/// Allocations by state.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Counts {
    pub(super) queued: u32,
    pub(super) starting: u32,
    pub(super) running: u32,
    pub(super) failed: u32,
    pub(super) lost: u32,
}

/// The newest deployment of a job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Deployment {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) status: String,
    pub(super) needs_promotion: bool,
}

impl Deployment {
    /// Whether it is not over.
    pub(super) fn goes_on(&self) -> bool {
        matches!(
            self.status.as_str(),
            "running" | "paused" | "blocked" | "pending" | "initializing"
        )
    }

    fn action(&self, verb: char) -> Option<Action> {
        let deployment = self.id.clone();
        match verb {
            'p' if self.needs_promotion => Some(Action::Promote { deployment }),
            'f' if self.goes_on() => Some(Action::Fail { deployment }),
            'n' | 'b' if self.goes_on() => Some(Action::Step {
                deployment,
                is_next: verb == 'n',
            }),
            'z' if self.goes_on() => Some(Action::Pause {
                deployment,
                pause: self.status != "paused",
            }),
            _ => None,
        }
    }
}

/// An allocation in short.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Alloc {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) name: String,
    pub(super) node_name: String,
    pub(super) job_version: u64,
    pub(super) desired_status: String,
    pub(super) client_status: String,
    pub(super) create_index: u64,
}

/// What came of the requests to one instance since they are counted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Counted {
    pub(super) route: String,
    pub(super) service: String,
    pub(super) version: String,
    pub(super) instance: String,
    #[serde(rename = "JobID")]
    pub(super) job_id: String,
    pub(super) namespace: String,
    pub(super) in_flight: u64,
    pub(super) attempts: u64,
    pub(super) failed: u64,
}

/// Counts as they are told once a second.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Traffic {
    pub(super) time: i64,
    pub(super) whole: bool,
    pub(super) rows: Vec<Counted>,
}

/// Requests a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) requests: f64,
    pub(super) failed: f64,
    pub(super) in_flight: u64,
}

impl Rate {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.in_flight += other.in_flight;
    }
}

/// News for the screen.
#[derive(Debug)]
pub(super) enum News {
    Jobs(Vec<Job>),
    Allocs(Vec<Alloc>),
    Traffic(Traffic),
    Event(String),
    Log(String),
    /// What came of something.
    Said(String),
    Key(Key),
    Resized,
}

/// A key as far as it means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Up,
    Down,
    Enter,
    Back,
    Next,
    Quit,
}

/// Something that changes the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Stop {
        namespace: String,
        job: String,
    },
    Scale {
        namespace: String,
        job: String,
        by: i64,
    },
    Promote {
        deployment: String,
    },
    /// Pauses a deployment, or lets it go on.
    Pause {
        deployment: String,
        pause: bool,
    },
    Fail {
        deployment: String,
    },
    /// Gives canaries the share of the next step, or of the one before.
    Step {
        deployment: String,
        is_next: bool,
    },
    /// Runs an earlier version again.
    Revert {
        namespace: String,
        job: String,
        from: u64,
        to: u64,
    },
    /// Removes a stopped job for good.
    Purge {
        namespace: String,
        job: String,
    },
    /// Launches a periodic job now, or dispatches a parameterized one.
    Launch {
        namespace: String,
        job: String,
    },
    Restart {
        namespace: String,
        job: String,
    },
    RestartAlloc {
        alloc: String,
    },
    StopAlloc {
        alloc: String,
    },
}

impl Action {
    /// What is asked before it is done.
    fn question(&self) -> String {
        match self {
            Self::Stop { job, .. } => format!("Stop the job {job}?"),
            Self::Scale { job, by, .. } => format!("Scale {job} by {by:+}?"),
            Self::Promote { deployment } => format!("Promote the canaries of {deployment}?"),
            Self::Pause {
                deployment,
                pause: true,
            } => format!("Pause {deployment}?"),
            Self::Pause { deployment, .. } => format!("Let {deployment} go on?"),
            Self::Fail { deployment } => format!("Fail {deployment}?"),
            Self::Step {
                deployment,
                is_next: true,
            } => format!("Next step of {deployment}?"),
            Self::Step { deployment, .. } => format!("One step back of {deployment}?"),
            Self::Revert { job, to, .. } => format!("Revert {job} to version {to}?"),
            Self::Purge { job, .. } => format!("Purge the job {job}?"),
            Self::Launch { job, .. } => format!("Launch the job {job} now?"),
            Self::Restart { job, .. } => format!("Restart the tasks of {job}?"),
            Self::RestartAlloc { alloc } => format!("Restart the tasks of {alloc}?"),
            Self::StopAlloc { alloc } => format!("Stop the allocation {alloc}?"),
        }
    }
}

/// What a key wants of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Do(Action),
    /// Look at this job from now on.
    Look {
        namespace: String,
        job: String,
    },
    /// Follow its output from now on.
    Follow {
        namespace: String,
        job: String,
    },
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct State {
    pub(super) view: View,
    pub(super) jobs: Vec<Job>,
    pub(super) allocs: Vec<Alloc>,
    /// Route, service and version to what is asked of them.
    pub(super) routes: BTreeMap<(String, String, String), Rate>,
    /// Namespace and job to the same.
    pub(super) job_rates: BTreeMap<(String, String), Rate>,
    pub(super) events: VecDeque<String>,
    pub(super) logs: VecDeque<String>,
    /// The job whose allocations and output are shown.
    pub(super) job: Option<(String, String)>,
    pub(super) question: Option<Action>,
    pub(super) said: String,
    pub(super) shows_help: bool,
    selected: [usize; VIEWS.len()],
    counted: BTreeMap<(String, String, String, String), Counted>,
    counted_at: i64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            view: View::Jobs,
            jobs: Vec::new(),
            allocs: Vec::new(),
            routes: BTreeMap::new(),
            job_rates: BTreeMap::new(),
            events: VecDeque::new(),
            logs: VecDeque::new(),
            job: None,
            question: None,
            said: String::new(),
            shows_help: false,
            selected: [0; VIEWS.len()],
            counted: BTreeMap::new(),
            counted_at: 0,
        }
    }
}

impl State {
    fn at(&self) -> usize {
        place(self.view)
    }

    /// Who looks at earlier lines goes on looking at them when another one comes.
    fn hold(&mut self, view: View) {
        let back = &mut self.selected[place(view)];
        if *back > 0 {
            *back = (*back + 1).min(LINES_MAX);
        }
    }

    /// How many rows the view has.
    fn rows(&self) -> usize {
        match self.view {
            View::Jobs => self.jobs.len(),
            View::Allocations => self.allocs.len(),
            View::Routes => self.routes.len(),
            View::Events => self.events.len(),
            View::Logs => self.logs.len(),
        }
    }

    /// Whether the view is one of lines that are added at the end, of which it shows the last.
    fn is_of_lines(&self) -> bool {
        matches!(self.view, View::Events | View::Logs)
    }

    /// The row that keys are about; in a view of lines, how many there are after the last shown.
    pub(super) fn selected(&self) -> usize {
        self.selected[self.at()].min(self.rows().saturating_sub(1))
    }

    /// The question that waits for an answer.
    pub(super) fn asked(&self) -> Option<String> {
        self.question.as_ref().map(Action::question)
    }

    /// Takes news in; answers with what is wished.
    pub(super) fn take(&mut self, news: News) -> Option<Wish> {
        match news {
            News::Jobs(jobs) => self.jobs = jobs,
            News::Allocs(mut allocs) => {
                allocs.sort_by_key(|own| {
                    (
                        own.desired_status != "run",
                        std::cmp::Reverse(own.create_index),
                    )
                });
                self.allocs = allocs;
            }
            News::Traffic(traffic) => self.count(traffic),
            News::Event(line) => {
                push(&mut self.events, line);
                self.hold(View::Events);
            }
            News::Log(line) => {
                push(&mut self.logs, line);
                self.hold(View::Logs);
            }
            News::Said(text) => self.said = text,
            News::Key(key) => return self.key(key),
            News::Resized => {}
        }
        None
    }

    fn count(&mut self, traffic: Traffic) {
        let seconds = (traffic.time - self.counted_at) as f64 / 1e9;
        let is_first = self.counted_at == 0 || seconds <= 0.0;
        self.counted_at = traffic.time;
        let before = self.counted.clone();
        if traffic.whole {
            self.counted.clear();
        }
        for row in traffic.rows {
            let who = (
                row.route.clone(),
                row.service.clone(),
                row.version.clone(),
                row.instance.clone(),
            );
            self.counted.insert(who, row);
        }
        self.routes.clear();
        self.job_rates.clear();
        for (who, row) in &self.counted {
            let then = before.get(who);
            let since = |now: u64, then: Option<u64>| match then {
                Some(then) if !is_first => now.saturating_sub(then) as f64 / seconds,
                _ => 0.0,
            };
            let rate = Rate {
                requests: since(row.attempts, then.map(|row| row.attempts)),
                failed: since(row.failed, then.map(|row| row.failed)),
                in_flight: row.in_flight,
            };
            let (route, service, version, _) = who.clone();
            self.routes
                .entry((route, service, version))
                .or_default()
                .add(rate);
            if !row.job_id.is_empty() {
                let job = (row.namespace.clone(), row.job_id.clone());
                self.job_rates.entry(job).or_default().add(rate);
            }
        }
    }

    fn key(&mut self, key: Key) -> Option<Wish> {
        if key == Key::Quit {
            return Some(Wish::Quit);
        }
        if let Some(action) = self.question.take() {
            return (key == Key::Char('y')).then_some(Wish::Do(action));
        }
        if std::mem::take(&mut self.shows_help) {
            return None;
        }
        match key {
            Key::Char('q') => return Some(Wish::Quit),
            Key::Char('?') => self.shows_help = true,
            Key::Char(digit @ '1'..='5') => {
                let at = digit as usize - '1' as usize;
                self.view = VIEWS[at].0;
            }
            Key::Next => self.view = VIEWS[(self.at() + 1) % VIEWS.len()].0,
            Key::Up | Key::Char('k') => self.step(false),
            Key::Down | Key::Char('j') => self.step(true),
            Key::Char('g') => self.go(!self.is_of_lines()),
            Key::Char('G') => self.go(self.is_of_lines()),
            Key::Back => self.view = View::Jobs,
            Key::Enter | Key::Char('l') => return self.open(key == Key::Enter),
            Key::Char(verb) => self.question = self.action(verb),
            Key::Quit => {}
        }
        None
    }

    fn step(&mut self, is_down: bool) {
        let at = self.selected();
        let next = if is_down != self.is_of_lines() {
            at + 1
        } else {
            at.saturating_sub(1)
        };
        self.selected[self.at()] = next.min(self.rows().saturating_sub(1));
    }

    fn go(&mut self, to_zero: bool) {
        let last = self.rows().saturating_sub(1);
        self.selected[self.at()] = if to_zero { 0 } else { last };
    }

    /// Goes to what belongs to the job that is selected: its allocations, or its output.
    fn open(&mut self, allocations: bool) -> Option<Wish> {
        if self.view == View::Jobs {
            let job = self.jobs.get(self.selected())?;
            self.job = Some((job.namespace.clone(), job.id.clone()));
        }
        let (namespace, job) = self.job.clone()?;
        if allocations {
            self.view = View::Allocations;
            self.allocs.clear();
            Some(Wish::Look { namespace, job })
        } else {
            self.view = View::Logs;
            self.logs.clear();
            self.go(true);
            Some(Wish::Follow { namespace, job })
        }
    }

    fn action(&self, verb: char) -> Option<Action> {
        match self.view {
            View::Jobs => {
                let job = self.jobs.get(self.selected())?;
                let (namespace, id) = (job.namespace.clone(), job.id.clone());
                let scale = |by| Action::Scale {
                    namespace: namespace.clone(),
                    job: id.clone(),
                    by,
                };
                match verb {
                    's' => Some(Action::Stop { namespace, job: id }),
                    'r' => Some(Action::Restart { namespace, job: id }),
                    '+' => Some(scale(1)),
                    '-' => Some(scale(-1)),
                    'd' => Some(Action::Launch { namespace, job: id }),
                    'x' if job.stop => Some(Action::Purge { namespace, job: id }),
                    'u' => Some(Action::Revert {
                        namespace,
                        job: id,
                        from: job.version,
                        to: job.version.checked_sub(1)?,
                    }),
                    _ => job.deployment.as_ref()?.action(verb),
                }
            }
            View::Allocations => {
                let alloc = self.allocs.get(self.selected())?.id.clone();
                match verb {
                    'r' => Some(Action::RestartAlloc { alloc }),
                    's' => Some(Action::StopAlloc { alloc }),
                    _ => None,
                }
            }
            View::Routes | View::Events | View::Logs => None,
        }
    }
}

fn place(view: View) -> usize {
    let found = VIEWS.iter().position(|(own, _)| *own == view);
    found.unwrap_or(0)
}

fn push(lines: &mut VecDeque<String>, line: String) {
    lines.push_back(line);
    if lines.len() > LINES_MAX {
        lines.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_jobs() -> State {
        let job = |id: &str, needs_promotion| Job {
            id: id.into(),
            namespace: "default".into(),
            version: if needs_promotion { 3 } else { 0 },
            deployment: Some(Deployment {
                id: format!("of-{id}"),
                status: if needs_promotion {
                    "running"
                } else {
                    "successful"
                }
                .into(),
                needs_promotion,
            }),
            ..Job::default()
        };
        let mut state = State::default();
        state.take(News::Jobs(vec![job("api", false), job("web", true)]));
        state
    }

    fn keys(state: &mut State, keys: &str) -> Option<Wish> {
        let mut wish = None;
        for key in keys.chars() {
            let key = match key {
                '⏎' => Key::Enter,
                '⇥' => Key::Next,
                '⎋' => Key::Back,
                other => Key::Char(other),
            };
            wish = state.take(News::Key(key));
        }
        wish
    }

    #[test]
    fn keys_ask_before_they_change_anything() {
        let stop = || {
            Some(Wish::Do(Action::Stop {
                namespace: "default".into(),
                job: "web".into(),
            }))
        };
        for (typed, expected) in [
            ("js", None),
            ("jsn", None),
            ("jsy", stop()),
            // The end of the list is the end.
            ("jjjjsy", stop()),
            ("py", None),
            (
                "jpy",
                Some(Wish::Do(Action::Promote {
                    deployment: "of-web".into(),
                })),
            ),
            ("3sy", None),
            ("?sy", None),
            ("q", Some(Wish::Quit)),
            (
                "jfy",
                Some(Wish::Do(Action::Fail {
                    deployment: "of-web".into(),
                })),
            ),
            (
                "jzy",
                Some(Wish::Do(Action::Pause {
                    deployment: "of-web".into(),
                    pause: true,
                })),
            ),
            (
                "jny",
                Some(Wish::Do(Action::Step {
                    deployment: "of-web".into(),
                    is_next: true,
                })),
            ),
            (
                "jby",
                Some(Wish::Do(Action::Step {
                    deployment: "of-web".into(),
                    is_next: false,
                })),
            ),
            // The deployment of `api` is over, and it has no version before.
            ("fy", None),
            ("ny", None),
            ("uy", None),
            // It is not stopped.
            ("xy", None),
            (
                "juy",
                Some(Wish::Do(Action::Revert {
                    namespace: "default".into(),
                    job: "web".into(),
                    from: 3,
                    to: 2,
                })),
            ),
            (
                "dy",
                Some(Wish::Do(Action::Launch {
                    namespace: "default".into(),
                    job: "api".into(),
                })),
            ),
            (
                "ry",
                Some(Wish::Do(Action::Restart {
                    namespace: "default".into(),
                    job: "api".into(),
                })),
            ),
            (
                "j+y",
                Some(Wish::Do(Action::Scale {
                    namespace: "default".into(),
                    job: "web".into(),
                    by: 1,
                })),
            ),
        ] {
            assert_eq!(keys(&mut with_jobs(), typed), expected, "{typed}");
        }
        let mut state = with_jobs();
        keys(&mut state, "js");
        assert_eq!(state.asked().as_deref(), Some("Stop the job web?"));
    }

    #[test]
    fn a_job_leads_to_its_allocations_and_its_output() {
        let mut state = with_jobs();
        let look = Wish::Look {
            namespace: "default".into(),
            job: "web".into(),
        };
        assert_eq!(keys(&mut state, "j⏎"), Some(look));
        assert_eq!(state.view, View::Allocations);
        let follow = Wish::Follow {
            namespace: "default".into(),
            job: "web".into(),
        };
        assert_eq!(keys(&mut state, "l"), Some(follow));
        assert_eq!(state.view, View::Logs);
        keys(&mut state, "⎋");
        assert_eq!(state.view, View::Jobs);
        keys(&mut state, "⇥⇥");
        assert_eq!(state.view, View::Routes);
    }

    #[test]
    fn rates_are_differences_by_route_and_job() {
        let row = |instance: &str, attempts, failed| Counted {
            route: "/web".into(),
            service: "web".into(),
            version: "v1".into(),
            instance: instance.into(),
            job_id: "web".into(),
            namespace: "default".into(),
            attempts,
            failed,
            ..Counted::default()
        };
        let mut state = State::default();
        let traffic = |time, whole, rows| News::Traffic(Traffic { time, whole, rows });
        state.take(traffic(
            1_000_000_000,
            true,
            vec![row("a", 10, 0), row("b", 5, 0)],
        ));
        let key = ("/web".to_owned(), "web".to_owned(), "v1".to_owned());
        assert_eq!(state.routes[&key].requests, 0.0);
        state.take(traffic(3_000_000_000, false, vec![row("a", 30, 4)]));
        assert_eq!(state.routes[&key].requests, 10.0);
        assert_eq!(state.routes[&key].failed, 2.0);
        let job = ("default".to_owned(), "web".to_owned());
        assert_eq!(state.job_rates[&job].requests, 10.0);
        // Nothing new: the rates fall.
        state.take(traffic(4_000_000_000, false, Vec::new()));
        assert_eq!(state.routes[&key].requests, 0.0);
    }

    #[test]
    fn lines_are_bounded() {
        let mut state = State::default();
        for at in 0..LINES_MAX + 5 {
            state.take(News::Log(at.to_string()));
        }
        assert_eq!(state.logs.len(), LINES_MAX);
        assert_eq!(state.logs[0], "5");
    }

    #[test]
    fn earlier_lines_stay_in_sight_while_others_come() {
        let mut state = State::default();
        for at in 0..10 {
            state.take(News::Event(at.to_string()));
        }
        keys(&mut state, "4kk");
        assert_eq!(state.selected(), 2);
        state.take(News::Event("10".into()));
        assert_eq!(state.selected(), 3);
        keys(&mut state, "G");
        state.take(News::Event("11".into()));
        assert_eq!(state.selected(), 0);
        keys(&mut state, "g");
        assert_eq!(state.selected(), 11);
    }
}
