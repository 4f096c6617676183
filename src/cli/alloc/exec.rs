//! `alloc exec`: runs a command inside of a task.

use crate::arguments::switches;
use crate::{
    context::Context,
    http::{Http, segment},
    lookup,
};
use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures_util::{SinkExt as _, StreamExt as _};
use nix::sys::termios::{self, SetArg, Termios};
use serde_json::{Value, json};
use std::{
    io::{IsTerminal as _, Read as _, Write as _},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_tungstenite::tungstenite::Message;

/// How often the agent is told that somebody is there.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Pieces of input that wait to be sent.
const INPUT_MAX: usize = 16;
const CHUNK_BYTES: usize = 4096;

/// Arguments of `alloc exec`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(mut_args(switches(&["interactive", "tty"])))]
pub struct Arguments {
    /// Task; may be left out when there is one
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// The first argument is a job: take its newest running allocation
    #[arg(long)]
    job: bool,
    /// With -job: only allocations of this group
    #[arg(long, requires = "job")]
    group: Option<String>,
    /// Pass on the standard input
    #[arg(long = "i", default_value_t = true)]
    interactive: bool,
    /// Give the command a terminal; as this one has it unless given
    #[arg(long = "t")]
    tty: Option<bool>,
    /// Character that, at the beginning of a line and before a dot, ends the session; none for none
    #[arg(long = "e", value_name = "CHARACTER", default_value = "~")]
    escape: String,
    /// Allocation id or its beginning, then the command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, num_args = 1..)]
    words: Vec<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let [id, command @ ..] = arguments.words.as_slice() else {
        bail!("An allocation and a command are needed");
    };
    if command.is_empty() {
        bail!("A command is required");
    }
    let alloc = if arguments.job {
        lookup::allocation_of_job(cx, id, arguments.group.as_deref()).await?
    } else {
        lookup::allocation(cx, id, &cx.view(false)).await?
    };
    let task = super::task(&alloc, arguments.task.as_deref())?;
    let words = serde_json::to_string(command)?;
    let path = format!("/v1/client/allocation/{}/exec", segment(alloc.row.id));
    let http = cx.http.in_namespace(&alloc.row.namespace);
    let attachment = Attachment {
        tty: arguments.tty,
        interactive: arguments.interactive,
        escape: &arguments.escape,
    };
    let query = [("task", task), ("command", words.as_str())];
    attachment.open(cx, &http, &path, &query).await
}

/// How a command inside a task is attached to this terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attachment<'a> {
    /// Whether it has a terminal; none for as this one has it.
    pub(crate) tty: Option<bool>,
    /// Whether it gets the standard input.
    pub(crate) interactive: bool,
    /// Character that, at the beginning of a line and before a dot, ends the session.
    pub(crate) escape: &'a str,
}

impl Attachment<'_> {
    /// Starts the command at the path and carries input and output until it ends; answers with its
    /// exit code.
    ///
    /// # Errors
    /// When it cannot be started, or the connection breaks.
    pub(crate) async fn open(
        self,
        cx: &mut Context,
        http: &Http,
        path: &str,
        of_command: &[(&str, &str)],
    ) -> anyhow::Result<u8> {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let tty = self.tty.unwrap_or(is_terminal && self.interactive);
        if tty && !self.interactive {
            bail!("-tty requires -i");
        }
        let mut query = vec![
            ("tty", if tty { "true" } else { "false" }),
            ("ws_handshake", "true"),
        ];
        query.extend(of_command);
        let socket = http.socket(path, &query).await;
        let socket = socket.context("failed to exec into task")?;
        let _raw = if tty && is_terminal {
            Some(Raw::begin()?)
        } else {
            None
        };
        let escape = self.escape.chars().next();
        let session = Session {
            cx,
            escape: escape.filter(|_| self.escape != "none" && tty),
            sends_input: self.interactive,
            tty,
        };
        session.carry(socket).await
    }
}

/// Keys go to the command as they are typed while this lives.
struct Raw {
    before: Termios,
}

impl Raw {
    fn begin() -> anyhow::Result<Self> {
        let before =
            termios::tcgetattr(std::io::stdin()).context("cannot read the terminal's mode")?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw)
            .context("cannot change the terminal's mode")?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.before).ok();
    }
}

struct Session<'a> {
    cx: &'a mut Context,
    escape: Option<char>,
    sends_input: bool,
    tty: bool,
}

