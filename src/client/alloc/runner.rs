use super::{
    addressed::addressed,
    checked::Checked,
    data_planes,
    health::{Facts, Health, Rules, Verdict},
    hooks,
    lifecycle::{Because, Group, Role, Step, definitions},
    message::{Message, Tasks},
    status::{self, client_status},
    stop_order::{self, Stop},
};
use crate::{
    Error,
    claims::{self, Claim},
    own_network,
    reports::Urgency,
    shared::Shared,
    store::AllocRecord,
    task::{
        events,
        runner::{COMMANDS_MAX, TaskCommand, TaskRunner, Then},
    },
};
use futures_util::FutureExt;
use jobs::{
    model::{
        Allocation, ClientStatus, JobType, Span, Task, TaskEvent, TaskName, TaskPhase, Timestamp,
    },
    state::AllocUpdate,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};
use sys::{clock, processes};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep},
};

/// What tasks are told that was not brought from elsewhere, or why nothing can be set up.
type Fetched = Result<Option<String>, String>;

/// Carries one allocation from its setup to its end.
pub(crate) struct AllocRunner {
    shared: Arc<Shared>,
    messages: mpsc::Receiver<Message>,
    /// What it holds already, when an earlier agent had set it up.
    held: Option<Claim>,
    running: BTreeMap<TaskName, mpsc::Sender<TaskCommand>>,
    /// Tasks that were sent a kill because of another one.
    kill_sent: BTreeSet<String>,
    tasks: JoinSet<()>,
    health: Option<Health>,
    reported: AllocUpdate,
    last_report: u64,
    checked: Checked,
    stops: bool,
    /// It stops at once and waits for nothing but the end of its tasks.
    force_stop: bool,
}

impl AllocRunner {
    /// For an allocation that an earlier agent had set up, this takes what it holds at once: call
    /// it for those before all others.
    pub(crate) fn new(
        shared: Arc<Shared>,
        sender: mpsc::Sender<Message>,
        messages: mpsc::Receiver<Message>,
    ) -> Self {
        let held = if shared.is_live() {
            let alloc = shared.alloc();
            shared.cx.cores.hold(alloc.id, &shared.record().cores);
            shared.cx.claims.hold(alloc.id, &claims::wanted(&alloc))
        } else {
            None
        };
        Self {
            checked: Checked::new(Arc::clone(&shared), sender),
            shared,
            messages,
            held,
            running: BTreeMap::new(),
            kill_sent: BTreeSet::new(),
            tasks: JoinSet::new(),
            health: None,
            reported: AllocUpdate::default(),
            last_report: 0,
            stops: false,
            force_stop: false,
        }
    }

    /// Runs it until every task is over and the servers know it.
    pub(crate) async fn run(mut self) {
        if self.shared.record().is_built && self.all_dead() {
            own_network::remove(&self.shared).await;
            self.report();
        } else if let Some((claim, fetched)) = self.prepared().await {
            self.live(fetched).await;
            let mut tasks = std::mem::take(&mut self.tasks);
            self.unless_forced(async move { while tasks.join_next().await.is_some() {} })
                .await;
            own_network::remove(&self.shared).await;
            self.shared.cx.cores.release(self.shared.alloc().id);
            drop(claim);
        } else {
            self.mark_all_dead();
            self.report();
        }
        self.settle().await;
    }

    /// Waits until it may be set up, and for what has to be there before. None when it is not
    /// wanted any more.
    async fn prepared(&mut self) -> Option<(Claim, Fetched)> {
        let claim = self.claim().await?;
        if self.shared.record().is_built {
            return Some((claim, Ok(None)));
        }
        let shared = Arc::clone(&self.shared);
        let fetched = hooks::fetched(&shared);
        let fetched = self.while_wanted(fetched).await?;
        Some((claim, fetched))
    }

    /// From its setup to the end of its last task.
    async fn live(&mut self, fetched: Fetched) {
        if !self.set_up(fetched).await {
            self.report();
            return;
        }
        let mut rules = self.shared.cx.session.rules();
        loop {
            self.follow_deployment();
            if self.shared.alloc().server_terminal() && !self.stops {
                self.stop().await;
            }
            let left = self.time_left();
            if left.is_some_and(|left| left.is_zero()) && !self.stops {
                self.time_out().await;
            }
            self.advance();
            let out_of_time = left
                .filter(|_| !self.stops)
                .map(|left| Instant::now() + left);
            let wake = [self.judge(), out_of_time].into_iter().flatten().min();
            // Looked at before the report: an end that comes between the two is told in the next
            // round.
            let is_terminal = self.all_dead();
            self.report();
            if !self.stops {
                self.checked.follow(self.last_report);
            }
            if is_terminal {
                return;
            }
            tokio::select! {
                () = self.shared.changed.notified() => {}
                // Its instances may be others now. Without a session nothing changes them.
                Ok(()) = rules.changed() => {}
                message = self.messages.recv() => match message {
                    Some(message) => self.on_message(message).await,
                    None => return,
                },
                () = clock::until(wake) => {}
            }
        }
    }

