//! What an isolated program sees of the machine: a root of its own, made of mounts that nobody else
//! sees, and namespaces of its own.
//!
//! Everything that may allocate is done before the process is made; what is left to the process
//! itself are system calls. Mounts are copied from the host first and put in their places inside:
//! places are resolved beneath the new root without following links, so that nothing a task has
//! left there leads elsewhere.

use super::{directory::Directory, seccomp};
use nix::{errno::Errno, libc, sched::CloneFlags};
use serde::{Deserialize, Serialize};
use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    ptr,
};

/// What an isolated program sees of the machine, and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// The directory that becomes its root.
    pub root: PathBuf,
    /// What is mounted in it, those above others first.
    pub mounts: Vec<Bind>,
    /// It sees no other processes than its own.
    pub private_pid: bool,
    /// It shares no memory or queues with others.
    pub private_ipc: bool,
    /// Name of the machine inside; empty for that of the host.
    pub hostname: String,
    /// Capabilities that it can have at all, a bit for each.
    pub bounding: u64,
    /// Capabilities that it has although its user is not root.
    pub ambient: u64,
}

/// A file or directory of the host inside of a root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Path on the host.
    pub source: PathBuf,
    /// Path inside.
    pub target: PathBuf,
    /// Nobody inside may write to it.
    pub read_only: bool,
    /// How later mounts of one side reach the other.
    pub propagation: Propagation,
}

/// How later mounts of one side reach the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the host to the task.
    HostToTask,
    /// Both ways.
    Bidirectional,
}

/// Devices of the host that every task has.
const DEVICES: [&CStr; 6] = [
    c"/dev/null",
    c"/dev/zero",
    c"/dev/full",
    c"/dev/random",
    c"/dev/urandom",
    c"/dev/tty",
];
/// Links of the device directory.
const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
    (c"pts/ptmx", c"/dev/ptmx"),
];
/// Parts of the process table through which a task could change the machine.
const PROC_READ_ONLY: [&CStr; 5] = [
    c"/proc/bus",
    c"/proc/fs",
    c"/proc/irq",
    c"/proc/sys",
    c"/proc/sysrq-trigger",
];
/// Parts of it that tell too much.
const PROC_HIDDEN: [&CStr; 4] = [
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/timer_list",
    c"/proc/sched_debug",
];
/// Directories inside in which something is mounted in any case.
const OWN_DIRS: [&str; 3] = ["dev", "proc", "sys"];

