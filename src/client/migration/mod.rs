//! Data of an allocation that was on another node: its agent packs it, this one fetches it before
//! the tasks start.
//!
//! The question goes the way of every question about an allocation elsewhere, through the leader
//! and the tunnel of the other agent. What comes is put aside as it comes, and takes its place when
//! it is whole. Without it the tasks start nevertheless, and an event says why.
//!
//! Source: `ephemeral_disk` block, `migrate`. Differs: a snapshot that breaks off is asked for
//! again, unless its node is lost.

mod archive;

use crate::{
    allocdir::AllocDir,
    own_api::{OwnApi, Unanswered},
};
use archive::{ArchiveError, Packed, pack, report_name, unpack};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use jobs::model::{AllocId, Allocation, NodeId};
use serde::Deserialize;
use std::{
    io::{self, Read, Write},
    path::PathBuf,
    time::Duration,
};
use sys::{directory::Found, threads::Threads};
use tokio::{
    runtime,
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, sleep, timeout},
};

/// How long one snapshot may take.
const SNAPSHOT_LIMIT: Duration = Duration::from_hours(1);
/// How long either side waits for the other in the middle of it.
const STALL: Duration = Duration::from_secs(60);
/// How often a snapshot is asked for whose node is not lost.
const TRIES_MAX: u32 = 3;
/// Pause before something is asked for again.
const PAUSE: Duration = Duration::from_secs(2);
/// Bytes of a piece, and pieces that may wait.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 16;
/// Longest description of an allocation, and longest reason, bytes.
const ALLOC_BYTES_MAX: usize = 16 << 20;
const REASON_BYTES_MAX: usize = 1024;

/// Why the data of the previous allocation is not here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The servers have forgotten the allocation.
    #[error("the servers do not know it any more")]
    Forgotten,
    /// It was on this node, and its directory was removed.
    #[error("its directory was removed from this node")]
    Removed,
    /// Its agent does not give it.
    #[error("{status}: {reason}")]
    Refused {
        /// Of the answer.
        status: StatusCode,
        /// In its words.
        reason: String,
    },
    /// Nothing came.
    #[error("its node was silent for {} s", STALL.as_secs())]
    Silent,
    /// It took too long.
    #[error("it was not whole within {} min", SNAPSHOT_LIMIT.as_secs() / 60)]
    Slow,
    /// No answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// What came is not what it should be.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// What an allocation is to take over.
#[derive(Clone, Debug)]
pub(crate) struct Previous {
    id: AllocId,
    tasks: Vec<String>,
    bytes_max: u64,
}

impl Previous {
    /// What the group of `alloc` asks to be brought from another node.
    pub(crate) fn of(alloc: &Allocation) -> Option<Self> {
        let group = alloc.group().filter(|group| group.ephemeral_disk.migrate)?;
        Some(Self {
            id: alloc.previous_allocation?,
            tasks: tasks(alloc),
            bytes_max: bytes_max(group.ephemeral_disk.size_mb),
        })
    }

    /// The allocation that had it.
    pub(crate) fn id(&self) -> AllocId {
        self.id
    }
}

/// The names of the tasks of an allocation.
pub(crate) fn tasks(alloc: &Allocation) -> Vec<String> {
    let tasks = alloc.group().into_iter().flat_map(|group| &group.tasks);
    tasks.map(|task| task.name.to_string()).collect()
}

fn bytes_max(size_mb: i64) -> u64 {
    u64::try_from(size_mb).unwrap_or_default() << 20
}

/// What of an allocation's directory travels.
fn roots(tasks: &[String]) -> Vec<PathBuf> {
    let of_tasks = tasks.iter().map(|task| PathBuf::from(task).join("local"));
    std::iter::once("alloc/data".into())
        .chain(of_tasks)
        .collect()
}

