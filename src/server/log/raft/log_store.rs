//! The durable log as the Raft library sees it: entries and the vote, written by one thread.
//!
//! Entries are readable from memory as soon as they are appended and acknowledged after the sync.
//! The writer takes everything that waits, syncs once, then acknowledges all of it.

use openraft::{
    Entry, LogId, LogState, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote,
    storage::{LogFlushed, RaftLogStorage},
};
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};
use sys::simulation;
use tokio::sync::{mpsc, oneshot};

use super::{
    StartError,
    files::{self, Files, Place},
    segment::Record,
    stored::{Position, StoredVote, decode_entry, encode_entry},
    types::Types,
};

/// Requests that may wait for the writer; appends wait beyond it.
const QUEUE_MAX: usize = 1024;
/// Recent entries that are kept decoded, for applying and replicating.
const RECENT_MAX: usize = 64;
/// Bytes of the entries that are kept decoded.
const RECENT_BYTES_MAX: usize = 4 << 20;
/// Bytes of entries handed out in one go, unless a single one is longer.
const READ_BYTES_MAX: usize = 1 << 20;

type Failure = StorageError<u64>;
type Reply = oneshot::Sender<io::Result<()>>;

/// What the writer thread does.
enum Write {
    Append(Vec<Vec<u8>>, LogFlushed<Types>),
    Vote(StoredVote, Reply),
    Truncate(Option<Position>, Reply),
    /// Nobody waits for room that is freed.
    Purge(Position),
}

/// An entry that is kept decoded.
struct Recent {
    entry: Entry<Types>,
    bytes: usize,
}

/// What is known without reading the files.
///
/// Invariants:
/// 1. `recent` is the unbroken end of the log.
/// 2. An entry that is not in `recent` is in `places`.
#[derive(Default)]
struct Tail {
    recent: BTreeMap<u64, Recent>,
    recent_bytes: usize,
    /// Entries that are in a file, in order.
    places: VecDeque<Place>,
    /// Bytes of all entries that were appended since it was opened.
    appended: u64,
    last: Option<LogId<u64>>,
    purged: Option<LogId<u64>>,
    vote: Option<StoredVote>,
}

impl Tail {
    fn put(&mut self, entry: Entry<Types>, bytes: usize) {
        self.last = Some(entry.log_id);
        self.appended += bytes as u64;
        self.recent_bytes += bytes;
        self.recent
            .insert(entry.log_id.index, Recent { entry, bytes });
        self.shrink();
    }

    /// Lets go of decoded entries that are in a file.
    fn shrink(&mut self) {
        let in_files = self.places.back().map(|place| place.position.index);
        while (self.recent.len() > RECENT_MAX || self.recent_bytes > RECENT_BYTES_MAX)
            && let Some(oldest) = self.recent.first_entry()
            && in_files.is_some_and(|last| *oldest.key() <= last)
        {
            self.recent_bytes -= oldest.remove().bytes;
        }
    }

    /// Forgets the entries after `last`.
    fn cut(&mut self, last: Option<Position>) {
        self.last = last.map(LogId::from);
        let keep = last.map_or(0, |last| last.index + 1);
        let gone = self.recent.split_off(&keep);
        self.recent_bytes -= gone.values().map(|recent| recent.bytes).sum::<usize>();
        while self
            .places
            .back()
            .is_some_and(|place| place.position.index >= keep)
        {
            self.places.pop_back();
        }
    }

    /// Forgets the entries up to `upto`.
    fn purge(&mut self, upto: LogId<u64>) {
        self.purged = Some(upto);
        self.last = self.last.max(Some(upto));
        let kept = self.recent.split_off(&(upto.index + 1));
        let gone = std::mem::replace(&mut self.recent, kept);
        self.recent_bytes -= gone.values().map(|recent| recent.bytes).sum::<usize>();
        while self
            .places
            .front()
            .is_some_and(|place| place.position.index <= upto.index)
        {
            self.places.pop_front();
        }
    }

    fn place(&self, index: u64) -> Option<&Place> {
        let first = self.places.front()?.position.index;
        let at = usize::try_from(index.checked_sub(first)?).ok()?;
        self.places.get(at)
    }

    /// The place of an entry in the log, wherever it is kept.
    fn position(&self, index: u64) -> Option<Position> {
        let recent = self
            .recent
            .get(&index)
            .map(|recent| recent.entry.log_id.into());
        recent.or_else(|| self.place(index).map(|place| place.position))
    }
}

/// What a server that led when it ended takes up again: it leads on, without an election.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resumed {
    /// The term.
    pub(super) term: u64,
    /// The last entry that it wrote. What it acknowledged is not behind it.
    pub(super) last: u64,
}

/// The log of one server.
#[derive(Clone)]
pub(super) struct LogStore {
    directory: PathBuf,
    tail: Arc<RwLock<Tail>>,
    writer: mpsc::Sender<Write>,
}

