//! The files of the log: opened and checked as a whole, then written by one owner.

use std::{
    collections::VecDeque,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    StartError,
    identity::{self, sync_directory},
    segment::{self, HEADER_BYTES, Header, Record, SEAL_BYTES},
    stored::{POSITION_BYTES, Position, StoredVote},
};

/// How often a directory that another process holds is tried.
const LOCK_ATTEMPTS_MAX: u32 = 100;
/// Pause between two of these attempts.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Zeros written at once.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// The log of versions before the first release.
const OLD_LOG: &str = "log.redb";

/// Where an entry's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: Position,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

/// What the files said when they were opened.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// Entries in order, without gaps.
    pub(super) entries: VecDeque<Place>,
    pub(super) last: Option<Position>,
    /// The end of what was removed.
    pub(super) purged: Option<Position>,
    pub(super) vote: Option<StoredVote>,
}

/// The segments of one log, with the last one open for writing.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    log_id: u128,
    /// Number and last entry of the segments before the current one.
    sealed: VecDeque<(u64, Option<u64>)>,
    number: u64,
    current: File,
    /// Length of the current segment.
    bytes: usize,
    /// Where the next record belongs.
    end: usize,
    last: Option<Position>,
    vote: Option<StoredVote>,
    /// Held as long as the files are in use.
    _lock: File,
}

/// The file of a segment.
pub(super) fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.log"))
}

impl Files {
    /// Opens the log in `directory`, or makes one where there never was any. Everything is checked;
    /// what a power cut left unfinished at the end is cut off, and the rest is durable when this
    /// returns.
    pub(super) fn open(directory: &Path) -> Result<(Self, Opened), StartError> {
        let lock = lock(directory)?;
        refuse_old_format(directory)?;
        let identity = identity::read(directory)?;
        let numbers = clean_and_list(directory)?;
        let Some(first) = numbers.first() else {
            return Self::create(directory, identity, lock);
        };
        let mut reading = Reading::new(directory);
        for (number, expected) in numbers.iter().zip(*first..) {
            if *number != expected {
                return Err(missing(directory, &segment_path(directory, expected)));
            }
            reading.take(*number)?;
        }
        if reading.sealed_off {
            let next = segment_path(directory, reading.number + 1);
            return Err(missing(directory, &next));
        }
        if let Some(identity) = identity
            && identity != reading.log_id
        {
            let path = segment_path(directory, *first);
            return Err(damaged(directory, &path, "belongs to another log"));
        }
        let path = segment_path(directory, reading.number);
        let current = File::options().read(true).write(true).open(&path);
        let files = Self {
            directory: directory.to_owned(),
            log_id: reading.log_id,
            sealed: reading.sealed,
            number: reading.number,
            current: current.map_err(|error| StartError::files(&path, error))?,
            bytes: reading.content.len(),
            end: reading.end,
            last: reading.opened.last,
            vote: reading.opened.vote,
            _lock: lock,
        };
        // What was read may be in memory only, and behind the end may be the rest of an unfinished
        // write.
        let mut content = reading.content;
        content[files.end..].fill(0);
        files
            .write_durably(&content, 0)
            .map_err(|error| StartError::files(&path, error))?;
        if identity.is_none() {
            identity::write(directory, files.log_id)?;
        }
        Ok((files, reading.opened))
    }

    /// Makes the first segment, unless there was a log.
    fn create(
        directory: &Path,
        identity: Option<u128>,
        lock: File,
    ) -> Result<(Self, Opened), StartError> {
        if identity.is_some() || directory.join("snapshot").exists() {
            return Err(missing(directory, &segment_path(directory, 1)));
        }
        let header = Header {
            log_id: uuid::Uuid::new_v4().as_u128(),
            number: 1,
            bytes: segment::SEGMENT_BYTES as u64,
            ..Header::default()
        };
        let path = segment_path(directory, 1);
        let current =
            create_segment(directory, &header).map_err(|error| StartError::files(&path, error))?;
        identity::write(directory, header.log_id)?;
        let files = Self {
            directory: directory.to_owned(),
            log_id: header.log_id,
            sealed: VecDeque::new(),
            number: 1,
            current,
            bytes: segment::SEGMENT_BYTES,
            end: HEADER_BYTES,
            last: None,
            vote: None,
            _lock: lock,
        };
        Ok((files, Opened::default()))
    }

