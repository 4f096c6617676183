//! The files of templates: where they lie in the allocation's directory, which none of them leaves.

use crate::allocdir::AllocDir;
use jobs::model::Template;
use std::{
    io::{self, Read},
    path::{Component, Path, PathBuf},
};
use sys::directory::Links;

/// Longest file that is read, bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Mode of a file unless the template says so.
const USUAL_MODE: u32 = 0o644;

/// Why a file of a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("the path `{path}` leaves the allocation's directory")]
    Escapes { path: String },
    #[error("`{path}` cannot be read: {error}")]
    Unreadable { path: String, error: io::Error },
    #[error("`{path}` is longer than {FILE_BYTES_MAX} bytes")]
    TooLong { path: String },
    #[error("`{path}` is not UTF-8")]
    NoText { path: String },
    #[error("`{perms}` is no file mode in octal")]
    Mode { perms: String },
    #[error("`{path}` cannot be written: {error}")]
    Unwritable { path: String, error: io::Error },
}

/// The files of one task.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// Of its allocation.
    pub(super) dir: AllocDir,
    /// Its name.
    pub(super) task: String,
}

impl Files {
    /// The text of a file.
    pub(super) fn text(&self, path: &str) -> Result<String, Problem> {
        let bytes = self.bytes(path)?;
        String::from_utf8(bytes).map_err(|_| Problem::NoText { path: path.into() })
    }

    fn bytes(&self, path: &str) -> Result<Vec<u8>, Problem> {
        let below = self.below(path)?;
        let read = || {
            let file = self.dir.open()?.find(&below, Links::Inside)?.open_file()?;
            let mut bytes = Vec::new();
            file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|error| Problem::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(Problem::TooLong { path: path.into() });
        }
        Ok(bytes)
    }

    /// True when the template's destination holds just this already.
    pub(super) fn holds(&self, template: &Template, text: &str) -> bool {
        let Ok(below) = self.below(&template.dest_path) else {
            return false;
        };
        let look = || {
            let found = self.dir.open()?.find(&below, Links::Refused)?;
            if found.metadata().len() != text.len() as u64 {
                return Ok(false);
            }
            let mut bytes = Vec::with_capacity(text.len());
            let most = text.len() as u64 + 1;
            found.open_file()?.take(most).read_to_end(&mut bytes)?;
            Ok::<bool, io::Error>(bytes == text.as_bytes())
        };
        look().unwrap_or_default()
    }

    /// Writes the template's destination; whoever reads it meanwhile finds a whole text.
    pub(super) fn write(&self, template: &Template, text: &str) -> Result<(), Problem> {
        let path = &template.dest_path;
        let below = self.below(path)?;
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
            return Err(Problem::Escapes { path: path.clone() });
        };
        let mode = mode(&template.perms)?;
        let owner = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
        let owner = (owner(template.uid), owner(template.gid));
        let write = || {
            let parent = self.dir.open()?.create_directory(parent)?;
            parent.put_file(Path::new(name), mode, owner, text.as_bytes())
        };
        write().map_err(|error| Problem::Unwritable {
            path: path.clone(),
            error,
        })
    }

    /// A path of the task below the allocation's directory.
    fn below(&self, path: &str) -> Result<PathBuf, Problem> {
        let escapes = || Problem::Escapes { path: path.into() };
        // An absolute one comes from `${NOMAD_TASK_DIR}` and the like: as a task of the machine
        // sees it, or one with a root of its own, which has what is shared beside its own.
        let inside = match Path::new(path).strip_prefix(self.dir.root()) {
            Ok(inside) => inside.to_owned(),
            Err(_) => {
                let relative = path.trim_start_matches('/');
                let is_shared = path.starts_with('/') && Path::new(relative).starts_with("alloc");
                if is_shared {
                    PathBuf::from(relative)
                } else {
                    Path::new(&self.task).join(relative)
                }
            }
        };
        let mut names = Vec::new();
        for component in inside.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::ParentDir => {
                    names.pop().ok_or_else(escapes)?;
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        // Not the directory of the allocation or of a task itself, and no other task's.
        let is_own = names
            .first()
            .is_some_and(|first| *first == "alloc" || **first == *self.task);
        if names.len() < 2 || !is_own {
            return Err(escapes());
        }
        Ok(names.into_iter().collect())
    }
}

fn mode(perms: &str) -> Result<u32, Problem> {
    if perms.is_empty() {
        return Ok(USUAL_MODE);
    }
    let mode = u32::from_str_radix(perms, 8).ok();
    let mode = mode.filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| Problem::Mode {
        perms: perms.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocdir::Reader;
    use jobs::model::AllocId;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn files(dir: &Path) -> Files {
        let dir = AllocDir::new(dir, AllocId::named("a1"));
        dir.build().unwrap();
        for task in ["web", "other"] {
            dir.build_task(task, Reader::Agent).unwrap();
        }
        Files {
            dir,
            task: "web".into(),
        }
    }

    fn template(dest: &str) -> Template {
        Template {
            dest_path: dest.into(),
            perms: "0640".into(),
            ..Template::default()
        }
    }

    #[test]
    fn files_have_their_mode_and_are_found_by_every_way_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let root = files.dir.root().to_owned();
        let absolute = format!("{}/web/local/deep/a", root.display());
        for (dest, path) in [
            ("local/deep/a", "web/local/deep/a"),
            ("/local/deep/a", "web/local/deep/a"),
            (&absolute, "web/local/deep/a"),
            ("secrets/a.env", "web/secrets/a.env"),
            ("a", "web/a"),
            ("../alloc/data/a", "alloc/data/a"),
            ("/alloc/data/a", "alloc/data/a"),
        ] {
            let template = template(dest);
            files.write(&template, dest).unwrap();
            let found = fs::metadata(root.join(path)).unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, 0o640, "{dest}");
            assert_eq!(fs::read_to_string(root.join(path)).unwrap(), dest);
            assert!(files.holds(&template, dest) && !files.holds(&template, "x"));
            assert_eq!(files.text(dest).unwrap(), dest);
        }
    }

    #[test]
    fn no_file_leaves_the_allocation() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "s").unwrap();
        let local = files.dir.task("web").join("local");
        std::os::unix::fs::symlink(&outside, local.join("up")).unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), local.join("link")).unwrap();
        for path in [
            "../../outside/secret",
            "local/../../../outside/secret",
            "local/up/secret",
            "../other/local/a",
            "..",
            "",
            ".",
            "../alloc",
        ] {
            assert!(files.write(&template(path), "x").is_err(), "{path}");
            assert!(files.text(path).is_err(), "{path}");
        }
        assert!(files.text("local/link").is_err());
        // In the place of the link, not through it.
        files.write(&template("local/link"), "x").unwrap();
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "s");
        assert_eq!(files.text("local/link").unwrap(), "x");
        let mut odd = template("local/a");
        odd.perms = "9".into();
        let refused = files.write(&odd, "x").unwrap_err();
        assert_eq!(refused.to_string(), "`9` is no file mode in octal");
    }
}
