//! Hands open connections from one process to another, and makes processes without starting a
//! program anew.

use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::{SigHandler, Signal, signal},
        socket::{AddressFamily, SockFlag, SockType, socketpair},
    },
    unistd::{ForkResult, dup2_stdin},
};
use std::{
    fs, io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

/// A pair of sockets that keep messages apart, and of which one sees the end of the other.
///
/// # Errors
/// As of the system call.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .map_err(Into::into)
}

/// Room for the header of a control message and one descriptor, aligned as the kernel wants it.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    bytes: [u8; 64],
}

/// Hands a descriptor over. Never waits.
///
/// # Errors
/// `WouldBlock` when too many wait, `BrokenPipe` when the other side is gone.
#[expect(unsafe_code, reason = "a descriptor in a message has no safe form")]
pub fn send(socket: BorrowedFd<'_>, handed: BorrowedFd<'_>) -> io::Result<()> {
    let mut byte = [1_u8];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: byte.len(),
    };
    let mut control = Control { bytes: [0; 64] };
    let descriptor = handed.as_raw_fd();
    let size = u32::try_from(size_of::<i32>()).map_err(io::Error::other)?;
    // SAFETY: `message` points at `part` and `control`, which live until the call is over; the
    // control buffer is aligned for its header and has room for one descriptor, which is written
    // inside of it.
    let sent = unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast::<i32>(), descriptor);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        libc::sendmsg(socket.as_raw_fd(), &raw const message, flags)
    };
    Errno::result(sent)?;
    Ok(())
}

/// Waits for a descriptor; none when the other side is gone.
///
/// # Errors
/// As of the system call, or for a message without a descriptor.
#[expect(unsafe_code, reason = "a descriptor in a message has no safe form")]
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0_u8];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: byte.len(),
    };
    let mut control = Control { bytes: [0; 64] };
    // SAFETY: as in `send`; the kernel writes at most `msg_controllen` bytes, and the header is
    // read only when it says that there is one.
    unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Control>();
        let received = loop {
            let flags = libc::MSG_CMSG_CLOEXEC;
            match Errno::result(libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags)) {
                Err(Errno::EINTR) => {}
                received => break received?,
            }
        };
        if received == 0 {
            return Ok(None);
        }
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null()
            || (*header).cmsg_level != libc::SOL_SOCKET
            || (*header).cmsg_type != libc::SCM_RIGHTS
        {
            return Err(io::Error::other("a message without a descriptor"));
        }
        let descriptor = ptr::read_unaligned(libc::CMSG_DATA(header).cast::<i32>());
        Ok(Some(OwnedFd::from_raw_fd(descriptor)))
    }
}

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The process that was there before.
    Parent,
    /// The new one.
    Child,
}

/// Lets the children of this process vanish when they end, without being waited for. What this
/// process starts afterwards inherits it; [`fork`] takes it back in the child.
///
/// # Errors
/// As of the system call.
#[expect(unsafe_code, reason = "signal handlers have no safe form")]
pub fn forget_children() -> io::Result<()> {
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    Ok(())
}

/// Makes a copy of this process. The child has no standard input and hears of its own children.
///
/// # Errors
/// As of the system call, and when this process has several threads, of which a copy would have
/// one.
#[expect(unsafe_code, reason = "a fork has no safe form")]
pub fn fork() -> io::Result<Side> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(
            "a process with several threads cannot be copied",
        ));
    }
    // SAFETY: this is the only thread, so the child finds no lock that another one held.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { .. } => Ok(Side::Parent),
        ForkResult::Child => {
            // SAFETY: the default action runs no code of ours.
            unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
            dup2_stdin(fs::File::open("/dev/null")?)?;
            Ok(Side::Child)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        os::{fd::AsFd, unix::net::UnixStream},
    };

    #[test]
    fn a_connection_can_be_handed_over_and_an_end_is_seen() {
        let (ours, theirs) = pair().unwrap();
        let (mut left, right) = UnixStream::pair().unwrap();
        send(ours.as_fd(), right.as_fd()).unwrap();
        drop(right);
        let received = receive(theirs.as_fd()).unwrap().unwrap();
        UnixStream::from(received).write_all(b"hello").unwrap();
        let mut text = String::new();
        left.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        drop(ours);
        assert!(receive(theirs.as_fd()).unwrap().is_none());
        let error = send(theirs.as_fd(), left.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
