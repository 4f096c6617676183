//! What the servers say, and what becomes of it.

use super::{AllocDelta, Error, RECONNECT_MAX, RECONNECT_MIN, Replica, Session, jittered};
use crate::{
    message::{Assignment, Position, ToClient},
    traffic,
};
use jobs::model::{AllocId, Index};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

impl Session {
    pub(super) fn on_message(&mut self, message: ToClient) {
        match message {
            ToClient::Welcome { .. } | ToClient::Rejected { .. } => {}
            ToClient::Count { interval_ms } => {
                let asked = Duration::from_millis(interval_ms);
                let interval = asked.clamp(traffic::INTERVAL_MIN, traffic::INTERVAL);
                self.traffic_interval
                    .send_if_modified(|known| std::mem::replace(known, interval) != interval);
            }
            ToClient::Catalog { at, view } => {
                if self.catalog_at.is_some_and(|known| known > at) {
                    tracing::debug!(?at, "a catalog is older than the one at hand");
                    return;
                }
                self.view = *view;
                self.to_confirm = at;
                self.publish(at);
            }
            ToClient::CatalogDelta {
                at,
                entries,
                confirm,
            } => {
                let known = self.catalog_at.unwrap_or_default();
                for entry in entries {
                    // What a whole catalog held already comes again in the first change after it.
                    if entry.index > known.index {
                        for change in entry.changes {
                            self.view.apply(entry.index, change);
                        }
                    }
                }
                if confirm {
                    self.to_confirm = self.to_confirm.max(at);
                }
                self.publish(at.max(known));
            }
            ToClient::Allocs {
                at,
                known,
                assignments,
                removed,
            } => self.on_allocs(at, known, assignments, removed),
            ToClient::Committed { number, index } => {
                self.retry_pause = RECONNECT_MIN;
                self.settle(number, Ok(index));
            }
            ToClient::Refused {
                number,
                reason,
                retry,
            } => {
                if retry {
                    tracing::debug!(number, reason, "a report is sent again later");
                    self.refused.insert(number);
                    self.retry_pause = (self.retry_pause * 2).min(RECONNECT_MAX);
                    let at = Instant::now() + jittered(self.retry_pause);
                    self.retry_at.get_or_insert(at);
                } else {
                    self.settle(number, Err(Error::Refused { reason }));
                }
            }
            ToClient::Watched { number, content } => self.watches.on_content(number, content),
            ToClient::Drained { number } => {
                if let Some(asked) = self.awaited.remove(&number) {
                    // A caller that stopped waiting does not need the answer.
                    asked.reply.send(()).ok();
                }
            }
        }
    }

    fn on_allocs(
        &mut self,
        at: Position,
        known: Option<Vec<AllocId>>,
        assignments: Vec<Assignment>,
        removed: Vec<AllocId>,
    ) {
        if at < self.allocs_at {
            tracing::debug!(?at, "a list of allocations is older than the one at hand");
            return;
        }
        self.allocs_at = at;
        self.hello.held.allocs = at.index;
        let delta = AllocDelta {
            known: known.map(BTreeSet::from_iter),
            assignments: assignments
                .into_iter()
                .map(|mut assignment| {
                    assignment.alloc.job = Arc::clone(&assignment.job);
                    (assignment.alloc.id, assignment)
                })
                .collect(),
            removed: removed.into_iter().collect(),
        };
        match &mut self.waiting {
            Some(waiting) => waiting.merge(delta),
            None => self.waiting = Some(delta),
        }
    }

    fn settle(&mut self, number: u64, result: Result<Index, Error>) {
        if let Some(pending) = self.pending.remove(&number) {
            // A caller that stopped waiting does not need the answer.
            pending.reply.send(result).ok();
        }
    }

    fn publish(&mut self, at: Position) {
        self.catalog_at = Some(at);
        self.hello.held.catalog = at.index;
        self.catalog.send_replace(Arc::new(Replica {
            at: Some(at),
            catalog: self.view.clone(),
        }));
    }
}
