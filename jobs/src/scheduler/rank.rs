//! Which of the nodes with room is the best.

use super::{
    distinct::Distinct,
    feasible::{self, Feasibility},
    fleet::{Fleet, Leaving},
    preempt::Eviction,
    ranking::{Ranking, Standing},
    spread::Spreads,
};
use crate::{
    ids::Ids,
    model::{
        Affinity, AllocMetric, Ask, Capacity, FlatMap, Job, Node, NodeId, NodeScore, NodeUsage,
        SchedulerAlgorithm, TaskGroup, Text,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// How many nodes a metric shows with their scores.
const SCORES_SHOWN_MAX: usize = 5;
/// Choices after which the candidates are put in order: sooner, one pass over all is cheaper.
const CHOICES_MAX: u32 = 4;
/// Combinations of spread values up to which an order pays.
const COMBOS_MAX: usize = 256;
/// Score of a node without room.
const NO_ROOM: f64 = f64::NEG_INFINITY;

/// The nodes that may run one group, with scores that are kept up to date as the plan grows.
///
/// Scores are columns: choosing is one pass over numbers, and a look at the firsts of some ordered
/// sets once there are many choices. Ties go to the first in a shuffled order.
pub(super) struct Candidates {
    /// Position in the fleet.
    fleet_at: Vec<usize>,
    /// Fleet position to position here.
    by_fleet: Vec<Option<usize>>,
    /// Choices made so far.
    choices: u32,
    /// The order, once there were many choices.
    ranking: Option<Ranking>,
    ask: Ask,
    /// Sum of the parts that depend on the node alone.
    sum: Vec<f64>,
    /// How many parts that sum has.
    parts: Vec<f64>,
    /// Allocations of the group on the node.
    own: Vec<u32>,
    /// Those of them that scores look beyond.
    leaving: Vec<u32>,
    /// Allocations of the whole job on the node.
    job_own: Vec<u32>,
    affinity: Vec<Option<f64>>,
    /// Which combination of spread values the node has.
    combo: Vec<usize>,
    spreads: Spreads,
    count: f64,
    distinct: Distinct,
    metric: AllocMetric,
    /// Nodes that were filtered, by what they are counted under from the second look on.
    filtered_again: FlatMap<String, u32>,
}

impl Candidates {
    /// `on_node` has, for each node with live allocations of the job, those of the group and all.
    pub(super) fn new(
        fleet: &mut Fleet<'_>,
        job: &Job,
        group: &TaskGroup,
        on_node: &BTreeMap<NodeId, (u32, u32)>,
        ids: &mut Ids,
    ) -> Self {
        let mut feasibility = Feasibility::after(job, group, &fleet.unfit);
        let mut filtered_again = FlatMap::new();
        let mut metric = AllocMetric {
            nodes_in_pool: fleet.in_pool,
            node_pool: job.node_pool.as_str().into(),
            nodes_available: fleet.available.clone(),
            ..AllocMetric::default()
        };
        let mut fleet_at = Vec::with_capacity(fleet.nodes.len());
        for (at, entry) in fleet.nodes.iter().enumerate() {
            metric.nodes_evaluated += 1;
            match feasibility.objection(entry.node, entry.class) {
                None => fleet_at.push(at),
                Some(objection) => {
                    filter(&mut metric, entry.node, objection.counted());
                    let again = objection.counted_again();
                    match filtered_again.get_mut(again) {
                        Some(count) => *count += 1,
                        None => {
                            filtered_again.insert(again.to_owned(), 1);
                        }
                    }
                }
            }
        }
        feasibility.teach(group, &mut fleet.unfit);
        let fleet = &*fleet;
        shuffle(&mut fleet_at, ids);
        let nodes: Vec<&Node> = fleet_at.iter().map(|at| &**fleet.nodes[*at].node).collect();
        let classes: Vec<Option<usize>> =
            fleet_at.iter().map(|at| fleet.nodes[*at].class).collect();
        let own_of = |node: &Node| on_node.get(&node.id).copied().unwrap_or_default();
        let own: Vec<u32> = nodes.iter().map(|node| own_of(node).0).collect();
        let job_own: Vec<u32> = nodes.iter().map(|node| own_of(node).1).collect();
        let affinities: Vec<&Affinity> = job
            .affinities
            .iter()
            .chain(&group.affinities)
            .chain(group.tasks.iter().flat_map(|task| &task.affinities))
            .collect();
        let mut by_class = BTreeMap::new();
        let affinity = (nodes.iter().zip(&classes))
            .map(|(node, class)| affinity_score(&affinities, node, *class, &mut by_class))
            .collect();
        let (spreads, combo) = Spreads::new(job, group, &nodes, &classes, &own);
        let distinct = Distinct::new(job, group, &nodes, &own, &job_own);
        let mut by_fleet = vec![None; fleet.nodes.len()];
        for (i, at) in fleet_at.iter().enumerate() {
            by_fleet[*at] = Some(i);
        }
        let mut candidates = Self {
            sum: vec![NO_ROOM; nodes.len()],
            parts: vec![1.0; nodes.len()],
            leaving: vec![0; nodes.len()],
            own,
            job_own,
            affinity,
            combo,
            spreads,
            count: f64::from(group.count.max(1)),
            distinct,
            metric,
            filtered_again,
            ask: Ask::of_group(group),
            by_fleet,
            fleet_at,
            choices: 0,
            ranking: None,
        };
        for at in 0..candidates.fleet_at.len() {
            candidates.rate(at, fleet);
        }
        candidates
    }

    /// Computes the score of one candidate anew.
    fn rate(&mut self, at: usize, fleet: &Fleet<'_>) {
        let before = self.standing(at);
        self.compute(at, fleet);
        let after = self.standing(at);
        if let Some(ranking) = &mut self.ranking {
            if let Some(before) = before {
                ranking.remove(at, before);
            }
            if let Some(after) = after {
                ranking.insert(at, after);
            }
        }
    }

    /// Where a candidate stands in the order; none without room.
    fn standing(&self, at: usize) -> Option<Standing> {
        (self.sum[at] != NO_ROOM).then(|| Standing {
            combo: self.combo[at],
            parts: self.parts[at],
            sum: self.sum[at],
        })
    }

    fn compute(&mut self, at: usize, fleet: &Fleet<'_>) {
        let entry = &fleet.nodes[self.fleet_at[at]];
        let ask = self.ask.on(entry.node);
        let capacity = Capacity::of(entry.node);
        if capacity.exhausted(&entry.usage, &ask).is_some() {
            self.sum[at] = NO_ROOM;
            return;
        }
        let used = Used::of(&entry.usage, entry.leaving);
        let mut sum = fit_score(fleet.algorithm, &capacity, used, &ask);
        let mut parts = 1.0;
        if self.own(at) > 0 {
            sum += self.anti_affinity(at);
            parts += 1.0;
        }
        if let Some(affinity) = self.affinity[at] {
            sum += affinity;
            parts += 1.0;
        }
        self.sum[at] = sum;
        self.parts[at] = parts;
    }

    /// Allocations of the group on the node, as scores count them.
    fn own(&self, at: usize) -> u32 {
        self.own[at].saturating_sub(self.leaving[at])
    }

    fn anti_affinity(&self, at: usize) -> f64 {
        -(f64::from(self.own(at)) + 1.0) / self.count
    }

    fn score(&self, at: usize) -> f64 {
        let boost = self.spreads.boost(self.combo[at]);
        if boost == 0.0 {
            self.sum[at] / self.parts[at]
        } else {
            (self.sum[at] + boost) / (self.parts[at] + 1.0)
        }
    }

    /// The fleet positions from the best down, as far as the caller looks. `penalized` nodes ran a
    /// failed predecessor; `except` were tried in vain.
    pub(super) fn best(
        &mut self,
        penalized: &BTreeSet<usize>,
        except: &BTreeSet<usize>,
    ) -> Option<usize> {
        let plain = penalized.is_empty() && except.is_empty() && self.distinct.is_empty();
        if plain && self.spreads.combos() <= COMBOS_MAX {
            self.choices += 1;
            if self.choices > CHOICES_MAX {
                return self.first_in_order();
            }
        }
        let mut best: Option<(f64, usize)> = None;
        for at in 0..self.fleet_at.len() {
            let mut score = self.score(at);
            if best.is_some_and(|(top, _)| score <= top) || score == NO_ROOM {
                continue;
            }
            if !plain {
                let fleet_at = self.fleet_at[at];
                if except.contains(&fleet_at) || self.distinct_refusal(at).is_some() {
                    continue;
                }
                if penalized.contains(&fleet_at) {
                    score = self.penalized_score(at);
                    if best.is_some_and(|(top, _)| score <= top) {
                        continue;
                    }
                }
            }
            best = Some((score, self.fleet_at[at]));
        }
        best.map(|(_, fleet_at)| fleet_at)
    }

    /// As a pass over all would find it: the greatest score, and of equal ones the earliest
    /// candidate.
    fn first_in_order(&mut self) -> Option<usize> {
        let combos = self.spreads.combos();
        let ranking = match self.ranking.take() {
            Some(ranking) => ranking,
            None => {
                let all = 0..self.fleet_at.len();
                Ranking::new(combos, all.filter_map(|at| Some((at, self.standing(at)?))))
            }
        };
        let mut best: Option<(f64, usize)> = None;
        for at in ranking.firsts() {
            let score = self.score(at);
            let better =
                best.is_none_or(|(top, first)| score > top || (score == top && at < first));
            if better {
                best = Some((score, at));
            }
        }
        self.ranking = Some(ranking);
        best.map(|(_, at)| self.fleet_at[at])
    }

    fn penalized_score(&self, at: usize) -> f64 {
        let boost = self.spreads.boost(self.combo[at]);
        let parts = self.parts[at] + 1.0 + if boost == 0.0 { 0.0 } else { 1.0 };
        (self.sum[at] + boost - 1.0) / parts
    }

    fn distinct_refusal(&self, at: usize) -> Option<String> {
        self.distinct.refusal(at, self.own[at], self.job_own[at])
    }

    /// True when that node may run the group and has room, ports aside.
    pub(super) fn is_open(&self, fleet_at: usize) -> bool {
        let at = self.by_fleet.get(fleet_at).copied().flatten();
        at.is_some_and(|at| self.sum[at] != NO_ROOM && self.distinct_refusal(at).is_none())
    }

    /// Counts a placement of the job on a node, or one taken back; `same_group` when it is of this
    /// group.
    pub(super) fn count(
        &mut self,
        fleet_at: usize,
        fleet: &Fleet<'_>,
        placed: bool,
        same_group: bool,
    ) {
        let Some(at) = self.by_fleet.get(fleet_at).copied().flatten() else {
            return;
        };
        let step = |n: u32| if placed { n + 1 } else { n.saturating_sub(1) };
        self.job_own[at] = step(self.job_own[at]);
        if same_group {
            self.own[at] = step(self.own[at]);
            self.spreads.count(self.combo[at], placed);
            self.distinct.count(at, placed);
        }
        self.rate(at, fleet);
    }

    /// Lets scores look beyond an allocation of the job on that node; `same_group` when it is of
    /// this group.
    pub(super) fn leave(&mut self, fleet_at: usize, fleet: &Fleet<'_>, same_group: bool) {
        self.count_leaving(fleet_at, fleet, same_group, true);
    }

    /// Takes that back.
    pub(super) fn stay(&mut self, fleet_at: usize, fleet: &Fleet<'_>, same_group: bool) {
        self.count_leaving(fleet_at, fleet, same_group, false);
    }

    fn count_leaving(
        &mut self,
        fleet_at: usize,
        fleet: &Fleet<'_>,
        same_group: bool,
        leaves: bool,
    ) {
        let Some(at) = self.by_fleet.get(fleet_at).copied().flatten() else {
            return;
        };
        if same_group {
            let leaving = &mut self.leaving[at];
            *leaving = if leaves {
                *leaving + 1
            } else {
                leaving.saturating_sub(1)
            };
            self.spreads.count(self.combo[at], !leaves);
        }
        self.rate(at, fleet);
    }

    /// From now on the nodes that were filtered are known by their class, where that is enough.
    pub(super) fn look_again(&mut self) {
        let again = std::mem::take(&mut self.filtered_again);
        if !again.is_empty() {
            self.metric.constraint_filtered = again;
        }
    }

    /// Looks at a node again after its usage changed.
    pub(super) fn refresh(&mut self, fleet_at: usize, fleet: &Fleet<'_>) {
        if let Some(at) = self.by_fleet.get(fleet_at).copied().flatten() {
            self.rate(at, fleet);
        }
    }

    /// Why nothing could be placed: what each node lacks. `refused` are nodes that failed on ports.
    pub(super) fn failure(
        &self,
        fleet: &Fleet<'_>,
        refused: &BTreeMap<usize, String>,
    ) -> AllocMetric {
        let mut metric = self.metric.clone();
        for (at, fleet_at) in self.fleet_at.iter().enumerate() {
            let entry = &fleet.nodes[*fleet_at];
            if let Some(reason) = self.distinct_refusal(at) {
                filter(&mut metric, entry.node, &reason);
                continue;
            }
            let ask = self.ask.on(entry.node);
            let dimension = match Capacity::of(entry.node).exhausted(&entry.usage, &ask) {
                Some(dimension) => dimension.to_owned(),
                None => match refused.get(fleet_at) {
                    Some(dimension) => dimension.clone(),
                    None => continue,
                },
            };
            metric.nodes_exhausted += 1;
            if !entry.node.node_class.is_empty() {
                *metric
                    .class_exhausted
                    .get_or_default(entry.node.node_class.clone()) += 1;
            }
            *metric.dimension_exhausted.get_or_default(dimension) += 1;
        }
        metric
    }

    /// How a placement on `chosen` was decided: the best nodes with their scores.
    pub(super) fn success(
        &self,
        fleet: &Fleet<'_>,
        chosen: usize,
        penalized: &BTreeSet<usize>,
    ) -> AllocMetric {
        let mut top: Vec<(f64, usize)> = Vec::with_capacity(SCORES_SHOWN_MAX + 1);
        for at in 0..self.fleet_at.len() {
            let score = if penalized.contains(&self.fleet_at[at]) {
                self.penalized_score(at)
            } else {
                self.score(at)
            };
            let shown = self.fleet_at[at] == chosen;
            if score == NO_ROOM && !shown {
                continue;
            }
            let place = if shown {
                0
            } else {
                top.partition_point(|(other, i)| self.fleet_at[*i] == chosen || *other >= score)
            };
            top.insert(place, (score, at));
            top.truncate(SCORES_SHOWN_MAX);
        }
        let mut metric = self.metric.clone();
        metric.score_meta_data = top
            .into_iter()
            .map(|(score, at)| self.explain(fleet, at, score, penalized))
            .collect();
        metric
    }

    fn explain(
        &self,
        fleet: &Fleet<'_>,
        at: usize,
        norm_score: f64,
        penalized: &BTreeSet<usize>,
    ) -> NodeScore {
        let entry = &fleet.nodes[self.fleet_at[at]];
        NodeScore {
            node_id: entry.node.id,
            scores: self.scores(fleet, at, &entry.usage, penalized),
            norm_score: shown(norm_score),
        }
    }

    /// The fleet positions of the nodes that may run the group, with or without room.
    pub(super) fn allowed(&self) -> impl Iterator<Item = usize> {
        let allowed = |at: &usize| self.distinct_refusal(*at).is_none();
        (0..self.fleet_at.len())
            .filter(allowed)
            .map(|at| self.fleet_at[at])
    }

    /// How good a node is on which others make room.
    pub(super) fn evicting(
        &self,
        fleet: &Fleet<'_>,
        fleet_at: usize,
        eviction: &Eviction,
        penalized: &BTreeSet<usize>,
    ) -> NodeScore {
        let at = self.by_fleet.get(fleet_at).copied().flatten().unwrap_or(0);
        let mut scores = self.scores(fleet, at, &eviction.without, penalized);
        scores.insert("preemption".into(), shown(eviction.score()));
        let has_part = |name: &str, score: f64| match name {
            "job-anti-affinity" => self.own(at) > 0,
            "node-affinity" => self.affinity[at].is_some(),
            "node-reschedule-penalty" => score != 0.0,
            _ => true,
        };
        let parts: Vec<f64> = scores
            .iter()
            .filter(|(name, score)| has_part(name, **score))
            .map(|(_, score)| *score)
            .collect();
        NodeScore {
            node_id: fleet.nodes[fleet_at].node.id,
            scores,
            norm_score: shown(parts.iter().sum::<f64>() / parts.len().max(1) as f64),
        }
    }

    /// The metric with the best of these scores.
    pub(super) fn metric_of(&self, mut scores: Vec<NodeScore>) -> AllocMetric {
        scores.sort_by(|a, b| b.norm_score.total_cmp(&a.norm_score));
        scores.truncate(SCORES_SHOWN_MAX);
        let mut metric = self.metric.clone();
        metric.score_meta_data = scores.into();
        metric
    }

    fn scores(
        &self,
        fleet: &Fleet<'_>,
        at: usize,
        usage: &NodeUsage,
        penalized: &BTreeSet<usize>,
    ) -> FlatMap<Text, f64> {
        let node = fleet.nodes[self.fleet_at[at]].node;
        let ask = self.ask.on(node);
        let mut scores = FlatMap::new();
        let leaving = fleet.nodes[self.fleet_at[at]].leaving;
        let used = Used::of(usage, leaving);
        let fit = fit_score(fleet.algorithm, &Capacity::of(node), used, &ask);
        scores.insert("binpack".into(), fit);
        // These are named also where they have no part in the decision, as clients show a column
        // each.
        let anti_affinity = if self.own(at) > 0 {
            self.anti_affinity(at)
        } else {
            0.0
        };
        scores.insert("job-anti-affinity".into(), anti_affinity);
        let penalty = if penalized.contains(&self.fleet_at[at]) {
            -1.0
        } else {
            0.0
        };
        scores.insert("node-reschedule-penalty".into(), penalty);
        scores.insert("node-affinity".into(), self.affinity[at].unwrap_or(0.0));
        let boost = self.spreads.boost(self.combo[at]);
        if boost != 0.0 {
            scores.insert("allocation-spread".into(), boost);
        }
        for score in scores.values_mut() {
            *score = shown(*score);
        }
        scores
    }

    /// What is common to all placements of the group.
    pub(super) fn metric(&self) -> &AllocMetric {
        &self.metric
    }
}

/// A score with six decimals, so that it reads back from text as it was.
fn shown(score: f64) -> f64 {
    if score.is_finite() {
        (score * 1e6).round() / 1e6
    } else {
        0.0
    }
}

/// Counts a node that was ruled out.
pub(super) fn filter(metric: &mut AllocMetric, node: &Node, reason: &str) {
    metric.nodes_filtered += 1;
    if !node.node_class.is_empty() {
        *metric
            .class_filtered
            .get_or_default(node.node_class.clone()) += 1;
    }
    *metric.constraint_filtered.get_or_default(reason.to_owned()) += 1;
}

fn shuffle(list: &mut [usize], ids: &mut Ids) {
    for at in (1..list.len()).rev() {
        let other = (ids.next_choice() % (at as u64 + 1)) as usize;
        list.swap(at, other);
    }
}

/// What is taken on a node, as scores count it.
#[derive(Clone, Copy)]
struct Used {
    cpu: i64,
    memory_mb: i64,
}

impl Used {
    fn of(usage: &NodeUsage, leaving: Leaving) -> Self {
        Self {
            cpu: usage.cpu - leaving.cpu,
            memory_mb: usage.memory_mb - leaving.memory_mb,
        }
    }
}

/// How full the node would be: 0 when empty, 1 when full; the other way round when all are to be
/// used alike.
fn fit_score(algorithm: SchedulerAlgorithm, capacity: &Capacity, used: Used, ask: &Ask) -> f64 {
    let free = |used: i64, ask: i64, total: i64| {
        if total <= 0 {
            0.0
        } else {
            1.0 - (used + ask) as f64 / total as f64
        }
    };
    let cpu = free(used.cpu, ask.cpu, capacity.cpu);
    let memory = free(used.memory_mb, ask.memory_mb, capacity.memory_mb);
    let total = 10_f64.powf(cpu) + 10_f64.powf(memory);
    let raw = match algorithm {
        SchedulerAlgorithm::Binpack => 20.0 - total,
        SchedulerAlgorithm::Spread => total - 2.0,
    };
    raw.clamp(0.0, 18.0) / 18.0
}

fn affinity_score(
    affinities: &[&Affinity],
    node: &Node,
    class: Option<usize>,
    by_class: &mut BTreeMap<usize, f64>,
) -> Option<f64> {
    if affinities.is_empty() {
        return None;
    }
    let unique =
        |a: &&Affinity| feasible::is_unique(&a.l_target) || feasible::is_unique(&a.r_target);
    let class = class.filter(|_| !affinities.iter().any(unique));
    if let Some(known) = class.and_then(|class| by_class.get(&class)) {
        return Some(*known);
    }
    let weights: f64 = affinities.iter().map(|a| f64::from(a.weight).abs()).sum();
    let matched: f64 = affinities
        .iter()
        .filter(|a| feasible::matches(&a.l_target, &a.r_target, &a.operand, node))
        .map(|a| f64::from(a.weight))
        .sum();
    let score = if weights > 0.0 {
        matched / weights
    } else {
        0.0
    };
    if let Some(class) = class {
        by_class.insert(class, score);
    }
    Some(score)
}
