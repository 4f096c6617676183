//! Processes: who they are, how they are started, signaled and ended.

use super::{
    cgroups::{Cgroup, WholeUsage},
    isolation::{Isolation, Prepared},
    limits::Controllers,
    network, spawn,
};
use nix::{
    errno::Errno,
    libc,
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, User, setsid},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
};
use tokio::io::unix::AsyncFd;

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// When it started, in clock ticks since the machine's start.
    pub start_ticks: u64,
}

/// The environment of this process as text; what is none has other letters in its place.
pub fn environment() -> BTreeMap<String, String> {
    texts(std::env::vars_os())
}

fn texts(variables: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    variables
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// What the kernel counts for one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode, clock ticks.
    pub user_ticks: u64,
    /// CPU time in the kernel, clock ticks.
    pub system_ticks: u64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Memory that was swapped out, bytes.
    pub swap_bytes: u64,
}

impl Identity {
    /// The process that has `pid` now; none when there is none.
    pub fn of(pid: i32) -> Option<Self> {
        let start_ticks = stat(pid)?.start_ticks;
        Some(Self { pid, start_ticks })
    }

    /// True while this very process exists and is no zombie.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|now| now.start_ticks == self.start_ticks && !now.is_zombie)
    }

    /// Kills the process, unless it is gone.
    ///
    /// # Errors
    /// `ESRCH` when the process is gone, `EPERM` when it belongs to somebody else.
    pub fn kill(&self) -> io::Result<()> {
        // The descriptor pins the process, so that between the check and the signal its number
        // cannot pass to another one.
        let _pin = pidfd_open(self.pid)?;
        if !self.is_alive() {
            return Err(Errno::ESRCH.into());
        }
        kill(Pid::from_raw(self.pid), Signal::SIGKILL).map_err(Into::into)
    }

    /// True when the number has passed on to a later process, and with it what is named by it.
    fn is_replaced(&self) -> bool {
        stat(self.pid).is_some_and(|now| now.start_ticks != self.start_ticks)
    }

    /// What the process used so far.
    pub fn usage(&self) -> Option<Usage> {
        let now = stat(self.pid)?;
        (now.start_ticks == self.start_ticks).then(|| Usage {
            swap_bytes: swap_bytes(self.pid),
            ..now.usage
        })
    }
}

/// Every process of one run of a task: its supervisor and whatever came of the task, also after
/// both are dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Leader of the session in which the task was started.
    pub supervisor: Identity,
    /// The task's own process, leader of a process group.
    pub task: Identity,
    /// The task's control group; none where there are none.
    pub cgroup: Option<PathBuf>,
    /// Further control groups of the task, which limit and count.
    #[serde(default)]
    pub controllers: Controllers,
}

impl Tree {
    /// Kills every process of it, and removes its control group when none is left.
    ///
    /// A process that left session and group is found by its control group only.
    pub fn kill(&self) -> TreeEnd {
        self.supervisor.kill().ok();
        let group = self.cgroup.as_deref().map(Cgroup::at);
        if let Some(group) = &group {
            group.kill();
        }
        let members = self.members();
        for member in &members {
            member.kill().ok();
        }
        let emptied = group.is_none_or(|group| group.remove().is_ok()) && self.controllers.remove();
        if emptied && members.is_empty() && !self.supervisor.is_alive() {
            TreeEnd::Gone
        } else {
            TreeEnd::Dying
        }
    }

    /// Numbers of the task's processes, without the supervisor.
    pub fn processes(&self) -> Vec<i32> {
        let in_group = self.cgroup.as_deref().map(Cgroup::at);
        match in_group.map(|group| group.processes()).unwrap_or_default() {
            empty if empty.is_empty() && self.task.is_alive() => tree(self.task.pid),
            found => found,
        }
    }

    /// What is counted for all processes together.
    pub fn whole_usage(&self) -> Option<WholeUsage> {
        self.controllers.usage(self.cgroup.as_deref())
    }

