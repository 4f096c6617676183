//! Sockets, moments and files of gossip; what is decided about is in [`mesh::gossip`].
//!
//! Servers of all regions take part. Within a region each server asks each besides (`directory`),
//! because a group is not changed by hearsay; what gossip says of it is where to ask.

use mesh::gossip::{Gossip, KeyAnswer, KeyChange, Keyring, Output, Peer, Presence};
use rpc::security::Security;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use sys::{
    files::{Durability, create_dir, write_atomic},
    random::seed_bytes,
};
use tokio::{
    net::{UdpSocket, lookup_host},
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{Config, Core, log::raft::StartError};

/// Port of gossip where an address names none.
const GOSSIP_PORT: u16 = 4648;
/// Port of RPC, which an address may name instead.
const RPC_PORT: u16 = 4647;
/// Longest datagram that is heard, bytes.
const DATAGRAM_BYTES: usize = 2048;
/// Commands that may wait.
const COMMANDS_MAX: usize = 64;
/// Addresses that one name may stand for.
const ADDRESSES_MAX: usize = 4;
/// How often a question is asked that may have been lost.
const TRIES: usize = 3;
/// How long a question is given.
const TRY_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause between two looks for servers that are to be joined.
const JOIN_PAUSE: Duration = Duration::from_secs(10);
/// How long servers are given to change their keys.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(4);
/// Changes of keys that may be under way.
const CHANGES_MAX: usize = 16;

/// The other servers, as gossip has it.
type Known = Arc<Vec<(Peer, Presence)>>;

/// What is asked of gossip.
#[derive(Debug)]
enum Command {
    Join {
        address: SocketAddr,
        reply: oneshot::Sender<()>,
    },
    Change {
        change: KeyChange,
        reply: oneshot::Sender<Vec<KeyAnswer>>,
    },
    ForceLeave {
        id: u64,
        reply: oneshot::Sender<()>,
    },
    Leave {
        reply: oneshot::Sender<()>,
    },
}

/// The way to gossip for the rest of the server; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gossiping {
    commands: mpsc::Sender<Command>,
    known: watch::Receiver<Known>,
    /// Where others hear this server.
    pub(crate) address: SocketAddr,
}

impl Gossiping {
    /// The other servers of all regions.
    pub(crate) fn others(&self) -> Known {
        Arc::clone(&self.known.borrow())
    }

    /// Those of one region that are there.
    pub(crate) fn of_region(&self, region: &str) -> Vec<Peer> {
        let known = self.others();
        let there = known
            .iter()
            .filter(|(peer, presence)| *presence == Presence::Alive && peer.region == region);
        there.map(|(peer, _)| peer.clone()).collect()
    }

    /// Looks for a server at an RPC address; tells whether one answered.
    pub(crate) async fn join(&self, address: &str) -> bool {
        let Ok(found) = lookup_host(place(address)).await else {
            return false;
        };
        for address in found.take(ADDRESSES_MAX) {
            for _ in 0..TRIES {
                let (reply, answered) = oneshot::channel();
                let asked = self.commands.send(Command::Join { address, reply });
                if asked.await.is_err() {
                    return false;
                }
                if let Ok(Ok(())) = timeout(TRY_TIMEOUT, answered).await {
                    return true;
                }
            }
        }
        false
    }

    /// Changes the keys of all servers that are there; what became of it at each.
    pub(crate) async fn change(&self, change: KeyChange) -> Vec<KeyAnswer> {
        let (reply, answers) = oneshot::channel();
        let asked = self.commands.send(Command::Change { change, reply });
        if asked.await.is_err() {
            return Vec::new();
        }
        answers.await.unwrap_or_default()
    }

    /// Takes a server that failed for one that left, if there is one.
    pub(crate) async fn force_leave(&self, id: u64) {
        let (reply, done) = oneshot::channel();
        let asked = self.commands.send(Command::ForceLeave { id, reply });
        if asked.await.is_ok() {
            done.await.ok();
        }
    }

    /// Says goodbye.
    pub(crate) async fn leave(&self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Leave { reply }).await.is_ok() {
            done.await.ok();
        }
    }
}

/// Where gossip is heard at an RPC address: at its own port beside the usual one, else at the same.
fn place(address: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port)) if port.parse() == Ok(RPC_PORT) => format!("{host}:{GOSSIP_PORT}"),
        _ => address.to_owned(),
    }
}

