use super::LogFiles;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

/// How far before the size limit a line end is looked for, bytes, so that a line stays in one file.
const LINE_SEARCH_BYTES: usize = 32 * 1024;

/// One output stream of a task, written to numbered files of limited size.
///
/// Invariants:
/// 1. No file is larger than the limit.
/// 2. At most `files_max` files exist; the oldest go first.
#[derive(Debug)]
pub(super) struct Rotation {
    dir: PathBuf,
    prefix: String,
    files_max: u64,
    file_bytes_max: u64,
    number: u64,
    written: u64,
    file: File,
}

impl Rotation {
    /// Goes on in the newest file of the stream, or starts number 0.
    pub(super) fn open(files: &LogFiles, stream: &str) -> io::Result<Self> {
        let prefix = format!("{}.{stream}.", files.task);
        let number = numbers(&files.dir, &prefix)?.into_iter().max().unwrap_or(0);
        let file = append(&files.dir.join(format!("{prefix}{number}")))?;
        let written = file.metadata()?.len();
        Ok(Self {
            dir: files.dir.clone(),
            prefix,
            files_max: u64::from(files.files_max.max(1)),
            file_bytes_max: files.file_bytes_max.max(1),
            number,
            written,
            file,
        })
    }

    /// Appends `bytes`, in as many files as it takes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.file_bytes_max.saturating_sub(self.written);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let (head, tail) = rest.split_at(cut(rest, room));
            self.file.write_all(head)?;
            self.written += head.len() as u64;
            if !tail.is_empty() {
                self.rotate()?;
            }
            rest = tail;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let number = self.number + 1;
        self.file = append(&self.dir.join(format!("{}{number}", self.prefix)))?;
        self.number = number;
        self.written = self.file.metadata()?.len();
        for old in numbers(&self.dir, &self.prefix)? {
            if old + self.files_max <= number {
                fs::remove_file(self.dir.join(format!("{}{old}", self.prefix)))?;
            }
        }
        Ok(())
    }
}

/// How many of `bytes` go into a file that has `room` left.
fn cut(bytes: &[u8], room: usize) -> usize {
    if bytes.len() <= room {
        return bytes.len();
    }
    let fits = bytes.get(..room).unwrap_or(bytes);
    let searched = fits.len().saturating_sub(LINE_SEARCH_BYTES);
    let tail = fits.get(searched..).unwrap_or_default();
    tail.iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(fits.len(), |place| searched + place + 1)
}

fn append(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Numbers of the existing files, in no order.
fn numbers(dir: &std::path::Path, prefix: &str) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix))
            .and_then(|number| number.parse().ok());
        found.extend(number);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &std::path::Path, files_max: u32, file_bytes_max: u64) -> LogFiles {
        LogFiles {
            dir: dir.to_owned(),
            task: "web".into(),
            files_max,
            file_bytes_max,
        }
    }

    fn contents(dir: &std::path::Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let text = fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn files_are_cut_at_line_ends_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Rotation::open(&files(dir.path(), 2, 10), "stdout").unwrap();
        log.write(b"one\ntwo\nthree\nfour\n").unwrap();
        let two = [("web.stdout.1", "three\n"), ("web.stdout.2", "four\n")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(contents(dir.path()), two);
        log.write(b"averyverylongline").unwrap();
        let two = [("web.stdout.3", "verylongli"), ("web.stdout.4", "ne")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()));
        let found = contents(dir.path());
        assert_eq!(found[1], two[1], "{found:?}");
    }

    #[test]
    fn a_new_run_goes_on_in_the_newest_file() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["first ", "second"] {
            let mut log = Rotation::open(&files(dir.path(), 3, 100), "stderr").unwrap();
            log.write(text.as_bytes()).unwrap();
        }
        let expected = vec![("web.stderr.0".to_owned(), "first second".to_owned())];
        assert_eq!(contents(dir.path()), expected);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_is_lost_and_no_file_is_too_large(
            pieces in proptest::collection::vec("[a-z\n]{0,40}", 0..12),
            limit in 1_u64..50,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut log = Rotation::open(&files(dir.path(), 10_000, limit), "stdout").unwrap();
            for piece in &pieces {
                log.write(piece.as_bytes()).unwrap();
            }
            let mut numbered: Vec<(u64, String)> = contents(dir.path())
                .into_iter()
                .map(|(name, text)| (name.rsplit_once('.').unwrap().1.parse().unwrap(), text))
                .collect();
            numbered.sort();
            proptest::prop_assert!(numbered.iter().all(|(_, text)| text.len() as u64 <= limit));
            let all: String = numbered.into_iter().map(|(_, text)| text).collect();
            proptest::prop_assert_eq!(all, pieces.concat());
        }
    }
}