/// Packs the data of an allocation that is over on one of `threads`; answers when that has begun.
/// `kept` is dropped at the end.
pub(crate) async fn packed(
    alloc: &Allocation,
    dir: AllocDir,
    threads: Threads,
    may_be_linked: impl Fn(&Found) -> bool + Send + 'static,
    kept: impl Send + 'static,
) -> io::Result<mpsc::Receiver<io::Result<Bytes>>> {
    let size_mb = alloc.group().map(|group| group.ephemeral_disk.size_mb);
    let bytes_max = bytes_max(size_mb.unwrap_or_default());
    let (roots, report) = (roots(&tasks(alloc)), report_name(&alloc.id.to_string()));
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let (begins, begun) = oneshot::channel();
    let runtime = runtime::Handle::current();
    tokio::spawn(async move {
        let out = Outgoing {
            sender: sender.clone(),
            runtime,
            until: Instant::now() + SNAPSHOT_LIMIT,
            piece: Vec::new(),
        };
        let work = move || {
            let opened = dir.open();
            begins
                .send(opened.as_ref().map(drop).map_err(io::Error::kind))
                .ok();
            let dir = opened?;
            let packed = Packed {
                dir: &dir,
                roots: &roots,
                bytes_max,
                may_be_linked: &may_be_linked,
                report: &report,
            };
            pack(&packed, out)
        };
        if let Err(error) = threads.run(work).await {
            // The other side is to know that it is not whole.
            sender.send(Err(error)).await.ok();
        }
        drop(kept);
    });
    match begun.await {
        Ok(Ok(())) => Ok(pieces),
        Ok(Err(kind)) => Err(kind.into()),
        Err(_) => Err(io::Error::other("the work on a file broke")),
    }
}

/// Pieces on their way to the other side, which is waited for, but not for ever.
struct Outgoing {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: runtime::Handle,
    until: Instant,
    piece: Vec<u8>,
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES.saturating_sub(self.piece.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.piece.extend_from_slice(taken);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if Instant::now() > self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        let sent = self.sender.send_timeout(Ok(piece), STALL);
        let sent = self.runtime.block_on(sent);
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Fetches the data of an allocation of another node once it is over, and puts it aside in the
/// directory of the new one, which is built. `slots` are as many as there are `threads`.
///
/// # Errors
/// [`Failure`]; nothing is put aside then.
pub(crate) async fn fetch(
    api: &OwnApi,
    (threads, slots): (&Threads, &Semaphore),
    dir: &AllocDir,
    previous: &Previous,
    own_node: NodeId,
) -> Result<(), Failure> {
    let is_lost = wait_for_end(api, previous.id, own_node).await?;
    // It is never closed.
    let slot = slots.acquire().await;
    let mut tries = if is_lost { 1 } else { TRIES_MAX };
    let fetched = loop {
        let fetching = fetch_once(api, threads, dir, previous);
        let fetched = timeout(SNAPSHOT_LIMIT, fetching).await;
        let fetched = fetched.unwrap_or(Err(Failure::Slow));
        tries -= 1;
        match &fetched {
            Err(failure) if tries > 0 && may_pass(failure) => {
                tracing::debug!(previous = %previous.id, %failure, "data of another node is asked for again");
                sleep(PAUSE).await;
            }
            _ => break fetched,
        }
    };
    drop(slot);
    fetched
}

/// Whether asking again can help.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Unanswered(_) | Failure::Silent => true,
        Failure::Refused { status, .. } => {
            // An agent without a tunnel may come back in a moment.
            status.is_server_error() || *status == StatusCode::NOT_FOUND
        }
        Failure::Archive(error) => {
            matches!(error, ArchiveError::CutOff | ArchiveError::Io(_))
        }
        Failure::Forgotten | Failure::Removed | Failure::Slow => false,
    }
}

/// What of an allocation says whether its data can be had.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    #[serde(rename = "NodeID")]
    node_id: NodeId,
    #[serde(rename = "ClientStatus")]
    client_status: String,
}

