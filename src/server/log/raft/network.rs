//! What the servers of a group say to each other: questions of the Raft library in a form of our
//! own, asked over RPC and answered by the library of the other side.

use openraft::{
    RaftNetwork, RaftNetworkFactory, SnapshotMeta,
    error::{
        InstallSnapshotError, RPCError, RaftError, RemoteError, SnapshotMismatch, Unreachable,
    },
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest,
        InstallSnapshotResponse, VoteRequest, VoteResponse,
    },
};
use parking_lot::Mutex;
use rpc::{pool::Pool, transport::Call};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    Raft,
    stored::{Position, StoredVote, Voters, decode_entry, encode_entry},
    types::{ServerNode, Types},
};

/// How long entries may be under way: the library gives up earlier, asks again, and is given the
/// answer to the question that is under way already.
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause before a server that cannot be reached is asked again.
const BACKOFF: Duration = Duration::from_millis(200);

/// Take these entries.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Append {
    cluster: String,
    vote: StoredVote,
    previous: Option<Position>,
    entries: Vec<ByteBuf>,
    commit: Option<Position>,
}

/// What became of them.
#[derive(Serialize, Deserialize)]
enum Appended {
    All,
    UpTo(Option<Position>),
    Conflict,
    HigherVote(StoredVote),
}

/// Vote for me.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Candidacy {
    cluster: String,
    vote: StoredVote,
    last: Option<Position>,
}

/// Yes or no.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Voted {
    vote: StoredVote,
    is_granted: bool,
    last: Option<Position>,
}

/// A part of a snapshot.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Part {
    cluster: String,
    vote: StoredVote,
    last: Option<Position>,
    voters: Voters,
    id: String,
    offset: u64,
    data: ByteBuf,
    is_last: bool,
}

/// What became of it.
#[derive(Serialize, Deserialize)]
enum Taken {
    Yes(StoredVote),
    /// Another part was expected; the sender begins anew.
    Mismatch {
        expected: (String, u64),
        got: (String, u64),
    },
}

/// When each server was sent entries and answered, by id.
pub(super) type Contacts = Arc<Mutex<BTreeMap<u64, Contact>>>;

/// When a server was sent entries and answered.
#[derive(Clone, Copy, Default)]
pub(super) struct Contact {
    /// Since when it owes an answer.
    pub(super) unanswered: Option<Instant>,
    /// When it answered last.
    pub(super) answered: Option<Instant>,
}

/// Asks other servers.
#[derive(Clone)]
pub(super) struct Peers {
    pub(super) pool: Pool,
    /// The cluster that this server belongs to; empty for none yet.
    pub(super) cluster: Arc<Mutex<String>>,
    pub(super) contacts: Contacts,
}

/// Asks one of them.
pub(super) struct Peer {
    peers: Peers,
    id: u64,
    address: String,
    /// Entries that are under way, and between which places.
    under_way: Option<UnderWay>,
}

struct UnderWay {
    vote: StoredVote,
    previous: Option<Position>,
    last: Option<Position>,
    answer: JoinHandle<io::Result<Appended>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &ServerNode) -> Peer {
        Peer {
            peers: self.clone(),
            id: target,
            address: node.address.clone(),
            under_way: None,
        }
    }
}

impl Peers {
    fn cluster(&self) -> String {
        self.cluster.lock().clone()
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        address: &str,
        call: Call,
        question: &impl Serialize,
        limit: Duration,
    ) -> io::Result<A> {
        let bytes = rmp_serde::to_vec_named(question).map_err(io::Error::other)?;
        let answer = self.pool.call(address, call, bytes, limit).await;
        rmp_serde::from_slice(&answer.map_err(io::Error::other)?).map_err(io::Error::other)
    }
}

fn unreachable<E: std::error::Error>(error: &io::Error) -> RPCError<u64, ServerNode, E> {
    RPCError::Unreachable(Unreachable::new(error))
}

impl Peer {
    fn note(&self, happened: impl FnOnce(&mut Contact)) {
        happened(self.peers.contacts.lock().entry(self.id).or_default());
    }

