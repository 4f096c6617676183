//! A small HTTP server that examples and tests run as a task, so that nothing needs downloading.
//!
//! `GET /health` answers 200 while it serves and 503 once it drains, `/todo` answers 204, every
//! other path answers the text. Each answer carries the wanted headers.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// How long a client may take to send its request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection whose first bytes say too little is looked at again after so long.
const PEEK_PAUSE: Duration = Duration::from_millis(1);

/// What to answer.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Body of ordinary answers.
    pub text: String,
    /// Status of ordinary answers.
    pub status: StatusCode,
    /// Headers of every answer.
    pub headers: HeaderMap,
    /// Pause before every answer but those of `/health`.
    pub delay: Duration,
    /// Share of requests, 0 to 1, that are answered 500; health is never among them.
    pub error_rate: f64,
    /// Share of connections, 0 to 1, that are reset as soon as something is asked on them; those
    /// that ask for health first are never among them.
    pub reset_rate: f64,
    /// Status, pause and errors are only for paths that begin so.
    pub only: String,
    /// They are only there while this file is.
    pub while_there: Option<PathBuf>,
    /// How long requests may go on after the signal; zero ends at once, whatever is in flight.
    pub drain: Duration,
}

/// A bound server that does not serve yet.
#[derive(Debug)]
pub struct Echo {
    listener: TcpListener,
    shared: Arc<Shared>,
    drain: Duration,
}

#[derive(Debug)]
struct Shared {
    text: Bytes,
    status: StatusCode,
    headers: HeaderMap,
    delay: Duration,
    error_rate: f64,
    reset_rate: f64,
    only: String,
    while_there: Option<PathBuf>,
    arrived: AtomicU64,
    opened: AtomicU64,
    draining: AtomicBool,
}

impl Echo {
    /// Binds the listener.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(config: Config) -> std::io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let shared = Arc::new(Shared {
            text: config.text.into(),
            status: config.status,
            headers: config.headers,
            delay: config.delay,
            error_rate: config.error_rate.clamp(0.0, 1.0),
            reset_rate: config.reset_rate.clamp(0.0, 1.0),
            only: config.only,
            while_there: config.while_there,
            arrived: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        });
        Ok(Self {
            listener,
            shared,
            drain: config.drain,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, _)) => self.serve(socket, &graceful),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(Duration::from_millis(10)).await;
                    }
                },
                () = &mut stop => break,
            }
        }
        self.shared.draining.store(true, Ordering::Relaxed);
        if self.drain.is_zero() {
            return;
        }
        let deadline = sleep(self.drain);
        tokio::pin!(deadline);
        // Connections that wait in the backlog were accepted by the kernel: they get their answer
        // too.
        while let Ok(Ok((socket, _))) =
            tokio::time::timeout(Duration::ZERO, self.listener.accept()).await
        {
            self.serve(socket, &graceful);
        }
        drop(self.listener);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = &mut deadline => {}
        }
    }

    fn serve(&self, socket: TcpStream, graceful: &GracefulShutdown) {
        socket.set_nodelay(true).ok();
        if self.shared.reset_rate > 0.0 {
            let shared = Arc::clone(&self.shared);
            let watcher = graceful.watcher();
            tokio::spawn(async move {
                if !shared.resets(&socket).await {
                    shared.serve(socket, watcher).await;
                } else if let Err(error) = socket.set_zero_linger() {
                    tracing::warn!(%error, "cannot reset a connection");
                }
            });
            return;
        }
        let connection = Arc::clone(&self.shared).serve(socket, graceful.watcher());
        tokio::spawn(connection);
    }
}

/// What is asked for so is not reset.
const HEALTH: &[u8] = b"GET /health ";

