//! The log files of a task.

use crate::logs::log_number;
use jobs::model::TaskName;
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};
use sys::directory::Directory;

/// Log files of one task: `<task>.stdout.<n>` and `<task>.stderr.<n>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogFiles {
    /// Directory.
    pub(crate) dir: PathBuf,
    /// Name of the task.
    pub(crate) task: TaskName,
    /// Files kept per stream, at least 1.
    pub(crate) files_max: u32,
    /// Size of one file, bytes.
    pub(crate) file_bytes_max: u64,
}

/// How far before the size limit a line end is looked for, bytes, so that a line stays in one file.
const LINE_SEARCH_BYTES: usize = 32 * 1024;

/// Names that are passed over because something else has them.
const SKIPPED_MAX: u64 = 64;

/// One output stream of a task, written to numbered files of limited size.
///
/// Invariants:
/// 1. No file is larger than the limit.
/// 2. At most `files_max` files exist; the oldest go first.
/// 3. Nothing is written but regular files of this program in the directory that was opened first,
///    whatever else the task puts there.
#[derive(Debug)]
pub(super) struct Rotation {
    dir: Directory,
    prefix: String,
    files_max: u64,
    file_bytes_max: u64,
    number: u64,
    written: u64,
    file: File,
}

impl Rotation {
    /// Goes on in the newest file of each stream, or starts number 0.
    pub(super) fn open<const N: usize>(
        files: &LogFiles,
        streams: [&str; N],
    ) -> io::Result<[Self; N]> {
        let names: Vec<OsString> = Directory::open(&files.dir)?
            .entries()?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<_>>()?;
        let opened = streams.map(|stream| Self::open_stream(files, stream, &names));
        let opened: Vec<Self> = opened.into_iter().collect::<io::Result<_>>()?;
        opened
            .try_into()
            .map_err(|_| io::Error::other("a stream is missing"))
    }

    fn open_stream(files: &LogFiles, stream: &str, names: &[OsString]) -> io::Result<Self> {
        let dir = Directory::open(&files.dir)?;
        let prefix = format!("{}.{stream}.", files.task);
        let numbers = names
            .iter()
            .filter_map(|name| log_number(name.to_str()?, &prefix));
        let (number, file) = open_from(&dir, &prefix, numbers.max().unwrap_or(0))?;
        let written = file.metadata()?.len();
        Ok(Self {
            dir,
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
        let (number, file) = open_from(&self.dir, &self.prefix, self.number + 1)?;
        self.file = file;
        self.number = number;
        self.written = self.file.metadata()?.len();
        for old in numbers(&self.dir, &self.prefix)? {
            if old + self.files_max <= number {
                let name = format!("{}{old}", self.prefix);
                // A directory of that name is not ours; it must not keep the output from its file.
                self.dir.remove_file(Path::new(&name)).ok();
            }
        }
        Ok(())
    }
}

/// Opens the file numbered `first`, or the next one whose name is not taken by something that is no
/// log of ours.
fn open_from(dir: &Directory, prefix: &str, first: u64) -> io::Result<(u64, File)> {
    let mut number = first;
    loop {
        match dir.append_file(Path::new(&format!("{prefix}{number}"))) {
            Ok(file) => return Ok((number, file)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory
                ) && number - first < SKIPPED_MAX =>
            {
                number += 1;
            }
            Err(error) => return Err(error),
        }
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

/// Numbers of the existing files, in no order.
fn numbers(dir: &Directory, prefix: &str) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in dir.entries()? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| log_number(name, prefix)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn files(dir: &Path, files_max: u32, file_bytes_max: u64) -> LogFiles {
        LogFiles {
            dir: dir.to_owned(),
            task: "web".into(),
            files_max,
            file_bytes_max,
        }
    }

    fn contents(dir: &Path) -> Vec<(String, String)> {
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
        let [mut log] = Rotation::open(&files(dir.path(), 2, 10), ["stdout"]).unwrap();
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
    fn what_is_no_log_file_is_passed_over_and_left_alone() {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("target");
        fs::write(&target, "untouched").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let name = |number: u32| dir.path().join(format!("web.stdout.{number}"));
        std::os::unix::fs::symlink(&target, name(0)).unwrap();
        fs::hard_link(&target, name(1)).unwrap();
        fs::create_dir(name(2)).unwrap();
        nix::unistd::mkfifo(&name(3), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        std::os::unix::fs::symlink(outside.path().join("new"), name(4)).unwrap();
        let [mut log] = Rotation::open(&files(dir.path(), 3, 4), ["stdout"]).unwrap();
        std::os::unix::fs::symlink(outside.path().join("new"), name(6)).unwrap();
        log.write(b"one\ntwo\n").unwrap();
        assert_eq!(fs::read(name(5)).unwrap(), b"one\n");
        assert_eq!(fs::read(name(7)).unwrap(), b"two\n");
        assert_eq!(fs::read(&target).unwrap(), b"untouched");
        assert!(!outside.path().join("new").exists());
    }

    #[test]
    fn a_number_that_no_log_can_have_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        for number in ["18446744073709551615", "007", "+1", "x"] {
            fs::write(dir.path().join(format!("web.stdout.{number}")), "").unwrap();
        }
        let [mut log] = Rotation::open(&files(dir.path(), 3, 4), ["stdout"]).unwrap();
        log.write(b"one\ntwo\n").unwrap();
        assert_eq!(fs::read(dir.path().join("web.stdout.1")).unwrap(), b"two\n");
    }

    #[test]
    fn a_new_run_goes_on_in_the_newest_file() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["first ", "second"] {
            let [mut log] = Rotation::open(&files(dir.path(), 3, 100), ["stderr"]).unwrap();
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
            let [mut log] = Rotation::open(&files(dir.path(), 10_000, limit), ["stdout"]).unwrap();
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