impl LogStore {
    /// Opens or creates the log, and checks all of it. It blocks the calling thread.
    pub(super) fn open(directory: &Path) -> Result<Self, StartError> {
        let (files, opened) = Files::open(directory)?;
        let tail = Tail {
            places: opened.entries,
            last: opened.last.map(LogId::from),
            purged: opened.purged.map(LogId::from),
            vote: opened.vote,
            ..Tail::default()
        };
        let tail = Arc::new(RwLock::new(tail));
        let (writer, requests) = mpsc::channel(QUEUE_MAX);
        let of_thread = Arc::clone(&tail);
        if simulation::is_on() {
            tokio::spawn(write_simulated(files, of_thread, requests));
        } else {
            thread::Builder::new()
                .name("log-writer".into())
                .spawn(move || write_all(files, &of_thread, requests))
                .map_err(|error| StartError::files(directory, error))?;
        }
        Ok(Self {
            directory: directory.to_owned(),
            tail,
            writer,
        })
    }

    /// The file that the entry at `index` is in; none when it is in no file.
    pub(super) fn path_of(&self, index: u64) -> Option<PathBuf> {
        let segment = self.tail.read().place(index)?.segment;
        Some(files::segment_path(&self.directory, segment))
    }

    /// The term in which the server `id` led when it ended, so that it leads on, and the last entry
    /// that it wrote; none when it did not lead.
    pub(super) fn resumes(&self, id: u64) -> Option<Resumed> {
        let tail = self.tail.read();
        let vote = tail
            .vote
            .filter(|vote| vote.committed && vote.candidate == id)?;
        Some(Resumed {
            term: vote.term,
            last: tail.last.map_or(0, |last| last.index),
        })
    }

    /// The end of what was removed from the log; none when all of it is there.
    pub(super) fn purged_index(&self) -> Option<u64> {
        self.tail.read().purged.map(|purged| purged.index)
    }

    /// Bytes of the entries after `index`.
    pub(super) fn bytes_after(&self, index: Option<u64>) -> u64 {
        let tail = self.tail.read();
        let places = tail.places.iter().rev();
        places
            .take_while(|place| index.is_none_or(|index| place.position.index > index))
            .map(|place| place.bytes as u64)
            .sum()
    }

    /// Bytes of all entries that were appended since it was opened.
    pub(super) fn appended(&self) -> u64 {
        self.tail.read().appended
    }

    /// The last entry that may be removed so that `kept_bytes` of entries stay.
    pub(super) fn purgeable(&self, kept_bytes: u64) -> Option<u64> {
        let tail = self.tail.read();
        let mut kept = 0;
        let mut places = tail.places.iter().rev();
        let place = places.find(|place| {
            let is_kept = kept < kept_bytes;
            kept += place.bytes as u64;
            !is_kept
        });
        place.map(|place| place.position.index)
    }

    async fn submit(&self, make: impl FnOnce(Reply) -> Write) -> io::Result<()> {
        let (reply, done) = oneshot::channel();
        let closed = || io::Error::other("the log writer ended");
        self.writer.send(make(reply)).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())?
    }

    /// The entries of a range, at most about `bytes_max` of them. It may block.
    async fn read(
        &self,
        first: u64,
        end: Bound<u64>,
        bytes_max: usize,
    ) -> io::Result<Vec<Entry<Types>>> {
        let (places, mut recent) = {
            let tail = self.tail.read();
            let recent_from = tail.recent.keys().next().copied().unwrap_or(u64::MAX);
            let within = |index: u64| match end {
                Bound::Included(last) => index <= last,
                Bound::Excluded(end) => index < end,
                Bound::Unbounded => true,
            };
            let mut bytes = 0;
            let mut fits = |more: usize| {
                let fits = bytes == 0 || bytes + more <= bytes_max;
                bytes += more;
                fits
            };
            let begin = first.max(tail.places.front().map_or(0, |place| place.position.index));
            let mut places = Vec::new();
            let mut complete = true;
            for index in begin..recent_from {
                let Some(place) = tail.place(index).filter(|_| within(index)) else {
                    break;
                };
                complete = fits(place.bytes);
                if !complete {
                    break;
                }
                places.push(*place);
            }
            let mut recent = Vec::new();
            if complete {
                let rows = tail.recent.range(first.max(recent_from)..);
                for (index, row) in rows {
                    if !within(*index) || !fits(row.bytes) {
                        break;
                    }
                    recent.push(row.entry.clone());
                }
            }
            (places, recent)
        };
        if places.is_empty() {
            return Ok(recent);
        }
        let directory = self.directory.clone();
        let read = sys::threads::blocking(move || {
            let rows = files::read_places(&directory, &places)?;
            rows.iter()
                .map(|bytes| decode_entry(bytes))
                .collect::<io::Result<Vec<_>>>()
        });
        let mut entries = read.await.map_err(io::Error::other)??;
        entries.append(&mut recent);
        Ok(entries)
    }
}

/// Takes all that waits, syncs once, answers all. Ends with the first error: the files have to be
/// opened anew then, since nobody knows what of a failed write is durable.
fn write_all(mut files: Files, tail: &RwLock<Tail>, mut requests: mpsc::Receiver<Write>) {
    while let Some(first) = requests.blocking_recv() {
        let batch = all_waiting(first, &mut requests);
        let written = write(&mut files, tail, &batch);
        if !tell(batch, &written) {
            return;
        }
    }
}

