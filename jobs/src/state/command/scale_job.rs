//! Changes the count of a group.

use crate::{
    model::{
        Evaluation, GroupName, Index, Job, JobId, JobKey, JobType, Namespace, ScalingEvent,
        Timestamp,
    },
    state::{GROUP_COUNT_MAX, Rejected, Snapshot, change::Change},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Changes the count of one group of the job that is current when the entry is applied, so that
/// nothing that was written meanwhile is undone; without a count, only records the event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScaleJob {
    /// Namespace.
    pub namespace: Namespace,
    /// Job.
    pub id: JobId,
    /// Group; empty for the only one of the job.
    pub group: GroupName,
    /// New count; none only records the event.
    pub count: Option<i64>,
    /// What is recorded; count, previous count, time and indexes are set by apply.
    pub event: ScalingEvent,
    /// When.
    pub submit_time: Timestamp,
    /// Acts on the new count.
    pub eval: Option<Evaluation>,
    /// Refuse unless the job's `job_modify_index` is this.
    pub enforce_index: Option<Index>,
}

impl ScaleJob {
    /// The job with its new count, the group and its count until now.
    fn scaled(&self, tables: &Snapshot) -> Result<(Job, GroupName, i64), Rejected> {
        let key = JobKey::new(self.namespace.as_str(), self.id.as_str());
        let current: &Arc<Job> = tables.job(&key).ok_or(Rejected::NoJob)?;
        if let Some(wanted) = self.enforce_index {
            tables.enforce_index(&key, wanted)?;
        }
        let mut job = (**current).clone();
        let only = job.task_groups.len() == 1 && self.group.is_empty();
        let everywhere = matches!(job.job_type, JobType::System | JobType::Sysbatch);
        let group = job
            .task_groups
            .iter_mut()
            .find(|group| only || group.name == self.group)
            .ok_or_else(|| Rejected::NoGroup {
                group: self.group.clone(),
            })?;
        let name = group.name.clone();
        let previous = i64::from(group.count);
        if let Some(count) = self.count {
            if let Some(policy) = &group.scaling {
                let (min, max) = (policy.min.unwrap_or(0), policy.max.unwrap_or(i64::MAX));
                if count < min {
                    return Err(Rejected::BelowMinimum { count, min });
                }
                if count > max {
                    return Err(Rejected::AboveMaximum { count, max });
                }
            }
            let count_max = if everywhere { 1 } else { GROUP_COUNT_MAX };
            group.count = u32::try_from(count)
                .ok()
                .filter(|count| *count <= count_max)
                .ok_or(Rejected::Count { count_max })?;
            let deployment = tables.latest_deployment(&key);
            if deployment.is_some_and(|deployment| deployment.is_active()) {
                return Err(Rejected::ScalingBlocked);
            }
            job.submit_time = self.submit_time;
        }
        Ok((job, name, previous))
    }

    /// Whether it would be carried out now.
    ///
    /// # Errors
    /// [`Rejected`] when the job or the group is missing, another index is enforced, the count is
    /// out of bounds or a deployment is active.
    pub(crate) fn check(&self, tables: &Snapshot) -> Result<(), Rejected> {
        self.scaled(tables).map(|_| ())
    }
}

impl Snapshot {
    pub(in crate::state) fn scale_job(
        &mut self,
        change: &mut Change,
        command: ScaleJob,
    ) -> Result<(), Rejected> {
        let (job, group, previous_count) = command.scaled(self)?;
        let ScaleJob {
            count, event, eval, ..
        } = command;
        let key = job.key();
        let eval_id = eval.as_ref().map(|eval| eval.id);
        if count.is_some() {
            let submission = self.submission(&key, job.version).cloned();
            let job = self.write_version(change, job);
            if let Some(submission) = submission {
                self.put_submission(change, &job, (*submission).clone());
            }
            if let Some(mut eval) = eval {
                eval.job_modify_index = job.job_modify_index;
                self.put_eval(change, eval);
            }
        }
        let event = ScalingEvent {
            count,
            previous_count,
            ..event
        };
        self.put_scaling_events(change, &key, BTreeMap::from([(group, event)]), eval_id);
        Ok(())
    }
}