    /// Living processes of the task's group and of the supervisor's session. Neither needs its
    /// leader: a number does not pass on while it names a group or a session in which somebody is.
    fn members(&self) -> Vec<Identity> {
        let group = (!self.task.is_replaced()).then_some(self.task.pid);
        let session = (!self.supervisor.is_replaced()).then_some(self.supervisor.pid);
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != self.supervisor.pid)
            .filter_map(|pid| Some((pid, stat(pid)?)))
            .filter(|(_, now)| {
                (Some(now.group) == group || Some(now.session) == session)
                    && now.start_ticks >= self.supervisor.start_ticks
                    && !now.is_zombie
            })
            .map(|(pid, now)| Identity {
                pid,
                start_ticks: now.start_ticks,
            })
            .collect()
    }
}

/// What an attempt to end a [`Tree`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeEnd {
    /// Nothing is left.
    Gone,
    /// Something was still there and was sent SIGKILL: look again.
    Dying,
}

/// The processes below `root` and `root` itself.
pub fn tree(root: i32) -> Vec<i32> {
    /// Far more than a task starts; a bound against a table that changes while it is read.
    const PROCESSES_MAX: usize = 4096;
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() && found.len() < PROCESSES_MAX {
        if let Some(pid) = found.get(next) {
            found.extend(children(*pid));
        }
        next += 1;
    }
    found
}

/// Direct children of a process, of all its threads.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

struct Stat {
    group: i32,
    session: i32,
    start_ticks: u64,
    is_zombie: bool,
    usage: Usage,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold spaces and parentheses.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // Field 3 of proc(5) is the first one here.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let id = |field: usize| fields.get(field - 3)?.parse::<i32>().ok();
    Some(Stat {
        group: id(5)?,
        session: id(6)?,
        start_ticks: number(22)?,
        is_zombie: matches!(fields.first(), Some(&"Z" | &"X")),
        usage: Usage {
            user_ticks: number(14)?,
            system_ticks: number(15)?,
            resident_bytes: number(24)? * page_bytes(),
            swap_bytes: 0,
        },
    })
}

/// What of a process is swapped out; 0 where the kernel does not tell.
fn swap_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let kib = lines.find_map(|line| line.strip_prefix("VmSwap:"));
    kib.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib.saturating_mul(1024))
}

fn page_bytes() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|bytes| u64::try_from(bytes).ok())
        .unwrap_or(4096)
}

#[expect(unsafe_code, reason = "the system call has no safe wrapper")]
fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let descriptor = i32::try_from(Errno::result(result)?).map_err(io::Error::other)?;
    // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The end of a process, to be waited for without collecting it.
#[derive(Debug)]
pub struct ProcessEnd {
    descriptor: AsyncFd<OwnedFd>,
}

impl ProcessEnd {
    /// Of the process that has `pid` now.
    ///
    /// # Errors
    /// `ESRCH` when there is no such process.
    #[expect(
        unsafe_code,
        reason = "the runtime has no safe way to wait for a descriptor"
    )]
    pub fn of(pid: i32) -> io::Result<Self> {
        let descriptor = pidfd_open(pid)?;
        // SAFETY: what is handed over owns the descriptor, always answers the same one and closes
        // it only when it is dropped, after the runtime has forgotten it.
        let descriptor = unsafe { AsyncFd::register(descriptor) }?;
        Ok(Self { descriptor })
    }

    /// Waits until the process has ended. Its number stays its own until its parent collects it.
    pub async fn wait(&self) {
        // An error means that the runtime ends.
        self.descriptor.readable().await.ok();
    }
}

/// Makes this process a session of its own, which outlives the terminal and the parent.
pub fn detach() {
    // It fails only for a process that already leads a group, which is as good.
    setsid().ok();
}

/// Makes this process the one to which orphans below it return.
pub fn adopt_orphans() {
    prctl::set_child_subreaper(true).ok();
}

/// Lets SIGCHLD arrive through the returned descriptor instead of by interruption.
///
/// # Errors
/// Any error of the system calls.
pub fn child_signals() -> io::Result<OwnedFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.thread_block()?;
    let descriptor = nix::sys::signalfd::SignalFd::with_flags(
        &set,
        nix::sys::signalfd::SfdFlags::SFD_NONBLOCK | nix::sys::signalfd::SfdFlags::SFD_CLOEXEC,
    )?;
    descriptor.as_fd().try_clone_to_owned()
}

