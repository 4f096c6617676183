//! Whom to evict so that something more important gets room.

use super::{
    fleet::{FleetNode, Leaving},
    ports,
};
use crate::{
    ids::Ids,
    model::{
        AllocId, AllocatedResources, Allocation, Ask, Capacity, EvalStatus, Evaluation, GroupName,
        HostPort, Job, JobKey, Node, NodeUsage, Plan, PlanAnnotations, Room, StoppedAlloc,
        TaskGroup, Trigger,
    },
    state::Snapshot,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How much less important a job must be for its room to be taken.
const PRIORITY_DISTANCE: i32 = 10;
/// Most allocations that are evicted for one.
const EVICTIONS_MAX: usize = 256;
/// What each allocation of a group costs more that is evicted beyond its `migrate.max_parallel`.
const BEYOND_PARALLEL: f64 = 50.0;

/// What a plan evicts.
#[derive(Debug, Default)]
pub(super) struct Preemptions {
    /// In the order in which it was decided.
    evicted: Vec<Arc<Allocation>>,
    ids: BTreeSet<AllocId>,
    /// Groups to how many of their allocations go.
    of_group: BTreeMap<(JobKey, GroupName), u32>,
    /// Groups of the job that is placed to how many others go for them.
    for_group: BTreeMap<GroupName, u64>,
}

/// Room on one node that others make.
#[derive(Debug)]
pub(super) struct Eviction {
    /// Never empty.
    pub(super) victims: Vec<Arc<Allocation>>,
    /// What the newcomer gets.
    pub(super) given: AllocatedResources,
    /// What is taken on the node without the victims.
    pub(super) without: NodeUsage,
}

impl Eviction {
    /// How good it is to evict these: 1 costs nothing, 0 is not worth it.
    pub(super) fn score(&self) -> f64 {
        let of_jobs: BTreeMap<JobKey, i32> = self
            .victims
            .iter()
            .map(|alloc| (alloc.job_key(), alloc.job.priority))
            .collect();
        let greatest = f64::from(of_jobs.values().copied().max().unwrap_or(0));
        let sum: f64 = of_jobs.values().copied().map(f64::from).sum();
        let net = if greatest > 0.0 {
            greatest + sum / greatest
        } else {
            0.0
        };
        1.0 / (1.0 + (0.0048 * (net - 2048.0)).exp())
    }
}

impl Preemptions {
    /// The least important allocations of the node that make room for the group, and as few of
    /// them as that takes. None when there are none, and while others of the node are stopping:
    /// nobody is evicted for room that comes back anyway.
    pub(super) fn find(
        &self,
        snapshot: &Snapshot,
        job: &Job,
        group: &TaskGroup,
        entry: &FleetNode<'_>,
    ) -> Option<Eviction> {
        let (node, key) = (&**entry.node, job.key());
        let mut candidates: Vec<&Arc<Allocation>> = Vec::new();
        for alloc in snapshot.live_allocs_of_node(node.id) {
            if alloc.server_terminal() {
                return None;
            }
            if self.ids.contains(&alloc.id) {
                continue;
            }
            if job.priority - alloc.job.priority >= PRIORITY_DISTANCE && alloc.job_key() != key {
                candidates.push(alloc);
            }
        }
        let mut search = Search {
            ask: Ask::of_group(group).on(node),
            capacity: Capacity::of(node),
            used: &entry.usage,
            freed: Ask::default(),
            chosen: Vec::new(),
        };
        search.take_ports(&Room::of(group, node).ports, &mut candidates)?;
        let for_ports = search.chosen.len();
        self.choose(&mut search, candidates)?;
        search.spare(for_ports);
        let victims: Vec<Arc<Allocation>> = search.chosen.into_iter().cloned().collect();
        if victims.is_empty() {
            return None;
        }
        let mut without = (*entry.usage).clone();
        for victim in &victims {
            without.remove(&victim.allocated_resources);
        }
        let given = ports::allocate(group, node, &without).ok()?;
        Some(Eviction {
            victims,
            given,
            without,
        })
    }

    /// Adds the least important candidates, and of those equally important the ones that come
    /// closest to what is still needed, until there is room.
    fn choose<'a>(
        &self,
        search: &mut Search<'a, '_>,
        candidates: Vec<&'a Arc<Allocation>>,
    ) -> Option<()> {
        let mut by_priority: BTreeMap<i32, Vec<&Arc<Allocation>>> = BTreeMap::new();
        for alloc in candidates {
            let of_priority = by_priority.entry(alloc.job.priority).or_default();
            of_priority.push(alloc);
        }
        let mut needed = search.ask;
        for mut candidates in by_priority.into_values() {
            while !candidates.is_empty() && !search.fits() {
                let cost = |alloc: &Allocation| {
                    distance(&needed, &taken(alloc)) + self.beyond_parallel(alloc)
                };
                let cheapest = candidates
                    .iter()
                    .enumerate()
                    .map(|(at, alloc)| (cost(alloc), at))
                    .min_by(|a, b| a.0.total_cmp(&b.0))
                    .map(|(_, at)| at)?;
                let alloc = candidates.remove(cheapest);
                needed = less(&needed, &taken(alloc));
                search.take(alloc);
                if search.chosen.len() > EVICTIONS_MAX {
                    return None;
                }
            }
        }
        search.fits().then_some(())
    }

    fn beyond_parallel(&self, alloc: &Allocation) -> f64 {
        let key = (alloc.job_key(), alloc.task_group.clone());
        let evicted = self.of_group.get(&key).copied().unwrap_or(0);
        let parallel = alloc
            .group()
            .and_then(|group| group.migrate.as_ref())
            .map_or(0, |migrate| migrate.max_parallel);
        if parallel > 0 && evicted >= parallel {
            f64::from(evicted + 1 - parallel) * BEYOND_PARALLEL
        } else {
            0.0
        }
    }

    /// Puts an eviction into the plan, for `alloc`.
    pub(super) fn evict(
        &mut self,
        victims: Vec<Arc<Allocation>>,
        plan: &mut Plan,
        alloc: &mut Allocation,
    ) {
        for victim in victims {
            plan.stops.push(StoppedAlloc {
                alloc_id: victim.id,
                node_id: victim.node_id,
                preempted_by: Some(alloc.id),
                ..StoppedAlloc::default()
            });
            alloc.preempted_allocations.push(victim.id);
            self.ids.insert(victim.id);
            let key = (victim.job_key(), victim.task_group.clone());
            *self.of_group.entry(key).or_default() += 1;
            *self.for_group.entry(alloc.task_group.clone()).or_default() += 1;
            self.evicted.push(victim);
        }
    }

    /// Takes every eviction out of the plan again.
    pub(super) fn undo(&mut self, plan: &mut Plan) {
        plan.stops.retain(|stop| stop.preempted_by.is_none());
        *self = Self::default();
    }

    /// Adds who goes, and how many for each group.
    pub(super) fn annotate(&self, annotations: &mut PlanAnnotations) {
        for (group, evicted) in &self.for_group {
            let counts = annotations.desired_tg_updates.get_or_default(group.clone());
            counts.preemptions += evicted;
        }
        let evicted = self.evicted.iter().map(|alloc| (&**alloc).into());
        annotations.preempted_allocs.extend(evicted);
    }

    /// An evaluation for each job that lost allocations.
    pub(super) fn evals(&self, snapshot: &Snapshot, ids: &mut Ids) -> Vec<Evaluation> {
        let jobs: BTreeSet<&JobKey> = self.of_group.keys().map(|(key, _)| key).collect();
        let jobs = jobs.into_iter().filter_map(|key| snapshot.job(key));
        jobs.map(|job| Evaluation {
            id: ids.next_eval(),
            namespace: job.namespace.clone(),
            priority: job.priority,
            job_type: job.job_type,
            triggered_by: Trigger::Preemption,
            job_id: job.id.clone(),
            job_modify_index: job.job_modify_index,
            status: EvalStatus::Pending,
            ..Evaluation::default()
        })
        .collect()
    }
}

