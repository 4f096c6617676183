//! Tells each transition of a rollout where its job asks for it. A hook that is slow or dead delays
//! nobody: each message is sent by a task of its own, of which there is a bounded number.

use jobs::model::{Deployment, DeploymentId, GroupName, RolloutTransition, Timestamp};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::broadcast::error::RecvError, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{Core, Snapshot, log::propose::now};

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a message is tried.
const TRIES_MAX: u32 = 8;
/// The first pause between two tries; each next one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Messages on their way; further ones are not sent.
const MESSAGES_MAX: usize = 256;
/// A new leader tells transitions again that are not older, for the last one may not have been
/// able to. They have the same ids.
const AGAIN: Duration = Duration::from_secs(30);

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
struct Message {
    /// The same however often, and by whomever, it is sent.
    id: String,
    /// The sentence.
    text: String,
    at: String,
    namespace: String,
    job: String,
    job_version: u64,
    group: String,
    deployment: String,
    phase: &'static str,
    cause: &'static str,
    step: u32,
    /// Percent.
    share: f64,
    actor: String,
}

impl Message {
    fn new(deployment: &Deployment, group: &GroupName, transition: &RolloutTransition) -> Self {
        Self {
            id: format!("{}/{group}/{}", deployment.id, transition.revision),
            text: transition.reason.clone(),
            at: transition.at.to_string(),
            namespace: deployment.namespace.to_string(),
            job: deployment.job_id.to_string(),
            job_version: deployment.job_version,
            group: group.to_string(),
            deployment: deployment.id.to_string(),
            phase: transition.phase.as_str(),
            cause: transition.cause.as_str(),
            step: transition.step,
            share: f64::from(transition.share.ten_thousandths()) / 100.0,
            actor: transition.actor.clone(),
        }
    }
}

/// How far the transitions of rollouts were told.
#[derive(Debug, Default)]
struct Told(BTreeMap<(DeploymentId, GroupName), u64>);

impl Told {
    /// What is new of a deployment, and where it is to be told.
    fn news(
        &mut self,
        deployment: &Deployment,
        snapshot: &Snapshot,
        since: Timestamp,
    ) -> Vec<(String, Message)> {
        let mut news = Vec::new();
        for (name, group) in &deployment.task_groups {
            let Some(rollout) = &group.rollout else {
                continue;
            };
            let known = self.0.entry((deployment.id, name.clone())).or_default();
            let from = std::mem::replace(known, rollout.revision);
            let key = deployment.job_key();
            let job = snapshot.jobs.version(&key, deployment.job_version);
            let policy = job.and_then(|job| Some(job.task_group(name)?.rollout_policy()));
            let Some(url) = policy.and_then(|policy| policy.notify) else {
                continue;
            };
            let transitions = rollout.transitions.iter();
            let new = transitions.filter(|own| own.revision > from && own.at >= since);
            news.extend(new.map(|own| (url.clone(), Message::new(deployment, name, own))));
        }
        news
    }

    /// Forgets deployments that are over.
    fn keep_active(&mut self, snapshot: &Snapshot) {
        let ids: BTreeSet<DeploymentId> = self.0.keys().map(|(id, _)| *id).collect();
        let is_over = |id: &DeploymentId| {
            let row = snapshot.jobs.deployment(*id);
            row.is_none_or(|row| !row.is_active())
        };
        let over: BTreeSet<DeploymentId> = ids.into_iter().filter(is_over).collect();
        self.0.retain(|(id, _), _| !over.contains(id));
    }
}

/// Tells transitions until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    // The client panics without one.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "transitions of rollouts cannot be told to webhooks");
            return stop.cancelled().await;
        }
    };
    let mut sending = JoinSet::new();
    let mut told = Told::default();
    loop {
        let (mut commits, snapshot) = core.published.follow();
        let since = now() - AGAIN;
        for deployment in snapshot.jobs.deployments("") {
            let news = told.news(deployment, &snapshot, since);
            send(&client, &mut sending, news);
        }
        loop {
            let commit = tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = sending.join_next() => continue,
                commit = commits.recv() => commit,
            };
            let commit = match commit {
                Ok(commit) => commit,
                Err(RecvError::Lagged(_) | RecvError::Closed) => break,
            };
            let applied = &commit.changes.jobs;
            let mut has_news = false;
            for deployment in applied.iter().flat_map(|own| &own.deployments) {
                has_news = true;
                let news = told.news(deployment, &commit.snapshot, since);
                send(&client, &mut sending, news);
            }
            if has_news {
                told.keep_active(&commit.snapshot);
            }
        }
    }
}

