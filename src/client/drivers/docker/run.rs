//! A container that runs.

use super::{
    daemon::{Daemon, Failure},
    images::Used,
};
use crate::drivers::{End, Exit, Measured, Meter, Run};
use bollard::{
    models::{ContainerState, ContainerStatsResponse},
    query_parameters::{
        EventsOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
        StatsOptionsBuilder, WaitContainerOptionsBuilder,
    },
};
use futures_util::{StreamExt, future::BoxFuture};
use jobs::model::Timestamp;
use std::{collections::HashMap, io, sync::Arc, time::Duration};
use sys::{cgroups::WholeUsage, clock, processes::Ended};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// What the daemon is asked again after it went away: the first pause, and the longest.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How long the last output of a container that has ended is waited for.
const OUTPUT_WAIT: Duration = Duration::from_secs(5);
/// The exit code of a container that was killed.
const KILLED: i32 = 137;
/// How long the daemon may take to hear from the kernel why a container was killed.
const REASON_WAIT: Duration = Duration::from_secs(1);
/// Whatever is asked of the daemon for an API of ours is answered by then.
const MEASURE_TIMEOUT: Duration = Duration::from_secs(2);

/// A task in a container.
#[derive(Debug)]
pub(super) struct DockerRun {
    pub(super) daemon: Arc<Daemon>,
    pub(super) id: String,
    pub(super) run_id: String,
    /// The signal that the image is stopped by.
    pub(super) stop_signal: String,
    /// Remove it when it has ended.
    pub(super) removes: bool,
    /// Copies its output.
    pub(super) output: Option<JoinHandle<()>>,
    /// When to kill it.
    pub(super) kill_at: Option<Instant>,
    pub(super) exit: Option<Exit>,
    pub(super) image: Option<Used>,
}

/// How a container has ended, by its state.
pub(super) fn exit(run_id: &str, state: &ContainerState) -> Exit {
    let code = state.exit_code.unwrap_or(0);
    let code = i32::try_from(code).unwrap_or(i32::MAX);
    let finished = state.finished_at.as_deref().unwrap_or_default();
    let at = finished.parse::<jiff::Timestamp>().ok();
    let at = at.and_then(|at| i64::try_from(at.as_nanosecond()).ok());
    let exit = Exit {
        run_id: run_id.to_owned(),
        ended: Ended { code, signal: 0 },
        at: at
            .filter(|at| *at > 0)
            .map_or_else(clock::now, Timestamp::from_nanos),
        message: state.error.clone().unwrap_or_default(),
        is_out_of_memory: false,
    };
    match state.oom_killed {
        Some(true) => out_of_memory(exit),
        _ => exit,
    }
}

fn out_of_memory(exit: Exit) -> Exit {
    Exit {
        message: "OOM Killed".into(),
        is_out_of_memory: true,
        ..exit
    }
}

impl DockerRun {
    /// Waits until the container does not run any more, whatever becomes of the daemon meanwhile.
    async fn until_ended(&self) -> Exit {
        let mut pause = RETRY_PAUSES.0;
        loop {
            match self.wait_once().await {
                Ok(Some(exit)) => return exit,
                Ok(None) => pause = RETRY_PAUSES.0,
                Err(Failure::Missing(_)) => {
                    return Exit {
                        run_id: self.run_id.clone(),
                        ended: Ended {
                            code: KILLED,
                            signal: 9,
                        },
                        at: clock::now(),
                        message: "the task's container was removed".into(),
                        is_out_of_memory: false,
                    };
                }
                Err(failure) => {
                    tracing::debug!(container = self.id, %failure, "cannot wait for a container");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSES.1);
        }
    }

    /// One request; none when it ended without the container.
    async fn wait_once(&self) -> Result<Option<Exit>, Failure> {
        let api = self.daemon.following().await?;
        let options = WaitContainerOptionsBuilder::default()
            .condition("not-running")
            .build();
        // An exit code other than 0 is an error of the library.
        let answer = std::pin::pin!(api.wait_container(&self.id, Some(options)))
            .next()
            .await;
        if let Some(Err(error)) = answer
            && !matches!(
                error,
                bollard::errors::Error::DockerContainerWaitError { .. }
            )
        {
            return Err(self.daemon.failure(error));
        }
        let api = self.daemon.api().await?;
        let found = api.inspect_container(&self.id, None).await;
        let found = found.map_err(|error| self.daemon.failure(error))?;
        let state = found.state.unwrap_or_default();
        if state.running == Some(true) {
            return Ok(None);
        }
        let exit = exit(&self.run_id, &state);
        let was_killed = exit.ended.code == KILLED && self.kill_at.is_none();
        if was_killed && !exit.is_out_of_memory && self.ran_out_of_memory().await {
            return Ok(Some(out_of_memory(exit)));
        }
        Ok(Some(exit))
    }

    /// Whether the daemon hears that the container used too much memory. Two ways lead from the
    /// kernel to the daemon, and the news of the end may be faster than that of its reason.
    async fn ran_out_of_memory(&self) -> bool {
        let heard = async {
            let api = self.daemon.following().await.ok()?;
            let only = [("container", self.id.as_str()), ("event", "oom")];
            let only: HashMap<&str, Vec<&str>> = only.map(|(name, of)| (name, vec![of])).into();
            let options = EventsOptionsBuilder::default()
                .since("0")
                .filters(&only)
                .build();
            std::pin::pin!(api.events(Some(options))).next().await?.ok()
        };
        matches!(timeout(REASON_WAIT, heard).await, Ok(Some(_)))
    }

    async fn kill(&self, signal: &str) -> io::Result<()> {
        let api = self.daemon.api().await.map_err(io::Error::other)?;
        let options = KillContainerOptionsBuilder::default()
            .signal(signal)
            .build();
        match api.kill_container(&self.id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) => match self.daemon.failure(error) {
                // It has ended meanwhile.
                Failure::Conflict(_) | Failure::Missing(_) => Ok(()),
                failure => Err(io::Error::other(failure)),
            },
        }
    }
}

