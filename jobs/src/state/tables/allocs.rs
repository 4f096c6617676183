//! Allocations, and what they take on their nodes.

use super::{by_prefix, of_job};
use crate::{
    model::{
        AllocId, Allocation, DeploymentId, EvalId, GroupSummary, Id, JobKey, Kind, NodeId,
        NodeUsage, dynamic_ports,
    },
    state::{AllocChange, Snapshot, Table, change::Change, tally},
};
use imbl::OrdSet;
use std::{ops::Bound, sync::Arc};

impl Snapshot {
    /// An allocation.
    pub fn alloc(&self, id: AllocId) -> Option<&Arc<Allocation>> {
        self.allocs.get(&id)
    }

    /// Allocations whose id begins with `prefix`.
    pub fn allocs<'a>(
        &'a self,
        prefix: &str,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> + use<'a> {
        by_prefix(&self.allocs, prefix)
    }

    /// Allocations of a job, terminal ones included.
    pub fn allocs_of_job<'a>(
        &'a self,
        key: &JobKey,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> + use<'a> {
        of_job(&self.allocs_by_job, &self.allocs, key)
    }

    /// Allocations of a node, terminal ones included.
    pub fn allocs_of_node<'a>(
        &'a self,
        node_id: NodeId,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> + use<'a> {
        self.of_node(node_id)
            .take_while(move |(node, _, _)| *node == node_id)
            .filter_map(|(_, _, id)| self.allocs.get(id))
    }

    /// Allocations of a node that its client may still run, wanted or not.
    pub fn live_allocs_of_node<'a>(
        &'a self,
        node_id: NodeId,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> + use<'a> {
        self.of_node(node_id)
            .take_while(move |(node, over, _)| *node == node_id && !over)
            .filter_map(|(_, _, id)| self.allocs.get(id))
    }

    fn of_node(&self, node_id: NodeId) -> impl Iterator<Item = &(NodeId, bool, AllocId)> {
        let start = (node_id, false, AllocId::default());
        self.allocs_by_node
            .range((Bound::Included(start), Bound::Unbounded))
    }

    /// Allocations that an evaluation placed.
    pub fn allocs_of_eval<'a>(
        &'a self,
        eval_id: EvalId,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> + use<'a> {
        self.allocs_of(&self.allocs_by_eval, eval_id)
    }

    /// Allocations of a deployment.
    pub fn allocs_of_deployment<'a>(
        &'a self,
        deployment_id: DeploymentId,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> + use<'a> {
        self.allocs_of(&self.allocs_by_deployment, deployment_id)
    }

    fn allocs_of<'a, K: Kind>(
        &'a self,
        index: &'a OrdSet<(Id<K>, AllocId)>,
        wanted: Id<K>,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> + use<'a, K> {
        index
            .range((wanted, AllocId::default())..)
            .take_while(move |(of, _)| *of == wanted)
            .filter_map(|(_, alloc)| self.allocs.get(alloc))
    }
}

impl Snapshot {
    /// Writes an allocation that a server changed, so that its client hears of it.
    pub(in crate::state) fn put_server_change(
        &mut self,
        change: &mut Change,
        mut alloc: Allocation,
    ) {
        alloc.modify_index = change.at.index;
        alloc.alloc_modify_index = change.at.index;
        alloc.modify_time = change.at.now;
        self.put_alloc(change, alloc);
    }

    /// Writes an allocation; the caller has set its indexes and times.
    pub(in crate::state) fn put_alloc(&mut self, change: &mut Change, mut alloc: Allocation) {
        let before = self.allocs.get(&alloc.id).cloned();
        let before_ref = before.as_deref();
        // An id belongs to the job and node that came first.
        let foreign = before_ref.is_some_and(|b| {
            b.job_id != alloc.job_id || b.namespace != alloc.namespace || b.node_id != alloc.node_id
        });
        if foreign {
            return;
        }
        let key = self.job_key(&alloc.namespace, &alloc.job_id);
        self.index_alloc(&key, before_ref, &alloc);
        self.count_usage(before_ref, &alloc);
        self.count_summary(change, &key, before_ref, &alloc);
        self.count_deployment(change, before_ref, &alloc);
        let tally = self.tallies.entry(Arc::clone(&key)).or_default();
        tally.allocs += u64::from(before.is_none());
        tally.live_allocs += u64::from(!alloc.is_terminal());
        tally.live_allocs -= u64::from(before_ref.is_some_and(|b| !b.is_terminal()));
        alloc.share_names();
        let after = Arc::new(alloc);
        self.allocs.insert(after.id, Arc::clone(&after));
        change.touch(Table::Allocs);
        change.applied.allocs.push(AllocChange {
            before,
            after: Some(after),
        });
        change.touched_jobs.insert(key);
    }

