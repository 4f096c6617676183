//! Files of this program: written whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
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

/// Writes `bytes` to `path` so that a reader sees the old or the new content, never a part. Mode
/// 0600.
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

/// The bits that the kernel takes from the mode of what this process makes; all when that is not
/// known.
fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        line.and_then(|bits| u32::from_str_radix(bits.trim(), 8).ok())
            .unwrap_or(0o777)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_replaces_the_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        write_atomic(&path, b"long old content", Durability::Power).unwrap();
        write_atomic(&path, b"new", Durability::Process).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
