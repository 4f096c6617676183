use super::Owner;
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{fs::MetadataExt, net::SocketAddr},
    },
    path::Path,
};

/// Hexadecimal digits of the part that names the run directory, of the part that names the task,
/// and of the part that nobody can know before.
const DIGITS: (usize, usize, usize) = (16, 24, 16);

/// The names of one run directory's supervisors in the kernel's table of sockets: `trivet.<run
/// directory>.<task>.<run>`. The name of a run holds a part of its random id, so that no other user
/// of the machine can take it in advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    prefix: String,
}

impl Addresses {
    /// Of the directory at `run_dir`, however it is called.
    pub(super) fn of(run_dir: &Path) -> io::Result<Self> {
        let directory = fs::metadata(run_dir)?;
        let mut hash = Sha256::new();
        hash.update(directory.dev().to_le_bytes());
        hash.update(directory.ino().to_le_bytes());
        let key = hex(&hash.finalize(), DIGITS.0);
        Ok(Self {
            prefix: format!("trivet.{key}."),
        })
    }

    /// The part that names the directory.
    pub(super) fn key(&self) -> &str {
        self.prefix
            .trim_start_matches("trivet.")
            .trim_end_matches('.')
    }

    /// Where the supervisor of a run listens.
    pub(super) fn of_run(&self, stem: &str, run_id: &str) -> io::Result<SocketAddr> {
        let run: String = run_id
            .chars()
            .filter(char::is_ascii_hexdigit)
            .take(DIGITS.2)
            .collect();
        SocketAddr::from_abstract_name(format!("{}{stem}.{run}", self.prefix))
    }

    /// Where supervisors listen now: all of the directory's, or those of one task.
    pub(super) fn listening(&self, stem: Option<&str>) -> io::Result<Vec<SocketAddr>> {
        let table = fs::read_to_string("/proc/net/unix")?;
        let prefix = match stem {
            None => self.prefix.clone(),
            Some(stem) => format!("{}{stem}.", self.prefix),
        };
        names(&table, &prefix)
            .into_iter()
            .map(SocketAddr::from_abstract_name)
            .collect()
    }
}

/// Names of listening sockets that begin with `prefix`, each once. `table` is `/proc/net/unix`.
fn names<'a>(table: &'a str, prefix: &str) -> Vec<&'a str> {
    /// Set for a socket that listens, unlike those of the connections that it accepted.
    const ACCEPTS: &str = "00010000";
    let found = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let flags = fields.nth(3)?;
        let name = fields.nth(3)?.strip_prefix('@')?;
        (flags == ACCEPTS && name.starts_with(prefix)).then_some(name)
    });
    found.collect()
}

/// The name of a task's files and sockets: short, and the same for each run.
pub(super) fn stem(owner: &Owner) -> String {
    let mut hash = Sha256::new();
    hash.update(owner.alloc_id.to_bytes());
    hash.update([0]);
    hash.update(owner.task.as_str());
    hex(&hash.finalize(), DIGITS.1)
}

/// The number of a task's lock.
pub(super) fn lock_number(stem: &str) -> u64 {
    // Fifteen digits are 60 bits.
    let digits = stem.get(..15).unwrap_or(stem);
    u64::from_str_radix(digits, 16).unwrap_or(0)
}

fn hex(bytes: &[u8], digits: usize) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .take(digits)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    /// More than a busy machine needs between the fork of a program and its start.
    const LOOKS_MAX: usize = 200_000;

    #[test]
    fn listening_sockets_are_found_by_directory_and_task() {
        let dir = tempfile::tempdir().unwrap();
        let addresses = Addresses::of(dir.path()).unwrap();
        let owner = |task: &str| Owner {
            alloc_id: jobs::model::AllocId::named("a"),
            task: task.into(),
        };
        let (web, db) = (stem(&owner("web")), stem(&owner("db")));
        assert_ne!(lock_number(&web), lock_number(&db));
        let bind = |stem: &str| {
            let address = addresses.of_run(stem, "0123-4567-89ab-cdef-0123").unwrap();
            UnixListener::bind_addr(&address).unwrap()
        };
        let (first, _second) = (bind(&web), bind(&db));
        let address = first.local_addr().unwrap();
        let _connected = UnixStream::connect_addr(&address).unwrap();
        let _accepted = first.accept().unwrap();
        assert_eq!(addresses.listening(None).unwrap().len(), 2);
        let found = addresses.listening(Some(&web)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].as_abstract_name(), address.as_abstract_name());
        let other = tempfile::tempdir().unwrap();
        let other = Addresses::of(other.path()).unwrap();
        assert!(other.listening(None).unwrap().is_empty());
        drop(first);
        // A program that another test starts meanwhile has the socket, too, until it runs.
        let is_gone = (0..LOOKS_MAX).any(|_| {
            std::thread::yield_now();
            addresses.listening(Some(&web)).unwrap().is_empty()
        });
        assert!(is_gone, "it still listens");
    }
}