    pub(in crate::state) fn index_alloc(
        &mut self,
        key: &Arc<JobKey>,
        before: Option<&Allocation>,
        alloc: &Allocation,
    ) {
        let (id, done) = (alloc.id, alloc.client_terminal());
        if before.is_none() {
            self.allocs_by_job.insert((Arc::clone(key), id));
        }
        if before.is_none_or(|b| b.eval_id != alloc.eval_id) {
            if let Some(before) = before {
                self.allocs_by_eval.remove(&(before.eval_id, id));
            }
            self.allocs_by_eval.insert((alloc.eval_id, id));
        }
        if before.is_none_or(|b| b.client_terminal() != done) {
            if before.is_some() {
                self.allocs_by_node.remove(&(alloc.node_id, !done, id));
            }
            self.allocs_by_node.insert((alloc.node_id, done, id));
        }
        let deployment_before = before.and_then(|b| b.deployment_id);
        if deployment_before != alloc.deployment_id {
            if let Some(stale) = deployment_before {
                self.allocs_by_deployment.remove(&(stale, id));
            }
            if let Some(deployment_id) = alloc.deployment_id {
                self.allocs_by_deployment.insert((deployment_id, id));
            }
        }
    }

    fn count_usage(&mut self, before: Option<&Allocation>, alloc: &Allocation) {
        let took = before.filter(|b| !b.client_terminal());
        let takes = !alloc.client_terminal();
        if took.is_none() && !takes {
            return;
        }
        if let Some(before) = took
            && takes
            && before.allocated_resources == alloc.allocated_resources
        {
            return;
        }
        let range = self
            .nodes
            .get(&alloc.node_id)
            .map(|node| dynamic_ports(node));
        let usage = Arc::make_mut(self.usage.entry(alloc.node_id).or_default());
        if let Some(before) = took {
            usage.remove(&before.allocated_resources);
        }
        if takes {
            usage.add(&alloc.allocated_resources);
            if before.is_none()
                && let Some((low, high)) = range
            {
                advance_cursor(usage, alloc, low, high);
            }
        }
    }

    fn count_summary(
        &mut self,
        change: &mut Change,
        key: &JobKey,
        before: Option<&Allocation>,
        alloc: &Allocation,
    ) {
        if before.is_some_and(|b| b.client_status == alloc.client_status) {
            return;
        }
        let Some(row) = self.summaries.get_mut(key) else {
            return;
        };
        let summary = Arc::make_mut(row);
        summary.modify_index = change.at.index;
        let counts: &mut GroupSummary = summary.summary.get_or_default(alloc.task_group.clone());
        if let Some(before) = before {
            let count = tally::bucket(counts, before);
            *count = count.saturating_sub(1);
        }
        *tally::bucket(counts, alloc) += 1;
        change.touch(Table::Summaries);
    }

    pub(in crate::state) fn remove_alloc(&mut self, change: &mut Change, id: AllocId) {
        if !self.allocs.get(&id).is_some_and(|a| a.client_terminal()) {
            return;
        }
        let Some(row) = self.allocs.remove(&id) else {
            return;
        };
        let key = self.job_key(&row.namespace, &row.job_id);
        self.allocs_by_job.remove(&(Arc::clone(&key), id));
        self.allocs_by_node.remove(&(row.node_id, true, id));
        self.allocs_by_eval.remove(&(row.eval_id, id));
        if let Some(deployment_id) = row.deployment_id {
            self.allocs_by_deployment.remove(&(deployment_id, id));
        }
        if let Some(tally) = self.tallies.get_mut(&key) {
            tally.allocs -= 1;
            tally.live_allocs -= u64::from(!row.is_terminal());
        }
        change.touch(Table::Allocs);
        change.applied.allocs.push(AllocChange {
            before: Some(row),
            after: None,
        });
        change.touched_jobs.insert(key);
    }
}

/// Lets the search for the next dynamic port begin behind the newest one.
fn advance_cursor(usage: &mut NodeUsage, alloc: &Allocation, low: u16, high: u16) {
    let newest = alloc
        .allocated_resources
        .ports()
        .map(|(_, port)| port)
        .filter(|port| (low..=high).contains(port))
        .last();
    if let Some(port) = newest {
        usage.port_cursor = if port >= high { low } else { port + 1 };
    }
}
