//! What tasks and this machine use.

use super::{
    drivers::{Measured, Meter},
    fingerprint::{kib, mount_of},
};
use futures_util::future::join_all;
use jobs::model::{TaskName, Timestamp};
use nix::sys::statvfs::statvfs;
use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc, time::Duration};
use sys::{cgroups::WholeUsage, clock, processes::Usage};
use tokio::time::sleep;

/// Time between two looks, over which a share of the processor is measured.
const SAMPLE: Duration = Duration::from_millis(100);
/// File systems that are shown.
const DISKS_MAX: usize = 64;

/// CPU of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuStats {
    /// Percent of one core in the kernel.
    pub system_mode: f64,
    /// Percent of one core in user mode.
    pub user_mode: f64,
    /// Percent of one core in all.
    pub percent: f64,
    /// MHz.
    pub total_ticks: f64,
    /// Periods in which it was held back by its limit.
    pub throttled_periods: u64,
    /// How long it was held back, nanoseconds.
    pub throttled_time: u64,
}

/// Memory of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Resident, bytes.
    pub rss: u64,
    /// Of files, bytes; none where it is not counted.
    pub cache: Option<u64>,
    /// All that counts for its limit, bytes; none where it is not counted.
    pub usage: Option<u64>,
    /// The most of that so far, bytes; none where it is not counted.
    pub max_usage: Option<u64>,
    /// Swapped out, bytes.
    pub swap: u64,
}

/// What a task or an allocation uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ResourceUsage {
    /// CPU.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
}

/// What one task uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskUsage {
    /// Of all its processes.
    pub total: ResourceUsage,
    /// Of each process by its number.
    pub processes: BTreeMap<i32, ResourceUsage>,
}

/// What an allocation uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AllocUsage {
    /// Of all its tasks.
    pub total: ResourceUsage,
    /// Of each running task.
    pub tasks: BTreeMap<TaskName, TaskUsage>,
    /// When.
    pub timestamp: Timestamp,
}

/// Memory of the machine, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostMemory {
    /// All of it.
    pub total: u64,
    /// What programs can get.
    pub available: u64,
    /// What is in use.
    pub used: u64,
    /// What nothing uses at all.
    pub free: u64,
}

/// Time of one core, percent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuTimes {
    /// Such as `cpu0`.
    pub cpu: String,
    /// User mode.
    pub user: f64,
    /// Kernel.
    pub system: f64,
    /// Nothing to do.
    pub idle: f64,
}

/// Room of one file system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskStats {
    /// Device; empty when it is not known.
    pub device: String,
    /// Where it is.
    pub mountpoint: String,
    /// Bytes.
    pub size: u64,
    /// Bytes.
    pub used: u64,
    /// Bytes.
    pub available: u64,
    /// Percent.
    pub used_percent: f64,
    /// Percent.
    pub inodes_used_percent: f64,
}

/// What the machine uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostStats {
    /// Memory.
    pub memory: HostMemory,
    /// Every core in order.
    pub cpu: Vec<CpuTimes>,
    /// Where allocations live.
    pub alloc_dir: DiskStats,
    /// File systems on devices, in the order in which they were mounted; at most 64.
    pub disks: Vec<DiskStats>,
    /// Seconds since the machine's start.
    pub uptime_s: u64,
    /// MHz in use.
    pub cpu_ticks: f64,
}

pub(super) async fn alloc_usage(
    tasks: BTreeMap<TaskName, Arc<dyn Meter>>,
    cpu_mhz: i64,
    cores: u16,
) -> AllocUsage {
    let before = look(&tasks).await;
    let begun = clock::monotonic();
    sleep(SAMPLE).await;
    let after = look(&tasks).await;
    let seconds = (clock::monotonic() - begun).as_secs_f64();
    let mhz = lossy(cpu_mhz) / f64::from(cores.max(1));
    let mut usage = AllocUsage {
        timestamp: clock::now(),
        ..AllocUsage::default()
    };
    for (task, found) in after {
        let earlier = before.get(&task);
        let mut of_task = TaskUsage::default();
        for (pid, now) in found.processes {
            let then = earlier.and_then(|known| known.processes.get(&pid)).copied();
            let used = used(then.unwrap_or(now), now, seconds, mhz);
            add(&mut of_task.total, used);
            of_task.processes.insert(pid, used);
        }
        if let Some(now) = found.whole {
            let then = earlier.and_then(|known| known.whole).unwrap_or(now);
            of_task.total = whole(of_task.total, then, now, seconds, mhz);
        }
        add(&mut usage.total, of_task.total);
        usage.tasks.insert(task, of_task);
    }
    usage
}

