//! Changes of files and directories, as the kernel tells them.
//!
//! One notification channel and one thread for the whole process, made with the first watch: the
//! kernel allows a user only a few channels. Whoever watches waits for an event instead of looking
//! again and again.

use nix::{errno::Errno, libc};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    sync::{Arc, OnceLock},
    thread,
};
use tokio::sync::watch;

/// Bytes of one event before its name: descriptor, mask, cookie and length of the name.
const EVENT_HEAD_BYTES: usize = 16;
/// What is told of a file, and of a directory and its files.
const MASK: u32 = libc::IN_MODIFY
    | libc::IN_ATTRIB
    | libc::IN_CREATE
    | libc::IN_MOVED_TO
    | libc::IN_DELETE
    | libc::IN_DELETE_SELF
    | libc::IN_MOVE_SELF;

/// A file or directory that is watched until this is dropped.
#[derive(Debug)]
pub struct Watched {
    channel: Arc<Channel>,
    descriptor: i32,
    changes: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Channel {
    file: File,
    /// By watch descriptor: how many look, and how many changes there were.
    watches: Mutex<BTreeMap<i32, (usize, watch::Sender<u64>)>>,
}

impl Watched {
    /// Watches an open file or directory; in a directory, also what happens to its files. Changes
    /// from now on count, so look at the file after this.
    ///
    /// # Errors
    /// When the kernel has no more watches to give.
    pub fn new(file: &impl AsFd) -> io::Result<Self> {
        let channel = channel()?;
        let path = CString::new(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))?;
        // Under the lock, so that nobody removes the watch of the same file meanwhile.
        let mut watches = channel.watches.lock();
        let descriptor = add_watch(&channel.file, &path)?;
        let (count, changes) = watches
            .entry(descriptor)
            .or_insert_with(|| (0, watch::Sender::new(0)));
        *count += 1;
        let changes = changes.subscribe();
        drop(watches);
        Ok(Self {
            channel,
            descriptor,
            changes,
        })
    }

    /// Waits for the next change since the last call.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The file is gone, and with it all further changes.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut watches = self.channel.watches.lock();
        let Some((count, _)) = watches.get_mut(&self.descriptor) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            watches.remove(&self.descriptor);
            remove_watch(&self.channel.file, self.descriptor);
        }
    }
}

/// The process's channel.
fn channel() -> io::Result<Arc<Channel>> {
    static CHANNEL: OnceLock<Arc<Channel>> = OnceLock::new();
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock();
    if let Some(channel) = CHANNEL.get() {
        return Ok(Arc::clone(channel));
    }
    let channel = Arc::new(Channel {
        file: open()?,
        watches: Mutex::default(),
    });
    let for_thread = Arc::clone(&channel);
    thread::Builder::new()
        .name("file-watch".into())
        .spawn(move || for_thread.run())?;
    Ok(Arc::clone(CHANNEL.get_or_init(|| channel)))
}

impl Channel {
    /// Hands events on as long as the process lives.
    fn run(&self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match (&self.file).read(&mut buffer) {
                Ok(bytes) => self.on_events(buffer.get(..bytes).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "changes of files are not told any more");
                    return;
                }
            }
        }
    }

    fn on_events(&self, mut events: &[u8]) {
        let mut watches = self.watches.lock();
        while let Some((head, rest)) = events.split_at_checked(EVENT_HEAD_BYTES) {
            let number = |at: usize| {
                let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
                u32::from_ne_bytes(bytes.unwrap_or_default())
            };
            let (descriptor, mask) = (number(0).cast_signed(), number(4));
            let name_bytes = usize::try_from(number(12)).unwrap_or(usize::MAX);
            events = rest.get(name_bytes..).unwrap_or_default();
            if mask & libc::IN_Q_OVERFLOW != 0 {
                for (_, changes) in watches.values() {
                    changes.send_modify(|count| *count += 1);
                }
            } else if let Some((_, changes)) = watches.get(&descriptor) {
                changes.send_modify(|count| *count += 1);
            }
            if mask & libc::IN_IGNORED != 0 {
                watches.remove(&descriptor);
            }
        }
    }
}

#[expect(unsafe_code, reason = "the system call has no safe wrapper here")]
fn open() -> io::Result<File> {
    // SAFETY: the call takes an integer and touches no memory of ours.
    let result = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
    let descriptor = Errno::result(result)?;
    // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }.into())
}

#[expect(unsafe_code, reason = "the system call has no safe wrapper here")]
fn add_watch(channel: &File, path: &CString) -> io::Result<i32> {
    // SAFETY: the path ends with a NUL and lives as long as the call.
    let result = unsafe { libc::inotify_add_watch(channel.as_raw_fd(), path.as_ptr(), MASK) };
    Ok(Errno::result(result)?)
}

#[expect(unsafe_code, reason = "the system call has no safe wrapper here")]
fn remove_watch(channel: &File, descriptor: i32) {
    // SAFETY: the call takes two integers. It fails for a watch that went with its file, which is
    // as good.
    unsafe { libc::inotify_rm_watch(channel.as_raw_fd(), descriptor) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write, time::Duration};
    use tokio::time::timeout;

    async fn is_told(watched: &mut Watched) -> bool {
        timeout(Duration::from_secs(60), watched.changed())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn changes_of_a_file_and_of_a_directory_s_files_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.0");
        let mut file = File::create(&path).unwrap();
        let mut of_file = Watched::new(&file).unwrap();
        let mut of_dir = Watched::new(&File::open(dir.path()).unwrap()).unwrap();
        file.write_all(b"x").unwrap();
        assert!(is_told(&mut of_file).await && is_told(&mut of_dir).await);
        fs::write(dir.path().join("log.1"), "y").unwrap();
        assert!(is_told(&mut of_dir).await);
        fs::remove_file(&path).unwrap();
        assert!(is_told(&mut of_file).await);
    }

    #[tokio::test]
    async fn two_that_watch_the_same_file_do_not_disturb_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join("f")).unwrap();
        let first = Watched::new(&file).unwrap();
        let mut second = Watched::new(&file).unwrap();
        drop(first);
        file.write_all(b"x").unwrap();
        assert!(is_told(&mut second).await);
    }
}