/// The same in a simulated process, whose disk takes its time.
async fn write_simulated(
    mut files: Files,
    tail: Arc<RwLock<Tail>>,
    mut requests: mpsc::Receiver<Write>,
) {
    while let Some(first) = requests.recv().await {
        let batch = all_waiting(first, &mut requests);
        let turn = simulation::disk_turn();
        tokio::time::sleep(turn.takes).await;
        let written = match turn.fails {
            Some(error) => Err(error),
            None => write(&mut files, &tail, &batch),
        };
        if !tell(batch, &written) {
            return;
        }
    }
}

fn all_waiting(first: Write, requests: &mut mpsc::Receiver<Write>) -> Vec<Write> {
    let mut batch = vec![first];
    while let Ok(next) = requests.try_recv() {
        batch.push(next);
    }
    batch
}

/// Tells whoever waits for it what became of a batch; whether it was written.
fn tell(batch: Vec<Write>, written: &io::Result<()>) -> bool {
    if let Err(error) = written {
        tracing::error!(%error, "cannot write the log");
    }
    for request in batch {
        let result = match written {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        match request {
            Write::Append(_, flushed) => flushed.log_io_completed(result),
            // The asker gave up: nobody is left to tell.
            Write::Vote(_, reply) | Write::Truncate(_, reply) => drop(reply.send(result)),
            Write::Purge(_) => {}
        }
    }
    written.is_ok()
}

fn write(files: &mut Files, tail: &RwLock<Tail>, batch: &[Write]) -> io::Result<()> {
    let mut records = Vec::with_capacity(batch.len());
    let mut purge = None;
    let mut last = files.last();
    for request in batch {
        match request {
            Write::Append(rows, _) => {
                records.extend(rows.iter().map(|bytes| Record::Entry(bytes)));
                last = rows.last().map_or(last, |row| Position::from_bytes(row));
            }
            Write::Vote(vote, _) => records.push(Record::Vote(*vote)),
            Write::Truncate(to, _) => {
                records.push(Record::Truncate(*to));
                last = *to;
            }
            Write::Purge(upto) => {
                purge = Some(upto.index);
                if last.is_none_or(|last| last.index < upto.index) {
                    // A snapshot of another server replaces the whole log.
                    records.push(Record::Skip(*upto));
                    last = Some(*upto);
                }
            }
        }
    }
    let written = files.append(&records)?;
    {
        let mut tail = tail.write();
        for (record, (segment, offset)) in records.iter().zip(written) {
            if let Record::Entry(payload) = record
                && let Some(position) = Position::from_bytes(payload)
            {
                tail.places.push_back(Place {
                    position,
                    segment,
                    offset,
                    bytes: payload.len(),
                });
            }
        }
        // What was removed while it was on its way here is not to be found any more.
        let purged = tail.purged.map(|purged| purged.index);
        while tail
            .places
            .front()
            .is_some_and(|place| Some(place.position.index) <= purged)
        {
            tail.places.pop_front();
        }
        tail.shrink();
    }
    match purge {
        // Later records are durable already: a segment that stays is only not removed yet.
        Some(upto) => files.purge(upto),
        None => Ok(()),
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
        self.read(first_of(&range), range.end_bound().cloned(), usize::MAX)
            .await
            .map_err(|error| StorageIOError::read_logs(&error).into())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry<Types>>, Failure> {
        self.read(start, Bound::Excluded(end), READ_BYTES_MAX)
            .await
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
        let stored = StoredVote::from(vote);
        self.submit(|reply| Write::Vote(stored, reply))
            .await
            .map_err(|error| StorageIOError::write_vote(&error))?;
        self.tail.write().vote = Some(stored);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, Failure> {
        Ok(self.tail.read().vote.map(Vote::from))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), Failure>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let failed = |error: io::Error| StorageIOError::write_logs(&error);
        let mut rows = Vec::new();
        {
            let mut tail = self.tail.write();
            for entry in entries {
                let row = encode_entry(&entry).map_err(failed)?;
                let bytes = row.len();
                rows.push(row);
                tail.put(entry, bytes);
            }
        }
        self.writer
            .send(Write::Append(rows, callback))
            .await
            .map_err(|_| failed(io::Error::other("the log writer ended")))?;
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), Failure> {
        let last = {
            let tail = self.tail.read();
            let before = log_id.index.checked_sub(1);
            let known = before.and_then(|before| tail.position(before));
            known.or_else(|| tail.purged.map(Position::from))
        };
        self.submit(|reply| Write::Truncate(last, reply))
            .await
            .map_err(|error| StorageIOError::write_logs(&error))?;
        self.tail.write().cut(last);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), Failure> {
        self.tail.write().purge(log_id);
        // The files follow later: whoever asked need not wait for the disk.
        self.writer
            .send(Write::Purge(log_id.into()))
            .await
            .map_err(|_| {
                let ended = io::Error::other("the log writer ended");
                StorageIOError::write_logs(&ended)
            })?;
        Ok(())
    }
}
