//! `alloc logs`.

use super::super::context::Context;
use super::super::http::{Http, segment};
use super::super::lookup;
use anyhow::Context as _;
use futures_util::StreamExt as _;
use std::time::Duration;

/// Lines of a tail unless told otherwise.
const TAIL_LINES: u64 = 10;
/// Bytes that a line is taken to have when looking for the last ones.
const LINE_BYTES: u64 = 120;
/// After a pause this long, a followed tail shows what it has.
const TAIL_PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `alloc logs`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Allocation id or its beginning; a job's with -job
    id: String,
    /// Task; may be left out when there is one
    task: Option<String>,
    /// As the second argument
    #[arg(long = "task", value_name = "TASK", conflicts_with = "task")]
    task_flag: Option<String>,
    /// The first argument is a job: take its newest running allocation
    #[arg(long)]
    job: bool,
    /// With -job: only allocations of this group
    #[arg(long, requires = "job")]
    group: Option<String>,
    /// Print standard error
    #[arg(long)]
    stderr: bool,
    /// Print standard output
    #[arg(long)]
    stdout: bool,
    /// Go on with what is written from now on
    #[arg(short = 'f')]
    follow: bool,
    /// Print the end only
    #[arg(long)]
    tail: bool,
    /// How many lines of the end
    #[arg(short = 'n', value_name = "LINES")]
    lines: Option<u64>,
    /// How many bytes of the end
    #[arg(short = 'c', value_name = "BYTES", conflicts_with = "lines")]
    bytes: Option<u64>,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

/// Which stream of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let view = cx.view(arguments.verbose);
    let alloc = if arguments.job {
        lookup::allocation_of_job(cx, &arguments.id, arguments.group.as_deref()).await?
    } else {
        lookup::allocation(cx, &arguments.id, &view).await?
    };
    let named = arguments.task.as_deref().or(arguments.task_flag.as_deref());
    let task = super::task(&alloc, named)?.to_owned();
    let http = cx.http.in_namespace(&alloc.row.namespace);
    let path = format!("/v1/client/fs/logs/{}", segment(alloc.row.id));
    let request = Request {
        http,
        path,
        task,
        follow: arguments.follow,
        end: End::of(arguments.bytes, arguments.lines, arguments.tail),
    };
    let streams: &[Stream] = match (arguments.stdout, arguments.stderr) {
        (true, true) => &[Stream::Stdout, Stream::Stderr],
        (false, true) => &[Stream::Stderr],
        (true, false) => &[Stream::Stdout],
        (false, false) if arguments.follow => &[Stream::Stdout, Stream::Stderr],
        (false, false) => &[Stream::Stdout],
    };
    if let [only] = streams {
        return copy_one(cx, &request, *only).await;
    }
    copy_both(cx, &request).await
}

/// Where the end begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Bytes(u64),
    Lines(u64),
}

impl End {
    /// How far from the end to begin; none begins at the start.
    pub(super) fn of(bytes: Option<u64>, lines: Option<u64>, tail: bool) -> Option<Self> {
        match (bytes, lines) {
            (Some(bytes), _) => Some(Self::Bytes(bytes)),
            (None, Some(lines)) => Some(Self::Lines(lines)),
            (None, None) if tail => Some(Self::Lines(TAIL_LINES)),
            (None, None) => None,
        }
    }

    /// Bytes from the end to ask for.
    pub(super) fn offset(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Lines(lines) => lines.saturating_mul(LINE_BYTES),
        }
    }

    /// What keeps only the lines wanted.
    pub(super) fn limiter(self) -> LastLines {
        match self {
            Self::Bytes(_) => LastLines::all(),
            Self::Lines(lines) => LastLines::new(lines, self.offset()),
        }
    }
}

#[derive(Debug)]
struct Request {
    http: Http,
    path: String,
    task: String,
    follow: bool,
    end: Option<End>,
}

impl Request {
    async fn open(
        &self,
        stream: Stream,
    ) -> anyhow::Result<
        impl futures_util::Stream<Item = Result<bytes::Bytes, super::super::http::Error>>
        + Unpin
        + use<>,
    > {
        let follow = self.follow.to_string();
        let offset = self.end.map(|end| end.offset().to_string());
        let mut query = vec![
            ("task", self.task.as_str()),
            ("type", stream.as_str()),
            ("follow", follow.as_str()),
            ("plain", "true"),
        ];
        match &offset {
            Some(offset) => query.extend([("origin", "end"), ("offset", offset.as_str())]),
            // Following both streams starts with what comes next, as a merged past has no order.
            None if self.follow => query.extend([("origin", "end"), ("offset", "0")]),
            None => query.extend([("origin", "start"), ("offset", "0")]),
        }
        self.http
            .stream(&self.path, &query)
            .await
            .context("Error reading logs")
    }

