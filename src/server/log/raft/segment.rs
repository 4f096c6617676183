//! One file of the log, as bytes: a header, then records, then zeros up to its full length.
//!
//! A segment has its whole length, all zeros, before the first record is written into it. So
//! appending overwrites and never grows the file, and a file of another length is a damaged one.
//!
//! A record is a head of 16 bytes, its payload, and an end mark that is never zero; then zeros up
//! to the next multiple of 16. The head never crosses a sector, and has a checksum of its own. That
//! tells what a power cut leaves from damage: disks write sectors of 512 bytes wholly or not at
//! all, so an unfinished record has a sector that is still zero, and a damaged one has none.

use super::stored::{POSITION_BYTES, Position, StoredVote, VOTE_BYTES};

/// Which layout this is; the first thing that is looked at.
pub(super) const FORMAT: u32 = 1;
/// Length of a segment, unless a single record needs more.
pub(super) const SEGMENT_BYTES: usize = 4 << 20;
/// Bytes before the first record.
pub(super) const HEADER_BYTES: usize = 512;
/// Room at the end for the seal.
pub(super) const SEAL_BYTES: usize = span(0);

const MAGIC: &[u8; 8] = b"trivetLG";
const HEAD_BYTES: usize = 16;
const ALIGN: usize = 16;
const SECTOR: usize = 512;
const PAGE: usize = 4096;
const END_MARK: u8 = 0xA5;
/// Second byte of a head, so that a head is never zero.
const HEAD_MARK: u8 = 0x5A;

/// Bytes that a record with that payload takes.
pub(super) const fn span(payload: usize) -> usize {
    (HEAD_BYTES + payload + 1).next_multiple_of(ALIGN)
}

/// Where the payload of a record at `record_at` begins.
pub(super) fn payload_at(record_at: usize) -> u64 {
    (record_at + HEAD_BYTES) as u64
}

/// How long a segment has to be so that a record of `span` bytes fits.
pub(super) fn length_for(span: usize) -> usize {
    (HEADER_BYTES + span + SEAL_BYTES)
        .next_multiple_of(PAGE)
        .max(SEGMENT_BYTES)
}

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Which log it belongs to.
    pub(super) log_id: u128,
    /// Its number; counts up by one.
    pub(super) number: u64,
    /// Its length.
    pub(super) bytes: u64,
    /// The end of the log before it.
    pub(super) last: Option<Position>,
    /// The vote before it.
    pub(super) vote: Option<StoredVote>,
}

impl Header {
    /// Its bytes.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        out[16..32].copy_from_slice(&self.log_id.to_le_bytes());
        out[32..40].copy_from_slice(&self.number.to_le_bytes());
        out[40..48].copy_from_slice(&self.bytes.to_le_bytes());
        if let Some(last) = self.last {
            out[48] = 1;
            out[56..][..POSITION_BYTES].copy_from_slice(&last.to_bytes());
        }
        if let Some(vote) = self.vote {
            out[80] = 1;
            out[88..][..VOTE_BYTES].copy_from_slice(&vote.to_bytes());
        }
        let sum = crc32fast::hash(&out[..HEADER_BYTES - 4]);
        out[HEADER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads the header of a whole file.
    ///
    /// # Errors
    /// What is wrong with it, to follow the file's name.
    pub(super) fn decode(file: &[u8]) -> Result<Self, String> {
        let Some(bytes) = file.get(..HEADER_BYTES) else {
            return Err(format!("is cut off after {} bytes", file.len()));
        };
        if &bytes[..8] != MAGIC {
            return Err("is no log file of trivet, or its beginning is damaged".into());
        }
        if crc32fast::hash(&bytes[..HEADER_BYTES - 4]) != word(bytes, HEADER_BYTES - 4) {
            return Err("has a damaged header: its checksum does not match".into());
        }
        let format = word(bytes, 8);
        if format != FORMAT {
            return Err(format!(
                "has format {format}, and this version of trivet reads format {FORMAT}"
            ));
        }
        let long = |at: usize| long_word(bytes, at);
        let id = [long(16), long(24)];
        let header = Self {
            log_id: u128::from(id[0]) | u128::from(id[1]) << 64,
            number: long(32),
            bytes: long(40),
            last: (bytes[48] == 1)
                .then(|| Position::from_bytes(&bytes[56..]))
                .flatten(),
            vote: (bytes[80] == 1)
                .then(|| StoredVote::from_bytes(&bytes[88..]))
                .flatten(),
        };
        if header.bytes != file.len() as u64 {
            return Err(format!(
                "has {} bytes where {} belong",
                file.len(),
                header.bytes
            ));
        }
        Ok(header)
    }
}

/// What one record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// An entry: position, then body.
    Entry(&'a [u8]),
    /// A vote.
    Vote(StoredVote),
    /// The log ends here; what was behind it is void. None is before the first entry.
    Truncate(Option<Position>),
    /// The log goes on behind this place, because a snapshot holds all up to it.
    Skip(Position),
    /// The last record: the log goes on in the next segment.
    Seal,
}

impl Record<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Entry(_) => 1,
            Self::Vote(_) => 2,
            Self::Truncate(_) => 3,
            Self::Skip(_) => 4,
            Self::Seal => 5,
        }
    }

    /// Appends the record to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry(payload) => self.write_with(payload, out),
            Self::Vote(vote) => self.write_with(&vote.to_bytes(), out),
            Self::Truncate(Some(last)) | Self::Skip(last) => self.write_with(&last.to_bytes(), out),
            Self::Truncate(None) | Self::Seal => self.write_with(&[], out),
        }
    }

    fn write_with(&self, payload: &[u8], out: &mut Vec<u8>) {
        let end = out.len() + span(payload.len());
        let mut head = [0; HEAD_BYTES];
        head[0] = self.kind();
        head[1] = HEAD_MARK;
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        head[4..8].copy_from_slice(&length.to_le_bytes());
        head[8..12].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        let sum = crc32fast::hash(&head[..12]);
        head[12..].copy_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(payload);
        out.push(END_MARK);
        out.resize(end, 0);
    }

    fn read(kind: u8, payload: &[u8]) -> Option<Record<'_>> {
        Some(match kind {
            1 => Record::Entry(payload),
            2 => Record::Vote(StoredVote::from_bytes(payload)?),
            3 if payload.is_empty() => Record::Truncate(None),
            3 => Record::Truncate(Some(Position::from_bytes(payload)?)),
            4 => Record::Skip(Position::from_bytes(payload)?),
            5 => Record::Seal,
            _ => return None,
        })
    }
}