/// Removes a container, whatever state it is in.
pub(super) async fn remove(daemon: &Daemon, id: &str) -> Result<(), Failure> {
    let api = daemon.api().await?;
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    match api.remove_container(id, Some(options)).await {
        Ok(()) => Ok(()),
        Err(error) => match daemon.failure(error) {
            Failure::Missing(_) => Ok(()),
            // Somebody removes it already.
            Failure::Conflict(text) if text.contains("already in progress") => Ok(()),
            failure => Err(failure),
        },
    }
}

impl Run for DockerRun {
    fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The id of the container.
    fn handle(&self) -> String {
        self.id.clone()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(DockerMeter {
            daemon: Arc::clone(&self.daemon),
            id: self.id.clone(),
        })
    }

    fn signal(&mut self, number: i32) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move { self.kill(&number.to_string()).await })
    }

    fn stop(
        &mut self,
        number: Option<i32>,
        kill_timeout: Duration,
    ) -> BoxFuture<'_, io::Result<()>> {
        let at = Instant::now() + kill_timeout;
        self.kill_at = Some(self.kill_at.map_or(at, |sooner| sooner.min(at)));
        let signal = number.map_or_else(|| self.stop_signal.clone(), |number| number.to_string());
        Box::pin(async move { self.kill(&signal).await })
    }

    fn ended(&mut self) -> BoxFuture<'_, Exit> {
        Box::pin(async move {
            while self.exit.is_none() {
                let ended = tokio::select! {
                    exit = self.until_ended() => Some(exit),
                    () = clock::until(self.kill_at) => None,
                };
                if ended.is_none() {
                    // Again, should the daemon not have heard it.
                    self.kill_at = Some(Instant::now() + RETRY_PAUSES.1);
                    self.kill("SIGKILL").await.ok();
                }
                self.exit = ended;
            }
            if let Some(output) = &mut self.output {
                timeout(OUTPUT_WAIT, output).await.ok();
                self.output = None;
            }
            self.exit.clone().unwrap_or_default()
        })
    }

    fn noted(&mut self, end: End) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // One whose end could not be kept is found by the next agent.
            if self.removes && end == End::Kept {
                if let Err(failure) = remove(&self.daemon, &self.id).await {
                    tracing::warn!(container = self.id, %failure, "a container cannot be removed");
                }
                self.image = None;
            }
        })
    }
}

#[derive(Debug)]
struct DockerMeter {
    daemon: Arc<Daemon>,
    id: String,
}

impl Meter for DockerMeter {
    fn measure(&self) -> BoxFuture<'_, Option<Measured>> {
        Box::pin(async {
            let asked = async {
                let api = self.daemon.api().await.ok()?;
                let options = StatsOptionsBuilder::default()
                    .stream(false)
                    .one_shot(true)
                    .build();
                let stats = std::pin::pin!(api.stats(&self.id, Some(options)))
                    .next()
                    .await?;
                stats.ok()
            };
            let stats = timeout(MEASURE_TIMEOUT, asked).await.ok()??;
            Some(Measured {
                whole: Some(whole(&stats)),
                ..Measured::default()
            })
        })
    }
}

/// The counters of a container. Version 1 of control groups and version 2 name them differently.
fn whole(stats: &ContainerStatsResponse) -> WholeUsage {
    let memory = stats.memory_stats.clone().unwrap_or_default();
    let detail = memory.stats.unwrap_or_default();
    let either = |names: [&str; 3]| names.into_iter().find_map(|name| detail.get(name).copied());
    let cpu = stats.cpu_stats.clone().unwrap_or_default();
    let used = cpu.cpu_usage.unwrap_or_default();
    let throttled = cpu.throttling_data.unwrap_or_default();
    let ticks = |ns: Option<u64>| {
        let per_second = clock::ticks_per_second();
        ns.unwrap_or(0).saturating_mul(per_second / 10) / 100_000_000
    };
    WholeUsage {
        user_ticks: ticks(used.usage_in_usermode),
        system_ticks: ticks(used.usage_in_kernelmode),
        throttled_periods: throttled.throttled_periods.unwrap_or(0),
        throttled_ns: throttled.throttled_time.unwrap_or(0),
        resident_bytes: either(["total_rss", "rss", "anon"]),
        cache_bytes: either(["total_cache", "cache", "file"]),
        swap_bytes: either(["total_swap", "swap", "swap"]),
        used_bytes: memory.usage,
        used_bytes_max: memory.max_usage,
    }
}
