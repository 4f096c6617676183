//! The programs that change the machine's network: `ip` for links and namespaces, `nft` for rules.

use super::NetworkError;
use std::{
    env, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use sys::faults;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// How long one of them may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Where they are on most machines, whatever `PATH` says.
const USUAL_DIRS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

/// Where they are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    ip: PathBuf,
    nft: PathBuf,
}

impl Programs {
    /// Looks for them.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub(super) fn find() -> Result<Self, String> {
        let find = |name: &str, package: &str| {
            let path = env::var("PATH").unwrap_or_default();
            let mut dirs = path.split(':').chain(USUAL_DIRS.split(':'));
            let found = dirs.find_map(|dir| {
                let file = Path::new(dir).join(name);
                (!dir.is_empty() && file.is_file()).then_some(file)
            });
            found.ok_or_else(|| {
                format!("the program `{name}` is not installed (Debian package {package})")
            })
        };
        Ok(Self {
            ip: find("ip", "iproute2")?,
            nft: find("nft", "nftables")?,
        })
    }

    /// Runs `ip` with these arguments.
    pub(super) async fn ip(&self, args: &[&str]) -> Result<(), NetworkError> {
        run(&self.ip, args, "").await
    }

    /// Carries out a list of commands of `ip`, a line for each, to the first that fails; in a
    /// namespace by its name, or in that of the host.
    pub(super) async fn links(
        &self,
        namespace: Option<&str>,
        commands: &str,
    ) -> Result<(), NetworkError> {
        let mut args = Vec::new();
        if let Some(namespace) = namespace {
            args.extend(["-n", namespace]);
        }
        args.extend(["-batch", "-"]);
        run(&self.ip, &args, commands).await
    }

    /// Carries out a text of rules, all of it or nothing.
    pub(super) async fn rules(&self, text: &str) -> Result<(), NetworkError> {
        run(&self.nft, &["-f", "-"], text).await
    }
}

async fn run(program: &Path, args: &[&str], input: &str) -> Result<(), NetworkError> {
    let failed = |reason: String| NetworkError::Program {
        command: format!("{} {}", program.display(), args.join(" ")),
        reason,
    };
    let work = async {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let written = stdin.write_all(input.as_bytes()).await;
            // One that reads nothing has its own reason, which it prints.
            written.or_else(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(error),
            })?;
        }
        child.wait_with_output().await
    };
    let limit = faults::patience(LIMIT);
    let ended = timeout(limit, work).await;
    let output = ended
        .map_err(|_| failed(format!("it did not end within {} s", limit.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().take(4).map(str::trim).collect();
    Err(failed(lines.join("; ")))
}
