//! The passing instances of one service, and the pools that are made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::Name;

use crate::name::Scope;

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
    /// The address that it has for itself, and what the service's name ends with there.
    pub(super) fn own_ip(&self) -> Option<(IpAddr, Name)> {
        match self.endpoint.host {
            Host::Ip(ip) => Some((ip, self.endpoint.node.suffixes.service.clone())),
            Host::Node | Host::Alias(_) => None,
        }
    }

    /// The datacenter that it is in, in lower case.
    fn datacenter(&self) -> &[u8] {
        &self.endpoint.node.datacenter
    }
}

/// The passing instances of one service.
///
/// Invariants:
/// 1. `region` is made of the members, and `datacenters` counts them, never none.
/// 2. `apart` has the members of each datacenter if there are several, else it is empty: then
///    `region` is all there is in the one.
#[derive(Clone, Debug, Default)]
pub(super) struct Service {
    members: Shards<MemberKey, Arc<Member>>,
    region: Pools,
    datacenters: BTreeMap<Box<[u8]>, usize>,
    apart: BTreeMap<Box<[u8]>, Arc<Pools>>,
}

/// What answers for members, all and by tag.
#[derive(Clone, Debug, Default)]
struct Pools {
    all: Pool,
    by_tag: Shards<Box<[u8]>, Arc<Pool>>,
}

impl Pools {
    fn is_empty(&self) -> bool {
        self.all.endpoints.is_empty()
    }

    /// All members, or those with a lower-case tag.
    fn pool(&self, tag: Option<&[u8]>) -> Option<&Pool> {
        match tag {
            Some(tag) => self.by_tag.get(tag).map(Arc::as_ref),
            None => Some(&self.all),
        }
    }

    fn add(&mut self, member: &Member) {
        self.all.add(&member.endpoint);
        for tag in &member.tags {
            let mut pool = self.by_tag.remove(tag).unwrap_or_default();
            Arc::make_mut(&mut pool).add(&member.endpoint);
            self.by_tag.insert(tag.clone(), pool);
        }
    }

    /// Takes a member away; one of the others may be at the same place.
    fn remove<'a, I>(&mut self, member: &Member, others: impl Fn() -> I)
    where
        I: Iterator<Item = &'a Arc<Member>>,
    {
        let all = || others().map(|other| &other.endpoint);
        self.all.remove(&member.endpoint, all);
        for tag in &member.tags {
            let Some(mut pool) = self.by_tag.remove(tag) else {
                continue;
            };
            let tagged = || {
                let tagged = others().filter(|other| other.tags.contains(tag));
                tagged.map(|other| &other.endpoint)
            };
            Arc::make_mut(&mut pool).remove(&member.endpoint, tagged);
            if !pool.endpoints.is_empty() {
                self.by_tag.insert(tag.clone(), pool);
            }
        }
    }
}

impl Service {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members of a part of the region, or those of them with a lower-case tag.
    pub(super) fn pool(&self, tag: Option<&[u8]>, scope: Scope<'_>) -> Option<&Pool> {
        let pools = match scope {
            Scope::Region => &self.region,
            Scope::Datacenter(name) if self.apart.is_empty() => {
                self.datacenters.get(name).map(|_| &self.region)?
            }
            Scope::Datacenter(name) => self.apart.get(name)?,
        };
        pools.pool(tag)
    }

    /// Makes an instance another one, or takes it away; returns what it was. The cost does not grow
    /// with the number of instances, but for a reference to each few dozen of them, and once when
    /// the first one of a second datacenter comes.
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
            self.region.remove(old, || self.members.values());
            self.count(old.datacenter(), |members| members.saturating_sub(1));
        }
        if let Some(member) = &member {
            self.region.add(member);
            self.count(member.datacenter(), |members| members + 1);
        }
        self.keep_apart(old.as_deref(), member.as_deref());
        old
    }

    fn count(&mut self, datacenter: &[u8], change: fn(usize) -> usize) {
        let members = self.datacenters.get(datacenter).copied().unwrap_or(0);
        match change(members) {
            0 => {
                self.datacenters.remove(datacenter);
            }
            members => {
                self.datacenters.insert(datacenter.into(), members);
            }
        }
    }

    /// Keeps the pools of single datacenters, after `old` was made `new`.
    fn keep_apart(&mut self, old: Option<&Member>, new: Option<&Member>) {
        if self.datacenters.len() < 2 {
            self.apart.clear();
            return;
        }
        if self.apart.is_empty() {
            for member in self.members.values() {
                let pools = self.apart.entry(member.datacenter().into()).or_default();
                Arc::make_mut(pools).add(member);
            }
            return;
        }
        if let Some(old) = old
            && let Some(mut pools) = self.apart.remove(old.datacenter())
        {
            let is_there = |other: &&Arc<Member>| other.datacenter() == old.datacenter();
            let others = || self.members.values().filter(is_there);
            Arc::make_mut(&mut pools).remove(old, others);
            if !pools.is_empty() {
                self.apart.insert(old.datacenter().into(), pools);
            }
        }
        if let Some(new) = new {
            let pools = self.apart.entry(new.datacenter().into()).or_default();
            Arc::make_mut(pools).add(new);
        }
    }

    /// Addresses that instances have for themselves, as [`Member::own_ip`].
    pub(super) fn own_ips(&self) -> impl Iterator<Item = (IpAddr, Name)> {
        self.members.values().filter_map(|member| member.own_ip())
    }
}