const OPEN_TREE_CLONE: libc::c_uint = 1;
const AT_RECURSIVE: libc::c_int = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const RESOLVE_NO_SYMLINKS: u64 = 0x4;
const RESOLVE_IN_ROOT: u64 = 0x10;
const NAMESPACE_FLAGS: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// An [`Isolation`] of which only system calls are left to make.
#[derive(Debug)]
pub(super) struct Prepared {
    flags: CloneFlags,
    /// None for a process that is inside already.
    root: Option<(OwnedFd, CString)>,
    mounts: Vec<(OwnedFd, CString)>,
    devices: Vec<(OwnedFd, &'static CStr)>,
    hostname: Option<CString>,
    bounding: u64,
    ambient: u64,
    filter: Vec<libc::sock_filter>,
}

impl Prepared {
    /// Makes the places of all mounts and copies what is mounted there.
    ///
    /// # Errors
    /// When a source is gone, something in the root is in the way, or the kernel is too old.
    pub(super) fn new(isolation: &Isolation) -> io::Result<Self> {
        let within = |what: &Path| {
            let what = what.display().to_string();
            move |error: io::Error| io::Error::new(error.kind(), format!("`{what}`: {error}"))
        };
        let root = Directory::open(&isolation.root).map_err(within(&isolation.root))?;
        for name in OWN_DIRS {
            root.create_directory(Path::new(name))
                .map_err(within(Path::new(name)))?;
        }
        let mut mounts = Vec::new();
        for bind in &isolation.mounts {
            let target = bind.target.strip_prefix("/").unwrap_or(&bind.target);
            let is_covered = isolation
                .mounts
                .iter()
                .any(|other| other.target != bind.target && bind.target.starts_with(&other.target));
            // A place inside of another mount is the other one's.
            if !is_covered {
                make_place(&root, bind, target).map_err(within(&bind.target))?;
            }
            let tree = copy(&bind.source).map_err(within(&bind.source))?;
            let propagation = match bind.propagation {
                Propagation::Private => libc::MS_PRIVATE,
                Propagation::HostToTask => libc::MS_SLAVE,
                Propagation::Bidirectional => libc::MS_SHARED,
            };
            let read_only = if bind.read_only { MOUNT_ATTR_RDONLY } else { 0 };
            set(&tree, read_only | MOUNT_ATTR_NOSUID, propagation).map_err(within(&bind.source))?;
            mounts.push((tree, CString::new(target.as_os_str().as_bytes())?));
        }
        let own = copy(&isolation.root).map_err(within(&isolation.root))?;
        set(&own, MOUNT_ATTR_NOSUID, libc::MS_PRIVATE)?;
        let mut devices = Vec::new();
        for device in DEVICES {
            // Some machines have no terminal.
            if let Ok(tree) = copy(Path::new(std::ffi::OsStr::from_bytes(device.to_bytes()))) {
                devices.push((tree, device));
            }
        }
        let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
        flags.set(CloneFlags::CLONE_NEWPID, isolation.private_pid);
        flags.set(CloneFlags::CLONE_NEWIPC, isolation.private_ipc);
        let hostname = Some(&isolation.hostname).filter(|name| !name.is_empty());
        Ok(Self {
            flags,
            root: Some((own, CString::new(isolation.root.as_os_str().as_bytes())?)),
            mounts,
            devices,
            hostname: hostname
                .map(|name| CString::new(name.as_bytes()))
                .transpose()?,
            bounding: isolation.bounding,
            ambient: isolation.ambient,
            filter: seccomp::filter(),
        })
    }

    /// For a process that is inside already, with these capabilities: only what it may do is left.
    pub(super) fn inside((bounding, ambient): (u64, u64)) -> Self {
        Self {
            flags: CloneFlags::empty(),
            root: None,
            mounts: Vec::new(),
            devices: Vec::new(),
            hostname: None,
            bounding,
            ambient,
            filter: seccomp::filter(),
        }
    }

    /// Namespaces that the process is made with.
    pub(super) fn flags(&self) -> CloneFlags {
        self.flags
    }

    /// True when the process sees no parent: its table of processes is another one.
    pub(super) fn has_own_processes(&self) -> bool {
        self.flags.contains(CloneFlags::CLONE_NEWPID) || self.root.is_none()
    }

    /// Enters the root. Called by the process itself, which is root still.
    #[expect(unsafe_code, reason = "the safe forms of these calls may allocate")]
    pub(super) fn enter(&self) -> Result<(), Errno> {
        let Some((tree, root)) = &self.root else {
            return Ok(());
        };
        let none = ptr::null();
        // SAFETY: system calls on texts and descriptors that `self` owns; none writes to memory.
        unsafe {
            mount(
                none,
                c"/".as_ptr(),
                none,
                libc::MS_REC | libc::MS_PRIVATE,
                ptr::null(),
            )?;
            move_to_path(tree.as_raw_fd(), root)?;
            Errno::result(libc::chdir(root.as_ptr()))?;
            for (tree, target) in &self.mounts {
                let place = open_in_root(target)?;
                let moved = libc::syscall(
                    libc::SYS_move_mount,
                    tree.as_raw_fd(),
                    c"".as_ptr(),
                    place,
                    c"".as_ptr(),
                    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
                );
                let moved = Errno::result(moved);
                libc::close(place);
                moved?;
            }
            let here = c".".as_ptr();
            Errno::result(libc::syscall(libc::SYS_pivot_root, here, here))?;
            Errno::result(libc::umount2(here, libc::MNT_DETACH))?;
            Errno::result(libc::chdir(c"/".as_ptr()))?;
        }
        self.mount_own()?;
        if let Some(name) = &self.hostname {
            // SAFETY: the kernel reads as many bytes as the text has.
            let set = unsafe { libc::sethostname(name.as_ptr(), name.as_bytes().len()) };
            Errno::result(set)?;
        }
        Ok(())
    }

