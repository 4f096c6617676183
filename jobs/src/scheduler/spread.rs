//! Spreads: how much each value of an attribute is wanted next.

use super::feasible;
use crate::model::{Job, Node, Spread, TaskGroup};
use std::{borrow::Cow, collections::BTreeMap};

/// The spreads of a group: how much each combination of values is wanted next.
#[derive(Default)]
pub(super) struct Spreads {
    rules: Vec<SpreadRule>,
    /// Combination to the value of each rule.
    combos: Vec<Vec<usize>>,
    /// Combination to its boost.
    boosts: Vec<f64>,
}

struct SpreadRule {
    /// Wanted number by value; empty is even.
    desired: BTreeMap<String, f64>,
    /// Wanted number of every value that has no target; none when the targets make 100 %.
    rest: Option<f64>,
    share: f64,
    /// Value names; position 0 is a missing attribute.
    values: Vec<Option<String>>,
    used: Vec<u32>,
}

impl Spreads {
    /// Of these candidates, with the class of each and the allocations of the group on it; and
    /// which combination of values each has.
    pub(super) fn new(
        job: &Job,
        group: &TaskGroup,
        nodes: &[&Node],
        classes: &[Option<usize>],
        own: &[u32],
    ) -> (Self, Vec<usize>) {
        let spreads: Vec<&Spread> = group.spreads.iter().chain(&job.spreads).collect();
        let weights: f64 = spreads.iter().map(|s| f64::from(s.weight)).sum();
        let mut rules: Vec<SpreadRule> = spreads
            .iter()
            .map(|s| SpreadRule::new(s, group.count, weights))
            .collect();
        if rules.is_empty() {
            let one = Self {
                rules,
                combos: vec![Vec::new()],
                boosts: vec![0.0],
            };
            return (one, vec![0; nodes.len()]);
        }
        let unique = spreads.iter().any(|s| feasible::is_unique(&s.attribute));
        let mut known: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        let mut of_class: BTreeMap<usize, usize> = BTreeMap::new();
        let mut value_ids: Vec<BTreeMap<Cow<'_, str>, usize>> = vec![BTreeMap::new(); rules.len()];
        let mut combo_of = Vec::with_capacity(nodes.len());
        let mut combos: Vec<Vec<usize>> = Vec::new();
        for ((node, class), own) in nodes.iter().zip(classes).zip(own) {
            let class = class.filter(|_| !unique);
            let id = match class.and_then(|class| of_class.get(&class)) {
                Some(id) => *id,
                None => {
                    let mut combo = Vec::with_capacity(rules.len());
                    for ((rule, spread), ids) in rules.iter_mut().zip(&spreads).zip(&mut value_ids)
                    {
                        combo.push(match node.resolve(&spread.attribute) {
                            None => 0,
                            Some(value) => rule.value(value, ids),
                        });
                    }
                    let next = combos.len();
                    let id = *known.entry(combo.clone()).or_insert(next);
                    if id == next {
                        combos.push(combo);
                    }
                    if let Some(class) = class {
                        of_class.insert(class, id);
                    }
                    id
                }
            };
            for (rule, value) in rules.iter_mut().zip(&combos[id]) {
                rule.used[*value] += own;
            }
            combo_of.push(id);
        }
        let mut all = Self {
            boosts: vec![0.0; combos.len()],
            rules,
            combos,
        };
        all.update();
        (all, combo_of)
    }

    /// How many combinations of values there are.
    pub(super) fn combos(&self) -> usize {
        self.boosts.len()
    }

    /// What the next allocation on a node with this combination adds to its score.
    pub(super) fn boost(&self, combo: usize) -> f64 {
        self.boosts.get(combo).copied().unwrap_or(0.0)
    }

    /// Counts an allocation that was placed, or one taken back.
    pub(super) fn count(&mut self, combo: usize, placed: bool) {
        if self.rules.is_empty() {
            return;
        }
        let Some(values) = self.combos.get(combo) else {
            return;
        };
        for (rule, value) in self.rules.iter_mut().zip(values) {
            let used = &mut rule.used[*value];
            *used = if placed {
                *used + 1
            } else {
                used.saturating_sub(1)
            };
        }
        self.update();
    }

    fn update(&mut self) {
        let of_rules: Vec<Vec<f64>> = self.rules.iter().map(SpreadRule::boosts).collect();
        for (boost, combo) in self.boosts.iter_mut().zip(&self.combos) {
            *boost = of_rules.iter().zip(combo).map(|(b, value)| b[*value]).sum();
        }
    }
}

impl SpreadRule {
    fn new(spread: &Spread, count: u32, weights: f64) -> Self {
        let count = f64::from(count);
        let wanted = |percent: u8| f64::from(percent) / 100.0 * count;
        let desired: BTreeMap<String, f64> = spread
            .spread_target
            .iter()
            .map(|target| (target.value.clone(), wanted(target.percent)))
            .collect();
        let named: u32 = spread
            .spread_target
            .iter()
            .map(|t| u32::from(t.percent))
            .sum();
        let rest =
            (!desired.is_empty() && named < 100).then(|| f64::from(100 - named) / 100.0 * count);
        let weight = f64::from(spread.weight);
        Self {
            desired,
            rest,
            share: if weights > 0.0 { weight / weights } else { 0.0 },
            values: vec![None],
            used: vec![0],
        }
    }

    /// The number of a value, which is new where no node before had it.
    fn value<'n>(&mut self, value: Cow<'n, str>, ids: &mut BTreeMap<Cow<'n, str>, usize>) -> usize {
        let next = self.values.len();
        let id = *ids.entry(value.clone()).or_insert(next);
        if id == next {
            self.values.push(Some(value.into_owned()));
            self.used.push(0);
        }
        id
    }

    /// The boost of each value.
    fn boosts(&self) -> Vec<f64> {
        if self.desired.is_empty() {
            self.even_boosts()
        } else {
            self.target_boosts()
        }
    }

    fn target_boosts(&self) -> Vec<f64> {
        let boost = |value: &Option<String>, used: u32| {
            let Some(value) = value else {
                return -1.0;
            };
            match self.desired.get(value).copied().or(self.rest) {
                Some(desired) if desired > 0.0 => {
                    (desired - (f64::from(used) + 1.0)) / desired * self.share
                }
                _ => -1.0,
            }
        };
        let pairs = self.values.iter().zip(&self.used);
        pairs.map(|(value, used)| boost(value, *used)).collect()
    }

    /// Counts include values that no allocation uses yet, so that they come first.
    fn even_boosts(&self) -> Vec<f64> {
        let used = self.used.get(1..).unwrap_or(&[]);
        let min = used.iter().copied().min().unwrap_or(0);
        let max = used.iter().copied().max().unwrap_or(0);
        let boost = |current: u32| {
            let (current, min, max) = (f64::from(current), f64::from(min), f64::from(max));
            if max == 0.0 {
                0.0
            } else if current != min {
                if min == 0.0 {
                    -1.0
                } else {
                    (min - current) / min
                }
            } else if min == max {
                -1.0
            } else if min == 0.0 {
                1.0
            } else {
                (max - min) / min
            }
        };
        let mut boosts = vec![-1.0];
        boosts.extend(used.iter().map(|current| boost(*current)));
        boosts
    }
}