/// What every task has used so far. A task that ended is not in it.
async fn look(tasks: &BTreeMap<TaskName, Arc<dyn Meter>>) -> BTreeMap<TaskName, Measured> {
    let asked = tasks.iter().map(|(task, meter)| async {
        let found = meter.measure().await?;
        Some((task.clone(), found))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// What is counted for a task as a whole is better than the sum of its processes: it has those,
/// too, that have ended.
fn whole(
    sum: ResourceUsage,
    then: WholeUsage,
    now: WholeUsage,
    seconds: f64,
    mhz: f64,
) -> ResourceUsage {
    let ticks = |usage: WholeUsage| Usage {
        user_ticks: usage.user_ticks,
        system_ticks: usage.system_ticks,
        ..Usage::default()
    };
    let used = used(ticks(then), ticks(now), seconds, mhz);
    ResourceUsage {
        cpu: CpuStats {
            throttled_periods: now.throttled_periods,
            throttled_time: now.throttled_ns,
            ..used.cpu
        },
        memory: MemoryStats {
            rss: now.resident_bytes.unwrap_or(sum.memory.rss),
            cache: now.cache_bytes,
            swap: now.swap_bytes.unwrap_or(sum.memory.swap),
            usage: now.used_bytes,
            max_usage: now.used_bytes_max,
        },
    }
}

fn used(then: Usage, now: Usage, seconds: f64, mhz: f64) -> ResourceUsage {
    let per_second = lossy(clock::ticks_per_second()) * seconds.max(f64::EPSILON);
    let percent = |now: u64, then: u64| lossy(now.saturating_sub(then)) / per_second * 100.0;
    let user_mode = percent(now.user_ticks, then.user_ticks);
    let system_mode = percent(now.system_ticks, then.system_ticks);
    ResourceUsage {
        cpu: CpuStats {
            system_mode,
            user_mode,
            percent: user_mode + system_mode,
            total_ticks: (user_mode + system_mode) / 100.0 * mhz,
            ..CpuStats::default()
        },
        memory: MemoryStats {
            rss: now.resident_bytes,
            swap: now.swap_bytes,
            ..MemoryStats::default()
        },
    }
}

fn add(total: &mut ResourceUsage, part: ResourceUsage) {
    total.cpu.system_mode += part.cpu.system_mode;
    total.cpu.user_mode += part.cpu.user_mode;
    total.cpu.percent += part.cpu.percent;
    total.cpu.total_ticks += part.cpu.total_ticks;
    total.memory.rss = total.memory.rss.saturating_add(part.memory.rss);
    total.memory.swap = total.memory.swap.saturating_add(part.memory.swap);
    total.cpu.throttled_periods += part.cpu.throttled_periods;
    total.cpu.throttled_time = total
        .cpu
        .throttled_time
        .saturating_add(part.cpu.throttled_time);
    for (sum, more) in [
        (&mut total.memory.cache, part.memory.cache),
        (&mut total.memory.usage, part.memory.usage),
        (&mut total.memory.max_usage, part.memory.max_usage),
    ] {
        *sum = match (*sum, more) {
            (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
            (one, other) => one.or(other),
        };
    }
}

pub(super) async fn host_stats(alloc_dir: &Path, cpu_mhz: i64) -> io::Result<HostStats> {
    let before = core_ticks()?;
    sleep(SAMPLE).await;
    let cpu: Vec<CpuTimes> = core_ticks()?
        .into_iter()
        .zip(before)
        .map(|(now, then)| times(&now, &then))
        .collect();
    let busy: f64 = cpu.iter().map(|core| 100.0 - core.idle).sum();
    let cores = lossy(cpu.len().max(1));
    let uptime = fs::read_to_string("/proc/uptime")?;
    Ok(HostStats {
        memory: host_memory()?,
        alloc_dir: disk(alloc_dir)?,
        disks: disks(),
        uptime_s: uptime
            .split('.')
            .next()
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(0),
        cpu_ticks: busy / 100.0 / cores * lossy(cpu_mhz),
        cpu,
    })
}

struct Core {
    name: String,
    user: u64,
    system: u64,
    idle: u64,
    total: u64,
}

fn core_ticks() -> io::Result<Vec<Core>> {
    let text = fs::read_to_string("/proc/stat")?;
    let cores = text.lines().skip(1).filter(|line| line.starts_with("cpu"));
    Ok(cores
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default().to_owned();
            let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
            // Of proc(5): user nice system idle iowait irq softirq steal; the rest repeats user
            // time.
            let at = |place: usize| ticks.get(place).copied().unwrap_or(0);
            Core {
                name,
                user: at(0) + at(1),
                system: at(2) + at(5) + at(6),
                idle: at(3) + at(4),
                total: ticks.iter().take(8).sum(),
            }
        })
        .collect())
}

fn times(now: &Core, then: &Core) -> CpuTimes {
    let total = lossy(now.total.saturating_sub(then.total)).max(1.0);
    let percent = |now: u64, then: u64| lossy(now.saturating_sub(then)) / total * 100.0;
    CpuTimes {
        cpu: now.name.clone(),
        user: percent(now.user, then.user),
        system: percent(now.system, then.system),
        idle: percent(now.idle, then.idle),
    }
}

fn host_memory() -> io::Result<HostMemory> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let bytes = |name| kib(&info, name).unwrap_or(0) * 1024;
    let (total, available) = (bytes("MemTotal"), bytes("MemAvailable"));
    Ok(HostMemory {
        total,
        available,
        used: total.saturating_sub(available),
        free: bytes("MemFree"),
    })
}

/// The file systems on devices of this machine, each where it is mounted.
fn disks() -> Vec<DiskStats> {
    let kinds = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let found = device_mounts(&kinds, &mounts);
    let found = found.filter_map(|(device, mountpoint)| {
        let room = room(Path::new(mountpoint)).ok()?;
        Some(DiskStats {
            device: device.to_owned(),
            mountpoint: mountpoint.to_owned(),
            ..room
        })
    });
    found.take(DISKS_MAX).collect()
}

/// Device and place of each mount whose kind needs a device.
fn device_mounts<'a>(kinds: &'a str, mounts: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    // Kinds without a device are marked by a word before them.
    let on_device = move |kind: &str| kinds.lines().any(|line| line.trim_start() == kind);
    mounts.lines().filter_map(move |line| {
        let mut words = line.split_ascii_whitespace();
        let (device, place, kind) = (words.next()?, words.next()?, words.next()?);
        on_device(kind).then_some((device, place))
    })
}

