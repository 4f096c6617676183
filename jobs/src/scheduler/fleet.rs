//! The nodes that a job may use, with what is taken on them as the plan grows.

use super::feasible::{self, Unfit};
use crate::{
    model::{
        AllocatedResources, Allocation, FlatMap, Job, Node, NodeId, NodeUsage, SchedulerAlgorithm,
        Text, dynamic_ports,
    },
    state::Snapshot,
};
use std::{collections::BTreeMap, sync::Arc};

/// One node.
pub(super) struct FleetNode<'a> {
    pub(super) node: &'a Arc<Node>,
    /// With what the plan adds and gives back.
    pub(super) usage: Arc<NodeUsage>,
    /// Number of its class in this fleet: nodes with the same one differ in nothing but what is
    /// unique.
    pub(super) class: Option<usize>,
    /// What is taken, and will not be for long: scores look beyond it, room does not.
    pub(super) leaving: Leaving,
}

/// What those take that leave a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaving {
    /// MHz.
    pub(super) cpu: i64,
    /// MiB.
    pub(super) memory_mb: i64,
}

/// The ready nodes in the job's datacenters and pool.
pub(super) struct Fleet<'a> {
    /// In order of ids.
    pub(super) nodes: Vec<FleetNode<'a>>,
    /// Ready nodes by datacenter.
    pub(super) available: FlatMap<Text, u32>,
    /// Nodes of the pool, ready or not.
    pub(super) in_pool: u32,
    /// Which of its nodes are preferred.
    pub(super) algorithm: SchedulerAlgorithm,
    /// Classes of its nodes that the evaluation found unfit.
    pub(super) unfit: Unfit,
}

impl<'a> Fleet<'a> {
    /// No nodes, for plans that place nothing.
    pub(super) fn empty() -> Self {
        Self {
            nodes: Vec::new(),
            available: FlatMap::new(),
            in_pool: 0,
            algorithm: SchedulerAlgorithm::default(),
            unfit: Unfit::default(),
        }
    }

    pub(super) fn new(snapshot: &'a Snapshot, job: &Job) -> Self {
        let mut fleet = Self {
            nodes: Vec::new(),
            available: FlatMap::new(),
            in_pool: 0,
            algorithm: snapshot.scheduler_config().scheduler_algorithm,
            unfit: Unfit::default(),
        };
        let mut classes = BTreeMap::new();
        for (node, usage) in snapshot.nodes_with_usage() {
            if !feasible::in_pool(job, node) {
                continue;
            }
            fleet.in_pool += 1;
            if !node.is_ready() || !feasible::in_reach(job, node) {
                continue;
            }
            match fleet.available.get_mut(node.datacenter.as_str()) {
                Some(count) => *count += 1,
                None => {
                    fleet.available.insert(node.datacenter.as_str().into(), 1);
                }
            }
            let usage = usage.cloned().unwrap_or_default();
            let class = (!node.computed_class.is_empty()).then(|| {
                let next = classes.len();
                *classes.entry(node.computed_class.as_str()).or_insert(next)
            });
            fleet.nodes.push(FleetNode {
                node,
                usage,
                class,
                leaving: Leaving::default(),
            });
        }
        fleet
    }

    pub(super) fn position(&self, node_id: NodeId) -> Option<usize> {
        let by_id = |entry: &FleetNode<'_>| entry.node.id.cmp(&node_id);
        self.nodes.binary_search_by(by_id).ok()
    }

    /// Counts what the plan places. Returns where.
    pub(super) fn add(&mut self, at: usize, given: &AllocatedResources) {
        if let Some(entry) = self.nodes.get_mut(at) {
            let usage = Arc::make_mut(&mut entry.usage);
            usage.add(given);
            let (low, high) = dynamic_ports(entry.node);
            if let Some((_, port)) = given
                .ports()
                .filter(|(_, port)| (low..=high).contains(port))
                .last()
            {
                usage.port_cursor = if port == high { low } else { port + 1 };
            }
        }
    }

    /// Counts what the plan places in the room of others that it evicts. What they leave over is
    /// nobody's until they are over.
    pub(super) fn add_for_evicted(
        &mut self,
        at: usize,
        without: NodeUsage,
        given: &AllocatedResources,
    ) {
        if let Some(entry) = self.nodes.get_mut(at) {
            let before = std::mem::replace(&mut entry.usage, Arc::new(without));
            self.add(at, given);
            if let Some(entry) = self.nodes.get_mut(at) {
                Arc::make_mut(&mut entry.usage).raise_to(&before);
            }
        }
    }

    /// Gives back what an allocation takes that the plan stops. Returns where.
    pub(super) fn release(&mut self, alloc: &Allocation) -> Option<usize> {
        let at = self.release_position(alloc)?;
        let entry = self.nodes.get_mut(at)?;
        Arc::make_mut(&mut entry.usage).remove(&alloc.allocated_resources);
        Some(at)
    }

    /// Lets scores look beyond an allocation that goes on for a while. Returns where.
    pub(super) fn leave(&mut self, alloc: &Allocation) -> Option<usize> {
        let at = self.release_position(alloc)?;
        let taken = taken(alloc);
        let leaving = &mut self.nodes.get_mut(at)?.leaving;
        leaving.cpu += taken.cpu;
        leaving.memory_mb += taken.memory_mb;
        Some(at)
    }

    /// Takes that back.
    pub(super) fn stay(&mut self, at: usize, alloc: &Allocation) {
        let taken = taken(alloc);
        if let Some(entry) = self.nodes.get_mut(at) {
            entry.leaving.cpu -= taken.cpu;
            entry.leaving.memory_mb -= taken.memory_mb;
        }
    }

    /// Takes a release back.
    pub(super) fn restore(&mut self, at: usize, alloc: &Allocation) {
        if let Some(entry) = self.nodes.get_mut(at) {
            Arc::make_mut(&mut entry.usage).add(&alloc.allocated_resources);
        }
    }

    fn release_position(&self, alloc: &Allocation) -> Option<usize> {
        if alloc.client_terminal() {
            return None;
        }
        self.position(alloc.node_id)
    }
}

/// What an allocation takes.
fn taken(alloc: &Allocation) -> NodeUsage {
    let mut usage = NodeUsage::default();
    usage.add(&alloc.allocated_resources);
    usage
}
