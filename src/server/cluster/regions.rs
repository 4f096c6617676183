//! Servers of other regions, and the way to them.

use mesh::gossip::Presence;
use parking_lot::Mutex;
use rpc::{
    members::Member,
    pipe::Pipe,
    pool::Pool,
    transport::{Dialect, Kind},
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::directory::{KnownServer, Status};
use crate::Core;

/// Regions to which connections are kept.
const REGIONS_MAX: usize = 32;

/// Connections to servers of other regions, by region.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    pools: Mutex<BTreeMap<String, Pool>>,
    turns: AtomicUsize,
}

impl Regions {
    /// The connections to a region, whose servers have certificates of their own name.
    fn pool(&self, core: &Core, region: &str) -> Result<Pool, String> {
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.get(region) {
            return Ok(pool.clone());
        }
        let security = core.pool.security();
        let pool = Pool::new(security.of_servers(&format!("server.{region}.nomad"))?);
        if pools.len() < REGIONS_MAX {
            pools.insert(region.to_owned(), pool.clone());
        }
        Ok(pool)
    }

    /// Which of `count` servers is asked first: each in turn.
    fn turn(&self, count: usize) -> usize {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(count).unwrap_or_default()
    }
}

/// The servers of other regions.
pub(crate) fn servers(core: &Core) -> impl Iterator<Item = KnownServer> {
    let known = core.gossip.get().map(|gossip| gossip.others());
    let known = known.unwrap_or_default();
    let elsewhere: Vec<_> = known
        .iter()
        .filter(|(peer, _)| peer.region != core.config.region)
        .cloned()
        .collect();
    elsewhere.into_iter().map(|(peer, presence)| KnownServer {
        member: Member {
            id: peer.id,
            name: peer.name,
            region: peer.region,
            datacenter: peer.datacenter,
            address: peer.rpc,
            gossip: peer.address.to_string(),
            version: peer.version,
            has_left: peer.has_left,
            ..Member::default()
        },
        status: match presence {
            Presence::Alive => Status::Alive,
            Presence::Failed => Status::Failed,
            Presence::Left => Status::Left,
        },
        silent_for: None,
    })
}

/// Opens a pipe to any server of a region; none when none can be reached.
pub(crate) async fn open(core: &Core, region: &str, dialect: Dialect) -> Option<Pipe> {
    let mut servers = core.gossip.get()?.of_region(region);
    let pool = match core.regions.pool(core, region) {
        Ok(pool) => pool,
        Err(error) => {
            tracing::warn!(region, error, "no certificate can be for a server of it");
            return None;
        }
    };
    let turn = core.regions.turn(servers.len());
    servers.rotate_left(turn);
    for server in servers {
        match pool.open(&server.rpc, Kind::Http(dialect)).await {
            Ok(pipe) => return Some(pipe),
            Err(error) => {
                tracing::debug!(region, server = server.name, %error, "a server cannot be asked");
            }
        }
    }
    None
}
