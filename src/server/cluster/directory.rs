//! The servers that this one knows of: it asks each of them every second who is there.
//!
//! There are few servers in a region, and a group is not changed by hearsay. What one hears of a
//! server that it does not know, here or by gossip, is a place to ask; only a server that answers
//! is there.

use parking_lot::Mutex;
use rpc::{
    members::{Admission, Member, Members},
    message::RulesVersion,
    transport::Call,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{Config, Core, log::raft::Voter};
use registration::Version;

/// Servers that are kept in mind, this one aside.
const MEMBERS_MAX: usize = 64;
/// Addresses that are asked although nobody is known to be there.
const JOIN_MAX: usize = 64;
/// Pause between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// The same, as long as this server belongs to no group.
const PAUSE_ALONE: Duration = Duration::from_millis(200);
/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that was not heard of for so long has failed.
const FAILED_AFTER: Duration = Duration::from_secs(5);
/// A server that was not heard of for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(72 * 3600);
/// How long a server keeps itself free for a group that another one begins.
const PROMISE: Duration = Duration::from_secs(10);

/// Whether a server is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It answers.
    Alive,
    /// It does not answer.
    Failed,
    /// It left, or an operator said so.
    Left,
}

/// A server as this one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownServer {
    /// What it says of itself.
    pub member: Member,
    /// Whether it is there.
    pub status: Status,
    /// How long ago it was heard of; none for never.
    pub silent_for: Option<Duration>,
}

#[derive(Debug)]
struct Entry {
    member: Member,
    known_since: Instant,
    heard: Option<Instant>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: BTreeMap<u64, Entry>,
    /// Addresses to ask, with the server that answered there.
    join: BTreeMap<String, Option<u64>>,
    /// The same, as a catalog elsewhere has them now.
    found: BTreeMap<String, Option<u64>>,
    /// Whose group this server keeps itself free for, and since when.
    promise: Option<(u64, Instant)>,
}

impl Entry {
    fn status(&self, now: Instant) -> Status {
        if self.member.has_left {
            Status::Left
        } else if self.heard.is_some_and(|heard| now - heard < FAILED_AFTER) {
            Status::Alive
        } else {
            Status::Failed
        }
    }
}

impl Table {
    /// Takes note of a server that speaks for itself; tells whether that is news.
    fn on_heard(&mut self, now: Instant, member: Member) -> bool {
        let entry = Entry {
            heard: Some(now),
            known_since: now,
            member,
        };
        let has_room = self.by_id.len() < MEMBERS_MAX;
        match self.by_id.get_mut(&entry.member.id) {
            Some(known) => {
                let is_news = known.member != entry.member || known.status(now) != Status::Alive;
                known.heard = entry.heard;
                known.member = entry.member;
                is_news
            }
            None if has_room => {
                self.by_id.insert(entry.member.id, entry);
                true
            }
            None => false,
        }
    }

    /// Takes note of what another one says of a server.
    fn on_told(&mut self, now: Instant, member: Member) -> bool {
        let has_room = self.by_id.len() < MEMBERS_MAX;
        match self.by_id.get_mut(&member.id) {
            Some(known) => {
                let is_news = member.has_left && known.status(now) == Status::Failed;
                known.member.has_left |= is_news;
                is_news
            }
            None if has_room && !member.has_left => {
                let entry = Entry {
                    member,
                    known_since: now,
                    heard: None,
                };
                self.by_id.insert(entry.member.id, entry);
                true
            }
            None => false,
        }
    }

    fn forget(&mut self, now: Instant) {
        self.by_id
            .retain(|_, entry| now - entry.heard.unwrap_or(entry.known_since) < FORGOTTEN_AFTER);
    }

    /// Where to ask. Of servers of the group that nobody heard of since this one started, its log
    /// says where they were.
    fn addresses(&self, (own_id, own): (u64, &str), group: &[Voter]) -> BTreeSet<String> {
        let unheard = group
            .iter()
            .filter(|server| server.id != own_id && !self.by_id.contains_key(&server.id));
        let known = self.by_id.values().map(|entry| &entry.member);
        let known = known.filter(|member| !member.has_left);
        let join = self
            .join
            .iter()
            .chain(&self.found)
            .filter(|(_, answered)| answered.is_none_or(|id| !self.by_id.contains_key(&id)));
        known
            .map(|member| member.address.clone())
            .chain(join.map(|(address, _)| address.clone()))
            .chain(unheard.map(|server| server.address.clone()))
            .filter(|address| address != own && !address.is_empty())
            .collect()
    }
}

