use crate::model::{AllocName, Allocation};
use std::collections::BTreeSet;

/// Which numbers of a group's names are in use.
#[derive(Debug, Default)]
pub(super) struct Names {
    used: BTreeSet<u32>,
    /// Every number below it is in use.
    free: u32,
}

impl Names {
    pub(super) fn take(&mut self, alloc: &Allocation) {
        if let Some(index) = alloc.name_index() {
            self.used.insert(index);
        }
    }

    /// The lowest free number.
    pub(super) fn next_index(&mut self) -> u32 {
        while !self.used.insert(self.free) {
            self.free += 1;
        }
        self.free
    }
}

pub(super) fn name(job_id: &str, group: &str, index: u32) -> AllocName {
    AllocName::from(format!("{job_id}.{group}[{index}]"))
}
