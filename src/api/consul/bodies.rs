//! Bodies of answers, written and compressed once for all who ask the same of the same view.
//!
//! When a large service changes, everybody who waits for it gets the same answer; to write it costs
//! more than to send it.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use axum::body::Bytes;
use mesh::view::View;
use parking_lot::Mutex;

use crate::{encoding::gzip, error::Error};

/// Shorter bodies are written anew each time, bytes.
const BYTES_MIN: usize = 16 * 1024;
/// Most bodies that are kept.
const BODIES_MAX: usize = 64;
/// Most bytes of them together, compressed copies aside, which are smaller.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// A body that several readers get.
#[derive(Debug)]
pub(super) struct Shared {
    plain: Bytes,
    short: OnceLock<Option<Bytes>>,
}

impl Shared {
    /// The body.
    pub(super) fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// The compressed body, if somebody had it compressed already.
    pub(super) fn known_short(&self) -> Option<&Bytes> {
        self.short.get()?.as_ref()
    }

    /// The compressed body; whoever asks first compresses it, the others wait for that.
    pub(super) fn short(&self) -> Option<Bytes> {
        let compress = || gzip(&self.plain).map(Bytes::from);
        self.short.get_or_init(compress).clone()
    }
}

/// A place for the answer to one question.
#[derive(Debug)]
struct Slot {
    question: String,
    /// The view that it was answered from. It keeps the view's place in memory taken, so that no
    /// other view is taken for it, but not what the view holds.
    view: Weak<View>,
    /// Locked while it is written.
    body: Mutex<Option<Arc<Shared>>>,
}

/// The bodies that were asked for last.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    /// The one that was asked for last is at the end.
    slots: Mutex<VecDeque<Arc<Slot>>>,
}

impl Bodies {
    /// The answer to `question`, which names all that decides it besides the view. One reader
    /// writes it, those who ask meanwhile wait for that.
    ///
    /// # Errors
    /// As `write`.
    pub(super) fn of(
        &self,
        question: String,
        view: &Arc<View>,
        write: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Arc<Shared>, Error> {
        let slot = self.slot(question, view);
        let mut body = slot.body.lock();
        if let Some(known) = &*body {
            return Ok(Arc::clone(known));
        }
        let written = Arc::new(Shared {
            plain: write()?.into(),
            short: OnceLock::new(),
        });
        let is_kept = written.plain.len() >= BYTES_MIN;
        if is_kept {
            *body = Some(Arc::clone(&written));
        }
        drop(body);
        if is_kept {
            self.make_room();
        } else {
            self.slots.lock().retain(|known| !Arc::ptr_eq(known, &slot));
        }
        Ok(written)
    }

    fn slot(&self, question: String, view: &Arc<View>) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        let known = slots.iter().position(|slot| slot.question == question);
        let known = known.and_then(|at| slots.remove(at));
        let is_of_view = |slot: &Arc<Slot>| Weak::as_ptr(&slot.view) == Arc::as_ptr(view);
        let slot = known.filter(is_of_view).unwrap_or_else(|| {
            Arc::new(Slot {
                question,
                view: Arc::downgrade(view),
                body: Mutex::new(None),
            })
        });
        slots.push_back(Arc::clone(&slot));
        if slots.len() > BODIES_MAX {
            slots.pop_front();
        }
        slot
    }

    /// Forgets what was not asked for in the longest time, until the rest is small enough.
    fn make_room(&self) {
        let mut slots = self.slots.lock();
        // One that is being written right now counts the next time.
        let length = |slot: &Arc<Slot>| {
            let body = slot.body.try_lock();
            let body = body.as_ref().and_then(|body| body.as_ref());
            body.map_or(0, |body| body.plain.len())
        };
        let mut bytes: usize = slots.iter().map(length).sum();
        while bytes > BYTES_MAX
            && let Some(oldest) = slots.pop_front()
        {
            bytes -= length(&oldest);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.slots.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_long_body_is_written_once_for_a_question_and_a_view() {
        let (bodies, written) = (Bodies::default(), Cell::new(0));
        let (one, other) = (Arc::new(View::default()), Arc::new(View::default()));
        let ask = |question: &str, view: &Arc<View>, bytes: usize| {
            let write = || {
                written.set(written.get() + 1);
                Ok(vec![b'a'; bytes])
            };
            bodies.of(question.to_owned(), view, write).unwrap()
        };
        let first = ask("a", &one, BYTES_MIN);
        assert!(Arc::ptr_eq(&first, &ask("a", &one, BYTES_MIN)));
        assert_eq!(written.get(), 1);
        assert!(first.known_short().is_none());
        let short = first.short().unwrap();
        assert!(short.len() < first.plain().len());
        assert_eq!(first.known_short(), Some(&short));
        for (question, view, bytes, count) in [
            ("b", &one, BYTES_MIN, 2),
            ("a", &one, BYTES_MIN, 2),
            ("a", &other, BYTES_MIN, 3),
            ("a", &other, BYTES_MIN, 3),
            // The older view is asked no more.
            ("a", &one, BYTES_MIN, 4),
            ("small", &one, 1, 5),
            ("small", &one, 1, 6),
        ] {
            ask(question, view, bytes);
            assert_eq!(written.get(), count, "{question}");
        }
        assert_eq!(bodies.len(), 2);
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let (bodies, view) = (Bodies::default(), Arc::new(View::default()));
        for at in 0..2 * BODIES_MAX {
            let write = || Ok(vec![b'a'; BYTES_MIN]);
            bodies.of(at.to_string(), &view, write).unwrap();
            assert!(bodies.len() <= BODIES_MAX);
        }
        let large = BYTES_MAX / 4 + 1;
        for at in 0..6 {
            let write = || Ok(vec![b'a'; large]);
            bodies.of(format!("large {at}"), &view, write).unwrap();
        }
        assert_eq!(bodies.len(), 3);
    }

    #[test]
    fn what_cannot_be_written_is_not_kept() {
        let (bodies, view) = (Bodies::default(), Arc::new(View::default()));
        let refused = bodies.of("a".to_owned(), &view, || Err(Error::internal("no")));
        assert_eq!(refused.unwrap_err(), Error::internal("no"));
        let written = bodies.of("a".to_owned(), &view, || Ok(vec![1]));
        assert_eq!(written.unwrap().plain().as_ref(), [1]);
    }
}
