//! Reads files of allocations as a stream of frames, across the rotation of logs.

use super::file_threads::READ_TIMEOUT;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use std::{
    fs, io,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::Path,
    sync::Arc,
    time::Duration,
};
use sys::{
    directory::{Directory, Found, Links},
    threads::Threads,
    watch::Watched,
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

/// Bytes in one frame.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Frames that wait for a slow reader.
const FRAMES_MAX: usize = 4;
/// Entries of a directory of logs that are looked at.
const ENTRIES_MAX: usize = 10_000;
/// How long further changes are gathered after a first one.
const GATHER_PAUSE: Duration = Duration::from_millis(20);
/// How often a file that is followed is looked at when the kernel tells no changes.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Where reading begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// That many bytes after the start.
    #[default]
    Start,
    /// That many bytes before the end.
    End,
}

/// What to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Where `offset` counts from.
    pub origin: Origin,
    /// Bytes.
    pub offset: u64,
    /// Go on with what is written later.
    pub follow: bool,
}

/// A piece of a file, or something that happened to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Path below the allocation's directory.
    pub file: String,
    /// Where `data` begins, bytes.
    pub offset: u64,
    /// At most 64 KiB; empty for an event.
    pub data: Vec<u8>,
    /// `file truncated` or `file deleted`; empty for data.
    pub event: &'static str,
}

