//! Where the templates of one task get their values from: its environment and files, the agent's
//! copy of the catalog, and what the servers tell of keys and variables.

use super::{
    catalog::{self, Place},
    files::Files,
};
use futures_util::future::select_all;
use jobs::model::VariableKey;
use parking_lot::Mutex;
use rpc::{
    session::{self, Replica, Watched},
    watched::{Content, Subject, VariableFacts},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
};
use sys::clock;
use templates::{Query, World};
use tokio::sync::watch;

/// What a task's templates see. It also knows what they have looked at.
#[derive(Debug)]
pub(super) struct TaskWorld {
    variables: Arc<BTreeMap<String, String>>,
    files: Files,
    place: Place,
    session: session::Handle,
    seen: Mutex<Seen>,
}

/// What the last renderings looked at.
#[derive(Debug, Default)]
struct Seen {
    replica: Arc<Replica>,
    /// Questions to the catalog.
    asked: BTreeSet<Query>,
    followed: BTreeMap<Subject, Followed>,
    /// Why something is not told, which goes before what is missing.
    refused: Option<String>,
}

impl TaskWorld {
    pub(super) fn new(
        variables: Arc<BTreeMap<String, String>>,
        files: Files,
        place: Place,
        session: session::Handle,
    ) -> Self {
        Self {
            variables,
            files,
            place,
            session,
            seen: Mutex::default(),
        }
    }

    /// Looks at the catalog as it is now, and forgets what was looked at before.
    pub(super) fn begin(&self) {
        let mut seen = self.seen.lock();
        seen.replica = Arc::clone(&self.session.catalog().borrow());
        seen.asked.clear();
        for followed in seen.followed.values_mut() {
            followed.read = None;
        }
        seen.refused = None;
    }

    /// Follows nothing any more that the renderings since [`TaskWorld::begin`] did not ask for.
    /// Answers with the reason why one of them was refused something.
    pub(super) fn finish(&self) -> Option<String> {
        let mut seen = self.seen.lock();
        seen.followed.retain(|_, followed| followed.read.is_some());
        seen.refused.clone()
    }

    /// What follows after what the last renderings saw.
    pub(super) fn changes(&self) -> Changes {
        let seen = self.seen.lock();
        Changes {
            catalog: self.session.catalog(),
            replica: Arc::clone(&seen.replica),
            asked: seen.asked.clone(),
            place: self.place.clone(),
            followed: seen
                .followed
                .values()
                .map(|one| one.watched.clone())
                .collect(),
        }
    }

    fn subject(&self, query: &Query) -> Option<Subject> {
        let own = |namespace: &Option<String>| {
            namespace
                .clone()
                .unwrap_or_else(|| self.place.namespace.clone())
        };
        Some(match query {
            Query::Key(key) => Subject::Key(key.clone()),
            Query::Keys(prefix) => Subject::KeysBelow(prefix.clone()),
            Query::Variable { path, namespace } => Subject::Variable(VariableKey {
                namespace: own(namespace).into(),
                path: path.as_str().into(),
            }),
            Query::Variables { prefix, namespace } => Subject::VariablesBelow {
                namespace: own(namespace).into(),
                prefix: prefix.clone(),
            },
            _ => return None,
        })
    }

    fn follow(&self, subject: Subject) -> Option<Value> {
        let mut seen = self.seen.lock();
        let Seen {
            followed, refused, ..
        } = &mut *seen;
        if !followed.contains_key(&subject) {
            let Some(watched) = self.session.watch(&subject) else {
                *refused = Some("this agent follows too many keys and variables".into());
                return None;
            };
            followed.insert(subject.clone(), Followed::new(watched));
        }
        let content = followed.get_mut(&subject)?.value()?;
        match &*content {
            Content::Refused(reason) => {
                *refused = Some(reason.clone());
                None
            }
            content => Some(as_json(content)),
        }
    }
}

/// A key or variable that is followed.
#[derive(Debug)]
struct Followed {
    watched: Watched,
    /// What this round of renderings has read: all of a round see the same, for who saw the value
    /// before it changed would not hear of the change once another has seen the one after.
    read: Option<Option<Arc<Content>>>,
}

