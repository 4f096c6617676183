//! The network between simulated processes: streams of bytes that take their time, connections
//! that break, and links that are cut without a word.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use rpc::wire::{Arrived, Connection, Network};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{mpsc, oneshot},
};

use crate::machine;

/// Bytes that a direction of a connection takes before its writer waits.
const WINDOW_BYTES: usize = 1 << 20;
/// Connections that may wait to be accepted.
const BACKLOG: usize = 64;
/// Longest time that a message takes while all is well.
const USUAL_DELAY: Duration = Duration::from_millis(4);
/// How long what is lost takes until it is sent again.
const RESENT_AFTER: Duration = Duration::from_millis(200);

/// One direction of a connection.
#[derive(Default)]
struct Direction {
    from: u32,
    to: u32,
    /// What is under way, and when it is there.
    under_way: VecDeque<(Duration, Vec<u8>)>,
    bytes_under_way: usize,
    arrived: VecDeque<u8>,
    /// The writer has said all that it will.
    is_finished: bool,
    /// The writer is gone: the other side hears of it then.
    broken_at: Option<Duration>,
    is_broken: bool,
    has_reader: bool,
    has_writer: bool,
    /// The other direction of the connection.
    pair: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Dialing {
    due: Duration,
    from: u32,
    to: SocketAddr,
    reply: oneshot::Sender<io::Result<Box<dyn Connection>>>,
}

struct State {
    random: ChaCha8Rng,
    next: u64,
    directions: BTreeMap<u64, Direction>,
    listeners: BTreeMap<SocketAddr, (u32, mpsc::Sender<Arrived>)>,
    dialing: Vec<Dialing>,
    /// Where nothing gets through: from, to.
    cut: BTreeSet<(u32, u32)>,
    /// Longest time that a message takes.
    delay_max: Duration,
    /// Of so many messages one is lost, and sent again.
    lost_of: u32,
}

impl State {
    fn below(&mut self, bound: u32) -> u32 {
        self.random.next_u32() % bound.max(1)
    }

    fn delay(&mut self) -> Duration {
        let part = self.below(1000);
        let mut delay = self.delay_max * part / 1000;
        if self.lost_of > 0 && self.below(self.lost_of) == 0 {
            delay += RESENT_AFTER;
        }
        delay
    }

    /// A new connection: both its directions.
    fn connection(&mut self, from: u32, to: u32) -> (u64, u64) {
        let (there, back) = (self.next, self.next + 1);
        self.next += 2;
        for (id, pair, from, to) in [(there, back, from, to), (back, there, to, from)] {
            let direction = Direction {
                from,
                to,
                pair,
                has_reader: true,
                has_writer: true,
                ..Direction::default()
            };
            self.directions.insert(id, direction);
        }
        (there, back)
    }
}

/// The network; all clones are one.
#[derive(Clone)]
pub(crate) struct Net(Arc<Mutex<State>>);

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: ChaCha8Rng::seed_from_u64(seed),
            next: 0,
            directions: BTreeMap::new(),
            listeners: BTreeMap::new(),
            dialing: Vec::new(),
            cut: BTreeSet::new(),
            delay_max: USUAL_DELAY,
            lost_of: 0,
        })))
    }

    /// Lets nothing through from one process to another.
    pub(crate) fn cut(&self, from: u32, to: u32) {
        self.0.lock().cut.insert((from, to));
    }

    /// Lets messages take up to `delay`.
    pub(crate) fn slow(&self, delay: Duration) {
        self.0.lock().delay_max = delay;
    }

    /// Loses one message of so many; none of 0.
    pub(crate) fn lose_of(&self, messages: u32) {
        self.0.lock().lost_of = messages;
    }

    /// Everything gets through again.
    pub(crate) fn heal(&self) {
        let mut state = self.0.lock();
        state.cut.clear();
        state.delay_max = USUAL_DELAY;
        state.lost_of = 0;
    }

    /// Nobody listens there any more, and what the process held of connections is gone: its
    /// machine says so to whoever writes to them, and can be reached.
    pub(crate) fn end(&self, process: u32) {
        let mut state = self.0.lock();
        state.listeners.retain(|_, (owner, _)| *owner != process);
        state.dialing.retain(|dialing| dialing.from != process);
    }

    /// Brings what is due by `now` to where it belongs.
    pub(crate) fn deliver(&self, now: Duration) {
        let mut wakers = Vec::new();
        let mut answers = Vec::new();
        {
            let state = &mut *self.0.lock();
            let mut broken = Vec::new();
            for direction in state.directions.values_mut() {
                if state.cut.contains(&(direction.from, direction.to)) {
                    continue;
                }
                if direction.advance(now, &mut wakers) {
                    broken.push(direction.pair);
                }
            }
            // Who hears that the other side is gone need not write to it any more.
            for pair in broken {
                if let Some(direction) = state.directions.get_mut(&pair) {
                    direction.is_broken = true;
                    wakers.extend(direction.writer.take());
                }
            }
            let due = |dialing: &Dialing, cut: &BTreeSet<(u32, u32)>, to: Option<u32>| {
                let to = to.unwrap_or(u32::MAX);
                dialing.due <= now
                    && !cut.contains(&(dialing.from, to))
                    && !cut.contains(&(to, dialing.from))
            };
            let mut waiting = Vec::new();
            for dialing in std::mem::take(&mut state.dialing) {
                let listener = state.listeners.get(&dialing.to).cloned();
                let owner = listener.as_ref().map(|(owner, _)| *owner);
                if !due(&dialing, &state.cut, owner) {
                    if !dialing.reply.is_closed() {
                        waiting.push(dialing);
                    }
                    continue;
                }
                let Some((owner, accept)) = listener else {
                    let refused = io::ErrorKind::ConnectionRefused.into();
                    answers.push((dialing.reply, Err(refused)));
                    continue;
                };
                let (there, back) = state.connection(dialing.from, owner);
                let near = Stream::new(self, back, there);
                let far = Stream::new(self, there, back);
                let peer = SocketAddr::from(([10, 0, 1, 1], 40_000));
                answers.push((dialing.reply, Ok((near, far, accept, peer))));
            }
            state.dialing = waiting;
        }
        // Ends of connections that nobody takes are dropped here, where nothing is locked.
        for (reply, answer) in answers {
            match answer {
                Err(error) => drop(reply.send(Err(error))),
                Ok((near, far, accept, peer)) => {
                    if accept.try_send((Box::new(far), peer)).is_ok() {
                        drop(reply.send(Ok(Box::new(near))));
                    }
                }
            }
        }
        for waker in wakers {
            waker.wake();
        }
    }
}

