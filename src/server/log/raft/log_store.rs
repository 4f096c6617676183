//! The durable log: a file of entries and the vote, written by one thread.
//!
//! Entries are readable from memory as soon as they are appended and acknowledged after the sync. The
//! writer takes everything that waits, commits once, then acknowledges all of it.

use openraft::{
    Entry, LogId, LogState, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote,
    storage::{LogFlushed, RaftLogStorage},
};
use parking_lot::RwLock;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

use super::types::Types;

/// Log index to the entry, MessagePack.
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
/// Vote and purged position, MessagePack.
const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");
const VOTE: &str = "vote";
const PURGED: &str = "purged";

/// Requests that may wait for the writer; appends wait beyond it.
const QUEUE_MAX: usize = 1024;
/// How often a file that another process holds is tried.
const OPEN_ATTEMPTS_MAX: u32 = 100;
/// Pause between two of these attempts.
const OPEN_PAUSE: Duration = Duration::from_millis(20);
/// Memory that the log file's cache may use, bytes.
const CACHE_BYTES: usize = 4 << 20;
/// Recent entries that are kept decoded, for applying and replicating.
const RECENT_MAX: usize = 64;

type Failure = StorageError<u64>;

/// What the writer thread does.
enum Write {
    Append(Vec<(u64, Vec<u8>)>, LogFlushed<Types>),
    Vote(Vec<u8>, Reply),
    Truncate(u64, Reply),
    Purge(u64, Vec<u8>, Reply),
}

type Reply = oneshot::Sender<io::Result<()>>;

/// Who waits for a commit.
enum Waiter {
    Append(LogFlushed<Types>),
    Other(Reply),
}

/// What is known without reading the file. Invariant: `recent` is the unbroken end of the log.
#[derive(Default)]
struct Tail {
    recent: BTreeMap<u64, Entry<Types>>,
    last: Option<LogId<u64>>,
    purged: Option<LogId<u64>>,
}

/// The log of one server.
#[derive(Clone)]
pub(super) struct LogStore {
    database: Arc<Database>,
    tail: Arc<RwLock<Tail>>,
    writer: mpsc::Sender<Write>,
    /// Bytes appended since the process started.
    appended: Arc<AtomicU64>,
}

impl LogStore {
    /// Opens or creates the log. Waits a moment for a process that is just ending to let go of it.
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        let mut left = OPEN_ATTEMPTS_MAX;
        let database = loop {
            left -= 1;
            // The builder may not live across the pause: this future moves between threads.
            let opened = Database::builder().set_cache_size(CACHE_BYTES).create(path);
            match opened {
                Ok(database) => break database,
                Err(redb::DatabaseError::DatabaseAlreadyOpen) if left > 0 => {
                    tokio::time::sleep(OPEN_PAUSE).await;
                }
                Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                    return Err(io::Error::new(
                        io::ErrorKind::ResourceBusy,
                        "another agent uses this directory",
                    ));
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        };
        Self::with_database(database)
    }

    /// The log in an open file.
    pub(super) fn with_database(database: Database) -> io::Result<Self> {
        let database = Arc::new(database);
        let tail = read_tail(&database)?;
        let (writer, requests) = mpsc::channel(QUEUE_MAX);
        let of_thread = Arc::clone(&database);
        thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || write_all(&of_thread, requests))?;
        Ok(Self {
            database,
            tail: Arc::new(RwLock::new(tail)),
            writer,
            appended: Arc::default(),
        })
    }

    /// Bytes appended since the process started.
    pub(super) fn appended_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.appended)
    }

    async fn submit(&self, make: impl FnOnce(Reply) -> Write) -> io::Result<()> {
        let (reply, done) = oneshot::channel();
        let closed = || io::Error::other("the log writer ended");
        self.writer.send(make(reply)).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())?
    }

    fn read_file(&self, first: u64, end: Bound<u64>) -> io::Result<Vec<Entry<Types>>> {
        let read = self.database.begin_read().map_err(io::Error::other)?;
        let table = match read.open_table(ENTRIES) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(io::Error::other(error)),
        };
        let rows = table
            .range::<u64>((Bound::Included(first), end))
            .map_err(io::Error::other)?;
        rows.map(|row| {
            let (_, value) = row.map_err(io::Error::other)?;
            decode(value.value())
        })
        .collect()
    }
}

fn encode<T: serde::Serialize>(value: &T) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(io::Error::other)
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    rmp_serde::from_slice(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn read_tail(database: &Database) -> io::Result<Tail> {
    let read = database.begin_read().map_err(io::Error::other)?;
    let purged = match read.open_table(FACTS) {
        Ok(facts) => facts
            .get(PURGED)
            .map_err(io::Error::other)?
            .map(|value| decode(value.value()))
            .transpose()?,
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(io::Error::other(error)),
    };
    let last = match read.open_table(ENTRIES) {
        Ok(entries) => entries
            .last()
            .map_err(io::Error::other)?
            .map(|(_, value)| decode::<Entry<Types>>(value.value()))
            .transpose()?
            .map(|entry| entry.log_id),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(io::Error::other(error)),
    };
    Ok(Tail {
        recent: BTreeMap::new(),
        last: last.or(purged),
        purged,
    })
}

/// Takes all that waits, commits once, answers all.
fn write_all(database: &Database, mut requests: mpsc::Receiver<Write>) {
    while let Some(first) = requests.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(next) = requests.try_recv() {
            batch.push(next);
        }
        let mut waiters = Vec::with_capacity(batch.len());
        let result = commit(database, batch, &mut waiters);
        if let Err(error) = &result {
            tracing::error!(%error, "cannot write the log");
        }
        for waiter in waiters {
            let result = match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            match waiter {
                Waiter::Append(flushed) => flushed.log_io_completed(result),
                // The asker gave up: nobody is left to tell.
                Waiter::Other(reply) => drop(reply.send(result)),
            }
        }
    }
}

