//! The commands: a file each. All but `request` run something here rather than ask an agent.

pub(crate) mod agent;
pub(crate) mod cluster;
pub(crate) mod dev;
pub(crate) mod echo;
pub(crate) mod ingress;
pub(crate) mod request;
pub(crate) mod supervise;
pub(crate) mod validate;

use config::{Config, Problem};
use std::{fmt::Write as _, io::Write as _, net::SocketAddr};
use trivet::agent::{Agent, Listeners};

/// The configuration; none after its problems were printed.
fn or_say(loaded: Result<Config, Vec<Problem>>) -> anyhow::Result<Option<Config>> {
    match loaded {
        Ok(config) => Ok(Some(config)),
        Err(problems) => {
            let mut stderr = std::io::stderr();
            for problem in problems {
                writeln!(stderr, "{problem}")?;
            }
            Ok(None)
        }
    }
}

/// Lets the agent take over what may change while it runs of a configuration that was read again.
///
/// # Errors
/// What is wrong, in a line each; everything stays as it was then.
async fn reload(agent: &Agent, loaded: Result<Config, Vec<Problem>>) -> Result<(), String> {
    let config = loaded.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    agent.reload(&config).await
}

fn banner(listeners: &Listeners) -> String {
    started("agent", &listeners.all())
}

/// What is said of a part of the program that has started.
fn started(what: &str, listeners: &[(&'static str, SocketAddr)]) -> String {
    let mut text = format!("==> Trivet {what} configuration:\n\n");
    for (name, address) in listeners {
        // Writing to a string cannot fail.
        writeln!(text, "{name:>15}: {address}").ok();
    }
    let end = format!("\n==> Trivet {what} started! Log data will stream in on standard error.\n");
    text.push_str(&end);
    text
}

/// Prints to standard output; whoever closed it does not want to know.
fn say(text: &str) {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .ok();
}
