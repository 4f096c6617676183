//! Reads files of allocations as a stream of frames, across the rotation of logs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom},
    sync::mpsc,
    time::sleep,
};

/// Bytes in one frame.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Frames that wait for a slow reader.
const FRAMES_MAX: usize = 4;
/// How often the size of a file that is followed is looked at.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);

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

/// Streams one file. The stream ends with the file, or, when followed, with its reader.
pub(super) fn stream_file(file: fs::File, name: String, range: Range) -> mpsc::Receiver<Frame> {
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    tokio::spawn(async move {
        let mut reader = Reader {
            file: File::from_std(file),
            name,
            offset: 0,
            frames,
        };
        if let Err(error) = reader.run(range).await {
            tracing::debug!(%error, file = reader.name, "reading ended");
        }
    });
    receiver
}

/// Streams the numbered files `<prefix><n>` in `dir` as one. When followed, the stream ends when `is_over`
/// and everything was read, or with its reader.
pub(super) fn stream_logs(
    dir: PathBuf,
    prefix: String,
    range: Range,
    is_over: impl Fn() -> bool + Send + 'static,
) -> mpsc::Receiver<Frame> {
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    tokio::spawn(async move {
        if let Err(error) = follow_logs(&dir, &prefix, range, is_over, frames).await {
            tracing::debug!(%error, prefix, "reading logs ended");
        }
    });
    receiver
}

struct Reader {
    file: File,
    name: String,
    offset: u64,
    frames: mpsc::Sender<Frame>,
}

/// The reader of the stream is gone.
fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Reader {
    async fn run(&mut self, range: Range) -> io::Result<()> {
        let size = self.file.metadata().await?.len();
        self.offset = match range.origin {
            Origin::Start => range.offset,
            Origin::End => size.saturating_sub(range.offset),
        };
        self.file.seek(SeekFrom::Start(self.offset)).await?;
        loop {
            self.read_to_end().await?;
            if !range.follow {
                return Ok(());
            }
            self.pause().await?;
            if self.file.metadata().await?.len() < self.offset {
                self.event("file truncated").await?;
                self.offset = 0;
                self.file.seek(SeekFrom::Start(0)).await?;
            }
        }
    }

    async fn read_to_end(&mut self) -> io::Result<()> {
        loop {
            let mut data = vec![0; FRAME_BYTES_MAX];
            let read = self.file.read(&mut data).await?;
            if read == 0 {
                return Ok(());
            }
            data.truncate(read);
            let frame = Frame {
                file: self.name.clone(),
                offset: self.offset,
                data,
                event: "",
            };
            self.offset += read as u64;
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

    async fn pause(&self) -> io::Result<()> {
        tokio::select! {
            () = sleep(FOLLOW_PAUSE) => Ok(()),
            () = self.frames.closed() => Err(gone()),
        }
    }
}

async fn follow_logs(
    dir: &Path,
    prefix: &str,
    range: Range,
    is_over: impl Fn() -> bool,
    frames: mpsc::Sender<Frame>,
) -> io::Result<()> {
    let (mut number, offset) = beginning(dir, prefix, range)?;
    let mut from = offset;
    loop {
        let name = format!("{prefix}{number}");
        let mut file = File::open(dir.join(&name)).await?;
        file.seek(SeekFrom::Start(from)).await?;
        let mut reader = Reader {
            file,
            name: format!("alloc/logs/{name}"),
            offset: from,
            frames: frames.clone(),
        };
        let next = loop {
            // In this order: a task that ends, or a file that is left, gets nothing more afterwards.
            let over = !range.follow || is_over();
            let next = numbers(dir, prefix)?.into_iter().find(|n| *n > number);
            reader.read_to_end().await?;
            if next.is_some() || over {
                break next;
            }
            reader.pause().await?;
        };
        let Some(next) = next else { return Ok(()) };
        number = next;
        from = 0;
    }
}

/// In which file to begin, and where.
fn beginning(dir: &Path, prefix: &str, range: Range) -> io::Result<(u64, u64)> {
    let mut sizes = Vec::new();
    for number in numbers(dir, prefix)? {
        let size = fs::metadata(dir.join(format!("{prefix}{number}"))).map_or(0, |file| file.len());
        sizes.push((number, size));
    }
    // Clients that follow the output of a task ask for its end and expect the newest file whole.
    if range.origin == Origin::End && range.offset == 0 {
        return Ok((sizes.last().map_or(0, |(number, _)| *number), 0));
    }
    let total: u64 = sizes.iter().map(|(_, size)| size).sum();
    let mut skip = match range.origin {
        Origin::Start => range.offset.min(total),
        Origin::End => total.saturating_sub(range.offset),
    };
    let last = sizes.last().copied().unwrap_or_default();
    for (number, size) in sizes {
        if skip < size {
            return Ok((number, skip));
        }
        skip -= size;
    }
    Ok(last)
}

/// Numbers of the files, ascending.
pub(super) fn numbers(dir: &Path, prefix: &str) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix))
            .and_then(|number| number.parse().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

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
            let dir = dir.path().to_owned();
            let frames = stream_logs(dir, "web.stdout.".into(), range, || true);
            assert_eq!(all(frames).await, expected);
        }
    }

    #[tokio::test]
    async fn following_goes_on_across_rotation_until_the_task_is_over() {
        let dir = logs();
        let over = Arc::new(AtomicBool::new(false));
        let range = Range {
            origin: Origin::End,
            offset: 6,
            follow: true,
        };
        let seen = Arc::clone(&over);
        let path = dir.path().to_owned();
        let mut frames = stream_logs(path, "web.stdout.".into(), range, move || {
            seen.load(Ordering::SeqCst)
        });
        assert_eq!(frames.recv().await.unwrap().data, b"eleven");
        fs::write(dir.path().join("web.stdout.11"), "eleven and more").unwrap();
        let more = frames.recv().await.unwrap();
        assert_eq!(
            (more.offset, more.data.as_slice()),
            (6, b" and more".as_slice())
        );
        fs::write(dir.path().join("web.stdout.12"), "twelve").unwrap();
        let twelve = frames.recv().await.unwrap();
        assert_eq!(twelve.file, "alloc/logs/web.stdout.12");
        over.store(true, Ordering::SeqCst);
        assert_eq!(frames.recv().await, None);
    }
}
