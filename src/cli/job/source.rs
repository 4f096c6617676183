//! From a path, a URL or standard input to a job: reading, variables, and every problem at once.

use super::super::context::Context;
use crate::arguments::switches;
use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use jobs::model::Submission;
use jobs::spec::{self, Problem, ReadFile, Surroundings, VariableFile, Variables};
use jobs::wire::Job;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use sys::random;

/// Longest job or variable file, bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most files and folders that `fileset` looks at.
const LISTED_FILES_MAX: usize = 100_000;
/// Longest file text that is kept with the job, bytes.
const SUBMISSION_BYTES_MAX: usize = 1 << 20;
/// The path that means standard input.
const STDIN: &str = "-";
/// Names of environment variables that hold values of input variables begin so.
const VARIABLE_PREFIX: &str = "NOMAD_VAR_";

/// Which job file, and with what values.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(mut_args(switches(&["hcl2_strict"])))]
pub(super) struct Source {
    /// Job file, `-` for standard input, or an http URL
    #[arg(value_name = "PATH")]
    pub(super) path: String,
    /// The file is JSON, as the API takes it
    #[arg(long)]
    pub(super) json: bool,
    /// Value of an input variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) var: Vec<String>,
    /// File with values of input variables; may be repeated, later ones win
    #[arg(long, value_name = "FILE")]
    pub(super) var_file: Vec<PathBuf>,
    /// Refuse values for variables that the file does not declare
    #[arg(long, default_value_t = true)]
    pub(super) hcl2_strict: bool,
}

/// A job as written, with the text it came from.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) job: Job,
    pub(super) submission: Option<Submission>,
}

impl Loaded {
    /// The id; jobs without one are refused while loading.
    pub(super) fn id(&self) -> &str {
        self.job.id.as_deref().unwrap_or_default()
    }

    /// A caller for the job's own region and namespace where it names them.
    pub(super) fn http(&self, cx: &Context) -> super::Http {
        let mut http = cx.http.clone();
        if let Some(region) = self.job.region.as_deref().filter(|r| !r.is_empty()) {
            http = http.in_region(region);
        }
        if let Some(namespace) = self.job.namespace.as_deref().filter(|n| !n.is_empty()) {
            http = http.in_namespace(namespace);
        }
        http
    }
}

impl Source {
    /// Reads and parses the file.
    ///
    /// # Errors
    /// When it cannot be read, or with every problem that it has.
    pub(super) async fn load(&self) -> anyhow::Result<Loaded> {
        let loaded = self.load_any().await.context("Error getting job struct")?;
        if loaded.id().is_empty() {
            bail!("Error getting job struct: the job has no id");
        }
        Ok(loaded)
    }

    async fn load_any(&self) -> anyhow::Result<Loaded> {
        let text = read_source(&self.path).await?;
        let name = match self.path.as_str() {
            STDIN => "stdin",
            path => path,
        };
        if self.json {
            if !self.var.is_empty() || !self.var_file.is_empty() {
                bail!("variables cannot be used with -json");
            }
            let job = spec::parse_api(&text, name).map_err(|problems| refusal(name, &problems))?;
            return Ok(Loaded {
                submission: submission(&text, "json", BTreeMap::new(), String::new()),
                job,
            });
        }
        let variables = self.variables()?;
        let flags = variables.flags.iter().cloned().collect();
        let files: Vec<&str> = variables.files.iter().map(|f| f.text.as_str()).collect();
        let submission = submission(&text, "hcl2", flags, files.join("\n"));
        let surroundings = Surroundings {
            files: Some(&Disk),
            seed: random::seed_bytes(),
        };
        let job = spec::parse(&text, name, &variables, &surroundings)
            .map_err(|problems| refusal(name, &problems))?;
        Ok(Loaded { job, submission })
    }

    fn variables(&self) -> anyhow::Result<Variables> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
            .collect();
        let files: anyhow::Result<Vec<VariableFile>> = self
            .var_file
            .iter()
            .map(|path| {
                let text = read_file(path)
                    .with_context(|| format!("cannot read variable file `{}`", path.display()))?;
                Ok(VariableFile {
                    name: path.display().to_string(),
                    text: String::from_utf8(text).context("the variable file is not UTF-8")?,
                })
            })
            .collect();
        let flags: anyhow::Result<Vec<(String, String)>> = self
            .var
            .iter()
            .map(|flag| {
                let (name, value) = flag
                    .split_once('=')
                    .with_context(|| format!("`-var {flag}` must be NAME=VALUE"))?;
                Ok((name.to_owned(), value.to_owned()))
            })
            .collect();
        Ok(Variables {
            environment,
            files: files?,
            flags: flags?,
            tolerate_undeclared: !self.hcl2_strict,
        })
    }
}