fn disk(path: &Path) -> io::Result<DiskStats> {
    let (mountpoint, device) =
        mount_of(path).unwrap_or_else(|| (path.display().to_string(), String::new()));
    Ok(DiskStats {
        device,
        mountpoint,
        ..room(path)?
    })
}

/// How full the file system of a path is.
pub(super) fn room(path: &Path) -> io::Result<DiskStats> {
    let found = statvfs(path)?;
    let block = found.fragment_size();
    let size = block * found.blocks();
    let available = block * found.blocks_available();
    let used = size.saturating_sub(block * found.blocks_free());
    let inodes_used = found.files().saturating_sub(found.files_free());
    let share = |part: u64, whole: u64| lossy(part) / lossy(whole.max(1)) * 100.0;
    Ok(DiskStats {
        size,
        used,
        available,
        // Of what programs of users can have: some blocks are kept back.
        used_percent: share(used, used + available),
        inodes_used_percent: share(inodes_used, found.files()),
        ..DiskStats::default()
    })
}

/// A count as a floating-point number; past 2^53 the last digits are lost, which no share shows.
fn lossy(count: impl TryInto<i64>) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "shares and frequencies need few digits"
    )]
    let number = count.try_into().unwrap_or(i64::MAX) as f64;
    number
}

#[cfg(test)]
mod tests {
    use super::device_mounts;

    #[test]
    fn only_what_lies_on_a_device_is_a_disk() {
        let kinds = "nodev\tproc\nnodev\ttmpfs\n\text4\n\tvfat\n";
        let mounts = "/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n\
                      /dev/vda /run/netns ext4 rw 0 0\n/dev/vdb1 /boot vfat rw 0 0\nodd\n";
        let found: Vec<_> = device_mounts(kinds, mounts).collect();
        let expected = [
            ("/dev/vda", "/"),
            ("/dev/vda", "/run/netns"),
            ("/dev/vdb1", "/boot"),
        ];
        assert_eq!(found, expected);
    }
}
