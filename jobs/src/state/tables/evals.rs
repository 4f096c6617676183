//! Evaluations.

use super::{by_prefix, from, of_job};
use crate::{
    model::{EvalId, Evaluation, JobKey},
    state::{Snapshot, Table, change::Change},
};
use std::sync::Arc;

impl Snapshot {
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
}

impl Snapshot {
    /// Evaluations from that id on, in order of ids.
    pub fn evals_from(&self, id: EvalId) -> impl Iterator<Item = &Arc<Evaluation>> {
        from(&self.evals, id)
    }

    /// Evaluations that are not terminal.
    pub fn open_evals(&self) -> impl Iterator<Item = &Arc<Evaluation>> {
        self.open_evals.iter().filter_map(|id| self.evals.get(id))
    }

    pub(in crate::state) fn upsert_evals(&mut self, change: &mut Change, evals: Vec<Evaluation>) {
        for eval in evals {
            self.put_eval(change, eval);
        }
    }

    pub(in crate::state) fn put_eval(&mut self, change: &mut Change, mut eval: Evaluation) {
        let before = self.evals.get(&eval.id).cloned();
        // What is over stays so; an id belongs to the job that came first.
        let settled = before.as_ref().is_some_and(|b| {
            b.status.is_terminal() || b.job_id != eval.job_id || b.namespace != eval.namespace
        });
        if settled {
            return;
        }
        eval.create_index = before.as_ref().map_or(change.at.index, |b| b.create_index);
        eval.create_time = before.as_ref().map_or(change.at.now, |b| b.create_time);
        eval.modify_index = change.at.index;
        eval.modify_time = change.at.now;
        let key = self.job_key(&eval.namespace, &eval.job_id);
        eval.namespace.share(&key.namespace);
        eval.job_id.share(&key.id);
        let was_open = before.as_ref().is_some_and(|b| !b.status.is_terminal());
        let tally = self.tallies.entry(Arc::clone(&key)).or_default();
        tally.evals += u64::from(before.is_none());
        tally.open_evals += u64::from(!eval.status.is_terminal());
        tally.open_evals -= u64::from(was_open);
        if before.is_none() {
            self.evals_by_job.insert((Arc::clone(&key), eval.id));
        }
        if eval.status.is_terminal() {
            self.open_evals.remove(&eval.id);
        } else {
            self.open_evals.insert(eval.id);
        }
        self.note_queued(change, &key, &eval);
        let eval = Arc::new(eval);
        self.evals.insert(eval.id, Arc::clone(&eval));
        change.touch(Table::Evals);
        change.applied.evals.push(eval);
        change.touched_jobs.insert(key);
    }

    fn note_queued(&mut self, change: &mut Change, key: &JobKey, eval: &Evaluation) {
        if eval.queued_allocations.is_empty() {
            return;
        }
        let Some(summary) = self.summaries.get(key) else {
            return;
        };
        let differs = |group: &str, queued: u32| {
            summary
                .summary
                .get(group)
                .is_some_and(|counts| counts.queued != queued)
        };
        if !eval.queued_allocations.iter().any(|(g, q)| differs(g, *q)) {
            return;
        }
        if let Some(summary) = self.summaries.get_mut(key) {
            let summary = Arc::make_mut(summary);
            for (group, queued) in &eval.queued_allocations {
                if let Some(counts) = summary.summary.get_mut(group) {
                    counts.queued = *queued;
                }
            }
            summary.modify_index = change.at.index;
            change.touch(Table::Summaries);
        }
    }

    pub(in crate::state) fn remove_eval(&mut self, change: &mut Change, id: EvalId) {
        if !self.evals.get(&id).is_some_and(|e| e.status.is_terminal()) {
            return;
        }
        let Some(row) = self.evals.remove(&id) else {
            return;
        };
        let key = self.job_key(&row.namespace, &row.job_id);
        self.evals_by_job.remove(&(Arc::clone(&key), id));
        if let Some(tally) = self.tallies.get_mut(&key) {
            tally.evals -= 1;
        }
        change.touch(Table::Evals);
        change.touched_jobs.insert(key);
    }
}