    /// Sends entries, unless just these are under way.
    fn send(&mut self, request: &AppendEntriesRequest<Types>) -> io::Result<&mut UnderWay> {
        let vote = StoredVote::from(&request.vote);
        let previous = request.prev_log_id.map(Position::from);
        let last = request.entries.last().map(|entry| entry.log_id.into());
        let is_same =
            |sent: &UnderWay| (sent.vote, sent.previous, sent.last) == (vote, previous, last);
        if !self.under_way.as_ref().is_some_and(is_same) {
            let entries: io::Result<Vec<_>> = request
                .entries
                .iter()
                .map(|entry| encode_entry(entry).map(ByteBuf::from))
                .collect();
            let question = Append {
                cluster: self.peers.cluster(),
                vote,
                previous,
                entries: entries?,
                commit: request.leader_commit.map(Position::from),
            };
            let (peers, address) = (self.peers.clone(), self.address.clone());
            let answer = tokio::spawn(async move {
                peers
                    .ask(&address, Call::Append, &question, APPEND_TIMEOUT)
                    .await
            });
            self.under_way = Some(UnderWay {
                vote,
                previous,
                last,
                answer,
            });
        }
        let lost = || io::Error::other("nothing is under way");
        self.under_way.as_mut().ok_or_else(lost)
    }
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, ServerNode, RaftError<u64>>> {
        self.note(|contact| {
            contact.unanswered.get_or_insert_with(Instant::now);
        });
        let under_way = self.send(&request).map_err(|error| unreachable(&error))?;
        let answer = (&mut under_way.answer).await;
        self.under_way = None;
        let answer = answer.map_err(io::Error::other).flatten();
        let answer = answer.map_err(|error| unreachable(&error))?;
        self.note(|contact| {
            *contact = Contact {
                unanswered: None,
                answered: Some(Instant::now()),
            };
        });
        Ok(match answer {
            Appended::All => AppendEntriesResponse::Success,
            Appended::UpTo(last) => AppendEntriesResponse::PartialSuccess(last.map(Into::into)),
            Appended::Conflict => AppendEntriesResponse::Conflict,
            Appended::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote.into()),
        })
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<u64>,
        RPCError<u64, ServerNode, RaftError<u64, InstallSnapshotError>>,
    > {
        let part = Part {
            cluster: self.peers.cluster(),
            vote: StoredVote::from(&request.vote),
            last: request.meta.last_log_id.map(Position::from),
            voters: Voters::from(&request.meta.last_membership),
            id: request.meta.snapshot_id,
            offset: request.offset,
            data: ByteBuf::from(request.data),
            is_last: request.done,
        };
        let limit = option.hard_ttl();
        let asked = self.peers.ask(&self.address, Call::Snapshot, &part, limit);
        match asked.await.map_err(|error| unreachable(&error))? {
            Taken::Yes(vote) => Ok(InstallSnapshotResponse { vote: vote.into() }),
            Taken::Mismatch { expected, got } => {
                let mismatch = SnapshotMismatch {
                    expect: expected.into(),
                    got: got.into(),
                };
                let error = InstallSnapshotError::SnapshotMismatch(mismatch);
                Err(RemoteError::new(self.id, RaftError::APIError(error)).into())
            }
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, ServerNode, RaftError<u64>>> {
        let candidacy = Candidacy {
            cluster: self.peers.cluster(),
            vote: StoredVote::from(&request.vote),
            last: request.last_log_id.map(Position::from),
        };
        let limit = option.hard_ttl();
        let asked = self.peers.ask(&self.address, Call::Vote, &candidacy, limit);
        let voted: Voted = asked.await.map_err(|error| unreachable(&error))?;
        Ok(VoteResponse {
            vote: voted.vote.into(),
            vote_granted: voted.is_granted,
            last_log_id: voted.last.map(Into::into),
        })
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|error| format!("the question cannot be read: {error}"))
}

fn write(answer: &impl Serialize) -> Result<Vec<u8>, String> {
    rmp_serde::to_vec_named(answer).map_err(|error| error.to_string())
}

impl Raft {
    /// Answers another server of the group.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub(crate) async fn answer(&self, call: Call, question: &[u8]) -> Result<Vec<u8>, String> {
        match call {
            Call::Append => self.append(read(question)?).await,
            Call::Vote => self.vote(read(question)?).await,
            Call::Snapshot => self.take_part(read(question)?).await,
            Call::Elect => {
                let elected = self.library.trigger().elect().await;
                elected.map_err(|error| error.to_string())?;
                Ok(Vec::new())
            }
            Call::Members | Call::Admit | Call::Enroll => {
                Err("the log does not answer that".into())
            }
        }
    }

    /// A server that belongs to no cluster yet has to be admitted before it takes anything.
    fn check_cluster(&self, of_sender: &str) -> Result<(), String> {
        let own = self.cluster.lock();
        if own.is_empty() {
            return Err("this server belongs to no cluster yet".into());
        }
        if *own != of_sender {
            return Err("this server belongs to another cluster".into());
        }
        Ok(())
    }

    async fn append(&self, question: Append) -> Result<Vec<u8>, String> {
        self.check_cluster(&question.cluster)?;
        let entries: io::Result<Vec<_>> = question
            .entries
            .iter()
            .map(|bytes| decode_entry(bytes))
            .collect();
        let request = AppendEntriesRequest {
            vote: question.vote.into(),
            prev_log_id: question.previous.map(Into::into),
            entries: entries.map_err(|error| error.to_string())?,
            leader_commit: question.commit.map(Into::into),
        };
        let answer = self.library.append_entries(request).await;
        *self.heard.lock() = Instant::now();
        write(&match answer.map_err(|error| error.to_string())? {
            AppendEntriesResponse::Success => Appended::All,
            AppendEntriesResponse::PartialSuccess(last) => Appended::UpTo(last.map(Into::into)),
            AppendEntriesResponse::Conflict => Appended::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Appended::HigherVote((&vote).into()),
        })
    }

    async fn vote(&self, question: Candidacy) -> Result<Vec<u8>, String> {
        self.check_cluster(&question.cluster)?;
        let request = VoteRequest::new(question.vote.into(), question.last.map(Into::into));
        let answer = self.library.vote(request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        write(&Voted {
            vote: (&answer.vote).into(),
            is_granted: answer.vote_granted,
            last: answer.last_log_id.map(Into::into),
        })
    }

    async fn take_part(&self, part: Part) -> Result<Vec<u8>, String> {
        self.check_cluster(&part.cluster)?;
        let request = InstallSnapshotRequest {
            vote: part.vote.into(),
            meta: SnapshotMeta {
                last_log_id: part.last.map(Into::into),
                last_membership: part.voters.into(),
                snapshot_id: part.id,
            },
            offset: part.offset,
            data: part.data.into_vec(),
            done: part.is_last,
        };
        match self.library.install_snapshot(request).await {
            Ok(answer) => write(&Taken::Yes((&answer.vote).into())),
            Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch))) => {
                let SnapshotMismatch { expect, got } = mismatch;
                write(&Taken::Mismatch {
                    expected: (expect.id, expect.offset),
                    got: (got.id, got.offset),
                })
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
