//! Reading. Lists come in key order and borrow from the state.

use super::{State, Table};
use crate::model::{
    AllocId, Allocation, Deployment, DeploymentId, EvalId, Evaluation, Id, Index, Job, JobKey,
    JobSummary, Kind, Node, NodeId, ScalingEvent, Submission,
};
use imbl::{OrdMap, OrdSet};
use std::{ops::Bound, sync::Arc};

impl State {
    /// Index of the last entry that changed anything here.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Index of the last change of that table; 0 when it never changed.
    pub fn table_index(&self, table: Table) -> Index {
        self.table_indexes.get(&table).copied().unwrap_or(0)
    }

    /// The current version of a job.
    pub fn job(&self, key: &JobKey) -> Option<&Arc<Job>> {
        self.jobs.get(key)
    }

    /// Jobs in key order; `namespace` none is all, `prefix` is of the id.
    pub fn jobs<'a>(
        &'a self,
        namespace: Option<&'a str>,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Job>> {
        let start = JobKey::new(
            namespace.unwrap_or(""),
            if namespace.is_some() { prefix } else { "" },
        );
        self.jobs
            .range::<_, JobKey>((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(key, _)| {
                namespace.is_none_or(|n| key.namespace == n && key.id.starts_with(prefix))
            })
            .filter(move |(key, _)| key.id.starts_with(prefix))
            .map(|(_, job)| job)
    }

    /// Versions kept of a job, newest first.
    pub fn versions(&self, key: &JobKey) -> &[Arc<Job>] {
        self.versions.get(key).map_or(&[], |versions| versions)
    }

    /// One version of a job, if it is still kept.
    pub fn version(&self, key: &JobKey, version: u64) -> Option<&Arc<Job>> {
        self.versions(key).iter().find(|job| job.version == version)
    }

    /// The text a version was registered with.
    pub fn submission(&self, key: &JobKey, version: u64) -> Option<&Arc<Submission>> {
        let (shared, _) = self.jobs.get_key_value(key)?;
        self.submissions.get(&(Arc::clone(shared), version))
    }

    /// Counts of a job's allocations.
    pub fn summary(&self, key: &JobKey) -> Option<&Arc<JobSummary>> {
        self.summaries.get(key)
    }

    /// Scaling events of a group, newest first.
    pub fn scaling_events(&self, key: &JobKey, group: &str) -> &[ScalingEvent] {
        self.scaling_events
            .get(key)
            .and_then(|groups| groups.get(group))
            .map_or(&[], Vec::as_slice)
    }

    /// An evaluation.
    pub fn eval(&self, id: EvalId) -> Option<&Arc<Evaluation>> {
        self.evals.get(&id)
    }

    /// Evaluations whose id begins with `prefix`.
    pub fn evals<'a>(
        &'a self,
        prefix: &str,
    ) -> impl Iterator<Item = &'a Arc<Evaluation>> + use<'a> {
        by_prefix(&self.evals, prefix)
    }

    /// Evaluations of a job.
    pub fn evals_of_job<'a>(
        &'a self,
        key: &JobKey,
    ) -> impl Iterator<Item = &'a Arc<Evaluation>> + use<'a> {
        of_job(&self.evals_by_job, &self.evals, key)
    }

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

    /// A deployment.
    pub fn deployment(&self, id: DeploymentId) -> Option<&Arc<Deployment>> {
        self.deployments.get(&id)
    }

    /// Deployments whose id begins with `prefix`.
    pub fn deployments<'a>(
        &'a self,
        prefix: &str,
    ) -> impl Iterator<Item = &'a Arc<Deployment>> + use<'a> {
        by_prefix(&self.deployments, prefix)
    }

    /// Deployments of a job.
    pub fn deployments_of_job<'a>(
        &'a self,
        key: &JobKey,
    ) -> impl Iterator<Item = &'a Arc<Deployment>> + use<'a> {
        of_job(&self.deployments_by_job, &self.deployments, key)
    }

    /// The newest deployment of a job.
    pub fn latest_deployment(&self, key: &JobKey) -> Option<&Arc<Deployment>> {
        self.deployments_of_job(key)
            .max_by_key(|deployment| (deployment.create_index, deployment.job_version))
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// Nodes whose id begins with `prefix`.
    pub fn nodes<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a Arc<Node>> + use<'a> {
        by_prefix(&self.nodes, prefix)
    }
}

/// Rows whose id begins with the text; none when no id can begin so.
fn by_prefix<'a, K: Kind, V>(
    table: &'a OrdMap<Id<K>, V>,
    prefix: &str,
) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
    let range = Id::with_prefix(prefix);
    range
        .into_iter()
        .flat_map(|range| table.range(range))
        .map(|(_, row)| row)
}

fn of_job<'a, K: Kind, V>(
    index: &'a OrdSet<(Arc<JobKey>, Id<K>)>,
    table: &'a OrdMap<Id<K>, V>,
    key: &JobKey,
) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
    let wanted = Arc::new(key.clone());
    index
        .range((Arc::clone(&wanted), Id::default())..)
        .take_while(move |(of, _)| *of == wanted)
        .filter_map(move |(_, id)| table.get(id))
}
