//! One serving allocation for each name of a group, and no more names than the group counts.

use super::super::{ReconcileResult, Rollout, texts};
use super::Group;
use crate::model::{AllocId, AllocName, Allocation, ClientStatus};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Why an allocation goes although its place in the group stays; in the order in which surplus ones
/// are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Its node is gone.
    Lost,
    /// It failed and its replacement is due.
    Failed,
    /// It was told to move; it still runs.
    Migrating,
}

/// An allocation that goes, and another comes instead.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) cause: Cause,
    pub(super) alloc: Arc<Allocation>,
}

impl Leaving {
    pub(super) fn new(cause: Cause, alloc: Arc<Allocation>) -> Self {
        Self { cause, alloc }
    }

    /// True when its successor counts for the group; canaries are counted apart.
    pub(super) fn holds_slot(&self) -> bool {
        !self.alloc.is_canary()
    }
}

/// What stays, sorted by how the current version differs.
#[derive(Default)]
pub(super) struct Split {
    /// Of the current version.
    pub(super) current: Vec<Arc<Allocation>>,
    /// Of an older version that differs in nothing that needs a new process.
    pub(super) in_place: Vec<Arc<Allocation>>,
    /// To be replaced, not begun.
    pub(super) solo: Vec<Arc<Allocation>>,
    /// To be stopped when the replacement beside them is healthy.
    pub(super) paired: Vec<Arc<Allocation>>,
}

impl Split {
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Allocation>> {
        self.current
            .iter()
            .chain(&self.in_place)
            .chain(&self.solo)
            .chain(&self.paired)
    }

    /// How many of the group's count are held; a pair is held by its new one.
    pub(super) fn slots(&self) -> usize {
        self.current.len() + self.in_place.len() + self.solo.len()
    }

    pub(super) fn sort(&mut self) {
        for list in [&mut self.current, &mut self.in_place, &mut self.solo] {
            list.sort_by(|a, b| (a.name_index(), &a.id).cmp(&(b.name_index(), &b.id)));
        }
    }
}

/// How far the new allocation of a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum New {
    /// It does not run any more.
    Over,
    /// It runs or will, and is not known to be healthy.
    Starting,
    /// It can serve alone.
    Serves,
}

impl Group<'_, '_> {
    /// Decides which of an old and a new allocation with one name goes, so that a name is one slot
    /// whether its allocations stay or leave.
    ///
    /// The old one is stopped once the new one is healthy. While the deployment is failed, the new
    /// one goes instead, unless it is the only one that runs.
    pub(super) fn settle_pairs(
        &mut self,
        failed: &BTreeSet<AllocId>,
        split: &mut Split,
        leaving: &mut Vec<Leaving>,
        rollout: &Rollout<'_>,
        wanted: &mut ReconcileResult,
    ) {
        let news = self.news(failed, split, leaving, rollout);
        let olds = self.drop_overtaken(std::mem::take(&mut split.solo), wanted);
        let mut old_names: BTreeSet<AllocName> = olds.iter().map(|old| old.name.clone()).collect();
        let mut given_up: BTreeSet<AllocName> = BTreeSet::new();
        for old in olds {
            match news.get(&old.name) {
                None => split.solo.push(old),
                Some(New::Serves) => {
                    self.counts.stop += 1;
                    wanted.stop(&old, texts::UPDATING);
                }
                Some(_) if rollout.failed() && !old.client_terminal() => {
                    given_up.insert(old.name.clone());
                    split.solo.push(old);
                }
                Some(_) => split.paired.push(old),
            }
        }
        leaving.retain(|old| {
            if !old.holds_slot() || self.is_current(&old.alloc) {
                return true;
            }
            let name = &old.alloc.name;
            let runs = old.cause == Cause::Migrating;
            let stays = match news.get(name) {
                None => true,
                Some(New::Serves) => false,
                Some(new) => rollout.failed() && (runs || *new == New::Over),
            };
            let first = old_names.insert(name.clone());
            if stays && first {
                if news.contains_key(name) {
                    given_up.insert(name.clone());
                }
                return true;
            }
            self.drop_leaving(old, wanted);
            false
        });
        self.give_up(&given_up, split, leaving, wanted);
    }

    /// The names that have an allocation of the current version, or one that becomes it where it
    /// is.
    fn news(
        &self,
        failed: &BTreeSet<AllocId>,
        split: &Split,
        leaving: &[Leaving],
        rollout: &Rollout<'_>,
    ) -> BTreeMap<AllocName, New> {
        let rolling = rollout.id().is_some() || rollout.failed();
        let mut news: BTreeMap<AllocName, New> = BTreeMap::new();
        let mut note = |alloc: &Allocation, new: New| {
            let known = news.entry(alloc.name.clone()).or_insert(new);
            *known = new.max(*known);
        };
        for alloc in &split.current {
            let new = if failed.contains(&alloc.id) {
                New::Over
            } else if !rolling || alloc.healthy() == Some(true) {
                New::Serves
            } else {
                New::Starting
            };
            note(alloc, new);
        }
        for alloc in &split.in_place {
            note(alloc, New::Serves);
        }
        for Leaving { cause, alloc } in leaving {
            if alloc.is_canary() || !self.is_current(alloc) {
                continue;
            }
            note(
                alloc,
                match cause {
                    Cause::Migrating => New::Starting,
                    Cause::Lost | Cause::Failed => New::Over,
                },
            );
        }
        news
    }

