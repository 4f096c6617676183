use super::set;
use jobs::model::Node;
use nix::sys::statvfs::statvfs;
use std::path::Path;

/// Room where allocations live.
pub(super) fn add(node: &mut Node, alloc_dir: &Path) {
    let Ok(found) = statvfs(alloc_dir) else {
        return;
    };
    let block = u64::from(found.fragment_size());
    let total = block * u64::from(found.blocks());
    let free = block * u64::from(found.blocks_available());
    set(
        node,
        "unique.storage.volume",
        alloc_dir.display().to_string(),
    );
    set(node, "unique.storage.bytestotal", total.to_string());
    set(node, "unique.storage.bytesfree", free.to_string());
    node.node_resources.disk.disk_mb = i64::try_from(free / (1024 * 1024)).unwrap_or(i64::MAX);
}
