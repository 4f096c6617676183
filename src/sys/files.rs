//! Files: written whole or not at all, and opened without leaving a directory.

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
    sync::OnceLock,
};

/// Whether a write must survive a loss of power, or only the end of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced to the disk before it counts.
    Power,
    /// In the page cache before it counts: survives `kill -9`, not a power cut.
    Process,
}

/// Writes `bytes` to `path` so that a reader sees the old or the new content, never a part. Mode 0600.
///
/// # Errors
/// Any error of the file system; the old content is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut name = OsString::from(path.as_os_str());
    name.push(".new");
    let temporary = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    if durability == Durability::Power {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&temporary, path)?;
    if durability == Durability::Power
        && let Some(parent) = path.parent()
    {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Creates a directory with its parents and gives it exactly `mode`.
///
/// # Errors
/// Any error of the file system.
pub fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) if mode & umask() == 0 => return Ok(()),
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(path)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(error),
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The bits that the kernel takes from the mode of what this process makes; all when that is not known.
fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        line.and_then(|bits| u32::from_str_radix(bits.trim(), 8).ok())
            .unwrap_or(0o777)
    })
}

/// A directory that paths given by others cannot leave: neither by `..` nor by symbolic links.
#[derive(Debug)]
pub struct Directory {
    file: OwnedFd,
}

impl Directory {
    /// Opens the directory at `path`, which is trusted.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_DIRECTORY.bits())
            .open(path)?;
        Ok(Self { file: file.into() })
    }

    /// Opens what stands at `path` below it for reading. A leading `/` means the directory itself.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] when the path leaves the directory, and any error of the file system.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        // Without blocking: a named pipe must not hold the reader.
        self.open_below(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())
    }

    /// Creates or replaces the file at `path` below it.
    ///
    /// # Errors
    /// As [`Directory::open_file`].
    pub fn create_file(&self, path: &Path, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        let file = self.open_below(path, flags, Mode::from_bits_truncate(mode))?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(file)
    }

    /// Creates the directory at `path` below it with its parents, and opens it.
    ///
    /// # Errors
    /// As [`Directory::open_file`].
    pub fn create_directory(&self, path: &Path) -> io::Result<Self> {
        let mut reached = PathBuf::new();
        for component in relative(path).components() {
            reached.push(component);
            let parent = reached.parent().unwrap_or_else(|| Path::new(""));
            let parent = self.open_file(parent)?;
            let Some(name) = reached.file_name() else {
                return Err(leaves(path));
            };
            match nix::sys::stat::mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let file = self.open_below(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
        Ok(Self { file: file.into() })
    }

    /// A path by which this process reaches the open directory, whatever became of its name.
    pub fn reach(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    fn open_below(&self, path: &Path, flags: OFlag, mode: Mode) -> io::Result<File> {
        let inside = relative(path);
        let inside = if inside.as_os_str().is_empty() {
            Path::new(".")
        } else {
            inside
        };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .mode(mode)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(&self.file, inside, how) {
            Ok(file) => Ok(file.into()),
            Err(Errno::EXDEV | Errno::ELOOP) => Err(leaves(path)),
            Err(error) => Err(error.into()),
        }
    }
}

/// True when following `path` step by step never rises above its start.
pub fn stays_below(path: &Path) -> bool {
    let mut depth = 0_usize;
    for component in path.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    true
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn leaves(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("path `{}` leaves the directory", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_path_cannot_leave_the_directory() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let inside = outside.path().join("inside");
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("file"), "content").unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.join("up")).unwrap();
        std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
        let directory = Directory::open(&inside).unwrap();
        for path in [
            "up/secret",
            "link",
            "../secret",
            "a/../../secret",
            "/../secret",
        ] {
            let error = directory.open_file(Path::new(path)).unwrap_err();
            assert!(
                matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
                ),
                "{path}: {error}"
            );
            assert!(directory.create_file(Path::new(path), 0o644).is_err());
        }
        let mut text = String::new();
        let mut file = directory.open_file(Path::new("/file")).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert!(directory.create_directory(Path::new("up/x")).is_err());
        directory.create_directory(Path::new("x/y/z")).unwrap();
        assert!(inside.join("x/y/z").is_dir());
    }

    #[test]
    fn depth_decides_whether_a_path_stays() {
        for (path, expected) in [
            ("a/b", true),
            ("a/../b", true),
            ("../a", false),
            ("a/../../b", false),
            ("/etc", true),
        ] {
            assert_eq!(stays_below(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn an_atomic_write_replaces_the_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        write_atomic(&path, b"long old content", Durability::Power).unwrap();
        write_atomic(&path, b"new", Durability::Process).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
