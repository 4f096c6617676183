//! Where an allocation keeps its files.
//!
//! ```text
//! <alloc dir>/<allocation>/
//!   alloc/  data/ logs/ tmp/     shared by its tasks
//!   <task>/ local/ secrets/ private/ tmp/
//! ```

use jobs::{environment::TaskDirectories, model::AllocId};
use nix::unistd::fchown;
use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
};
use sys::{directory::Directory, removal::remove_tree};

/// Directories of a task whose files the file API does not show.
pub(super) const SECRET_DIRS: [&str; 2] = ["secrets", "private"];

/// The socket among a task's secrets at which the agent answers its API.
const API_SOCKET: &str = "api.sock";

/// Where data that comes from another node is put aside until it is whole, below `alloc`.
const ASIDE: &str = ".migrating";

/// Who reads the secrets of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// The agent's own user.
    Agent,
    /// A user and its group, by their numbers.
    User(u32, u32),
    /// A user of an image, who is not known here.
    Anyone,
}

/// The directory of one allocation.
#[derive(Clone, Debug)]
pub(super) struct AllocDir {
    parent: PathBuf,
    id: String,
    root: PathBuf,
}

impl AllocDir {
    /// Names the directory; creates nothing.
    pub(super) fn new(alloc_dir: &Path, alloc_id: AllocId) -> Self {
        Self {
            parent: alloc_dir.to_owned(),
            id: alloc_id.to_string(),
            root: alloc_dir.join(alloc_id.to_string()),
        }
    }

    /// The directory itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// True when there is one.
    pub(super) fn exists(&self) -> bool {
        fs::symlink_metadata(&self.root).is_ok_and(|found| found.is_dir())
    }

    /// What the tasks share.
    pub(super) fn shared(&self) -> PathBuf {
        self.root.join("alloc")
    }

