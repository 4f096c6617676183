use super::set;
use jobs::model::Node;
use std::{fs, path::Path};
use sys::landlock;

/// The signals that job files may name, in the order of their numbers: jobs that ask for one are
/// placed where it is listed.
///
/// Source: `os.signals` of the jobs API's clients, which list them in no order.
const SIGNALS: [&str; 27] = [
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGIOT", "SIGBUS", "SIGFPE",
    "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGCONT",
    "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGXCPU", "SIGXFSZ", "SIGPROF", "SIGWINCH",
    "SIGIO", "SIGSYS",
];

/// Kernel and distribution.
pub(super) fn add(node: &mut Node) {
    set(node, "kernel.name", std::env::consts::OS);
    set(node, "kernel.arch", std::env::consts::ARCH);
    if let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") {
        set(node, "kernel.version", release.trim());
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |name: &str| {
        let mut lines = release.lines().filter_map(|line| line.split_once('='));
        let (_, value) = lines.find(|(found, _)| *found == name)?;
        Some(value.trim_matches('"'))
    };
    let name = value("ID");
    if let Some(name) = name {
        set(node, "os.name", name);
    }
    // Debian keeps its minor version elsewhere.
    let minor = fs::read_to_string("/etc/debian_version").ok();
    let minor = minor.as_deref().map(str::trim);
    let minor = minor.filter(|_| name == Some("debian"));
    if let Some(version) = minor.or_else(|| value("VERSION_ID")) {
        set(node, "os.version", version);
    }
    set(node, "os.signals", SIGNALS.join(","));
    if let Some(version) = landlock::version() {
        set(node, "kernel.landlock", format!("v{version}"));
    }
    let cgroups = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "2"
    } else {
        "1"
    };
    set(node, "os.cgroups.version", cgroups);
}

#[cfg(test)]
mod tests {
    use super::SIGNALS;
    use sys::processes::signal_number;

    #[test]
    fn signals_are_known_and_stand_in_the_order_of_their_numbers() {
        let numbers: Vec<i32> = SIGNALS.map(|name| signal_number(name).unwrap()).to_vec();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}
