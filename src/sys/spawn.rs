//! Starts a program without copying this process first.
//!
//! A copy of a process costs most of what the start of a small program costs: tables of pages are
//! copied, pages that either side writes to are copied, and all of it is thrown away when the
//! program begins. The new process here borrows the memory of this one, which stands still until
//! the program has begun.

use super::isolation::Prepared;
use nix::{
    errno::Errno,
    libc,
    sched::{CloneFlags, clone},
    sys::wait::waitpid,
    unistd::{Pid, geteuid},
};
use std::{
    ffi::{CString, OsStr},
    io,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

/// Stack of the new process until its program begins, bytes. It makes a dozen system calls there.
const STACK_BYTES: usize = 64 * 1024;
/// What runs a program that is a script and does not name an interpreter.
const SHELL: &str = "/bin/sh";

/// What becomes of the new process before its program begins.
#[derive(Debug)]
pub(super) struct Start {
    /// Program, an absolute path.
    pub(super) program: CString,
    /// Arguments without the program's name.
    pub(super) args: Vec<CString>,
    /// Entries of the environment, `NAME=value`.
    pub(super) env: Vec<CString>,
    /// Working directory.
    pub(super) dir: CString,
    /// Standard input, output and error output.
    pub(super) streams: [OwnedFd; 3],
    /// User and group, unless those of this process.
    pub(super) user: Option<(u32, u32)>,
    /// Written `0` to by the new process, to join control groups.
    pub(super) joins: Vec<OwnedFd>,
    /// The network namespace that it enters; none for that of this process.
    pub(super) network: Option<OwnedFd>,
    /// What it sees of the machine; none for all of it.
    pub(super) isolation: Option<Prepared>,
}

/// A text for the kernel.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] when it holds a NUL.
pub(super) fn text(parts: &[&OsStr]) -> io::Result<CString> {
    let bytes: Vec<u8> = parts
        .iter()
        .flat_map(|part| part.as_bytes())
        .copied()
        .collect();
    Ok(CString::new(bytes)?)
}

/// All that the new process uses, made by this one: it may not allocate.
struct Plan {
    start: Start,
    shell: CString,
    argv: Vec<*const libc::c_char>,
    /// For a program that is a script without a named interpreter.
    shell_argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    streams: [RawFd; 3],
    joins: Vec<RawFd>,
    drops_groups: bool,
    parent: libc::pid_t,
    /// Why the program did not begin; 0 while it may.
    error: AtomicI32,
}

impl Plan {
    fn new(mut start: Start) -> io::Result<Self> {
        for stream in &mut start.streams {
            // What lies where a stream is put would be overwritten before it is used.
            if stream.as_raw_fd() <= libc::STDERR_FILENO {
                *stream = stream.try_clone()?;
            }
        }
        let shell = CString::new(SHELL)?;
        let args = || start.args.iter().map(|arg| arg.as_ptr());
        let argv = [start.program.as_ptr()].into_iter().chain(args());
        let shell_argv = [shell.as_ptr(), start.program.as_ptr()]
            .into_iter()
            .chain(args());
        let env = start.env.iter().map(|entry| entry.as_ptr());
        Ok(Self {
            argv: argv.chain([ptr::null()]).collect(),
            shell_argv: shell_argv.chain([ptr::null()]).collect(),
            envp: env.chain([ptr::null()]).collect(),
            streams: start.streams.each_ref().map(AsRawFd::as_raw_fd),
            joins: start.joins.iter().map(AsRawFd::as_raw_fd).collect(),
            drops_groups: geteuid().is_root(),
            parent: Pid::this().as_raw(),
            error: AtomicI32::new(0),
            shell,
            start,
        })
    }
}

/// Starts a program in a process group of its own that is killed when this process dies. Waits
/// until it has begun.
///
/// # Errors
/// Whatever it could not begin with.
#[expect(unsafe_code, reason = "a process in borrowed memory has no safe form")]
pub(super) fn spawn(start: Start) -> io::Result<i32> {
    let plan = Plan::new(start)?;
    let mut stack = vec![0; STACK_BYTES];
    let child = || {
        let error = begin(&plan);
        plan.error.store(error as i32, Ordering::Relaxed);
        127
    };
    let namespaces = plan.start.isolation.as_ref().map(Prepared::flags);
    let flags =
        CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK | namespaces.unwrap_or(CloneFlags::empty());
    // SAFETY: this thread stands still until the other process has begun its program or ended, so
    // nothing that the latter reads changes or goes away; it runs on a stack of its own, makes
    // system calls only, and writes to nothing but `plan.error`. Both share the thread's `errno`,
    // which this thread does not look at meanwhile.
    let pid = unsafe { clone(Box::new(child), &mut stack, flags, Some(libc::SIGCHLD)) }?;
    match plan.error.load(Ordering::Relaxed) {
        0 => Ok(pid.as_raw()),
        error => {
            waitpid(pid, None).ok();
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

/// Turns the new process into the program. Comes back only with the reason why not.
fn begin(plan: &Plan) -> Errno {
    match prepare(plan) {
        Ok(()) => execute(plan),
        Err(error) => error,
    }
}

#[expect(
    unsafe_code,
    reason = "the safe forms of these calls may allocate, or act on all threads"
)]
fn prepare(plan: &Plan) -> Result<(), Errno> {
    let done = |result: libc::c_long| Errno::result(result).map(drop);
    // SAFETY: none of these touches memory but what `plan` owns.
    unsafe {
        for (to, from) in (0..).zip(plan.streams) {
            Errno::result(libc::dup2(from, to))?;
        }
        Errno::result(libc::setpgid(0, 0))?;
        default_signals();
        for group in &plan.joins {
            // A task that may not join runs where it is, and is found by its session.
            libc::write(*group, b"0".as_ptr().cast(), 1);
        }
        if let Some(network) = &plan.start.network {
            Errno::result(libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET))?;
        }
        let become_user = || {
            if let Some((uid, gid)) = plan.start.user {
                if plan.drops_groups {
                    done(libc::syscall(libc::SYS_setgroups, 0, ptr::null::<u32>()))?;
                }
                done(libc::syscall(libc::SYS_setgid, gid))?;
                done(libc::syscall(libc::SYS_setuid, uid))?;
            }
            Ok(())
        };
        match &plan.start.isolation {
            None => become_user()?,
            Some(isolation) => {
                isolation.enter()?;
                isolation.restrict(become_user)?;
            }
        }
        Errno::result(libc::chdir(plan.start.dir.as_ptr()))?;
        // A task without its supervisor would run unseen; it goes down with it.
        Errno::result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        // Seen from a table of its own, it has no parent.
        let isolation = plan.start.isolation.as_ref();
        let is_first = isolation.is_some_and(Prepared::has_own_processes);
        if !is_first && libc::getppid() != plan.parent {
            return Err(Errno::ESRCH);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        isolation.map_or(Ok(()), Prepared::filter_calls)
    }
}

/// Lets the program ignore no signal from the start. What is ignored is inherited, and a shell of
/// today cannot trap it: Rust programs ignore broken pipes, and whatever a shell starts in the
/// background ignores interrupts. Makes system calls only.
#[expect(unsafe_code, reason = "the safe form returns what was before")]
pub(super) fn default_signals() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: no handler is installed. Numbers that may not be changed are refused.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

#[expect(unsafe_code, reason = "the safe form allocates")]
fn execute(plan: &Plan) -> Errno {
    // SAFETY: texts end with NUL and lists with a null pointer; `plan` owns all of them.
    unsafe {
        let envp = plan.envp.as_ptr();
        libc::execve(plan.start.program.as_ptr(), plan.argv.as_ptr(), envp);
        let error = Errno::last();
        if error == Errno::ENOEXEC {
            libc::execve(plan.shell.as_ptr(), plan.shell_argv.as_ptr(), envp);
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::WaitStatus;
    use std::{fs, io::Read, os::unix::fs::PermissionsExt, path::Path};

    /// Runs a program to its end: exit code and what it printed.
    fn run(program: &Path, args: &[&str], env: &[&str]) -> io::Result<(i32, String)> {
        let (mut read, write) = io::pipe()?;
        let null = || Ok::<_, io::Error>(OwnedFd::from(fs::File::open("/dev/null")?));
        let texts = |list: &[&str]| -> io::Result<Vec<CString>> {
            list.iter().map(|item| text(&[item.as_ref()])).collect()
        };
        let pid = spawn(Start {
            program: text(&[program.as_os_str()])?,
            args: texts(args)?,
            env: texts(env)?,
            dir: text(&["/".as_ref()])?,
            streams: [null()?, write.into(), null()?],
            user: None,
            joins: Vec::new(),
            network: None,
            isolation: None,
        })?;
        let mut printed = String::new();
        read.read_to_string(&mut printed)?;
        match waitpid(Pid::from_raw(pid), None)? {
            WaitStatus::Exited(_, code) => Ok((code, printed)),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    #[test]
    fn a_program_gets_its_arguments_environment_directory_and_a_group_of_its_own() {
        let script = "echo $0 $1 $NAME; pwd; kill -0 -$$ && exit 7";
        let args = ["-c", script, "a", "b c"];
        let done = run(Path::new("/bin/sh"), &args, &["NAME=x=y"]).unwrap();
        assert_eq!(done, (7, "a b c x=y\n/\n".into()));
    }

    #[test]
    #[expect(unsafe_code, reason = "the call has no safe form")]
    fn what_this_process_ignores_is_the_program_s_to_decide() {
        let change = |handler| {
            // SAFETY: no code of this process runs on this signal.
            unsafe { libc::signal(libc::SIGUSR2, handler) }
        };
        let before = change(libc::SIG_IGN);
        let script = "trap 'echo told' USR2; kill -USR2 $$; echo end";
        let done = run(Path::new("/bin/sh"), &["-c", script], &[]);
        change(before);
        assert_eq!(done.unwrap(), (0, "told\nend\n".into()));
    }

    #[test]
    fn what_cannot_begin_says_why() {
        let kind = |path: &Path| run(path, &[], &[]).unwrap_err().kind();
        assert_eq!(kind(Path::new("/no/such")), io::ErrorKind::NotFound);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(kind(dir.path()), io::ErrorKind::PermissionDenied);
        let nul = text(&["a\0b".as_ref()]).unwrap_err();
        assert_eq!(nul.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_script_without_interpreter_runs_in_the_shell() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        fs::write(&path, "echo $1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let done = loop {
            match run(&path, &["one"], &[]) {
                // A child of another test holds the file open for writing until it is a program.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now();
                }
                done => break done,
            }
        };
        assert_eq!(done.unwrap(), (0, "one\n".into()));
    }
}
