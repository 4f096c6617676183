//! Programs of the machine.

use std::path::PathBuf;

/// Where a program is, on `PATH` or where Debian keeps daemons.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/usr/local/sbin"])
        .map(|dir| PathBuf::from(dir).join(program))
        .find(|file| file.is_file())
}
