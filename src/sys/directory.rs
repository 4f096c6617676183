//! Directories that others write to: reached by handle, never left, never blocked by what lies in
//! them.
//!
//! Whoever may write to a directory may swap links, pipes and other directories into it at any
//! moment. So each step goes from an open handle, the kernel resolves a path in one call without
//! leaving the handle (`openat2`; step by step without links on a kernel that does not have it),
//! and what was opened is looked at before it is read. A pipe or a device is never opened, only
//! looked at.

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat},
    sys::stat::{Mode, mkdirat},
    unistd::{Gid, Uid, UnlinkatFlags, fchown, symlinkat, unlinkat},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
            net::UnixListener,
        },
    },
    path::{Component, Path, PathBuf},
};

use crate::random;

/// How often a name is freed again for a new file before somebody else who keeps taking it wins.
const REPLACE_TRIES_MAX: usize = 16;

/// What becomes of symbolic links in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// None is followed.
    Refused,
    /// They are followed as long as they stay below the directory; not at all on a kernel without
    /// `openat2`.
    Inside,
}

/// An open directory that paths given by others cannot leave.
#[derive(Debug)]
pub struct Directory {
    file: OwnedFd,
}

/// Something that was found and pinned, but not opened: no name can come to mean something else any
/// more.
#[derive(Debug)]
pub struct Found {
    handle: File,
    metadata: fs::Metadata,
}