/// What to start as a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskProcess {
    /// Program, an absolute path.
    pub program: PathBuf,
    /// Arguments without the program's name.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub dir: PathBuf,
    /// Name of the user; empty is this process's own.
    pub user: String,
    /// The file of the network namespace that it enters; none for that of this process.
    #[serde(default)]
    pub network: Option<PathBuf>,
    /// What it sees of the machine; none for all of it. Program and working directory are paths
    /// inside.
    #[serde(default)]
    pub isolation: Option<Isolation>,
}

/// Starts a task in a process group of its own; it is killed when this process dies. `joins` are
/// what [`Cgroup::create`] opened.
///
/// # Errors
/// An unknown user, or whatever the start of the program failed with.
pub fn spawn_task(
    task: &TaskProcess,
    stdout: OwnedFd,
    stderr: OwnedFd,
    joins: Vec<fs::File>,
) -> io::Result<i32> {
    let user = match task.user.as_str() {
        "" => None,
        name => Some(user_ids(name)?),
    };
    let env = task.env.iter();
    let entry = |(name, value): (&String, &String)| {
        spawn::text(&[name.as_ref(), "=".as_ref(), value.as_ref()])
    };
    spawn::spawn(spawn::Start {
        program: spawn::text(&[task.program.as_os_str()])?,
        args: task
            .args
            .iter()
            .map(|arg| spawn::text(&[arg.as_ref()]))
            .collect::<io::Result<_>>()?,
        env: env.map(entry).collect::<io::Result<_>>()?,
        dir: spawn::text(&[task.dir.as_os_str()])?,
        streams: [fs::File::open("/dev/null")?.into(), stdout, stderr],
        user,
        joins: joins.into_iter().map(OwnedFd::from).collect(),
        network: task.network.as_deref().map(network::open).transpose()?,
        isolation: task.isolation.as_ref().map(Prepared::new).transpose()?,
    })
}

/// The way into what an isolated task sees.
#[derive(Debug)]
pub struct Entrance {
    process: OwnedFd,
    user: (u32, u32),
    groups: Vec<fs::File>,
}

impl Entrance {
    /// Of a task that runs, for a user of the host.
    ///
    /// # Errors
    /// When the task has ended or there is no such user.
    pub fn of(task: &Tree, user: &str) -> io::Result<Self> {
        let process = pidfd_open(task.task.pid)?;
        if !task.task.is_alive() {
            return Err(io::Error::other("the task has ended"));
        }
        let groups = task
            .cgroup
            .as_deref()
            .into_iter()
            .chain(task.controllers.groups());
        Ok(Self {
            process,
            user: user_ids(user)?,
            groups: groups
                .map(|group| {
                    fs::OpenOptions::new()
                        .write(true)
                        .open(group.join("cgroup.procs"))
                })
                .collect::<io::Result<_>>()?,
        })
    }

    /// Enters it with this process, which must have one thread. What it starts afterwards belongs
    /// to the task's table of processes, too.
    ///
    /// # Errors
    /// When this process may not, or the task has ended.
    pub fn enter(&self) -> io::Result<()> {
        let all = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET;
        setns(&self.process, all)?;
        Ok(())
    }
}

/// Runs a program inside of a task that this process has entered, on this process's streams and
/// with its environment, until it ends. It is killed when this process dies.
///
/// # Errors
/// Whatever the start of the program failed with.
pub fn run_entered(
    entrance: &Entrance,
    program: &Path,
    args: &[String],
    dir: &Path,
    rights: (u64, u64),
) -> io::Result<Ended> {
    let texts = |list: &[String]| -> io::Result<Vec<_>> {
        list.iter()
            .map(|arg| spawn::text(&[arg.as_ref()]))
            .collect()
    };
    let env = std::env::vars_os();
    let entry = |(name, value): (OsString, OsString)| spawn::text(&[&name, "=".as_ref(), &value]);
    let copies = [
        io::stdin().as_fd().try_clone_to_owned()?,
        io::stdout().as_fd().try_clone_to_owned()?,
        io::stderr().as_fd().try_clone_to_owned()?,
    ];
    let joins = entrance
        .groups
        .iter()
        .map(|group| group.try_clone().map(OwnedFd::from));
    let pid = spawn::spawn(spawn::Start {
        program: spawn::text(&[program.as_os_str()])?,
        args: texts(args)?,
        env: env.map(entry).collect::<io::Result<_>>()?,
        dir: spawn::text(&[dir.as_os_str()])?,
        streams: copies,
        user: Some(entrance.user),
        joins: joins.collect::<io::Result<_>>()?,
        network: None,
        isolation: Some(Prepared::inside(rights)),
    })?;
    let pid = Pid::from_raw(pid);
    give_terminal(pid);
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Ended { code, signal: 0 }),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                let signal = signal as i32;
                return Ok(Ended {
                    code: 128 + signal,
                    signal,
                });
            }
            Err(Errno::EINTR) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Lets a process group read from the terminal, when the standard input is one.