/// A change of keys that is under way.
#[derive(Debug)]
struct Change {
    change: KeyChange,
    waiting: BTreeSet<u64>,
    answers: Vec<KeyAnswer>,
    reply: oneshot::Sender<Vec<KeyAnswer>>,
    again: Instant,
    until: Instant,
}

/// Speaks and listens.
#[derive(Debug)]
pub(crate) struct Speaker {
    socket: UdpSocket,
    gossip: Gossip,
    commands: mpsc::Receiver<Command>,
    known: watch::Sender<Known>,
    /// Where the keys are kept.
    file: PathBuf,
    start: Instant,
    joins: BTreeMap<u64, oneshot::Sender<()>>,
    changes: BTreeMap<u64, Change>,
}

/// Gossip on a socket, with `id` for this server; none when it would be neither sealed nor stay
/// where everything is plain.
///
/// # Errors
/// When its keys cannot be read or written.
pub(crate) fn open(
    config: &Config,
    id: u64,
    socket: UdpSocket,
) -> Result<Option<(Speaker, Gossiping)>, StartError> {
    let Some(settings) = &config.cluster.gossip else {
        return Ok(None);
    };
    let file = file_of(config);
    let keyring = keyring(&file, settings.key.as_deref())?;
    if keyring.is_none() && matches!(config.cluster.security, Security::Mutual(_)) {
        tracing::info!(
            "servers of other regions are not heard: `server.encrypt` has no key to seal gossip with"
        );
        return Ok(None);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let own = Peer {
        id,
        since: u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or_default(),
        name: config.name.clone(),
        region: config.region.clone(),
        datacenter: config.datacenter.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: settings.address,
        rpc: config.rpc_address.clone(),
        has_left: false,
    };
    let (asked, commands) = mpsc::channel(COMMANDS_MAX);
    let known = watch::Sender::new(Known::default());
    let gossiping = Gossiping {
        commands: asked,
        known: known.subscribe(),
        address: settings.address,
    };
    let speaker = Speaker {
        socket,
        gossip: Gossip::new(own, keyring, seed_bytes()),
        commands,
        known,
        file,
        start: Instant::now(),
        joins: BTreeMap::new(),
        changes: BTreeMap::new(),
    };
    Ok(Some((speaker, gossiping)))
}

/// Where a server keeps its keys.
fn file_of(config: &Config) -> PathBuf {
    config.data_dir.join("server/serf.keyring")
}

/// The key that seals what this server says.
pub(crate) fn key_in_use(config: &Config) -> Option<String> {
    let keyring = keyring(&file_of(config), None).ok()??;
    keyring.keys().next().map(str::to_owned)
}

/// The keys that are kept, and at the first start the configured one.
fn keyring(file: &Path, configured: Option<&str>) -> Result<Option<Keyring>, StartError> {
    let damaged = |what: String| StartError::Damaged {
        path: file.display().to_string(),
        what,
        way_out: "Remove it, and the key of `server.encrypt` is used".into(),
    };
    let keyring = match fs::read(file) {
        Ok(bytes) => {
            let keys: Result<Vec<String>, _> = serde_json::from_slice(&bytes);
            let keys = keys.map_err(|_| damaged("is no list of keys".into()))?;
            let keyring = Keyring::new(keys.iter().map(String::as_str));
            return Ok(Some(keyring.map_err(|error| damaged(error.to_string()))?));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => configured.map(|key| {
            // The configuration was checked.
            Keyring::new([key]).map_err(|error| damaged(error.to_string()))
        }),
        Err(error) => return Err(StartError::files(file, error)),
    };
    let keyring = keyring.transpose()?;
    if let Some(keyring) = &keyring {
        store(file, keyring).map_err(|error| StartError::files(file, error))?;
    }
    Ok(keyring)
}

/// Writes the keys durably, for their owner alone.
fn store(file: &Path, keyring: &Keyring) -> io::Result<()> {
    if let Some(parent) = file.parent() {
        create_dir(parent, 0o700)?;
    }
    let keys: Vec<&str> = keyring.keys().collect();
    write_atomic(file, &serde_json::to_vec(&keys)?, Durability::Power)
}

impl Speaker {
    /// Speaks and listens until `stop`.
    pub(crate) async fn run(mut self, core: Arc<Core>, stop: CancellationToken) {
        let mut datagram = vec![0; DATAGRAM_BYTES];
        loop {
            let deadline = self.deadline();
            tokio::select! {
                heard = self.socket.recv_from(&mut datagram) => match heard {
                    Ok((length, from)) => {
                        let now = self.start.elapsed();
                        let datagram = datagram.get(..length).unwrap_or_default();
                        let output = self.gossip.on_datagram(now, from, datagram);
                        self.carry_out(&core, output).await;
                    }
                    // What was sent reached nobody.
                    Err(error) => tracing::debug!(%error, "gossip was not heard"),
                },
                Some(command) = self.commands.recv() => self.on_command(&core, command).await,
                () = sleep_until(deadline) => self.on_time(&core).await,
                () = stop.cancelled() => return,
            }
        }
    }

    fn deadline(&self) -> Instant {
        let of_gossip = self.gossip.deadline().map(|at| self.start + at);
        let of_changes = self.changes.values().map(|change| change.again);
        let next = of_gossip.into_iter().chain(of_changes).min();
        next.unwrap_or_else(|| Instant::now() + JOIN_PAUSE)
    }

    async fn on_time(&mut self, core: &Core) {
        let output = self.gossip.on_time(self.start.elapsed());
        self.carry_out(core, output).await;
        let now = Instant::now();
        let due: Vec<u64> = {
            let due = self
                .changes
                .iter()
                .filter(|(_, change)| change.again <= now);
            due.map(|(number, _)| *number).collect()
        };
        for number in due {
            self.ask_again(core, number, now).await;
        }
    }

    async fn on_command(&mut self, core: &Core, command: Command) {
        match command {
            Command::Join { address, reply } => {
                self.joins.retain(|_, reply| !reply.is_closed());
                let (number, output) = self.gossip.join(address);
                self.joins.insert(number, reply);
                self.carry_out(core, output).await;
            }
            Command::ForceLeave { id, reply } => {
                let (_, output) = self.gossip.force_leave(id);
                self.carry_out(core, output).await;
                reply.send(()).ok();
            }
            Command::Leave { reply } => {
                let output = self.gossip.leave();
                self.carry_out(core, output).await;
                reply.send(()).ok();
            }
            Command::Change { change, reply } => self.change(core, change, reply).await,
        }
    }

    /// Changes the keys here, and where that worked everywhere else.
    async fn change(
        &mut self,
        core: &Core,
        change: KeyChange,
        reply: oneshot::Sender<Vec<KeyAnswer>>,
    ) {
        if self.changes.len() >= CHANGES_MAX {
            return;
        }
        let (own, output) = self.gossip.change(&change);
        let failed = own.error.is_some();
        self.carry_out(core, output).await;
        let others = self.gossip.others().into_iter();
        let there = others.filter(|(_, presence)| *presence == Presence::Alive);
        let waiting: BTreeSet<u64> = there.map(|(peer, _)| peer.id).collect();
        if failed || waiting.is_empty() {
            reply.send(vec![own]).ok();
            return;
        }
        let now = Instant::now();
        let number = self.gossip.number();
        let change = Change {
            change,
            waiting,
            answers: vec![own],
            reply,
            again: now,
            until: now + CHANGE_TIMEOUT,
        };
        self.changes.insert(number, change);
        self.ask_again(core, number, now).await;
    }

    /// Asks those who did not answer yet, or gives them up.
    async fn ask_again(&mut self, core: &Core, number: u64, now: Instant) {
        let Some(change) = self.changes.get_mut(&number) else {
            return;
        };
        if now >= change.until {
            self.end(number);
            return;
        }
        change.again = now + TRY_TIMEOUT;
        let waiting: Vec<u64> = change.waiting.iter().copied().collect();
        let output = self.gossip.ask(number, &change.change, &waiting);
        self.carry_out(core, output).await;
    }

    /// Says what became of a change.
    fn end(&mut self, number: u64) {
        let Some(mut change) = self.changes.remove(&number) else {
            return;
        };
        let others = self.gossip.others().into_iter();
        let silent = others.filter(|(peer, _)| change.waiting.contains(&peer.id));
        change.answers.extend(silent.map(|(peer, _)| KeyAnswer {
            by: format!("{}.{}", peer.name, peer.region),
            error: Some("it did not answer in time".to_owned()),
            keys: Vec::new(),
        }));
        change.reply.send(change.answers).ok();
    }

    async fn carry_out(&mut self, core: &Core, output: Output) {
        if output.has_new_keys {
            self.keep_keys().await;
        }
        for (to, datagram) in output.datagrams {
            if let Err(error) = self.socket.send_to(&datagram, to).await {
                tracing::debug!(%to, %error, "gossip was not sent");
            }
        }
        for number in output.welcomes {
            if let Some(reply) = self.joins.remove(&number) {
                reply.send(()).ok();
            }
        }
        for (number, by, answer) in output.answers {
            let Some(change) = self.changes.get_mut(&number) else {
                continue;
            };
            if change.waiting.remove(&by) {
                change.answers.push(answer);
            }
            if change.waiting.is_empty() {
                self.end(number);
            }
        }
        if output.is_news {
            self.publish(core);
        }
    }

    async fn keep_keys(&self) {
        let Some(keyring) = self.gossip.keyring().cloned() else {
            return;
        };
        let file = self.file.clone();
        let kept = sys::threads::blocking(move || store(&file, &keyring)).await;
        if let Err(error) = kept.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::error!(
                file = %self.file.display(), %error,
                "the keys of gossip are changed and not stored: change them again once there is room"
            );
        }
    }

    /// Tells the others of this server who is there. Servers of its region are asked from now on.
    fn publish(&self, core: &Core) {
        let others = self.gossip.others();
        let region = &core.config.region;
        let near = others
            .iter()
            .filter(|(peer, presence)| *presence == Presence::Alive && peer.region == *region);
        let near: Vec<String> = near.map(|(peer, _)| peer.rpc.clone()).collect();
        core.directory.join(&near);
        for (peer, presence) in &others {
            tracing::debug!(name = peer.name, region = peer.region, ?presence, "gossip");
        }
        self.known.send_replace(Arc::new(others));
        core.directory.tell();
    }
}

/// Looks for servers that are configured, and for those of the region that are heard of, until
/// `stop`.
pub(crate) async fn keep_joined(core: Arc<Core>, stop: CancellationToken) {
    let Some(gossip) = core.gossip.get().cloned() else {
        return;
    };
    let mut news = core.directory.changed();
    let joining = async {
        loop {
            news.borrow_and_update();
            for address in absent(&core, &gossip).await {
                gossip.join(&address).await;
            }
            // What is new is a server to join, more often than not.
            tokio::select! {
                () = sleep(JOIN_PAUSE) => {}
                _ = news.changed() => sleep(TRY_TIMEOUT).await,
            }
        }
    };
    tokio::select! {
        () = joining => {}
        () = stop.cancelled() => {}
    }
}

/// Addresses at which nobody is known.
async fn absent(core: &Core, gossip: &Gossiping) -> BTreeSet<String> {
    let known = gossip.others();
    let there: BTreeSet<SocketAddr> = known
        .iter()
        .filter(|(_, presence)| *presence == Presence::Alive)
        .map(|(peer, _)| peer.address)
        .chain([gossip.address])
        .collect();
    let heard = core.directory.others().into_iter();
    let heard = heard.map(|known| known.member.gossip);
    let asked = core
        .config
        .cluster
        .join
        .iter()
        .map(|address| place(address));
    let mut absent = BTreeSet::new();
    for address in asked.chain(heard).filter(|address| !address.is_empty()) {
        let found = lookup_host(&address).await;
        let is_known = found.is_ok_and(|mut found| found.any(|one| there.contains(&one)));
        if !is_known {
            absent.insert(address);
        }
    }
    absent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gossip_is_beside_the_usual_port_of_rpc() {
        for (address, expected) in [
            ("10.0.0.1:4647", "10.0.0.1:4648"),
            ("10.0.0.1:4648", "10.0.0.1:4648"),
            ("[fd00::1]:4647", "[fd00::1]:4648"),
            ("s1.example.com:5000", "s1.example.com:5000"),
        ] {
            assert_eq!(place(address), expected);
        }
    }

    #[test]
    fn keys_are_kept_and_a_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server/serf.keyring");
        assert!(keyring(&file, None).unwrap().is_none());
        let key = "AAAAAAAAAAAAAAAAAAAAAA==";
        let first = keyring(&file, Some(key)).unwrap().unwrap();
        assert_eq!(first.keys().collect::<Vec<_>>(), [key]);
        // The file counts, whatever is configured later.
        let other = keyring(&file, Some("AQEBAQEBAQEBAQEBAQEBAQ==")).unwrap();
        assert_eq!(other.unwrap().keys().collect::<Vec<_>>(), [key]);
        assert!(keyring(&file, None).unwrap().is_some());
        for text in ["", "[]", "[\"k\"]", "{}"] {
            fs::write(&file, text).unwrap();
            let error = keyring(&file, Some(key)).unwrap_err().to_string();
            assert!(error.contains("serf.keyring"), "{error}");
        }
    }
}
