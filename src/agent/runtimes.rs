//! The threads of an agent, kept apart by what must not wait for what.
//!
//! | runtime | what runs there | what it must not feel |
//! |---|---|---|
//! | data plane | DNS, the agent's stream and what is made of it | anything below |
//! | control | the HTTP APIs, the server's loops and the streams it serves | files of tasks |
//! | client | allocations, tasks, checks, artifacts, reading of logs | |
//!
//! Requests are carried by threads that the proxy makes, one for each core.
//!
//! Threads of the ingress and of the data plane ask the system to run soon after they wake, also
//! while tasks keep all processors busy. The log has threads of its own inside the server. The
//! thread that called [`run`] starts and stops the parts and does nothing else, so that a stop is
//! bounded even when every other thread hangs.

use std::{future::Future, io, num::NonZero, thread::available_parallelism, time::Duration};
use sys::priority;
use tokio::{
    runtime::{Builder, Handle},
    task::JoinHandle,
};

/// Threads of the control and of the client runtime; more would only add switches.
const SIDE_THREADS_MAX: usize = 4;
/// How long the threads of a runtime may take to end. What still blocks one then ends with the
/// process.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the parts of an agent run; cheap to clone.
#[derive(Clone, Debug)]
pub struct Planes {
    control: Handle,
    data: Handle,
    client: Handle,
}

impl Planes {
    /// Runs server, APIs and their loops.
    pub(super) fn control(&self) -> &Handle {
        &self.control
    }

    /// Runs what carries traffic.
    pub(super) fn data(&self) -> &Handle {
        &self.data
    }

    /// Runs what tasks need.
    pub(super) fn client(&self) -> &Handle {
        &self.client
    }
}

/// Waits for work on another runtime; a panic there goes on here.
pub(super) async fn join<T>(work: JoinHandle<T>) -> T {
    match work.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only the end of the runtime cancels it, and nobody waits any more then.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Carries out `work` on the calling thread, with the runtimes of an agent beside it. Returns when
/// the work is done, and at most a few seconds later: whatever hangs then does not keep the
/// process.
///
/// # Errors
/// When the system has no room for the threads.
pub fn run<T, W: Future<Output = T>>(work: impl FnOnce(Planes) -> W) -> io::Result<T> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let data = multi_thread("data-plane", cores)
        .on_thread_start(priority::prefer_this_thread)
        .build()?;
    let control = multi_thread("control", cores.min(SIDE_THREADS_MAX)).build()?;
    let client = multi_thread("client", cores.min(SIDE_THREADS_MAX)).build()?;
    let planes = Planes {
        control: control.handle().clone(),
        data: data.handle().clone(),
        client: client.handle().clone(),
    };
    let main = Builder::new_current_thread().enable_all().build()?;
    let done = main.block_on(work(planes));
    for runtime in [client, control, data, main] {
        runtime.shutdown_timeout(STOP_TIMEOUT);
    }
    Ok(done)
}

fn multi_thread(name: &'static str, threads: usize) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(threads)
        .thread_name(name)
        .enable_all();
    builder
}