impl Followed {
    fn new(watched: Watched) -> Self {
        Self {
            watched,
            read: None,
        }
    }

    fn value(&mut self) -> Option<Arc<Content>> {
        let watched = &mut self.watched;
        self.read
            .get_or_insert_with(|| watched.borrow_and_update().clone())
            .clone()
    }
}

/// Changes of what templates have looked at, one after the other.
pub(super) struct Changes {
    catalog: watch::Receiver<Arc<Replica>>,
    replica: Arc<Replica>,
    asked: BTreeSet<Query>,
    place: Place,
    followed: Vec<Watched>,
}

impl Changes {
    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        let subjects = self.followed.iter_mut();
        let subjects: Vec<_> = subjects
            .map(|one| {
                Box::pin(async move {
                    if one.changed().await.is_err() {
                        // The session is over: there is no news any more.
                        pending::<()>().await;
                    }
                })
            })
            .collect();
        let of_subjects = async {
            if subjects.is_empty() {
                pending::<()>().await;
            }
            select_all(subjects).await;
        };
        let (asked, place, replica) = (&self.asked, &self.place, &mut self.replica);
        let catalog = &mut self.catalog;
        let of_catalog = async {
            loop {
                if asked.is_empty() {
                    pending::<()>().await;
                }
                let newest = Arc::clone(&catalog.borrow_and_update());
                let version = |of: &Replica, query| {
                    of.at.map(|_| catalog::version(&of.catalog, place, query))
                };
                let is_news = asked
                    .iter()
                    .any(|query| version(&newest, query) != version(replica, query));
                *replica = newest;
                if is_news {
                    return;
                }
                if catalog.changed().await.is_err() {
                    pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = of_catalog => {}
            () = of_subjects => {}
        }
    }
}

impl TaskWorld {
    /// The token of an identity of the task; none while that is not known.
    pub(super) fn token(&self, identity: &str) -> Option<String> {
        let subject = Subject::Tokens {
            alloc_id: self.place.alloc_id,
            task: self.place.task.clone(),
        };
        let tokens = self.follow(subject)?;
        Some(tokens[identity].as_str()?.to_owned())
    }
}

impl World for TaskWorld {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        self.files.text(path).map_err(|problem| problem.to_string())
    }

    fn now(&self) -> i64 {
        clock::now().as_nanos() / 1_000_000_000
    }

    fn ask(&self, query: &Query) -> Option<Value> {
        if let Some(subject) = self.subject(query) {
            return self.follow(subject);
        }
        let replica = {
            let mut seen = self.seen.lock();
            seen.asked.insert(query.clone());
            Arc::clone(&seen.replica)
        };
        replica.at?;
        catalog::answer(&replica.catalog, &self.place, query)
    }
}

fn as_json(content: &Content) -> Value {
    match content {
        Content::Nothing | Content::Refused(_) => Value::Null,
        Content::Text(text) => json!(text),
        Content::Tokens(tokens) => json!(tokens),
        Content::Pairs(pairs) => {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| json!({"Key": key, "Value": value}))
                .collect()
        }
        Content::Items { items, facts } => {
            let mut all = of_variable(facts);
            all["Items"] = json!(items);
            all
        }
        Content::List(list) => list.iter().map(of_variable).collect(),
    }
}

fn of_variable(facts: &VariableFacts) -> Value {
    json!({
        "Namespace": facts.namespace, "Path": facts.path, "CreateIndex": facts.create_index,
        "ModifyIndex": facts.modify_index, "CreateTime": facts.create_time,
        "ModifyTime": facts.modify_time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_reads_one_value_and_the_next_hears_of_the_change() {
        let (sender, watched) = watch::channel(None);
        let mut followed = Followed::new(watched);
        assert_eq!(followed.value(), None);
        let text = Some(Arc::new(Content::Text("1".into())));
        sender.send_replace(text.clone());
        assert_eq!(followed.value(), None);
        assert!(followed.watched.has_changed().unwrap());
        followed.read = None;
        assert_eq!(followed.value(), text);
        assert!(!followed.watched.has_changed().unwrap());
    }
}