impl Session<'_> {
    async fn carry(self, socket: crate::http::Socket) -> anyhow::Result<u8> {
        let (mut to, mut from) = socket.split();
        let token = self.cx.token.clone().unwrap_or_default();
        let mut outgoing = vec![json!({"version": 1, "auth_token": token})];
        if self.tty {
            outgoing.extend(size());
        }
        if !self.sends_input {
            outgoing.push(json!({"stdin": {"close": true}}));
        }
        let mut typed = typed(self.sends_input);
        let mut resized = signal(SignalKind::window_change())?;
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keys = Keys::new(self.escape);
        let mut has_input = true;
        loop {
            for message in outgoing.drain(..) {
                to.send(Message::text(message.to_string())).await?;
            }
            tokio::select! {
                message = from.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        if let Some(code) = show(&text)? {
                            return Ok(code);
                        }
                    }
                    Some(Ok(Message::Close(frame))) => {
                        let reason = frame.map(|frame| frame.reason.to_string());
                        bail!("{}", reason.filter(|text| !text.is_empty()).unwrap_or_else(
                            || "the agent ended the session without an exit code".into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error).context("the connection broke"),
                    None => bail!("the connection was closed without an exit code"),
                },
                piece = typed.recv(), if has_input => match piece {
                    Some(piece) => match keys.take(&piece) {
                        Some(data) => {
                            outgoing.push(json!({"stdin": {"data": BASE64.encode(data)}}));
                        }
                        None => bail!("session ended by the escape character"),
                    },
                    None => {
                        has_input = false;
                        if self.sends_input {
                            outgoing.push(json!({"stdin": {"close": true}}));
                        }
                    }
                },
                _ = resized.recv(), if self.tty => outgoing.extend(size()),
                _ = heartbeat.tick() => outgoing.push(json!({})),
            }
        }
    }
}

/// Prints a piece of output; the exit code when it is the last message.
fn show(text: &str) -> anyhow::Result<Option<u8>> {
    let message: Value = serde_json::from_str(text).context("the agent sent no message")?;
    let data = |stream: &str| {
        let data = message[stream]["data"].as_str().unwrap_or_default();
        BASE64.decode(data).unwrap_or_default()
    };
    let mut out = std::io::stdout().lock();
    out.write_all(&data("stdout"))?;
    out.flush()?;
    let mut err = std::io::stderr().lock();
    err.write_all(&data("stderr"))?;
    err.flush()?;
    let code = message["result"]["exit_code"].as_i64();
    let code = code.filter(|_| message["exited"] == true);
    Ok(code.map(|code| u8::try_from(code & 0xff).unwrap_or(u8::MAX)))
}

/// The size of this terminal as a message.
fn size() -> Option<Value> {
    let (height, width) = sys::terminal::size_of_output()?;
    Some(json!({"tty_size": {"height": height, "width": width}}))
}

/// Pieces of the standard input; ends with it. Reading cannot be given up, so a thread does it that
/// ends with the program.
fn typed(sends_input: bool) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(INPUT_MAX);
    if sends_input {
        std::thread::spawn(move || {
            let mut chunk = [0; CHUNK_BYTES];
            while let Ok(read @ 1..) = std::io::stdin().lock().read(&mut chunk) {
                let piece = chunk.get(..read).unwrap_or_default().to_vec();
                if sender.blocking_send(piece).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

/// Looks for the escape character and a dot at the beginning of a line.
struct Keys {
    escape: Option<u8>,
    at_beginning: bool,
    /// The escape character was typed and is held back.
    held: bool,
}

impl Keys {
    fn new(escape: Option<char>) -> Self {
        Self {
            escape: escape.and_then(|key| u8::try_from(key).ok()),
            at_beginning: true,
            held: false,
        }
    }

    /// What to pass on; none when the session is to end.
    fn take(&mut self, typed: &[u8]) -> Option<Vec<u8>> {
        let Some(escape) = self.escape else {
            return Some(typed.to_vec());
        };
        let mut passed = Vec::with_capacity(typed.len() + 1);
        for &key in typed {
            if std::mem::take(&mut self.held) {
                if key == b'.' {
                    return None;
                }
                passed.push(escape);
                if key == escape {
                    self.at_beginning = false;
                    continue;
                }
            } else if self.at_beginning && key == escape {
                self.held = true;
                continue;
            }
            passed.push(key);
            self.at_beginning = matches!(key, b'\r' | b'\n');
        }
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_at_the_beginning_of_a_line_ends_the_session() {
        let check = |pieces: &[&str], expected: Option<&str>| {
            let mut keys = Keys::new(Some('~'));
            let mut all = Vec::new();
            for piece in pieces {
                match keys.take(piece.as_bytes()) {
                    Some(passed) => all.extend(passed),
                    None => return assert_eq!(expected, None, "{pieces:?}"),
                }
            }
            assert_eq!(
                Some(String::from_utf8(all).unwrap().as_str()),
                expected,
                "{pieces:?}"
            );
        };
        check(&["ls ~.\r"], Some("ls ~.\r"));
        check(&["~."], None);
        check(&["ls\r~", "."], None);
        check(&["~~."], Some("~."));
        check(&["~x"], Some("~x"));
        assert_eq!(Keys::new(None).take(b"~.").unwrap(), b"~.");
    }
}
