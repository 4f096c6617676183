//! Where an allocation's instances belong in the catalog.

use jobs::model::{Allocation, TaskName};
use std::collections::BTreeMap;

use super::{Instance, Rules};

/// Where an instance of an allocation belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogPresence {
    /// Not in the catalog.
    Absent,
    /// In the catalog and in no view.
    Draining,
    /// In the catalog.
    Listed,
}

impl CatalogPresence {
    /// Where `instance` of `alloc` belongs now, by the rules of the cluster.
    pub fn of(rules: Rules, alloc: &Allocation, instance: &Instance) -> Self {
        match rules {
            Rules::First | Rules::Second | Rules::Third | Rules::Fourth => {
                Self::first(alloc, instance)
            }
            #[cfg(feature = "next")]
            Rules::Fifth => Self::first(alloc, instance),
        }
    }

    fn first(alloc: &Allocation, instance: &Instance) -> Self {
        if alloc.client_terminal() || !instance.is_live(alloc) {
            Self::Absent
        } else if alloc.server_terminal() {
            Self::Draining
        } else {
            Self::Listed
        }
    }
}

/// True when the job of the allocation asks for any service.
pub fn has_services(alloc: &Allocation) -> bool {
    alloc.group().is_some_and(|group| {
        !group.services.is_empty() || group.tasks.iter().any(|task| !task.services.is_empty())
    })
}

/// True when the process behind the instance is another one than before, even if no report in
/// between said that it was not running; by the rules of the cluster.
pub fn has_restarted(
    rules: Rules,
    before: &Allocation,
    after: &Allocation,
    instance: &Instance,
) -> bool {
    match rules {
        Rules::First | Rules::Second | Rules::Third | Rules::Fourth => {
            first_has_restarted(before, after, instance)
        }
        #[cfg(feature = "next")]
        Rules::Fifth => first_has_restarted(before, after, instance),
    }
}

fn first_has_restarted(before: &Allocation, after: &Allocation, instance: &Instance) -> bool {
    let restarts = |alloc: &Allocation| -> BTreeMap<TaskName, u64> {
        alloc
            .task_states
            .iter()
            .filter(|(name, _)| instance.task.as_ref().is_none_or(|task| *name == task))
            .map(|(name, state)| (name.clone(), state.restarts))
            .collect()
    };
    let (before, after) = (restarts(before), restarts(after));
    after
        .iter()
        .any(|(name, count)| before.get(name).is_some_and(|earlier| earlier != count))
}
