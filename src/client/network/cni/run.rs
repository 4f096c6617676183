//! Runs a plugin: for a bounded time, and no more of what it prints is read than may be of use.

use crate::drivers::{Exec, execute};
use jobs::model::TaskConfig;
use std::{
    collections::BTreeMap,
    io::{self, PipeReader},
    path::{Path, PathBuf},
    time::Duration,
};
use sys::faults;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    time::timeout,
};

/// How long a plugin may take: one that asks for an address over the network waits for a while.
const LIMIT: Duration = Duration::from_secs(60);
/// How long one may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of standard error that are kept; what comes after them is read and forgotten.
const ERRORS_BYTES_MAX: u64 = 4096;

/// How a plugin ended.
#[derive(Debug)]
pub(super) struct Ran {
    /// With code 0.
    pub(super) is_success: bool,
    /// What it printed.
    pub(super) output: Vec<u8>,
    /// The beginning of what it wrote to standard error.
    pub(super) errors: String,
}

/// Runs a plugin that reads `input`. It, and all that it started, is killed when it takes too long,
/// and when nobody waits for it any more.
///
/// # Errors
/// A sentence that says why there is no answer.
pub(super) async fn run(
    program: &Path,
    env: BTreeMap<String, String>,
    input: &[u8],
) -> Result<Ran, String> {
    within(program, env, input, faults::patience(LIMIT)).await
}

/// What a plugin says of itself when it is asked for nothing.
pub(super) async fn about(program: &Path, env: BTreeMap<String, String>) -> Option<String> {
    let limit = faults::patience(VERSION_LIMIT);
    let ran = within(program, env, &[], limit).await.ok()?;
    let mut text = ran.errors;
    text.push_str(&String::from_utf8_lossy(&ran.output));
    Some(text)
}

async fn within(
    program: &Path,
    env: BTreeMap<String, String>,
    input: &[u8],
    limit: Duration,
) -> Result<Ran, String> {
    let failed = |error: io::Error| error.to_string();
    let (stdin, feed) = io::pipe().map_err(failed)?;
    let (output, stdout) = io::pipe().map_err(failed)?;
    let (errors, stderr) = io::pipe().map_err(failed)?;
    let mut feed = pipe::Sender::from_owned_fd(feed.into()).map_err(failed)?;
    let execution = execute(Exec {
        handle: None,
        config: TaskConfig::default(),
        network: None,
        command: program.display().to_string(),
        args: Vec::new(),
        dir: PathBuf::from("/"),
        env,
        user: String::new(),
        input: Some(stdin),
        output: stdout,
        errors: stderr,
        terminal: None,
    })
    .map_err(failed)?;
    let feeding = async {
        // One that reads nothing has its reason, which it prints.
        feed.write_all(input).await.ok();
        drop(feed);
    };
    let reading = async {
        tokio::join!(
            text(output, OUTPUT_BYTES_MAX),
            text(errors, ERRORS_BYTES_MAX)
        )
    };
    let ended = timeout(limit, async {
        let (((), read), ()) =
            tokio::join!(async { tokio::join!(feeding, reading) }, execution.ended());
        read
    })
    .await;
    let status = execution.kill_and_collect().await.map_err(failed)?;
    let Ok((output, errors)) = ended else {
        return Err(format!("it did not end within {} s", limit.as_secs()));
    };
    let (output, errors) = (output.map_err(failed)?, errors.map_err(failed)?);
    if output.len() as u64 >= OUTPUT_BYTES_MAX {
        return Err(format!("it printed more than {OUTPUT_BYTES_MAX} bytes"));
    }
    Ok(Ran {
        is_success: status.success(),
        output,
        errors: String::from_utf8_lossy(&errors).into_owned(),
    })
}

/// The first bytes of what comes; the rest is read and forgotten.
async fn text(from: PipeReader, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut from = pipe::Receiver::from_owned_fd(from.into())?;
    let mut text = Vec::new();
    (&mut from).take(bytes_max).read_to_end(&mut text).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn plugin(dir: &Path, script: &str) -> PathBuf {
        let path = dir.join("plugin");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn env() -> BTreeMap<String, String> {
        let path = std::env::var("PATH").unwrap_or_default();
        BTreeMap::from([("PATH".into(), path), ("WHO".into(), "me".into())])
    }

    #[tokio::test]
    async fn what_it_prints_and_how_it_ended_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let input = "x".repeat(200_000);
        let echo = plugin(dir.path(), "echo $WHO >&2; cat; exit 3");
        let ran = run(&echo, env(), input.as_bytes()).await.unwrap();
        assert!(!ran.is_success);
        assert_eq!(ran.output, input.as_bytes());
        assert_eq!(ran.errors, "me\n");
        // One that reads nothing is no failure of ours.
        let deaf = plugin(dir.path(), "echo fine");
        let ran = run(&deaf, env(), input.as_bytes()).await.unwrap();
        assert!(ran.is_success);
        assert_eq!(ran.output, b"fine\n");
        let missing = run(&dir.path().join("missing"), env(), b"").await;
        assert!(missing.is_err());
    }

    #[tokio::test]
    async fn one_that_prints_without_end_or_takes_too_long_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let loud = plugin(dir.path(), "head -c 3000000 /dev/zero");
        let error = run(&loud, env(), b"").await.unwrap_err();
        assert!(error.contains("more than 1048576 bytes"), "{error}");
        let child = dir.path().join("child");
        let slow = format!("sleep 1000 & echo $! > {}; wait", child.display());
        let slow = plugin(dir.path(), &slow);
        let limit = Duration::from_secs(2);
        let error = within(&slow, env(), b"", limit).await.unwrap_err();
        assert_eq!(error, "it did not end within 2 s");
        let child: i32 = fs::read_to_string(&child).unwrap().trim().parse().unwrap();
        let lives = || sys::processes::Identity::of(child).is_some_and(|one| one.is_alive());
        // Who was killed needs a processor to end.
        let ended = async {
            while lives() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, ended).await.expect("it was killed");
    }
}
