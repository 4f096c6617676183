//! Everything about a JSON value that does not fit a type, at once.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::{Path, Segment};
use std::fmt;

/// Most that is read again and again to find one misfit after the other, bytes of text.
const READ_BYTES_MAX: usize = 64 << 20;
/// Most misfits that are told.
const MISFITS_MAX: usize = 100;

/// A value that does not fit what belongs at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where, from the outermost value on.
    pub path: Vec<Step>,
    /// What is wrong with it, as a clause.
    pub text: String,
}

/// A way from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The value at a key of an object.
    Key(String),
    /// An entry of a list, from 0.
    Entry(usize),
}

impl fmt::Display for Misfit {
    /// `Job.TaskGroups[0].Count: invalid type: string "x", expected i64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.path.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Entry(entry) => write!(f, "[{entry}]")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.text)
    }
}

/// What of a value does not fit `T`, in the order of the value; empty when all of it does.
///
/// Shape: at least one when something is wrong, at most a hundred, fewer for long texts. `bytes` is
/// the length of the text that the value was read from.
pub fn misfits<T: DeserializeOwned>(mut value: Value, bytes: usize) -> Vec<Misfit> {
    let mut reads = (READ_BYTES_MAX / bytes.max(1)).max(1);
    let mut found = Vec::new();
    while let Err(misfit) = read::<T>(&value) {
        let path = misfit.path.clone();
        found.push(misfit);
        if found.len() == MISFITS_MAX || !take_out::<T>(&mut value, &path, &mut reads) {
            break;
        }
    }
    found
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Misfit> {
    serde_path_to_error::deserialize(value).map_err(|error| Misfit {
        path: steps(error.path()),
        text: error.into_inner().to_string(),
    })
}

fn steps(path: &Path) -> Vec<Step> {
    let known = |segment: &Segment| match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Entry(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().map_while(known).collect()
}

/// Puts what certainly fits in the place of a misfit: nothing at a key, the first that fits in a
/// list, whose other entries keep their numbers. False when there is no such thing, or when enough
/// has been read.
fn take_out<T: DeserializeOwned>(value: &mut Value, path: &[Step], reads: &mut usize) -> bool {
    let mut read_again = |value: &Value| {
        let left = reads.checked_sub(1)?;
        *reads = left;
        Some(read::<T>(value))
    };
    match (path.last(), holder(value, path)) {
        (Some(Step::Key(key)), Some(Value::Object(map))) => {
            map.shift_remove(key).is_some() && *reads > 0
        }
        (Some(Step::Entry(at)), Some(Value::Array(_))) => {
            let stand_ins = [json!({}), json!(""), json!(0), json!(false), json!([])];
            stand_ins.into_iter().any(|stand_in| {
                if let Some(slot) = holder(value, path).and_then(|list| list.get_mut(*at)) {
                    *slot = stand_in;
                }
                match read_again(value) {
                    None => false,
                    Some(Ok(_)) => true,
                    Some(Err(next)) => !next.path.starts_with(path),
                }
            })
        }
        _ => false,
    }
}

/// The value that holds the last step of a path.
fn holder<'v>(value: &'v mut Value, path: &[Step]) -> Option<&'v mut Value> {
    let (_, outer) = path.split_last()?;
    outer.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Entry(at) => value.get_mut(at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Job, JobRegisterRequest};

    fn told<T: DeserializeOwned>(value: Value) -> Vec<String> {
        let bytes = value.to_string().len();
        let all = misfits::<T>(value, bytes);
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_misfit_is_told_with_its_way() {
        let posted = json!({"EnforceIndex": "yes", "Job": {
            "ID": 7,
            "Datacenters": ["dc1", 5, {"a": 1}],
            "Meta": {"dots.are": 1, "fine": "x"},
            "TaskGroups": [
                "nonsense",
                {"Name": "g", "Count": "3", "Tasks": [{"Name": "t", "Resources": {"CPU": [], "MemoryMB": 10.5}}]},
            ],
        }});
        assert_eq!(
            told::<JobRegisterRequest>(posted),
            [
                "EnforceIndex: invalid type: string \"yes\", expected a boolean",
                "Job.ID: invalid type: integer `7`, expected a string",
                "Job.Datacenters[1]: invalid type: integer `5`, expected a string",
                "Job.Datacenters[2]: invalid type: map, expected a string",
                "Job.Meta.dots.are: invalid type: integer `1`, expected a string",
                "Job.TaskGroups[0]: invalid type: string \"nonsense\", expected struct TaskGroup",
                "Job.TaskGroups[1].Count: invalid type: string \"3\", expected i64",
                "Job.TaskGroups[1].Tasks[0].Resources.CPU: invalid type: sequence, expected i64",
                "Job.TaskGroups[1].Tasks[0].Resources.MemoryMB: invalid type: floating point `10.5`, expected i64",
            ]
        );
        assert_eq!(told::<Job>(json!({"ID": "web"})), Vec::<String>::new());
    }

    #[test]
    fn the_work_is_bounded() {
        let many: Vec<Value> = (0..1000).map(|n| json!(n)).collect();
        let posted = json!({ "Datacenters": many });
        assert_eq!(told::<Job>(posted.clone()).len(), MISFITS_MAX);
        assert_eq!(misfits::<Job>(posted, READ_BYTES_MAX).len(), 1);
    }
}
