use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What happens to one thing between two versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DiffType {
    /// The same in both.
    #[default]
    None,
    /// Only in the new one.
    Added,
    /// Only in the old one.
    Deleted,
    /// In both, not the same.
    Edited,
}

/// The difference of two versions of a job.
///
/// Source: jobs API, "Create Job Plan", `Diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobDiff {
    /// Of the job as a whole.
    #[serde(rename = "Type")]
    pub diff_type: DiffType,
    /// Id of the job.
    #[serde(rename = "ID")]
    pub id: String,
    /// Scalars, sorted by name.
    pub fields: Vec<FieldDiff>,
    /// Blocks.
    pub objects: Vec<ObjectDiff>,
    /// Groups, sorted by name, unchanged ones too.
    pub task_groups: Vec<TaskGroupDiff>,
}

/// The difference of two versions of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskGroupDiff {
    /// Of the group as a whole.
    #[serde(rename = "Type")]
    pub diff_type: DiffType,
    /// Name of the group.
    pub name: String,
    /// Scalars, sorted by name.
    pub fields: Vec<FieldDiff>,
    /// Blocks.
    pub objects: Vec<ObjectDiff>,
    /// Tasks, sorted by name, unchanged ones too.
    pub tasks: Vec<TaskDiff>,
    /// What the scheduler would do, label to count.
    pub updates: BTreeMap<String, u64>,
}

/// The difference of two versions of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskDiff {
    /// Of the task as a whole.
    #[serde(rename = "Type")]
    pub diff_type: DiffType,
    /// Name of the task.
    pub name: String,
    /// Scalars, sorted by name.
    pub fields: Vec<FieldDiff>,
    /// Blocks.
    pub objects: Vec<ObjectDiff>,
    /// What the change forces.
    pub annotations: Vec<String>,
}

/// The difference of two versions of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ObjectDiff {
    /// Of the block as a whole.
    #[serde(rename = "Type")]
    pub diff_type: DiffType,
    /// Name of the block.
    pub name: String,
    /// Scalars, sorted by name.
    pub fields: Vec<FieldDiff>,
    /// Blocks inside.
    pub objects: Vec<ObjectDiff>,
}

/// The difference of one scalar.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FieldDiff {
    /// Of the scalar.
    #[serde(rename = "Type")]
    pub diff_type: DiffType,
    /// Name of the scalar, with the key of a map in brackets.
    pub name: String,
    /// Before, as text.
    pub old: String,
    /// After, as text.
    pub new: String,
    /// What the change forces.
    pub annotations: Vec<String>,
}
