//! A simulated process: a runtime of its own, which is carried on for a moment at a time.

use std::{future::Future, time::Duration};
use sys::simulation;
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep_until},
};

use crate::machine;

/// A process that runs, until it is dropped: that kills it.
pub(crate) struct Process {
    /// Its number, which no other process ever has.
    pub(crate) id: u32,
    /// How far its wall clock goes wrong, milliseconds.
    pub(crate) skew_ms: i64,
    runtime: Option<Runtime>,
    started: Duration,
    began: Instant,
}

impl Process {
    pub(crate) fn start(id: u32, skew_ms: i64) -> Self {
        machine::set_skew(skew_ms);
        let started = machine::now();
        let (runtime, began) = simulation::turn(id, || {
            let runtime = Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .on_thread_unpark(follow_clock)
                .build()
                .expect("a runtime without threads");
            let began = runtime.block_on(async { Instant::now() });
            (runtime, began)
        });
        ORIGIN.set(None);
        Self {
            id,
            skew_ms,
            runtime: Some(runtime),
            started,
            began,
        }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime
            .as_ref()
            .expect("it is taken when the process ends")
    }

    /// Carries it on until the simulated time `until`.
    pub(crate) fn run(&self, until: Duration) {
        self.turn(async {
            sleep_until(self.began + (until - self.started)).await;
        });
    }

    fn turn<T>(&self, act: impl Future<Output = T>) -> T {
        let before = machine::now();
        machine::set_skew(self.skew_ms);
        ORIGIN.set(Some((self.began, self.started)));
        let result = simulation::turn(self.id, || self.runtime().block_on(act));
        ORIGIN.set(None);
        machine::set_now(before);
        result
    }

    /// Begins something in it.
    pub(crate) fn spawn(&self, act: impl Future<Output = ()> + Send + 'static) {
        machine::set_skew(self.skew_ms);
        simulation::turn(self.id, || {
            self.runtime().spawn(act);
        });
    }
}

thread_local! {
    /// An instant of the runtime that runs, and the simulated time of it.
    static ORIGIN: std::cell::Cell<Option<(Instant, Duration)>> = const { std::cell::Cell::new(None) };
}

/// The runtime moves its clock while its thread is parked: the machine's clock follows.
fn follow_clock() {
    if let Some((began, started)) = ORIGIN.get() {
        machine::set_now(started + (Instant::now() - began));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        machine::set_skew(self.skew_ms);
        let runtime = self.runtime.take();
        simulation::turn(self.id, || drop(runtime));
    }
}
