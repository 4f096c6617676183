//! The passing instances of one service, and the pools that are made of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::endpoint::{Endpoint, Host};
use super::names::lower;
use super::pool::Pool;
use super::shards::Shards;

/// What tells the instances of a service apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MemberKey {
    /// Name of the node in lower case.
    node: Box<[u8]>,
    id: Box<str>,
}

impl MemberKey {
    pub(super) fn new(node: &str, id: &str) -> Self {
        Self {
            node: lower(node),
            id: id.into(),
        }
    }
}

/// A passing instance of a service.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    /// In lower case.
    pub(super) tags: BTreeSet<Box<[u8]>>,
}

impl Member {
    /// The address that it has for itself.
    pub(super) fn own_ip(&self) -> Option<IpAddr> {
        match self.endpoint.host {
            Host::Ip(ip) => Some(ip),
            Host::Node | Host::Alias(_) => None,
        }
    }
}

/// The passing instances of one service. Invariant: the pools are made of the members.
#[derive(Clone, Debug, Default)]
pub(super) struct Service {
    members: Shards<MemberKey, Arc<Member>>,
    pub(super) all: Pool,
    pub(super) by_tag: Shards<Box<[u8]>, Arc<Pool>>,
}

impl Service {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Makes an instance another one, or takes it away; returns what it was. The cost does not grow
    /// with the number of instances, but for a reference to each few dozen of them.
    pub(super) fn set(
        &mut self,
        key: MemberKey,
        member: Option<Arc<Member>>,
    ) -> Option<Arc<Member>> {
        let old = match member.clone() {
            Some(member) => self.members.insert(key, member),
            None => self.members.remove(&key),
        };
        if let Some(old) = &old {
            let others = || self.members.values().map(|other| &other.endpoint);
            self.all.remove(&old.endpoint, others);
            for tag in &old.tags {
                let Some(mut pool) = self.by_tag.remove(tag) else {
                    continue;
                };
                let tagged = || {
                    let members = self.members.values();
                    let tagged = members.filter(|other| other.tags.contains(tag));
                    tagged.map(|other| &other.endpoint)
                };
                Arc::make_mut(&mut pool).remove(&old.endpoint, tagged);
                if !pool.endpoints.is_empty() {
                    self.by_tag.insert(tag.clone(), pool);
                }
            }
        }
        if let Some(member) = member {
            self.all.add(&member.endpoint);
            for tag in &member.tags {
                let mut pool = self.by_tag.remove(tag).unwrap_or_default();
                Arc::make_mut(&mut pool).add(&member.endpoint);
                self.by_tag.insert(tag.clone(), pool);
            }
        }
        old
    }

    /// Addresses that instances have for themselves.
    pub(super) fn own_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.members.values().filter_map(|member| member.own_ip())
    }
}
