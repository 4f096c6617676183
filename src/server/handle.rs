//! What the HTTP API and the agent use of the server: reads of one snapshot, writes through the log.

use jobs::{
    control::{operator, triggers},
    model::{
        AllocId, DeploymentId, DesiredTransition, Eligibility, EvalId, Index, Job, JobKey, JobType,
        NodeId, ScalingEvent, Submission, Trigger,
    },
    scheduler,
    state::{Command as JobsCommand, DeregisterJob, RegisterJob},
};
use mesh::state::{SetRouteOverrides, SetSplit};
use std::{collections::BTreeMap, sync::Arc};

use super::{
    Config, Core,
    log::propose::{ProposeError, ids, now_ns, seed},
    log::published::Snapshot,
    log::raft::{Metrics, Voter},
    log::watch::{Subscription, Topic},
    state::{Command, Outcome, Rejected},
};

/// Largest count of a group.
pub const GROUP_COUNT_MAX: u32 = 50_000;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state says no; trying again does not help.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The log could not take it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// A count may not change while a deployment runs.
    #[error("job scaling blocked due to active deployment")]
    ScalingBlocked,
    /// There is no such group.
    #[error("task group {group:?} specified for scaling does not exist in job")]
    NoGroup {
        /// The name.
        group: String,
    },
    /// The count is out of bounds.
    #[error("scaling action count must be between 0 and {count_max}")]
    Count {
        /// Largest count.
        count_max: u32,
    },
}

impl From<jobs::state::Rejected> for Error {
    fn from(rejected: jobs::state::Rejected) -> Self {
        Self::Rejected(rejected.into())
    }
}

/// A write that is in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Its index; the state that readers see holds it.
    pub index: Index,
    /// Evaluation that it created.
    pub eval_id: Option<EvalId>,
    /// Version that the job of a failed deployment went back to in the same entry.
    pub reverted_to: Option<u64>,
    /// The `job_modify_index` that this write left; none when it is about no job or removed it.
    pub job_modify_index: Option<Index>,
}

/// A registration as it is handed in.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// Canonical and valid.
    pub job: Job,
    /// The text that it came from.
    pub submission: Option<Submission>,
    /// Refuse unless the job's `job_modify_index` is this; 0 is "must not exist".
    pub enforce_index: Option<Index>,
    /// Priority of the evaluation instead of the job's.
    pub eval_priority: Option<i32>,
    /// Keep the counts that groups have now.
    pub preserve_counts: bool,
}

/// A change of a group's count.
#[derive(Clone, Debug, Default)]
pub struct Scaling {
    /// Group; needed unless the job has only one.
    pub group: String,
    /// New count; none only records the message.
    pub count: Option<i64>,
    /// Free text.
    pub message: String,
    /// The message reports an error.
    pub error: bool,
    /// Free-form data.
    pub meta: serde_json::Map<String, serde_json::Value>,
    /// Refuse unless the job's `job_modify_index` is this.
    pub enforce_index: Option<Index>,
}

/// A cheap handle on the running server.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) core: Arc<Core>,
}

