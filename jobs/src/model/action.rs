use serde::{Deserialize, Serialize};

/// A command that users may run inside a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Action {
    /// Unique in the task.
    pub name: String,
    /// Program.
    pub command: String,
    /// Its arguments.
    pub args: Option<Vec<String>>,
}

/// When a task is paused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Schedule {
    /// Start and end.
    pub cron: Option<ScheduleCron>,
}

/// From when to when a task runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScheduleCron {
    /// Six fields of cron.
    pub start: String,
    /// Minute and hour.
    pub end: String,
    /// Zone of both.
    pub timezone: String,
}