    /// Waits until no other allocation of this machine holds a port of this one, and the one that
    /// it replaces is over. None when it is not wanted any more.
    async fn claim(&mut self) -> Option<Claim> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let alloc = self.shared.alloc();
        let wanted = claims::wanted(&alloc);
        let claims = Arc::clone(&self.shared.cx.claims);
        self.while_wanted(claims.claim(alloc.id, &wanted)).await
    }

    /// Waits as long as the allocation is wanted; none when it is not any more.
    async fn while_wanted<T>(&mut self, waiting: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(waiting);
        while !self.shared.alloc().server_terminal() && !self.force_stop {
            tokio::select! {
                done = &mut waiting => return Some(done),
                message = self.messages.recv() => self.defer(message?),
            }
        }
        None
    }

    /// Waits until the servers know its end: until then it must not be forgotten here, or a new
    /// stream would bring it back to life.
    async fn settle(&mut self) {
        let shared = Arc::clone(&self.shared);
        let settled = shared.cx.reports.settled(self.last_report);
        self.unless_forced(settled).await;
    }

    /// Waits, but not when it is forced to stop.
    async fn unless_forced(&mut self, waiting: impl Future<Output = ()>) {
        tokio::pin!(waiting);
        while !self.force_stop {
            tokio::select! {
                () = &mut waiting => return,
                message = self.messages.recv() => match message {
                    Some(message) => self.defer(message),
                    None => return,
                },
            }
        }
    }

    /// Takes a message while no task runs or all of them end: only a forced stop matters.
    fn defer(&mut self, message: Message) {
        match message {
            // Whoever waits looks at the newest version.
            Message::Changed | Message::Restart { reply: None, .. } => {}
            Message::Stop => self.force_stop = true,
            Message::Restart {
                reply: Some(reply), ..
            }
            | Message::Signal { reply, .. } => {
                reply.send(Err(Error::NotRunning)).ok();
            }
        }
    }

    /// Makes the directory and the first record of each task; false when that failed.
    async fn set_up(&self, fetched: Fetched) -> bool {
        if self.shared.record().is_built {
            // Each start tries again; tasks that run have what they had.
            if let Err(error) = own_network::ensure(&self.shared).await {
                tracing::warn!(alloc = %self.shared.alloc().id, %error, "the network of an allocation is not there");
            }
            return true;
        }
        let (built, missing) = match fetched {
            Ok(missing) => (hooks::prerun(&self.shared).await, missing),
            Err(error) => (Err(error), None),
        };
        let alloc = self.shared.alloc();
        let names: Vec<TaskName> = definitions(&alloc).map(|task| task.name.clone()).collect();
        let change = |record: &mut AllocRecord| {
            record.is_built = built.is_ok();
            for name in &names {
                let task = record.tasks.entry(name.clone()).or_default();
                task.state
                    .push_event(events::event("Received", "Task received by client"));
                if let Some(missing) = &missing {
                    let event = events::event("Task hook message", missing.clone());
                    task.state.push_event(event);
                }
                if let Err(error) = &built {
                    let text = format!("failed to setup alloc: {error}");
                    task.state
                        .push_event(events::failure("Setup Failure", text, "setup_error"));
                    task.state.state = TaskPhase::Dead;
                    task.state.failed = true;
                }
            }
        };
        if built.is_ok() {
            // Kept with the first start: an agent that dies before sets it up again.
            self.shared.note(change);
        } else {
            self.shared.update(change);
        }
        built.is_ok()
    }

    async fn on_message(&mut self, message: Message) {
        match message {
            // The loop looks at the newest version in every turn.
            Message::Changed => {}
            Message::Stop => {
                self.force_stop = true;
                self.stop().await;
            }
            Message::Restart {
                tasks: Tasks::All,
                reason,
                reply,
                ..
            } => {
                let done = self.end_for_restart(&reason).await;
                let is_asked = done.is_ok();
                if let Some(reply) = reply {
                    reply.send(done).ok();
                }
                if is_asked {
                    self.begin_anew(&reason).await;
                }
            }
            Message::Restart {
                tasks,
                reason,
                unhealthy,
                reply,
            } => {
                let task = match &tasks {
                    Tasks::Named(task) => Some(task.as_str()),
                    Tasks::Running | Tasks::All => None,
                };
                let done = self.restart(task, &reason, unhealthy).await;
                if let Some(reply) = reply {
                    reply.send(done).ok();
                }
            }
            Message::Signal {
                task,
                signal,
                reply,
            } => {
                reply.send(self.signal(task.as_deref(), &signal).await).ok();
            }
        }
    }

    /// Starts the tasks whose turn it is, and ends those whose time is over.
    fn advance(&mut self) {
        let alloc = self.shared.alloc();
        let states = self.shared.states();
        for step in Group::new(definitions(&alloc), &states).steps(self.stops) {
            match step {
                Step::Start(name) => {
                    if let Some(task) = alloc.group().and_then(|group| group.task(&name)) {
                        self.start(task);
                    }
                }
                Step::End(task, because) => self.end(&task, &because),
            }
        }
    }

    fn start(&mut self, task: &Task) {
        if self.running.contains_key(&task.name) {
            return;
        }
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let runner = TaskRunner::new(Arc::clone(&self.shared), task, commands);
        self.running.insert(task.name.clone(), sender);
        let shared = Arc::clone(&self.shared);
        let name = task.name.clone();
        self.tasks.spawn(async move {
            // A bug in the runner of one task must not leave its allocation waiting for ever.
            if AssertUnwindSafe(runner.run()).catch_unwind().await.is_err() {
                shared.update_task(&name, |record| {
                    let text = "the runner of the task broke";
                    record.state.push_event(events::failure(
                        "Driver Failure",
                        text,
                        "driver_error",
                    ));
                    record.state.state = TaskPhase::Dead;
                    record.state.failed = true;
                });
            }
            shared.changed.notify_one();
        });
    }

    /// Kills a running task; one that never started is dead at once.
    fn end(&mut self, task: &str, because: &Because) {
        match self.running.get(task) {
            Some(commands) if !self.kill_sent.contains(task) => {
                let kill = TaskCommand::Kill {
                    because: Some(because.event()),
                    delays: true,
                };
                if commands.try_send(kill).is_ok() {
                    self.kill_sent.insert(task.to_owned());
                }
            }
            Some(_) => {}
            None => self.mark_dead(task, Some(because.event())),
        }
    }

    /// A task that will never start is dead.
    fn mark_dead(&self, task: &str, because: Option<TaskEvent>) {
        self.shared.update_task(task, |record| {
            record.state.state = TaskPhase::Dead;
            record.state.finished_at = clock::now();
            if let Some(event) = because {
                record.state.push_event(event);
            }
        });
    }

    /// It never started, and never will.
    fn mark_all_dead(&self) {
        for task in definitions(&self.shared.alloc()) {
            self.mark_dead(&task.name, None);
        }
    }

    /// How long it may run still; none when there is no limit.
    fn time_left(&self) -> Option<Duration> {
        let alloc = self.shared.alloc();
        let limit = alloc.group()?.max_run_duration?;
        Some((alloc.create_time + limit).since(clock::now()))
    }

    /// Stops everything because it ran as long as it may. Poststop tasks do not start any more.
    async fn time_out(&mut self) {
        if !self.all_dead() {
            self.shared.update(|record| record.is_timed_out = true);
        }
        let alloc = self.shared.alloc();
        for task in definitions(&alloc).filter(|task| Role::of(task) == Role::Poststop) {
            if !self.running.contains_key(&task.name) {
                self.mark_dead(&task.name, None);
            }
        }
        self.stop().await;
    }

    /// Stops everything: instances first, then the leader, the other tasks, the sidecars; then the
    /// poststop tasks have their turn. When forced, everything at once.
    async fn stop(&mut self) {
        self.stops = true;
        self.checked.clear();
        let alloc = self.shared.alloc();
        let no_delay = alloc.desired_transition.no_shutdown_delay == Some(true);
        let drained = data_planes::wait(Arc::clone(&self.shared));
        self.unless_forced(drained).await;
        let delay = alloc.group().and_then(|group| group.shutdown_delay);
        if let Some(delay) = delay.filter(|delay| *delay > Span::ZERO && !no_delay) {
            self.unless_forced(sleep(delay.to_std())).await;
        }
        for stage in stop_order::stages(definitions(&alloc)) {
            if !self.force_stop {
                self.stop_tasks(&alloc, &stage, !no_delay).await;
            }
        }
        if self.force_stop {
            let all: Vec<&str> = definitions(&alloc).map(|task| task.name.as_str()).collect();
            self.stop_tasks(&alloc, &all, false).await;
        }
    }

    /// Kills some tasks and waits for their end, reporting what happens meanwhile. Returns early
    /// when it is forced to stop meanwhile.
    async fn stop_tasks(&mut self, alloc: &Allocation, chosen: &[&str], delays: bool) {
        let forced = self.force_stop;
        for name in chosen {
            let stop = stop_order::stop(&self.shared.task(name), self.running.contains_key(*name));
            match stop {
                Stop::Nothing => continue,
                Stop::MarkDead => {
                    self.mark_dead(name, None);
                    continue;
                }
                Stop::Kill => {}
                Stop::AttachAndKill => {
                    if let Some(task) = alloc.group().and_then(|group| group.task(name)) {
                        self.start(task);
                    }
                }
            }
            if let Some(commands) = self.running.get(*name) {
                let timed_out = self.shared.record().is_timed_out;
                let kill = TaskCommand::Kill {
                    because: timed_out.then(|| events::event("Killing", status::TIMED_OUT)),
                    delays,
                };
                commands.send(kill).await.ok();
            }
        }
        while self.force_stop == forced
            && chosen
                .iter()
                .any(|task| self.phase(task) != TaskPhase::Dead)
        {
            self.report();
            tokio::select! {
                () = self.shared.changed.notified() => {}
                Some(message) = self.messages.recv() => self.defer(message),
            }
        }
    }

    fn phase(&self, task: &str) -> TaskPhase {
        self.shared.task(task).state.state
    }

    async fn restart(
        &self,
        task: Option<&str>,
        reason: &str,
        unhealthy: bool,
    ) -> Result<(), Error> {
        let names = match addressed(&self.shared.states(), task) {
            // A task that waits for its next start is restarted as it is.
            Err(Error::NotRunning) if task.is_none() => Vec::new(),
            names => names?,
        };
        for name in names {
            if let Some(commands) = self.running.get(&name) {
                let restart = TaskCommand::Restart {
                    reason: reason.to_owned(),
                    then: Then::Starts { unhealthy },
                };
                commands
                    .send(restart)
                    .await
                    .map_err(|_| Error::NotRunning)?;
            }
        }
        Ok(())
    }

    /// Ends all tasks that run, so that all can begin anew.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when the allocation is on its way to its end.
    async fn end_for_restart(&self, reason: &str) -> Result<(), Error> {
        let alloc = self.shared.alloc();
        let states = self.shared.states();
        let steps = Group::new(definitions(&alloc), &states).steps(self.stops);
        let ends = steps.iter().any(|step| matches!(step, Step::End(..)));
        if self.stops || alloc.server_terminal() || ends || self.all_dead() {
            return Err(Error::NotRunning);
        }
        for commands in self.running.values() {
            let restart = TaskCommand::Restart {
                reason: reason.to_owned(),
                then: Then::Ends,
            };
            // A task that is over takes no command: it begins anew without one.
            commands.send(restart).await.ok();
        }
        Ok(())
    }

    /// Waits until nothing runs, and lets all tasks start in their turn.
    async fn begin_anew(&mut self, reason: &str) {
        while !self.force_stop && !self.running.values().all(mpsc::Sender::is_closed) {
            self.report();
            tokio::select! {
                () = self.shared.changed.notified() => {}
                Some(message) = self.messages.recv() => self.defer(message),
            }
        }
        if self.force_stop {
            return self.stop().await;
        }
        self.running.clear();
        self.kill_sent.clear();
        while self.tasks.try_join_next().is_some() {}
        let alloc = self.shared.alloc();
        for task in definitions(&alloc).filter(|task| Role::of(task) != Role::Poststop) {
            self.shared.update_task(&task.name, |record| {
                if record.state.state == TaskPhase::Dead {
                    let event = events::with_detail("Restart Signaled", reason, "restart_reason");
                    record.state.push_event(event);
                    record.state.restarts += 1;
                    record.state.last_restart = clock::now();
                }
                record.state.state = TaskPhase::Pending;
                record.state.failed = false;
                // Main tasks wait for those before them as long as they have not started.
                record.state.started_at = Timestamp::default();
                record.state.finished_at = Timestamp::default();
            });
        }
    }

    async fn signal(&self, task: Option<&str>, signal: &str) -> Result<(), Error> {
        let name = if signal.is_empty() { "SIGKILL" } else { signal };
        let number = processes::signal_number(name).ok_or_else(|| Error::UnknownSignal {
            name: name.to_owned(),
        })?;
        let alloc = self.shared.alloc();
        for task in addressed(&self.shared.states(), task)? {
            let driver = definitions(&alloc)
                .find(|known| known.name == task)
                .and_then(|task| self.shared.cx.drivers.get(task.driver.as_str()));
            if let Some(driver) = driver
                && !driver.takes_signals()
            {
                return Err(Error::NoSignals {
                    driver: driver.name().to_owned(),
                });
            }
            let Some(commands) = self.running.get(&task) else {
                return Err(Error::NotRunning);
            };
            let (reply, done) = oneshot::channel();
            let signal = TaskCommand::Signal {
                number,
                name: name.into(),
                reply,
            };
            commands.send(signal).await.map_err(|_| Error::NotRunning)?;
            done.await.map_err(|_| Error::NotRunning)??;
        }
        Ok(())
    }

    fn all_dead(&self) -> bool {
        status::all_dead(&self.shared.states())
    }

    /// Begins to judge its health when a deployment or a drain asks for it.
    fn follow_deployment(&mut self) {
        let alloc = self.shared.alloc();
        let record = self.shared.record();
        if record.deployment_id != alloc.deployment_id {
            let id = alloc.deployment_id;
            self.shared.update(|record| {
                record.deployment_id = id;
                record.health = None;
            });
            self.health = None;
        } else if record.health.is_some() || self.health.is_some() {
            return;
        }
        if alloc.healthy().is_some() {
            return;
        }
        let rules = alloc.group().and_then(|group| {
            if alloc.deployment_id.is_some() {
                group.update.as_ref().map(Rules::from)
            } else {
                // Drains wait for the health of services that no deployment asks about.
                let moves = alloc.job.job_type == JobType::Service;
                group.migrate.as_ref().filter(|_| moves).map(Rules::from)
            }
        });
        self.health = rules.and_then(|rules| Health::new(&rules, clock::monotonic()));
    }

    /// Judges the health; says when to look again.
    fn judge(&mut self) -> Option<Instant> {
        let mut health = self.health.take()?;
        let alloc = self.shared.alloc();
        let states = self.shared.states();
        let now = clock::monotonic();
        let instances = self.shared.instances();
        let facts = Facts::new(
            definitions(&alloc),
            &states,
            &instances,
            &self.shared.checks.lock(),
        );
        let (is_healthy, reason) = match health.judge(now, &facts) {
            Verdict::Wait { until } => {
                self.health = Some(health);
                return Some(Instant::now() + (until - now));
            }
            Verdict::Healthy => (true, None),
            Verdict::Unhealthy { reason } => (false, Some(reason)),
        };
        let names: Vec<TaskName> = states.keys().cloned().collect();
        self.shared.update(|record| {
            record.health = Some((is_healthy, clock::now()));
            for name in names {
                if let (Some(reason), Some(task)) = (&reason, record.tasks.get_mut(&name)) {
                    task.state
                        .push_event(events::event("Alloc Unhealthy", reason.clone()));
                }
            }
        });
        None
    }

    /// Tells the servers what changed.
    fn report(&mut self) {
        let alloc = self.shared.alloc();
        let record = self.shared.record();
        let states = self.shared.states();
        let (client_status, description) = client_status(&states, record.is_timed_out);
        let update = AllocUpdate {
            alloc_id: alloc.id,
            client_status,
            client_description: description.into(),
            task_states: states,
            health: record.health,
            network_status: self.shared.network_status().map(Box::new),
        };
        if update != self.reported {
            let urgency = urgency(&alloc, self.reported.client_status, client_status);
            self.reported = update.clone();
            self.last_report = self.shared.cx.reports.alloc(update, urgency);
        }
    }
}

/// What is over in a moment is told with its end, unless somebody looks for its instances.
fn urgency(alloc: &Allocation, before: ClientStatus, now: ClientStatus) -> Urgency {
    let has_services = alloc.group().is_some_and(|group| {
        let mut of_tasks = group.tasks.iter().map(|task| &task.services);
        !group.services.is_empty() || of_tasks.any(|services| !services.is_empty())
    });
    let is_short_lived = alloc.job.is_batch() && !has_services;
    match (before, now) {
        (ClientStatus::Pending, ClientStatus::Pending) => Urgency::Soon,
        (_, ClientStatus::Pending | ClientStatus::Running) if is_short_lived => Urgency::Soon,
        _ => Urgency::Now,
    }
}
