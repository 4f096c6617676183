use crate::model::Allocation;
use std::collections::BTreeSet;

/// Which numbers of a group's names are in use.
#[derive(Debug, Default)]
pub(super) struct Names {
    used: BTreeSet<u32>,
}

impl Names {
    pub(super) fn take(&mut self, alloc: &Allocation) {
        if let Some(index) = alloc.name_index() {
            self.used.insert(index);
        }
    }

    /// The lowest free number.
    pub(super) fn next_index(&mut self) -> u32 {
        let mut free = 0;
        for used in &self.used {
            if *used != free {
                break;
            }
            free += 1;
        }
        self.used.insert(free);
        free
    }
}

pub(super) fn name(job_id: &str, group: &str, index: u32) -> String {
    format!("{job_id}.{group}[{index}]")
}
