//! Drivers whose tasks are programs of this machine. They differ in the command line; what runs it is the same
//! [`supervisor`] for all.

pub(super) mod java;
mod lookup;
pub(super) mod raw_exec;
pub mod supervisor;

use super::{Exit, Found, Meter, Owner, Run, Start, StartError};
use crate::sys::{
    descriptors,
    processes::{Identity, TaskProcess, Tree, Usage},
};
use futures_util::future::BoxFuture;
use lookup::Lookup;
use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};
use supervisor::{
    Launch,
    remote::{self, Connection, LaunchError, Supervisors},
};

/// What every such driver uses.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    lookup: Arc<Lookup>,
    supervisors: Arc<Supervisors>,
}

impl Programs {
    /// Programs beside `executable` come before those of `PATH`.
    pub(super) fn new(executable: &Path, supervisors: Arc<Supervisors>) -> Self {
        Self {
            lookup: Arc::new(Lookup::new(executable)),
            supervisors,
        }
    }

    async fn start(&self, task: &Start, process: TaskProcess) -> Result<Box<dyn Run>, StartError> {
        let launch = Launch {
            run_id: task.run_id.clone(),
            owner: task.owner.clone(),
            process,
            logs: task.logs.clone(),
            descriptors_max: descriptors::original(),
            ..Launch::default()
        };
        let error = match self.supervisors.start(launch).await {
            Ok(connection) => return Ok(Box::new(connection)),
            Err(LaunchError::Program { reason }) => return Err(StartError::Program { reason }),
            Err(error @ (LaunchError::Taken | LaunchError::Supervisor(_))) => error,
        };
        // It may have come into being without a word, or there was one already.
        match self.supervisors.find(&task.owner, None).await {
            Ok(remote::Found::Running(connection)) => Ok(connection),
            Ok(remote::Found::Gone) => Err(StartError::Absent {
                reason: error.to_string(),
            }),
            Ok(remote::Found::Ended(_)) => Err(StartError::Unknown {
                reason: error.to_string(),
            }),
            Err(also) => Err(StartError::Unknown {
                reason: format!("{error}; {also}"),
            }),
        }
    }

    async fn find(&self, owner: &Owner, handle: &str) -> io::Result<Found> {
        // A handle of another version of the program leaves the task's control group to look at.
        let last: Option<Tree> = serde_json::from_str(handle).ok();
        let found = self.supervisors.find(owner, last.as_ref()).await?;
        Ok(match found {
            remote::Found::Running(connection) => Found::Running(connection),
            remote::Found::Ended(exit) => Found::Ended(exit),
            remote::Found::Gone => Found::Gone,
        })
    }
}

impl Run for Connection {
    fn run_id(&self) -> &str {
        Self::run_id(self)
    }

    fn handle(&self) -> String {
        // Numbers and a path: that always has a JSON form.
        serde_json::to_string(self.tree()).unwrap_or_default()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(self.tree().clone())
    }

    fn signal(&mut self, number: i32) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(Self::signal(self, number))
    }

    fn stop(&mut self, number: i32, kill_timeout: Duration) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(Self::stop(self, number, kill_timeout))
    }

    fn ended(&mut self) -> BoxFuture<'_, Exit> {
        Box::pin(Self::ended(self))
    }

    fn noted(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(Self::noted(self))
    }
}

impl Meter for Tree {
    fn usage(&self) -> BTreeMap<i32, Usage> {
        let found = self.processes().into_iter();
        found
            .filter_map(|pid| Some((pid, Identity::of(pid)?.usage()?)))
            .collect()
    }
}
