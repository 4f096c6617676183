//! Checks that run a program in a container, by the engine's socket.

use super::{critical, is_no_verdict, script::Tail, script::by_code};
use bytes::{Buf as _, Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use jobs::model::Span;
use mesh::{health::Outcome, model::DockerProbe};
use serde_json::{Value, json};
use std::{error::Error, path::Path, time::Duration};
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};

/// Where the engine listens.
pub(super) const SOCKET: &str = "/var/run/docker.sock";
/// Bytes before each piece of output: which stream, and its length.
const PREFIX_BYTES: usize = 8;
/// Longest answer in JSON, bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

type Failure = Box<dyn Error + Send + Sync>;

/// As a script, by the code of the program; none when this process could not try.
pub(super) async fn check(socket: &Path, probe: &DockerProbe, limit: Duration) -> Option<Outcome> {
    match timeout(limit, run(socket, probe)).await {
        Ok(Ok(outcome)) => Some(outcome),
        Ok(Err(error)) if is_no_verdict(error.as_ref()) => None,
        Ok(Err(error)) => Some(critical(&error.to_string())),
        Err(_) => {
            let limit = Span::from(limit);
            Some(critical(&format!("Timed out ({limit}) running check")))
        }
    }
}

async fn run(socket: &Path, probe: &DockerProbe) -> Result<Outcome, Failure> {
    let command: Vec<String> = if probe.shell.is_empty() {
        probe.args.clone()
    } else {
        vec![probe.shell.clone(), "-c".to_owned(), probe.args.join(" ")]
    };
    let container = escaped(&probe.container);
    let wanted = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": command});
    let path = format!("/containers/{container}/exec");
    let made = Engine::ask(socket, Method::POST, &path, Some(&wanted)).await?;
    let made: Value = made.json().await?;
    let id = escaped(made["Id"].as_str().unwrap_or_default());
    let path = format!("/exec/{id}/start");
    let wanted = json!({"Detach": false, "Tty": false});
    let started = Engine::ask(socket, Method::POST, &path, Some(&wanted)).await?;
    let output = started.output().await?;
    let path = format!("/exec/{id}/json");
    let ended = Engine::ask(socket, Method::GET, &path, None).await?;
    let ended: Value = ended.json().await?;
    let code = ended["ExitCode"].as_i64();
    Ok(Outcome {
        status: by_code(code.and_then(|code| i32::try_from(code).ok())),
        output: output.text(),
    })
}

fn escaped(text: &str) -> String {
    let all = percent_encoding::NON_ALPHANUMERIC;
    percent_encoding::utf8_percent_encode(text, all).to_string()
}

/// An answer of the engine, on a connection of its own.
struct Engine {
    response: Response<Incoming>,
    carried: JoinHandle<()>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.carried.abort();
    }
}

impl Engine {
    async fn ask(
        socket: &Path,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket).await.map_err(|error| {
            let place = socket.display();
            format!("the container engine cannot be reached at `{place}`: {error}")
        })?;
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its end is noticed by whoever waits for the answer.
        let carried = tokio::spawn(async move { drop(connection.await) });
        let bytes = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "docker")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(bytes)))?;
        let response = requests.send_request(request).await?;
        let answer = Self { response, carried };
        if answer.response.status().is_success() {
            return Ok(answer);
        }
        let status = answer.response.status();
        let refusal = answer.bytes().await?;
        let message: Value = serde_json::from_slice(&refusal).unwrap_or_default();
        let message = message["message"].as_str().unwrap_or_default();
        Err(format!("the container engine refuses ({status}): {message}").into())
    }

    async fn bytes(mut self) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while let Some(frame) = self.response.body_mut().frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if all.len() + data.len() > ANSWER_BYTES_MAX {
                return Err("the container engine says more than expected".into());
            }
            all.extend_from_slice(&data);
        }
        Ok(all)
    }

    async fn json(self) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.bytes().await?)?)
    }

    /// What the program wrote, until it ended.
    async fn output(mut self) -> Result<Tail, Failure> {
        let mut tail = Tail::default();
        let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
        let mut left = 0;
        while let Some(frame) = self.response.body_mut().frame().await {
            let Ok(mut data) = frame?.into_data() else {
                continue;
            };
            while !data.is_empty() {
                if left > 0 {
                    let piece = data.split_to(left.min(data.len()));
                    left -= piece.len();
                    tail.take(&piece);
                    continue;
                }
                let wanted = (PREFIX_BYTES - prefix.len()).min(data.len());
                prefix.extend_from_slice(&data.split_to(wanted));
                if prefix.len() == PREFIX_BYTES {
                    prefix.advance(PREFIX_BYTES / 2);
                    left = usize::try_from(prefix.get_u32())?;
                    prefix.clear();
                }
            }
        }
        Ok(tail)
    }
}
