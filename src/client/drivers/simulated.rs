//! A driver without processes, for tests of those who use drivers.

use super::{
    Driver, End, Exit, Found, Isolation, LogFiles, Measured, Meter, Owner, Run, Start, StartError,
};
use futures_util::future::{BoxFuture, pending, ready};
use jobs::model::{DriverInfo, TaskConfig, Timestamp};
use parking_lot::Mutex;
use std::{collections::VecDeque, io, sync::Arc, time::Duration};
use sys::processes::Ended;

/// What comes of a start, or what is found of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs and ends by itself with this code.
    Exits(i32),
    /// It runs until it is stopped.
    RunsOn,
    /// Nothing starts, and trying again gives the same.
    Impossible,
    /// Nothing starts this time.
    Absent,
    /// Whether it started is not known; looking for it fails, too, the next time.
    Unknown,
}

/// A driver whose starts have the fates that it was given, in turn, and which writes down what is
/// asked of it.
#[derive(Debug, Default)]
pub(crate) struct Simulated {
    fates: Mutex<VecDeque<Fate>>,
    /// What is left of an earlier agent's run.
    found: Mutex<VecDeque<Fate>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Simulated {
    /// The name in job files.
    pub(crate) const NAME: &str = "simulated";

    pub(crate) fn new(found: &[Fate], fates: &[Fate]) -> Self {
        Self {
            fates: Mutex::new(fates.iter().copied().collect()),
            found: Mutex::new(found.iter().copied().collect()),
            asked: Arc::default(),
        }
    }

    /// What was asked of the driver and of its runs so far, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    fn run(&self, run_id: &str, fate: Fate) -> Box<dyn Run> {
        let code = match fate {
            Fate::Exits(code) => Some(code),
            _ => None,
        };
        Box::new(SimulatedRun {
            run_id: run_id.to_owned(),
            code,
            asked: Arc::clone(&self.asked),
        })
    }
}

impl Driver for Simulated {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fingerprint(&self) -> BoxFuture<'_, DriverInfo> {
        Box::pin(ready(DriverInfo::default()))
    }

    fn problems(&self, config: &TaskConfig) -> Vec<String> {
        let problem = config
            .get("problem")
            .map(|problem| format!("config has {problem}"));
        problem.into_iter().collect()
    }

    fn takes_signals(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, start: &'a Start) -> BoxFuture<'a, Result<Box<dyn Run>, StartError>> {
        self.asked.lock().push("start".into());
        let reason = "simulated".to_owned();
        let fate = self.fates.lock().pop_front().unwrap_or(Fate::RunsOn);
        Box::pin(ready(match fate {
            Fate::Exits(_) | Fate::RunsOn => Ok(self.run(&start.run_id, fate)),
            Fate::Impossible => Err(StartError::Program { reason }),
            Fate::Absent => Err(StartError::Absent { reason }),
            Fate::Unknown => {
                self.found.lock().push_front(Fate::Unknown);
                Err(StartError::Unknown { reason })
            }
        }))
    }

    fn isolation(&self) -> Isolation {
        Isolation::None
    }

    fn find<'a>(
        &'a self,
        _: &'a Owner,
        handle: Option<&'a str>,
        _: Option<&'a LogFiles>,
    ) -> BoxFuture<'a, io::Result<Found>> {
        let found = self.found.lock().pop_front();
        let run_id = handle.unwrap_or_default();
        Box::pin(ready(match found {
            None => Ok(Found::Gone),
            Some(Fate::Unknown | Fate::Impossible | Fate::Absent) => {
                Err(io::Error::other("simulated"))
            }
            Some(Fate::Exits(code)) => Ok(Found::Ended(exit(run_id, code))),
            Some(Fate::RunsOn) => Ok(Found::Running(self.run(run_id, Fate::RunsOn))),
        }))
    }

    fn forget(&self, _: &Owner) {
        self.asked.lock().push("forget".into());
    }
}

#[derive(Debug)]
struct SimulatedRun {
    run_id: String,
    /// The exit code, once it is to end.
    code: Option<i32>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Run for SimulatedRun {
    fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The id of the run.
    fn handle(&self) -> String {
        self.run_id.clone()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(Nothing)
    }

    fn signal(&mut self, number: i32) -> BoxFuture<'_, io::Result<()>> {
        self.asked.lock().push(format!("signal {number}"));
        Box::pin(ready(Ok(())))
    }

    fn stop(
        &mut self,
        number: Option<i32>,
        kill_timeout: Duration,
    ) -> BoxFuture<'_, io::Result<()>> {
        let number = number.unwrap_or(2);
        let text = format!("stop {number} within {kill_timeout:?}");
        self.asked.lock().push(text);
        self.code = Some(128 + number);
        Box::pin(ready(Ok(())))
    }

    fn ended(&mut self) -> BoxFuture<'_, Exit> {
        match self.code {
            Some(code) => Box::pin(ready(exit(&self.run_id, code))),
            None => Box::pin(pending()),
        }
    }

    fn noted(&mut self, _end: End) -> BoxFuture<'_, ()> {
        self.asked.lock().push("noted".into());
        Box::pin(ready(()))
    }
}

#[derive(Debug)]
struct Nothing;

impl Meter for Nothing {
    fn measure(&self) -> BoxFuture<'_, Option<Measured>> {
        Box::pin(ready(None))
    }
}

fn exit(run_id: &str, code: i32) -> Exit {
    let signal = (code - 128).max(0);
    Exit {
        run_id: run_id.to_owned(),
        ended: Ended { code, signal },
        at: Timestamp::from_nanos(1),
        ..Exit::default()
    }
}
