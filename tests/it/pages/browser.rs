//! Debian's headless Chromium over its DevTools protocol: pages that are opened, asked and pressed,
//! and what they complained of meanwhile.

use crate::harness::DEADLINE;
use crate::needs::need;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async_with_config, tungstenite};
use tungstenite::{Message, protocol::WebSocketConfig};

/// Between two looks at a page.
const LOOK: Duration = Duration::from_millis(30);
/// Bytes of the longest message, which is a picture.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What a page did that it must not.
#[derive(Debug, Default)]
struct Seen {
    /// Errors that it wrote or raised.
    problems: Vec<String>,
    /// Addresses that it asked.
    requests: Vec<String>,
}

struct Call {
    message: Value,
    answer: oneshot::Sender<Value>,
}

/// A running browser with one page.
pub(crate) struct Browser {
    child: Child,
    calls: mpsc::Sender<Call>,
    seen: Arc<Mutex<Seen>>,
    session: String,
    origin: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one with an empty page that will look at `origin`; none, loudly, where there is no
    /// Chromium.
    pub(crate) async fn start(origin: &str) -> Option<Self> {
        let program = need("chromium", "chromium")?;
        let profile = tempfile::tempdir().expect("a directory");
        let mut child = Command::new(program)
            .args([
                "--headless=new",
                // The tests may run as root, for whom Chromium has no sandbox.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--remote-debugging-port=0",
                "--force-color-profile=srgb",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("chromium starts");
        let stderr = child.stderr.take().expect("its errors");
        let mut lines = BufReader::new(stderr).lines();
        let found = timeout(DEADLINE, async {
            while let Some(line) = lines.next_line().await.expect("a line") {
                if let Some((_, address)) = line.split_once("DevTools listening on ") {
                    return address.trim().to_owned();
                }
            }
            panic!("chromium ended before it listened");
        });
        let address = found.await.expect("chromium listens");
        // It must not block on what nobody reads.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let seen = Arc::new(Mutex::new(Seen::default()));
        let calls = connect(&address, Arc::clone(&seen)).await;
        let mut browser = Self {
            child,
            calls,
            seen,
            session: String::new(),
            origin: origin.to_owned(),
            _profile: profile,
        };
        let target = browser
            .call("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach).await;
        let session = attached["sessionId"].as_str().expect("a session");
        browser.session = session.to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser.view(1280, 900, false).await;
        Some(browser)
    }

    async fn call(&self, method: &str, parameters: Value) -> Value {
        let mut message = json!({"method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let (sender, answer) = oneshot::channel();
        let call = Call {
            message,
            answer: sender,
        };
        self.calls.send(call).await.expect("chromium runs");
        let answer = timeout(DEADLINE, answer).await.expect("an answer");
        let answer = answer.expect("chromium runs");
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sets the size of the window and whether the system's colors are dark.
    pub(crate) async fn view(&self, width: u32, height: u32, is_dark: bool) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Opens the page at `path` of the web UI and waits until it shows something.
    pub(crate) async fn open(&self, path: &str) {
        let url = format!("{}/ui{path}", self.origin);
        self.call("Page.navigate", json!({"url": url})).await;
        self.wait("document.querySelector('main h1, main .empty') !== null")
            .await;
    }

    /// The value of an expression in the page, which may be a promise.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", parameters).await;
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// What the main part of the page says.
    pub(crate) async fn text(&self) -> String {
        let text = self.value("document.querySelector('main').innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true.
    pub(crate) async fn wait(&self, expression: &str) {
        let start = Instant::now();
        // A page that is just replaced answers nothing.
        let safe = format!(
            "(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()"
        );
        while self.value(&safe).await != true {
            assert!(
                start.elapsed() < DEADLINE,
                "{expression} did not come true; the page says:\n{}\n{:?}",
                self.text().await,
                self.seen.lock().expect("no panic").problems,
            );
            sleep(LOOK).await;
        }
    }

    /// Waits until the main part of the page says `text`.
    pub(crate) async fn wait_text(&self, text: &str) {
        let wanted = json!(text);
        self.wait(&format!(
            "document.querySelector('main').innerText.includes({wanted})"
        ))
        .await;
    }

    /// Presses the button or link with this label, in a question if one is open, as soon as that is
    /// possible.
    pub(crate) async fn press(&self, label: &str) {
        let find = format!(
            "[...(document.querySelector('dialog[open]') ?? document).querySelectorAll('button, a')]\
             .find((own) => own.textContent.trim() === {} && !own.disabled)",
            json!(label)
        );
        self.wait(&format!("{find} !== undefined")).await;
        self.value(&format!("({find}).click()")).await;
    }

    /// Puts text where a selector points, in place of what is there, as a paste does.
    pub(crate) async fn paste(&self, selector: &str, text: &str) {
        let field = format!("document.querySelector({})", json!(selector));
        self.wait(&format!("{field} !== null")).await;
        self.value(&format!("{field}.focus(), {field}.select()"))
            .await;
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Presses a key.
    pub(crate) async fn key(&self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({"type": kind, "key": key, "text": if kind == "keyDown" { key } else { "" }});
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// A picture of the window.
    pub(crate) async fn picture(&self, file: &Path) {
        let answer = self
            .call("Page.captureScreenshot", json!({"format": "png"}))
            .await;
        let data = answer["data"].as_str().expect("a picture");
        std::fs::write(file, BASE64.decode(data).expect("base64")).expect("a file");
    }

    /// What the page complained of since the last look.
    pub(crate) fn problems(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().expect("no panic").problems)
    }

    /// Ends the browser; fails if a page wrote an error or asked another origin.
    pub(crate) async fn end_clean(mut self) {
        let problems = self.problems();
        assert!(problems.is_empty(), "{problems:#?}");
        let requests = std::mem::take(&mut self.seen.lock().expect("no panic").requests);
        assert!(!requests.is_empty(), "the page asked for something");
        let inside = format!("{}/", self.origin);
        let foreign: Vec<&String> = requests
            .iter()
            .filter(|url| !url.starts_with(&inside) && !url.starts_with("about:"))
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        self.session.clear();
        self.call("Browser.close", json!({})).await;
        let ended = timeout(DEADLINE, self.child.wait()).await;
        ended.expect("chromium ends").expect("a status");
    }
}

async fn connect(address: &str, seen: Arc<Mutex<Seen>>) -> mpsc::Sender<Call> {
    let host = address.trim_start_matches("ws://");
    let (host, _) = host.split_once('/').expect("a path");
    let stream = TcpStream::connect(host).await.expect("chromium listens");
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let (socket, _) = client_async_with_config(address, stream, Some(config))
        .await
        .expect("a web socket");
    let (calls, received) = mpsc::channel(16);
    tokio::spawn(carry(socket, received, seen));
    calls
}

/// Hands calls to the browser and their answers back, until it ends.
async fn carry(
    mut socket: WebSocketStream<TcpStream>,
    mut calls: mpsc::Receiver<Call>,
    seen: Arc<Mutex<Seen>>,
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
                    None => note(&message, &seen),
                }
            }
        }
    }
}

fn note(message: &Value, seen: &Mutex<Seen>) {
    let parameters = &message["params"];
    let mut seen = seen.lock().expect("no panic");
    match message["method"].as_str().unwrap_or_default() {
        "Runtime.consoleAPICalled"
            if ["error", "assert"].contains(&parameters["type"].as_str().unwrap_or_default()) =>
        {
            seen.problems
                .push(format!("console: {}", parameters["args"]));
        }
        "Runtime.exceptionThrown" => {
            let details = &parameters["exceptionDetails"];
            seen.problems.push(format!("exception: {details}"));
        }
        "Log.entryAdded" if parameters["entry"]["level"] == "error" => {
            let entry = &parameters["entry"];
            seen.problems
                .push(format!("{}: {}", entry["url"], entry["text"]));
        }
        "Network.requestWillBeSent" => {
            let url = parameters["request"]["url"].as_str().unwrap_or_default();
            seen.requests.push(url.to_owned());
        }
        _ => {}
    }
}
