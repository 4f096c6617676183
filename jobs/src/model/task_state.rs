use super::{FlatMap, Text, Timestamp, is_default};
use serde::{Deserialize, Serialize};

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskPhase {
    /// Not started yet, or waiting for a restart.
    #[default]
    Pending,
    /// The process runs.
    Running,
    /// It will not run again.
    Dead,
}

impl TaskPhase {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// What became of one task of an allocation. Writer: the client that runs it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskState {
    /// Where it is in its life.
    pub state: TaskPhase,
    /// True when it ended in failure.
    pub failed: bool,
    /// How often it was restarted.
    pub restarts: u64,
    /// Last restart.
    #[serde(with = "super::rfc3339")]
    pub last_restart: Timestamp,
    /// First start.
    #[serde(with = "super::rfc3339")]
    pub started_at: Timestamp,
    /// End.
    #[serde(with = "super::rfc3339")]
    pub finished_at: Timestamp,
    /// Newest last, at most [`TaskState::EVENTS_MAX`].
    pub events: Vec<TaskEvent>,
}

impl TaskState {
    /// How many events are kept.
    pub const EVENTS_MAX: usize = 10;

    /// Adds an event and drops the oldest past the limit.
    pub fn push_event(&mut self, event: TaskEvent) {
        if self.events.len() >= Self::EVENTS_MAX {
            self.events.drain(..=self.events.len() - Self::EVENTS_MAX);
        }
        self.events.push(event);
    }

    /// True when the task ended without failing.
    pub fn is_successful(&self) -> bool {
        self.state == TaskPhase::Dead && !self.failed
    }
}

/// Something that happened to a task. Types and display texts are those of the jobs API §3.6.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskEvent {
    /// `Received`, `Task Setup`, `Started`, `Terminated`, `Restarting` …
    #[serde(rename = "Type")]
    pub event_type: Text,
    /// Nanoseconds since the epoch.
    pub time: Timestamp,
    /// What users read.
    pub display_message: Text,
    /// Facts by key, such as `exit_code`.
    pub details: FlatMap<Text, Text>,
    /// Free text.
    #[serde(skip_serializing_if = "is_default")]
    pub message: Text,
    /// True when it ends the task for good.
    #[serde(skip_serializing_if = "is_default")]
    pub fails_task: bool,
    /// Exit code of a `Terminated` event.
    #[serde(skip_serializing_if = "is_default")]
    pub exit_code: i32,
    /// Signal of a `Terminated` event.
    #[serde(skip_serializing_if = "is_default")]
    pub signal: i32,
}
