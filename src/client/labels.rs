//! Labels of this machine that are changed while its agent runs.
//!
//! They outlive the agent: what was changed counts for more than what the configuration says.

use super::Error;
use jobs::model::Node;
use parking_lot::Mutex;
use std::{collections::BTreeMap, fs, io, path::PathBuf, sync::Arc};
use sys::files::{Durability, write_atomic};
use tokio::sync::{Notify, watch};

/// Name of the file, in the directory of the client.
pub(super) const FILE: &str = "labels";
/// Most labels that may be changed.
const CHANGED_MAX: usize = 1_000;

/// Key to its new value; none takes away what the configuration has.
pub type Changes = BTreeMap<String, Option<String>>;

/// The labels of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// What counts.
    pub all: BTreeMap<String, String>,
    /// What was changed.
    pub changed: Changes,
    /// What the configuration says.
    pub configured: BTreeMap<String, String>,
}

/// The labels of this machine, and where they are kept.
#[derive(Debug)]
pub(super) struct Relabeled {
    path: PathBuf,
    configured: BTreeMap<String, String>,
    changed: Mutex<Changes>,
    node: watch::Sender<Arc<Node>>,
    /// The servers are to be told.
    pub(super) news: Notify,
}

impl Relabeled {
    /// Takes up what was changed before, and changes the node accordingly.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(super) fn open(path: PathBuf, node: watch::Sender<Arc<Node>>) -> io::Result<Self> {
        let changed: Changes = match fs::read(&path) {
            Ok(bytes) => rmp_serde::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Changes::new(),
            Err(error) => return Err(error),
        };
        let configured = node.borrow().meta.clone();
        let all = merged(&configured, &changed);
        node.send_modify(|node| Arc::make_mut(node).meta = all);
        Ok(Self {
            path,
            configured,
            changed: Mutex::new(changed),
            node,
            news: Notify::new(),
        })
    }

    /// The labels as they are.
    pub(super) fn get(&self) -> Labels {
        self.labels(&self.changed.lock())
    }

    /// Changes some labels.
    ///
    /// # Errors
    /// When there are too many, or they cannot be kept; nothing is changed then.
    pub(super) fn change(&self, changes: Changes) -> Result<Labels, Error> {
        let mut changed = self.changed.lock();
        let mut next = changed.clone();
        for (key, value) in changes {
            if value.is_none() && !self.configured.contains_key(&key) {
                next.remove(&key);
            } else {
                next.insert(key, value);
            }
        }
        if next.len() > CHANGED_MAX {
            return Err(Error::TooManyLabels { max: CHANGED_MAX });
        }
        let bytes = rmp_serde::to_vec(&next).map_err(io::Error::other)?;
        write_atomic(&self.path, &bytes, Durability::Power)?;
        let all = merged(&self.configured, &next);
        self.node.send_modify(|node| Arc::make_mut(node).meta = all);
        *changed = next;
        self.news.notify_one();
        Ok(self.labels(&changed))
    }

    fn labels(&self, changed: &Changes) -> Labels {
        Labels {
            all: merged(&self.configured, changed),
            changed: changed.clone(),
            configured: self.configured.clone(),
        }
    }
}

fn merged(configured: &BTreeMap<String, String>, changed: &Changes) -> BTreeMap<String, String> {
    let mut all = configured.clone();
    for (key, value) in changed {
        match value {
            Some(value) => all.insert(key.clone(), value.clone()),
            None => all.remove(key),
        };
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: PathBuf) -> Relabeled {
        let pairs = [("rack", "r1"), ("zone", "z1")];
        let meta = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let node = Node {
            meta: meta.into(),
            ..Node::default()
        };
        Relabeled::open(path, watch::Sender::new(Arc::new(node))).unwrap()
    }

    fn shown(labels: &BTreeMap<String, String>) -> Vec<String> {
        let pairs = labels.iter();
        pairs.map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn what_was_changed_outlives_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let first = opened(path.clone());
        let change = |pairs: &[(&str, Option<&str>)]| -> Changes {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
                .collect()
        };
        let asked = change(&[("rack", Some("r2")), ("zone", None), ("new", Some("1"))]);
        let labels = first.change(asked.clone()).unwrap();
        assert_eq!(shown(&labels.all), ["new=1", "rack=r2"]);
        assert_eq!(labels.changed, asked);
        assert_eq!(shown(&labels.configured), ["rack=r1", "zone=z1"]);
        assert_eq!(shown(&first.node.borrow().meta), ["new=1", "rack=r2"]);
        let second = opened(path);
        assert_eq!(second.get(), labels);
        assert_eq!(shown(&second.node.borrow().meta), ["new=1", "rack=r2"]);
        // What only was changed is forgotten when it is taken away.
        let labels = second.change(change(&[("new", None)])).unwrap();
        assert!(!labels.changed.contains_key("new"));
        let many = (0..=CHANGED_MAX).map(|at| (format!("k{at}"), Some(String::new())));
        assert!(matches!(
            second.change(many.collect()),
            Err(Error::TooManyLabels { .. })
        ));
    }
}
