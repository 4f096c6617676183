//! One consistent view of all replicated tables.

use std::ops::Deref;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Authority, Index, KvEntry, QueryId, Session, SessionId};
use crate::view::View;

use super::kv::Keys;
use super::sessions::Sessions;

/// All tables at one moment; cloning shares structure. It reads like its catalog view, beside which
/// stands what never leaves the servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub(super) view: View,
    pub(super) keys: Keys,
    pub(super) sessions: Sessions,
    pub(super) authority: Option<Arc<Authority>>,
    /// Id of a prepared query to the id of the session that it lives with.
    pub(super) query_sessions: OrdMap<QueryId, SessionId>,
}

impl Snapshot {
    /// The part that every agent may hold.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The entry of a key.
    #[must_use]
    pub fn key(&self, key: &str) -> Option<&Arc<KvEntry>> {
        self.keys.row(key)
    }

    /// The entries whose key starts with `prefix`, by key in the order of its bytes. The prefix is
    /// text: no separator means anything.
    pub fn keys_below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<KvEntry>> {
        self.keys.below(prefix)
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn has_no_keys(&self) -> bool {
        self.keys.is_empty()
    }

    /// What a reader of one key waits on; it never goes back.
    #[must_use]
    pub fn key_index(&self, key: &str) -> Index {
        self.keys.key_index(key)
    }

    /// What a reader of the keys below `prefix` waits on; it never goes back.
    #[must_use]
    pub fn prefix_index(&self, prefix: &str) -> Index {
        self.keys.prefix_index(prefix)
    }

    /// The certificate authority, once there is one.
    #[must_use]
    pub fn authority(&self) -> Option<&Arc<Authority>> {
        self.authority.as_ref()
    }

    /// A session.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<&Arc<Session>> {
        self.sessions.row(id)
    }

    /// All sessions, by id.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions.iter()
    }

    /// The sessions of a node, by id.
    pub fn sessions_of_node<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Arc<Session>> {
        self.sessions.of_node(node)
    }

    /// Id of the session that a prepared query lives with.
    #[must_use]
    pub fn session_of_query(&self, query: &str) -> Option<&SessionId> {
        self.query_sessions.get(query)
    }

    /// What a reader of sessions waits on.
    #[must_use]
    pub fn sessions_index(&self) -> Index {
        self.sessions.index
    }
}

impl Deref for Snapshot {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}
