//! What a disk has left.

use nix::sys::statvfs::statvfs;
use std::{io, path::Path};

/// Bytes that this process may still write below `path`.
///
/// # Errors
/// When the file system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let space = statvfs(path)?;
    let blocks = if nix::unistd::geteuid().is_root() {
        space.blocks_free()
    } else {
        space.blocks_available()
    };
    Ok(blocks.saturating_mul(space.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_says_what_it_has_left() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
        assert!(free_bytes(&dir.path().join("missing")).is_err());
    }
}