impl Directory {
    /// Opens the directory at `path`, whose parents only this program may write to.
    ///
    /// # Errors
    /// Any error of the file system; a symbolic link at the end of the path is one.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(path)?;
        Ok(Self { file: file.into() })
    }

    /// Opens the directory at `path`, which the operator chose: links on the way to it are the
    /// operator's. It cannot be listed, so the right to do so is not needed.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn open_trusted(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let file = openat(AT_FDCWD, path, flags, Mode::empty())?;
        Ok(Self { file })
    }

    /// Looks at what stands at `path` below it. A leading `/` means the directory itself.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] when the path leaves the directory or a link is in the
    /// way, and any error of the file system.
    pub fn find(&self, path: &Path, links: Links) -> io::Result<Found> {
        let handle = File::from(self.open_below(path, OFlag::O_PATH, links)?);
        let metadata = handle.metadata()?;
        Ok(Found { handle, metadata })
    }

    /// Opens the directory at `path` below it, without following links.
    ///
    /// # Errors
    /// As [`Directory::find`].
    pub fn directory(&self, path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let file = self.open_below(path, flags, Links::Refused)?;
        Ok(Self { file })
    }

    /// Opens the directory at `path` below it and makes what is missing on the way, mode 0755. No
    /// links are followed.
    ///
    /// # Errors
    /// As [`Directory::find`].
    pub fn create_directory(&self, path: &Path) -> io::Result<Self> {
        let mut reached = self.directory(Path::new("."))?;
        for component in relative(path).components() {
            let Component::Normal(name) = component else {
                if component == Component::CurDir {
                    continue;
                }
                return Err(leaves(path));
            };
            match mkdirat(&reached, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
            reached = reached.directory(Path::new(name))?;
        }
        Ok(reached)
    }

    /// Makes the directory `name` in it with exactly `mode` and opens it. One that is there already
    /// and belongs to this program is taken.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when something else of that name is in the way, and any
    /// error of the file system.
    pub fn make_directory(&self, name: &str, mode: u32) -> io::Result<Self> {
        let first = Mode::from_bits_truncate(mode & 0o755);
        let is_new = match mkdirat(self, name, first) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let made = self.directory(Path::new(name))?;
        let metadata = made.metadata()?;
        if !is_new && metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("`{name}` is there already and belongs to somebody else"),
            ));
        }
        if metadata.permissions().mode() & 0o7777 != mode {
            File::from(made.file.try_clone()?).set_permissions(fs::Permissions::from_mode(mode))?;
        }
        Ok(made)
    }

    /// Makes the file `name` in it, which must not be there.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], and any error of the file system.
    pub fn create_file(&self, name: &Path, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = File::from(self.open_name(name, flags, mode)?);
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(file)
    }

    /// Makes the file `name` in it in place of one that may be there; what that one's other names
    /// mean is left alone.
    ///
    /// # Errors
    /// Any error of the file system; a directory of that name is one.
    pub fn replace_file(&self, name: &Path, mode: u32) -> io::Result<File> {
        for _ in 0..REPLACE_TRIES_MAX {
            match self.remove_file(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            match self.create_file(name, mode) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => return done,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Puts a file of these bytes at `name` in it, in one step: whoever opens that name finds
    /// either all of what was there before or all of this. `owner` is its user and group where
    /// they are not this process's own.
    ///
    /// # Errors
    /// Any error of the file system; a directory of that name is one. Nothing is left behind then.
    pub fn put_file(
        &self,
        name: &Path,
        mode: u32,
        owner: (Option<u32>, Option<u32>),
        bytes: &[u8],
    ) -> io::Result<()> {
        single(name)?;
        let aside = PathBuf::from(format!(".{}", random::uuid()));
        let file = self.create_file(&aside, mode)?;
        let filled = fill(file, owner, bytes);
        let put = filled.and_then(|()| Ok(renameat(self, &aside, self, name)?));
        if put.is_err() {
            self.remove_file(&aside).ok();
        }
        put
    }

    /// Opens the file `name` in it to append to; makes it, mode 0644, when it is not there.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for anything but a file of this program with this one name,
    /// and any error of the file system.
    pub fn append_file(&self, name: &Path) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT;
        // Without blocking: nobody may read at the other end of a pipe.
        let file = File::from(self.open_name(name, flags | OFlag::O_NONBLOCK, 0o644)?);
        let metadata = file.metadata()?;
        let is_own = metadata.uid() == nix::unistd::geteuid().as_raw();
        if !metadata.is_file() || metadata.nlink() > 1 || !is_own {
            return Err(no_file_of_ours(name));
        }
        Ok(file)
    }

    /// Makes the symbolic link `name` in it, which must not be there.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], and any error of the file system.
    pub fn link(&self, name: &Path, to: &Path) -> io::Result<()> {
        single(name)?;
        Ok(symlinkat(to, self, name)?)
    }

    /// Removes the name of a file from it.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn remove_file(&self, name: &Path) -> io::Result<()> {
        single(name)?;
        Ok(unlinkat(self, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Listens on a socket `name` in it, which takes the place of a file of that name. Its path may
    /// be longer than the address of a socket. `owner` are the numbers of a user and its group.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when somebody else puts something in its place, and any
    /// error of the file system.
    pub fn listen(
        &self,
        name: &Path,
        owner: Option<(u32, u32)>,
        mode: u32,
    ) -> io::Result<UnixListener> {
        single(name)?;
        match self.remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Nobody else may connect before it has its mode: the usual mask forbids to write.
        let listener = UnixListener::bind(self.reach().join(name))?;
        let found = self.find(name, Links::Refused)?;
        if !found.metadata.file_type().is_socket() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let pinned = reach(&found.handle);
        fs::set_permissions(&pinned, fs::Permissions::from_mode(mode))?;
        if let Some((user, group)) = owner {
            chown(&pinned, Some(user), Some(group))?;
        }
        Ok(listener)
    }

    /// Its entries, in no order.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn entries(&self) -> io::Result<fs::ReadDir> {
        fs::read_dir(self.reach())
    }

    /// Its own metadata.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn metadata(&self) -> io::Result<fs::Metadata> {
        fs::metadata(self.reach())
    }

    /// A path by which this process reaches the open directory, whatever became of its name.
    pub fn reach(&self) -> PathBuf {
        reach(&self.file)
    }

    /// Opens or makes the one name `name` without following a link.
    fn open_name(&self, name: &Path, flags: OFlag, mode: u32) -> io::Result<OwnedFd> {
        single(name)?;
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(self, name, flags, Mode::from_bits_truncate(mode)) {
            Ok(file) => Ok(file),
            Err(Errno::ELOOP | Errno::ENXIO) => Err(no_file_of_ours(name)),
            Err(error) => Err(error.into()),
        }
    }

    fn open_below(&self, path: &Path, flags: OFlag, links: Links) -> io::Result<OwnedFd> {
        let inside = relative(path);
        let inside = if inside.as_os_str().is_empty() {
            Path::new(".")
        } else {
            inside
        };
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | match links {
                Links::Refused => ResolveFlag::RESOLVE_NO_SYMLINKS,
                Links::Inside => ResolveFlag::RESOLVE_NO_MAGICLINKS,
            };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(resolve);
        match openat2(self, inside, how) {
            Ok(file) => Ok(file),
            Err(Errno::EXDEV | Errno::ELOOP) => Err(leaves(path)),
            Err(Errno::ENOSYS) => self.open_by_steps(inside, flags),
            Err(error) => Err(error.into()),
        }
    }

    /// As one call of the kernel would open it, without following any link.
    fn open_by_steps(&self, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                Component::ParentDir => {
                    names.pop().ok_or_else(|| leaves(path))?;
                }
                Component::RootDir | Component::Prefix(_) => return Err(leaves(path)),
            }
        }
        let fixed = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let step = |at: BorrowedFd<'_>, name: &Path, flags: OFlag| {
            openat(at, name, flags | fixed, Mode::empty()).map_err(|error| match error {
                Errno::ELOOP => leaves(path),
                error => error.into(),
            })
        };
        let Some((last, parents)) = names.split_last() else {
            return step(self.as_fd(), Path::new("."), flags);
        };
        let mut at = self.file.try_clone()?;
        for name in parents {
            at = match step(
                at.as_fd(),
                Path::new(name),
                OFlag::O_PATH | OFlag::O_DIRECTORY,
            ) {
                // What is no directory may be a link.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    return Err(leaves(path));
                }
                reached => reached?,
            };
        }
        let file = step(at.as_fd(), Path::new(last), flags)?;
        // O_PATH opens the link itself.
        if is_link(&file)? {
            return Err(leaves(path));
        }
        Ok(file)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Found {
    /// What is known of it without opening it.
    pub fn metadata(&self) -> &fs::Metadata {
        &self.metadata
    }

    /// Where it lies at this moment.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn real_path(&self) -> io::Result<PathBuf> {
        fs::read_link(reach(&self.handle))
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for anything else, and any error of the file system.
    pub fn open_file(&self) -> io::Result<File> {
        if !self.metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "is not a regular file",
            ));
        }
        OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(reach(&self.handle))
    }

    /// Opens a directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotADirectory`], and any error of the file system.
    pub fn open_directory(&self) -> io::Result<Directory> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let file = openat(self.handle.as_fd(), ".", flags, Mode::empty())?;
        Ok(Directory { file })
    }
}