/// The servers that this one knows of.
#[derive(Debug)]
pub(crate) struct Directory {
    table: Mutex<Table>,
    /// Counts news.
    news: watch::Sender<u64>,
}

impl Directory {
    /// Knows addresses to ask.
    pub(crate) fn new(join: &[String]) -> Self {
        let directory = Self {
            table: Mutex::default(),
            news: watch::Sender::new(0),
        };
        directory.join(join);
        directory
    }

    /// Asks at these addresses too, from now on.
    pub(crate) fn join(&self, addresses: &[String]) {
        let mut table = self.table.lock();
        for address in addresses {
            if table.join.len() < JOIN_MAX {
                table.join.entry(address.clone()).or_default();
            }
        }
    }

    /// Asks at these addresses too, instead of those that were found before.
    pub(crate) fn find(&self, addresses: Vec<String>) {
        let found = addresses.into_iter().take(JOIN_MAX);
        self.table.lock().found = found.map(|address| (address, None)).collect();
    }

    /// Changes whenever a server comes, goes, or says something else of itself.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Wakes those who look at the servers.
    pub(super) fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// The other servers.
    pub(crate) fn others(&self) -> Vec<KnownServer> {
        let now = Instant::now();
        let table = self.table.lock();
        let entries = table.by_id.values();
        entries
            .map(|entry| KnownServer {
                member: entry.member.clone(),
                status: entry.status(now),
                silent_for: entry.heard.map(|heard| now - heard),
            })
            .collect()
    }

    fn on_answered(&self, address: &str, id: u64) {
        let mut table = self.table.lock();
        let Table { join, found, .. } = &mut *table;
        for answered in [join, found] {
            if let Some(answered) = answered.get_mut(address) {
                *answered = Some(id);
            }
        }
    }

    fn on_members(&self, own: &Member, said: Members) {
        let now = Instant::now();
        let mut is_news = false;
        {
            let mut table = self.table.lock();
            if said.speaker.id == own.id {
                if said.speaker.name != own.name || said.speaker.address != own.address {
                    tracing::error!(
                        name = said.speaker.name,
                        address = said.speaker.address,
                        "another server has the data directory of this one: give it one of its own"
                    );
                }
                return;
            }
            let is_here = |member: &Member| member.region == own.region;
            if is_here(&said.speaker) {
                is_news |= table.on_heard(now, said.speaker);
            }
            let others = said.others.into_iter();
            for other in others.filter(|other| is_here(other) && other.id != own.id) {
                is_news |= table.on_told(now, other);
            }
            table.forget(now);
        }
        if is_news {
            self.tell();
        }
    }

    /// Marks a server as one that left.
    pub(crate) fn mark_left(&self, id: u64) {
        if let Some(entry) = self.table.lock().by_id.get_mut(&id) {
            entry.member.has_left = true;
        }
        self.tell();
    }

    /// Whether this server is free for a group that the server `by` begins. It keeps itself free
    /// for that one for a while.
    fn promises(&self, by: u64) -> bool {
        let now = Instant::now();
        let mut table = self.table.lock();
        let is_free = table
            .promise
            .is_none_or(|(to, since)| to == by || now - since > PROMISE);
        if is_free {
            table.promise = Some((by, now));
        }
        is_free
    }
}

