use super::set;
use crate::Config;
use jobs::model::{HostVolume, Node};
use nix::sys::statvfs::statvfs;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Room where allocations live: all of it, since what they use already is counted by what they ask
/// for.
pub(super) fn add(node: &mut Node, alloc_dir: &Path) {
    let Ok(found) = statvfs(alloc_dir) else {
        return;
    };
    let block = found.fragment_size();
    let total = block * found.blocks();
    let volume =
        mount_of(alloc_dir).map_or_else(|| alloc_dir.display().to_string(), |(_, device)| device);
    set(node, "unique.storage.volume", volume);
    set(node, "unique.storage.bytestotal", total.to_string());
    node.node_resources.disk.disk_mb = i64::try_from(total / (1024 * 1024)).unwrap_or(i64::MAX);
}

/// Directories that the operator offers to jobs.
pub(super) fn add_volumes(node: &mut Node, config: &Config) {
    let volumes = config.host_volumes.iter();
    node.host_volumes = volumes
        .map(|(name, volume)| {
            let shown = HostVolume {
                name: name.clone(),
                path: volume.path.display().to_string(),
                read_only: volume.read_only,
            };
            (name.clone(), shown)
        })
        .collect();
}

/// Where the file system that holds `path` is mounted, and its device.
pub(crate) fn mount_of(path: &Path) -> Option<(String, String)> {
    let path: PathBuf = fs::canonicalize(path).ok()?;
    longest_mount(&fs::read_to_string("/proc/self/mounts").ok()?, &path)
}

/// The mount with the longest path above `path`; of equal ones the last, which hides the others.
fn longest_mount(mounts: &str, path: &Path) -> Option<(String, String)> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (device, mount) = (fields.next()?, fields.next()?);
            path.starts_with(mount).then_some((mount, device))
        })
        .max_by_key(|(mount, _)| mount.len())
        .map(|(mount, device)| (mount.to_owned(), device.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_above_a_path_holds_it() {
        let mounts =
            "overlay / overlay rw 0 0\n/dev/vda / ext4 rw 0 0\n/dev/vdb /var/lib ext4 rw 0 0\n";
        for (path, mount, device) in [
            ("/var/lib/trivet/alloc", "/var/lib", "/dev/vdb"),
            ("/var/library", "/", "/dev/vda"),
            ("/", "/", "/dev/vda"),
        ] {
            let expected = Some((mount.to_owned(), device.to_owned()));
            assert_eq!(longest_mount(mounts, Path::new(path)), expected, "{path}");
        }
        assert_eq!(longest_mount("", Path::new("/")), None);
    }
}