/// Every problem of a file, a line for each.
fn refusal(name: &str, problems: &[Problem]) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let noun = match lines.len() {
        1 => "problem",
        _ => "problems",
    };
    anyhow::anyhow!("{} {noun} in {name}:\n{}", lines.len(), lines.join("\n"))
}

fn submission(
    text: &str,
    format: &str,
    variable_flags: BTreeMap<String, String>,
    variables: String,
) -> Option<Submission> {
    (text.len() <= SUBMISSION_BYTES_MAX).then(|| Submission {
        source: text.to_owned(),
        format: format.to_owned(),
        variable_flags,
        variables,
    })
}

async fn read_source(path: &str) -> anyhow::Result<String> {
    let bytes = if path == STDIN {
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock().take(FILE_BYTES_MAX + 1);
        input
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        bytes
    } else if path.starts_with("http://") {
        fetch(path)
            .await
            .with_context(|| format!("cannot fetch `{path}`"))?
    } else {
        read_file(Path::new(path)).with_context(|| format!("cannot read `{path}`"))?
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("`{path}` is longer than {FILE_BYTES_MAX} bytes");
    }
    String::from_utf8(bytes).with_context(|| format!("`{path}` is not UTF-8"))
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("longer than {FILE_BYTES_MAX} bytes");
    }
    Ok(bytes)
}

async fn fetch(location: &str) -> anyhow::Result<Vec<u8>> {
    let url = url::Url::parse(location)?;
    let origin = url.origin().ascii_serialization();
    let http = super::Http::new(super::super::http::Target {
        address: origin,
        ..Default::default()
    })?;
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let query: Vec<(&str, &str)> = query
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut stream = http.stream(url.path(), &query).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() as u64 > FILE_BYTES_MAX {
            bail!("longer than {FILE_BYTES_MAX} bytes");
        }
    }
    Ok(bytes)
}

/// The file system of this machine, for functions of job files.
#[derive(Debug)]
struct Disk;

impl ReadFile for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        read_file(Path::new(path)).map_err(|error| format!("{error:#}"))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let root = Path::new(folder);
        if !root.exists() {
            return Ok(Vec::new());
        }
        let (mut found, mut pending) = (Vec::new(), vec![root.to_owned()]);
        while let Some(folder) = pending.pop() {
            let shown = |error| format!("{}: {error}", folder.display());
            for entry in std::fs::read_dir(&folder).map_err(shown)? {
                let path = entry.map_err(shown)?.path();
                if path.is_symlink() && path.is_dir() {
                    // It may lead back up.
                    continue;
                }
                if path.is_dir() {
                    pending.push(path);
                } else if path.is_file()
                    && let Ok(below) = path.strip_prefix(root)
                {
                    found.push(below.display().to_string());
                }
                if found.len() + pending.len() > LISTED_FILES_MAX {
                    return Err(format!(
                        "more than {LISTED_FILES_MAX} files below {}",
                        root.display()
                    ));
                }
            }
        }
        Ok(found)
    }

    fn exists(&self, path: &str) -> bool {
        Path::new(path).is_file()
    }

    fn absolute(&self, path: &str) -> Result<String, String> {
        let path = match path.strip_prefix('~') {
            Some(rest) => {
                let home = std::env::var("HOME").map_err(|_| "HOME is not set".to_owned())?;
                format!("{home}{rest}")
            }
            None => path.to_owned(),
        };
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        // Without `..`, as they are written: links are not followed.
        let mut clean = PathBuf::new();
        for part in path.components() {
            if part == Component::ParentDir {
                clean.pop();
            } else {
                clean.push(part);
            }
        }
        Ok(clean.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_see_the_files_of_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir_all(path("deep/er")).unwrap();
        for name in ["a.txt", "deep/er/b.txt"] {
            std::fs::write(path(name), name).unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), path("deep/back")).unwrap();
        assert_eq!(Disk.read(&path("a.txt")), Ok(b"a.txt".to_vec()));
        assert!(Disk.read(&path("none")).is_err());
        let mut listed = Disk.list(&path("")).unwrap();
        listed.sort();
        assert_eq!(listed, ["a.txt", "deep/er/b.txt"]);
        assert_eq!(Disk.list(&path("none")), Ok(Vec::new()));
        assert!(Disk.exists(&path("a.txt")) && !Disk.exists(&path("deep")));
        let climbing = path("deep/../a.txt");
        assert_eq!(Disk.absolute(&climbing), Ok(path("a.txt")));
    }
}
