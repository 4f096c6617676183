use super::set;
use jobs::model::{Node, NodeCpu};
use std::{fs, thread::available_parallelism};

/// Assumed where the machine does not tell, as virtual ones do not.
const MHZ_UNKNOWN: i64 = 2000;

/// Architecture, cores and compute in MHz.
pub(super) fn add(node: &mut Node) {
    let cores =
        available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX));
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mhz = max_mhz()
        .or_else(|| current_mhz(&info))
        .unwrap_or(MHZ_UNKNOWN);
    let total = i64::from(cores) * mhz;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    set(node, "cpu.arch", arch);
    set(node, "cpu.numcores", cores.to_string());
    set(node, "cpu.reservablecores", cores.to_string());
    set(node, "cpu.frequency", mhz.to_string());
    set(node, "cpu.totalcompute", total.to_string());
    set(node, "cpu.usablecompute", total.to_string());
    if let Some(model) = field(&info, "model name") {
        set(node, "cpu.modelname", model);
    }
    node.node_resources.cpu = NodeCpu {
        cpu_shares: total,
        total_cpu_cores: cores,
        reservable_cpu_cores: (0..cores).collect(),
    };
}

fn max_mhz() -> Option<i64> {
    let path = "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq";
    let khz: i64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    Some(khz / 1000)
}

fn current_mhz(info: &str) -> Option<i64> {
    let (whole, _) = field(info, "cpu MHz")?.split_once('.')?;
    whole.parse().ok().filter(|mhz| *mhz > 0)
}

/// The value of the first line `name : value`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}
