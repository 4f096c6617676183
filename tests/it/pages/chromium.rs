//! Debian's headless Chromium: one process for all tests that look at pages at the same time. It
//! starts with the first of them and ends with the last.

use crate::harness::DEADLINE;
use crate::needs::need;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex as Lock, Weak},
    thread::JoinHandle,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStderr, Command},
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async_with_config, tungstenite};
use tungstenite::{Message, protocol::WebSocketConfig};

/// Bytes of the longest message, which is a picture.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Calls that wait to be sent.
const CALLS_MAX: usize = 64;
/// How Chromium says that networks changed while something was fetched.
const BROKEN_OFF: &str = "net::ERR_NETWORK_CHANGED";
/// How a page says that something could not be fetched.
const UNFETCHED: &str = "Failed to fetch";

/// Nothing that costs time and that no page of ours needs. A page is never treated as one in the
/// background: its timers and frames come as they do for somebody who looks at it.
const ARGUMENTS: [&str; 21] = [
    "--headless=new",
    // The tests may run as root, for whom Chromium has no sandbox.
    "--no-sandbox",
    "--no-zygote",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-hang-monitor",
    "--disable-sync",
    "--disable-features=Translate,MediaRouter,OptimizationHints,DialMediaRouteProvider",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--force-color-profile=srgb",
];

static RUNNING: Mutex<Weak<Chromium>> = Mutex::const_new(Weak::new());

/// What a page did that it must not.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Errors that it wrote or raised.
    pub(super) problems: Vec<String>,
    /// What may well be because the browser broke something off.
    pub(super) excused: Vec<String>,
    /// Addresses that it asked.
    pub(super) requests: Vec<String>,
    /// How often Chromium broke off what was fetched because networks changed, which are those of
    /// other tests.
    pub(super) broken_off: u32,
}

/// What the pages did, by the session that looks at each.
type Pages = Lock<BTreeMap<String, Arc<Lock<Seen>>>>;

struct Call {
    message: Value,
    answer: oneshot::Sender<Value>,
}

/// The running process.
pub(super) struct Chromium {
    calls: Option<mpsc::Sender<Call>>,
    runner: Option<JoinHandle<()>>,
    pages: Arc<Pages>,
}

impl Chromium {
    /// That which runs, or a new one; none, loudly, where there is no Chromium.
    pub(super) async fn shared() -> Option<Arc<Self>> {
        let program = need("chromium", "chromium")?;
        let mut running = RUNNING.lock().await;
        if let Some(found) = running.upgrade() {
            return Some(found);
        }
        let started = Arc::new(Self::start(program).await);
        *running = Arc::downgrade(&started);
        Some(started)
    }

    /// Starts one that belongs to no test's runtime.
    async fn start(program: PathBuf) -> Self {
        let (calls, received) = mpsc::channel(CALLS_MAX);
        let (ready, is_ready) = oneshot::channel();
        let pages = Arc::new(Pages::default());
        let told = Arc::clone(&pages);
        let runner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(run(&program, ready, received, &told));
        });
        is_ready.await.expect("chromium listens");
        Self {
            calls: Some(calls),
            runner: Some(runner),
            pages,
        }
    }

    /// Carries out a command of the protocol, for a session if one is named.
    pub(super) async fn call(&self, session: &str, method: &str, parameters: Value) -> Value {
        let (sender, answer) = oneshot::channel();
        let call = Call {
            message: message(session, method, parameters),
            answer: sender,
        };
        let calls = self.calls.as_ref().expect("there until the end");
        calls.send(call).await.expect("chromium runs");
        let answer = timeout(DEADLINE, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("{method} was not answered"));
        let answer = answer.expect("chromium runs");
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Carries out a command whose answer nobody waits for.
    pub(super) fn tell(&self, method: &str, parameters: Value) {
        let (answer, _) = oneshot::channel();
        let call = Call {
            message: message("", method, parameters),
            answer,
        };
        // It may have ended.
        let calls = self.calls.as_ref().expect("there until the end");
        calls.try_send(call).ok();
    }

    /// From now on, what the page of this session does is noted.
    pub(super) fn look_at(&self, session: &str) -> Arc<Lock<Seen>> {
        let seen = Arc::default();
        let mut pages = self.pages.lock().expect("no panic");
        pages.insert(session.to_owned(), Arc::clone(&seen));
        seen
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Without anybody who calls, it closes.
        drop(self.calls.take());
        if let Some(runner) = self.runner.take() {
            let ended = runner.join();
            if !std::thread::panicking() {
                ended.expect("chromium ends");
            }
        }
    }
}

