//! Files of git repositories, by the program `git` of the machine. What it fetches becomes an
//! archive, so that its files are placed with the same care as those of any other.
//!
//! Differs: there is no `.git` in what a task gets, and modules inside of modules stay empty.

use super::{Landing, Reason};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    env, fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};
use tokio::{io::AsyncReadExt, process::Command};

/// Ways to a repository; no file of this machine is among them.
const PROTOCOLS: &str = "http:https:ssh:git";
/// What of the agent's environment the program sees.
const KEPT: [&str; 9] = [
    "PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// Bytes of an archive that are passed on at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// What is wanted of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Repository {
    /// Its address, as `git` takes it.
    pub(super) url: String,
    /// The directory whose files are wanted; empty for all.
    pub(super) inside: String,
    /// Branch, tag or commit; none for the repository's own choice.
    pub(super) reference: Option<String>,
    /// A private key for `ssh`, in base64.
    pub(super) key: Option<String>,
}

/// Fetches it; `scratch` is an empty directory that goes afterwards.
pub(super) async fn fetch(
    repository: &Repository,
    scratch: &Path,
    landing: &mut Landing<'_>,
) -> Result<(), Reason> {
    let mut environment = Vec::new();
    if let Some(key) = &repository.key {
        let path = scratch.join("key");
        let key = STANDARD.decode(key).map_err(|_| Reason::BadKey)?;
        let mut options = fs::OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(&path);
        io::Write::write_all(&mut made?, &key)?;
        let command = "ssh -i ../key -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=../hosts";
        environment.push(("GIT_SSH_COMMAND", command));
    }
    let git = Git {
        dir: scratch.join("repository"),
        environment,
    };
    fs::create_dir(&git.dir)?;
    git.run(&["init", "--quiet", "--bare", "."]).await?;
    let wanted = repository.reference.as_deref().unwrap_or("HEAD");
    let newest = [
        "fetch",
        "--quiet",
        "--depth",
        "1",
        "--",
        &repository.url,
        wanted,
    ];
    let commit = match git.run(&newest).await {
        Ok(_) => "FETCH_HEAD".to_owned(),
        Err(missing @ Reason::NoProgram { .. }) => return Err(missing),
        // A commit that no name leads to, or a server that gives no part of a history.
        Err(_) => git.find(&repository.url, wanted).await?,
    };
    let tree = match repository.inside.as_str() {
        "" => commit,
        inside => format!("{commit}:{inside}"),
    };
    git.archive(&tree, landing).await
}

/// The program in one repository.
struct Git<'a> {
    dir: PathBuf,
    environment: Vec<(&'a str, &'a str)>,
}

impl Git<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let kept = KEPT
            .iter()
            .filter_map(|name| Some((name, env::var_os(name)?)));
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(&self.dir)
            .env_clear()
            .envs(kept)
            .envs([
                ("GIT_ALLOW_PROTOCOL", PROTOCOLS),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_TERMINAL_PROMPT", "0"),
                ("HOME", "/nonexistent"),
                ("LC_ALL", "C"),
            ])
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str]) -> Result<String, Reason> {
        let output = self.command(args).output().await.map_err(missing)?;
        succeeded(&output)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Fetches whole histories, and looks for the commit that is meant.
    async fn find(&self, url: &str, wanted: &str) -> Result<String, Reason> {
        if wanted == "HEAD" {
            self.run(&["fetch", "--quiet", "--", url, wanted]).await?;
            return Ok("FETCH_HEAD".into());
        }
        let branches = "+refs/heads/*:refs/remotes/origin/*";
        let all = ["fetch", "--quiet", "--tags", "--", url, branches];
        self.run(&all).await?;
        for name in [format!("origin/{wanted}"), wanted.to_owned()] {
            let commit = format!("{name}^{{commit}}");
            let asked = [
                "rev-parse",
                "--quiet",
                "--verify",
                "--end-of-options",
                &commit,
            ];
            if let Ok(commit) = self.run(&asked).await {
                return Ok(commit);
            }
        }
        Err(Reason::Git {
            text: format!("the repository has no `{wanted}`"),
        })
    }

    async fn archive(&self, tree: &str, landing: &mut Landing<'_>) -> Result<(), Reason> {
        let mut child = self
            .command(&["archive", "--format=tar", tree])
            .spawn()
            .map_err(missing)?;
        if let Some(mut archive) = child.stdout.take() {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let length = archive.read(&mut piece).await?;
                if length == 0 {
                    break;
                }
                landing
                    .take(piece.get(..length).unwrap_or_default())
                    .await?;
            }
        }
        succeeded(&child.wait_with_output().await?)
    }
}

fn missing(error: io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::NotFound => Reason::NoProgram { program: "git" },
        _ => error.into(),
    }
}

fn succeeded(output: &Output) -> Result<(), Reason> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let text = lines.take(4).collect::<Vec<_>>().join("; ");
    Err(Reason::Git { text })
}
