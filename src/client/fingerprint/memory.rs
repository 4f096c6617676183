use super::set;
use jobs::model::Node;
use std::fs;

/// Memory of the machine.
pub(super) fn add(node: &mut Node) {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if let Some(kib) = kib(&info, "MemTotal") {
        set(node, "memory.totalbytes", (kib * 1024).to_string());
        node.node_resources.memory.memory_mb = i64::try_from(kib / 1024).unwrap_or(i64::MAX);
    }
}

/// One line of the kernel's memory table, KiB.
pub(crate) fn kib(info: &str, name: &str) -> Option<u64> {
    let (_, value) = info
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)?;
    value.split_whitespace().next()?.parse().ok()
}