    /// Mounts what belongs to the namespaces: processes, devices, the kernel's facts.
    #[expect(unsafe_code, reason = "the safe forms of these calls may allocate")]
    fn mount_own(&self) -> Result<(), Errno> {
        let none = ptr::null();
        // SAFETY: as in `enter`.
        unsafe {
            let proc = c"proc".as_ptr();
            mount(proc, c"/proc".as_ptr(), proc, NAMESPACE_FLAGS, ptr::null())?;
            let sys = c"sysfs".as_ptr();
            // Not everywhere: it shows the network, which may belong to somebody else.
            mount(
                sys,
                c"/sys".as_ptr(),
                sys,
                NAMESPACE_FLAGS | libc::MS_RDONLY,
                ptr::null(),
            )
            .ok();
            let tmpfs = c"tmpfs".as_ptr();
            let options = c"mode=755,size=64k".as_ptr().cast();
            let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
            mount(tmpfs, c"/dev".as_ptr(), tmpfs, flags, options)?;
            for (tree, path) in &self.devices {
                let made = libc::open(path.as_ptr(), libc::O_CREAT | libc::O_CLOEXEC, 0o666);
                Errno::result(made)?;
                libc::close(made);
                move_to_path(tree.as_raw_fd(), path)?;
            }
            for (to, link) in LINKS {
                libc::symlink(to.as_ptr(), link.as_ptr());
            }
            libc::mkdir(c"/dev/shm".as_ptr(), 0o1777);
            let options = c"mode=1777,size=64m".as_ptr().cast();
            mount(tmpfs, c"/dev/shm".as_ptr(), tmpfs, NAMESPACE_FLAGS, options)?;
            libc::mkdir(c"/dev/pts".as_ptr(), 0o755);
            let pts = c"devpts".as_ptr();
            let options = c"newinstance,ptmxmode=0666,mode=0620".as_ptr().cast();
            mount(pts, c"/dev/pts".as_ptr(), pts, flags, options).ok();
            for path in PROC_READ_ONLY {
                let path = path.as_ptr();
                if mount(path, path, none, libc::MS_BIND | libc::MS_REC, ptr::null()).is_ok() {
                    let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
                    mount(path, path, none, flags | NAMESPACE_FLAGS, ptr::null())?;
                }
            }
            for path in PROC_HIDDEN {
                mount(
                    c"/dev/null".as_ptr(),
                    path.as_ptr(),
                    none,
                    libc::MS_BIND,
                    ptr::null(),
                )
                .ok();
            }
        }
        Ok(())
    }

    /// Gives up what the program may not do. `becomes` sets user and group between the steps.
    #[expect(unsafe_code, reason = "the safe forms of these calls may allocate")]
    pub(super) fn restrict(
        &self,
        becomes: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        /// Bits of which the kernel knows more than enough.
        const CAPABILITIES_MAX: u32 = 64;
        let has = |set: u64, number: u32| set >> number & 1 == 1;
        // SAFETY: system calls with numbers, and with structures on this stack that outlive them.
        unsafe {
            for number in 0..CAPABILITIES_MAX {
                if !has(self.bounding, number) {
                    // Past the last one that this kernel knows it fails.
                    libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0);
                }
            }
            Errno::result(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0))?;
            becomes()?;
            let is_root = libc::geteuid() == 0;
            let kept = if is_root { self.bounding } else { self.ambient };
            let header = CapabilityHeader {
                version: 0x2008_0522,
                pid: 0,
            };
            let half = |set: u64, high: bool| {
                let part = if high { set >> 32 } else { set & 0xffff_ffff };
                part as u32
            };
            let sets = [false, true].map(|high| CapabilitySets {
                effective: half(kept, high),
                permitted: half(kept, high),
                inheritable: half(if is_root { 0 } else { kept }, high),
            });
            let done = libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr());
            Errno::result(done)?;
            for number in 0..CAPABILITIES_MAX {
                if !is_root && has(self.ambient, number) {
                    let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
                    let number = libc::c_ulong::from(number);
                    Errno::result(libc::prctl(libc::PR_CAP_AMBIENT, raise, number, 0, 0))?;
                }
            }
            Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            Ok(())
        }
    }

    /// Refuses the system calls that change the machine. The last step: some of those before are
    /// among them.
    #[expect(unsafe_code, reason = "the call has no safe form")]
    pub(super) fn filter_calls(&self) -> Result<(), Errno> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.filter.len()).map_err(|_| Errno::EINVAL)?,
            filter: self.filter.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel copies the program, which `self` owns, and writes nothing.
        let set = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER as libc::c_ulong,
                &raw const program,
                0,
                0,
            )
        };
        Errno::result(set).map(drop)
    }
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes the place of a mount below the root, without following links.
fn make_place(root: &Directory, bind: &Bind, target: &Path) -> io::Result<()> {
    if std::fs::metadata(&bind.source)?.is_dir() {
        root.create_directory(target)?;
        return Ok(());
    }
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = root.create_directory(target.parent().unwrap_or_else(|| Path::new(".")))?;
    match parent.create_file(Path::new(name), 0o644) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A copy of what is mounted at a path, with all mounts below it.
#[expect(unsafe_code, reason = "the call has no safe form")]
fn copy(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | AT_RECURSIVE as libc::c_uint;
    // SAFETY: the kernel reads the text, and the descriptor that it returns is nobody else's.
    unsafe {
        let tree = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags);
        let tree = i32::try_from(Errno::result(tree)?).map_err(io::Error::other)?;
        Ok(OwnedFd::from_raw_fd(tree))
    }
}

