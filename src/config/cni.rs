//! Where the plugins of networks are, and the lists that name them.

use super::file::{Problem, SETTINGS};
use std::path::{Path, PathBuf};

/// The plugins of networks that jobs ask for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cni {
    /// Directories of their programs; the first that has one counts.
    pub path: Vec<PathBuf>,
    /// The directory with a file for each network.
    pub config_dir: PathBuf,
}

impl Default for Cni {
    fn default() -> Self {
        Self {
            path: vec!["/opt/cni/bin".into()],
            config_dir: "/opt/cni/config".into(),
        }
    }
}

/// The settings of plugins as they are written.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenCni {
    pub path: Option<String>,
    pub config_dir: Option<String>,
}

impl WrittenCni {
    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            path: other.path.or(self.path),
            config_dir: other.config_dir.or(self.config_dir),
        }
    }

    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> Cni {
        let usual = Cni::default();
        let mut wrong = |key: &str, found: &str, wanted: &str| {
            let message = format!("`client.{key}` is `{found}`; it must be {wanted}");
            problems.push(Problem::new(SETTINGS, message));
        };
        let path = self.path.as_ref().map(|text| {
            let dirs: Vec<PathBuf> = text.split(':').map(PathBuf::from).collect();
            if !dirs.iter().all(|dir| dir.is_absolute()) {
                wrong("cni_path", text, "absolute paths with colons between them");
            }
            dirs
        });
        let config_dir = self.config_dir.as_ref().map(|text| {
            if !Path::new(text).is_absolute() {
                wrong("cni_config_dir", text, "an absolute path");
            }
            PathBuf::from(text)
        });
        Cni {
            path: path.unwrap_or(usual.path),
            config_dir: config_dir.unwrap_or(usual.config_dir),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_and_what_is_left_out_is_as_published() {
        let check = |path: Option<&str>, config_dir: Option<&str>| {
            let mut problems = Vec::new();
            let written = WrittenCni {
                path: path.map(str::to_owned),
                config_dir: config_dir.map(str::to_owned),
            };
            (written.resolve(&mut problems), problems.len())
        };
        assert_eq!(check(None, None), (Cni::default(), 0));
        let (own, problems) = check(Some("/a:/b"), Some("/c"));
        assert_eq!((own.path.len(), problems), (2, 0));
        assert_eq!(own.config_dir, Path::new("/c"));
        assert_eq!(check(Some("/a:"), Some("c")).1, 2);
        assert_eq!(check(Some(""), None).1, 1);
    }
}