fn send(client: &reqwest::Client, sending: &mut JoinSet<()>, news: Vec<(String, Message)>) {
    for (url, message) in news {
        if sending.len() >= MESSAGES_MAX {
            tracing::warn!(
                id = message.id,
                "too many messages to webhooks are on their way"
            );
            return;
        }
        sending.spawn(deliver(client.clone(), url, message));
    }
}

/// Sends a message until it is taken, a few times.
async fn deliver(client: reqwest::Client, url: String, message: Message) {
    let mut pause = PAUSE_MIN;
    for attempt in 1..=TRIES_MAX {
        let answer = client.post(&url).json(&message).send().await;
        let problem = match answer {
            Ok(answer) if answer.status().is_success() => return,
            Ok(answer) => answer.status().to_string(),
            // The URL may hold a secret.
            Err(error) => error.without_url().to_string(),
        };
        if attempt == TRIES_MAX {
            tracing::warn!(
                id = message.id,
                problem,
                "a webhook did not take a transition"
            );
            return;
        }
        sleep(pause).await;
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    use jobs::{
        model::{DeploymentState, Job, Rollout, RolloutPhase, ServiceSpec, Share, Span, TaskGroup},
        state::{Command, RegisterJob, Stamp, State},
    };

    use super::*;

    /// A state with a job that wants to be told.
    fn snapshot(now: Timestamp) -> Snapshot {
        let mut state = State::default();
        let mut service = ServiceSpec::default();
        let url = "http://hook.example/x".to_owned();
        service.meta.insert("rollout_notify".into(), url);
        let job = Job {
            id: "shop".into(),
            task_groups: vec![TaskGroup {
                name: "web".into(),
                services: vec![service],
                ..TaskGroup::default()
            }]
            .into(),
            ..Job::default()
        };
        let command = Command::RegisterJob(Box::new(RegisterJob {
            job,
            ..RegisterJob::default()
        }));
        state
            .apply(Stamp { index: 1, now }, command)
            .expect("a job");
        Snapshot {
            jobs: state.snapshot(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn each_transition_is_told_once_and_keeps_its_id() {
        let now = Timestamp::from_secs(1_800_000_000);
        let snapshot = snapshot(now);
        let mut rollout = Rollout::new(vec![Share::of_percent(5)], now);
        let mut deployment = Deployment {
            id: DeploymentId::named("one"),
            job_id: "shop".into(),
            ..Deployment::default()
        };
        let mut told = Told::default();
        let mut messages = Vec::new();
        for phase in [RolloutPhase::Judging, RolloutPhase::Held] {
            let transition = RolloutTransition {
                at: now,
                phase,
                share: Share::of_percent(5),
                reason: "a sentence".into(),
                ..RolloutTransition::default()
            };
            rollout = rollout.after(transition, Span::ZERO);
            let group = DeploymentState {
                rollout: Some(Box::new(rollout.clone())),
                ..DeploymentState::default()
            };
            deployment.task_groups.insert("web".into(), group);
            messages.extend(told.news(&deployment, &snapshot, now));
            assert_eq!(told.news(&deployment, &snapshot, now), []);
        }
        let ends: Vec<&str> = messages
            .iter()
            .filter_map(|(_, message)| message.id.split_once('/'))
            .map(|(_, end)| end)
            .collect();
        assert_eq!(ends, ["web/2", "web/3"]);
        let (url, first) = &messages[0];
        assert_eq!(
            (url.as_str(), first.share, first.phase, first.text.as_str()),
            ("http://hook.example/x", 5.0, "judging", "a sentence")
        );
        // The next leader says the same again, but not what is old.
        let again = Told::default().news(&deployment, &snapshot, now);
        assert_eq!(again, messages);
        let later = Told::default().news(&deployment, &snapshot, now + Span::SECOND);
        assert_eq!(later, []);
        told.keep_active(&snapshot);
        assert!(told.0.is_empty(), "its deployment is not in the state");
    }
}