    /// Stops the new allocations of these names; the old ones go on.
    fn give_up(
        &mut self,
        names: &BTreeSet<AllocName>,
        split: &mut Split,
        leaving: &mut Vec<Leaving>,
        wanted: &mut ReconcileResult,
    ) {
        if names.is_empty() {
            return;
        }
        split.current.retain(|new| {
            let stop = names.contains(&new.name);
            if stop {
                self.counts.stop += 1;
                wanted.stop(new, texts::NOT_NEEDED);
            }
            !stop
        });
        leaving.retain(|new| {
            let stop =
                new.holds_slot() && self.is_current(&new.alloc) && names.contains(&new.alloc.name);
            if stop {
                self.drop_leaving(new, wanted);
            }
            !stop
        });
    }

    /// Lets one that leaves go without a successor.
    fn drop_leaving(&mut self, leaving: &Leaving, wanted: &mut ReconcileResult) {
        self.counts.stop += 1;
        if leaving.cause == Cause::Lost {
            wanted.lose(&leaving.alloc);
        } else {
            wanted.stop(&leaving.alloc, texts::NOT_NEEDED);
        }
    }

    /// Of old allocations with one name, keeps the one that serves best: the others are
    /// replacements that a newer version overtook.
    fn drop_overtaken(
        &mut self,
        olds: Vec<Arc<Allocation>>,
        wanted: &mut ReconcileResult,
    ) -> Vec<Arc<Allocation>> {
        let worth = |alloc: &Allocation| {
            let over = alloc.client_terminal();
            (
                !over && alloc.healthy() == Some(true),
                alloc.client_status == ClientStatus::Running,
                !over,
                alloc.job_version,
            )
        };
        let mut kept: Vec<Arc<Allocation>> = Vec::with_capacity(olds.len());
        let mut by_name: BTreeMap<AllocName, usize> = BTreeMap::new();
        for mut old in olds {
            let Some(&at) = by_name.get(&old.name) else {
                by_name.insert(old.name.clone(), kept.len());
                kept.push(old);
                continue;
            };
            if worth(&old) > worth(&kept[at]) {
                std::mem::swap(&mut old, &mut kept[at]);
            }
            self.counts.stop += 1;
            wanted.stop(&old, texts::NOT_NEEDED);
        }
        kept
    }

    /// Stops what the group has too much of: those that leave are not replaced first, then
    /// duplicate names, failed ones, highest numbers.
    pub(super) fn drop_surplus(
        &mut self,
        count: usize,
        failed: &BTreeSet<AllocId>,
        split: &mut Split,
        leaving: &mut Vec<Leaving>,
        wanted: &mut ReconcileResult,
    ) {
        let held = leaving.iter().filter(|l| l.holds_slot()).count();
        let mut surplus = (split.slots() + held).saturating_sub(count);
        let mut names = BTreeSet::new();
        for cause in [Cause::Lost, Cause::Failed, Cause::Migrating] {
            while surplus > 0
                && let Some(at) = leaving
                    .iter()
                    .rposition(|l| l.cause == cause && l.holds_slot())
            {
                let dropped = leaving.remove(at);
                surplus -= 1;
                self.drop_leaving(&dropped, wanted);
                names.insert(dropped.alloc.name.clone());
            }
        }
        let mut seen = BTreeSet::new();
        let mut candidates: Vec<(bool, bool, u32, AllocId)> = split
            .current
            .iter()
            .chain(&split.in_place)
            .chain(&split.solo)
            .filter(|alloc| !alloc.client_terminal() || failed.contains(&alloc.id))
            .map(|alloc| {
                let duplicate = !seen.insert(alloc.name.as_str());
                let number = alloc.name_index().unwrap_or(u32::MAX);
                (duplicate, failed.contains(&alloc.id), number, alloc.id)
            })
            .collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        let chosen: BTreeSet<AllocId> = candidates
            .into_iter()
            .take(surplus)
            .map(|(_, _, _, id)| id)
            .collect();
        self.stop_chosen(&chosen, names, split, wanted);
    }

    /// Stops these, and the old ones beside those of these names and those stopped already.
    fn stop_chosen(
        &mut self,
        chosen: &BTreeSet<AllocId>,
        mut names: BTreeSet<AllocName>,
        split: &mut Split,
        wanted: &mut ReconcileResult,
    ) {
        for list in [&mut split.current, &mut split.in_place, &mut split.solo] {
            list.retain(|alloc| {
                let stop = chosen.contains(&alloc.id);
                if stop {
                    names.insert(alloc.name.clone());
                    self.counts.stop += 1;
                    wanted.stop(alloc, texts::NOT_NEEDED);
                }
                !stop
            });
        }
        split.paired.retain(|old| {
            let stop = names.contains(&old.name);
            if stop {
                self.counts.stop += 1;
                wanted.stop(old, texts::NOT_NEEDED);
            }
            !stop
        });
    }
}