    /// Writes records durably, in order; answers with the segment and payload offset of each. On an
    /// error nothing more may be written: the files have to be opened anew.
    pub(super) fn append(&mut self, records: &[Record<'_>]) -> io::Result<Vec<(u64, u64)>> {
        let mut places = Vec::with_capacity(records.len());
        let mut out = Vec::new();
        for record in records {
            let mut before = out.len();
            record.write(&mut out);
            if self.end + out.len() + SEAL_BYTES > self.bytes {
                let fresh = out.split_off(before);
                self.flush(&mut out)?;
                self.rotate(fresh.len())?;
                (before, out) = (0, fresh);
            }
            places.push((self.number, segment::payload_at(self.end + before)));
            match record {
                Record::Entry(payload) => self.last = Position::from_bytes(payload),
                Record::Vote(vote) => self.vote = Some(*vote),
                Record::Truncate(last) => self.last = *last,
                Record::Skip(last) => self.last = Some(*last),
                Record::Seal => {}
            }
        }
        self.flush(&mut out)?;
        Ok(places)
    }

    /// The end of the log.
    pub(super) fn last(&self) -> Option<Position> {
        self.last
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !out.is_empty() {
            self.write_durably(out, self.end)?;
            self.end += out.len();
            out.clear();
        }
        Ok(())
    }

    fn write_durably(&self, bytes: &[u8], at: usize) -> io::Result<()> {
        self.current.write_all_at(bytes, at as u64)?;
        self.current.sync_data()
    }

    /// Goes on in a new segment with room for a record of `span` bytes.
    fn rotate(&mut self, span: usize) -> io::Result<()> {
        let bytes = segment::length_for(span);
        let header = Header {
            log_id: self.log_id,
            number: self.number + 1,
            bytes: bytes as u64,
            last: self.last,
            vote: self.vote,
        };
        let next = create_segment(&self.directory, &header)?;
        // Sealed only now: a seal promises that the next segment is there.
        let mut seal = Vec::new();
        Record::Seal.write(&mut seal);
        self.write_durably(&seal, self.end)?;
        let last = header.last.map(|last| last.index);
        self.sealed.push_back((self.number, last));
        self.number = header.number;
        self.current = next;
        self.bytes = bytes;
        self.end = HEADER_BYTES;
        Ok(())
    }

    /// Removes segments whose entries are all at or before `index`.
    pub(super) fn purge(&mut self, index: u64) -> io::Result<()> {
        let mut removed = false;
        while let Some((number, last)) = self.sealed.front().copied()
            && last.is_none_or(|last| last <= index)
        {
            fs::remove_file(segment_path(&self.directory, number))?;
            self.sealed.pop_front();
            removed = true;
        }
        if removed {
            sync_directory(&self.directory)?;
        }
        Ok(())
    }
}

/// The segments in order, one after the other.
struct Reading<'a> {
    directory: &'a Path,
    log_id: u128,
    number: u64,
    sealed: VecDeque<(u64, Option<u64>)>,
    opened: Opened,
    /// The last segment ended with a seal.
    sealed_off: bool,
    content: Vec<u8>,
    end: usize,
}

impl<'a> Reading<'a> {
    fn new(directory: &'a Path) -> Self {
        Self {
            directory,
            log_id: 0,
            number: 0,
            sealed: VecDeque::new(),
            opened: Opened::default(),
            sealed_off: false,
            content: Vec::new(),
            end: 0,
        }
    }

    fn take(&mut self, number: u64) -> Result<(), StartError> {
        let path = segment_path(self.directory, number);
        let content = fs::read(&path).map_err(|error| StartError::files(&path, error))?;
        let wrong = |what: String| damaged(self.directory, &path, &what);
        let header = Header::decode(&content).map_err(wrong)?;
        if header.number != number {
            return Err(wrong("has the number of another segment".into()));
        }
        if self.number == 0 {
            self.log_id = header.log_id;
            self.opened.purged = header.last;
            self.opened.last = header.last;
            self.opened.vote = header.vote;
        } else {
            let goes_on = header.log_id == self.log_id
                && header.last == self.opened.last
                && header.vote == self.opened.vote;
            if !goes_on {
                return Err(wrong("does not continue the segment before it".into()));
            }
            let last = self.opened.last.map(|last| last.index);
            self.sealed.push_back((self.number, last));
        }
        self.sealed_off = false;
        let contents = segment::read(&content).map_err(wrong)?;
        for found in &contents.records {
            if self.sealed_off {
                return Err(wrong("goes on behind its end".into()));
            }
            match found.record {
                Record::Entry(payload) => {
                    let position = Position::from_bytes(payload)
                        .ok_or_else(|| wrong("has an entry that is too short".into()))?;
                    let expected = self.opened.last.map_or(0, |last| last.index + 1);
                    if position.index != expected {
                        return Err(wrong(format!(
                            "has entry {} where entry {expected} belongs",
                            position.index
                        )));
                    }
                    self.opened.last = Some(position);
                    self.opened.entries.push_back(Place {
                        position,
                        segment: number,
                        offset: found.payload_at as u64,
                        bytes: found.payload_bytes,
                    });
                }
                Record::Vote(vote) => self.opened.vote = Some(vote),
                Record::Truncate(last) => {
                    self.opened.last = last;
                    let keep =
                        |place: &Place| last.is_some_and(|last| place.position.index <= last.index);
                    while self.opened.entries.back().is_some_and(|place| !keep(place)) {
                        self.opened.entries.pop_back();
                    }
                }
                Record::Skip(last) => {
                    self.opened.last = Some(last);
                    self.opened.purged = Some(last);
                    self.opened.entries.clear();
                }
                Record::Seal => self.sealed_off = true,
            }
        }
        self.end = contents.end;
        self.number = number;
        self.content = content;
        // Truncation may reach behind what was removed already.
        let purged = self.opened.purged.map(|purged| purged.index);
        while let Some(place) = self.opened.entries.front()
            && purged.is_some_and(|purged| place.position.index <= purged)
        {
            self.opened.entries.pop_front();
        }
        Ok(())
    }
}

