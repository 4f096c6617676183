use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};
use sys::simulation;
use tokio::sync::{mpsc, oneshot};

/// Decisions that may wait for the thread; further callers wait for room.
const WAITING_MAX: usize = 16;

type Decision = Box<dyn FnOnce() + Send>;

/// A thread of its own for decisions: they hold up no worker of a runtime, and no file that hangs
/// in the pool of blocking work holds them up.
///
/// It ends when the last handle is gone.
#[derive(Debug)]
pub(crate) struct DecisionThread(
    /// None in a simulated process, which takes its decisions at once.
    Option<mpsc::Sender<Decision>>,
);

impl DecisionThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the machine gives no thread.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        if simulation::is_on() {
            return Ok(Self(None));
        }
        let (sender, mut decisions) = mpsc::channel::<Decision>(WAITING_MAX);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(decision) = decisions.blocking_recv() {
                    decision();
                }
            })?;
        Ok(Self(Some(sender)))
    }

    /// Takes a decision on the thread, after those that wait already; none when it panicked, which
    /// ends this decision only.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        decide: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let decision = move || {
            if let Ok(decided) = catch_unwind(AssertUnwindSafe(decide)) {
                // A caller that gave up is not told.
                drop(reply.send(decided));
            }
        };
        match &self.0 {
            Some(thread) => thread.send(Box::new(decision)).await.ok()?,
            None => decision(),
        }
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::DecisionThread;
    use std::sync::mpsc;

    #[test]
    fn decisions_go_on_after_a_panic_and_while_the_blocking_pool_hangs() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (release, hanging) = mpsc::channel::<()>();
        runtime.block_on(async {
            let hangs = tokio::task::spawn_blocking(move || hanging.recv());
            let thread = DecisionThread::start("decisions").unwrap();
            assert_eq!(thread.run(|| 1).await, Some(1));
            let broken: Option<u8> = thread.run(|| panic!("a broken decision")).await;
            assert_eq!(broken, None);
            assert_eq!(thread.run(|| 2).await, Some(2));
            drop(release);
            assert!(hangs.await.unwrap().is_err());
        });
    }
}