/// True when following `path` step by step never rises above its start.
pub fn stays_below(path: &Path) -> bool {
    let mut depth = 0_usize;
    for component in path.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    true
}

fn reach(file: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn is_link(file: &OwnedFd) -> io::Result<bool> {
    Ok(File::from(file.try_clone()?).metadata()?.is_symlink())
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Gives a new file its owner and its bytes.
fn fill(mut file: File, owner: (Option<u32>, Option<u32>), bytes: &[u8]) -> io::Result<()> {
    let (user, group) = (owner.0.map(Uid::from_raw), owner.1.map(Gid::from_raw));
    if user.is_some() || group.is_some() {
        fchown(&file, user, group)?;
    }
    file.write_all(bytes)
}

/// Refuses everything but one name.
fn single(name: &Path) -> io::Result<()> {
    let mut components = name.components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(_)), None) => Ok(()),
        _ => Err(leaves(name)),
    }
}

fn leaves(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("path `{}` leaves the directory", path.display()),
    )
}

fn no_file_of_ours(name: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("`{}` is no regular file of this program", name.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, os::unix::fs::symlink};

    struct Place {
        outside: tempfile::TempDir,
        inside: PathBuf,
    }

    /// `<outside>/secret` and `<outside>/inside/` with a file, a pipe, and links in and out.
    fn place() -> Place {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let inside = outside.path().join("inside");
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("file"), "content").unwrap();
        fs::create_dir(inside.join("dir")).unwrap();
        fs::write(inside.join("dir/deep"), "deep").unwrap();
        symlink(outside.path(), inside.join("up")).unwrap();
        symlink("../secret", inside.join("out")).unwrap();
        symlink("dir", inside.join("in")).unwrap();
        symlink("file", inside.join("to_file")).unwrap();
        symlink("/etc/passwd", inside.join("absolute")).unwrap();
        nix::unistd::mkfifo(&inside.join("pipe"), Mode::from_bits_truncate(0o666)).unwrap();
        Place { outside, inside }
    }

    fn text(found: io::Result<Found>) -> Result<String, io::ErrorKind> {
        let mut text = String::new();
        found
            .and_then(|found| found.open_file())
            .and_then(|mut file| file.read_to_string(&mut text))
            .map_err(|error| error.kind())?;
        Ok(text)
    }

    const OUT: &[&str] = &[
        "up/secret",
        "out",
        "../secret",
        "a/../../secret",
        "/../secret",
        "absolute",
        "up",
    ];

    #[test]
    fn a_path_cannot_leave_the_directory() {
        let place = place();
        let directory = Directory::open(&place.inside).unwrap();
        for path in OUT {
            let path = Path::new(path);
            for links in [Links::Refused, Links::Inside] {
                let error = directory.find(path, links).unwrap_err();
                let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound];
                assert!(kinds.contains(&error.kind()), "{path:?}: {error}");
            }
            assert!(directory.create_directory(&path.join("x")).is_err());
            assert!(directory.append_file(path).is_err());
            if path.components().count() > 1 {
                assert!(directory.replace_file(path, 0o644).is_err());
            }
        }
        assert_eq!(
            text(directory.find(Path::new("/file"), Links::Refused)).unwrap(),
            "content"
        );
        assert_eq!(
            text(directory.find(Path::new("in/deep"), Links::Inside)).unwrap(),
            "deep"
        );
        for link in ["in/deep", "to_file"] {
            let refused = text(directory.find(Path::new(link), Links::Refused));
            assert_eq!(
                refused.unwrap_err(),
                io::ErrorKind::PermissionDenied,
                "{link}"
            );
        }
        directory.create_directory(Path::new("./x/y/z")).unwrap();
        assert!(place.inside.join("x/y/z").is_dir());
        assert_eq!(fs::read(place.outside.path().join("secret")).unwrap(), b"s");
    }

    #[test]
    fn step_by_step_refuses_the_same() {
        let place = place();
        let directory = Directory::open(&place.inside).unwrap();
        for flags in [OFlag::O_PATH, OFlag::O_RDONLY | OFlag::O_NONBLOCK] {
            for path in OUT.iter().chain(&["in/deep", "to_file"]) {
                let path = relative(Path::new(path));
                let error = directory.open_by_steps(path, flags).unwrap_err();
                let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound];
                assert!(kinds.contains(&error.kind()), "{path:?}: {error}");
            }
            for path in ["file", "dir/deep", "./dir/../file", "."] {
                directory.open_by_steps(Path::new(path), flags).unwrap();
            }
        }
    }

    #[test]
    fn what_is_no_regular_file_is_neither_opened_nor_written() {
        let place = place();
        let directory = Directory::open(&place.inside).unwrap();
        fs::hard_link(
            place.outside.path().join("secret"),
            place.inside.join("hard"),
        )
        .unwrap();
        let pipe = directory.find(Path::new("pipe"), Links::Refused);
        assert_eq!(text(pipe).unwrap_err(), io::ErrorKind::InvalidInput);
        for name in ["pipe", "out", "hard", "absolute"] {
            let error = directory.append_file(Path::new(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
            // In its place, not through it.
            let mut file = directory.replace_file(Path::new(name), 0o600).unwrap();
            file.write_all(b"new").unwrap();
            assert_eq!(fs::read(place.inside.join(name)).unwrap(), b"new", "{name}");
        }
        assert!(directory.append_file(Path::new("dir")).is_err());
        assert!(directory.replace_file(Path::new("dir"), 0o600).is_err());
        assert_eq!(fs::read(place.outside.path().join("secret")).unwrap(), b"s");
    }

    #[test]
    fn a_file_is_put_in_one_step_and_nothing_else_is_left() {
        let place = place();
        let directory = Directory::open(&place.inside).unwrap();
        let entries = || directory.entries().unwrap().count();
        let before = entries();
        // In the place of a link, not through it.
        for name in ["out", "absolute", "pipe", "file", "new"] {
            let put = directory.put_file(Path::new(name), 0o640, (None, None), b"new");
            put.unwrap();
            let path = place.inside.join(name);
            assert_eq!(fs::read(&path).unwrap(), b"new", "{name}");
            let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o640, "{name}");
        }
        for name in ["dir", "../secret", "dir/deep", ""] {
            let put = directory.put_file(Path::new(name), 0o640, (None, None), b"new");
            assert!(put.is_err(), "{name}");
        }
        assert_eq!(entries(), before + 1);
        assert_eq!(fs::read(place.outside.path().join("secret")).unwrap(), b"s");
    }

    #[test]
    fn a_directory_gets_exactly_its_mode_and_a_link_is_not_taken_for_one() {
        let place = place();
        let directory = Directory::open(&place.inside).unwrap();
        for (name, mode) in [("a", 0o777), ("b", 0o1777), ("c", 0o700), ("a", 0o755)] {
            directory.make_directory(name, mode).unwrap();
            let found = fs::metadata(place.inside.join(name)).unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, mode, "{name}");
        }
        let before = fs::metadata(place.outside.path()).unwrap().permissions();
        assert!(directory.make_directory("up", 0o777).is_err());
        let after = fs::metadata(place.outside.path()).unwrap().permissions();
        assert_eq!(before, after);
    }

    #[test]
    fn depth_decides_whether_a_path_stays() {
        for (path, expected) in [
            ("a/b", true),
            ("a/../b", true),
            ("../a", false),
            ("a/../../b", false),
            ("/etc", true),
        ] {
            assert_eq!(stays_below(Path::new(path)), expected, "{path}");
        }
    }
}
