//! Which processors tasks have been given by number, because they ask for whole ones. The servers
//! count them as MHz; which ones they are is this machine's choice.

use jobs::model::{AllocId, Allocation, TaskName};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};

/// The processors of the tasks of one allocation; a task that asks for none is missing.
pub(crate) type Given = BTreeMap<TaskName, Vec<u16>>;

/// Which processors are given to whom.
#[derive(Debug, Default)]
pub(crate) struct Cores(Mutex<BTreeMap<AllocId, Given>>);

impl Cores {
    /// Gives each task of the allocation as many of `all` as it asks for, the first that are free.
    ///
    /// # Errors
    /// A sentence when there are too few; nothing is given then.
    pub(crate) fn take(&self, alloc: &Allocation, all: &[u16]) -> Result<Given, String> {
        let mut holders = self.0.lock();
        let others = holders.iter().filter(|(id, _)| **id != alloc.id);
        let taken: BTreeSet<u16> = others
            .flat_map(|(_, given)| given.values().flatten().copied())
            .collect();
        let mut free = all.iter().copied().filter(|core| !taken.contains(core));
        let mut given = Given::new();
        let tasks = alloc.group().into_iter().flat_map(|group| &group.tasks);
        for task in tasks.filter(|task| task.resources.cores > 0) {
            let count = usize::try_from(task.resources.cores).unwrap_or(usize::MAX);
            let cores: Vec<u16> = free.by_ref().take(count).collect();
            if cores.len() < count {
                return Err(format!(
                    "task `{}` asks for {count} whole cores, and {} of {} are free",
                    task.name,
                    cores.len(),
                    all.len()
                ));
            }
            given.insert(task.name.clone(), cores);
        }
        if !given.is_empty() {
            holders.insert(alloc.id, given.clone());
        }
        Ok(given)
    }

    /// Notes what an allocation was given before.
    pub(crate) fn hold(&self, id: AllocId, given: &Given) {
        if !given.is_empty() {
            self.0.lock().insert(id, given.clone());
        }
    }

    /// Takes back what the allocation was given.
    pub(crate) fn release(&self, id: AllocId) {
        self.0.lock().remove(&id);
    }
}

/// Numbers as the kernel takes and gives them: `0-2,5`.
pub(crate) fn list(cores: &[u16]) -> String {
    let mut sorted = cores.to_vec();
    sorted.sort_unstable();
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for core in sorted {
        match runs.last_mut() {
            Some((_, last)) if core <= last.saturating_add(1) => *last = core,
            _ => runs.push((core, core)),
        }
    }
    let run = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::{Job, Task, TaskGroup};
    use std::sync::Arc;

    fn alloc(id: &str, cores: &[i64]) -> Allocation {
        let tasks = cores.iter().zip('a'..).map(|(cores, name)| {
            let mut task = Task {
                name: name.to_string().as_str().into(),
                ..Task::default()
            };
            task.resources.cores = *cores;
            task
        });
        let group = TaskGroup {
            name: "g".into(),
            tasks: tasks.collect(),
            ..TaskGroup::default()
        };
        Allocation {
            id: AllocId::named(id),
            task_group: "g".into(),
            job: Arc::new(Job {
                task_groups: vec![group].into(),
                ..Job::default()
            }),
            ..Allocation::default()
        }
    }

    #[test]
    fn nobody_is_given_what_another_has() {
        let cores = Cores::default();
        let all = [0, 1, 2, 3];
        let take = |id: &str, wanted: &[i64]| {
            let given = cores.take(&alloc(id, wanted), &all)?;
            Ok::<_, String>(given.values().map(|cores| list(cores)).collect::<Vec<_>>())
        };
        assert_eq!(take("a", &[1, 0, 2]).unwrap(), ["0", "1-2"]);
        // Asked again, it has the same.
        assert_eq!(take("a", &[1, 0, 2]).unwrap(), ["0", "1-2"]);
        let none = take("b", &[2]).unwrap_err();
        assert_eq!(none, "task `a` asks for 2 whole cores, and 1 of 4 are free");
        assert_eq!(take("b", &[1]).unwrap(), ["3"]);
        assert!(take("c", &[0]).unwrap().is_empty());
        cores.release(AllocId::named("a"));
        assert_eq!(take("c", &[3]).unwrap(), ["0-2"]);
        cores.release(AllocId::named("b"));
        cores.hold(AllocId::named("b"), &[("a".into(), vec![3])].into());
        assert!(take("d", &[1]).is_err());
    }

    #[test]
    fn lists_are_as_short_as_the_kernel_s() {
        assert_eq!(list(&[]), "");
        assert_eq!(list(&[5, 0, 2, 1]), "0-2,5");
        assert_eq!(list(&[7]), "7");
    }
}
