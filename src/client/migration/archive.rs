//! The form in which data travels from one node to another: a plain tar with `alloc/data` and the
//! `local` directories of the tasks, read and written as it comes.
//!
//! Neither side trusts what it finds. Whoever packs follows no link and reads no file that its
//! owner did not give to the allocation; whoever unpacks resolves every name below the directory
//! without links, makes regular files, directories and symbolic links alone, and gives no file the
//! rights of its owner. A symbolic link is made as it was, wherever it leads: nothing here goes
//! through it.

use nix::{
    fcntl::AtFlags,
    unistd::{Gid, Uid, fchown, fchownat, geteuid},
};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStringExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};
use sys::directory::{Directory, Found, Links};
use tar::{Archive, Builder, Entry, EntryType, Header};

/// Files, directories and links that an archive may hold.
const ENTRIES_MAX: usize = 262_144;
/// Bytes of a path or of what a link leads to: the kernel's own limit.
const PATH_BYTES_MAX: u64 = 4096;
/// Bytes of the report of the other side that are read.
const REPORT_BYTES_MAX: u64 = 4096;
/// Bytes that may follow the end of an archive.
const REST_BYTES_MAX: u64 = 1 << 20;
/// What of a mode an archive may say: without the bits that give the rights of the owner.
const MODE_BITS: u32 = 0o1777;

/// Why an archive ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The files are larger than they may be.
    #[error("there is more than the {} MB of `ephemeral_disk`", bytes_max >> 20)]
    TooLarge {
        /// How large they may be.
        bytes_max: u64,
    },
    /// There are too many.
    #[error("there are more than {ENTRIES_MAX} files and directories")]
    TooMany,
    /// A file was changed while it was read.
    #[error("`{}` was changed while it was read", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// A name that leads elsewhere, or something that is neither file nor directory nor link.
    #[error("`{}` must not be in it", path.display())]
    Entry {
        /// Its name.
        path: PathBuf,
    },
    /// The other side says why it ended.
    #[error("{0}")]
    Reported(String),
    /// It is not whole.
    #[error("it broke off")]
    CutOff,
    /// The machine refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The name under which whoever packs says why the archive ended early, as published.
pub(crate) fn report_name(alloc_id: &str) -> String {
    format!("NOMAD-{alloc_id}-ERROR.log")
}

/// What is packed.
pub(crate) struct Packed<'a> {
    /// The directory of the allocation.
    pub(crate) dir: &'a Directory,
    /// What of it is packed, as paths below it.
    pub(crate) roots: &'a [PathBuf],
    /// How much the files may hold together.
    pub(crate) bytes_max: u64,
    /// Whether a file with further names may be read.
    pub(crate) may_be_linked: &'a dyn Fn(&Found) -> bool,
    /// Where it is said why the archive ended early.
    pub(crate) report: &'a str,
}

/// Writes an archive. What is wrong with what is packed is said in the archive itself.
///
/// # Errors
/// When nobody takes what is written.
pub(crate) fn pack(packed: &Packed<'_>, out: impl Write) -> io::Result<()> {
    let mut packer = Packer {
        packed,
        tar: Builder::new(out),
        bytes_left: packed.bytes_max,
        entries_left: ENTRIES_MAX,
    };
    let mut roots = packed.roots.iter();
    if let Err(error) = roots.try_for_each(|root| packer.tree(root)) {
        let text = error.to_string();
        let mut header = Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(text.len() as u64);
        let tar = &mut packer.tar;
        tar.append_data(&mut header, packed.report, text.as_bytes())?;
    }
    packer.tar.into_inner()?.flush()
}

struct Packer<'a, W: Write> {
    packed: &'a Packed<'a>,
    tar: Builder<W>,
    bytes_left: u64,
    entries_left: usize,
}