impl Handle {
    /// How the server was configured.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// The newest state. It holds every write that was answered before the call.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.core.published.current()
    }

    /// Waits until the state holds everything that any server acknowledged before the call.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] and [`ProposeError::Stopped`].
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        self.core.raft.read_barrier().await
    }

    /// Subscribes to changes; none when too many readers wait already. Subscribe first, then read.
    pub fn subscribe(&self, topics: impl IntoIterator<Item = Topic>) -> Option<Subscription> {
        self.core.published.watch().subscribe(topics)
    }

    /// Writes a command. The outcome is the state's answer; it is in the log either way.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(
        &self,
        command: impl Into<Command>,
    ) -> Result<(Index, Outcome), ProposeError> {
        self.core.raft.propose(command.into()).await
    }

    async fn write(
        &self,
        command: impl Into<Command>,
        eval_id: Option<EvalId>,
    ) -> Result<Written, Error> {
        let (index, outcome) = self.propose(command).await?;
        let effect = outcome?;
        Ok(Written {
            index,
            eval_id,
            job_modify_index: effect.job_modify_index,
            reverted_to: None,
        })
    }

    /// Where the log stands.
    pub fn raft_metrics(&self) -> Metrics {
        self.core.raft.metrics()
    }

    /// The voters of the log.
    pub fn voters(&self) -> Vec<Voter> {
        self.core.raft.configuration()
    }

    /// RPC address of the leader; none while there is none.
    pub fn leader(&self) -> Option<String> {
        let voters = self.voters();
        voters
            .into_iter()
            .find(|voter| voter.is_leader)
            .map(|voter| voter.address)
    }

    /// Figures for `agent-info`: section to key to value.
    pub fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let metrics = self.raft_metrics();
        let ready = self.core.broker.lock().ready_len();
        let state = if metrics.is_leader {
            "Leader"
        } else {
            "Follower"
        };
        let nomad = [
            ("server", "true".to_owned()),
            ("leader", metrics.is_leader.to_string()),
            ("leader_addr", self.leader().unwrap_or_default()),
            ("bootstrap", "true".to_owned()),
            ("known_regions", "1".to_owned()),
        ];
        let raft = [
            ("state", state.to_owned()),
            ("term", metrics.term.to_string()),
            ("last_log_index", metrics.last_log_index.to_string()),
            ("last_log_term", metrics.term.to_string()),
            ("commit_index", metrics.applied_index.to_string()),
            ("applied_index", metrics.applied_index.to_string()),
            ("last_snapshot_index", metrics.snapshot_index.to_string()),
            (
                "num_peers",
                (self.voters().len().saturating_sub(1)).to_string(),
            ),
        ];
        let broker = [("total_ready", ready.to_string())];
        let section = |rows: &[(&str, String)]| {
            rows.iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect()
        };
        BTreeMap::from([
            ("nomad".to_owned(), section(&nomad)),
            ("raft".to_owned(), section(&raft)),
            ("broker".to_owned(), section(&broker)),
        ])
    }

    /// Registers a job or a new version of it, with the evaluation that looks at it.
    ///
    /// # Errors
    /// [`Error`]; a wrong `enforce_index` is [`Error::Rejected`].
    pub async fn register_job(&self, registration: Registration) -> Result<Written, Error> {
        let Registration {
            mut job,
            submission,
            enforce_index,
            eval_priority,
            preserve_counts,
        } = registration;
        let now = now_ns();
        job.submit_time = now;
        if preserve_counts && let Some(current) = self.snapshot().jobs.job(&job.key()) {
            for group in &mut job.task_groups {
                if let Some(earlier) = current.task_group(&group.name) {
                    group.count = earlier.count;
                }
            }
        }
        let mut eval = triggers::for_job(&job, Trigger::JobRegister, now, &mut ids());
        eval.priority = eval_priority.unwrap_or(eval.priority);
        let eval_id = Some(eval.id);
        let command = RegisterJob {
            job,
            submission,
            eval: Some(eval),
            enforce_index,
            scaling: BTreeMap::new(),
        };
        self.write(JobsCommand::RegisterJob(Box::new(command)), eval_id)
            .await
    }

    /// Stops a job, or removes it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn deregister_job(
        &self,
        key: &JobKey,
        purge: bool,
        eval_priority: Option<i32>,
    ) -> Result<Written, Error> {
        let now = now_ns();
        let snapshot = self.snapshot();
        let mut eval =
            triggers::for_key(&snapshot.jobs, key, Trigger::JobDeregister, now, &mut ids());
        if let (Some(eval), Some(priority)) = (&mut eval, eval_priority) {
            eval.priority = priority;
        }
        let eval_id = eval.as_ref().map(|eval| eval.id);
        let command = DeregisterJob {
            namespace: key.namespace.clone(),
            id: key.id.clone(),
            purge,
            submit_time: now,
            eval,
        };
        self.write(JobsCommand::DeregisterJob(command), eval_id)
            .await
    }

    /// Looks at a job again. With `force_reschedule`, failed allocations are replaced whatever their
    /// policy says.
    ///
    /// # Errors
    /// [`Error`]; an unknown job is [`Error::Rejected`].
    pub async fn evaluate_job(
        &self,
        key: &JobKey,
        force_reschedule: bool,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let eval = triggers::for_key(
            &snapshot.jobs,
            key,
            Trigger::JobRegister,
            now_ns(),
            &mut ids(),
        )
        .ok_or(jobs::state::Rejected::NoJob)?;
        let eval_id = Some(eval.id);
        let wish = DesiredTransition {
            force_reschedule: Some(true),
            ..DesiredTransition::default()
        };
        let failed = snapshot.jobs.allocs_of_job(key).filter(|alloc| {
            force_reschedule
                && alloc.client_status == jobs::model::ClientStatus::Failed
                && !alloc.server_terminal()
        });
        let command = JobsCommand::TransitionAllocs {
            transitions: failed.map(|alloc| (alloc.id, wish.clone())).collect(),
            evals: vec![eval],
        };
        self.write(command, eval_id).await
    }

    /// Changes a group's count, or records why it was not changed.
    ///
    /// # Errors
    /// [`Error`]; refused while a deployment of the job is active.
    pub async fn scale_job(&self, key: &JobKey, scaling: Scaling) -> Result<Written, Error> {
        let now = now_ns();
        let snapshot = self.snapshot();
        let current = snapshot.jobs.job(key).ok_or(jobs::state::Rejected::NoJob)?;
        let mut job = (**current).clone();
        let only = job.task_groups.len() == 1 && scaling.group.is_empty();
        let system = matches!(job.job_type, JobType::System | JobType::Sysbatch);
        let group = job
            .task_groups
            .iter_mut()
            .find(|group| only || group.name == scaling.group)
            .ok_or_else(|| Error::NoGroup {
                group: scaling.group.clone(),
            })?;
        let previous_count = i64::from(group.count);
        if let Some(count) = scaling.count {
            let count_max = if system { 1 } else { GROUP_COUNT_MAX };
            let within = u32::try_from(count)
                .ok()
                .filter(|count| *count <= count_max);
            group.count = within.ok_or(Error::Count { count_max })?;
            let deployment = snapshot.jobs.latest_deployment(key);
            if deployment.is_some_and(|deployment| deployment.is_active()) {
                return Err(Error::ScalingBlocked);
            }
        }
        let group = group.name.clone();
        let eval = scaling
            .count
            .map(|_| triggers::for_job(&job, Trigger::JobScaling, now, &mut ids()));
        let eval_id = eval.as_ref().map(|eval| eval.id);
        let event = ScalingEvent {
            count: scaling.count,
            previous_count,
            error: scaling.error,
            message: scaling.message,
            meta: scaling.meta,
            eval_id,
            time: now,
            create_index: 0,
        };
        if scaling.count.is_some() {
            job.submit_time = now;
        }
        let command = RegisterJob {
            // The job was read above; a registration in between must not be undone.
            enforce_index: scaling.enforce_index.or(Some(current.job_modify_index)),
            submission: snapshot
                .jobs
                .submission(key, current.version)
                .map(|submission| (**submission).clone()),
            job,
            eval,
            scaling: BTreeMap::from([(group, event)]),
        };
        self.write(JobsCommand::RegisterJob(Box::new(command)), eval_id)
            .await
    }

    /// Registers an older version as the next one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revert_job(
        &self,
        key: &JobKey,
        version: u64,
        enforce_prior: Option<u64>,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::revert(
            &snapshot.jobs,
            now_ns(),
            key,
            version,
            enforce_prior,
            &mut ids(),
        )?;
        self.write_operator(command).await
    }

    /// Marks a version of a job as stable or not.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn mark_stable(
        &self,
        key: &JobKey,
        version: u64,
        stable: bool,
    ) -> Result<Written, Error> {
        let command = JobsCommand::MarkStable {
            key: key.clone(),
            version,
            stable,
        };
        self.write(command, None).await
    }

    /// Stops an allocation and has another placed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn stop_alloc(
        &self,
        alloc_id: AllocId,
        no_shutdown_delay: bool,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::stop_alloc(
            &snapshot.jobs,
            now_ns(),
            alloc_id,
            no_shutdown_delay,
            &mut ids(),
        )?;
        self.write_operator(command).await
    }

    /// Promotes canaries; `groups` empty is all.
    ///
    /// # Errors
    /// [`Error`]; refused while a group has too few healthy canaries.
    pub async fn promote_deployment(
        &self,
        id: DeploymentId,
        groups: &[String],
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::promote(&snapshot.jobs, now_ns(), id, groups, &mut ids())?;
        self.write_operator(command).await
    }

    /// Gives a deployment up, and goes back when its groups say so.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn fail_deployment(&self, id: DeploymentId) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::fail(&snapshot.jobs, now_ns(), id, &mut ids())?;
        self.write_operator(command).await
    }

    /// Pauses or resumes a deployment.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pause_deployment(&self, id: DeploymentId, pause: bool) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::pause(&snapshot.jobs, now_ns(), id, pause, &mut ids())?;
        self.write_operator(command).await
    }

    /// Sets the health of allocations by hand.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_alloc_health(
        &self,
        deployment_id: DeploymentId,
        healthy: Vec<AllocId>,
        unhealthy: Vec<AllocId>,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::set_health(
            &snapshot.jobs,
            now_ns(),
            deployment_id,
            healthy,
            unhealthy,
            &mut ids(),
        )?;
        self.write_operator(command).await
    }

    async fn write_operator(&self, command: JobsCommand) -> Result<Written, Error> {
        let eval_id = eval_of(&command);
        let revert = command.revert().map(|job| (job.key(), job.version));
        let written = self.write(command, eval_id).await?;
        // The entry holds the old version as a new one, unless the job had changed meanwhile.
        let snapshot = self.snapshot();
        let is_of_this_entry = |key: &JobKey| {
            let job = snapshot.jobs.job(key);
            job.is_some_and(|job| job.job_modify_index == written.index)
        };
        let reverted = revert.filter(|(key, _)| is_of_this_entry(key));
        Ok(Written {
            reverted_to: reverted.map(|(_, version)| version),
            ..written
        })
    }

    /// Changes whether a node takes new allocations.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_eligibility(
        &self,
        node_id: NodeId,
        eligibility: Eligibility,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let evals = match eligibility {
            Eligibility::Eligible => {
                triggers::for_node(&snapshot.jobs, node_id, now_ns(), &mut ids())
            }
            Eligibility::Ineligible => Vec::new(),
        };
        let command = JobsCommand::UpdateNodeEligibility {
            node_id,
            eligibility,
            evals,
        };
        self.write(command, None).await
    }

    /// Looks at every job of a node again.
    ///
    /// # Errors
    /// [`Error`]; an unknown node is [`Error::Rejected`].
    pub async fn evaluate_node(&self, node_id: NodeId) -> Result<(Index, Vec<EvalId>), Error> {
        let snapshot = self.snapshot();
        if snapshot.jobs.node(node_id).is_none() {
            return Err(jobs::state::Rejected::NoNode.into());
        }
        let evals = triggers::for_node(&snapshot.jobs, node_id, now_ns(), &mut ids());
        let eval_ids = evals.iter().map(|eval| eval.id).collect();
        let written = self.write(JobsCommand::UpsertEvals(evals), None).await?;
        Ok((written.index, eval_ids))
    }

    /// Forgets everything that is over, whatever its age.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn collect_garbage(&self) -> Result<(), Error> {
        let actions = self.core.gc.lock().force(now_ns(), &self.snapshot().jobs);
        for action in actions {
            if let jobs::control::Action::Propose(command) = action {
                self.write(command, None).await?;
            }
        }
        Ok(())
    }

    /// What registering `job` now would do; nothing is changed.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`] when the decision could not be made.
    pub async fn preview(&self, job: Job) -> Result<scheduler::Preview, ProposeError> {
        let snapshot = self.snapshot();
        tokio::task::spawn_blocking(move || {
            let mut cx = scheduler::Context::new(now_ns(), seed());
            scheduler::preview(&snapshot.jobs, job, &mut cx)
        })
        .await
        .map_err(|_| ProposeError::Stopped)
    }

    /// Replaces the operator's route text, when it still has version `expected` (if given).
    ///
    /// # Errors
    /// [`Error`]; another version is [`Error::Rejected`].
    pub async fn set_route_overrides(
        &self,
        text: String,
        expected: Option<Index>,
    ) -> Result<Written, Error> {
        let command = SetRouteOverrides {
            text,
            expected_index: expected,
        };
        let command = mesh::state::Command::SetRouteOverrides(command);
        self.write(command, None).await
    }

    /// Fixes or frees the share of some targets of a route.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_split(&self, split: SetSplit) -> Result<Written, Error> {
        let command = mesh::state::Command::SetSplit(split);
        self.write(command, None).await
    }
}

/// The evaluation that rides along with a command.
fn eval_of(command: &JobsCommand) -> Option<EvalId> {
    let eval = match command {
        JobsCommand::RegisterJob(command) => command.eval.as_ref(),
        JobsCommand::TransitionAllocs { evals, .. } => evals.first(),
        JobsCommand::UpdateDeployment { eval, .. } | JobsCommand::SetAllocHealth { eval, .. } => {
            eval.as_ref()
        }
        JobsCommand::PromoteDeployment { eval, .. } => Some(eval),
        _ => None,
    };
    eval.map(|eval| eval.id)
}
