//! What an agent follows beside the catalog and its allocations: keys and variables.

use jobs::model::{AllocId, Namespace, NodeId, Variable};
use rpc::{
    message::ToClient,
    watched::{Content, Subject, VariableFacts},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use super::Core;
use crate::{
    Handle, Snapshot,
    log::{propose::now, watch::Topic},
};

/// Subjects that one stream follows.
const SUBJECTS_MAX: usize = rpc::session::SUBJECTS_MAX;
/// Keys below a prefix that are told.
const PAIRS_MAX: usize = 10_000;
/// Bytes of keys and values below a prefix that are told.
const PAIRS_BYTES_MAX: usize = 8 << 20;
/// Pause before tokens are tried again, and the shortest between two of them.
const TOKENS_PAUSE: Duration = Duration::from_secs(1);
/// Variables of a list that are told.
const LIST_MAX: usize = 10_000;

/// The subjects of one stream.
pub(super) struct Watches {
    core: Arc<Core>,
    node_id: Option<NodeId>,
    answers: mpsc::Sender<ToClient>,
    followers: JoinSet<()>,
    by_number: BTreeMap<u64, AbortHandle>,
}

impl Watches {
    pub(super) fn new(
        core: &Arc<Core>,
        node_id: Option<NodeId>,
        answers: &mpsc::Sender<ToClient>,
    ) -> Self {
        Self {
            core: Arc::clone(core),
            node_id,
            answers: answers.clone(),
            followers: JoinSet::new(),
            by_number: BTreeMap::new(),
        }
    }

    /// Tells the agent of `subject` from now on.
    pub(super) async fn begin(&mut self, number: u64, subject: Subject) {
        while self.followers.try_join_next().is_some() {}
        if self.by_number.len() >= SUBJECTS_MAX {
            let content = refused("this agent follows too many keys and variables");
            self.answers
                .send(ToClient::Watched { number, content })
                .await
                .ok();
            return;
        }
        let follower = Follower {
            handle: Handle {
                core: Arc::clone(&self.core),
            },
            node_id: self.node_id,
            number,
            subject,
        };
        let following = self.followers.spawn(follower.run(self.answers.clone()));
        if let Some(earlier) = self.by_number.insert(number, following) {
            earlier.abort();
        }
    }

    /// Nobody wants to know of it any more.
    pub(super) fn end(&mut self, number: u64) {
        if let Some(following) = self.by_number.remove(&number) {
            following.abort();
        }
    }
}

fn refused(reason: impl Into<String>) -> Content {
    Content::Refused(reason.into())
}

struct Follower {
    handle: Handle,
    node_id: Option<NodeId>,
    number: u64,
    subject: Subject,
}

impl Follower {
    /// Tells what there is, and whenever it changes, until the stream ends.
    async fn run(self, answers: mpsc::Sender<ToClient>) {
        if let Subject::Tokens { alloc_id, task } = &self.subject {
            return self.renew_tokens(&answers, *alloc_id, task).await;
        }
        let number = self.number;
        let tell = async |content| answers.send(ToClient::Watched { number, content }).await;
        let Some(subscription) = self.handle.subscribe(self.topics()) else {
            tell(refused("the server follows too much for others already"))
                .await
                .ok();
            return;
        };
        let (mut told, mut version) = (None, None);
        loop {
            let snapshot = self.handle.snapshot();
            let newest = self.version(&snapshot);
            // What did not change is neither decrypted nor compared.
            if version.is_none() || version != newest {
                version = newest;
                let content = self.content(&snapshot);
                if told.as_ref() != Some(&content) {
                    told = Some(content.clone());
                    if tell(content).await.is_err() {
                        return;
                    }
                }
            }
            subscription.changed().await;
        }
    }

    /// Tells the tokens of a task of the agent's node, and the next ones when they are due.
    async fn renew_tokens(&self, answers: &mpsc::Sender<ToClient>, alloc_id: AllocId, task: &str) {
        let number = self.number;
        loop {
            let is_own = {
                let snapshot = self.handle.snapshot();
                let alloc = snapshot.jobs.alloc(alloc_id);
                alloc.is_some_and(|alloc| Some(alloc.node_id) == self.node_id)
            };
            let tokens = if is_own {
                self.handle.task_tokens(alloc_id, task).await
            } else {
                Ok(None)
            };
            let (content, until) = match tokens {
                Ok(Some(tokens)) => (Content::Tokens(tokens.by_name), tokens.until),
                Ok(None) => (refused("an agent gets tokens for its own tasks only"), None),
                Err(error) => {
                    tracing::debug!(%error, "tokens of a task are tried again");
                    sleep(TOKENS_PAUSE).await;
                    continue;
                }
            };
            if answers
                .send(ToClient::Watched { number, content })
                .await
                .is_err()
            {
                return;
            }
            match until {
                Some(until) => sleep(until.since(now()).max(TOKENS_PAUSE)).await,
                None => std::future::pending().await,
            }
        }
    }

    fn topics(&self) -> Vec<Topic> {
        match &self.subject {
            Subject::Key(key) => vec![Topic::Key(key.clone())],
            Subject::KeysBelow(prefix) => vec![Topic::KeysBelow(prefix.clone())],
            // Also those of the node: which variables it may read is decided by what it runs.
            Subject::Variable(_) | Subject::VariablesBelow { .. } => self
                .node_id
                .map(Topic::Node)
                .into_iter()
                .chain([Topic::Jobs(jobs::state::Table::Variables)])
                .collect(),
            Subject::Tokens { .. } => Vec::new(),
        }
    }

    /// Changes whenever the content does; none where only the content says.
    fn version(&self, snapshot: &Snapshot) -> Option<(u64, bool)> {
        match &self.subject {
            Subject::Key(key) => Some((snapshot.mesh.key_index(key), true)),
            Subject::KeysBelow(prefix) => Some((snapshot.mesh.prefix_index(prefix), true)),
            Subject::Variable(key) => {
                let row = snapshot.jobs.variable(key);
                let index = row.map(|row| row.modify_index);
                let may_read = self.may_read(snapshot, &key.namespace);
                Some((index.unwrap_or_default(), may_read))
            }
            Subject::VariablesBelow { .. } | Subject::Tokens { .. } => None,
        }
    }

    fn content(&self, snapshot: &Snapshot) -> Content {
        match &self.subject {
            Subject::Key(key) => match snapshot.mesh.key(key) {
                Some(entry) => Content::Text(String::from_utf8_lossy(&entry.value).into_owned()),
                None => Content::Nothing,
            },
            Subject::KeysBelow(prefix) => pairs(snapshot, prefix),
            Subject::Variable(key) => {
                if !self.may_read(snapshot, &key.namespace) {
                    return no_namespace(&key.namespace);
                }
                let Some(row) = snapshot.jobs.variable(key) else {
                    return Content::Nothing;
                };
                match self.handle.variable_items(snapshot, row) {
                    Ok(items) => Content::Items {
                        items,
                        facts: facts(row),
                    },
                    Err(error) => refused(error.to_string()),
                }
            }
            Subject::Tokens { .. } => Content::Nothing,
            Subject::VariablesBelow { namespace, prefix } => {
                if !self.may_read(snapshot, namespace) {
                    return no_namespace(namespace);
                }
                let rows = snapshot.jobs.variables(Some(namespace), prefix);
                Content::List(rows.take(LIST_MAX).map(|row| facts(row)).collect())
            }
        }
    }

    /// An agent reads variables of those namespaces of which its node runs something.
    fn may_read(&self, snapshot: &Snapshot, namespace: &Namespace) -> bool {
        let Some(node_id) = self.node_id else {
            return false;
        };
        let mut allocs = snapshot.jobs.allocs_of_node(node_id);
        allocs.any(|alloc| alloc.namespace == *namespace && !alloc.client_terminal())
    }
}

fn no_namespace(namespace: &Namespace) -> Content {
    refused(format!(
        "this node runs nothing of the namespace `{namespace}`"
    ))
}

fn pairs(snapshot: &Snapshot, prefix: &str) -> Content {
    let (mut pairs, mut bytes) = (Vec::new(), 0);
    for entry in snapshot.mesh.keys_below(prefix) {
        bytes += entry.key.len() + entry.value.len();
        if pairs.len() >= PAIRS_MAX || bytes > PAIRS_BYTES_MAX {
            return refused(format!(
                "there are more than {PAIRS_MAX} keys or {PAIRS_BYTES_MAX} bytes below `{prefix}`"
            ));
        }
        let value = String::from_utf8_lossy(&entry.value).into_owned();
        pairs.push((entry.key.clone(), value));
    }
    Content::Pairs(pairs)
}

fn facts(row: &Variable) -> VariableFacts {
    VariableFacts {
        namespace: row.key.namespace.clone(),
        path: row.key.path.to_string(),
        create_index: row.create_index,
        modify_index: row.modify_index,
        create_time: row.create_time,
        modify_time: row.modify_time,
    }
}