impl Direction {
    /// Whether the other side hears now that this one is gone.
    fn advance(&mut self, now: Duration, wakers: &mut Vec<Waker>) -> bool {
        let mut has_news = false;
        while self.under_way.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, bytes)) = self.under_way.pop_front() else {
                break;
            };
            self.bytes_under_way -= bytes.len();
            self.arrived.extend(bytes);
            has_news = true;
        }
        let is_over = self.under_way.is_empty() && self.broken_at.is_some_and(|at| at <= now);
        let is_news = is_over && !self.is_broken;
        self.is_broken |= is_over;
        has_news |= is_over;
        has_news |= self.is_finished && self.under_way.is_empty();
        if has_news {
            wakers.extend(self.reader.take());
        }
        if self.bytes_under_way + self.arrived.len() < WINDOW_BYTES {
            wakers.extend(self.writer.take());
        }
        is_news
    }
}

impl Network for Net {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let address = address.parse::<SocketAddr>();
        let answer = address.ok().map(|to| {
            let mut state = self.0.lock();
            let from = sys::simulation::process().unwrap_or(u32::MAX);
            let (reply, answer) = oneshot::channel();
            let round_trip = state.delay() * 2;
            state.dialing.push(Dialing {
                due: machine::now() + round_trip,
                from,
                to,
                reply,
            });
            answer
        });
        Box::pin(async move {
            let answer = answer.ok_or(io::ErrorKind::InvalidInput)?;
            let gone = |_| io::Error::from(io::ErrorKind::ConnectionReset);
            answer.await.map_err(gone)?
        })
    }

    fn listen(&self, address: SocketAddr) -> io::Result<mpsc::Receiver<Arrived>> {
        let process = sys::simulation::process().unwrap_or(u32::MAX);
        let (accept, arrived) = mpsc::channel(BACKLOG);
        let mut state = self.0.lock();
        if state.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        state.listeners.insert(address, (process, accept));
        Ok(arrived)
    }
}

/// One end of a connection.
struct Stream {
    net: Net,
    reads: u64,
    writes: u64,
}

impl Stream {
    fn new(net: &Net, reads: u64, writes: u64) -> Self {
        Self {
            net: net.clone(),
            reads,
            writes,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.net.0.lock();
        let Some(direction) = state.directions.get_mut(&self.reads) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if !direction.arrived.is_empty() {
            let count = direction.arrived.len().min(buffer.remaining());
            let bytes: Vec<u8> = direction.arrived.drain(..count).collect();
            buffer.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        if direction.is_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if direction.is_finished && direction.under_way.is_empty() {
            return Poll::Ready(Ok(()));
        }
        direction.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.net.0.lock();
        let delay = state.delay();
        let Some(direction) = state.directions.get_mut(&self.writes) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if direction.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if direction.bytes_under_way + direction.arrived.len() >= WINDOW_BYTES {
            direction.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // Bytes of a connection stay in their order, whatever is lost on the way.
        let after = direction
            .under_way
            .back()
            .map_or(Duration::ZERO, |last| last.0);
        let due = (machine::now() + delay).max(after);
        direction.bytes_under_way += bytes.len();
        direction.under_way.push_back((due, bytes.to_vec()));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(direction) = self.net.0.lock().directions.get_mut(&self.writes) {
            direction.is_finished = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.net.0.lock();
        let now = machine::now();
        if let Some(direction) = state.directions.get_mut(&self.writes) {
            // The other side hears of it once what is under way is there.
            let last = direction
                .under_way
                .back()
                .map_or(now, |last| last.0.max(now));
            direction.broken_at = Some(last + Duration::from_millis(1));
            direction.writer = None;
            direction.has_writer = false;
        }
        if let Some(direction) = state.directions.get_mut(&self.reads) {
            direction.reader = None;
            direction.has_reader = false;
        }
        let is_held = |direction: &Direction| direction.has_reader || direction.has_writer;
        state.directions.retain(|_, direction| is_held(direction));
    }
}
