//! What metrics stores and hooks are asked of canaries, as long as it is of interest. Who asks, and
//! when the next time has come, is decided elsewhere.

use super::judge::Judge;
use crate::model::{
    Deployment, DeploymentId, Filling, Gate, GroupName, HookCall, HookPoint, MetricLimit, Rollout,
    RolloutCause, RolloutPhase, RolloutPolicy, Share, Span,
};
use serde::Serialize;

/// How long nothing is asked again.
pub const ASK_INTERVAL: Span = Span::from_secs(5);

/// Something that is asked now, and again while it is one of the questions.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Deployment.
    pub deployment_id: DeploymentId,
    /// Group.
    pub group: GroupName,
    /// Name of the metric or hook.
    pub name: String,
    /// Who is asked, and for what.
    pub what: What,
}

/// Who is asked, and for what. The URLs may hold passwords.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A metrics store, for the value of a query.
    Metric {
        /// URL of the store.
        address: String,
        /// The query, with all names filled in.
        query: String,
    },
    /// A hook, whether the rollout may go on.
    Hook {
        /// Its URL.
        url: String,
        /// What is posted to it.
        payload: Payload,
    },
}

/// What a hook is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Payload {
    /// Job.
    pub job: String,
    /// Its namespace.
    pub namespace: String,
    /// Group.
    pub group: String,
    /// Deployment.
    pub deployment: String,
    /// Number of the version of the job that the canaries run.
    pub version: u64,
    /// Number of the version that was stable last; none if there was none.
    pub stable_version: Option<u64>,
    /// The step, counted from 0.
    pub step: u32,
    /// The share of the canaries, percent.
    pub share: f64,
    /// Where the rollout is.
    pub phase: &'static str,
    /// Name of the hook.
    pub hook: String,
}

/// The canaries that are asked about.
pub(super) struct Subject<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) group: &'a GroupName,
    /// The service whose labels say what is asked.
    pub(super) service: &'a str,
    pub(super) stable_version: Option<u64>,
    pub(super) policy: &'a RolloutPolicy,
    pub(super) rollout: &'a Rollout,
    pub(super) judge: &'a Judge,
    pub(super) elapsed: Span,
}

impl Subject<'_> {
    /// All that is asked of them right now.
    pub(super) fn questions(&self) -> Vec<Question> {
        if !self.policy.is_governed() || self.rollout.is_over() {
            return Vec::new();
        }
        let metrics = self.policy.metrics.iter();
        let metrics = metrics
            .filter(|_| self.is_under_way() && self.rollout.share > Share::NONE)
            .map(|(name, metric)| self.question(name, self.of_metric(metric)));
        let hooks = self.policy.hooks.iter();
        let hooks = hooks
            .filter(|(name, hook)| self.is_asked(name, hook.on))
            .map(|(name, hook)| self.question(name, self.of_hook(name, hook)));
        metrics.chain(hooks).collect()
    }

    fn is_under_way(&self) -> bool {
        self.rollout.phase != RolloutPhase::Warming
    }

    fn is_asked(&self, name: &str, on: HookPoint) -> bool {
        match on {
            HookPoint::Abort => true,
            HookPoint::Step => self.is_under_way(),
            HookPoint::Start | HookPoint::Increase | HookPoint::Promote => {
                on.gate() == self.waits_at() && !self.judge.lets_on(name)
            }
        }
    }

    /// The gate at which it waits.
    fn waits_at(&self) -> Option<Gate> {
        if self.rollout.cause != RolloutCause::Gate {
            return None;
        }
        let next = self.rollout.step.saturating_add(1);
        match self.rollout.phase {
            RolloutPhase::Warming => Some(Gate::Start),
            RolloutPhase::Held if self.rollout.step_share(next).is_some() => Some(Gate::Increase),
            RolloutPhase::Held => Some(Gate::Promote),
            RolloutPhase::Judging
            | RolloutPhase::Frozen
            | RolloutPhase::Baking
            | RolloutPhase::Passed
            | RolloutPhase::Aborted => None,
        }
    }

    fn question(&self, name: &str, what: What) -> Question {
        Question {
            deployment_id: self.deployment.id,
            group: self.group.clone(),
            name: name.to_owned(),
            what,
        }
    }

    fn of_metric(&self, metric: &MetricLimit) -> What {
        let filling = Filling {
            version: self.deployment.job_version,
            stable_version: self.stable_version,
            job: &self.deployment.job_id,
            group: self.group,
            service: self.service,
            window: self.elapsed,
        };
        What::Metric {
            address: metric.address.clone(),
            query: metric.filled(&filling),
        }
    }

    fn of_hook(&self, name: &str, hook: &HookCall) -> What {
        What::Hook {
            url: hook.url.clone(),
            payload: Payload {
                job: self.deployment.job_id.to_string(),
                namespace: self.deployment.namespace.to_string(),
                group: self.group.to_string(),
                deployment: self.deployment.id.to_string(),
                version: self.deployment.job_version,
                stable_version: self.stable_version,
                step: self.rollout.step,
                share: f64::from(self.rollout.share.ten_thousandths()) / 100.0,
                phase: self.rollout.phase.as_str(),
                hook: name.to_owned(),
            },
        }
    }
}
