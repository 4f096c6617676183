//! The file that logs are kept in: another one is begun when it is too long or too old, and the
//! oldest ones go.

use jiff::Timestamp;
use parking_lot::Mutex;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tracing_subscriber::fmt::MakeWriter;

/// Where logs are kept, and when another file is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file that is written to.
    pub path: PathBuf,
    /// Another one is begun before it would have more bytes than that; none for any number. What is
    /// logged at once stays in one file.
    pub bytes_max: Option<u64>,
    /// Another one is begun after so long.
    pub age_max: Duration,
    /// So many older files are kept, with the time at which they ended in their names; none to keep
    /// all.
    pub older_max: Option<usize>,
}

/// Writes to the file of a [`Place`], for whoever logs.
#[derive(Clone, Debug)]
pub(super) struct Files(Arc<Mutex<Writer>>);

#[derive(Debug)]
struct Writer {
    place: Place,
    file: File,
    bytes: u64,
    begun: Timestamp,
}

impl Files {
    /// Goes on with the file that is there, or begins it.
    ///
    /// # Errors
    /// When it cannot be opened, or its directory cannot be made.
    pub(super) fn open(place: Place) -> io::Result<Self> {
        if let Some(directory) = place.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let (file, bytes) = open(&place.path)?;
        Ok(Self(Arc::new(Mutex::new(Writer {
            place,
            file,
            bytes,
            begun: Timestamp::now(),
        }))))
    }
}

impl<'a> MakeWriter<'a> for Files {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Files {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().write(line, Timestamp::now())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().file.flush()
    }
}

impl Writer {
    fn write(&mut self, line: &[u8], now: Timestamp) -> io::Result<()> {
        let added = line.len() as u64;
        let is_long = self
            .place
            .bytes_max
            .is_some_and(|most| self.bytes + added > most);
        let age = now.duration_since(self.begun);
        let is_old = age.unsigned_abs() >= self.place.age_max && !age.is_negative();
        if self.bytes > 0 && (is_long || is_old) {
            self.rotate(now)?;
        }
        self.file.write_all(line)?;
        self.bytes += added;
        Ok(())
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        fs::rename(&self.place.path, older(&self.place.path, now))?;
        (self.file, self.bytes) = open(&self.place.path)?;
        self.begun = now;
        let Some(kept) = self.place.older_max else {
            return Ok(());
        };
        let mut olders = olders(&self.place.path)?;
        olders.sort();
        let surplus = olders.len().saturating_sub(kept);
        for (_, path) in olders.into_iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Only for the user of the agent: what is logged may be of everybody's jobs.
fn open(path: &Path) -> io::Result<(File, u64)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// `trivet.log` at a time becomes `trivet-NANOSECONDS.log`.
fn older(path: &Path, now: Timestamp) -> PathBuf {
    let (stem, ending) = parts(path);
    path.with_file_name(format!("{stem}-{}{ending}", now.as_nanosecond()))
}

/// The name before its last dot, and the rest.
fn parts(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.rfind('.').filter(|at| *at > 0) {
        Some(at) => {
            let (stem, ending) = name.split_at(at);
            (stem.to_owned(), ending.to_owned())
        }
        None => (name.into_owned(), String::new()),
    }
}

/// The older files beside a file, with the times in their names.
fn olders(path: &Path) -> io::Result<Vec<(i128, PathBuf)>> {
    let (stem, ending) = parts(path);
    let directory = path.parent().filter(|own| !own.as_os_str().is_empty());
    let entries = fs::read_dir(directory.unwrap_or_else(|| Path::new(".")))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let time = name
            .strip_prefix(&format!("{stem}-"))
            .and_then(|rest| rest.strip_suffix(&ending))
            .and_then(|time| time.parse().ok());
        if let Some(time) = time {
            found.push((time, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn names(directory: &Path) -> Vec<(String, String)> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .expect("a directory")
            .map(|entry| {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a name").to_string_lossy();
                let text = fs::read_to_string(&path).expect("a text");
                (name.into_owned(), text)
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn another_file_is_begun_when_one_is_long_or_old_and_the_oldest_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("logs/trivet.log");
        let place = Place {
            path: path.clone(),
            bytes_max: Some(10),
            age_max: Duration::from_secs(60),
            older_max: Some(2),
        };
        let files = Files::open(place.clone()).expect("a file");
        let logs = path.parent().expect("a directory");
        // What only looks like one of them stays.
        fs::write(logs.join("trivet-notes.log"), "mine").expect("a file");
        let write = |files: &Files, text: &str, second: i64| {
            let mut writer = files.0.lock();
            if writer.bytes == 0 {
                writer.begun = at(second);
            }
            writer.write(text.as_bytes(), at(second)).expect("written");
        };
        write(&files, "one.", 1);
        write(&files, "two.", 2);
        // It would be too long.
        write(&files, "three.", 3);
        // Longer than any: still whole.
        write(&files, "four-is-long.", 4);
        // Too old.
        write(&files, "5", 5);
        write(&files, "6", 64);
        write(&files, "7", 65);
        let of = |second: i64| format!("trivet-{}.log", at(second).as_nanosecond());
        let wanted = [
            (of(5), "four-is-long."),
            (of(65), "56"),
            ("trivet-notes.log".to_owned(), "mine"),
            ("trivet.log".to_owned(), "7"),
        ];
        let wanted = wanted.map(|(name, text)| (name, text.to_owned()));
        assert_eq!(names(logs), wanted);
        // Another start goes on with it.
        drop(files);
        let files = Files::open(place).expect("a file");
        write(&files, "8", 66);
        assert_eq!(fs::read_to_string(&path).expect("a text"), "78");
    }
}
