//! Terminals that are no devices: one end for a program, the other for whoever shows it.

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    libc,
    pty::{OpenptyResult, Winsize, openpty},
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};
use tokio::process::Command;

/// The end of whoever shows the terminal.
#[derive(Debug)]
pub struct Terminal {
    shown: OwnedFd,
}

impl Terminal {
    /// Makes one of that height and width; answers with the program's end, too.
    ///
    /// # Errors
    /// As of the system calls.
    pub fn open(size: (u16, u16)) -> io::Result<(Self, OwnedFd)> {
        let OpenptyResult { master, slave } = openpty(&winsize(size), None)?;
        let flags = OFlag::from_bits_truncate(fcntl(&master, FcntlArg::F_GETFL)?);
        fcntl(&master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        for end in [&master, &slave] {
            fcntl(end, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        }
        Ok((Self { shown: master }, slave))
    }

    /// A further handle of the shown end; it does not block.
    ///
    /// # Errors
    /// When the process has no more descriptors.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        self.shown.try_clone()
    }

    /// Changes height and width, and tells the program.
    ///
    /// # Errors
    /// As of the system call.
    #[expect(unsafe_code, reason = "the call has no safe form")]
    pub fn resize(&self, size: (u16, u16)) -> io::Result<()> {
        let size = winsize(size);
        // SAFETY: the kernel reads one `winsize` through the pointer, which outlives the call.
        let done =
            unsafe { libc::ioctl(self.shown.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        nix::errno::Errno::result(done)?;
        Ok(())
    }
}

fn winsize((height, width): (u16, u16)) -> Winsize {
    Winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Height and width of the terminal that the standard output of this process is; none when it is
/// none.
#[expect(unsafe_code, reason = "the call has no safe form")]
pub fn size_of_output() -> Option<(u16, u16)> {
    let mut size = winsize((0, 0));
    // SAFETY: the kernel writes one `winsize` through the pointer, which outlives the call.
    let done = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    nix::errno::Errno::result(done).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// Lets a program begin as the leader of a session whose terminal is its standard input.
#[expect(
    unsafe_code,
    reason = "what runs between fork and exec has no safe form"
)]
pub fn controls_terminal(command: &mut Command) {
    let begin = || {
        super::spawn::default_signals();
        nix::unistd::setsid()?;
        // SAFETY: the call takes numbers alone.
        let done = unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) };
        nix::errno::Errno::result(done)?;
        Ok(())
    };
    // SAFETY: system calls only, no memory and no locks.
    unsafe { command.pre_exec(begin) };
}