impl Shared {
    async fn serve(self: Arc<Self>, socket: TcpStream, watcher: Watcher) {
        let shared = self;
        let service = hyper::service::service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(shared.answer(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(socket), service);
        // A client that goes away in the middle is its own affair.
        watcher.watch(connection).await.ok();
    }

    /// Whether a connection is to be reset, by what is asked first.
    async fn resets(&self, socket: &TcpStream) -> bool {
        let mut first = [0; HEALTH.len()];
        let asks = async {
            // What is peeked at stays, so that its end is found by the one who reads.
            while let Ok(length) = socket.peek(&mut first).await {
                let is_health = HEALTH.starts_with(&first[..length]);
                if length == 0 || !is_health || length == HEALTH.len() {
                    return !is_health;
                }
                sleep(PEEK_PAUSE).await;
            }
            false
        };
        let asks = tokio::time::timeout(HEAD_TIMEOUT, asks).await;
        asks == Ok(true) && is_one(self.opened.fetch_add(1, Ordering::Relaxed), self.reset_rate)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let mut body = request.into_body();
        // Read what the client sends, so that the connection can be used again.
        while let Some(Ok(_)) = body.frame().await {}
        if path == "/health" {
            let draining = self.draining.load(Ordering::Relaxed);
            let status = if draining {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::OK
            };
            return self.response(status, Bytes::new());
        }
        let mut status = StatusCode::OK;
        if self.is_meant(&path).await {
            let number = self.arrived.fetch_add(1, Ordering::Relaxed);
            if !self.delay.is_zero() {
                sleep(self.delay).await;
            }
            if is_one(number, self.error_rate) {
                return self.response(StatusCode::INTERNAL_SERVER_ERROR, "wanted error\n".into());
            }
            status = self.status;
        }
        match path.as_str() {
            "/todo" => self.response(StatusCode::NO_CONTENT, Bytes::new()),
            _ => self.response(status, self.text.clone()),
        }
    }

    /// Whether the wanted status, pause and errors are for a request at this path now.
    async fn is_meant(&self, path: &str) -> bool {
        path.starts_with(&self.only)
            && match &self.while_there {
                Some(file) => tokio::fs::try_exists(file).await.unwrap_or(false),
                None => true,
            }
    }

    fn response(&self, status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().extend(self.headers.clone());
        response
    }
}

/// Whether one of many that are counted from 0 is among a share of them. They are spread evenly:
/// after n of them, n times the share were.
#[expect(clippy::cast_precision_loss, reason = "a share needs no exact count")]
fn is_one(number: u64, share: f64) -> bool {
    let chosen = |count: u64| (count as f64 * share).floor();
    chosen(number + 1) > chosen(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
    };

    fn config() -> Config {
        let mut headers = HeaderMap::new();
        headers.insert("x-version", "2".parse().unwrap());
        Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            text: "hello".into(),
            status: StatusCode::OK,
            headers,
            delay: Duration::ZERO,
            error_rate: 0.0,
            reset_rate: 0.0,
            only: "/".into(),
            while_there: None,
            drain: Duration::ZERO,
        }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_answers_text_health_and_todo_with_headers() {
        let echo = Echo::bind(config()).await.unwrap();
        let address = echo.local_addr().unwrap();
        tokio::spawn(echo.run(std::future::pending()));
        let text = get(address, "/").await;
        assert!(
            text.starts_with("HTTP/1.1 200") && text.ends_with("hello"),
            "{text}"
        );
        assert!(text.contains("x-version: 2"));
        assert!(get(address, "/health").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/todo").await.starts_with("HTTP/1.1 204"));
    }

    #[tokio::test]
    async fn errors_come_at_the_wanted_rate() {
        let echo = Echo::bind(Config {
            error_rate: 0.25,
            ..config()
        })
        .await
        .unwrap();
        let address = echo.local_addr().unwrap();
        tokio::spawn(echo.run(std::future::pending()));
        let mut failed = 0;
        for _ in 0..8 {
            failed += u32::from(get(address, "/").await.starts_with("HTTP/1.1 500"));
        }
        assert_eq!(failed, 2);
    }

    #[tokio::test]
    async fn what_is_wanted_may_be_bound_to_a_path_and_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad");
        let echo = Echo::bind(Config {
            status: StatusCode::NOT_FOUND,
            only: "/cart".into(),
            while_there: Some(file.clone()),
            ..config()
        })
        .await
        .unwrap();
        let address = echo.local_addr().unwrap();
        tokio::spawn(echo.run(std::future::pending()));
        let status = async |path| {
            let answer = get(address, path).await;
            answer.split(' ').nth(1).map(str::to_owned).unwrap()
        };
        assert_eq!(status("/cart/1").await, "200");
        std::fs::write(&file, "").unwrap();
        assert_eq!(status("/cart/1").await, "404");
        assert_eq!(status("/").await, "200");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(status("/cart/1").await, "200");
    }

    #[tokio::test]
    async fn connections_are_reset_unless_they_ask_for_health() {
        let echo = Echo::bind(Config {
            reset_rate: 0.5,
            ..config()
        })
        .await
        .unwrap();
        let address = echo.local_addr().unwrap();
        tokio::spawn(echo.run(std::future::pending()));
        let mut reset = Vec::new();
        for _ in 0..4 {
            assert!(get(address, "/health").await.starts_with("HTTP/1.1 200"));
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
            let answer = socket.read_to_end(&mut Vec::new()).await;
            reset.push(answer.is_err());
        }
        assert_eq!(reset, [false, true, false, true]);
    }

    #[tokio::test]
    async fn draining_finishes_what_is_in_flight() {
        let slow = Config {
            // An address of its own: no other test takes its port when it is free again.
            listen: "127.0.0.81:0".parse().unwrap(),
            delay: Duration::from_millis(200),
            drain: Duration::from_secs(60),
            ..config()
        };
        let echo = Echo::bind(slow).await.unwrap();
        let address = echo.local_addr().unwrap();
        let shared = Arc::clone(&echo.shared);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(echo.run(async { stopped.await.unwrap_or(()) }));
        let request = tokio::spawn(async move { get(address, "/").await });
        while shared.arrived.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        stop.send(()).unwrap();
        assert!(request.await.unwrap().ends_with("hello"));
        running.await.unwrap();
        assert!(
            TcpStream::connect(address).await.is_err(),
            "nobody listens any more"
        );
    }
}