/// Waits until the servers know the end of an allocation, as long as that takes; true when its node
/// is out of reach.
async fn wait_for_end(api: &OwnApi, id: AllocId, own_node: NodeId) -> Result<bool, Failure> {
    let mut index = 0;
    loop {
        let path = format!("/v1/allocation/{id}?index={index}&wait=30s");
        let shown = match timeout(STALL * 2, shown(api, &path)).await {
            Err(_) => Err(Failure::Silent),
            Ok(shown) => shown,
        };
        match shown {
            Ok((_, shown)) if shown.node_id == own_node => return Err(Failure::Removed),
            Ok((at, shown)) => match shown.client_status.as_str() {
                "complete" | "failed" => return Ok(false),
                "lost" | "unknown" => return Ok(true),
                _ if at > index => index = at,
                _ => sleep(PAUSE).await,
            },
            Err(Failure::Refused { status, .. }) if status == StatusCode::NOT_FOUND => {
                return Err(Failure::Forgotten);
            }
            Err(failure @ Failure::Unanswered(Unanswered::Closed)) => return Err(failure),
            Err(failure) => {
                tracing::debug!(previous = %id, %failure, "it is not known whether an allocation is over");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn shown(api: &OwnApi, path: &str) -> Result<(u64, Shown), Failure> {
    let answer = api.get(path).await?;
    let index = answer.headers().get("x-nomad-index");
    let index = index.and_then(|index| index.to_str().ok()?.parse().ok());
    let answer = accepted(answer).await?;
    let body = read(answer, ALLOC_BYTES_MAX).await;
    let unclear = |reason: String| Failure::Refused {
        status: StatusCode::BAD_GATEWAY,
        reason,
    };
    let shown = serde_json::from_slice(&body.map_err(unclear)?);
    let shown = shown.map_err(|error| unclear(error.to_string()))?;
    Ok((index.unwrap_or_default(), shown))
}

/// An answer that is none of a refusal.
async fn accepted(answer: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(answer);
    }
    let reason = read(answer, REASON_BYTES_MAX).await;
    let reason = reason.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    Err(Failure::Refused {
        status,
        reason: reason.unwrap_or_else(|error| error),
    })
}

async fn read(answer: Response<Incoming>, bytes_max: usize) -> Result<Bytes, String> {
    let body = Limited::new(answer.into_body(), bytes_max).collect();
    match timeout(STALL, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the answer does not end".into()),
    }
}

async fn fetch_once(
    api: &OwnApi,
    threads: &Threads,
    dir: &AllocDir,
    previous: &Previous,
) -> Result<(), Failure> {
    let path = format!("/v1/client/allocation/{}/snapshot", previous.id);
    let body = accepted(api.get(&path).await?).await?.into_body();
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let source = Pieces {
        pieces,
        piece: Bytes::new(),
    };
    let (dir, previous) = (dir.clone(), previous.clone());
    let work = move || Ok(put_aside(&dir, &previous, source));
    let unpacking = threads.run(work);
    let (fed, unpacked) = tokio::join!(feed(body, sender), unpacking);
    // Why it broke off says more than that it did.
    fed?;
    Ok(unpacked.map_err(ArchiveError::Io)??)
}

/// Hands on what comes until its end, and that it broke if it did.
async fn feed(mut body: Incoming, to: mpsc::Sender<io::Result<Bytes>>) -> Result<(), Failure> {
    let failure = loop {
        let piece = match timeout(STALL, body.frame()).await {
            Err(_) => break Failure::Silent,
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => break Unanswered::Broken(error).into(),
            Ok(Some(Ok(frame))) => frame.into_data(),
        };
        let Ok(piece) = piece else { continue };
        // Whoever does not take it any more says why.
        if to.send(Ok(piece)).await.is_err() {
            return Ok(());
        }
    };
    let broken = io::ErrorKind::ConnectionAborted.into();
    to.send(Err(broken)).await.ok();
    Err(failure)
}

fn put_aside(dir: &AllocDir, previous: &Previous, archive: impl Read) -> Result<(), ArchiveError> {
    let into = dir.put_aside()?;
    let unpacked = unpack(archive, &into, &roots(&previous.tasks), previous.bytes_max);
    if unpacked.is_err() {
        dir.drop_aside()?;
    }
    unpacked
}

/// What comes, as it comes.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.split_to(count).as_ref().read(buffer)
    }
}