impl<W: Write> Packer<'_, W> {
    /// A directory with all that it holds; nothing when it is not there.
    fn tree(&mut self, root: &Path) -> Result<(), ArchiveError> {
        let mut open = vec![root.to_owned()];
        while let Some(path) = open.pop() {
            let directory = match self.packed.dir.directory(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && path == root => {
                    return Ok(());
                }
                opened => opened?,
            };
            let mut header = header(&directory.metadata()?);
            self.tar.append_data(&mut header, &path, io::empty())?;
            for entry in directory.entries()? {
                let name = entry?.file_name();
                self.entries_left =
                    (self.entries_left.checked_sub(1)).ok_or(ArchiveError::TooMany)?;
                let (name, path) = (Path::new(&name), path.join(&name));
                // What vanished meanwhile is not there.
                let Ok(metadata) = fs::symlink_metadata(directory.reach().join(name)) else {
                    continue;
                };
                if metadata.is_dir() {
                    open.push(path);
                } else if metadata.is_symlink() {
                    let to = fs::read_link(directory.reach().join(name))?;
                    let mut header = self::header(&metadata);
                    header.set_size(0);
                    self.tar.append_link(&mut header, &path, to)?;
                } else if metadata.is_file() {
                    self.file(&directory, name, path)?;
                }
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        directory: &Directory,
        name: &Path,
        path: PathBuf,
    ) -> Result<(), ArchiveError> {
        let found = directory.find(name, Links::Refused)?;
        let metadata = found.metadata();
        if metadata.nlink() > 1 && !(self.packed.may_be_linked)(&found) {
            return Ok(());
        }
        let bytes_max = self.packed.bytes_max;
        let left = self.bytes_left.checked_sub(metadata.len());
        self.bytes_left = left.ok_or(ArchiveError::TooLarge { bytes_max })?;
        let mut content = Exact {
            file: found.open_file()?,
            left: metadata.len(),
            is_short: false,
        };
        let mut header = header(metadata);
        self.tar.append_data(&mut header, &path, &mut content)?;
        if content.is_short {
            return Err(ArchiveError::Changed { path });
        }
        Ok(())
    }
}

fn header(metadata: &fs::Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(metadata);
    header
}

/// A file of just the length that was promised: cut there, or filled up with zeros.
struct Exact {
    file: File,
    left: u64,
    is_short: bool,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let Some(buffer) = buffer.get_mut(..wanted).filter(|wanted| !wanted.is_empty()) else {
            return Ok(0);
        };
        let mut read = 0;
        if !self.is_short {
            read = self.file.read(buffer)?;
            self.is_short = read == 0;
        }
        if self.is_short {
            buffer.fill(0);
            read = buffer.len();
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Unpacks what belongs to `roots` below `into`, which is empty. What is left after an error is of
/// no use.
///
/// # Errors
/// [`ArchiveError`].
pub(crate) fn unpack(
    archive: impl Read,
    into: &Directory,
    roots: &[PathBuf],
    bytes_max: u64,
) -> Result<(), ArchiveError> {
    let mut source = Source {
        archive,
        is_over: false,
    };
    let mut unpacker = Unpacker {
        into,
        roots,
        bytes_max,
        bytes_left: bytes_max,
        entries_left: ENTRIES_MAX,
        directories: Vec::new(),
        is_root: geteuid().is_root(),
    };
    let mut archive = Archive::new(&mut source);
    let (mut long_name, mut long_link) = (None, None);
    // The library would read names of any length into memory.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        unpacker.count()?;
        match entry.header().entry_type() {
            EntryType::GNULongName => long_name = Some(long(&mut entry)?),
            EntryType::GNULongLink => long_link = Some(long(&mut entry)?),
            _ => {
                let path = match long_name.take() {
                    Some(path) => path,
                    None => entry.path()?.into_owned(),
                };
                unpacker.entry(path, long_link.take(), &mut entry)?;
            }
        }
    }
    if source.is_over {
        return Err(ArchiveError::CutOff);
    }
    // What went wrong after the last entry is told behind it.
    io::copy(&mut source.by_ref().take(REST_BYTES_MAX), &mut io::sink())?;
    unpacker.finish()
}

/// Knows whether the archive ended, which the library takes for the end of a whole one.
struct Source<R> {
    archive: R,
    is_over: bool,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.archive.read(buffer)?;
        self.is_over |= read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

/// A path that is too long for the head of an entry.
fn long(entry: &mut Entry<'_, impl Read>) -> Result<PathBuf, ArchiveError> {
    let mut bytes = Vec::new();
    entry
        .by_ref()
        .take(PATH_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    if entry.size() > PATH_BYTES_MAX {
        let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
        return Err(ArchiveError::Entry { path });
    }
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

struct Unpacker<'a> {
    into: &'a Directory,
    roots: &'a [PathBuf],
    bytes_max: u64,
    bytes_left: u64,
    entries_left: usize,
    /// With what they shall be once nothing has to be made in them any more.
    directories: Vec<(PathBuf, Kept)>,
    is_root: bool,
}

/// What of a file's metadata travels with it.
#[derive(Clone, Copy)]
struct Kept {
    mode: u32,
    owner: (Uid, Gid),
}

impl Kept {
    fn of(header: &Header) -> Result<Self, ArchiveError> {
        let number = |id: u64| u32::try_from(id).map_err(io::Error::other);
        Ok(Self {
            mode: header.mode()? & MODE_BITS,
            owner: (number(header.uid()?)?.into(), number(header.gid()?)?.into()),
        })
    }
}

impl Unpacker<'_> {
    fn count(&mut self) -> Result<(), ArchiveError> {
        let left = self.entries_left.checked_sub(1);
        self.entries_left = left.ok_or(ArchiveError::TooMany)?;
        Ok(())
    }

    fn entry(
        &mut self,
        path: PathBuf,
        link: Option<PathBuf>,
        entry: &mut Entry<'_, impl Read>,
    ) -> Result<(), ArchiveError> {
        if is_report(&path) {
            let mut text = String::new();
            entry
                .by_ref()
                .take(REPORT_BYTES_MAX)
                .read_to_string(&mut text)?;
            return Err(ArchiveError::Reported(text));
        }
        let kept = Kept::of(entry.header())?;
        let bytes_max = self.bytes_max;
        let left = self.bytes_left.checked_sub(entry.size());
        self.bytes_left = left.ok_or(ArchiveError::TooLarge { bytes_max })?;
        let Some(path) = inside(&path) else {
            return Err(ArchiveError::Entry { path });
        };
        let mut roots = self.roots.iter();
        let Some(root) = roots.find(|root| path.starts_with(root)) else {
            // Of a task that the group does not have any more.
            return Ok(());
        };
        let kind = entry.header().entry_type();
        match (path.parent(), path.file_name()) {
            _ if kind == EntryType::Directory => {
                self.into.create_directory(&path)?;
                // Those above belong to the agent.
                if path != *root {
                    self.directories.push((path, kept));
                }
            }
            (Some(parent), Some(name)) if path != *root => {
                let parent = self.into.create_directory(parent)?;
                let name = Path::new(name);
                match kind {
                    EntryType::Regular | EntryType::Continuous => {
                        self.file(&parent, name, kept, entry)?;
                    }
                    EntryType::Symlink => {
                        let to = match link {
                            Some(to) => to,
                            None => entry.link_name()?.unwrap_or_default().into_owned(),
                        };
                        parent.link(name, &to)?;
                        if self.is_root {
                            let (user, group) = kept.owner;
                            let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
                            fchownat(&parent, name, Some(user), Some(group), flags)
                                .map_err(io::Error::from)?;
                        }
                    }
                    _ => return Err(ArchiveError::Entry { path }),
                }
            }
            _ => return Err(ArchiveError::Entry { path }),
        }
        Ok(())
    }

    fn file(
        &self,
        parent: &Directory,
        name: &Path,
        kept: Kept,
        entry: &mut Entry<'_, impl Read>,
    ) -> Result<(), ArchiveError> {
        let mut file = parent.create_file(name, 0o600)?;
        let size = entry.size();
        if io::copy(entry, &mut file)? != size {
            return Err(ArchiveError::CutOff);
        }
        if self.is_root {
            let (user, group) = kept.owner;
            fchown(&file, Some(user), Some(group)).map_err(io::Error::from)?;
        }
        file.set_permissions(fs::Permissions::from_mode(kept.mode))?;
        let since = Duration::from_secs(entry.header().mtime()?);
        if let Some(at) = SystemTime::UNIX_EPOCH.checked_add(since) {
            file.set_modified(at)?;
        }
        Ok(())
    }

    /// Gives the directories what they shall be, those inside of others first.
    fn finish(self) -> Result<(), ArchiveError> {
        for (path, kept) in self.directories.into_iter().rev() {
            let directory = self.into.directory(&path)?;
            if self.is_root {
                let (user, group) = kept.owner;
                fchown(&directory, Some(user), Some(group)).map_err(io::Error::from)?;
            }
            let mode = fs::Permissions::from_mode(kept.mode);
            fs::set_permissions(directory.reach(), mode)?;
        }
        Ok(())
    }
}

/// Whether an entry says why the archive ended early.
fn is_report(path: &Path) -> bool {
    let name = path.to_str().and_then(|name| name.strip_prefix("NOMAD-"));
    name.is_some_and(|name| name.ends_with("-ERROR.log") && !name.contains('/'))
}

/// A path of the archive as one below the directory; none when it leads elsewhere.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const MIB: u64 = 1 << 20;

    fn roots() -> Vec<PathBuf> {
        ["alloc/data", "web/local"].map(PathBuf::from).to_vec()
    }

    fn packed(dir: &Path, bytes_max: u64) -> Vec<u8> {
        let dir = Directory::open(dir).unwrap();
        let packed = Packed {
            dir: &dir,
            roots: &roots(),
            bytes_max,
            may_be_linked: &|_| false,
            report: &report_name("a"),
        };
        let mut bytes = Vec::new();
        pack(&packed, &mut bytes).unwrap();
        bytes
    }

    fn unpacked(archive: &[u8], into: &Path) -> Result<(), ArchiveError> {
        let into = Directory::open(into).unwrap();
        unpack(archive, &into, &roots(), MIB)
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_tasks_wrote_comes_out_as_it_was() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (data, local) = (
            from.path().join("alloc/data"),
            from.path().join("web/local"),
        );
        let deep = data.join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(&local).unwrap();
        fs::create_dir_all(from.path().join("web/secrets")).unwrap();
        fs::write(from.path().join("web/secrets/key"), "secret").unwrap();
        fs::write(deep.join("file"), vec![7; 100_000]).unwrap();
        fs::write(local.join("empty"), "").unwrap();
        fs::write(local.join("tool"), "run").unwrap();
        fs::set_permissions(local.join("tool"), fs::Permissions::from_mode(0o4755)).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let tool = File::options().write(true).open(local.join("tool"));
        tool.unwrap().set_modified(old).unwrap();
        fs::create_dir(local.join("closed")).unwrap();
        fs::write(local.join("closed/in"), "in").unwrap();
        fs::set_permissions(local.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
        symlink("/alloc/data/current", local.join("link")).unwrap();
        // Neither what another name brought here nor what is no file.
        fs::hard_link(from.path().join("web/secrets/key"), local.join("hard")).unwrap();
        nix::unistd::mkfifo(&local.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        unpacked(&packed(from.path(), MIB), to.path()).unwrap();
        let there = |path: &Path| to.path().join(path.strip_prefix(from.path()).unwrap());
        assert_eq!(fs::read(there(&deep.join("file"))).unwrap(), [7; 100_000]);
        assert_eq!(fs::read(there(&local.join("closed/in"))).unwrap(), b"in");
        assert_eq!(fs::read(there(&local.join("empty"))).unwrap(), b"");
        let link = fs::read_link(there(&local.join("link"))).unwrap();
        assert_eq!(link, Path::new("/alloc/data/current"));
        assert_eq!(mode(&there(&local.join("closed"))), 0o500);
        // Without the bit that would make its owner of whoever runs it.
        assert_eq!(mode(&there(&local.join("tool"))), 0o755);
        let kept = fs::metadata(there(&local.join("tool"))).unwrap();
        assert_eq!(kept.modified().unwrap(), old);
        for left_out in ["web/secrets", "web/local/hard", "web/local/pipe"] {
            assert!(!to.path().join(left_out).exists(), "{left_out}");
        }
    }

    #[test]
    fn there_is_no_more_than_the_disk_of_the_group() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let data = from.path().join("alloc/data");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("a"), vec![1; 600 << 10]).unwrap();
        fs::write(data.join("b"), vec![1; 600 << 10]).unwrap();
        let error = unpacked(&packed(from.path(), MIB), to.path()).unwrap_err();
        let text = "there is more than the 1 MB of `ephemeral_disk`";
        assert!(matches!(error, ArchiveError::Reported(_)), "{error}");
        assert_eq!(error.to_string(), text);
        // The other side may allow itself more than this one.
        let again = tempfile::tempdir().unwrap();
        let error = unpacked(&packed(from.path(), 2 * MIB), again.path()).unwrap_err();
        assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");
    }

    /// An archive that no honest side packs.
    struct Forged(Builder<Vec<u8>>);

    impl Forged {
        fn new() -> Self {
            Self(Builder::new(Vec::new()))
        }

        fn add(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(content.len() as u64);
            // The library refuses to write such names.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            self.0.append(&header, content).unwrap();
            self
        }

        fn bytes(self) -> Vec<u8> {
            self.0.into_inner().unwrap()
        }
    }

    #[test]
    fn nothing_leaves_the_directory() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "k").unwrap();
        let file = EntryType::Regular;
        let out = outside.path().to_str().unwrap();
        for (forged, what) in [
            (Forged::new().add(file, "../kept", "", b"x"), "up"),
            (
                Forged::new().add(file, "alloc/data/../../../kept", "", b"x"),
                "up later",
            ),
            (
                Forged::new().add(file, "/alloc/data/kept", "", b"x"),
                "absolute",
            ),
            (
                Forged::new()
                    .add(EntryType::Symlink, "alloc/data/link", out, b"")
                    .add(file, "alloc/data/link/kept", "", b"x"),
                "through a link",
            ),
            (
                Forged::new()
                    .add(
                        EntryType::Symlink,
                        "alloc/data/link",
                        &format!("{out}/kept"),
                        b"",
                    )
                    .add(file, "alloc/data/link", "", b"x"),
                "in the place of a link",
            ),
            (
                Forged::new()
                    .add(EntryType::Symlink, "alloc/data/link", out, b"")
                    .add(EntryType::Directory, "alloc/data/link", "", b""),
                "a directory in the place of a link",
            ),
            (
                Forged::new().add(EntryType::Symlink, "alloc/data", out, b""),
                "the root itself",
            ),
            (
                Forged::new().add(
                    EntryType::Link,
                    "alloc/data/hard",
                    &format!("{out}/kept"),
                    b"",
                ),
                "a hard link",
            ),
            (
                Forged::new().add(EntryType::Char, "alloc/data/null", "", b""),
                "a device",
            ),
            (
                Forged::new().add(EntryType::Block, "alloc/data/disk", "", b""),
                "a disk",
            ),
            (
                Forged::new().add(EntryType::Fifo, "alloc/data/pipe", "", b""),
                "a pipe",
            ),
            (
                Forged::new().add(EntryType::GNUSparse, "alloc/data/holes", "", b""),
                "holes",
            ),
            (
                Forged::new().add(EntryType::GNULongName, "long", "", &[b'a'; 5000]),
                "a name without end",
            ),
        ] {
            // As deep as in an allocation's directory.
            let place = outside.path().join("place");
            fs::create_dir(&place).unwrap();
            assert!(unpacked(&forged.bytes(), &place).is_err(), "{what}");
            assert_eq!(
                fs::read(outside.path().join("kept")).unwrap(),
                b"k",
                "{what}"
            );
            fs::remove_dir_all(&place).unwrap();
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{what}");
        }
    }

    #[test]
    fn an_archive_without_its_end_is_none() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let data = from.path().join("alloc/data");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("a"), vec![1; 2000]).unwrap();
        let whole = packed(from.path(), MIB);
        for cut in [0, 512, 700, 1024, 3000, 3072] {
            let place = to.path().join(cut.to_string());
            fs::create_dir(&place).unwrap();
            assert!(
                unpacked(&whole[..cut], &place).is_err(),
                "{cut} of {}",
                whole.len()
            );
        }
        // Nor one behind which is told that something broke.
        let broken = io::Error::other("broke");
        let place = Directory::open(to.path()).unwrap();
        let told = whole.as_slice().chain(Broken(Some(broken)));
        let error = unpack(told, &place, &roots(), MIB).unwrap_err();
        assert_eq!(error.to_string(), "broke");
    }

    struct Broken(Option<io::Error>);

    impl Read for Broken {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            self.0.take().map_or(Ok(0), Err)
        }
    }

    #[test]
    fn data_of_a_task_that_is_gone_is_left_out() {
        let to = tempfile::tempdir().unwrap();
        let forged = Forged::new()
            .add(EntryType::Regular, "old/local/file", "", b"x")
            .add(EntryType::Regular, "web/local/file", "", b"y");
        unpacked(&forged.bytes(), to.path()).unwrap();
        assert_eq!(fs::read(to.path().join("web/local/file")).unwrap(), b"y");
        assert!(!to.path().join("old").exists());
    }
}
