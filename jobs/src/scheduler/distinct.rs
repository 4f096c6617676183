//! Constraints that ask for different hosts or values.

use super::feasible;
use crate::model::{Constraint, Job, Node, TaskGroup};
use std::{borrow::Cow, collections::BTreeMap};

/// `distinct_hosts` and `distinct_property` of a group.
#[derive(Default)]
pub(super) struct Distinct {
    hosts_of_job: bool,
    hosts_of_group: bool,
    properties: Vec<Property>,
}

struct Property {
    target: String,
    at_most: u32,
    /// Value by candidate; none is infeasible.
    values: Vec<Option<String>>,
    used: BTreeMap<String, u32>,
}

impl Distinct {
    /// For these candidates, with the allocations of the group and of the whole job on each.
    pub(super) fn new(
        job: &Job,
        group: &TaskGroup,
        nodes: &[&Node],
        own: &[u32],
        job_own: &[u32],
    ) -> Self {
        let mut distinct = Self::default();
        let of_job = job.constraints.iter().map(|c| (c, true));
        let of_group = group.constraints.iter().map(|c| (c, false));
        for (constraint, of_job) in of_job
            .chain(of_group)
            .filter(|(c, _)| feasible::is_distinct(c))
        {
            if constraint.operand == "distinct_property" {
                let counts = if of_job { job_own } else { own };
                distinct
                    .properties
                    .push(Property::new(constraint, nodes, counts));
            } else if constraint.r_target != "false" {
                distinct.hosts_of_job |= of_job;
                distinct.hosts_of_group |= !of_job;
            }
        }
        distinct
    }

    /// True when nothing is asked.
    pub(super) fn is_empty(&self) -> bool {
        !self.hosts_of_job && !self.hosts_of_group && self.properties.is_empty()
    }

    /// Why the candidate takes no more.
    pub(super) fn refusal(&self, at: usize, own: u32, job_own: u32) -> Option<String> {
        if (self.hosts_of_job && job_own > 0) || (self.hosts_of_group && own > 0) {
            return Some("distinct_hosts".into());
        }
        self.properties.iter().find_map(|p| p.refusal(at))
    }

    /// Counts an allocation that was placed on the candidate, or one taken back.
    pub(super) fn count(&mut self, at: usize, placed: bool) {
        for property in &mut self.properties {
            if let Some(Some(value)) = property.values.get(at) {
                let used = property.used.entry(value.clone()).or_default();
                *used = if placed {
                    *used + 1
                } else {
                    used.saturating_sub(1)
                };
            }
        }
    }
}

impl Property {
    fn new(constraint: &Constraint, nodes: &[&Node], counts: &[u32]) -> Self {
        let value = |node: &&Node| node.resolve(&constraint.l_target).map(Cow::into_owned);
        let values: Vec<Option<String>> = nodes.iter().map(value).collect();
        let mut used: BTreeMap<String, u32> = BTreeMap::new();
        for (value, count) in values.iter().zip(counts) {
            if let Some(value) = value {
                *used.entry(value.clone()).or_default() += count;
            }
        }
        Self {
            target: constraint.l_target.clone(),
            at_most: constraint.r_target.parse().unwrap_or(1),
            values,
            used,
        }
    }

    fn refusal(&self, at: usize) -> Option<String> {
        let target = self.target.trim_start_matches("${").trim_end_matches('}');
        let Some(value) = self.values.get(at).and_then(Option::as_ref) else {
            return Some(format!("distinct_property: missing property \"{target}\""));
        };
        let used = self.used.get(value).copied().unwrap_or(0);
        (used >= self.at_most)
            .then(|| format!("distinct_property: {target}={value} used by {used} allocs"))
    }
}
