use super::State;
use crate::model::{
    Allocation, Deployment, Evaluation, Job, JobKey, JobSummary, Node, ScalingEvent, Submission,
};
use std::sync::Arc;

impl State {
    /// The current version of a job.
    pub fn job(&self, key: &JobKey) -> Option<&Arc<Job>> {
        todo!()
    }
    /// Jobs in key order; `namespace` none is all, `prefix` is of the id.
    pub fn jobs<'a>(
        &'a self,
        namespace: Option<&'a str>,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Job>> {
        std::iter::empty()
    }
    /// Versions kept of a job, newest first.
    pub fn versions(&self, key: &JobKey) -> &[Arc<Job>] {
        todo!()
    }
    /// One version of a job.
    pub fn version(&self, key: &JobKey, version: u64) -> Option<&Arc<Job>> {
        todo!()
    }
    /// The text a version was registered with.
    pub fn submission(&self, key: &JobKey, version: u64) -> Option<&Arc<Submission>> {
        todo!()
    }
    /// Counts of a job's allocations.
    pub fn summary(&self, key: &JobKey) -> Option<&Arc<JobSummary>> {
        todo!()
    }
    /// Scaling events of a job by group, newest first.
    pub fn scaling_events(&self, key: &JobKey, group: &str) -> &[ScalingEvent] {
        todo!()
    }
    /// An evaluation.
    pub fn eval(&self, id: &str) -> Option<&Arc<Evaluation>> {
        todo!()
    }
    /// Evaluations whose id begins with `prefix`, in id order.
    pub fn evals<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Evaluation>> {
        std::iter::empty()
    }
    /// Evaluations of a job.
    pub fn evals_of_job<'a>(
        &'a self,
        key: &'a JobKey,
    ) -> impl Iterator<Item = &'a Arc<Evaluation>> {
        std::iter::empty()
    }
    /// An allocation.
    pub fn alloc(&self, id: &str) -> Option<&Arc<Allocation>> {
        todo!()
    }
    /// Allocations whose id begins with `prefix`, in id order.
    pub fn allocs<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Allocation>> {
        std::iter::empty()
    }
    /// Allocations of a job, terminal ones included.
    pub fn allocs_of_job<'a>(
        &'a self,
        key: &'a JobKey,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> {
        std::iter::empty()
    }
    /// Allocations of a node, terminal ones included.
    pub fn allocs_of_node<'a>(
        &'a self,
        node_id: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> {
        std::iter::empty()
    }
    /// Allocations of a node that its client may still run.
    pub fn live_allocs_of_node<'a>(
        &'a self,
        node_id: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> {
        std::iter::empty()
    }
    /// Allocations that an evaluation placed.
    pub fn allocs_of_eval<'a>(
        &'a self,
        eval_id: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> {
        std::iter::empty()
    }
    /// Allocations of a deployment.
    pub fn allocs_of_deployment<'a>(
        &'a self,
        deployment_id: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> {
        std::iter::empty()
    }
    /// A deployment.
    pub fn deployment(&self, id: &str) -> Option<&Arc<Deployment>> {
        todo!()
    }
    /// Deployments whose id begins with `prefix`, in id order.
    pub fn deployments<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Deployment>> {
        std::iter::empty()
    }
    /// Deployments of a job.
    pub fn deployments_of_job<'a>(
        &'a self,
        key: &'a JobKey,
    ) -> impl Iterator<Item = &'a Arc<Deployment>> {
        std::iter::empty()
    }
    /// The newest deployment of a job.
    pub fn latest_deployment(&self, key: &JobKey) -> Option<&Arc<Deployment>> {
        todo!()
    }
    /// A node.
    pub fn node(&self, id: &str) -> Option<&Arc<Node>> {
        todo!()
    }
    /// Nodes whose id begins with `prefix`, in id order.
    pub fn nodes<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Node>> {
        std::iter::empty()
    }
}
