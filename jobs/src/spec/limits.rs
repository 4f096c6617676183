//! How much a posted job may hold, so that reading it needs bounded memory and time.

use serde_json::Value;

/// Objects in one JSON text.
pub const OBJECTS_MAX: usize = 100_000;
/// Values in one JSON text, those in objects and lists included.
pub const VALUES_MAX: usize = 1_000_000;
/// Task groups of one job.
pub const GROUPS_MAX: usize = 1_000;
/// Tasks of one job, over all its groups.
pub const TASKS_MAX: usize = 5_000;
/// Entries of any other list in a job.
pub const LIST_ENTRIES_MAX: usize = 10_000;
/// Allocations of a job that is placed all at once: they stand in one entry of the log.
pub const ALL_AT_ONCE_MAX: u64 = 16_384;
/// Errors of one job that are listed; further ones are counted.
pub const ERRORS_MAX: usize = 100;

/// A limit that is passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// Too many objects in the text.
    #[error("the JSON holds more than {OBJECTS_MAX} objects")]
    Objects,
    /// Too many values in the text.
    #[error("the JSON holds more than {VALUES_MAX} values")]
    Values,
    /// Too many task groups.
    #[error("the job has {count} task groups; at most {GROUPS_MAX} are allowed")]
    Groups {
        /// How many.
        count: usize,
    },
    /// Too many tasks.
    #[error("the job has {count} tasks; at most {TASKS_MAX} are allowed")]
    Tasks {
        /// How many.
        count: usize,
    },
    /// Too many allocations that must be placed all at once.
    #[error(
        "the job counts {count} allocations; with all_at_once at most {ALL_AT_ONCE_MAX} are allowed"
    )]
    AllAtOnce {
        /// How many.
        count: u64,
    },
    /// Too many entries in one list.
    #[error(
        "the list {name:?} of the job has {count} entries; at most {LIST_ENTRIES_MAX} are allowed"
    )]
    Entries {
        /// Key of the list.
        name: String,
        /// How many.
        count: usize,
    },
}

/// Looks at JSON text before it is read: a few bytes of it can become a large value.
///
/// # Errors
/// [`Limit::Objects`] and [`Limit::Values`].
pub fn check_text(text: &[u8]) -> Result<(), Limit> {
    let (mut objects, mut values) = (0_usize, 0_usize);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
            }
            b'{' => {
                objects += 1;
                values += 1;
            }
            b'[' | b',' => values += 1,
            _ => {}
        }
    }
    if objects > OBJECTS_MAX {
        return Err(Limit::Objects);
    }
    if values > VALUES_MAX {
        return Err(Limit::Values);
    }
    Ok(())
}

/// Looks at the JSON of a job before it becomes a job: an empty object can become a large task.
///
/// # Errors
/// [`Limit::Groups`], [`Limit::Tasks`] and [`Limit::Entries`].
pub fn check_job(job: &Value) -> Result<(), Limit> {
    let groups = job.get("TaskGroups").and_then(Value::as_array);
    let groups = groups.map(Vec::as_slice).unwrap_or_default();
    if groups.len() > GROUPS_MAX {
        let count = groups.len();
        return Err(Limit::Groups { count });
    }
    let tasks = |group: &Value| {
        group
            .get("Tasks")
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    };
    let count = groups.iter().map(tasks).sum();
    if count > TASKS_MAX {
        return Err(Limit::Tasks { count });
    }
    check_lists("Job", job)
}

/// The depth of a value is bounded by who made it.
fn check_lists(name: &str, value: &Value) -> Result<(), Limit> {
    match value {
        Value::Array(items) if items.len() > LIST_ENTRIES_MAX => Err(Limit::Entries {
            name: name.to_owned(),
            count: items.len(),
        }),
        Value::Array(items) => items.iter().try_for_each(|item| check_lists(name, item)),
        Value::Object(map) => map
            .iter()
            .try_for_each(|(key, item)| check_lists(key, item)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_counted_without_what_stands_in_quotes() {
        let many = |piece: &str, count: usize| format!("[{}0]", piece.repeat(count));
        let check = |text: &str| check_text(text.as_bytes());
        assert_eq!(check(&many("{},", OBJECTS_MAX)), Ok(()));
        assert_eq!(check(&many("{},", OBJECTS_MAX + 1)), Err(Limit::Objects));
        assert_eq!(check(&many("0,", VALUES_MAX - 1)), Ok(()));
        assert_eq!(check(&many("0,", VALUES_MAX)), Err(Limit::Values));
        let quoted = format!("[\"\\\"{}\"]", "{},".repeat(VALUES_MAX));
        assert_eq!(check(&quoted), Ok(()));
        assert_eq!(check("\"never closed"), Ok(()));
    }

    #[test]
    fn jobs_have_a_largest_size() {
        let groups = |count: usize, tasks: usize| {
            let tasks = vec![json!({}); tasks];
            json!({"TaskGroups": vec![json!({ "Tasks": tasks }); count]})
        };
        assert_eq!(check_job(&groups(GROUPS_MAX, 5)), Ok(()));
        let count = GROUPS_MAX + 1;
        assert_eq!(check_job(&groups(count, 0)), Err(Limit::Groups { count }));
        let count = TASKS_MAX + 1;
        assert_eq!(check_job(&groups(1, count)), Err(Limit::Tasks { count }));
        let many = json!({"Constraints": vec![Value::Null; LIST_ENTRIES_MAX + 1]});
        assert!(
            matches!(check_job(&many), Err(Limit::Entries { name, .. }) if name == "Constraints")
        );
        assert_eq!(check_job(&Value::Null), Ok(()));
    }
}
