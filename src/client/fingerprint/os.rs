use super::set;
use crate::sys::processes;
use jobs::model::Node;
use std::{fs, path::Path};

/// Kernel and distribution.
pub(super) fn add(node: &mut Node) {
    set(node, "kernel.name", std::env::consts::OS);
    set(node, "kernel.arch", std::env::consts::ARCH);
    if let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") {
        set(node, "kernel.version", release.trim());
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    for (key, name) in [("os.name", "ID"), ("os.version", "VERSION_ID")] {
        let value = release
            .lines()
            .filter_map(|line| line.split_once('='))
            .find(|(found, _)| *found == name);
        if let Some((_, value)) = value {
            set(node, key, value.trim_matches('"'));
        }
    }
    set(node, "os.signals", processes::signal_names().join(","));
    let cgroups = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "2"
    } else {
        "1"
    };
    set(node, "os.cgroups.version", cgroups);
}
