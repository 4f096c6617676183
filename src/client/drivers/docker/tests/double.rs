//! A daemon that runs nothing: it speaks as much of the API as the driver uses, remembers what it
//! was asked, and ends, writes and fails as it is told.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{Request, Response, StatusCode, body::Frame, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{net::UnixListener, sync::watch, task::JoinSet};

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// It is answered so.
    Status(u16, &'static str),
    /// The connection is closed instead of an answer.
    Closes,
}

#[derive(Clone, Debug, Default)]
struct Container {
    id: u32,
    name: String,
    body: Value,
    is_started: bool,
    /// Exit code, and whether it ran out of memory.
    exit: Option<(i64, bool)>,
    /// An event says that it ran out of memory.
    is_told: bool,
    /// Stream and text.
    written: Vec<(u8, String)>,
    /// The signal that it ends on, besides SIGKILL.
    ends_on: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Pull {
    Quick,
    Slow,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    headers: BTreeMap<String, BTreeMap<String, String>>,
    containers: Vec<Container>,
    made: u32,
    images: BTreeSet<String>,
    pulls: BTreeMap<String, Pull>,
    faults: Vec<(&'static str, Fault)>,
}

/// The double.
#[derive(Debug)]
pub(super) struct Daemon {
    path: PathBuf,
    state: Arc<Mutex<State>>,
    /// Counts changes.
    changed: watch::Sender<u64>,
    serving: tokio::sync::Mutex<JoinSet<()>>,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Daemon {
    pub(super) async fn start(path: &Path) -> Self {
        let daemon = Self {
            path: path.to_owned(),
            state: Arc::default(),
            changed: watch::Sender::new(0),
            serving: tokio::sync::Mutex::default(),
        };
        daemon.restart().await;
        daemon
    }

    /// Goes away with all its connections; containers go on.
    pub(super) async fn stop(&self) {
        self.serving.lock().await.shutdown().await;
        std::fs::remove_file(&self.path).ok();
    }

    pub(super) async fn restart(&self) {
        self.stop().await;
        let listener = UnixListener::bind(&self.path).unwrap();
        let (state, changed) = (Arc::clone(&self.state), self.changed.clone());
        self.serving.lock().await.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let server = Server {
                    state: Arc::clone(&state),
                    changed: changed.clone(),
                };
                connections.spawn(async move {
                    let answer = service_fn(move |request| {
                        let server = server.clone();
                        async move { server.answer(request).await }
                    });
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer)
                        .await
                        .ok();
                });
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.send_modify(|count| *count += 1);
    }

    fn container(&self, name: &str, change: impl FnOnce(&mut Container)) {
        self.change(|state| {
            let mut named = state.containers.iter_mut().filter(|one| one.name == name);
            change(named.next().expect("a container of that name"));
        });
    }

    pub(super) fn has_image(&self, image: &str) {
        self.change(|state| {
            state.images.insert(image.into());
        });
    }

    pub(super) fn pulls(&self, image: &str) {
        self.change(|state| {
            state.pulls.insert(image.into(), Pull::Quick);
        });
    }

    /// The last layer comes with [`Daemon::finish_pull`].
    pub(super) fn pulls_slowly(&self, image: &str) {
        self.change(|state| {
            state.pulls.insert(image.into(), Pull::Slow);
        });
    }

    pub(super) fn finish_pull(&self, image: &str) {
        self.pulls(image);
    }

    pub(super) fn writes(&self, name: &str, stream: u8, text: &str) {
        self.container(name, |one| one.written.push((stream, text.into())));
    }

    pub(super) fn exits(&self, name: &str, code: i64, is_out_of_memory: bool) {
        self.container(name, |one| one.exit = Some((code, is_out_of_memory)));
    }

    /// Was killed for its memory, which only an event says.
    pub(super) fn is_killed_for_memory(&self, name: &str) {
        self.container(name, |one| {
            one.exit = Some((137, false));
            one.is_told = true;
        });
    }

    pub(super) fn ends_on_signal(&self, name: &str, signal: &str) {
        self.container(name, |one| one.ends_on = Some(signal.into()));
    }

    /// The next request that begins so has that fault.
    pub(super) fn fails(&self, call: &'static str, fault: Fault) {
        self.change(|state| state.faults.push((call, fault)));
    }

    /// What was asked, without the version of the API, in order.
    pub(super) fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }

    pub(super) async fn until_called(&self, call: &str) {
        let mut changed = self.changed.subscribe();
        let seen = changed.wait_for(|_| {
            let state = self.state.lock();
            state.calls.iter().any(|one| one.starts_with(call))
        });
        tokio::time::timeout(super::DEADLINE, seen)
            .await
            .unwrap()
            .unwrap();
    }

    pub(super) fn header(&self, call: &str, name: &str) -> String {
        let state = self.state.lock();
        let mut sent = state
            .headers
            .iter()
            .filter(|(one, _)| one.starts_with(call));
        sent.next().expect("a call").1[name].clone()
    }
}

#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

fn full(status: u16, value: &Value) -> Response<Body> {
    let text = if value.is_null() {
        String::new()
    } else {
        value.to_string()
    };
    stream_of(status, stream::iter([text.into()]))
}

fn stream_of(status: u16, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames = pieces.map(|piece| Ok(Frame::data(piece)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn missing(what: &str) -> Response<Body> {
    full(404, &json!({"message": format!("No such {what}")}))
}

impl Server {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, &'static str> {
        let whole = request.uri().path_and_query().unwrap().to_string();
        let path = whole.strip_prefix("/v1.41").unwrap_or(&whole).to_owned();
        let path = percent_encoding::percent_decode_str(&path)
            .decode_utf8()
            .unwrap()
            .into_owned();
        let path = path.trim_end_matches("&platform=").to_owned();
        let call = format!("{} {path}", request.method());
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| {
            (
                name.to_string(),
                value.to_str().unwrap_or_default().to_owned(),
            )
        });
        let headers: BTreeMap<String, String> = headers.collect();
        let body = request
            .into_body()
            .collect()
            .await
            .map_err(|_| "cut")?
            .to_bytes();
        let fault = {
            let mut state = self.state.lock();
            state.calls.push(call.clone());
            state.headers.insert(call.clone(), headers);
            let place = state
                .faults
                .iter()
                .position(|(start, _)| call.starts_with(start));
            place.map(|place| state.faults.remove(place).1)
        };
        self.changed.send_modify(|count| *count += 1);
        match fault {
            Some(Fault::Status(status, text)) => {
                return Ok(full(status, &json!({"message": text})));
            }
            Some(Fault::Closes) => return Err("closed"),
            None => {}
        }
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let query: BTreeMap<&str, &str> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let verb = call.split(' ').next().unwrap();
        Ok(match (verb, parts.as_slice()) {
            (_, ["version"]) => full(
                200,
                &json!({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}),
            ),
            (_, ["info"]) => full(
                200,
                &json!({"OSType": "linux", "Runtimes": {"runc": {}, "io.containerd.runc.v2": {}}}),
            ),
            (_, ["networks", "bridge"]) => full(
                200,
                &json!({"IPAM": {"Config": [{"Gateway": "172.17.0.1"}]}}),
            ),
            ("GET", ["events"]) => self.events(query["filters"]),
            ("POST", ["images", "create"]) => self.pull(query["fromImage"]),
            ("GET", ["images", .., "json"]) => self.image(&parts),
            ("DELETE", ["images", ..]) => full(200, &json!([])),
            ("POST", ["containers", "create"]) => self.create(query["name"], &body),
            ("GET", ["containers", "json"]) => self.list(query["filters"]),
            (_, ["containers", id]) => self.remove(id),
            (_, ["containers", id, verb]) => self.on_container(id, verb, &query),
            _ => missing("endpoint"),
        })
    }

    fn image(&self, parts: &[&str]) -> Response<Body> {
        let name = parts[1..parts.len() - 1].join("/");
        if self.state.lock().images.contains(&name) {
            full(200, &json!({"Id": format!("sha256:{name}")}))
        } else {
            missing(&format!("image: {name}"))
        }
    }

    fn pull(&self, image: &str) -> Response<Body> {
        let image = image.to_owned();
        let Some(kind) = self.state.lock().pulls.get(&image).cloned() else {
            return full(
                404,
                &json!({"message": "pull access denied, repository does not exist"}),
            );
        };
        let line = |id: &str, status: &str| {
            let detail = json!({"current": 10, "total": 20});
            let line = json!({"id": id, "status": status, "progressDetail": detail});
            Bytes::from(format!("{line}\r\n"))
        };
        let begun = [line("l1", "Pull complete"), line("l2", "Downloading")];
        let server = self.clone();
        let rest = stream::once(async move {
            if kind == Pull::Slow {
                let mut changed = server.changed.subscribe();
                let finished = |state: &State| state.pulls.get(&image) == Some(&Pull::Quick);
                changed
                    .wait_for(|_| finished(&server.state.lock()))
                    .await
                    .unwrap();
            }
            server.state.lock().images.insert(image);
            line("l2", "Pull complete")
        });
        stream_of(200, stream::iter(begun).chain(rest))
    }

    fn create(&self, name: &str, body: &[u8]) -> Response<Body> {
        let mut state = self.state.lock();
        if state.containers.iter().any(|one| one.name == name) {
            let message = format!("Conflict. The container name {name:?} is already in use");
            return full(409, &json!({"message": message}));
        }
        state.made += 1;
        let id = state.made;
        state.containers.push(Container {
            id,
            name: name.into(),
            body: serde_json::from_slice(body).unwrap(),
            ..Container::default()
        });
        full(201, &json!({"Id": id.to_string(), "Warnings": []}))
    }

    fn list(&self, filters: &str) -> Response<Body> {
        let filters: Value = serde_json::from_str(filters).unwrap();
        let (key, value) = filters["label"][0]
            .as_str()
            .unwrap()
            .split_once('=')
            .unwrap();
        let state = self.state.lock();
        let found = state
            .containers
            .iter()
            .filter(|one| one.body["Labels"][key] == value);
        let rows = found.map(
            |one| json!({"Id": one.id.to_string(), "Created": 1, "Labels": one.body["Labels"]}),
        );
        full(200, &rows.collect())
    }

    fn remove(&self, id: &str) -> Response<Body> {
        let mut state = self.state.lock();
        let before = state.containers.len();
        state
            .containers
            .retain(|one| one.name != id && one.id.to_string() != id);
        if state.containers.len() == before {
            return missing("container");
        }
        full(204, &Value::Null)
    }

    fn find(&self, id: &str) -> Option<Container> {
        let state = self.state.lock();
        let mut all = state.containers.iter();
        all.find(|one| one.name == id || one.id.to_string() == id)
            .cloned()
    }

    fn change(&self, id: u32, change: impl FnOnce(&mut Container)) {
        let mut state = self.state.lock();
        if let Some(found) = state.containers.iter_mut().find(|one| one.id == id) {
            change(found);
        }
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    fn on_container(&self, id: &str, verb: &str, query: &BTreeMap<&str, &str>) -> Response<Body> {
        let Some(found) = self.find(id) else {
            return missing(&format!("container: {id}"));
        };
        match verb {
            "json" => full(200, &inspected(&found)),
            "start" => {
                self.change(found.id, |one| one.is_started = true);
                full(204, &Value::Null)
            }
            "kill" => {
                let signal = query["signal"];
                self.change(found.id, |one| {
                    if signal == "SIGKILL" {
                        one.exit = Some((137, false));
                    } else if one.ends_on.as_deref() == Some(signal) {
                        one.exit = Some((143, false));
                    }
                });
                full(204, &Value::Null)
            }
            "stats" => full(
                200,
                &json!({
                    "cpu_stats": {"cpu_usage": {"usage_in_usermode": 1_000_000_000, "usage_in_kernelmode": 0},
                        "throttling_data": {"throttled_periods": 7}},
                    "memory_stats": {"usage": 8192, "max_usage": 9000, "stats": {"rss": 4096, "cache": 1}},
                }),
            ),
            "wait" => self.wait(found.id),
            "logs" => self.logs(found.id, query["since"].parse().unwrap()),
            _ => missing("endpoint"),
        }
    }

    /// Ends when the container does.
    fn wait(&self, id: u32) -> Response<Body> {
        let server = self.clone();
        stream_of(
            200,
            stream::once(async move {
                let mut changed = server.changed.subscribe();
                let exit = |server: &Server| server.find(&id.to_string()).and_then(|one| one.exit);
                changed.wait_for(|_| exit(&server).is_some()).await.unwrap();
                let code = exit(&server).map_or(0, |exit| exit.0);
                Bytes::from(json!({"StatusCode": code}).to_string())
            }),
        )
    }

    /// The one event that a container may have had; nothing else ever happens.
    fn events(&self, filters: &str) -> Response<Body> {
        let told = self.state.lock();
        let mut told = told.containers.iter().filter(|one| one.is_told);
        let event = told.find(|one| {
            let decoded = filters.replace("%22", "\"");
            decoded.contains("\"oom\"") && decoded.contains(&format!("\"{}\"", one.id))
        });
        let event = event
            .map(|one| json!({"Type": "container", "Action": "oom", "id": one.id.to_string()}));
        let happened = stream::iter(event.map(|event| Bytes::from(format!("{event}\n"))));
        stream_of(200, happened.chain(stream::pending()))
    }

    /// Every piece has a second of its own; the daemon knows whole seconds only.
    fn logs(&self, id: u32, since: i64) -> Response<Body> {
        let server = self.clone();
        let first = usize::try_from((since - FIRST_SECOND).max(0)).unwrap();
        stream_of(
            200,
            stream::unfold((server, first), move |(server, place)| async move {
                let mut changed = server.changed.subscribe();
                let look = || server.find(&id.to_string());
                let is_news =
                    || look().is_none_or(|one| one.written.len() > place || one.exit.is_some());
                changed.wait_for(|_| is_news()).await.ok()?;
                let (stream, text) = look()?.written.get(place).cloned()?;
                let second = FIRST_SECOND + i64::try_from(place).unwrap();
                let at = jiff::Timestamp::from_second(second).unwrap();
                let payload = format!("{at} {text}");
                let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
                let mut frame = vec![stream, 0, 0, 0];
                frame.extend(length);
                frame.extend(payload.as_bytes());
                Some((Bytes::from(frame), (server, place + 1)))
            }),
        )
    }
}

const FIRST_SECOND: i64 = 1_795_316_400;

fn inspected(one: &Container) -> Value {
    let is_running = one.is_started && one.exit.is_none();
    let (code, is_out_of_memory) = one.exit.unwrap_or_default();
    let started = if one.is_started {
        "2026-11-22T03:00:00Z"
    } else {
        "0001-01-01T00:00:00Z"
    };
    json!({
        "Id": one.id.to_string(),
        "Name": format!("/{}", one.name),
        "Image": one.body["Image"],
        "Config": {"Labels": one.body["Labels"]},
        "State": {"Running": is_running, "ExitCode": code, "OOMKilled": is_out_of_memory,
            "StartedAt": started, "FinishedAt": "2026-11-22T04:00:00Z", "Error": ""},
    })
}