/// A record and where its payload is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) record: Record<'a>,
    pub(super) payload_at: usize,
    pub(super) payload_bytes: usize,
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) records: Vec<Found<'a>>,
    /// Where the next record belongs.
    pub(super) end: usize,
}

/// Reads all records of a file whose header is fine.
///
/// # Errors
/// What is damaged, to follow the file's name.
pub(super) fn read(file: &[u8]) -> Result<Contents<'_>, String> {
    let mut records = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(head) = file.get(at..at + HEAD_BYTES) {
        if head.iter().all(|byte| *byte == 0) {
            break;
        }
        let damaged = || format!("is damaged at byte {at}: a checksum does not match");
        if crc32fast::hash(&head[..12]) != word(head, 12) || head[1] != HEAD_MARK {
            return Err(damaged());
        }
        let payload_bytes = usize::try_from(word(head, 4)).map_err(|_| damaged())?;
        let payload_at = at + HEAD_BYTES;
        let payload_end = payload_at.saturating_add(payload_bytes);
        let Some(body) = file.get(payload_at..payload_end.saturating_add(1)) else {
            return Err(damaged());
        };
        let (payload, mark) = body.split_at(payload_bytes);
        if crc32fast::hash(payload) != word(head, 8) || mark != [END_MARK] {
            if is_unfinished(file, payload_at, payload_end + 1) {
                break;
            }
            return Err(damaged());
        }
        let record = Record::read(head[0], payload).ok_or_else(|| {
            format!("has a record at byte {at} that this version of trivet does not know")
        })?;
        records.push(Found {
            record,
            payload_at,
            payload_bytes,
        });
        at += span(payload_bytes);
    }
    Ok(Contents { records, end: at })
}

/// True when a sector between `start` and `end` was never written.
fn is_unfinished(file: &[u8], start: usize, end: usize) -> bool {
    let mut at = start;
    while at < end {
        let next = (at / SECTOR + 1) * SECTOR;
        let part = file.get(at..next.min(end)).unwrap_or_default();
        if part.iter().all(|byte| *byte == 0) {
            return true;
        }
        at = next;
    }
    false
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn long_word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(payloads: &[&[u8]]) -> Vec<u8> {
        let mut out = Header {
            log_id: 7,
            number: 1,
            bytes: 16_384,
            ..Header::default()
        }
        .encode()
        .to_vec();
        for payload in payloads {
            Record::Entry(payload).write(&mut out);
        }
        out.resize(16_384, 0);
        out
    }

    fn payloads(file: &[u8]) -> Result<usize, String> {
        Header::decode(file)?;
        Ok(read(file)?.records.len())
    }

    #[test]
    fn any_changed_byte_of_a_header_or_record_is_noticed() {
        let long = vec![b'x'; 3000];
        let whole = file(&[b"one", &long, b"three"]);
        assert_eq!(payloads(&whole), Ok(3));
        let used = read(&whole).unwrap().end;
        // The gaps between records hold nothing.
        let mut gaps = vec![false; used];
        for found in read(&whole).unwrap().records {
            let end = found.payload_at + found.payload_bytes + 1;
            gaps[end..end.next_multiple_of(ALIGN)].fill(true);
        }
        for at in (0..used).filter(|at| !gaps[*at]) {
            for bit in [0x01, 0x80] {
                let mut changed = whole.clone();
                changed[at] ^= bit;
                assert!(payloads(&changed).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let whole = file(&[b"one"]);
        for length in [0, 100, 512, 5000, 16_383] {
            assert!(payloads(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn sectors_that_never_reached_the_disk_end_the_log() {
        let long = vec![b'x'; 5000];
        let before = file(&[b"one"]);
        let after = file(&[b"one", b"two", &long, b"four"]);
        // Any of the sectors that changed may be missing, in any combination of runs.
        for start in (0..after.len()).step_by(SECTOR) {
            for end in (start + SECTOR..=after.len()).step_by(SECTOR) {
                let mut torn = after.clone();
                torn[start..end].copy_from_slice(&before[start..end]);
                let left = payloads(&torn).unwrap();
                assert!((1..=4).contains(&left), "sectors {start}..{end}: {left}");
            }
        }
    }
}
