//! Locks that end with the process that holds them.

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Highest number of a lock.
pub const NUMBER_MAX: u64 = 1 << 62;

/// A file each byte of which is a lock, so that many locks cost one file. A lock belongs to the
/// process that took it: it is not inherited by what the process starts, and it ends with the
/// process, however that ends.
///
/// Invariant: the content is empty; a lock is a number, not a byte that is there.
#[derive(Debug)]
pub struct Locks {
    file: File,
    path: PathBuf,
}

impl Locks {
    /// Opens the file, and makes it when it is missing.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::with(path, true)
    }

    /// Opens the file that somebody made. A process that takes locks calls this once: closing any
    /// descriptor of the file gives all of them up.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with(path, false)
    }

    fn with(path: &Path, create: bool) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let path = path.to_owned();
        Ok(Self { file, path })
    }

    /// Takes a lock until this process ends; false when another process holds it.
    ///
    /// # Errors
    /// As of the system call.
    pub fn take(&self, number: u64) -> io::Result<bool> {
        match fcntl(&self.file, FcntlArg::F_SETLK(&range(number, 1))) {
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The process that holds a lock, 0 for one that this process cannot see; none when nobody
    /// does.
    ///
    /// # Errors
    /// As of the system call.
    pub fn holder(&self, number: u64) -> io::Result<Option<i32>> {
        Ok(self.next(number, 1)?.map(|(_, pid)| pid))
    }

    /// Every lock that is held, with its process, in order.
    ///
    /// # Errors
    /// As of the system call.
    pub fn holders(&self) -> io::Result<Vec<(u64, i32)>> {
        let mut all = Vec::new();
        let mut from = 0;
        // Length 0 means up to the end.
        while let Some((number, pid)) = self.next(from, 0)? {
            all.push((number, pid));
            from = number + 1;
        }
        Ok(all)
    }

    /// True while the path still leads to this file. Locks of a file that was replaced keep nobody
    /// out.
    pub fn is_in_place(&self) -> bool {
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    fn next(&self, from: u64, length: i64) -> io::Result<Option<(u64, i32)>> {
        let mut asked = range(from, length);
        fcntl(&self.file, FcntlArg::F_GETLK(&mut asked))?;
        if i32::from(asked.l_type) == libc::F_UNLCK {
            return Ok(None);
        }
        let number = u64::try_from(asked.l_start).map_err(io::Error::other)?;
        Ok(Some((number.max(from), asked.l_pid)))
    }
}

fn range(number: u64, length: i64) -> libc::flock {
    libc::flock {
        l_type: lock_type(),
        l_whence: start_of_file(),
        l_start: i64::try_from(number.min(NUMBER_MAX)).unwrap_or(i64::MAX),
        l_len: length,
        l_pid: 0,
    }
}

fn lock_type() -> libc::c_short {
    libc::c_short::try_from(libc::F_WRLCK).unwrap_or(libc::c_short::MAX)
}

fn start_of_file() -> libc::c_short {
    libc::c_short::try_from(libc::SEEK_SET).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    /// A process that holds the first byte until its standard input ends.
    fn holder(path: &Path) -> std::process::Child {
        let script = "import fcntl,sys\nf=open(sys.argv[1],'r+')\nfcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB,1,int(sys.argv[2]))\nprint('held',flush=True)\nsys.stdin.read()";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(path)
            .arg("7")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "held\n");
        child
    }

    #[test]
    fn a_lock_is_held_by_one_process_until_its_end() {
        if Command::new("python3").arg("-V").output().is_err() {
            println!("SKIPPED: needs python3");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let locks = Locks::create(&path).unwrap();
        assert_eq!(locks.holders().unwrap(), vec![]);
        let mut other = holder(&path);
        let pid = i32::try_from(other.id()).unwrap();
        assert_eq!(locks.holder(7).unwrap(), Some(pid));
        assert_eq!(locks.holder(8).unwrap(), None);
        assert_eq!(locks.holders().unwrap(), vec![(7, pid)]);
        assert!(!locks.take(7).unwrap());
        assert!(locks.take(8).unwrap());
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(locks.holder(7).unwrap(), None);
        assert!(locks.is_in_place());
        std::fs::remove_file(&path).unwrap();
        assert!(!locks.is_in_place());
    }
}
