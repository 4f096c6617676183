use crate::drivers::Unrunnable;
use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Finds the program that a task names.
#[derive(Debug)]
pub(in crate::drivers) struct Lookup {
    /// Directories in their order: the agent's own, then those of its PATH.
    dirs: Vec<PathBuf>,
}

impl Lookup {
    /// Programs beside `executable` come first, so that a job can name the agent's own program
    /// although nobody installed it.
    pub(in crate::drivers) fn new(executable: &Path) -> Self {
        let own = executable.parent().map(Path::to_path_buf);
        let path = env::var_os("PATH").unwrap_or_default();
        Self {
            dirs: own.into_iter().chain(env::split_paths(&path)).collect(),
        }
    }

    /// The program for `command`: an absolute path as it is, then below the task's directory, then
    /// the directories of programs. What lies in the task's directory is made executable.
    pub(in crate::drivers) fn find(
        &self,
        command: &str,
        task_dir: &Path,
    ) -> Result<PathBuf, Unrunnable> {
        let not_found = || Unrunnable::NotFound {
            command: command.to_owned(),
        };
        if command.is_empty() {
            return Err(not_found());
        }
        let local = [task_dir.join("local").join(command), task_dir.join(command)];
        if let Some(path) = local.into_iter().find(|path| path.exists()) {
            if path.is_dir() {
                return Err(Unrunnable::Directory { path });
            }
            if path.starts_with(task_dir) {
                make_executable(&path);
            }
            return Ok(path);
        }
        if command.starts_with('/') {
            return Err(not_found());
        }
        self.dirs
            .iter()
            .map(|dir| dir.join(command))
            .find(|path| is_program(path))
            .ok_or_else(not_found)
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A file that cannot be made executable fails at its start with a better message.
pub(super) fn make_executable(path: &Path) {
    if let Ok(found) = fs::metadata(path) {
        let mode = found.permissions().mode();
        if mode & 0o111 != 0o111 {
            fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o111)).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_directory_comes_before_path_and_the_agents_own_before_both() {
        let dir = tempfile::tempdir().unwrap();
        let task = dir.path().join("task");
        let bin = dir.path().join("bin");
        fs::create_dir_all(task.join("local/folder")).unwrap();
        fs::create_dir_all(&bin).unwrap();
        for file in ["task/local/tool", "task/sh", "bin/agent", "bin/tool"] {
            let path = dir.path().join(file);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        make_executable(&bin.join("agent"));
        let lookup = Lookup::new(&bin.join("agent"));
        let find = |command: &str| lookup.find(command, &task);
        assert_eq!(find("tool").unwrap(), task.join("local/tool"));
        assert!(is_program(&task.join("local/tool")));
        assert_eq!(find("sh").unwrap(), task.join("sh"));
        assert_eq!(find("agent").unwrap(), bin.join("agent"));
        assert!(find("true").unwrap().ends_with("true"));
        assert_eq!(find("/bin/sh").unwrap(), Path::new("/bin/sh"));
        assert!(matches!(find("folder"), Err(Unrunnable::Directory { .. })));
        for missing in ["", "/no/such", "no-such-program"] {
            assert!(matches!(find(missing), Err(Unrunnable::NotFound { .. })));
        }
    }
}
