//! Where an allocation keeps its files.
//!
//! ```text
//! <alloc dir>/<allocation>/
//!   alloc/  data/ logs/ tmp/     shared by its tasks
//!   <task>/ local/ secrets/ private/ tmp/
//! ```

use crate::sys::files;
use jobs::{environment::TaskDirectories, model::AllocId};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Directories of a task whose files the file API does not show.
pub(super) const SECRET_DIRS: [&str; 2] = ["secrets", "private"];

/// The directory of one allocation.
#[derive(Clone, Debug)]
pub(super) struct AllocDir {
    root: PathBuf,
}

impl AllocDir {
    /// Names the directory; creates nothing.
    pub(super) fn new(alloc_dir: &Path, alloc_id: AllocId) -> Self {
        Self {
            root: alloc_dir.join(alloc_id.to_string()),
        }
    }

    /// The directory itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
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

    /// Creates what the tasks share.
    pub(super) fn build(&self) -> io::Result<()> {
        files::create_dir(&self.root, 0o755)?;
        files::create_dir(&self.root.join("alloc"), 0o755)?;
        for name in ["data", "logs", "tmp"] {
            files::create_dir(&self.root.join("alloc").join(name), 0o777)?;
        }
        Ok(())
    }

    /// Creates what belongs to one task.
    pub(super) fn build_task(&self, task: &str) -> io::Result<()> {
        let dir = self.task(task);
        files::create_dir(&dir, 0o777)?;
        files::create_dir(&dir.join("local"), 0o777)?;
        for name in SECRET_DIRS {
            files::create_dir(&dir.join(name), 0o700)?;
        }
        files::create_dir(&dir.join("tmp"), 0o1777)
    }

    /// Removes everything.
    pub(super) fn destroy(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