/// What this server says of itself.
pub(crate) fn own(core: &Core) -> Member {
    let Config {
        name,
        region,
        datacenter,
        rpc_address,
        cluster,
        serves_alone,
        ..
    } = &core.config;
    let raft = core.raft.raft().ok();
    Member {
        id: raft.as_ref().map_or(0, crate::log::raft::Raft::id),
        name: name.clone(),
        region: region.clone(),
        datacenter: datacenter.clone(),
        address: rpc_address.clone(),
        gossip: core
            .gossip
            .get()
            .map_or_else(String::new, |gossip| gossip.address.to_string()),
        version: env!("CARGO_PKG_VERSION").into(),
        rules: RulesVersion(Version::SUPPORTED.number()),
        expect: cluster.expect,
        cluster: raft
            .filter(crate::log::raft::Raft::has_group)
            .map(|raft| raft.cluster())
            .unwrap_or_default(),
        has_left: core.is_leaving.load(Ordering::Relaxed),
        serves_alone: *serves_alone,
    }
}

/// This server and the others that it knows of.
pub(crate) fn all(core: &Core) -> Vec<KnownServer> {
    let own = KnownServer {
        member: own(core),
        status: Status::Alive,
        silent_for: Some(Duration::ZERO),
    };
    std::iter::once(own)
        .chain(core.directory.others())
        .collect()
}

fn said(core: &Core) -> Members {
    let others = core.directory.others().into_iter();
    Members {
        speaker: own(core),
        others: others.map(|known| known.member).collect(),
    }
}

/// Answers a server that asks who is there.
pub(super) fn on_question(core: &Core, question: &[u8]) -> Result<Vec<u8>, String> {
    let question: Members = rmp_serde::from_slice(question).map_err(|error| error.to_string())?;
    core.directory.on_members(&own(core), question);
    rmp_serde::to_vec_named(&said(core)).map_err(|error| error.to_string())
}

/// Asks every server who is there, until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    loop {
        let group = core.raft.configuration();
        let own_id = core.raft.raft().map_or(0, |raft| raft.id());
        let addresses = {
            let table = core.directory.table.lock();
            table.addresses((own_id, &core.config.rpc_address), &group)
        };
        let asked = addresses.iter().map(|address| ask(&core, address));
        let has_group = core.raft.raft().is_ok_and(|raft| raft.has_group());
        let pause = if has_group { PAUSE } else { PAUSE_ALONE };
        let turn = async {
            futures_util::future::join_all(asked).await;
            sleep(pause).await;
        };
        tokio::select! {
            () = turn => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Asks one server; tells whether it answered.
pub(crate) async fn ask(core: &Core, address: &str) -> bool {
    let Ok(question) = rmp_serde::to_vec_named(&said(core)) else {
        return false;
    };
    let answer = core
        .pool
        .call(address, Call::Members, question, ANSWER_TIMEOUT);
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(address, %error, "a server does not answer");
            // Whoever waits for its end looks again.
            core.directory.tell();
            return false;
        }
    };
    let Ok(answer) = rmp_serde::from_slice::<Members>(&answer) else {
        return false;
    };
    core.directory.on_answered(address, answer.speaker.id);
    core.directory.on_members(&own(core), answer);
    true
}

/// Takes part in a cluster when another server asks: keeps its wrapping key, and takes its log.
pub(super) fn on_admission(core: &Core, question: &[u8]) -> Result<Vec<u8>, String> {
    let asked: Admission = rmp_serde::from_slice(question).map_err(|error| error.to_string())?;
    let raft = core.raft.raft().map_err(|error| error.to_string())?;
    if raft.has_group() {
        let cluster = raft.cluster();
        return if cluster == asked.cluster {
            Ok(Vec::new())
        } else {
            Err(format!("this server belongs to the cluster {cluster}"))
        };
    }
    if !core.directory.promises(asked.by) {
        return Err("this server waits for the group that another one begins".into());
    }
    core.keyring
        .import(&asked.wrapping)
        .map_err(|error| error.to_string())?;
    raft.join(&asked.cluster);
    Ok(Vec::new())
}