fn commit(database: &Database, batch: Vec<Write>, waiters: &mut Vec<Waiter>) -> io::Result<()> {
    // Who waits is known before anything can fail, so that nobody waits in vain.
    let mut steps = Vec::with_capacity(batch.len());
    for write in batch {
        let (step, waiter) = match write {
            Write::Append(rows, flushed) => (Step::Append(rows), Waiter::Append(flushed)),
            Write::Vote(vote, reply) => (Step::Vote(vote), Waiter::Other(reply)),
            Write::Truncate(from, reply) => (Step::Truncate(from), Waiter::Other(reply)),
            Write::Purge(upto, id, reply) => (Step::Purge(upto, id), Waiter::Other(reply)),
        };
        steps.push(step);
        waiters.push(waiter);
    }
    let write = database.begin_write().map_err(io::Error::other)?;
    {
        let mut entries = write.open_table(ENTRIES).map_err(io::Error::other)?;
        let mut facts = write.open_table(FACTS).map_err(io::Error::other)?;
        for step in steps {
            step.carry_out(&mut entries, &mut facts)
                .map_err(io::Error::other)?;
        }
    }
    write.commit().map_err(io::Error::other)
}

enum Step {
    Append(Vec<(u64, Vec<u8>)>),
    Vote(Vec<u8>),
    Truncate(u64),
    Purge(u64, Vec<u8>),
}

impl Step {
    fn carry_out(
        self,
        entries: &mut redb::Table<'_, u64, &'static [u8]>,
        facts: &mut redb::Table<'_, &'static str, &'static [u8]>,
    ) -> Result<(), redb::StorageError> {
        match self {
            Self::Append(rows) => {
                for (index, value) in rows {
                    entries.insert(index, value.as_slice())?;
                }
            }
            Self::Vote(vote) => {
                facts.insert(VOTE, vote.as_slice())?;
            }
            Self::Truncate(from) => entries.retain_in(from.., |_, _| false)?,
            Self::Purge(upto, id) => {
                facts.insert(PURGED, id.as_slice())?;
                entries.retain_in(..=upto, |_, _| false)?;
            }
        }
        Ok(())
    }
}

fn first_of(range: &impl RangeBounds<u64>) -> u64 {
    match range.start_bound() {
        Bound::Included(first) => *first,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<B: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: B,
    ) -> Result<Vec<Entry<Types>>, Failure> {
        let first = first_of(&range);
        let end = range.end_bound().cloned();
        {
            let tail = self.tail.read();
            let recent_from = tail.recent.keys().next().copied();
            if recent_from.is_some_and(|from| from <= first) {
                let rows = tail.recent.range((Bound::Included(first), end));
                return Ok(rows.map(|(_, entry)| entry.clone()).collect());
            }
        }
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.read_file(first, end))
            .await
            .map_err(|error| StorageIOError::read_logs(&error))?
            .map_err(|error| StorageIOError::read_logs(&error).into())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, Failure> {
        let tail = self.tail.read();
        Ok(LogState {
            last_purged_log_id: tail.purged,
            last_log_id: tail.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), Failure> {
        let failed = |error: io::Error| StorageIOError::write_vote(&error);
        let bytes = encode(vote).map_err(failed)?;
        self.submit(|reply| Write::Vote(bytes, reply))
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, Failure> {
        let failed = |error: io::Error| StorageIOError::read_vote(&error);
        let read = self
            .database
            .begin_read()
            .map_err(|error| failed(io::Error::other(error)))?;
        let facts = match read.open_table(FACTS) {
            Ok(facts) => facts,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(failed(io::Error::other(error)).into()),
        };
        let value = facts
            .get(VOTE)
            .map_err(|error| failed(io::Error::other(error)))?;
        Ok(value
            .map(|value| decode(value.value()))
            .transpose()
            .map_err(failed)?)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), Failure>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let failed = |error: io::Error| StorageIOError::write_logs(&error);
        let mut rows = Vec::new();
        let mut bytes = 0;
        {
            let mut tail = self.tail.write();
            for entry in entries {
                let row = encode(&entry).map_err(failed)?;
                bytes += row.len() as u64;
                rows.push((entry.log_id.index, row));
                tail.last = Some(entry.log_id);
                tail.recent.insert(entry.log_id.index, entry);
            }
            while tail.recent.len() > RECENT_MAX {
                tail.recent.pop_first();
            }
        }
        self.appended.fetch_add(bytes, Ordering::Relaxed);
        self.writer
            .send(Write::Append(rows, callback))
            .await
            .map_err(|_| failed(io::Error::other("the log writer ended")))?;
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), Failure> {
        let failed = |error: io::Error| StorageIOError::write_logs(&error);
        self.submit(|reply| Write::Truncate(log_id.index, reply))
            .await
            .map_err(failed)?;
        let tail = read_tail(&self.database).map_err(failed)?;
        *self.tail.write() = tail;
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), Failure> {
        let failed = |error: io::Error| StorageIOError::write_logs(&error);
        let bytes = encode(&log_id).map_err(failed)?;
        {
            let mut tail = self.tail.write();
            tail.purged = Some(log_id);
            tail.last = tail.last.max(Some(log_id));
            tail.recent = tail.recent.split_off(&log_id.index.saturating_add(1));
        }
        self.submit(|reply| Write::Purge(log_id.index, bytes, reply))
            .await
            .map_err(failed)?;
        Ok(())
    }
}