#[expect(unsafe_code, reason = "signal handlers have no safe form")]
fn give_terminal(group: Pid) {
    // SAFETY: to ignore a signal runs no code of ours.
    let ignored =
        unsafe { nix::sys::signal::signal(Signal::SIGTTOU, nix::sys::signal::SigHandler::SigIgn) };
    if ignored.is_ok() && nix::unistd::tcsetpgrp(io::stdin(), group).is_ok() {
        // It may have tried to read a moment ago.
        kill(Pid::from_raw(-group.as_raw()), Signal::SIGCONT).ok();
    }
}

/// Numbers of a user and its main group.
///
/// # Errors
/// When there is no such user.
pub fn user_ids(name: &str) -> io::Result<(u32, u32)> {
    let user = User::from_name(name)?.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("user `{name}` does not exist"),
        )
    })?;
    Ok((user.uid.as_raw(), user.gid.as_raw()))
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Exit code; 128 + signal for one that a signal ended.
    pub code: i32,
    /// The signal; 0 for none.
    pub signal: i32,
}

/// Collects every child that ended since the last call.
pub fn reap() -> Vec<(i32, Ended)> {
    let mut ended = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => {
                ended.push((pid.as_raw(), Ended { code, signal: 0 }));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                let signal = signal as i32;
                let code = 128 + signal;
                ended.push((pid.as_raw(), Ended { code, signal }));
            }
            Err(Errno::EINTR) | Ok(WaitStatus::Stopped(..) | WaitStatus::Continued(_)) => {}
            Ok(_) | Err(_) => return ended,
        }
    }
}

/// True while this process has children, ended or not.
pub fn has_children() -> bool {
    !matches!(
        nix::sys::wait::waitid(
            nix::sys::wait::Id::All,
            WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT
        ),
        Err(Errno::ECHILD)
    )
}

/// Kills every child of this process and every orphan that returned to it. `leader` is a process
/// group.
pub fn kill_all_children(leader: i32) {
    kill(Pid::from_raw(-leader), Signal::SIGKILL).ok();
    for child in children(Pid::this().as_raw()) {
        kill(Pid::from_raw(child), Signal::SIGKILL).ok();
    }
}

/// Sends a signal to a process that this process has not collected yet.
///
/// # Errors
/// As of the system call.
pub fn signal(pid: i32, signal: i32) -> io::Result<()> {
    let signal = Signal::try_from(signal)?;
    kill(Pid::from_raw(pid), signal).map_err(Into::into)
}

/// Sends a signal to a process group whose leader this process has not collected yet.
///
/// # Errors
/// As of the system call.
pub fn signal_group(leader: i32, signal: i32) -> io::Result<()> {
    let signal = Signal::try_from(signal)?;
    kill(Pid::from_raw(-leader), signal).map_err(Into::into)
}

/// The number of a signal by its name, with or without `SIG`.
pub fn signal_number(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    // Its older name, which this machine's list of names leaves out.
    let known = if full == "SIGIOT" { "SIGABRT" } else { &full };
    known.parse::<Signal>().ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn an_environment_that_is_no_text_is_no_reason_to_panic() {
        let odd = OsString::from_vec(vec![b'a', 0xff]);
        let found = texts([("NAME".into(), odd.clone()), (odd, "x".into())].into_iter());
        assert_eq!(found["NAME"], "a\u{fffd}");
        assert_eq!(found["a\u{fffd}"], "x");
    }
}