/// True when others may be evicted on the node for an allocation of the group.
pub(super) fn possible(
    snapshot: &Snapshot,
    job: &Job,
    group: &TaskGroup,
    node: &Arc<Node>,
    used: &NodeUsage,
) -> bool {
    let entry = FleetNode {
        node,
        usage: Arc::new(used.clone()),
        class: None,
        leaving: Leaving::default(),
    };
    snapshot.scheduler_config().preempts(job.job_type)
        && Preemptions::default()
            .find(snapshot, job, group, &entry)
            .is_some()
}

/// Allocations of one node while they are chosen.
struct Search<'a, 'u> {
    ask: Ask,
    capacity: Capacity,
    used: &'u NodeUsage,
    /// What the chosen ones give back.
    freed: Ask,
    chosen: Vec<&'a Arc<Allocation>>,
}

impl<'a> Search<'a, '_> {
    fn fits(&self) -> bool {
        let still = less(&self.ask, &self.freed);
        self.capacity.exhausted(self.used, &still).is_none()
    }

    fn take(&mut self, alloc: &'a Arc<Allocation>) {
        self.freed = more(&self.freed, &taken(alloc));
        self.chosen.push(alloc);
    }

    /// Takes the candidates that hold one of the ports; none when somebody else holds one.
    fn take_ports(
        &mut self,
        ports: &[HostPort],
        candidates: &mut Vec<&'a Arc<Allocation>>,
    ) -> Option<()> {
        for port in ports.iter().filter(|port| self.used.holds(**port)) {
            let holds = |alloc: &Arc<Allocation>| {
                let mut held = alloc.allocated_resources.host_ports();
                held.any(|(_, of_alloc)| of_alloc == *port)
            };
            if self.chosen.iter().any(|alloc| holds(alloc)) {
                continue;
            }
            let at = candidates.iter().position(|alloc| holds(alloc))?;
            self.take(candidates.remove(at));
        }
        Some(())
    }

    /// Lets go whoever is not needed after all, the most important first; the first `kept` are.
    fn spare(&mut self, kept: usize) {
        let mut order: Vec<usize> = (kept..self.chosen.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(self.chosen[*at].job.priority));
        let mut spared = BTreeSet::new();
        for at in order {
            let before = self.freed;
            self.freed = less(&self.freed, &taken(self.chosen[at]));
            if self.fits() {
                spared.insert(at);
            } else {
                self.freed = before;
            }
        }
        let mut at = 0;
        self.chosen.retain(|_| {
            at += 1;
            !spared.contains(&(at - 1))
        });
    }
}

