//! Commits what the scheduler decided.

use crate::{
    model::{Allocation, ClientStatus, DesiredStatus, Job, JobKey, PlanResult, StoppedAlloc},
    state::{Snapshot, change::Change},
};
use std::sync::Arc;

impl Snapshot {
    pub(in crate::state) fn apply_plan(&mut self, change: &mut Change, result: PlanResult) {
        if let Some(deployment) = result.deployment {
            let wanted = self
                .jobs
                .get(&deployment.job_key())
                .is_some_and(|job| job.create_index == deployment.job_create_index);
            if wanted {
                self.put_deployment(change, deployment);
            }
        }
        for update in result.deployment_updates {
            self.set_deployment_status(change, update);
        }
        for stop in result.stops {
            self.stop_alloc(change, stop);
        }
        let mut job: Option<Arc<Job>> = None;
        for alloc in result.placements {
            if job.as_ref().is_none_or(|j| !is_job_of(j, &alloc)) {
                job = self.job_to_place(&alloc);
            }
            if let Some(job) = &job {
                self.place_alloc(change, alloc, Arc::clone(job));
            }
        }
        self.upsert_evals(change, result.evals);
    }

    /// The version to run; none when the job was stopped or purged in the meantime.
    fn job_to_place(&self, alloc: &Allocation) -> Option<Arc<Job>> {
        let key = JobKey::new(alloc.namespace.as_str(), alloc.job_id.as_str());
        if self.jobs.get(&key)?.stop {
            return None;
        }
        self.version(&key, alloc.job_version).cloned()
    }

    fn stop_alloc(&mut self, change: &mut Change, stop: StoppedAlloc) {
        let Some(row) = self.allocs.get(&stop.alloc_id) else {
            return;
        };
        // What ended by itself meanwhile makes room without being evicted.
        if stop.preempted_by.is_some() && row.client_terminal() {
            return;
        }
        let mut alloc = (**row).clone();
        if let Some(by) = stop.preempted_by {
            alloc.desired_status = DesiredStatus::Evict;
            alloc.desired_description = format!("Preempted by alloc ID {by}").into();
            alloc.preempted_by_allocation = Some(by);
        } else if stop.followup_eval_id.is_none() || !stop.description.is_empty() {
            alloc.desired_status = DesiredStatus::Stop;
            alloc.desired_description = stop.description;
        }
        if let Some(status) = stop.client_status
            && !alloc.client_terminal()
        {
            alloc.client_status = status;
            if status == ClientStatus::Lost {
                alloc.client_description = "alloc is lost since its node is down".into();
            }
        }
        if stop.followup_eval_id.is_some() {
            alloc.followup_eval_id = stop.followup_eval_id;
        }
        if alloc != **row {
            self.put_server_change(change, alloc);
        }
    }

    /// Places a new allocation, or updates one in place and keeps what its client owns.
    fn place_alloc(&mut self, change: &mut Change, mut alloc: Allocation, job: Arc<Job>) {
        alloc.job_version = job.version;
        alloc.job = job;
        match self.allocs.get(&alloc.id) {
            Some(known) => {
                alloc.client_status = known.client_status;
                alloc
                    .client_description
                    .clone_from(&known.client_description);
                alloc.task_states.clone_from(&known.task_states);
                alloc.network_status.clone_from(&known.network_status);
                alloc
                    .allocated_resources
                    .clone_from(&known.allocated_resources);
                alloc.next_allocation = known.next_allocation;
                alloc.create_index = known.create_index;
                alloc.create_time = known.create_time;
            }
            None => {
                alloc.create_index = change.at.index;
                alloc.create_time = change.at.now;
                self.link_previous(change, &alloc);
            }
        }
        self.put_server_change(change, alloc);
    }

    fn link_previous(&mut self, change: &mut Change, alloc: &Allocation) {
        let Some(row) = alloc
            .previous_allocation
            .and_then(|id| self.allocs.get(&id))
        else {
            return;
        };
        let mut previous = (**row).clone();
        previous.next_allocation = Some(alloc.id);
        previous.followup_eval_id = None;
        self.put_server_change(change, previous);
    }
}

fn is_job_of(job: &Job, alloc: &Allocation) -> bool {
    job.version == alloc.job_version && job.id == alloc.job_id && job.namespace == alloc.namespace
}
