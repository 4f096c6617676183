//! What the parts of an agent want to be told of, each subject once, however many ask.

use crate::{
    message::ToServer,
    watched::{Content, Subject},
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{Notify, watch};

/// Subjects that one agent follows.
pub const SUBJECTS_MAX: usize = 4096;

/// A subject as it is followed: none until the servers have answered.
pub type Watched = watch::Receiver<Option<Arc<Content>>>;

#[derive(Debug)]
struct Followed {
    number: u64,
    content: watch::Sender<Option<Arc<Content>>>,
    /// The servers were asked on the stream that is open.
    is_asked: bool,
}

#[derive(Debug, Default)]
struct Subjects {
    last_number: u64,
    by_subject: BTreeMap<Subject, Followed>,
}

/// The subjects that are followed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    subjects: Arc<Mutex<Subjects>>,
    woken: Arc<Notify>,
}

impl Watches {
    /// Follows `subject` as long as the answer is kept; none when too many are followed.
    pub(super) fn follow(&self, subject: &Subject) -> Option<Watched> {
        let mut subjects = self.subjects.lock();
        if let Some(known) = subjects.by_subject.get(subject) {
            return Some(known.content.subscribe());
        }
        if subjects.by_subject.len() >= SUBJECTS_MAX {
            return None;
        }
        subjects.last_number += 1;
        let (content, reader) = watch::channel(None);
        let followed = Followed {
            number: subjects.last_number,
            content,
            is_asked: false,
        };
        subjects.by_subject.insert(subject.clone(), followed);
        drop(subjects);
        self.woken.notify_one();
        Some(reader)
    }

    /// Resolves when there may be something to say.
    pub(super) async fn changed(&self) {
        self.woken.notified().await;
    }

    /// A new stream: nothing was asked on it yet.
    pub(super) fn begin(&self) {
        let mut subjects = self.subjects.lock();
        for followed in subjects.by_subject.values_mut() {
            followed.is_asked = false;
        }
    }

    /// What is to be said: questions that were not asked yet, and that nobody wants to know any
    /// more what nobody reads.
    pub(super) fn unsaid(&self) -> Vec<ToServer> {
        let mut said = Vec::new();
        let mut subjects = self.subjects.lock();
        subjects.by_subject.retain(|_, followed| {
            let is_read = followed.content.receiver_count() > 0;
            if !is_read && followed.is_asked {
                said.push(ToServer::Unwatch {
                    number: followed.number,
                });
            }
            is_read
        });
        for (subject, followed) in &mut subjects.by_subject {
            if !std::mem::replace(&mut followed.is_asked, true) {
                said.push(ToServer::Watch {
                    number: followed.number,
                    subject: subject.clone(),
                });
            }
        }
        said
    }

    /// The servers have answered.
    pub(super) fn on_content(&self, number: u64, content: Content) {
        let subjects = self.subjects.lock();
        let mut all = subjects.by_subject.values();
        let Some(followed) = all.find(|followed| followed.number == number) else {
            return;
        };
        followed.content.send_if_modified(|known| {
            // A new stream begins with what is known already.
            let is_news = known.as_deref() != Some(&content);
            if is_news {
                *known = Some(Arc::new(content));
            }
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(watches: &Watches) -> Vec<String> {
        let said = watches.unsaid().into_iter();
        said.map(|message| match message {
            ToServer::Watch { number, subject } => format!("{number} {subject:?}"),
            ToServer::Unwatch { number } => format!("{number} no more"),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn a_subject_is_asked_for_once_and_given_up_with_its_last_reader() {
        let watches = Watches::default();
        let key = Subject::Key("a".into());
        let first = watches.follow(&key).unwrap();
        let mut second = watches.follow(&key).unwrap();
        assert_eq!(said(&watches), ["1 Key(\"a\")"]);
        assert!(said(&watches).is_empty());
        watches.on_content(1, Content::Text("x".into()));
        let content = second.borrow_and_update().clone();
        assert_eq!(content.as_deref(), Some(&Content::Text("x".into())));
        // A new stream: the same answer is no news.
        watches.begin();
        assert_eq!(said(&watches), ["1 Key(\"a\")"]);
        watches.on_content(1, Content::Text("x".into()));
        assert!(!second.has_changed().unwrap());
        watches.on_content(7, Content::Nothing);
        drop((first, second));
        assert_eq!(said(&watches), ["1 no more"]);
        // Who comes later is told anew.
        let third = watches.follow(&key).unwrap();
        assert!(third.borrow().is_none());
        assert_eq!(said(&watches), ["2 Key(\"a\")"]);
    }

    #[test]
    fn their_number_is_bounded() {
        let watches = Watches::default();
        let numbers = 0..SUBJECTS_MAX;
        let held: Vec<_> = numbers
            .map(|number| watches.follow(&Subject::Key(number.to_string())))
            .collect();
        assert!(held.iter().all(Option::is_some));
        assert!(watches.follow(&Subject::Key("more".into())).is_none());
        drop(held);
        assert!(said(&watches).is_empty());
        assert!(watches.follow(&Subject::Key("more".into())).is_some());
    }
}