    fn limiter(&self) -> LastLines {
        self.end.map_or_else(LastLines::all, End::limiter)
    }
}

async fn copy_one(cx: &mut Context, request: &Request, which: Stream) -> anyhow::Result<u8> {
    let mut stream = request.open(which).await?;
    let mut limiter = request.limiter();
    loop {
        tokio::select! {
            piece = stream.next() => match piece {
                None => break,
                Some(piece) => emit(cx, which, &limiter.push(&piece?))?,
            },
            () = tokio::time::sleep(TAIL_PAUSE), if limiter.holds() => {
                emit(cx, which, &limiter.finish())?;
            }
        }
    }
    emit(cx, which, &limiter.finish())?;
    Ok(0)
}

async fn copy_both(cx: &mut Context, request: &Request) -> anyhow::Result<u8> {
    let mut out = request.open(Stream::Stdout).await?.fuse();
    let mut err = request.open(Stream::Stderr).await?.fuse();
    let mut limiters = (request.limiter(), request.limiter());
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        tokio::select! {
            piece = out.next(), if out_open => match piece {
                None => out_open = false,
                Some(piece) => emit(cx, Stream::Stdout, &limiters.0.push(&piece?))?,
            },
            piece = err.next(), if err_open => match piece {
                None => err_open = false,
                Some(piece) => emit(cx, Stream::Stderr, &limiters.1.push(&piece?))?,
            },
            () = tokio::time::sleep(TAIL_PAUSE), if limiters.0.holds() || limiters.1.holds() => {
                emit(cx, Stream::Stdout, &limiters.0.finish())?;
                emit(cx, Stream::Stderr, &limiters.1.finish())?;
            }
        }
    }
    emit(cx, Stream::Stdout, &limiters.0.finish())?;
    emit(cx, Stream::Stderr, &limiters.1.finish())?;
    Ok(0)
}

fn emit(cx: &mut Context, which: Stream, bytes: &[u8]) -> anyhow::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    match which {
        Stream::Stdout => cx.write(bytes),
        Stream::Stderr => cx.write_error(bytes),
    }
}

/// Holds the beginning of a stream back until it is known which lines are the last ones.
#[derive(Debug)]
pub(super) struct LastLines {
    lines: u64,
    search_bytes: usize,
    held: Vec<u8>,
    done: bool,
}

impl LastLines {
    /// Passes everything.
    pub(super) fn all() -> Self {
        Self {
            lines: 0,
            search_bytes: 0,
            held: Vec::new(),
            done: true,
        }
    }

    /// The last `lines` lines of the first `search_bytes` bytes, then everything.
    fn new(lines: u64, search_bytes: u64) -> Self {
        /// The most that is held back, bytes.
        const HELD_MAX: u64 = 16 << 20;
        Self {
            lines,
            search_bytes: usize::try_from(search_bytes.min(HELD_MAX)).unwrap_or(0),
            held: Vec::new(),
            done: false,
        }
    }

    /// True while something is held back.
    pub(super) fn holds(&self) -> bool {
        !self.done && !self.held.is_empty()
    }

    /// Takes a piece and returns what may be printed.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.done {
            return piece.to_vec();
        }
        self.held.extend_from_slice(piece);
        if self.held.len() >= self.search_bytes {
            return self.finish();
        }
        Vec::new()
    }

    /// Ends the search.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        if self.done {
            return Vec::new();
        }
        self.done = true;
        let held = std::mem::take(&mut self.held);
        let wanted = usize::try_from(self.lines).unwrap_or(usize::MAX);
        if wanted == 0 {
            return Vec::new();
        }
        // A newline at the very end closes the last line and does not open another.
        let body = held.strip_suffix(b"\n").unwrap_or(&held);
        let start = body
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(wanted - 1)
            .map_or(0, |(at, _)| at + 1);
        held.get(start..).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: u64, pieces: &[&str], expected: &str) {
        let mut limiter = End::Lines(lines).limiter();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(limiter.push(piece.as_bytes()));
        }
        out.extend(limiter.finish());
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn only_the_last_lines_pass() {
        check(2, &["a\nb\nc\n"], "b\nc\n");
        check(2, &["a\nb\n", "c"], "b\nc");
        check(5, &["a\nb\n"], "a\nb\n");
        check(0, &["a\n"], "");
        check(1, &[], "");
        check(1, &["\n"], "\n");
    }

    #[test]
    fn after_the_search_everything_passes() {
        let mut limiter = End::Lines(1).limiter();
        let long = "x\n".repeat(60);
        assert_eq!(limiter.push(long.as_bytes()), b"x\n");
        assert_eq!(limiter.push(b"y\nz\n"), b"y\nz\n");
        assert!(!limiter.holds());
    }
}