/// Makes a segment of full length; it has its name only once it is complete and durable.
fn create_segment(directory: &Path, header: &Header) -> io::Result<File> {
    let new = directory.join("segment.new");
    let made = write_segment(&new, header).and_then(|file| {
        fs::rename(&new, segment_path(directory, header.number))?;
        sync_directory(directory)?;
        Ok(file)
    });
    if made.is_err() {
        // On a full disk half a segment would hold what others need.
        fs::remove_file(&new).ok();
    }
    made
}

fn write_segment(path: &Path, header: &Header) -> io::Result<File> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.write_all(&header.encode())?;
    let mut left = usize::try_from(header.bytes).unwrap_or(usize::MAX) - HEADER_BYTES;
    while left > 0 {
        let part = left.min(ZEROS.len());
        file.write_all(&ZEROS[..part])?;
        left -= part;
    }
    file.sync_all()?;
    Ok(file)
}

/// Removes what was never finished, and lists the numbers of the segments in order.
fn clean_and_list(directory: &Path) -> Result<Vec<u64>, StartError> {
    let failed = |error| StartError::files(directory, error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".new") || name.ends_with(".received") {
            fs::remove_file(directory.join(&*name)).map_err(failed)?;
        } else if let Some(number) = name.strip_suffix(".log")
            && let Ok(number) = number.parse()
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn lock(directory: &Path) -> Result<File, StartError> {
    let path = directory.join("lock");
    let failed = |error| StartError::files(&path, error);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    let mut left = LOCK_ATTEMPTS_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // A process that is just ending lets go of it in a moment.
            Err(TryLockError::WouldBlock) if left > 0 => {
                left -= 1;
                thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::InUse {
                    directory: directory.display().to_string(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

fn refuse_old_format(directory: &Path) -> Result<(), StartError> {
    let path = directory.join(OLD_LOG);
    if !path.exists() {
        return Ok(());
    }
    Err(StartError::Damaged {
        path: path.display().to_string(),
        what: "was written by a version before 0.1, which this version cannot read".into(),
        way_out: start_over(directory),
    })
}

fn start_over(directory: &Path) -> String {
    format!(
        "To start with an empty log, move `{}` away and register the jobs again",
        directory.display()
    )
}

/// The error for a file that is damaged. One of several servers is not to be given an older copy:
/// it would have forgotten what it agreed to.
pub(super) fn damaged(directory: &Path, path: &Path, what: &str) -> StartError {
    StartError::Damaged {
        path: path.display().to_string(),
        what: what.to_owned(),
        way_out: format!(
            "If other servers have the state, move `{}` away and start this one: it joins them \
             again and is sent everything. If there is no other one, restore the file from a \
             backup. {}",
            directory.display(),
            start_over(directory)
        ),
    }
}

/// The error for a file that only a newer build can follow.
pub(super) fn too_new(path: &Path, error: &dyn std::error::Error) -> StartError {
    StartError::Damaged {
        path: path.display().to_string(),
        what: format!("was written by a newer version: {error}"),
        way_out: "Run the version of trivet that wrote it, or a newer one".into(),
    }
}

/// The error for a file that must be there.
pub(super) fn missing(directory: &Path, path: &Path) -> StartError {
    damaged(
        directory,
        path,
        "is missing, and what it holds is nowhere else",
    )
}

/// Reads the bytes of entries that were placed; the file of each is opened once.
pub(super) fn read_places(directory: &Path, places: &[Place]) -> io::Result<Vec<Vec<u8>>> {
    let mut open: Option<(u64, File)> = None;
    let mut found = Vec::with_capacity(places.len());
    for place in places {
        let file = match &open {
            Some((number, file)) if *number == place.segment => file,
            _ => {
                let file = File::open(segment_path(directory, place.segment))?;
                &open.insert((place.segment, file)).1
            }
        };
        let mut bytes = vec![0; place.bytes];
        file.read_exact_at(&mut bytes, place.offset)?;
        if bytes.get(..POSITION_BYTES) != Some(&place.position.to_bytes()[..]) {
            let path = segment_path(directory, place.segment);
            let what = format!("`{}` changed while it was in use", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        found.push(bytes);
    }
    Ok(found)
}