/// Asks a server to be of the cluster.
pub(super) async fn admit(core: &Core, cluster: &str, address: &str) -> Result<(), String> {
    let question = Admission {
        by: core.raft.raft().map_or(0, |raft| raft.id()),
        cluster: cluster.to_owned(),
        wrapping: core.keyring.export().map_err(|error| error.to_string())?,
    };
    let question = rmp_serde::to_vec_named(&question).map_err(|error| error.to_string())?;
    let answer = core
        .pool
        .call(address, Call::Admit, question, ANSWER_TIMEOUT);
    answer.await.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64) -> Member {
        Member {
            id,
            name: format!("s{id}"),
            address: format!("10.0.0.{id}:4647"),
            ..Member::default()
        }
    }

    #[test]
    fn only_who_answers_is_there() {
        let mut table = Table::default();
        let start = Instant::now();
        assert!(table.on_told(start, member(2)));
        assert_eq!(table.by_id[&2].status(start), Status::Failed);
        assert_eq!(table.addresses((1, "own"), &[]), [member(2).address].into());
        assert!(table.on_heard(start, member(2)));
        assert!(!table.on_heard(start, member(2)), "no news");
        assert_eq!(table.by_id[&2].status(start), Status::Alive);
        // What others say does not count against who answers.
        let left = Member {
            has_left: true,
            ..member(2)
        };
        assert!(!table.on_told(start, left.clone()));
        let later = start + FAILED_AFTER;
        assert_eq!(table.by_id[&2].status(later), Status::Failed);
        assert!(table.on_told(later, left));
        assert_eq!(table.by_id[&2].status(later), Status::Left);
        assert!(table.addresses((1, "own"), &[]).is_empty());
        // It comes back.
        assert!(table.on_heard(later, member(2)));
        assert_eq!(table.by_id[&2].status(later), Status::Alive);
        table.forget(later + FORGOTTEN_AFTER);
        assert!(table.by_id.is_empty());
    }

    #[test]
    fn an_address_is_asked_until_somebody_answered_there() {
        let directory = Directory::new(&["a:1".to_owned(), "own:1".to_owned()]);
        let mut table = directory.table.lock();
        assert_eq!(
            table.addresses((1, "own:1"), &[]),
            ["a:1".to_owned()].into()
        );
        table.join.insert("a:1".into(), Some(2));
        table.on_heard(Instant::now(), member(2));
        assert_eq!(
            table.addresses((1, "own:1"), &[]),
            [member(2).address].into()
        );
    }

    #[test]
    fn servers_of_the_group_are_asked_where_its_log_says_until_they_are_heard_of() {
        let group = [1, 2, 3].map(|id| Voter {
            id,
            address: format!("log:{id}"),
            ..Voter::default()
        });
        let mut table = Table::default();
        let asked = |table: &Table| table.addresses((1, "own:1"), &group);
        assert_eq!(asked(&table), ["log:2", "log:3"].map(str::to_owned).into());
        table.on_heard(Instant::now(), member(2));
        let moved = ["10.0.0.2:4647", "log:3"].map(str::to_owned);
        assert_eq!(asked(&table), moved.into());
    }

    #[test]
    fn what_a_catalog_elsewhere_has_now_is_asked() {
        let directory = Directory::new(&["a:1".to_owned()]);
        let asked = || directory.table.lock().addresses((1, "own:1"), &[]);
        let all = |addresses: &[&str]| addresses.iter().map(|at| (*at).to_owned()).collect();
        directory.find(vec!["b:1".to_owned(), "own:1".to_owned()]);
        assert_eq!(asked(), all(&["a:1", "b:1"]));
        directory.find(vec!["c:1".to_owned()]);
        assert_eq!(asked(), all(&["a:1", "c:1"]), "the others moved");
        directory.on_answered("c:1", 2);
        assert_eq!(asked(), all(&["a:1", "c:1"]), "a server of another region");
        directory.table.lock().on_heard(Instant::now(), member(2));
        assert_eq!(asked(), all(&["10.0.0.2:4647", "a:1"]));
        let many = (0..2 * JOIN_MAX).map(|port| format!("d:{port}"));
        directory.find(many.collect());
        assert_eq!(asked().len(), 2 + JOIN_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_keeps_itself_free_for_one_group_at_a_time() {
        let directory = Directory::new(&[]);
        assert!(directory.promises(1));
        assert!(directory.promises(1));
        assert!(!directory.promises(2));
        tokio::time::advance(PROMISE + Duration::from_millis(1)).await;
        assert!(directory.promises(2));
    }
}
