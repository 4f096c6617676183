//! Commands inside of tasks, over a web socket.
//!
//! Messages are JSON in text frames. From the client: a handshake when it asked for one, input,
//! sizes of its terminal, and empty ones that say that it is there. To the client: output, and the
//! exit code as the last one.

use super::of_alloc;
use crate::{Api, error::Error, listener::Stopping, nomad::query::Query};
use axum::{
    extract::{
        Path, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use client::{self, Command, CommandRequest, Handle, Heard};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{io, time::Duration};
use sys::clock;
use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe,
    time::{Instant, sleep_until, timeout},
};

/// A client that says nothing for so long is gone: it says that it is there every 10 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long the handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What of the output is still on its way when the command has ended comes within this time;
/// processes that it left behind may hold the output for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// Size of a terminal until the client says another one.
const USUAL_SIZE: (u16, u16) = (24, 80);
/// Bytes of one message.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the reason in a closing frame; the protocol has room for no more.
const REASON_BYTES_MAX: usize = 120;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FromClient {
    stdin: Option<Input>,
    tty_size: Option<Size>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input {
    data: String,
    close: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Size {
    height: u16,
    width: u16,
}

/// `GET /v1/client/allocation/:id/exec`
pub(super) async fn execute(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
    socket: WebSocketUpgrade,
) -> Result<Response, Error> {
    let command = query.get("command").unwrap_or_default();
    let command: Vec<String> = serde_json::from_str(command)
        .map_err(|_| Error::bad_request("command must be a JSON array of texts"))?;
    if command.first().is_none_or(String::is_empty) {
        return Err(Error::bad_request("command must not be empty"));
    }
    let task = query.get("task").unwrap_or_default();
    begin(&api, &query, id, task, command, socket)
}

/// Runs a command inside a task, with the options of the query.
pub(in crate::nomad) fn begin(
    api: &Api,
    query: &Query,
    alloc_id: String,
    task: &str,
    command: Vec<String>,
    socket: WebSocketUpgrade,
) -> Result<Response, Error> {
    let request = CommandRequest {
        task: task.to_owned(),
        command,
        terminal: query.flag("tty")?.then_some(USUAL_SIZE),
    };
    let shakes_hands = query.flag("ws_handshake")?;
    let client = of_alloc(api, &alloc_id)?.clone();
    // Before the socket, so that who asks sees a status.
    client.check_commands()?;
    let stopping = query.stopping();
    let socket = socket.max_message_size(MESSAGE_BYTES_MAX);
    Ok(socket.on_upgrade(move |socket| async move {
        let serve = serve(socket, client, alloc_id, request, shakes_hands, stopping);
        Box::pin(serve).await;
    }))
}

async fn serve(
    mut socket: WebSocket,
    handle: Handle,
    id: String,
    request: CommandRequest,
    shakes_hands: bool,
    stopping: Stopping,
) {
    if shakes_hands && !shake_hands(&mut socket).await {
        return close(socket, close_code::POLICY, "the handshake is missing").await;
    }
    let command = match handle.command(&id, request).await {
        Ok(command) => command,
        Err(error) => {
            let is_ours = matches!(error, client::Error::Io(_));
            let code = if is_ours {
                close_code::ERROR
            } else {
                close_code::POLICY
            };
            return close(socket, code, &error.to_string()).await;
        }
    };
    let served = tokio::select! {
        served = carry(&mut socket, command) => served,
        () = stopping.0.cancelled() => return close(socket, close_code::AWAY, "the agent stops").await,
    };
    match served {
        Ok(code) => {
            let last = json!({"exited": true, "result": {"exit_code": code}});
            if send(&mut socket, &last).await.is_ok() {
                close(socket, close_code::NORMAL, "").await;
            }
        }
        Err(error) => close(socket, close_code::ERROR, &error.to_string()).await,
    }
}

/// The first message, which has the version and the token. What tokens may is not looked at by this
/// version.
async fn shake_hands(socket: &mut WebSocket) -> bool {
    let first = timeout(HANDSHAKE_TIMEOUT, socket.recv()).await;
    let Ok(Some(Ok(Message::Text(text)))) = first else {
        return false;
    };
    let hello: Value = serde_json::from_str(&text).unwrap_or_default();
    hello["version"] == 1
}

/// Carries input and output until the command has ended; answers with its exit code.
async fn carry(socket: &mut WebSocket, mut command: Command) -> io::Result<i32> {
    let mut open = 2_u32;
    let mut alive_until = Instant::now() + SILENCE_MAX;
    let mut last_output: Option<Instant> = None;
    while open > 0 {
        tokio::select! {
            message = socket.recv() => {
                alive_until = Instant::now() + SILENCE_MAX;
                match message {
                    Some(Ok(Message::Text(text))) => take(&mut command, &text).await?,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => {
                        // Dropping the command ends it.
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                }
            }
            heard = command.hear() => {
                let (stream, data) = match heard {
                    Heard::Output(data) => ("stdout", data),
                    Heard::Errors(data) => ("stderr", data),
                    Heard::Ended => {
                        last_output = Some(Instant::now() + LAST_OUTPUT);
                        continue;
                    }
                };
                open -= u32::from(data.is_empty());
                show(socket, stream, &data).await?;
            }
            () = clock::until(last_output) => break,
            () = sleep_until(alive_until) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the client is silent"));
            }
        }
    }
    command.end().await
}

/// Sends what was read; nothing is the end.
async fn show(socket: &mut WebSocket, stream: &str, data: &[u8]) -> io::Result<()> {
    let message = if data.is_empty() {
        json!({stream: {"close": true}})
    } else {
        json!({stream: {"data": BASE64.encode(data)}})
    };
    send(socket, &message).await
}

/// Does what the client asks for.
async fn take(command: &mut Command, text: &str) -> io::Result<()> {
    let message: FromClient = serde_json::from_str(text).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("no message: {error}"))
    })?;
    if let Some(size) = message.tty_size {
        command.resize((size.height, size.width)).await.ok();
    }
    if let Some(input) = message.stdin {
        let data = BASE64.decode(&input.data).unwrap_or_default();
        if let Some(pipe) = &mut command.input {
            write(pipe, &data).await;
        }
        if input.close {
            command.input = None;
        }
    }
    Ok(())
}

/// A command that reads nothing must not keep its output from being shown: what it does not take in
/// time is lost.
async fn write(pipe: &mut pipe::Sender, data: &[u8]) {
    const PATIENCE: Duration = Duration::from_secs(5);
    timeout(PATIENCE, pipe.write_all(data)).await.ok();
}

async fn send(socket: &mut WebSocket, message: &Value) -> io::Result<()> {
    let text = message.to_string();
    let sent = socket.send(Message::Text(text.into())).await;
    sent.map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))
}

async fn close(mut socket: WebSocket, code: u16, reason: &str) {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.get(..end).unwrap_or_default().to_owned();
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    socket.send(Message::Close(Some(frame))).await.ok();
    // Until the client has read it.
    while timeout(HANDSHAKE_TIMEOUT, socket.recv())
        .await
        .is_ok_and(|next| matches!(next, Some(Ok(_))))
    {}
}
