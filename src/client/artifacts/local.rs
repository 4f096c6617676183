//! Artifacts from a path of this machine: below the directories that the operator allows, and with
//! the rights of the task's user.

use super::Reason;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};
use sys::{
    credentials::as_user,
    directory::{Directory, Links, stays_below},
    processes,
};

/// A file of this machine that an artifact may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The allowed directory.
    dir: PathBuf,
    /// Below it.
    inside: PathBuf,
    /// Whose rights count; empty for the agent's own.
    user: String,
}

impl Wanted {
    /// Finds the allowed directory that `path` lies in, by the text of the path.
    ///
    /// # Errors
    /// [`Reason::NotAllowed`] when it lies in none.
    pub(super) fn new(path: &Path, allowed: &[PathBuf], user: &str) -> Result<Self, Reason> {
        let found = allowed.iter().find_map(|dir| {
            let inside = path.strip_prefix(dir).ok()?;
            stays_below(inside).then(|| (dir.clone(), inside.to_owned()))
        });
        match found {
            Some((dir, inside)) => Ok(Self {
                dir,
                inside,
                user: user.to_owned(),
            }),
            None => Err(Reason::NotAllowed {
                path: path.display().to_string(),
                proposal: path.parent().unwrap_or(path).display().to_string(),
                allowed: list(allowed),
            }),
        }
    }

    /// Opens it with the rights of the user.
    ///
    /// # Errors
    /// When it is not there or no regular file, when a link leads out of the allowed directory, and
    /// when the user may not read it.
    pub(super) fn open(&self) -> Result<File, Reason> {
        let ids = match self.user.as_str() {
            "" => None,
            name => Some(processes::user_ids(name)?),
        };
        // Outside of the other thread the reason is not lost in an error of the system.
        let opened = match ids {
            Some(ids) => as_user(ids, || Ok(self.open_here())),
            None => Ok(self.open_here()),
        };
        opened.unwrap_or_else(|error| Err(self.unreadable(error)))
    }

    fn open_here(&self) -> Result<File, Reason> {
        let path = || self.dir.join(&self.inside).display().to_string();
        let dir = Directory::open_trusted(&self.dir).map_err(|error| self.unreadable(error))?;
        let found = dir
            .find(&self.inside, Links::Inside)
            .map_err(|error| self.unreadable(error))?;
        if found.metadata().is_dir() {
            return Err(Reason::IsDirectory { path: path() });
        }
        if !found.metadata().is_file() {
            return Err(Reason::NoFile { path: path() });
        }
        found.open_file().map_err(|error| self.unreadable(error))
    }

    fn unreadable(&self, error: io::Error) -> Reason {
        let path = self.dir.join(&self.inside).display().to_string();
        // The system's own refusal has a number; that of a path that leaves the directory has none.
        if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none() {
            return Reason::LeavesAllowed {
                path,
                dir: self.dir.display().to_string(),
            };
        }
        if self.user.is_empty() || error.kind() == io::ErrorKind::NotFound {
            return Reason::Io(io::Error::new(error.kind(), format!("`{path}`: {error}")));
        }
        Reason::Unreadable {
            path,
            user: self.user.clone(),
            error,
        }
    }
}

fn list(allowed: &[PathBuf]) -> String {
    if allowed.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = allowed
        .iter()
        .map(|dir| format!("`{}`", dir.display()))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Read, os::unix::fs::symlink};

    #[test]
    fn only_what_lies_below_an_allowed_directory_is_meant() {
        let allowed = ["/srv/a".into(), "/b".into()];
        for (path, expected) in [
            ("/srv/a/x/y", Some("x/y")),
            ("/b/x", Some("x")),
            ("/srv/a/../b", None),
            ("/srv/ab/x", None),
            ("/etc/shadow", None),
            ("/b/x/../../etc/shadow", None),
        ] {
            let wanted = Wanted::new(Path::new(path), &allowed, "");
            let inside = wanted.as_ref().ok().map(|wanted| wanted.inside.as_path());
            assert_eq!(inside, expected.map(Path::new), "{path}");
        }
        let refused = Wanted::new(Path::new("/etc/shadow"), &allowed, "").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "this node does not allow to read `/etc/shadow`: local artifacts must lie below a directory of \
             `client { artifact_directories = [\"/etc\"] }` in the agent's configuration, which names \
             `/srv/a`, `/b`"
        );
    }

    #[test]
    fn links_may_not_lead_out_and_pipes_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let allowed = dir.path().join("allowed");
        fs::create_dir(&allowed).unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        fs::write(allowed.join("file"), "f").unwrap();
        symlink("file", allowed.join("in")).unwrap();
        symlink("../secret", allowed.join("out")).unwrap();
        symlink("/etc/passwd", allowed.join("absolute")).unwrap();
        nix::unistd::mkfifo(&allowed.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (name, expected) in [
            ("file", "f"),
            ("in", "f"),
            ("out", "leads out of"),
            ("absolute", "leads out of"),
            ("pipe", "is no regular file"),
            (".", "is a directory"),
            ("none", "No such file"),
        ] {
            let wanted = Wanted::new(&allowed.join(name), std::slice::from_ref(&allowed), "");
            let found = match wanted.unwrap().open() {
                Ok(mut file) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    text
                }
                Err(reason) => reason.to_string(),
            };
            assert!(found.contains(expected), "{name}: {found}");
        }
    }
}