fn taken(alloc: &Allocation) -> Ask {
    let total = alloc.allocated_resources.total();
    Ask {
        cpu: total.cpu,
        memory_mb: total.memory_mb,
        disk_mb: total.disk_mb,
        cores: 0,
    }
}

fn less(a: &Ask, b: &Ask) -> Ask {
    Ask {
        cpu: a.cpu - b.cpu,
        memory_mb: a.memory_mb - b.memory_mb,
        disk_mb: a.disk_mb - b.disk_mb,
        cores: 0,
    }
}

fn more(a: &Ask, b: &Ask) -> Ask {
    Ask {
        cpu: a.cpu + b.cpu,
        memory_mb: a.memory_mb + b.memory_mb,
        disk_mb: a.disk_mb + b.disk_mb,
        cores: 0,
    }
}

/// How far what is taken is from what is needed; 0 is the same.
fn distance(needed: &Ask, taken: &Ask) -> f64 {
    let part = |needed: i64, taken: i64| {
        if needed > 0 {
            ((needed - taken) as f64 / needed as f64).powi(2)
        } else {
            0.0
        }
    };
    let sum = part(needed.cpu, taken.cpu)
        + part(needed.memory_mb, taken.memory_mb)
        + part(needed.disk_mb, taken.disk_mb);
    sum.sqrt()
}

#[cfg(test)]
mod tests {
    use super::{Eviction, distance};
    use crate::model::{AllocatedResources, Allocation, Ask, Job, NodeUsage};
    use std::sync::Arc;

    fn eviction(jobs: &[(&str, i32)]) -> Eviction {
        let of_job = |&(id, priority): &(&str, i32)| {
            Arc::new(Allocation {
                job_id: id.into(),
                job: Arc::new(Job {
                    id: id.into(),
                    priority,
                    ..Job::default()
                }),
                ..Allocation::default()
            })
        };
        Eviction {
            victims: jobs.iter().map(of_job).collect(),
            given: AllocatedResources::default(),
            without: NodeUsage::default(),
        }
    }

    #[test]
    fn the_less_important_the_better() {
        let low = eviction(&[("a", 10)]).score();
        let high = eviction(&[("b", 70)]).score();
        assert!(0.99 < high && high < low && low < 1.0, "{low} {high}");
        let twice = eviction(&[("a", 10), ("a", 10)]).score();
        assert!((twice - low).abs() < 1e-12, "a job counts once");
        let both = eviction(&[("a", 10), ("c", 10)]).score();
        assert!(both < low);
    }

    #[test]
    fn the_distance_is_that_of_each_resource_together() {
        let ask = |cpu, memory_mb, disk_mb| Ask {
            cpu,
            memory_mb,
            disk_mb,
            cores: 0,
        };
        let needed = ask(1000, 500, 0);
        assert!(distance(&needed, &ask(1000, 500, 7)) == 0.0);
        assert!((distance(&needed, &ask(500, 500, 0)) - 0.5).abs() < 1e-12);
        assert!((distance(&needed, &ask(0, 0, 0)) - 2_f64.sqrt()).abs() < 1e-12);
    }
}