    /// Log files of all tasks.
    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("alloc/logs")
    }

    /// The directory of a task, in which it starts.
    pub(super) fn task(&self, task: &str) -> PathBuf {
        self.root.join(task)
    }

    /// The paths that a task without isolation sees.
    pub(super) fn seen_by(&self, task: &str) -> TaskDirectories {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        TaskDirectories {
            alloc: text(self.root.join("alloc")),
            local: text(self.task(task).join("local")),
            secrets: text(self.task(task).join("secrets")),
        }
    }

    /// Creates what the tasks share. Every task may write to it, whatever its user, but only this
    /// program where logs go, and nobody can put something else in the place of what is made here.
    pub(super) fn build(&self) -> io::Result<()> {
        let root = self.parent()?.make_directory(&self.id, 0o755)?;
        let shared = root.make_directory("alloc", 0o755)?;
        shared.make_directory("logs", 0o755)?;
        for name in ["data", "tmp"] {
            shared.make_directory(name, 0o777)?;
        }
        root.make_directory("alloc", 0o1777)?;
        Ok(())
    }

    /// Moves the data of another allocation, and what its tasks of these names have in `local`, in
    /// here, as far as it is there. Both are over or not begun, and what is moved lies where nobody
    /// can put something else in its place.
    pub(super) fn take_over(&self, from: &Self, tasks: &[String]) -> io::Result<()> {
        move_directory(&from.shared().join("data"), &self.shared().join("data"))?;
        let root = self.open()?;
        for task in tasks {
            root.make_directory(task, 0o700)?;
            move_directory(
                &from.task(task).join("local"),
                &self.task(task).join("local"),
            )?;
        }
        Ok(())
    }

    /// Makes the directory anew in which data from another node is put aside, in the form of the
    /// whole. No task of this allocation has run yet.
    pub(super) fn put_aside(&self) -> io::Result<Directory> {
        self.drop_aside()?;
        let shared = self.open()?.directory(Path::new("alloc"))?;
        shared.make_directory(ASIDE, 0o700)
    }

    /// Removes what was put aside.
    pub(super) fn drop_aside(&self) -> io::Result<()> {
        let shared = self.open()?.directory(Path::new("alloc"))?;
        remove_tree(&shared, Path::new(ASIDE))
    }

    /// Lets what was put aside take its place, if there is any. What is in the way came there in
    /// the same manner, from an agent that was killed.
    pub(super) fn take_aside(&self, tasks: &[String]) -> io::Result<()> {
        let aside = Self {
            parent: self.shared(),
            id: ASIDE.into(),
            root: self.shared().join(ASIDE),
        };
        if fs::symlink_metadata(aside.root()).is_err() {
            return Ok(());
        }
        let root = self.open()?;
        if aside.shared().join("data").is_dir() {
            remove_tree(&root.directory(Path::new("alloc"))?, Path::new("data"))?;
        }
        for task in tasks {
            if aside.task(task).join("local").is_dir() {
                let dir = root.make_directory(task, 0o700)?;
                remove_tree(&dir, Path::new("local"))?;
            }
        }
        self.take_over(&aside, tasks)?;
        // What the agent made on the way has its mode, what came from elsewhere its own.
        self.build()?;
        aside.destroy()
    }

    /// Creates what belongs to one task. Everyone may write to its directory, but nobody can put
    /// something else in the place of what is made here. `reader` is who reads its secrets.
    pub(super) fn build_task(&self, task: &str, reader: Reader) -> io::Result<()> {
        let root = self.open()?;
        let dir = root.make_directory(task, 0o700)?;
        dir.make_directory("local", 0o777)?;
        for name in SECRET_DIRS {
            dir.make_directory(name, 0o700)?;
        }
        dir.make_directory("tmp", 0o1777)?;
        let mode = match reader {
            Reader::Agent => 0o1777,
            Reader::User(uid, gid) => {
                let secrets = dir.directory(Path::new("secrets"))?;
                fchown(&secrets, Some(uid.into()), Some(gid.into()))?;
                0o1777
            }
            // Whoever that is inside: on the host nobody passes the directory above.
            Reader::Anyone => {
                dir.make_directory("secrets", 0o777)?;
                0o710
            }
        };
        root.make_directory(task, mode)?;
        Ok(())
    }

    /// Listens at the socket of a task's own, for whoever reads its secrets.
    pub(super) fn listen(&self, task: &str, reader: Reader) -> io::Result<UnixListener> {
        let secrets = self.open()?.directory(&Path::new(task).join("secrets"))?;
        let (owner, mode) = match reader {
            Reader::Agent => (None, 0o600),
            Reader::User(user, group) => (Some((user, group)), 0o600),
            Reader::Anyone => (None, 0o666),
        };
        secrets.listen(Path::new(API_SOCKET), owner, mode)
    }

    /// True when the directory of the task is complete.
    pub(super) fn has_task(&self, task: &str) -> bool {
        fs::symlink_metadata(self.task(task))
            .is_ok_and(|found| found.is_dir() && found.permissions().mode() & 0o7777 != 0o700)
    }

    /// Opens the directory itself.
    pub(super) fn open(&self) -> io::Result<Directory> {
        self.parent()?.directory(Path::new(&self.id))
    }

    /// Removes everything, whatever tasks have put there.
    pub(super) fn destroy(&self) -> io::Result<()> {
        remove_tree(&self.parent()?, Path::new(&self.id))
    }

    fn parent(&self) -> io::Result<Directory> {
        Directory::open_trusted(&self.parent)
    }
}