/// The task behind logs that are followed.
pub(super) struct Writer {
    /// Told with each change of its state.
    pub(super) changes: watch::Receiver<u64>,
    /// True when it writes no more.
    pub(super) is_over: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Streams one file. The stream ends with the file, or, when followed, with its deletion or its
/// reader.
pub(super) fn stream_file(
    file: fs::File,
    name: String,
    range: Range,
    threads: Threads,
) -> mpsc::Receiver<Frame> {
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    tokio::spawn(async move {
        let mut reader = Reader {
            file: Arc::new(file),
            name,
            offset: 0,
            frames,
            threads,
        };
        if let Err(error) = reader.run(range).await {
            tracing::debug!(%error, file = reader.name, "reading ended");
        }
    });
    receiver
}

/// Streams the numbered files `<prefix><n>` in `dir` as one. When followed, the stream ends when
/// its writer is over and everything was read, or with its reader.
pub(super) fn stream_logs(
    dir: Directory,
    prefix: String,
    range: Range,
    writer: Writer,
    threads: Threads,
) -> mpsc::Receiver<Frame> {
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    tokio::spawn(async move {
        let logs = Logs {
            dir: Arc::new(dir),
            prefix,
            threads,
        };
        if let Err(error) = logs.follow(range, writer, frames).await {
            tracing::debug!(%error, prefix = logs.prefix, "reading logs ended");
        }
    });
    receiver
}

/// The bytes of a file from `offset` on, at most `limit`, in pieces.
pub(super) fn read(
    file: fs::File,
    offset: u64,
    limit: u64,
    threads: Threads,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let begin = (Arc::new(file), offset, limit);
    stream::try_unfold(begin, move |(file, offset, left)| {
        let threads = threads.clone();
        async move {
            let data = piece(&threads, &file, offset, left).await?;
            let bytes = data.len() as u64;
            let rest = (file, offset + bytes, left - bytes);
            Ok((bytes > 0).then(|| (Bytes::from(data), rest)))
        }
    })
}

/// One piece of a file, at most `limit` bytes; empty at its end.
async fn piece(
    threads: &Threads,
    file: &Arc<fs::File>,
    offset: u64,
    limit: u64,
) -> io::Result<Vec<u8>> {
    let file = Arc::clone(file);
    // The kernel refuses to look past the last byte that a file could have.
    let room = u64::try_from(i64::MAX).map_or(0, |last| last.saturating_sub(offset));
    let limit = limit.min(room);
    let wanted = usize::try_from(limit).map_or(FRAME_BYTES_MAX, |limit| limit.min(FRAME_BYTES_MAX));
    let read = move || {
        let mut data = vec![0; wanted];
        let read = file.read_at(&mut data, offset)?;
        data.truncate(read);
        Ok(data)
    };
    threads.run_within(READ_TIMEOUT, read).await
}

struct Reader {
    file: Arc<fs::File>,
    name: String,
    offset: u64,
    frames: mpsc::Sender<Frame>,
    threads: Threads,
}

/// The reader of the stream is gone.
fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Reader {
    async fn run(&mut self, range: Range) -> io::Result<()> {
        // Before the first look, so that nothing is missed in between.
        let mut watched = range.follow.then(|| watch_file(&*self.file)).flatten();
        let (size, _) = self.look().await?;
        self.offset = match range.origin {
            Origin::Start => range.offset,
            Origin::End => size.saturating_sub(range.offset),
        };
        loop {
            self.read_to_end().await?;
            if !range.follow {
                return Ok(());
            }
            wait(&mut watched, &self.frames, std::future::pending()).await?;
            let (size, links) = self.look().await?;
            if size < self.offset {
                self.event("file truncated").await?;
                self.offset = 0;
            }
            if links == 0 {
                self.read_to_end().await?;
                return self.event("file deleted").await;
            }
        }
    }

    /// How large the file is, and how many names it has.
    async fn look(&self) -> io::Result<(u64, u64)> {
        let file = Arc::clone(&self.file);
        let look = move || file.metadata().map(|found| (found.len(), found.nlink()));
        self.threads.run_within(READ_TIMEOUT, look).await
    }

    async fn read_to_end(&mut self) -> io::Result<()> {
        loop {
            let data = piece(&self.threads, &self.file, self.offset, u64::MAX).await?;
            if data.is_empty() {
                return Ok(());
            }
            let read = data.len() as u64;
            let frame = Frame {
                file: self.name.clone(),
                offset: self.offset,
                data,
                event: "",
            };
            self.offset += read;
            self.frames.send(frame).await.map_err(|_| gone())?;
        }
    }

    async fn event(&self, event: &'static str) -> io::Result<()> {
        let frame = Frame {
            file: self.name.clone(),
            offset: self.offset,
            data: Vec::new(),
            event,
        };
        self.frames.send(frame).await.map_err(|_| gone())
    }
}

/// Watches what is followed; none when the kernel has no watch left.
fn watch_file(file: &impl AsFd) -> Option<Watched> {
    Watched::new(file)
        .inspect_err(|error| tracing::debug!(%error, "following without notice of changes"))
        .ok()
}

/// Waits until something that is followed has changed, or `other` happens. An error when the reader
/// is gone.
async fn wait(
    watched: &mut Option<Watched>,
    frames: &mpsc::Sender<Frame>,
    other: impl Future<Output = ()>,
) -> io::Result<()> {
    let changed = async {
        match watched {
            Some(watched) => {
                watched.changed().await;
                // What a task writes line by line is read together.
                sleep(GATHER_PAUSE).await;
            }
            None => sleep(LOOK_PAUSE).await,
        }
    };
    tokio::select! {
        () = changed => Ok(()),
        () = other => Ok(()),
        () = frames.closed() => Err(gone()),
    }
}

/// The log files of one output of a task.
struct Logs {
    dir: Arc<Directory>,
    prefix: String,
    threads: Threads,
}

impl Logs {
    async fn follow(
        &self,
        range: Range,
        mut writer: Writer,
        frames: mpsc::Sender<Frame>,
    ) -> io::Result<()> {
        let mut watched = range.follow.then(|| watch_file(&*self.dir)).flatten();
        let found = self.found().await?;
        let (mut number, mut from) = beginning(&found, range);
        loop {
            let is_last = !range.follow || (writer.is_over)();
            let Some((opened, file)) = self.open_from(number).await? else {
                if is_last {
                    return Ok(());
                }
                wait(&mut watched, &frames, change(&mut writer)).await?;
                continue;
            };
            if opened != number {
                from = 0;
            }
            let mut reader = Reader {
                file: Arc::new(file),
                name: format!("alloc/logs/{}{opened}", self.prefix),
                offset: from,
                frames: frames.clone(),
                threads: self.threads.clone(),
            };
            let next = loop {
                // In this order: a task that ends, or a file that is left, gets nothing more
                // afterwards.
                let is_last = !range.follow || (writer.is_over)();
                let found = self.found().await?;
                let next = found.into_iter().map(|(n, _)| n).find(|n| *n > opened);
                reader.read_to_end().await?;
                if next.is_some() || is_last {
                    break next;
                }
                wait(&mut watched, &frames, change(&mut writer)).await?;
            };
            let Some(next) = next else { return Ok(()) };
            number = next;
            from = 0;
        }
    }

