//! The command line of the binary under test.

use super::{Agent, DEADLINE, agent::TRIVET};
use std::{path::Path, process::Stdio};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit code; −1 for a signal.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Standard output and error together.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Itself, when it ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.text());
        self
    }
}

/// Runs `trivet` with `args` against `agent`.
pub(crate) async fn trivet(agent: &Agent, args: &[&str]) -> Output {
    let mut addresses = vec![("NOMAD_ADDR", agent.url("http", ""))];
    // An agent that uses a catalog elsewhere has none.
    if agent.has("catalog") {
        addresses.push(("CONSUL_HTTP_ADDR", agent.url("catalog", "")));
    }
    run_with(args, &addresses, agent.dir()).await
}

/// Runs `trivet` with `args` beside `agent`, with these variables instead of its addresses.
pub(crate) async fn trivet_with(
    agent: &Agent,
    args: &[&str],
    variables: &[(&str, &str)],
) -> Output {
    let variables: Vec<(&str, String)> = variables
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    run_with(args, &variables, agent.dir()).await
}

/// Runs `trivet` with `args` in `dir`, with the address of an agent or without.
pub(crate) async fn run(args: &[&str], address: Option<&str>, dir: &Path) -> Output {
    let address = address.map(|address| ("NOMAD_ADDR", address.to_owned()));
    run_with(args, address.as_slice(), dir).await
}

/// Begins `trivet` with `args` against `agent`, with somebody at its input who reads what it
/// prints.
pub(crate) fn begin(agent: &Agent, args: &[&str]) -> Child {
    let addresses = [("NOMAD_ADDR", agent.url("http", ""))];
    let mut command = command(args, &addresses, agent.dir());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("it starts")
}

fn command(args: &[&str], addresses: &[(&str, String)], dir: &Path) -> Command {
    let mut command = Command::new(TRIVET);
    command
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
        .env_remove("NOMAD_ADDR")
        .env_remove("CONSUL_HTTP_ADDR");
    command.env("NO_COLOR", "1");
    command.envs(addresses.iter().map(|(name, address)| (name, address)));
    command
}

/// Runs `trivet` with `args` in `dir`, with these variables.
pub(crate) async fn run_with(args: &[&str], addresses: &[(&str, String)], dir: &Path) -> Output {
    let mut command = command(args, addresses, dir);
    let output = timeout(DEADLINE, command.output())
        .await
        .expect("it ends in time")
        .expect("it starts");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