/// Sets attributes and propagation of a copied tree.
#[expect(unsafe_code, reason = "the call has no safe form")]
fn set(tree: &OwnedFd, attributes: u64, propagation: libc::c_ulong) -> io::Result<()> {
    let wanted = MountAttributes {
        set: attributes,
        clear: 0,
        propagation,
        user_namespace: 0,
    };
    // SAFETY: the kernel reads the structure, which outlives the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | AT_RECURSIVE,
            &raw const wanted,
            size_of::<MountAttributes>(),
        )
    };
    Errno::result(done)?;
    Ok(())
}

#[expect(unsafe_code, reason = "the safe form may allocate")]
unsafe fn mount(
    source: *const libc::c_char,
    target: *const libc::c_char,
    kind: *const libc::c_char,
    flags: libc::c_ulong,
    options: *const libc::c_void,
) -> Result<(), Errno> {
    // SAFETY: whoever calls gives texts that end with NUL, or null.
    Errno::result(unsafe { libc::mount(source, target, kind, flags, options) }).map(drop)
}

#[expect(unsafe_code, reason = "the call has no safe form")]
unsafe fn move_to_path(tree: RawFd, path: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads two texts.
    let moved = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree,
            c"".as_ptr(),
            libc::AT_FDCWD,
            path.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    Errno::result(moved).map(drop)
}

/// Opens a place below the working directory. Links are followed only inside of what the host has
/// mounted there, such as `/etc/resolv.conf`.
#[expect(unsafe_code, reason = "the call has no safe form")]
unsafe fn open_in_root(path: &CStr) -> Result<RawFd, Errno> {
    let open = |resolve: u64| {
        let how = OpenHow {
            flags: (libc::O_PATH | libc::O_CLOEXEC) as u64,
            mode: 0,
            resolve,
        };
        // SAFETY: the kernel reads a text and the structure.
        let opened = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                libc::AT_FDCWD,
                path.as_ptr(),
                &raw const how,
                size_of::<OpenHow>(),
            )
        };
        Errno::result(opened).map(|opened| opened as RawFd)
    };
    match open(RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS) {
        Err(Errno::ELOOP) => open(RESOLVE_IN_ROOT),
        opened => opened,
    }
}

/// Whether this process and this kernel can isolate programs; otherwise a sentence that says what
/// is missing.
pub fn lack() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("Driver must run as root");
    }
    match copy(Path::new("/dev/null"))
        .and_then(|tree| set(&tree, MOUNT_ATTR_NOSUID, libc::MS_PRIVATE))
    {
        Ok(()) => None,
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Some("the kernel is too old to isolate tasks: Linux 5.12 or newer is needed")
        }
        Err(_) => Some("this agent may not mount, so tasks cannot get a root of their own"),
    }
}