    async fn found(&self) -> io::Result<Vec<(u64, u64)>> {
        let (dir, prefix) = (Arc::clone(&self.dir), self.prefix.clone());
        let list = move || log_files(&dir, &prefix);
        self.threads.run_within(READ_TIMEOUT, list).await
    }

    /// Opens the file with that number, or the next one that is still there.
    async fn open_from(&self, number: u64) -> io::Result<Option<(u64, fs::File)>> {
        let (dir, prefix) = (Arc::clone(&self.dir), self.prefix.clone());
        let open = move || {
            for (number, _) in log_files(&dir, &prefix)?
                .into_iter()
                .filter(|(found, _)| *found >= number)
            {
                // What has become something else or has gone is passed over.
                if let Ok(found) = log_file(&dir, &prefix, number)
                    && let Ok(file) = found.open_file()
                {
                    return Ok(Some((number, file)));
                }
            }
            Ok(None)
        };
        self.threads.run_within(READ_TIMEOUT, open).await
    }
}

async fn change(writer: &mut Writer) {
    if writer.changes.changed().await.is_err() {
        // Nobody runs the task any more; its end was told before.
        std::future::pending::<()>().await;
    }
}

/// In which file to begin, and where. `files` are numbers and sizes, ascending.
fn beginning(files: &[(u64, u64)], range: Range) -> (u64, u64) {
    // Clients that follow the output of a task ask for its end and expect the newest file whole.
    if range.origin == Origin::End && range.offset == 0 {
        return (files.last().map_or(0, |(number, _)| *number), 0);
    }
    let total: u64 = files.iter().map(|(_, size)| size).sum();
    let mut skip = match range.origin {
        Origin::Start => range.offset.min(total),
        Origin::End => total.saturating_sub(range.offset),
    };
    for (number, size) in files {
        if skip < *size {
            return (*number, skip);
        }
        skip -= size;
    }
    files.last().copied().unwrap_or_default()
}

/// Numbers and sizes of the log files, ascending. What has such a name and is no file of one name
/// is none: a task may have put it there.
pub(super) fn log_files(dir: &Directory, prefix: &str) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for entry in dir.entries()?.take(ENTRIES_MAX) {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| log_number(name, prefix));
        if let Some(number) = number
            && let Ok(file) = log_file(dir, prefix, number)
        {
            found.push((number, file.metadata().len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn log_file(dir: &Directory, prefix: &str, number: u64) -> io::Result<Found> {
    let found = dir.find(Path::new(&format!("{prefix}{number}")), Links::Refused)?;
    if !found.metadata().is_file() || found.metadata().nlink() != 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(found)
}

/// The number of the log file `name`; none for a name that no log file has.
pub(super) fn log_number(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then(|| number.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut frames: mpsc::Receiver<Frame>) -> String {
        let mut text = String::new();
        while let Some(frame) = frames.recv().await {
            text.push_str(&String::from_utf8(frame.data).unwrap());
        }
        text
    }

    fn logs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (number, text) in [(2, "two "), (10, "ten "), (11, "eleven")] {
            fs::write(dir.path().join(format!("web.stdout.{number}")), text).unwrap();
        }
        fs::write(dir.path().join("web.stderr.0"), "other").unwrap();
        dir
    }

    #[tokio::test]
    async fn numbered_files_read_as_one() {
        let dir = logs();
        for (origin, offset, expected) in [
            (Origin::Start, 0, "two ten eleven"),
            (Origin::Start, 5, "en eleven"),
            (Origin::End, 0, "eleven"),
            (Origin::End, 8, "n eleven"),
            (Origin::End, 1000, "two ten eleven"),
            (Origin::Start, 1000, ""),
        ] {
            let range = Range {
                origin,
                offset,
                follow: false,
            };
            let dir = Directory::open(dir.path()).unwrap();
            let (_changes, writer) = writer(true);
            let threads = Threads::new("test", 2);
            let frames = stream_logs(dir, "web.stdout.".into(), range, writer, threads);
            assert_eq!(all(frames).await, expected);
        }
    }

    /// A writer whose end is told through the sender.
    fn writer(is_over: bool) -> (watch::Sender<u64>, Writer) {
        let (sender, changes) = watch::channel(u64::from(is_over));
        let seen = changes.clone();
        let writer = Writer {
            changes,
            is_over: Box::new(move || *seen.borrow() > 0),
        };
        (sender, writer)
    }

    #[tokio::test]
    async fn following_goes_on_across_rotation_until_the_task_is_over() {
        let dir = logs();
        let range = Range {
            origin: Origin::End,
            offset: 6,
            follow: true,
        };
        let (end, writer) = writer(false);
        let logs = Directory::open(dir.path()).unwrap();
        let threads = Threads::new("test", 2);
        let mut frames = stream_logs(logs, "web.stdout.".into(), range, writer, threads);
        assert_eq!(frames.recv().await.unwrap().data, b"eleven");
        let mut newest = fs::OpenOptions::new()
            .append(true)
            .open(dir.path().join("web.stdout.11"))
            .unwrap();
        io::Write::write_all(&mut newest, b" and more").unwrap();
        let more = frames.recv().await.unwrap();
        assert_eq!(
            (more.offset, more.data.as_slice()),
            (6, b" and more".as_slice())
        );
        fs::write(dir.path().join("web.stdout.12"), "twelve").unwrap();
        let twelve = frames.recv().await.unwrap();
        assert_eq!(twelve.file, "alloc/logs/web.stdout.12");
        end.send_replace(1);
        assert_eq!(frames.recv().await, None);
    }

    #[tokio::test]
    async fn what_is_no_log_file_is_not_read() {
        let dir = logs();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "SECRET").unwrap();
        let name = |number: u32| dir.path().join(format!("web.stdout.{number}"));
        std::os::unix::fs::symlink(outside.path(), name(1)).unwrap();
        fs::hard_link(outside.path(), name(3)).unwrap();
        nix::unistd::mkfifo(&name(12), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        fs::create_dir(name(13)).unwrap();
        for follow in [false, true] {
            let range = Range {
                follow,
                ..Range::default()
            };
            let (_end, writer) = writer(true);
            let logs = Directory::open(dir.path()).unwrap();
            let threads = Threads::new("test", 2);
            let frames = stream_logs(logs, "web.stdout.".into(), range, writer, threads);
            assert_eq!(all(frames).await, "two ten eleven");
        }
    }

    #[tokio::test]
    async fn a_followed_file_tells_its_truncation_and_its_deletion() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one two").unwrap();
        let range = Range {
            follow: true,
            ..Range::default()
        };
        let file = fs::File::open(&path).unwrap();
        let mut frames = stream_file(file, "f".into(), range, Threads::new("test", 2));
        assert_eq!(frames.recv().await.unwrap().data, b"one two");
        fs::write(&path, "x").unwrap();
        let events = [frames.recv().await.unwrap(), frames.recv().await.unwrap()];
        assert_eq!(events[0].event, "file truncated");
        assert_eq!(events[1].data, b"x");
        fs::remove_file(&path).unwrap();
        assert_eq!(frames.recv().await.unwrap().event, "file deleted");
        assert_eq!(frames.recv().await, None);
    }
}