/// Moves a directory; the other one is missing or empty. Nothing happens when it is no directory.
fn move_directory(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(from) {
        Ok(found) if found.is_dir() => fs::rename(from, to),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_a_predecessor_is_moved_once_and_only_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let [old, new] = ["a1", "a2"].map(|id| AllocDir::new(dir.path(), AllocId::named(id)));
        let tasks = ["web", "new"].map(str::to_owned);
        new.build().unwrap();
        new.take_over(&old, &tasks).unwrap();
        old.build().unwrap();
        old.build_task("web", Reader::Agent).unwrap();
        fs::write(old.shared().join("data/kept"), "d").unwrap();
        fs::write(old.shared().join("tmp/lost"), "t").unwrap();
        fs::write(old.task("web").join("local/kept"), "l").unwrap();
        fs::write(old.task("web").join("secrets/lost"), "s").unwrap();
        for _ in 0..2 {
            new.take_over(&old, &tasks).unwrap();
        }
        for task in &tasks {
            assert!(!new.has_task(task));
            new.build_task(task, Reader::Agent).unwrap();
        }
        let read = |path: &str| fs::read_to_string(new.root().join(path)).ok();
        assert_eq!(read("alloc/data/kept").as_deref(), Some("d"));
        assert_eq!(read("web/local/kept").as_deref(), Some("l"));
        assert_eq!(read("alloc/tmp/lost"), None);
        assert_eq!(read("web/secrets/lost"), None);
        assert!(!old.shared().join("data").exists());
    }

    #[test]
    fn what_was_put_aside_takes_its_place_once() {
        let dir = tempfile::tempdir().unwrap();
        let alloc = AllocDir::new(dir.path(), AllocId::named("a1"));
        let tasks = ["web", "new"].map(str::to_owned);
        alloc.build().unwrap();
        alloc.take_aside(&tasks).unwrap();
        for text in ["first", "second"] {
            // An agent that is killed after that begins anew.
            let aside = alloc.put_aside().unwrap();
            aside.create_directory(Path::new("alloc/data")).unwrap();
            let local = aside.create_directory(Path::new("web/local")).unwrap();
            local
                .put_file(Path::new("kept"), 0o644, (None, None), text.as_bytes())
                .unwrap();
            alloc.take_aside(&tasks).unwrap();
        }
        for task in &tasks {
            alloc.build_task(task, Reader::Agent).unwrap();
        }
        let kept = fs::read_to_string(alloc.task("web").join("local/kept"));
        assert_eq!(kept.unwrap(), "second");
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(alloc.shared().join("data")), 0o777);
        assert_eq!(mode(alloc.task("web").join("local")), 0o777);
        assert!(!alloc.shared().join(ASIDE).exists());
        // What is not whole goes.
        alloc
            .put_aside()
            .unwrap()
            .create_directory(Path::new("alloc/data"))
            .unwrap();
        alloc.drop_aside().unwrap();
        assert!(!alloc.shared().join(ASIDE).exists());
    }

    #[test]
    fn each_directory_has_its_mode_and_making_them_again_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let alloc = AllocDir::new(dir.path(), AllocId::named("a1"));
        for _ in 0..2 {
            alloc.build().unwrap();
            alloc.build_task("web", Reader::Agent).unwrap();
            assert!(alloc.has_task("web"));
        }
        for (path, expected) in [
            ("", 0o755),
            ("alloc", 0o1777),
            ("alloc/logs", 0o755),
            ("alloc/data", 0o777),
            ("alloc/tmp", 0o777),
            ("web", 0o1777),
            ("web/local", 0o777),
            ("web/secrets", 0o700),
            ("web/private", 0o700),
            ("web/tmp", 0o1777),
        ] {
            let mode = fs::metadata(alloc.root().join(path))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, expected, "{path}");
        }
        alloc.destroy().unwrap();
        assert!(!alloc.root().exists());
        alloc.destroy().unwrap();
    }

    #[test]
    fn secrets_of_an_image_are_behind_a_closed_door() {
        let dir = tempfile::tempdir().unwrap();
        let alloc = AllocDir::new(dir.path(), AllocId::named("a1"));
        alloc.build().unwrap();
        alloc.build_task("box", Reader::Anyone).unwrap();
        assert!(alloc.has_task("box"));
        for (path, expected) in [
            ("box", 0o710),
            ("box/secrets", 0o777),
            ("box/private", 0o700),
        ] {
            let found = fs::metadata(alloc.root().join(path)).unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, expected, "{path}");
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_directory_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let before = fs::metadata(&outside).unwrap().permissions();
        let alloc = AllocDir::new(&dir.path().join("allocs"), AllocId::named("a1"));
        fs::create_dir(dir.path().join("allocs")).unwrap();
        alloc.build().unwrap();
        fs::create_dir(alloc.task("web")).unwrap();
        std::os::unix::fs::symlink(&outside, alloc.task("web").join("local")).unwrap();
        assert!(alloc.build_task("web", Reader::Agent).is_err());
        assert_eq!(fs::metadata(&outside).unwrap().permissions(), before);
        alloc.destroy().unwrap();
        assert!(outside.is_dir());
    }
}