fn message(session: &str, method: &str, parameters: Value) -> Value {
    let mut message = json!({"method": method, "params": parameters});
    if !session.is_empty() {
        message["sessionId"] = session.into();
    }
    message
}

/// Runs the process until nobody calls any more.
async fn run(
    program: &Path,
    ready: oneshot::Sender<()>,
    calls: mpsc::Receiver<Call>,
    pages: &Pages,
) {
    let profile = tempfile::tempdir().expect("a directory");
    let mut child = spawn(program, profile.path());
    let stderr = child.stderr.take().expect("its errors");
    let mut lines = BufReader::new(stderr).lines();
    let address = timeout(DEADLINE, address(&mut lines)).await;
    let address = address.expect("chromium listens");
    // It must not block on what nobody reads.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let mut socket = connect(&address).await;
    ready.send(()).ok();
    carry(&mut socket, calls, pages).await;
    let close = json!({"id": 0, "method": "Browser.close"});
    socket.send(Message::text(close.to_string())).await.ok();
    let ended = timeout(DEADLINE, child.wait()).await;
    ended.expect("chromium ends").expect("a status");
}

fn spawn(program: &Path, profile: &Path) -> Child {
    Command::new(program)
        .args(ARGUMENTS)
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("about:blank")
        .env("HOME", profile)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("chromium starts")
}

/// Where it listens, as it says itself.
async fn address(lines: &mut Lines<BufReader<ChildStderr>>) -> String {
    while let Some(line) = lines.next_line().await.expect("a line") {
        if let Some((_, address)) = line.split_once("DevTools listening on ") {
            return address.trim().to_owned();
        }
    }
    panic!("chromium ended before it listened");
}

async fn connect(address: &str) -> WebSocketStream<TcpStream> {
    let host = address.trim_start_matches("ws://");
    let (host, _) = host.split_once('/').expect("a path");
    let stream = TcpStream::connect(host).await.expect("chromium listens");
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let (socket, _) = client_async_with_config(address, stream, Some(config))
        .await
        .expect("a web socket");
    socket
}

/// Hands calls to the browser and their answers back, until nobody calls or it ends.
async fn carry(
    socket: &mut WebSocketStream<TcpStream>,
    mut calls: mpsc::Receiver<Call>,
    pages: &Pages,
) {
    let mut waiting: BTreeMap<u64, oneshot::Sender<Value>> = BTreeMap::new();
    let mut number = 0;
    loop {
        tokio::select! {
            call = calls.recv() => {
                let Some(Call { mut message, answer }) = call else { return };
                number += 1;
                message["id"] = number.into();
                waiting.insert(number, answer);
                if socket.send(Message::text(message.to_string())).await.is_err() {
                    return;
                }
            }
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Ok(text) = message.into_text() else { continue };
                let Ok(message) = serde_json::from_str::<Value>(&text) else { continue };
                match message["id"].as_u64() {
                    Some(id) => {
                        if let Some(answer) = waiting.remove(&id) {
                            // Who asked may have given up.
                            answer.send(message).ok();
                        }
                    }
                    None => note(&message, pages),
                }
            }
        }
    }
}

fn note(message: &Value, pages: &Pages) {
    let session = message["sessionId"].as_str().unwrap_or_default();
    let pages = pages.lock().expect("no panic");
    let Some(seen) = pages.get(session) else {
        return;
    };
    let mut seen = seen.lock().expect("no panic");
    let parameters = &message["params"];
    match message["method"].as_str().unwrap_or_default() {
        "Runtime.consoleAPICalled"
            if ["error", "assert"].contains(&parameters["type"].as_str().unwrap_or_default()) =>
        {
            let said = format!("console: {}", parameters["args"]);
            if seen.broken_off == 0 || !said.contains(UNFETCHED) {
                seen.problems.push(said);
            } else {
                seen.excused.push(said);
            }
        }
        "Runtime.exceptionThrown" => {
            let details = &parameters["exceptionDetails"];
            seen.problems.push(format!("exception: {details}"));
        }
        "Log.entryAdded" if parameters["entry"]["level"] == "error" => {
            let entry = &parameters["entry"];
            let said = format!("{}: {}", entry["url"], entry["text"]);
            if said.contains(BROKEN_OFF) {
                seen.broken_off += 1;
            } else {
                seen.problems.push(said);
            }
        }
        "Network.requestWillBeSent" => {
            let url = parameters["request"]["url"].as_str().unwrap_or_default();
            seen.requests.push(url.to_owned());
        }
        _ => {}
    }
}
